"""The claims of *One attention layer is one gradient step* on true and on false tables."""

import numpy as np
import pandas as pd
import pytest
from claims import CLAIMS, altered, verdict

from iclbook.catalogue import find
from iclbook.runner import compute
from iclbook.store import Result
from studies.dual.one_step.tables import (
    against_closed_form,
    floors,
    over_seeds,
    parabola,
    relative,
)

THM31, FIG3 = "ren2024/thm31", "ren2024/fig3-left"
SMALL = {THM31: dict(trials=15), FIG3: dict(steps=3, prompts=40, d_r=(5, 20), seeds=(0, 1))}


@pytest.fixture(scope="module")
def results():
    """Small results of both experiments, computed by the experiments themselves."""
    found = {}
    for name, changes in SMALL.items():
        settings = find(name).settings("quick", **changes)
        found[name] = Result(compute(find(name), settings).tables, settings, "small")
    return found


def at(where, measure, change):
    """A change of a table: of `measure` in the rows that `where` names."""

    def apply(table):
        rows = table.query(where).index
        assert len(rows), where
        table.loc[rows, measure] = change(table.loc[rows, measure])
        return table

    return apply


NAMES = (
    "thm31-one-step",
    "thm31-one-demonstration-a-step",
    "thm31-exact-kernel",
    "steps-average-over-orders",
)


@pytest.mark.parametrize("name", NAMES)
def test_claims_hold_on_small_tables(name, results):
    assert verdict(f"ren2024/{name}", results) == "reproduced"


def test_the_relative_standard_error_is_that_of_the_middle_over_the_closed_form(results):
    fig3 = results[FIG3]
    N, exact = fig3.settings.N, fig3["exact"]
    for weights, row in against_closed_form(fig3).iterrows():
        middle = exact[(exact["weights"] == weights) & (exact["step"] == N // 2)]
        error = (middle["single_se"] ** 2).sum() ** 0.5 / len(middle)
        assert row["relative_se"] == pytest.approx(error / middle["closed"].mean())


def to(number):
    return lambda values: number


FEATURES, EXACT = (
    "kernel == 'random features' and trial == 3",
    "kernel == 'exact' and trial == 3",
)
ONE = "weights == 'trained' and seed == 1 and step == "
STEP = "thm31-one-demonstration-a-step"
ORDERS = "steps-average-over-orders"
FALSE = [
    ("thm31-one-step", THM31, "residuals", at(FEATURES, "one_step", to(1e-9))),
    ("thm31-exact-kernel", THM31, "residuals", at(EXACT, "one_step", to(1e-11))),
    ("thm31-exact-kernel", THM31, "residuals", at(EXACT, "single_steps", to(1e-11))),
    (STEP, FIG3, "exact", at(f"{ONE} 15", "single", to(1e-15))),
    (STEP, FIG3, "features", at(f"{ONE} 15 and d_r == 20", "single", to(1e-15))),
    (STEP, FIG3, "exact", at(f"{ONE} 14", "single", to(0.0))),  # too early
    (STEP, FIG3, "features", at(f"{ONE} 3 and d_r == 5", "single", to(0.0))),
    (ORDERS, FIG3, "exact", at("step == 7", ["single", "difference"], lambda v: v + 2)),
    (ORDERS, FIG3, "exact", at("step == 7", "difference", lambda v: v / 2)),  # not theirs
    (ORDERS, FIG3, "exact", at("step == 7", "closed", lambda v: 0 * v)),  # below
    (ORDERS, FIG3, "exact", at("step == 7", "small", lambda v: 1.1 * v)),  # no parabola
    (ORDERS, FIG3, "exact", at("step == 15", ["closed", "single"], to(1.0))),  # no end
    (ORDERS, FIG3, "exact", at("step == 0", ["single", "difference"], lambda v: v + 1)),
]


@pytest.mark.parametrize("name, experiment, table, change", FALSE)
def test_claims_on_false_tables(name, experiment, table, change, results):
    false = results | {experiment: altered(results[experiment], **{table: change})}
    assert verdict(f"ren2024/{name}", false) == "not reproduced"


HOLES = [
    ("thm31-one-step", THM31, "residuals", at(FEATURES, "one_step", to(np.nan))),
    (STEP, FIG3, "features", at(f"{ONE} 15", "single", to(np.nan))),
    (ORDERS, FIG3, "exact", at("step == 7", ["difference", "difference_se"], to(np.nan))),
]


@pytest.mark.parametrize("name, experiment, table, change", HOLES)
def test_a_table_with_a_hole_is_refused_and_its_check_says_no(
    name, experiment, table, change, results
):
    false = results | {experiment: altered(results[experiment], **{table: change})}
    assert verdict(f"ren2024/{name}", false) == "refused"
    assert CLAIMS[f"ren2024/{name}"].outcome(false).verdict == "not reproduced"


# --- measures


def test_over_seeds_takes_the_mean_and_the_standard_error_of_a_mean_of_means():
    rows = [(0, 0, 1.0, 0.3), (1, 0, 3.0, 0.4), (0, 1, 5.0, 0.0), (1, 1, 5.0, 0.0)]
    table = pd.DataFrame(rows, columns=["seed", "step", "single", "single_se"])
    found = over_seeds(table, ["step"])
    assert found["single"].tolist() == [2.0, 5.0]
    assert found["single_se"].tolist() == pytest.approx([0.25, 0.0])
    assert list(found.columns) == ["single", "single_se"]


def test_relative_divides_each_curve_by_its_own_start():
    rows = [("a", 0, 2.0), ("a", 1, 1.0), ("b", 0, 4.0), ("b", 1, 1.0)]
    found = relative(pd.DataFrame(rows, columns=["weights", "step", "single"]), ["weights"])
    assert found[0].tolist() == [1.0, 1.0] and found[1].tolist() == [0.5, 0.25]


def test_the_parabola_starts_at_one_and_ends_at_zero():
    assert parabola(np.array([0, 5, 10]), 10).tolist() == [1.0, 0.25, 0.0]


def test_against_closed_form_looks_between_the_ends(results):
    def one_step_high(table):
        table.loc[table["step"] == 5, "single"] = 3 * table.loc[table["step"] == 5, "closed"]
        table.loc[table["step"] == 14, "single"] = 9.0
        return table

    fig3 = altered(results[FIG3], exact=one_step_high)
    found, exact = against_closed_form(fig3), over_seeds(fig3["exact"], ["weights", "step"])
    assert found["highest"].tolist() == pytest.approx([3.0, 3.0])
    assert (found["lowest"] < found["highest"]).all()
    assert found["start"].tolist() == exact["single"].xs(0, level="step").tolist()
    assert found["end"].tolist() == exact["single"].xs(15, level="step").tolist()


def test_floors_are_over_the_first_error_of_the_same_layer(results):
    fig3 = results[FIG3]
    found = floors(fig3)
    assert found.index.tolist() == [(w, d) for w in ("random", "trained") for d in (5, 20)]
    end = fig3["features"].query("weights == 'trained' and d_r == 20 and step == 15")
    start = fig3["exact"].query("weights == 'trained' and step == 0")
    wanted = end["to_exact"].mean() / start["single"].mean()
    assert found.loc[("trained", 20), "to_exact"] == pytest.approx(wanted)
    assert (found["own"] < 1e-20).all()
