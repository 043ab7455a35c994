"""The claims of *A representation-learning problem* on true data, on false data, and on broken
code."""

import itertools

import pandas as pd
import pytest

from iclbook import runner
from iclbook.claim import all_claims
from iclbook.dual import representation
from studies.catalogue import find

ALPHAS = (-0.1, 0.0, 0.5, 2.0, 2.1)


def repeated(changes=None):
    """Two seeds on which every claim holds; `changes`: {(alpha, step, quantity): value}."""
    rows = []
    for seed, r, alpha, step in itertools.product((0, 1), (0, 3), ALPHAS, (0, 1, 100, 200)):
        distance = float("nan") if alpha == 0 else 0.7 * abs(1 - alpha) ** step
        found = {
            "norm": 0.1 + step,
            "distance from G / alpha": distance,
            "distance from closed form": 1e-15,
            "effective rank of directions": 1.0 if step == 0 else 6.0 + step / 1e4,
        }
        found |= {
            name: value
            for (a, t, name), value in (changes or {}).items()
            if (a, t) == (alpha, step)
        }
        rows += [(seed, r, 0.5, alpha, step, name, value) for name, value in found.items()]
    return {"ren2024/repeated-steps": frame(rows, "seed r beta alpha step quantity value")}


def frame(rows, columns):
    return pd.DataFrame(rows, columns=columns.split())


def growth(**changes):
    rows = []
    for seed, (r, predicted) in itertools.product((0, 1), ((1, 1.8), (15, 0.9))):
        found = {
            "measured": predicted + 0.01,
            "predicted": predicted,
            "standard error": 0.01,
        } | changes.get(f"r{r}", {})
        rows += [(seed, r, 1.0, name, value) for name, value in found.items()]
    return {"ren2024/negatives-growth": frame(rows, "seed r beta quantity value")}


def targets(learned=1.0, fixed=5.0, negatives=("none", "all")):
    rows = []
    for name, end in {"learned": learned, "fixed": fixed}.items():
        for negative, seed, (step, value) in itertools.product(
            negatives, (0, 1), ((0, 9.0), (2000, end))
        ):
            rows.append((name, negative, seed, step, "effective rank of directions", value))
    return {
        "ren2024/learned-targets": frame(rows, "targets negatives seed step quantity value")
    }


NAN = float("nan")
FALSE = [
    ("linear-loss-no-bound-on-w", repeated({(0.5, 100, "distance from closed form"): 1e-9})),
    ("linear-loss-no-bound-on-w", repeated({(0.5, 100, "distance from closed form"): NAN})),
    (
        "linear-loss-no-bound-on-w",
        repeated({(0.0, 200, "norm"): 50.0}),
    ),  # bounded without regularisation
    (
        "linear-loss-no-bound-on-w",
        repeated({(0.5, 200, "distance from G / alpha"): 0.1}),
    ),  # no limit inside (0, 2)
    (
        "linear-loss-no-bound-on-w",
        repeated({(2.0, 200, "distance from G / alpha"): 0.0}),
    ),  # a limit at 2
    (
        "linear-loss-no-bound-on-w",
        repeated({(2.1, 200, "distance from G / alpha"): 1.0}),
    ),  # bounded beyond 2
    ("linear-loss-no-bound-on-w", repeated({(-0.1, 200, "distance from G / alpha"): 1.0})),
    (
        "repeating-does-not-collapse",
        repeated({(0.0, 200, "effective rank of directions"): 5.0}),
    ),
    (
        "repeating-does-not-collapse",
        repeated({(0.0, 200, "effective rank of directions"): NAN}),
    ),
    ("negatives-do-not-bound-w", growth(r1={"measured": 1.9})),  # not as predicted
    ("negatives-do-not-bound-w", growth(r15={"standard error": NAN})),
    (
        "negatives-do-not-bound-w",
        growth(r1={"predicted": 0.8, "measured": 0.8}),
    ),  # never faster
    (
        "negatives-do-not-bound-w",
        growth(r15={"predicted": 0.0, "measured": 0.0}),
    ),  # W stands still
    ("collapse-needs-learned-targets", targets(learned=1.2)),
    ("collapse-needs-learned-targets", targets(learned=NAN)),
    ("collapse-needs-learned-targets", targets(fixed=1.0)),  # it happens anyway
    (
        "collapse-needs-learned-targets",
        targets(negatives=("none",)),
    ),  # negatives were not looked at
]
TRUE = repeated() | growth() | targets()


@pytest.mark.parametrize(("claim", "false"), FALSE)
def test_claims_say_no_to_false_data(claim, false):
    claim = all_claims()[f"ren2024/{claim}"]
    assert claim.check(TRUE).verdict == "reproduced"
    assert claim.check(TRUE | false).verdict == "not reproduced"


def test_a_regime_that_was_not_measured_is_not_reproduced():
    tables, claim = repeated(), all_claims()["ren2024/linear-loss-no-bound-on-w"]
    table = tables["ren2024/repeated-steps"]
    for alpha in (0.0, 2.0, 2.1, -0.1):
        part = {"ren2024/repeated-steps": table[table["alpha"] != alpha]}
        assert claim.check(part).verdict == "not reproduced"


def small_run(name, **changes):
    experiment = find(f"ren2024/{name}")
    table, _ = runner.compute(experiment, experiment.settings("quick", seeds=(7, 8), **changes))
    return {experiment.id: table}


def test_todays_code_keeps_the_claims():
    tables = (
        small_run("repeated-steps")
        | small_run("negatives-growth")
        | small_run("learned-targets")
    )
    names = (
        "linear-loss-no-bound-on-w",
        "negatives-do-not-bound-w",
        "collapse-needs-learned-targets",
    )
    assert {all_claims()[f"ren2024/{name}"].check(tables).verdict for name in names} == {
        "reproduced"
    }


def test_the_claims_fail_on_broken_code(monkeypatch):
    steps, growth = representation.repeated_steps, representation.negatives_growth
    monkeypatch.setattr(
        representation, "repeated_steps", lambda W, G, alpha, n: steps(W, G, alpha / 2, n)
    )
    assert (
        all_claims()["ren2024/linear-loss-no-bound-on-w"]
        .check(small_run("repeated-steps"))
        .verdict
        == "not reproduced"
    )
    monkeypatch.setattr(
        representation,
        "negatives_growth",
        lambda *x: tuple(y * z for y, z in zip(growth(*x), (1, 1, 0.5))),
    )
    assert (
        all_claims()["ren2024/negatives-do-not-bound-w"]
        .check(small_run("negatives-growth"))
        .verdict
        == "not reproduced"
    )


def test_negatives_reach_the_learned_targets_run():
    """All demonstrations as negatives centre the targets: fixed targets then lose their common
    direction."""
    table = small_run("learned-targets")["ren2024/learned-targets"]
    fixed = table[(table["targets"] == "fixed") & (table["step"] == table["step"].max())]
    share = fixed[fixed["quantity"] == "mean share of directions"].pivot(
        index="seed", columns="negatives", values="value"
    )
    assert (share["all"] < share["none"] / 2).all()
