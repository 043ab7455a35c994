"""Claims of the chapter *Whole layers, many layers* on true and false tables."""

import numpy as np
import pandas as pd
import pytest
from claims import outcome, verdict_after

from iclbook.catalogue import find
from iclbook.runner import compute
from studies.dual.layers.tables import (
    distance_of_the_two,
    over_seeds,
    query_may_enter,
    residuals_by_depth,
)

LAYER, STACK, STEPS = (
    f"ren2024/{n}" for n in ("transformer-layer", "attention-stack", "layer-steps")
)
MAP, PAIRS = "layer-map-belongs-to-the-answer", "stack-pairs-know-the-query"
TABLE = {LAYER: "residuals", STACK: "stacks", STEPS: "distances"}


@pytest.fixture(scope="module")
def tables():
    changes = {LAYER: {}, STACK: dict(depths=(1, 2)), STEPS: dict(prompts=20)}
    return {
        name: compute(find(name), find(name).settings("quick", **change)).tables
        for name, change in changes.items()
    }


@pytest.mark.parametrize("name", ["transformer-layer", "attention-stack", MAP, PAIRS])
def test_claims_hold_on_small_tables(name, tables):
    found = outcome(f"ren2024/{name}", tables)
    assert found.verdict == "reproduced", found


ONE = "trial == 1 and mask == 'causal'"
DEEP, FIRST = "mask == 'full' and depth == 2", "mask == 'full' and depth == 1"
AT = "distance == '{}' and block == '{}' and step == {}"
FALSE = [
    ("transformer-layer", LAYER, "residual", f"{ONE} and block == 'post-norm'", lambda v: 1e-9),
    ("transformer-layer", LAYER, "residual", f"{ONE} and block == 'pre-norm'", lambda v: None),
    ("attention-stack", STACK, "residual", f"{ONE} and depth == 2", lambda v: 1e-9),
    ("attention-stack", STACK, "residual", f"{ONE} and depth == 2", lambda v: None),
    (MAP, STEPS, "mean", AT.format("apart", "relu", 3), lambda v: 1e-9 * v),
    (MAP, STEPS, "mean", AT.format("apart", "gelu", 14), lambda v: None),
    (MAP, STEPS, "mean", AT.format("apart", "residual", 3), lambda v: v + 1e-3),
    (MAP, STEPS, "mean", AT.format("frozen", "layer norm", 15), lambda v: v + 1e-3),
    (MAP, STEPS, "mean", AT.format("partial", "gelu", 15), lambda v: v + 1e-3),
    (MAP, STEPS, "mean", AT.format("frozen", "relu", 0), lambda v: 2 * v),
    (PAIRS, STACK, "movement", DEEP, lambda v: 1e-9),
    (PAIRS, STACK, "movement", f"{ONE} and depth == 2", lambda v: v + 1e-12),
    (PAIRS, STACK, "movement", FIRST, lambda v: v + 1e-12),
    (PAIRS, STACK, "movement", DEEP, lambda v: None),
]


@pytest.mark.parametrize("name, experiment, measure, select, change", FALSE)
def test_claims_on_false_tables(name, experiment, measure, select, change, tables):
    part = TABLE[experiment]
    table = tables[experiment][part].copy()
    rows = table.eval(select)
    assert rows.any()
    table.loc[rows, measure] = change(table.loc[rows, measure])
    false = {experiment: {**tables[experiment], part: table}}
    assert outcome(f"ren2024/{name}", false).verdict == "not reproduced"


def test_a_stack_above_the_threshold_is_partly_reproduced_only_where_rounding_explains_it(
    tables,
):
    table = tables[STACK]["stacks"].copy()
    deep = table.eval("depth == 2 and trial == 1 and mask == 'full'")
    for residual, rounding, verdict in (
        (1e-9, 1e-8, "partly"),
        (1e-9, 1e-10, "not reproduced"),
        (1e-9, np.nan, "not reproduced"),
        (2.0, 3.0, "not reproduced"),  # rounding that leaves nothing of the stack
    ):
        table.loc[deep, ["residual", "rounding"]] = residual, rounding
        found = outcome("ren2024/attention-stack", {STACK: {"stacks": table}})
        assert found == (verdict, residual)


def test_no_stack_is_no_evidence(tables):
    none = {STACK: {"stacks": tables[STACK]["stacks"].iloc[:0]}}
    for name in ("attention-stack", PAIRS):
        assert outcome(f"ren2024/{name}", none).verdict == "not reproduced"


def test_movements_of_another_mask_are_noticed():
    """The stored result with the masks' names exchanged."""

    def exchanged(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(mask=table["mask"].map({"full": "causal", "causal": "full"}))

    assert verdict_after(f"ren2024/{PAIRS}", STACK) == "reproduced"
    assert verdict_after(f"ren2024/{PAIRS}", STACK, stacks=exchanged) == "not reproduced"


def test_distance_of_the_two_is_a_ratio_of_lengths(tables):
    distances = tables[STEPS]["distances"]
    ratio = distance_of_the_two(distances, end=15)
    assert ratio.shape == (4, 15) and 15 not in ratio
    at = distances.query("block == 'gelu' and step == 7").set_index("distance")["mean"]
    assert ratio.loc["gelu"].iloc[0][7] == pytest.approx((at["apart"] / at["frozen"]) ** 0.5)
    lost = distances.query("not (block == 'gelu' and step == 7 and distance == 'frozen')")
    assert np.isnan(distance_of_the_two(lost, end=15).loc["gelu"].iloc[0][7])


def test_the_error_over_seeds_is_that_of_a_mean_of_means():
    table = pd.DataFrame({"step": [0, 1] * 2, "seed": [0, 0, 1, 1], "mean": [1.0, 2, 3, 6]})
    found = over_seeds(table.assign(standard_error=[3.0, 0, 4, 2]), "step")
    assert found["mean"].tolist() == [2, 4]
    assert found["standard_error"].tolist() == [2.5, 1]


def test_stacks_by_depth():
    row = {"depth": 2, "rounding": 4e-10, "largest_score": 7.0}
    stacks = pd.DataFrame([row | {"residual": r} for r in (1e-10, 3e-10, 5e-11)])
    (found,) = residuals_by_depth(stacks, threshold=1e-10).to_dict("records")
    wanted = {"depth": 2, "stacks": 3, "median": 1e-10, "largest": 3e-10}
    wanted |= {"above_threshold": 1, "largest_score": 7.0, "residual_over_rounding": 0.75}
    assert found == pytest.approx(wanted)


def test_only_later_layers_without_a_mask_may_know_the_query():
    stacks = pd.DataFrame({"depth": [1, 1, 2, 2], "mask": ["full", "causal"] * 2})
    assert query_may_enter(stacks).tolist() == [False, False, True, False]
