"""Checks of the chapter *Whole layers, many layers*."""

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_least, at_most
from iclbook.statistics import paired_ratio

ROUNDING = 1e-10  # what is exact, but for rounding, lies below


def transformer_layer(results, threshold) -> Outcome:
    """Largest residual over blocks, activations, masks, trials and seeds."""
    residuals = results["ren2024/transformer-layer"]["residuals"]["residual"]
    return at_most(residuals.max(skipna=False), threshold)


def residuals_by_depth(stacks: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """What a reader wants to know of the stacks, a row a depth."""
    above, ratio = stacks["residual"] > threshold, stacks["residual"] / stacks["rounding"]
    return (
        stacks.assign(above=above, ratio=ratio)
        .groupby("depth", as_index=False)
        .agg(
            stacks=("residual", "size"),
            median=("residual", "median"),
            largest=("residual", "max"),
            above_threshold=("above", "sum"),
            largest_score=("largest_score", "max"),
            residual_over_rounding=("ratio", "max"),
        )
    )


def attention_stack(results, threshold) -> Outcome:
    """Largest residual over depths, residual connections, masks, trials and seeds.

    Partly, where a residual is above the threshold but every one is at most what rounding
    should do to that stack, and rounding leaves digits.
    """
    stacks = results["ren2024/attention-stack"]["stacks"]
    found = at_most(stacks["residual"].max(skipna=False), threshold)
    rounding = stacks["rounding"]
    explained = ((stacks["residual"] <= rounding) & (rounding < 1)).all()
    partly = explained and len(stacks) and found.verdict != "reproduced"
    return Outcome("partly", found.measured) if partly else found


def distance_of_the_two(distances: pd.DataFrame, end: int) -> pd.DataFrame:
    """Root-mean-square distance of the block on partial attention from the trained model, over
    the model's distance from the answer: a row a block and seed, a column a step before the
    end."""
    ratio = paired_ratio(
        distances, "distance", "apart", "frozen", "mean", pair=["block", "seed", "step"]
    )
    return np.sqrt(ratio).unstack("step").drop(columns=end)


def layer_map_belongs_to_the_answer(results, threshold) -> Outcome:
    """Smallest distance of the two before the last step; the residual connection alone must
    have none.

    Also wanted: before any step the model's distance from the answer is the unit; with the last
    one all three distances are rounding.
    """
    steps = results["ren2024/layer-steps"]
    distances, end = steps["distances"], steps.settings.N
    ratio = distance_of_the_two(distances, end)
    found = at_least(ratio.drop(index="residual").min(axis=None, skipna=False), threshold)
    sound = ratio.loc["residual"].max(axis=None, skipna=False) <= ROUNDING
    starts = distances.query("step == 0 and distance == 'frozen'")["mean"]
    sound &= ((starts - 1).abs() <= 1e-6).all()
    ends = distances.loc[distances["step"] == end, "mean"]
    sound &= ends.max(skipna=False) <= ROUNDING**2
    return found if sound else Outcome("not reproduced", found.measured)


def over_seeds(table: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """The mean over seeds and its standard error, from those of every seed; indexed by `by`."""
    groups = table.groupby(by)
    error = groups["standard_error"].agg(lambda each: np.sqrt((each**2).sum()) / len(each))
    return groups[["mean"]].mean().assign(standard_error=error)


def query_may_enter(stacks: pd.DataFrame) -> pd.Series:
    """Where the training pairs of the last layer may depend on the query."""
    return (stacks["depth"] > 1) & (stacks["mask"] == "full")


def stack_pairs_know_the_query(results, threshold) -> Outcome:
    """Smallest movement without a mask from depth 2 on; under a causal mask, and into the first
    layer, it must be zero."""
    stacks = results["ren2024/attention-stack"]["stacks"]
    free = query_may_enter(stacks)
    found = at_least(stacks.loc[free, "movement"].min(skipna=False), threshold)
    zero = (stacks.loc[~free, "movement"] == 0).all() and not free.all()
    return found if zero else Outcome("not reproduced", found.measured)
