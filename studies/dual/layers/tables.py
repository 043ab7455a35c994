"""Checks of the chapter *Whole layers, many layers*."""

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_least, at_most


def transformer_layer(results, threshold) -> Outcome:
    """Largest residual over blocks, activations, masks, trials and seeds."""
    residuals = results["ren2024/transformer-layer"]["residuals"]["residual"]
    return at_most(residuals.max(skipna=False), threshold)


def attention_stack(results, threshold) -> Outcome:
    """Largest residual over depths, residual connections, masks, trials and seeds.

    Partly, where a residual is above the threshold but every one is at most what rounding
    should do to that stack.
    """
    stacks = results["ren2024/attention-stack"]["stacks"]
    outcome = at_most(stacks["residual"].max(skipna=False), threshold)
    rounding = (stacks["residual"] <= stacks["rounding"]).all() and (
        stacks["rounding"] < 1
    ).all()
    partly = rounding and outcome.verdict != "reproduced"
    return Outcome("partly", outcome.measured) if partly else outcome


def distance_of_the_two(errors: pd.DataFrame) -> pd.DataFrame:
    """sqrt(apart / frozen) before the last step: index block and seed, a column a step."""
    ratio = np.sqrt(errors["apart"] / errors["frozen"])
    ratio = ratio.groupby([errors["block"], errors["seed"], errors["step"]]).sum(min_count=1)
    return ratio.unstack("step").iloc[:, :-1]


def layer_map_belongs_to_the_answer(results, threshold) -> Outcome:
    """Smallest sqrt(apart / frozen) before the last step; the residual connection alone must
    have none."""
    ratio = distance_of_the_two(results["ren2024/layer-steps"]["errors"])
    outcome = at_least(ratio.drop(index="residual").min(axis=None, skipna=False), threshold)
    none = ratio.loc["residual"].max(axis=None, skipna=False) <= 1e-10
    return outcome if none else Outcome("not reproduced", outcome.measured)


def stack_pairs_know_the_query(results, threshold) -> Outcome:
    """Smallest movement without a mask from depth 2 on; under a causal mask, and into the first
    layer, it must be zero."""
    table = results["ren2024/attention-stack"]["stacks"]
    free = (table["depth"] > 1) & (table["mask"] == "full")
    outcome = at_least(table.loc[free, "movement"].min(skipna=False), threshold)
    zero = (table.loc[~free, "movement"] == 0).all()
    return outcome if zero else Outcome("not reproduced", outcome.measured)
