"""Checks of the chapter *Whole layers, many layers*."""

import numpy as np

from iclbook.claim import Outcome, at_least, at_most


def _values(table, **wanted):
    """The value column of the rows whose columns have the wanted values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table["value"]


def transformer_layer(tables, threshold) -> Outcome:
    """Largest residual over blocks, activations, masks, trials and seeds."""
    return at_most(
        _values(tables["ren2024/transformer-layer"], quantity="residual").max(skipna=False),
        threshold,
    )


def attention_stack(tables, threshold) -> Outcome:
    """Largest residual over depths, residual connections, masks, trials and seeds.

    Partly, where a residual is above the threshold but every one is at most what rounding
    should do to that stack.
    """
    table = tables["ren2024/attention-stack"]
    keys = ["depth", "seed", "trial", "residual_connections", "mask"]
    wide = table.pivot(index=keys, columns="quantity", values="value")
    outcome = at_most(wide["residual"].max(skipna=False), threshold)
    rounding = (wide["residual"] <= wide["rounding"]).all()
    return (
        Outcome("partly", outcome.measured)
        if rounding and outcome.verdict != "reproduced"
        else outcome
    )


def layer_map_belongs_to_the_answer(tables, threshold) -> Outcome:
    """Smallest sqrt(apart / frozen) before the last step; the residual connection alone must
    have none."""
    wide = tables["ren2024/layer-steps"].pivot(
        index=["block", "seed", "step"], columns="quantity", values="value"
    )
    ratio = np.sqrt(wide["apart, mean"] / wide["frozen, mean"]).unstack("step").iloc[:, :-1]
    outcome = at_least(ratio.drop(index="residual").min(axis=None, skipna=False), threshold)
    none = ratio.loc["residual"].max(axis=None, skipna=False) <= 1e-10
    return outcome if none else Outcome("not reproduced", outcome.measured)


def stack_pairs_know_the_query(tables, threshold) -> Outcome:
    """Smallest movement without a mask from depth 2 on; under a causal mask, and into the first
    layer, it must be zero."""
    table = tables["ren2024/attention-stack"]
    deep, first = table[table["depth"] > 1], table[table["depth"] == 1]
    outcome = at_least(
        _values(deep, quantity="movement", mask="full").min(skipna=False), threshold
    )
    zero = (_values(deep, quantity="movement", mask="causal") == 0).all() and (
        _values(first, quantity="movement") == 0
    ).all()
    return outcome if zero else Outcome("not reproduced", outcome.measured)
