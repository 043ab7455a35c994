"""Checks of the chapter *How many demonstrations?*"""

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_most
from iclbook.statistics import loglog_slope

# Pools whose expectations 400 samples resolve: in "prompt" a few pairs of 1,000 carry most of
# the second moment.
RESOLVED = ("unit", "uniform")
STEPS = ["rms", "second_moment", "symmetrised", "radius", "bound"]


def thm32_bound_holds(results, threshold) -> Outcome:
    """Largest ratio of the gap's 1 - delta quantile to the bound, over pools, N and seeds.

    Also wanted: rms <= second moment <= symmetrised <= radius <= bound everywhere; and where
    samples resolve expectations, within 5 standard errors, mean square = rms^2, mean <= rms,
    mean <= twice Rademacher <= symmetrised.
    """
    gaps = results["ren2024/thm32-gap"]["gaps"]
    found = at_most((gaps["quantile"] / gaps["bound"]).max(skipna=False), threshold)
    steps = gaps[STEPS].to_numpy()
    sound = (np.diff(steps) >= -1e-8 * steps[:, 1:]).all()  # ten digits are stored

    light = gaps[gaps["pool"].isin(RESOLVED)]
    mean, twice = light["mean"] - 5 * light["mean_error"], light["twice_Rademacher"]
    slack, off = 5 * light["Rademacher_error"], (light["mean_square"] - light["rms"] ** 2).abs()
    sound &= (off <= 5 * light["mean_square_error"]).all()
    sound &= ((mean <= light["rms"]) & (mean <= twice + slack)).all()
    sound &= (twice - slack <= light["symmetrised"]).all()
    return found if sound and len(light) else Outcome("not reproduced", found.measured)


def mean_gap_slopes(gaps: pd.DataFrame) -> pd.Series:
    """Log-log slope of the mean gap in N, averaged over seeds: a series over pools."""
    slopes = gaps.groupby(["pool", "seed"])[["N", "mean"]].apply(
        lambda rows: loglog_slope(rows["N"], rows["mean"]).estimate
    )
    return slopes.groupby("pool").agg(lambda each: each.mean(skipna=False))


def thm32_rate_in_n(results, threshold) -> Outcome:
    """Largest distance from -1/2 of the slope, over pools; partly where only some pools meet
    the threshold."""
    distance = (mean_gap_slopes(results["ren2024/thm32-gap"]["gaps"]) + 0.5).abs()
    found, met = at_most(distance.max(skipna=False), threshold), distance <= threshold
    partly = met.any() and not met.all() and distance.notna().all()
    return Outcome("partly", found.measured) if partly else found
