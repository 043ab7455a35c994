"""The claims of *A representation-learning problem* on true data, false data, broken code."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from claims import CLAIMS, outcome, verdict

from iclbook import runner
from iclbook.catalogue import find
from iclbook.dual import representation
from iclbook.store import Result
from studies.dual.representation.tables import (
    collapse_measures,
    misses,
    rank_changes,
    rates,
    with_curvature,
)

NAN = float("nan")
ALPHAS, RECORDED = (-0.1, 0.0, 0.5, 2.0, 2.1), (0, 1, 100, 200)


def repeated(changes=None, alphas=ALPHAS, only=None):
    """Two seeds on which every claim holds; changes: {(alpha, step, measure): value}, in the
    table `only` or in both."""
    tables = {}
    for name in ("plain", "negatives"):
        rows = []
        for seed, alpha, step in product((0, 1), alphas, RECORDED):
            found = {
                "norm": 0.1 + step,
                "limit_distance": NAN if alpha == 0 else 0.7 * abs(1 - alpha) ** step,
                "closed_form_distance": 1e-15,
                "effective_rank": 1.0 if step == 0 else 6.0 + step / 1e4,
            }
            if only in (None, name):
                for (a, t, measure), value in (changes or {}).items():
                    if (a, t) == (alpha, step):
                        found[measure] = value
            rows.append({"seed": seed, "alpha": alpha, "step": step} | found)
        tables[name] = pd.DataFrame(rows)
    tables["negatives"] = tables["negatives"].assign(r=3, beta=0.5)
    return {"ren2024/repeated-steps": tables}


def growth(**changes):
    """r = 1 grows faster, r = 15 more slowly; predicted = 1 + c / a beta (beta - even)."""
    rows, even = [], {1: -0.5, 15: 2.0}
    for seed, r, beta in product((0, 1), (1, 15), (0.5, 1.0)):
        predicted = 1 + 0.4 * beta * (beta - even[r])
        found = {"measured": predicted + 0.01, "predicted": predicted, "standard_error": 0.01}
        rows.append({"seed": seed, "r": r, "beta": beta} | found | changes.get(f"r{r}", {}))
    break_even = [(seed, r, even[r]) for seed, r in product((0, 1), (1, 15))]
    columns = ["seed", "r", "break_even_beta"]
    tables = {
        "growth": pd.DataFrame(rows),
        "break_even": pd.DataFrame(break_even, columns=columns),
    }
    return {"ren2024/negatives-growth": tables}


def targets(learned=1.0, fixed=5.0, start=9.0, centred=(False, True)):
    rows = []
    for (name, end), all_of_them, seed in product(
        (("learned", learned), ("fixed", fixed)), centred, (0, 1)
    ):
        arm = {"targets": name, "centred": all_of_them, "seed": seed}
        rows += [
            arm | {"step": step, "effective_rank": rank}
            for step, rank in ((0, start), (2000, end))
        ]
    return {"ren2024/learned-targets": {"paths": pd.DataFrame(rows)}}


SETTINGS = {
    "ren2024/repeated-steps": dict(alphas=ALPHAS, recorded=RECORDED),
    "ren2024/negatives-growth": {},
    "ren2024/learned-targets": dict(recorded=(0, 2000)),
}


def said(claim, tables, **settings):
    """The verdict of the check on made-up tables."""
    (experiment,) = CLAIMS[f"ren2024/{claim}"].experiments
    made = {experiment: tables[experiment]}
    return outcome(f"ren2024/{claim}", made, **(SETTINGS[experiment] | settings)).verdict


BOUND, RANK = "linear-loss-no-bound-on-w", "repeating-does-not-collapse"
GROWTH, COLLAPSE = "negatives-do-not-bound-w", "collapse-needs-learned-targets"
FALSE = [
    (BOUND, repeated({(0.5, 100, "closed_form_distance"): 1e-9})),
    (BOUND, repeated({(0.5, 100, "closed_form_distance"): NAN})),
    (BOUND, repeated({(0.5, 100, "closed_form_distance"): 1e-9}, only="negatives")),
    (BOUND, repeated({(0.5, 100, "closed_form_distance"): 1e-9}, only="plain")),
    (BOUND, repeated({(0.0, 200, "norm"): 50.0})),  # bounded without regularisation
    (BOUND, repeated({(0.5, 200, "limit_distance"): 0.1})),  # no limit inside (0, 2)
    (BOUND, repeated({(0.5, 200, "limit_distance"): NAN})),
    (BOUND, repeated({(2.0, 200, "limit_distance"): 0.0})),  # a limit at 2
    (BOUND, repeated({(2.1, 200, "limit_distance"): 1.0})),  # bounded beyond 2
    (BOUND, repeated({(-0.1, 200, "limit_distance"): 1.0}, only="plain")),
    (BOUND, repeated({(-0.1, 200, "limit_distance"): 1.0}, only="negatives")),
    (RANK, repeated({(0.0, 200, "effective_rank"): 5.0})),
    (RANK, repeated({(0.0, 200, "effective_rank"): 5.0}, only="plain")),
    (RANK, repeated({(0.0, 200, "effective_rank"): 5.0}, only="negatives")),
    (RANK, repeated({(0.0, 200, "effective_rank"): NAN})),
    (RANK, repeated({(0.0, 100, "effective_rank"): 1e3})),  # no rank of 15 outputs
    (GROWTH, growth(r1={"measured": 1.9})),  # not as predicted
    (GROWTH, growth(r15={"standard_error": NAN})),
    (GROWTH, growth(r1={"predicted": 0.8, "measured": 0.8})),  # never faster
    (GROWTH, growth(r15={"predicted": 1.2, "measured": 1.2})),  # never more slowly
    (GROWTH, growth(r15={"predicted": 0.0, "measured": 0.0})),  # W stands still
    (COLLAPSE, targets(learned=1.2)),
    (COLLAPSE, targets(learned=NAN)),
    (COLLAPSE, targets(fixed=1.0)),  # it happens anyway
    (COLLAPSE, targets(fixed=1.45)),
    (COLLAPSE, targets(fixed=NAN)),
    (COLLAPSE, targets(start=1.0)),  # it was so from the start
    (COLLAPSE, targets(centred=(False,))),  # negatives were not looked at
]
TRUE = repeated() | growth() | targets()


@pytest.mark.parametrize(("claim", "false"), FALSE)
def test_claims_say_no_to_false_data(claim, false):
    assert said(claim, TRUE) == "reproduced"
    assert said(claim, false) == "not reproduced"


@pytest.mark.parametrize("change", [dict(fixed=1.55), dict(start=1.55, fixed=1.55)])
def test_more_than_one_and_a_half_directions_are_no_collapse(change):
    assert said(COLLAPSE, targets(**change)) == "reproduced"


@pytest.mark.parametrize("missing", [0.0, 2.0, 2.1, -0.1])
def test_a_regime_that_was_not_measured_is_not_reproduced(missing):
    alphas = tuple(alpha for alpha in ALPHAS if alpha != missing)
    assert said(BOUND, repeated(alphas=alphas), alphas=alphas) == "not reproduced"
    assert said(BOUND, repeated(alphas=alphas)) == "not reproduced"


def small_run(name):
    """{id: result} of the quick profile on seeds that no stored result has."""
    experiment = find(f"ren2024/{name}")
    settings = experiment.settings("quick", seeds=(7, 8))
    tables = runner.compute(experiment, settings).tables
    return {experiment.id: Result(tables, settings, "small")}


@pytest.mark.parametrize(
    ("claim", "experiment"),
    [
        (BOUND, "repeated-steps"),
        (GROWTH, "negatives-growth"),
        (COLLAPSE, "learned-targets"),
    ],
)
def test_todays_code_keeps_the_claims(claim, experiment):
    assert verdict(f"ren2024/{claim}", small_run(experiment)) == "reproduced"


def test_the_claims_fail_on_broken_code(monkeypatch):
    steps, growth = representation.repeated_steps, representation.negatives_growth

    def half_of_alpha(W, G, alpha, n):
        return steps(W, G, alpha / 2, n)

    def half_of_c(*arguments):
        a, b, c = growth(*arguments)
        return a, b, c / 2

    monkeypatch.setattr(representation, "repeated_steps", half_of_alpha)
    monkeypatch.setattr(representation, "negatives_growth", half_of_c)
    assert verdict(f"ren2024/{BOUND}", small_run("repeated-steps")) == "not reproduced"
    assert verdict(f"ren2024/{GROWTH}", small_run("negatives-growth")) == "not reproduced"


# --- measures


def test_rank_changes_are_taken_path_by_path_also_without_negatives():
    path = pd.DataFrame(
        [(0, NAN, 1, 4.0), (0, NAN, 9, 5.0), (0, 3, 1, 8.0), (0, 3, 9, 6.0)],
        columns=["seed", "r", "step", "effective_rank"],
    )
    found = rank_changes(path, 9)
    assert sorted(found) == pytest.approx([-0.25, 0.25])


def test_curvature_is_that_of_the_parabola_through_the_break_even_beta():
    tables = growth()["ren2024/negatives-growth"]
    found = with_curvature(Result(tables, find("ren2024/negatives-growth").full, "made up"))
    assert np.allclose(found["curvature"], 0.4)
    assert np.allclose(found["break_even_beta"], np.where(found["r"] == 1, -0.5, 2.0))


def test_misses_are_in_standard_errors():
    table = pd.DataFrame({"measured": [1.0], "predicted": [1.2], "standard_error": [0.1]})
    assert misses(table).tolist() == pytest.approx([2.0])


def test_rates_are_those_of_the_closed_form():
    """Distances 0.7 |1 - alpha|^t and norms 3 t: the factor is |1 - alpha|, the gain 3."""
    rows = [
        (seed, alpha, step, 3.0 * step, 0.7 * abs(1 - alpha) ** step)
        for seed, alpha, step in product((0, 1), (0.0, 0.5, 1.0, 2.1), (0, 1, 5, 10, 200))
    ]
    columns = ["seed", "alpha", "step", "norm", "limit_distance"]
    tables = {"plain": pd.DataFrame(rows, columns=columns)}
    found = rates(Result(tables, find("ren2024/repeated-steps").full, "made up"))
    assert len(found) == 8
    assert found["gain"].tolist() == pytest.approx([3.0] * 8)
    assert found.loc[0.5, "factor"].tolist() == pytest.approx([0.5, 0.5])
    assert found.loc[2.1, "factor"].tolist() == pytest.approx([1.1, 1.1])
    assert found.loc[[0.0, 1.0], "factor"].isna().all()
    assert (found["last"] == 600).all() and (found["first"] == 3).all()


def test_collapse_measures_take_medians_and_the_extremes_of_change():
    path = pd.DataFrame(
        [(0, 1, 4.0, 0.1), (0, 9, 5.0, 0.2), (1, 1, 8.0, 0.3), (1, 9, 6.0, 0.6)],
        columns=["seed", "step", "effective_rank", "mean_share"],
    ).assign(r=NAN)
    found = collapse_measures(path, 9)
    wanted = dict(rank_first=6.0, rank_last=5.5, fall=-0.25, rise=0.25, share_last=0.4)
    assert found == pytest.approx(wanted)
