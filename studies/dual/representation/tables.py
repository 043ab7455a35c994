"""Checks of the chapter *A representation-learning problem*."""

from iclbook.claim import Outcome, at_most

CONVERGED = 1e-6  # in units of ||G||


def linear_loss_no_bound_on_w(tables, threshold) -> Outcome:
    """Largest distance of the trained W_t from its closed form; every alpha must behave as
    predicted."""
    table = tables["ren2024/repeated-steps"]
    wide = table.pivot(
        index=["seed", "r", "beta", "alpha", "step"], columns="quantity", values="value"
    )
    largest = wide["distance from closed form"].max(skipna=False)
    as_said = all(
        _behaves(alpha, path.droplevel(["seed", "r", "beta", "alpha"]))
        for (_, _, _, alpha), path in wide.groupby(level=["seed", "r", "beta", "alpha"])
    )
    regimes = (
        {0.0, 2.0} <= set(table["alpha"])
        and table["alpha"].min() < 0
        and table["alpha"].max() > 2
    )
    return Outcome(
        "reproduced" if as_said and regimes and largest <= threshold else "not reproduced",
        float(largest),
    )


def _behaves(alpha, path) -> bool:
    """Whether W_t grows like t, tends to G / alpha, alternates around it, or leaves it
    geometrically."""
    norm, distance, last = path["norm"], path["distance from G / alpha"], path.index.max()
    if alpha == 0:
        return norm[last] >= last / 2 * norm[1]
    if 0 < alpha < 2:
        return distance[last] <= CONVERGED
    if alpha == 2:
        return abs(distance[last] - distance[0]) <= CONVERGED < distance[0]
    return distance[last] >= abs(1 - alpha) ** last * distance[0] / 2


def repeating_does_not_collapse(tables, threshold) -> Outcome:
    """Largest relative change of the effective rank from the first step to the last, at alpha =
    0."""
    table = tables["ren2024/repeated-steps"]
    chosen = table[
        (table["alpha"] == 0) & (table["quantity"] == "effective rank of directions")
    ]
    wide = chosen.pivot(index=["seed", "r"], columns="step", values="value")
    return at_most((wide[wide.columns.max()] / wide[1] - 1).abs().max(skipna=False), threshold)


def negatives_do_not_bound_w(tables, threshold) -> Outcome:
    """Largest distance of the measured growth from the predicted one, in standard errors.

    The growth with some negatives must also exceed that without them, and stay above 0 with
    all.
    """
    table = tables["ren2024/negatives-growth"]
    wide = table.pivot(index=["seed", "r", "beta"], columns="quantity", values="value")
    distance = ((wide["measured"] - wide["predicted"]).abs() / wide["standard error"]).max(
        skipna=False
    )
    grows = (
        wide["measured"].max() > 1 and (wide["measured"] > 10 * wide["standard error"]).all()
    )
    return Outcome(
        "reproduced" if grows and distance <= threshold else "not reproduced", float(distance)
    )


def collapse_needs_learned_targets(tables, threshold) -> Outcome:
    """Largest effective rank at the end where the targets learn; where they are fixed it must
    exceed 1.5."""
    table = tables["ren2024/learned-targets"]
    last = table[
        (table["step"] == table["step"].max())
        & (table["quantity"] == "effective rank of directions")
    ]
    learned, fixed = (last[last["targets"] == name]["value"] for name in ("learned", "fixed"))
    largest = learned.max(skipna=False)
    holds = (
        largest <= threshold
        and (fixed > 1.5).all()
        and set(last["negatives"]) == {"none", "all"}
    )
    return Outcome("reproduced" if holds else "not reproduced", float(largest))
