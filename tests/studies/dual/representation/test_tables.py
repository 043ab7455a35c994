"""The claims of *A representation-learning problem* on true data, on false data, and on broken
code."""

import itertools

import pandas as pd
import pytest
from claims import outcome

from iclbook import runner
from iclbook.catalogue import find
from iclbook.dual import representation

ALPHAS = (-0.1, 0.0, 0.5, 2.0, 2.1)


def repeated(changes=None):
    """Two seeds on which every claim holds; `changes`: {(alpha, step, quantity): value}."""
    rows = []
    for seed, r, alpha, step in itertools.product((0, 1), (0, 3), ALPHAS, (0, 1, 100, 200)):
        distance = float("nan") if alpha == 0 else 0.7 * abs(1 - alpha) ** step
        found = {
            "norm": 0.1 + step,
            "distance_from_fixed_point": distance,
            "distance_from_closed_form": 1e-15,
            "effective_rank": 1.0 if step == 0 else 6.0 + step / 1e4,
        }
        found |= {
            name: value
            for (a, t, name), value in (changes or {}).items()
            if (a, t) == (alpha, step)
        }
        rows.append({"seed": seed, "r": r, "alpha": alpha, "step": step, **found})
    return {"ren2024/repeated-steps": {"paths": pd.DataFrame(rows)}}


def growth(**changes):
    rows = []
    for seed, (r, predicted) in itertools.product((0, 1), ((1, 1.8), (15, 0.9))):
        found = {
            "measured": predicted + 0.01,
            "predicted": predicted,
            "standard_error": 0.01,
        } | changes.get(f"r{r}", {})
        rows.append({"seed": seed, "r": r, "beta": 1.0, **found})
    return {"ren2024/negatives-growth": {"growth": pd.DataFrame(rows)}}


def targets(learned=1.0, fixed=5.0, negatives=("none", "all")):
    ends = {"learned": learned, "fixed": fixed}
    sweep = itertools.product(ends, negatives, (0, 1), (0, 2_000))
    table = pd.DataFrame(sweep, columns=["targets", "negatives", "seed", "step"])
    table["effective_rank"] = table["targets"].map(ends).where(table["step"] > 0, 9.0)
    return {"ren2024/learned-targets": {"paths": table}}


NAN = float("nan")
FALSE = [
    ("linear-loss-no-bound-on-w", repeated({(0.5, 100, "distance_from_closed_form"): 1e-9})),
    ("linear-loss-no-bound-on-w", repeated({(0.5, 100, "distance_from_closed_form"): NAN})),
    (
        "linear-loss-no-bound-on-w",
        repeated({(0.0, 200, "norm"): 50.0}),
    ),  # bounded without regularisation
    (
        "linear-loss-no-bound-on-w",
        repeated({(0.5, 200, "distance_from_fixed_point"): 0.1}),
    ),  # no limit inside (0, 2)
    (
        "linear-loss-no-bound-on-w",
        repeated({(2.0, 200, "distance_from_fixed_point"): 0.0}),
    ),  # a limit at 2
    (
        "linear-loss-no-bound-on-w",
        repeated({(2.1, 200, "distance_from_fixed_point"): 1.0}),
    ),  # bounded beyond 2
    ("linear-loss-no-bound-on-w", repeated({(-0.1, 200, "distance_from_fixed_point"): 1.0})),
    (
        "repeating-does-not-collapse",
        repeated({(0.0, 200, "effective_rank"): 5.0}),
    ),
    (
        "repeating-does-not-collapse",
        repeated({(0.0, 200, "effective_rank"): NAN}),
    ),
    ("negatives-do-not-bound-w", growth(r1={"measured": 1.9})),  # not as predicted
    ("negatives-do-not-bound-w", growth(r15={"standard_error": NAN})),
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
    assert judged(claim, TRUE) == "reproduced"
    assert judged(claim, TRUE | false) == "not reproduced"


def judged(claim, tables):
    return outcome(f"ren2024/{claim}", tables).verdict


def test_a_regime_that_was_not_measured_is_not_reproduced():
    table = repeated()["ren2024/repeated-steps"]["paths"]
    for alpha in (0.0, 2.0, 2.1, -0.1):
        part = {"ren2024/repeated-steps": {"paths": table[table["alpha"] != alpha]}}
        assert judged("linear-loss-no-bound-on-w", part) == "not reproduced"


def small_run(name, **changes):
    experiment = find(f"ren2024/{name}")
    settings = experiment.settings("quick", seeds=(7, 8), **changes)
    return {experiment.id: runner.compute(experiment, settings).tables}


def test_todays_code_keeps_the_claims():
    names = ("repeated-steps", "negatives-growth", "learned-targets")
    tables = {}
    for name in names:
        tables |= small_run(name)
    assert judged("linear-loss-no-bound-on-w", tables) == "reproduced"
    assert judged("negatives-do-not-bound-w", tables) == "reproduced"
    assert judged("collapse-needs-learned-targets", tables) == "reproduced"


def test_the_claims_fail_on_broken_code(monkeypatch):
    steps, growth = representation.repeated_steps, representation.negatives_growth

    def half_alpha(W, G, alpha, n):
        return steps(W, G, alpha / 2, n)

    def half_c(*x):
        a, b, c = growth(*x)
        return a, b, c / 2

    monkeypatch.setattr(representation, "repeated_steps", half_alpha)
    tables = small_run("repeated-steps")
    assert judged("linear-loss-no-bound-on-w", tables) == "not reproduced"
    monkeypatch.setattr(representation, "negatives_growth", half_c)
    tables = small_run("negatives-growth")
    assert judged("negatives-do-not-bound-w", tables) == "not reproduced"


def test_negatives_reach_the_learned_targets_run():
    """All demonstrations as negatives centre the targets: fixed targets then lose their common
    direction."""
    table = small_run("learned-targets")["ren2024/learned-targets"]["paths"]
    fixed = table[(table["targets"] == "fixed") & (table["step"] == table["step"].max())]
    share = fixed.pivot(index="seed", columns="negatives", values="mean_share")
    assert (share["all"] < share["none"] / 2).all()
