"""Declared tables: what is complete, what agrees, and what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from iclbook.errors import InputError
from iclbook.experiment import Experiment, Measure, Settings, Table
from iclbook.tables import arranged, compare, faults

CURVES = Table(
    keys=("seed", "H", "step"),
    measures={
        "loss": Measure("", rtol=1e-3, atol=1e-6),
        "norm": Measure("", rtol=1e-3),
        "residual": Measure("", rtol=0, atol=1e-12, scale="norm"),
        "seconds": Measure("", clock=True),
        "rate": Measure("", missing=True),
    },
    levels={"H": (2, 4)},
    decided={"step": 0.01},
)
TWO = Settings(seeds=(0, 1))
EXPERIMENT = Experiment(
    id="toy/curves",
    item="",
    chapter="",
    function="toy:curves",
    quick=TWO,
    full=TWO,
    tables={"curves": CURVES},
)


@pytest.fixture
def curves():
    rows = [
        (seed, H, step, 1.0 / (step + H), 1e3, 1e-10, 0.5, np.nan)
        for seed in (0, 1)
        for H in (2, 4)
        for step in (0, 100, 1_708)
    ]
    return pd.DataFrame(rows, columns=CURVES.columns)


def test_a_complete_table_has_no_fault_and_is_put_in_order(curves):
    shuffled = {"curves": curves[curves.columns[::-1]]}
    found = arranged(EXPERIMENT, shuffled)
    assert list(found["curves"].columns) == CURVES.columns
    assert faults(EXPERIMENT, TWO, found) == []


def test_measures_are_numbers_whatever_the_text_says(curves):
    found = arranged(EXPERIMENT, {"curves": curves.assign(loss=1)})["curves"]
    assert found["loss"].dtype == float


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {"curves": t, "other": t}, "undeclared tables: other"),
        (lambda t: {"curves": t.drop(columns="loss")}, "declared or returned only: loss"),
        (lambda t: {"curves": t.assign(more=1)}, "declared or returned only: more"),
        (lambda t: {"curves": pd.concat([t, t])}, "the same key twice, first in row 12"),
        (lambda t: {"curves": t.assign(H=np.nan)}, "a key is NaN"),
    ],
)
def test_other_tables_than_declared_are_refused(curves, change, words):
    with pytest.raises(InputError, match=words):
        arranged(EXPERIMENT, change(curves))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.iloc[:0], "is empty"),
        (lambda t: t[t["seed"] == 0], "no row for seed = 1"),
        (lambda t: t[t["H"] == 2], "H does not take every declared level"),
        (lambda t: t[(t["H"] == 2) | (t["seed"] == 0)], "H does not take every declared level"),
        (lambda t: t.assign(H=t["H"].replace(4, 8)), "H does not take every declared level"),
        (lambda t: t.assign(loss=t["loss"].where(t["step"] < 100)), "loss holds NaN"),
    ],
)
def test_what_is_missing_is_a_fault(curves, change, words):
    found = faults(EXPERIMENT, TWO, {"curves": change(curves)})
    assert len(found) >= 1 and words in " ".join(found)


def test_a_row_that_one_seed_lacks_is_a_fault_unless_the_table_is_ragged():
    plain = Table(keys=("seed", "trial"), measures={"x": Measure("")})
    table = pd.DataFrame({"seed": [0, 0, 1], "trial": [0, 1, 0], "x": 1.0})
    for ragged, count in ((False, 1), (True, 0)):
        declared = {"curves": dataclasses.replace(plain, ragged=ragged)}
        experiment = dataclasses.replace(EXPERIMENT, tables=declared)
        assert len(faults(experiment, TWO, {"curves": table})) == count


def agree(fresh, stored):
    missing, worst = compare(CURVES, fresh, stored)
    return missing == 0 and worst <= 1


def test_equal_tables_agree_and_a_part_agrees_with_the_whole(curves):
    assert compare(CURVES, curves, curves) == (0, 0.0)
    assert compare(CURVES, curves[curves["seed"] == 1], curves) == (0, 0.0)
    timed = dataclasses.replace(CURVES, measures={"seconds": Measure("", clock=True)})
    assert compare(timed, curves, curves) == (0, 0.0), "nothing is compared"


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("loss", 1.0005, 1.01),
        ("norm", 1.0005, 1.01),
        ("residual", 9.0, 12.0),  # its scale is a norm of 1e3: rounding of 1e-9 is allowed
        ("loss", 1.0, np.nan),
        ("loss", 1.0, np.inf),
    ],
)
def test_a_measure_is_compared_by_its_own_tolerance(curves, name, inside, outside):
    for factor, agrees in ((inside, True), (outside, False)):
        one = curves.copy()
        one.loc[3, name] *= factor
        assert agree(one, curves) is agrees
        assert agree(curves, one) is agrees or factor == outside


def test_nan_agrees_with_nan_only(curves):
    number = curves.assign(rate=0.5)
    assert agree(curves, curves) and agree(number, number)
    assert not agree(number, curves) and not agree(curves, number)
    one = curves["rate"].where(curves.index != 4, 0.5)
    assert not agree(curves.assign(rate=one), curves)


def test_a_row_that_is_no_longer_computed_is_missed(curves):
    """The last row of a group may belong to what a part leaves out; the whole leaves out
    none."""
    for lost, of_part in ((1, 1), (0, 0), (2, 0)):
        fresh = curves.drop(index=lost)
        assert compare(CURVES, fresh, curves, whole=True)[0] >= 1
        firm = dataclasses.replace(CURVES, decided={})
        assert compare(firm, fresh, curves, whole=True)[0] == 1
        assert compare(firm, fresh, curves)[0] == of_part
    # Neither lost is a key's value that the part was told to leave out.
    stored = pd.concat([curves, curves[curves["H"] == 2].assign(H=3)])
    assert compare(firm, curves, stored)[0] == 6
    assert compare(firm, curves, stored, chosen=((0, 1), (2, 4)))[0] == 0
    assert compare(CURVES, curves, curves, whole=True) == (0, 0.0)
    assert compare(CURVES, curves.iloc[:0], curves, whole=True)[0] == len(curves)


def test_what_a_clock_decides_is_not_compared(curves):
    assert agree(curves.assign(seconds=99.0), curves)


def test_a_missing_row_is_counted(curves):
    assert compare(CURVES, curves, curves[curves["H"] == 2])[0] == 6


@pytest.mark.parametrize(("step", "missing"), [(1_709, 0), (1_691, 0), (1_800, 1), (1_600, 1)])
def test_a_key_that_data_decide_is_matched_in_order_within_its_tolerance(curves, step, missing):
    other = curves.copy()
    other.loc[2, "step"] = step
    assert compare(CURVES, other, curves)[0] == missing
    assert agree(other.assign(loss=curves["loss"]), curves) is (missing == 0)
    if missing == 0:
        other.loc[2, "loss"] *= 2
        assert not agree(other, curves), "its measures are compared all the same"


def test_a_tolerance_may_grow_with_a_key(curves):
    """A run that amplifies rounding: at step 0 nothing may differ, later more and more."""
    growing = dataclasses.replace(
        CURVES, measures={"loss": Measure("", rtol=0, atol=1e-5, scale="step")}
    )
    stored = curves[growing.columns]
    for step, change, worst in ((1_708, 0.01, 0.01 / 0.01708), (100, 0.01, 10.0)):
        fresh = stored.assign(loss=stored["loss"] + change * (stored["step"] == step))
        assert compare(growing, fresh, stored) == (0, pytest.approx(worst))
    fresh = stored.assign(loss=stored["loss"] + 1e-9 * (stored["step"] == 0))
    assert compare(growing, fresh, stored) == (0, np.inf)
