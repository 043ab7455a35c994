"""Checks of the chapter *A representation-learning problem*."""

import pandas as pd

from iclbook.claim import Outcome, at_most

CONVERGED = 1e-6  # in units of ||G||


def linear_loss_no_bound_on_w(results, threshold) -> Outcome:
    """Largest distance of the trained W_t from its closed form; every alpha must behave as
    predicted."""
    table = results["ren2024/repeated-steps"]["paths"]
    largest = table["distance_from_closed_form"].max(skipna=False)
    as_said = all(
        _behaves(alpha, path.set_index("step"))
        for (_, _, alpha), path in table.groupby(["seed", "r", "alpha"])
    )
    alphas = table["alpha"]
    regimes = {0.0, 2.0} <= set(alphas) and alphas.min() < 0 and alphas.max() > 2
    holds = as_said and regimes and largest <= threshold
    return Outcome("reproduced" if holds else "not reproduced", float(largest))


def _behaves(alpha: float, path: pd.DataFrame) -> bool:
    """Whether W_t grows like t, tends to G / alpha, alternates around it, or leaves it
    geometrically."""
    norm, distance, last = path["norm"], path["distance_from_fixed_point"], path.index.max()
    if alpha == 0:
        return norm[last] >= last / 2 * norm[1]
    if 0 < alpha < 2:
        return distance[last] <= CONVERGED < distance[0]
    if alpha == 2:
        return abs(distance[last] - distance[0]) <= CONVERGED < distance[0]
    return distance[last] >= abs(1 - alpha) ** last * distance[0] / 2 > 0


def repeating_does_not_collapse(results, threshold) -> Outcome:
    """Largest relative change of the effective rank from the first step to the last, at alpha =
    0."""
    table = results["ren2024/repeated-steps"]["paths"].query("alpha == 0")
    rank = table.pivot(index=["seed", "r"], columns="step", values="effective_rank")
    return at_most((rank[rank.columns.max()] / rank[1] - 1).abs().max(skipna=False), threshold)


def negatives_do_not_bound_w(results, threshold) -> Outcome:
    """Largest distance of the measured growth from the predicted one, in standard errors.

    The growth with some negatives must also exceed that without them, and stay above 0 with
    all.
    """
    table = results["ren2024/negatives-growth"]["growth"]
    measured, error = table["measured"], table["standard_error"]
    distance = ((measured - table["predicted"]).abs() / error).max(skipna=False)
    grows = measured.max() > 1 and (measured > 10 * error).all()
    return Outcome(
        "reproduced" if grows and distance <= threshold else "not reproduced", float(distance)
    )


def collapse_needs_learned_targets(results, threshold) -> Outcome:
    """Largest effective rank at the end where the targets learn.

    It must have been larger at the start, and must exceed 1.5 at the end where they are fixed.
    """
    table = results["ren2024/learned-targets"]["paths"]
    first, last = (table[table["step"] == t] for t in (0, table["step"].max()))
    learned, fixed = (
        last.loc[last["targets"] == name, "effective_rank"] for name in ("learned", "fixed")
    )
    largest = learned.max(skipna=False)
    fell = (first["effective_rank"] > 1.5).all() and (fixed > 1.5).all()
    both = set(last["negatives"]) == {"none", "all"}
    holds = largest <= threshold and fell and both
    return Outcome("reproduced" if holds else "not reproduced", float(largest))
