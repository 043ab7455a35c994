"""Checks of the chapter *How many demonstrations?*"""

import numpy as np

from iclbook.claim import Outcome, at_most

# Pools whose expectations 400 samples resolve: in "prompt" a few pairs of 1,000 carry most of the second moment.
RESOLVED = ["unit", "uniform"]


def _wide(tables):
    """One row a (pool, seed, N), one column a quantity."""
    table = tables["ren2024/thm32-gap"]
    return table[table["N"] > 0].pivot(
        index=["pool", "seed", "N"], columns="quantity", values="value"
    )


def thm32_bound_holds(tables, threshold) -> Outcome:
    """Largest ratio of the gap's 1 - delta quantile to the bound, over pools, N and seeds.

    Also wanted: rms <= second moment <= symmetrised <= radius <= bound everywhere; and where samples resolve
    expectations, within 5 standard errors, mean square = rms^2, mean <= rms, mean <= twice Rademacher <= symmetrised.
    """
    wide = _wide(tables)
    outcome = at_most((wide["quantile"] / wide["bound"]).max(skipna=False), threshold)
    steps = wide[["rms", "second_moment", "symmetrised", "radius", "bound"]]
    sound = (
        steps.diff(axis=1).iloc[:, 1:].to_numpy() >= -1e-8 * steps.iloc[:, 1:].to_numpy()
    ).all()  # ten digits are stored

    light = wide.loc[RESOLVED]
    mean, twice = light["mean"] - 5 * light["mean error"], light["twice Rademacher"]
    slack = 5 * light["Rademacher error"]
    sound &= (
        (light["mean square"] - light["rms"] ** 2).abs() <= 5 * light["mean square error"]
    ).all()
    sound &= (
        (mean <= light["rms"])
        & (mean <= twice + slack)
        & (twice - slack <= light["symmetrised"])
    ).all()
    return outcome if sound else Outcome("not reproduced", outcome.measured)


def mean_gap_slopes(tables):
    """Log-log slope of the mean gap in N, averaged over seeds: a series over pools."""
    wide = _wide(tables).reset_index()
    slopes = wide.groupby(["pool", "seed"])[["N", "mean"]].apply(
        lambda g: np.polyfit(np.log(g["N"]), np.log(g["mean"]), 1)[0]
    )
    return slopes.groupby("pool").mean()


def thm32_rate_in_n(tables, threshold) -> Outcome:
    """Largest distance from -1/2 of the slope, over pools; partly where only some pools meet the threshold."""
    distance = (mean_gap_slopes(tables) + 0.5).abs()
    outcome, met = at_most(distance.max(skipna=False), threshold), distance <= threshold
    return Outcome("partly", outcome.measured) if met.any() and not met.all() else outcome
