"""The checks of *Does depth change the story?* on invented runs, and on stored ones that were
made false."""

import numpy as np
import pandas as pd
import pytest
from claims import outcome, stored, verdict_after

from studies.ridge.depth import tables
from studies.ridge.unseen.tables import DOMAINS

FIG2B, FIG5 = "yang2024/fig2b", "yang2024/fig5"
STEPS = range(0, 100, 10)
DOWN = np.linspace(1, 0.1, 10)
SEEDS = (0, 1)


def frame(rows, *columns):
    return pd.DataFrame(rows, columns=columns)


def fig2b(training=DOWN, inside=DOWN, outside=5 * DOWN, end=(0.01, 0.01), skip=True):
    """Curves of two seeds; `end` is the final share of zero's distance on tokens not shown."""
    size = {"in-domain": 1.0, "out-of-domain": 5.0}
    of = dict(zip(DOMAINS, zip((inside, outside), end)))
    curves = [(skip, seed, at, t) for seed in SEEDS for at, t in zip(STEPS, training)]
    domains = [
        (skip, seed, at, domain, value, share * size[domain])
        for seed in SEEDS
        for domain, (curve, share) in of.items()
        for at, value in zip(STEPS, curve)
    ]
    zero = [(skip, seed, "zero", d, size[d], size[d]) for seed in SEEDS for d in DOMAINS]
    measures = "distance", "distance_not_shown"
    return {
        "curves": frame(curves, "skip", "seed", "step", "training_loss"),
        "domains": frame(domains, "skip", "seed", "step", "domain", *measures),
        "references": frame(
            [(skip, seed, "zero", 1.0) for seed in SEEDS],
            *("skip", "seed", "predictor", "training_loss"),
        ),
        "reference_domains": frame(zero, "skip", "seed", "predictor", "domain", *measures),
    }


def of_fig2b(tail, found):
    return outcome(f"yang2024/fig2b-{tail}", {FIG2B: found}, steps=STEPS[-1])


def test_fig2b_losses_fall_together():
    assert of_fig2b("losses-fall-together", fig2b()) == ("reproduced", pytest.approx(1))


@pytest.mark.parametrize(
    ("why", "curves"),
    [
        ("out of domain rises", dict(outside=5 + DOWN[::-1])),
        ("out of domain below", dict(outside=DOWN / 2)),
        ("flat: no rank correlation", dict(inside=np.full(10, 0.5))),
        ("hardly falls", dict(inside=0.9 + DOWN / 10, outside=50 * DOWN)),
        ("the training loss hardly falls", dict(training=0.9 + DOWN / 10)),
        ("another order", dict(inside=DOWN[[0, 5, 2, 7, 1, 8, 3, 6, 4, 9]])),
        ("starts far from zero's distance", dict(inside=1e6 * DOWN, outside=1e7 * DOWN)),
        ("starts trained", dict(training=DOWN / 100, inside=DOWN / 100)),
        ("a missing number", dict(inside=np.where(DOWN < 0.2, np.nan, DOWN))),
    ],
)
def test_losses_that_do_not_fall_together(why, curves):
    found = of_fig2b("losses-fall-together", fig2b(**curves))
    assert found.verdict == "not reproduced", why


@pytest.mark.parametrize(
    "end, verdict",
    [
        ((0.01, 0.04), "reproduced"),
        ((0.01, 0.2), "partly"),
        ((0.2, 0.01), "not reproduced"),
        ((0.2, 0.2), "not reproduced"),
        ((np.nan, 0.01), "not reproduced"),
    ],
)
def test_fig2b_deep_model_does_ridge(end, verdict):
    found = of_fig2b("deep-model-does-ridge", fig2b(end=end))
    assert found == (verdict, pytest.approx(np.max(end), nan_ok=True))


@pytest.mark.parametrize(
    "halved, whole, verdict",
    [
        (0.015, 0.1, "reproduced"),
        (0.05, 0.1, "partly"),
        (0.2, 0.1, "not reproduced"),
        (0.1, 0.1, "not reproduced"),
        (0.01, 0.015, "not reproduced"),  # nothing goes wrong out of domain
    ],
)
def test_fig2b_out_of_domain_is_size(halved, whole, verdict):
    relative = {"in-domain": {1.0: 0.01, 0.5: 0.01}, "out-of-domain": {1.0: whole, 0.5: halved}}
    rows = [
        (True, seed, domain, factor, value)
        for seed in SEEDS
        for domain, values in relative.items()
        for factor, value in values.items()
    ]
    scaling = frame(rows, "skip", "seed", "domain", "factor", "relative_distance")
    found = fig2b(end=(0.01, whole)) | {"label_scaling": scaling}
    expected = verdict, pytest.approx(halved / 0.01)
    assert of_fig2b("out-of-domain-is-size", found) == expected
    other = fig2b(end=(0.01, 2 * whole)) | {"label_scaling": scaling}
    assert of_fig2b("out-of-domain-is-size", other).verdict == "not reproduced", (
        "the model whose labels were scaled is not the one that was trained"
    )


def fig5(iterations, distance, training=None, outside=10.0, seeds=SEEDS):
    """A race of several head counts, the same for all seeds; arguments by H. All start from a
    training loss of 8; `training` is the one after 20 steps."""
    keys = [(seed, H) for seed in seeds for H in iterations]
    curves = [(*key, 1, 8.0) for key in keys]
    curves += [(*key, 20, (training or distance)[key[1]]) for key in keys]
    final = [(*key, "in-domain", distance[key[1]]) for key in keys]
    final += [(*key, "out-of-domain", outside * distance[key[1]]) for key in keys]
    return {
        "curves": frame(curves, "seed", "H", "step", "training_loss"),
        "ends": frame([(*k, iterations[k[1]]) for k in keys], "seed", "H", "iterations"),
        "final_distances": frame(final, "seed", "H", "domain", "distance"),
    }


def of_fig5(tail, found):
    return outcome(f"yang2024/fig5-{tail}", {FIG5: found}, least_steps=20)


FEWER = {1: 500, 4: 400, 64: 200}


def test_fig5_fewer_iterations_with_h():
    def found(iterations):
        return of_fig5("fewer-iterations-with-h", fig5(iterations, FEWER))

    assert found(FEWER) == ("reproduced", 0.4)
    assert found({1: 500, 4: 499, 64: 498}).verdict == "partly"
    assert found({1: 500, 4: 100, 64: 300}).verdict == "partly"
    assert found({1: 500, 4: 501, 64: 502}).verdict == "not reproduced"
    assert found({1: 500, 4: 400, 64: np.nan}).verdict == "not reproduced"


def test_fig5_small_h_wins_on_the_clock():
    def found(distance, **more):
        return of_fig5("small-h-wins-on-the-clock", fig5(FEWER, distance, **more))

    wins = {1: 1.2, 4: 1.0, 64: 2.0}
    assert found(wins) == ("reproduced", pytest.approx(2.0))
    assert found({1: 1.2, 4: 1.0, 64: 1.05}).verdict == "not reproduced"
    assert found({1: 1.2, 4: 1.0, 64: 0.5}).verdict == "not reproduced"
    assert found({1: 1.2, 4: 1.0, 64: np.nan}).verdict == "not reproduced"
    assert found(wins, outside=0.1).verdict == "not reproduced", "the domains are swapped"


def test_small_h_wins_for_most_seeds_only_is_partly():
    most = fig5(FEWER, {1: 1.2, 4: 1.0, 64: 2.0})
    one = fig5(FEWER, {1: 1.2, 4: 1.0, 64: 0.1}, seeds=(2,))
    both = {name: pd.concat([most[name], one[name]]) for name in most}
    assert of_fig5("small-h-wins-on-the-clock", both).verdict == "partly"


def test_fig5_deep_needs_no_large_h():
    def found(training):
        return of_fig5(
            "deep-needs-no-large-h", fig5(dict.fromkeys(training, 9), training, training)
        )

    assert found({1: 2.0, 4: 1.0, 64: 1.0}) == ("reproduced", 1.0)
    assert found({1: 2.0, 4: 1.5, 64: 1.0}) == ("not reproduced", 1.5)
    between = found({4: 1.0, 16: 0.5, 64: 1.0})
    assert between.verdict == "reproduced", "16 is neither small nor large"
    assert found({1: 7.5, 4: 7.4, 64: 7.5}).verdict == "not reproduced", "nobody learned"
    assert found({1: 2.0, 4: np.nan, 64: 1.0}).verdict == "not reproduced"


def test_runs_that_do_not_start_alike_are_not_compared():
    found = fig5(FEWER, FEWER, {1: 2.0, 4: 1.0, 64: 1.0})
    bad = found["curves"]["seed"] == 1
    found["curves"].loc[bad, "training_loss"] *= 1e6
    assert of_fig5("deep-needs-no-large-h", found).verdict == "not reproduced"


def scaled(query, measure, factor):
    def change(table):
        table.loc[table.query(query).index, measure] *= factor
        return table

    return change


LAST = "skip and step == 7_000 and seed == 1"


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("losses-fall-together", dict(domains=scaled(LAST, "distance", 1e3))),
        ("losses-fall-together", dict(curves=scaled(LAST, "training_loss", 1e3))),
        ("deep-model-does-ridge", dict(domains=scaled(LAST, "distance_not_shown", 10))),
        (
            "out-of-domain-is-size",
            dict(label_scaling=scaled("seed == 2", "relative_distance", 1e6)),
        ),
    ],
)
def test_stored_results_made_false_are_not_reproduced(claim, changes):
    assert verdict_after(f"yang2024/fig2b-{claim}", FIG2B, **changes) == "not reproduced"


def test_one_head_count_without_its_last_looks_is_no_race_to_equal_steps():
    def cut(table):
        return table[~((table["H"] == 8) & (table["step"] > 400) & (table["seed"] == 1))]

    claim = "yang2024/fig5-deep-needs-no-large-h"
    assert verdict_after(claim, FIG5, curves=cut) == "not reproduced"


def test_what_is_read_off_agrees_with_the_tables():
    result = stored("yang2024/fig2b-deep-model-does-ridge")[FIG2B]
    rows = result["domains"].query("skip and step == 7_000 and seed == 1").set_index("domain")
    zero = result["reference_domains"].query("skip and predictor == 'zero' and seed == 1")
    for domain in DOMAINS:
        end = rows.loc[domain, "distance_not_shown"]
        nothing = zero.set_index("domain").loc[domain, "distance_not_shown"]
        assert tables.share_of_zero(result).loc[1, domain] == pytest.approx(end / nothing)
        assert tables.at_end(result, "error").loc[1, domain] == rows.loc[domain, "error"]
    losses = tables.of_losses(result)
    assert list(losses.columns) == [*DOMAINS, "training_loss"] and not losses.isna().any(
        axis=None
    )


def longer(end, start=None, ridge=0.1, zero=4.0):
    """Tables of `fig5-longer` for seeds 0 to 2: H -> loss at the start and at the end."""
    start = dict.fromkeys(end, 4.0) if start is None else start
    curves = [
        dict(seed=seed, H=H, step=step, domain=domain, loss=loss, seconds=1.0)
        for seed in range(3)
        for step, losses in ((0, start), (2_000, end))
        for H, loss in losses.items()
        for domain in DOMAINS
    ]
    references = [
        dict(seed=seed, predictor=name, domain=domain, loss=loss)
        for seed in range(3)
        for name, loss in (("ridge", ridge), ("Lemma 4", ridge), ("zero", zero))
        for domain in DOMAINS
    ]
    return {"curves": pd.DataFrame(curves), "references": pd.DataFrame(references)}


LONGER = "yang2024/fig5-longer"


def of_longer(*args, **kwargs):
    return outcome(f"{LONGER}-needs-no-large-h", {LONGER: longer(*args, **kwargs)})


def test_fig5_longer_compares_the_best_of_few_and_of_many():
    assert of_longer({1: 0.5, 8: 0.2, 16: 0.2, 32: 0.3}) == ("reproduced", 1.0)
    assert of_longer({1: 0.5, 8: 0.24, 16: 0.2, 32: 0.3}).verdict == "not reproduced"
    assert of_longer({1: 0.18, 8: 0.24, 16: 0.2, 32: 0.15}).measured == pytest.approx(1.2)
    assert of_longer({1: np.nan, 8: 0.2, 16: 0.2, 32: 0.3}).verdict == "not reproduced"


@pytest.mark.parametrize(
    "wrong",
    [
        dict(end={1: 0.5, 8: 0.4, 16: 0.4, 32: 0.5}),  # far from ridge
        dict(end={1: 0.5, 8: 0.05, 16: 0.05, 32: 0.5}),  # below it
        dict(end={8: 0.2, 16: 0.2}, start={8: 4.0, 16: 40.0}),
        dict(end={8: 0.2, 16: 0.2}, ridge=3.9),
    ],
)
def test_fig5_longer_is_not_judged_on_runs_that_are_not_sound(wrong):
    assert of_longer({8: 0.2, 16: 0.2}).verdict == "reproduced"
    assert of_longer(**wrong).verdict == "not reproduced"


def test_one_dictionary_that_needs_many_heads_fails_the_claim():
    tables_of = longer({8: 0.2, 16: 0.2})
    rows = tables_of["curves"].eval("seed == 2 and H == 16 and step == 2_000")
    tables_of["curves"].loc[rows, "loss"] = 0.15
    found = outcome(f"{LONGER}-needs-no-large-h", {LONGER: tables_of})
    assert found.verdict == "not reproduced" and found.measured == pytest.approx(4 / 3)
