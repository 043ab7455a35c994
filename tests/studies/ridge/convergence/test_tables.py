"""Checks of *Linear convergence* say no to false data."""

import math

import pandas as pd
import pytest
from claims import outcome


def inequalities(**ratios):
    names = {"PL": 1.2, "PL, w alone, worst error": 1.0, "curvature": 1.01} | ratios
    rows = [(0, name, value) for name, value in names.items()]
    table = pd.DataFrame(rows, columns=["seed", "inequality", "tightest_ratio"])
    return {"yang2024/thm1-inequalities": {"inequalities": table}}


def path(rate=0.03, decrease=0.007, zeta=1.0, bend=0.0, slowest=None, last=2_000):
    constants = pd.DataFrame([dict(gamma_factor=1.0, seed=0, zeta_0=2.0, decrease=decrease)])
    rows = []
    for step in [0, 1, 10, 100, *range(200, last, 100)]:
        excess = math.exp(-rate * step / (1 + bend * step / 2_000))
        worst = (slowest or math.exp(-rate)) if step else 0.0
        rows.append((1.0, 0, step, excess, 2.0 * zeta, worst))
    columns = ["gamma_factor", "seed", "step", "excess", "zeta", "slowest"]
    curves = pd.DataFrame(rows, columns=columns)
    return {"yang2024/thm1-path": {"constants": constants, "curves": curves}}


def rates(sweep, **powers):
    rows = [
        (sweep, size, rule, seed, 100 * (1 + 0.01 * seed) * size**power)
        for rule, power in powers.items()
        for size in (6, 12, 24)
        for seed in (0, 1, 2)
    ]
    table = pd.DataFrame(rows, columns=["sweep", "size", "rule", "seed", "steps"])
    return {"yang2024/thm1-rates": {"steps": table}}


def frozen(factor=1.0):
    rows = [("1/M", 0, step, factor * math.exp(-step), math.exp(-step)) for step in (0, 10)]
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
    never = table.assign(
        steps=table["steps"].where(table["seed"] > 0, 100.0)
    )  # one seed of three
    halved = outcome(name, {"yang2024/thm1-rates": {"steps": never}})
    assert halved.measured == pytest.approx(0.15)
    unreached = rates(sweep, theory=0.5, fixed=1, tuned=math.nan)
    assert outcome(name, unreached).verdict == "partly"
