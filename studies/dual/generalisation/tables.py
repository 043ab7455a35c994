"""Checks of the chapter *How many demonstrations?*"""

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_most
from iclbook.statistics import loglog_slope

# Pools whose expectations 400 samples resolve: in "prompt" a few pairs of 1,000 carry most of
# the second moment.
RESOLVED = ("unit", "uniform")
STEPS = {
    "rms": "root mean square",
    "second_moment": "second moment",
    "symmetrised": "symmetrised",
    "radius": "radius",
    "bound": "bound",
}


def misses(gaps: pd.DataFrame) -> pd.Series:
    """Distance of the sampled mean square from the exact one, in standard errors, row by
    row."""
    return (gaps["mean_square"] - gaps["rms"] ** 2).abs() / gaps["mean_square_error"]


def tightness(gaps: pd.DataFrame) -> pd.DataFrame:
    """How far the bound lies above the gap, a row a pool and N: medians over seeds, but for the
    largest gap and the share above the bound the worst seed."""
    bound = gaps["bound"]
    each = {
        "mean gap": gaps["mean"],
        "its relative standard error": gaps["mean_error"] / gaps["mean"],
        "bound / mean gap": bound / gaps["mean"],
        "bound / 95 % quantile": bound / gaps["quantile"],
        "bound / largest gap seen": bound / gaps["largest"],
        "share above the bound": gaps["share_above"],
    }
    over_seeds = dict.fromkeys(each, "median")
    over_seeds |= {"bound / largest gap seen": "min", "share above the bound": "max"}
    by = gaps[["pool", "N"]].assign(**each).groupby(["pool", "N"], sort=False)
    return by.agg(over_seeds).reset_index()


def relative_steps(gaps: pd.DataFrame, N: int) -> pd.DataFrame:
    """The mean gap and each step of the proof over the mean gap, for samples of N: a row a seed
    of a pool, which is the index, and a column a step."""
    steps = gaps[gaps["N"] == N].set_index("pool")[["mean", *STEPS]]
    return steps.div(steps["mean"], axis=0).rename(columns={"mean": "mean gap", **STEPS})


def thm32_bound_holds(results, threshold) -> Outcome:
    """Largest ratio of the gap's 1 - delta quantile to the bound, over pools, N and seeds.

    Also wanted: rms <= second moment <= symmetrised <= radius <= bound everywhere; and where
    samples resolve expectations, within 5 standard errors, mean square = rms^2, mean <= rms,
    mean <= twice Rademacher <= symmetrised.
    """
    gaps = results["ren2024/thm32-gap"]["gaps"]
    found = at_most((gaps["quantile"] / gaps["bound"]).max(skipna=False), threshold)
    steps = gaps[list(STEPS)].to_numpy()
    sound = (np.diff(steps) >= -1e-8 * steps[:, 1:]).all()  # ten digits are stored

    light = gaps[gaps["pool"].isin(RESOLVED)]
    mean, twice = light["mean"] - 5 * light["mean_error"], light["twice_Rademacher"]
    slack = 5 * light["Rademacher_error"]
    sound &= (misses(light) <= 5).all()
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
