"""Checks of *Linear convergence* say no to false data."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from claims import outcome, stored

from iclbook.catalogue import find
from iclbook.store import Result
from iclbook.tables import compare
from studies.ridge.convergence.tables import exponents, path_measures, steps_at


def inequalities(**ratios):
    names = {"PL": 1.2, "PL, w alone, worst error": 1.0, "curvature": 1.01} | ratios
    rows = [(0, name, value) for name, value in names.items()]
    table = pd.DataFrame(rows, columns=["seed", "inequality", "tightest_ratio"])
    return {"yang2024/thm1-inequalities": {"inequalities": table}}


def path(rate=0.03, decrease=0.007, zeta=1.0, bend=0.0, slowest=None, last=2_100):
    start = dict(gamma_factor=1.0, seed=0, zeta_0=2.0, decrease=decrease, rate_w=0.06)
    rows = []
    for step in [0, 1, 10, 100, *range(200, last, 100)]:
        excess = math.exp(-rate * step / (1 + bend * step / 2_000))
        worst = (slowest or math.exp(-rate)) if step else 0.0
        rows.append((1.0, 0, step, excess, 2.0 * zeta, 1e-5 * step, worst))
    columns = ["gamma_factor", "seed", "step", "excess", "zeta", "Q_drift", "slowest"]
    curves = pd.DataFrame(rows, columns=columns)
    return {"yang2024/thm1-path": {"constants": pd.DataFrame([start]), "curves": curves}}


def rates(sweep, **powers):
    rows = [
        (sweep, size, rule, seed, 100 * (1 + 0.01 * seed) * size**power)
        for rule, power in powers.items()
        for size in (6, 12, 24)
        for seed in (0, 1, 2)
    ]
    table = pd.DataFrame(rows, columns=["sweep", "size", "rule", "seed", "steps"])
    return {"yang2024/thm1-rates": {"steps": table}}


def frozen(factor=1.0, steps=(0, 10, 50)):
    rows = [
        ("1/M", 0, n, factor * math.exp(-step), math.exp(-step)) for n, step in enumerate(steps)
    ]
    curves = pd.DataFrame(rows, columns=["rule", "seed", "step", "excess", "exact"])
    return {"yang2024/frozen-attention": {"curves": curves}}


WORST = "PL, w alone, worst error"


@pytest.mark.parametrize(
    "name, good, bad",
    [
        ("thm1-pl-inequality", inequalities(), inequalities(PL=0.99)),
        ("thm1-pl-inequality", inequalities(curvature=0.5), inequalities(**{WORST: 0.9})),
        ("thm1-proof-inequalities", inequalities(), inequalities(curvature=0.99)),
        ("thm1-proof-inequalities", inequalities(), inequalities(curvature=math.nan)),
        ("thm1-zeta-stays", path(zeta=0.6), path(zeta=0.4)),
        ("thm1-zeta-stays", path(zeta=0.6), path(zeta=0.6, last=1_500)),
        ("thm1-linear-convergence", path(), path(bend=1.0, last=10_000)),
        ("thm1-linear-convergence", path(), path(last=1_500)),
        ("thm1-rate-bound-holds", path(), path(decrease=0.04)),
        ("thm1-rate-bound-holds", path(), path(slowest=0.9999)),
        (
            "thm1-rate-bound-holds",
            path(),
            path(rate=0.06, bend=1.0, decrease=0.0305, slowest=math.exp(-0.05)),
        ),
        ("frozen-attention-rate", frozen(), frozen(1.001)),
        ("frozen-attention-rate", frozen(), frozen(steps=(50, 10, 0))),
        ("frozen-attention-rate", frozen(), frozen(steps=(0, 10, 20))),
        (
            "thm1-slower-with-k",
            rates("K", theory=0.5, fixed=1, tuned=0.3),
            rates("K", theory=-0.5, fixed=0, tuned=0.05),
        ),
        (
            "thm1-slower-with-h",
            rates("H", theory=0.5, fixed=1, tuned=0.3),
            rates("H", theory=-0.5, fixed=-1, tuned=0.05),
        ),
    ],
)
def test_claims_tell_true_from_false(name, good, bad):
    assert outcome(f"yang2024/{name}", good).verdict == "reproduced"
    assert outcome(f"yang2024/{name}", bad).verdict == "not reproduced"


@pytest.mark.parametrize("sweep", ["K", "H"])
def test_a_claim_on_slowing_is_partly_true_where_the_rules_disagree(sweep):
    name = f"yang2024/thm1-slower-with-{sweep.lower()}"
    mixed = outcome(name, rates(sweep, theory=0.05, fixed=1, tuned=0.3))
    assert mixed.verdict == "partly" and mixed.measured == pytest.approx(0.05)
    steady = rates(sweep, theory=0.5, fixed=1, tuned=0.3)
    assert outcome(name, steady).verdict == "reproduced"
    table = steady["yang2024/thm1-rates"]["steps"]
    # One seed of three never slows.
    never = table.assign(steps=table["steps"].where(table["seed"] > 0, 100.0))
    halved = outcome(name, {"yang2024/thm1-rates": {"steps": never}})
    assert halved.measured == pytest.approx(0.15)
    unreached = rates(sweep, theory=0.5, fixed=1, tuned=math.nan)
    assert outcome(name, unreached).verdict == "partly"


def test_what_a_path_shows():
    (tables,) = path(rate=0.03, decrease=0.007, zeta=0.6).values()
    settings = dataclasses.replace(find("yang2024/thm1-path").full, K=8)
    run = path_measures(Result(tables, settings, "made up")).loc[(1.0, 0)]
    assert run["steps"] == 2_000 and run["smallest"] == pytest.approx(0.6)
    assert run["moved"] == pytest.approx(0.02)
    rates = run[["early", "late", "slowest", "average"]].to_numpy(float)
    np.testing.assert_allclose(rates, 0.03, rtol=1e-9)
    assert run["proved"] == pytest.approx(-math.log(0.993))
    assert run["frozen"] == pytest.approx(-2 * math.log(1 - 0.06 * 1.2 / 8))
    shuffled = tables | {"curves": tables["curves"].sample(frac=1, random_state=0)}
    again = path_measures(Result(shuffled, settings, "made up")).loc[(1.0, 0)]
    pd.testing.assert_series_equal(again, run)


def test_steps_at_levels_lie_on_the_straight_line_of_the_log():
    curve = pd.DataFrame({"excess": [1.0, 1e-4, 1e-8]}, index=[0, 10, 30])
    np.testing.assert_allclose(steps_at(curve, 1e-2, 1e-6), [5, 20])
    assert np.isnan(steps_at(curve, 1e-2, 1e-9)).all()


def test_exponents_are_those_of_power_laws():
    (tables,) = rates("K", theory=0.5, fixed=1, tuned=0.3).values()
    found = exponents(tables["steps"], "K")
    assert list(found.index) == [0, 1, 2]
    np.testing.assert_allclose(found[["theory", "fixed", "tuned"]], [[0.5, 1, 0.3]] * 3)


@pytest.mark.parametrize(
    "claim, others",
    [
        ("frozen-attention-rate", ["rule", "seed"]),
        ("thm1-zeta-stays", ["gamma_factor", "seed"]),
    ],
)
def test_the_step_at_which_a_run_ends_may_lie_a_step_off(claim, others):
    (name, result), *_ = stored(f"yang2024/{claim}").items()
    curves, declared = result["curves"], find(name).tables["curves"]
    last = curves.groupby(others)["step"].transform("max")
    for shift, agrees in ((1, True), (-1, True), (100, False)):
        moved = curves["step"].where(curves["step"] < last, curves["step"] + shift)
        missing, worst = compare(declared, curves.assign(step=moved), curves)
        assert (missing == 0) == agrees and worst == 0
