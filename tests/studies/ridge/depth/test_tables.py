"""The checks of *Does depth change the story?* on invented runs: true ones and ones that make
each claim false."""

import numpy as np
import pandas as pd
import pytest

from iclbook.claim import all_claims

COLUMNS = ["skip", "seed", "step", "layer", "domain", "predictor", "quantity", "value"]
STEPS = range(0, 100, 10)
DOMAINS = ("in-domain", "out-of-domain")
DOWN = np.linspace(1, 0.1, 10)


def check(tail, tables):
    """The outcome of a claim, with its recorded threshold, on invented tables."""
    return all_claims()[f"yang2024/{tail}"].check(tables)


def fig2b(training=DOWN, inside=DOWN, outside=5 * DOWN, end=(0.01, 0.01), skip=True):
    rows = []
    for seed in (0, 1):
        for step, t, i, o in zip(STEPS, training, inside, outside):
            key = (skip, seed, step, -1)
            rows.append((*key, "training", "transformer", "loss", t))
            rows += [
                (*key, domain, "transformer", "distance", v)
                for domain, v in zip(DOMAINS, (i, o))
            ]
            rows += [
                (*key, domain, "transformer", "distance, not shown", v)
                for domain, v in zip(DOMAINS, end)
            ]
        rows += [
            (skip, seed, 0, -1, domain, "zero", "distance, not shown", 1.0)
            for domain in DOMAINS
        ]
    return {"yang2024/fig2b": pd.DataFrame(rows, columns=COLUMNS)}


def test_fig2b_losses_fall_together():
    claim = "fig2b-losses-fall-together"
    assert check(claim, fig2b()) == ("reproduced", pytest.approx(1))
    assert check(claim, fig2b(outside=5 + DOWN[::-1])).verdict == "not reproduced", (
        "out of domain rises"
    )
    assert check(claim, fig2b(outside=DOWN / 2)).verdict == "not reproduced", (
        "out of domain below"
    )
    assert check(claim, fig2b(inside=np.full(10, 0.5))).verdict == "not reproduced", (
        "flat: no rank correlation"
    )
    assert (
        check(claim, fig2b(inside=0.9 + DOWN / 10, outside=50 * DOWN)).verdict
        == "not reproduced"
    ), "hardly falls"
    shuffled = DOWN[[0, 5, 2, 7, 1, 8, 3, 6, 4, 9]]
    assert check(claim, fig2b(inside=shuffled)).verdict == "not reproduced"


@pytest.mark.parametrize(
    "end, verdict",
    [
        ((0.01, 0.04), "reproduced"),
        ((0.01, 0.2), "partly"),
        ((0.2, 0.01), "not reproduced"),
        ((0.2, 0.2), "not reproduced"),
    ],
)
def test_fig2b_deep_model_does_ridge(end, verdict):
    assert check("fig2b-deep-model-does-ridge", fig2b(end=end)) == (
        verdict,
        pytest.approx(max(end)),
    )


@pytest.mark.parametrize(
    "halved, whole, verdict",
    [
        (0.015, 0.1, "reproduced"),
        (0.05, 0.1, "partly"),
        (0.2, 0.1, "not reproduced"),
        (0.1, 0.1, "not reproduced"),
    ],
)
def test_fig2b_out_of_domain_is_size(halved, whole, verdict):
    inside, outside = {"1": 0.01, "0.5": 0.01}, {"1": whole, "0.5": halved}
    rows = [
        (
            True,
            seed,
            9,
            -1,
            domain,
            "transformer",
            f"relative distance, labels x {factor}",
            value,
        )
        for seed in (0, 1)
        for domain, values in zip(DOMAINS, (inside, outside))
        for factor, value in values.items()
    ]
    tables = {"yang2024/fig2b": pd.DataFrame(rows, columns=COLUMNS)}
    assert check("fig2b-out-of-domain-is-size", tables) == (
        verdict,
        pytest.approx(halved / 0.01),
    )


def fig5(iterations, distance, training=None):
    """A race of several head counts, the same for two seeds; arguments by H."""
    rows = []
    for seed in (0, 1):
        for H, count in iterations.items():
            rows += [
                (seed, H, count, "iterations", count),
                (seed, H, count, "distance, in-domain", distance[H]),
            ]
            rows += [
                (seed, H, step, "training loss", (training or distance)[H])
                for step in (10, 20)
                if step <= count
            ]
    return {
        "yang2024/fig5": pd.DataFrame(rows, columns=["seed", "H", "step", "quantity", "value"])
    }


FEWER = {1: 500, 4: 400, 64: 200}


def test_fig5_fewer_iterations_with_h():
    claim = "fig5-fewer-iterations-with-h"
    assert check(claim, fig5(FEWER, FEWER)) == ("reproduced", 0.4)
    assert check(claim, fig5({1: 500, 4: 499, 64: 498}, FEWER)).verdict == "partly"
    assert check(claim, fig5({1: 500, 4: 100, 64: 300}, FEWER)).verdict == "partly"
    assert check(claim, fig5({1: 500, 4: 501, 64: 502}, FEWER)).verdict == "not reproduced"


def test_fig5_small_h_wins_on_the_clock():
    claim = "fig5-small-h-wins-on-the-clock"
    assert check(claim, fig5(FEWER, {1: 1.2, 4: 1.0, 64: 2.0})) == (
        "reproduced",
        pytest.approx(2.0),
    )
    assert check(claim, fig5(FEWER, {1: 1.2, 4: 1.0, 64: 1.05})).verdict == "not reproduced"
    assert check(claim, fig5(FEWER, {1: 1.2, 4: 1.0, 64: 0.5})).verdict == "not reproduced"
    mixed = fig5(FEWER, {1: 1.2, 4: 1.0, 64: 2.0})["yang2024/fig5"]
    third = mixed[mixed["seed"] == 0].assign(seed=2)
    third.loc[(third["H"] == 64) & (third["quantity"] == "distance, in-domain"), "value"] = 0.1
    assert check(claim, {"yang2024/fig5": pd.concat([mixed, third])}).verdict == "partly"


def test_fig5_deep_needs_no_large_h():
    claim = "fig5-deep-needs-no-large-h"
    assert check(claim, fig5(FEWER, FEWER, {1: 2.0, 4: 1.0, 64: 1.0})) == ("reproduced", 1.0)
    assert check(claim, fig5(FEWER, FEWER, {1: 2.0, 4: 1.5, 64: 1.0})) == (
        "not reproduced",
        1.5,
    )
    between = fig5({4: 400, 16: 300, 64: 200}, {4: 1, 16: 1, 64: 1}, {4: 1.0, 16: 0.5, 64: 1.0})
    assert check(claim, between).verdict == "reproduced", "16 is neither small nor large"
