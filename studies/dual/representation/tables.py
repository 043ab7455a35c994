"""Checks of the chapter *A representation-learning problem*."""

import pandas as pd

from iclbook.claim import Outcome, at_most

CONVERGED = 1e-6  # in units of ||G||


def judged(outcome: Outcome, as_said: bool) -> Outcome:
    """The outcome where the rest of the statement holds too."""
    return outcome if as_said else Outcome("not reproduced", outcome.measured)


# --- the step repeated


def runs(repeated) -> pd.DataFrame:
    """The paths without and with negatives in one table, the former with r and beta NaN."""
    return pd.concat([repeated["plain"], repeated["negatives"]], ignore_index=True)


def linear_loss_no_bound_on_w(results, threshold) -> Outcome:
    """Largest distance of the trained W_t from its closed form; every alpha must behave as
    predicted."""
    repeated = results["ren2024/repeated-steps"]
    alphas, every = repeated.settings.alphas, runs(repeated)
    paths = every.groupby(["seed", "r", "beta", "alpha"], dropna=False)
    regimes = {0.0, 2.0} < set(alphas) and min(alphas) < 0 and max(alphas) > 2
    as_said = regimes and set(alphas) == set(every["alpha"])
    for (*_, alpha), path in paths:
        last = repeated.settings.recorded[-1]
        as_said = as_said and behaves(alpha, path.set_index("step"), last)
    largest = every["closed_form_distance"].max(skipna=False)
    return judged(at_most(largest, threshold), as_said)


def behaves(alpha: float, path: pd.DataFrame, last: int) -> bool:
    """Whether W_t grows like t, tends to G / alpha, alternates around it, or leaves it
    geometrically."""
    norm, distance = path["norm"], path["limit_distance"]
    if alpha == 0:
        return norm[last] >= last / 2 * norm[1]
    if 0 < alpha < 2:
        return distance[last] <= CONVERGED
    if alpha == 2:
        return abs(distance[last] - distance[0]) <= CONVERGED < distance[0]
    return distance[last] >= abs(1 - alpha) ** last * distance[0] / 2


def rates(repeated) -> pd.DataFrame:
    """By alpha and seed, without negatives: ||W|| after the first step and the last, the gain a
    step from step 10 on, and the factor a step of the distance from G / alpha, steps 5 to 10.

    The factor is NaN at alpha = 0 and 1, where there is no distance to shrink.
    """
    plain, last = repeated["plain"], repeated.settings.recorded[-1]
    norm, distance = (
        plain.pivot(index=["alpha", "seed"], columns="step", values=measure)
        for measure in ("norm", "limit_distance")
    )
    factor = ((distance[10] / distance[5]) ** (1 / 5)).drop([0.0, 1.0])
    gain = (norm[last] - norm[10]) / (last - 10)
    return pd.DataFrame({"first": norm[1], "last": norm[last], "gain": gain, "factor": factor})


def rank_changes(path: pd.DataFrame, last: int) -> pd.Series:
    """Relative change of the effective rank from step 1 to step `last`, a row a path."""
    wide = path.pivot(index=["seed", "r"], columns="step", values="effective_rank")
    return wide[last] / wide[1] - 1


def collapse_measures(path: pd.DataFrame, last: int) -> dict[str, float]:
    """Medians over seeds of rank and mean share of the paths of one loss, and the extremes of
    the rank's relative change from step 1 on."""
    median = path.groupby("step")[["effective_rank", "mean_share"]].median()
    change = rank_changes(path, last)
    return {
        "rank_first": median.loc[1, "effective_rank"],
        "rank_last": median.loc[last, "effective_rank"],
        "fall": change.min(),
        "rise": change.max(),
        "share_last": median.loc[last, "mean_share"],
    }


def repeating_does_not_collapse(results, threshold) -> Outcome:
    """Largest relative change of the effective rank from the first step to the last, at alpha =
    0. A rank lies between 1 and that of N outputs."""
    repeated = results["ren2024/repeated-steps"]
    s, path = repeated.settings, runs(repeated).query("alpha == 0")
    change = rank_changes(path, s.recorded[-1]).abs()
    possible = path["effective_rank"].between(1 - 1e-9, min(s.N, s.head_size)).all()
    return judged(at_most(change.max(skipna=False), threshold), possible)


# --- how fast W grows with negatives


def with_curvature(negatives) -> pd.DataFrame:
    """The growth with, for each seed and r, the curvature c / a and the break-even beta of
    predicted = 1 + curvature beta (beta - break_even_beta)."""
    growth = negatives["growth"].merge(negatives["break_even"], on=["seed", "r"], how="left")
    shape = growth["beta"] * (growth["beta"] - growth["break_even_beta"])
    fit = pd.DataFrame({"top": shape * (growth["predicted"] - 1), "bottom": shape**2})
    sums = fit.groupby([growth["seed"], growth["r"]]).transform("sum")
    return growth.assign(shape=shape, curvature=sums["top"] / sums["bottom"])


def misses(growth: pd.DataFrame) -> pd.Series:
    """Distance of the measured growth from the predicted one, in its standard errors."""
    return (growth["measured"] - growth["predicted"]).abs() / growth["standard_error"]


def negatives_do_not_bound_w(results, threshold) -> Outcome:
    """Largest distance of the measured growth from the predicted one, in standard errors.

    What is predicted must be a parabola in beta through 1 at 0 and at the break-even beta. The
    growth must be faster than without negatives for some, slower for some, and above 0 for all.
    """
    growth = with_curvature(results["ren2024/negatives-growth"])
    measured, predicted, error = (
        growth[name] for name in ("measured", "predicted", "standard_error")
    )
    parabola = 1 + growth["curvature"] * growth["shape"]
    as_said = (
        (predicted - parabola).abs().max(skipna=False) <= 1e-6
        and measured.max() > 1 > measured.min()
        and (measured > 10 * error).all()
    )
    return judged(at_most(misses(growth).max(skipna=False), threshold), as_said)


# --- targets that learn


def collapse_needs_learned_targets(results, threshold) -> Outcome:
    """Largest effective rank at the end where the targets learn, from a start above 1.5; where
    they are fixed it must exceed 1.5 throughout."""
    learned_targets = results["ren2024/learned-targets"]
    s, paths = learned_targets.settings, learned_targets["paths"]
    index = ["targets", "centred", "seed"]
    wide = paths.pivot(index=index, columns="step", values="effective_rank")
    learned, fixed = wide.loc["learned"], wide.loc["fixed"]
    as_said = (
        learned[s.recorded[0]].min(skipna=False) > 1.5
        and fixed[list(s.recorded)].min(axis=None, skipna=False) > 1.5
        and set(paths["centred"]) == {False, True}
    )
    return judged(at_most(learned[s.recorded[-1]].max(skipna=False), threshold), as_said)
