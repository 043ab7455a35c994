"""Checks of the chapter *How many demonstrations?*"""

import numpy as np

from iclbook.claims import Outcome, at_most


def _wide(tables):
    """One row a (pool, seed, N), one column a quantity."""
    table = tables["ren2024/thm32-gap"]
    return table[table["N"] > 0].pivot(index=["pool", "seed", "N"], columns="quantity", values="value")


def thm32_bound_holds(tables, threshold) -> Outcome:
    """Largest ratio of the gap's 1 - delta quantile to the bound, over pools, N and seeds.

    Also wanted: the measured mean square agrees with the exact one within 5 standard errors, and no step of the proof
    tightens: mean <= rms <= second moment <= symmetrised <= radius <= bound, mean <= twice Rademacher <= symmetrised.
    """
    wide = _wide(tables)
    outcome = at_most((wide["quantile"] / wide["bound"]).max(skipna=False), threshold)
    exact = ((wide["mean square"] - wide["rms"] ** 2).abs() <= 5 * wide["mean square error"]).all()
    steps = wide[["rms", "second_moment", "symmetrised", "radius", "bound"]]
    ordered = (steps.diff(axis=1).iloc[:, 1:].to_numpy() >= -1e-12).all()
    mean, twice = (wide["mean"], wide["mean error"]), (wide["twice Rademacher"], wide["Rademacher error"])
    ordered &= (mean[0] - 5 * mean[1] <= wide["rms"]).all() and (mean[0] - 5 * mean[1] <= twice[0] + 5 * twice[1]).all()
    ordered &= (twice[0] - 5 * twice[1] <= wide["symmetrised"]).all()
    return outcome if exact and ordered else Outcome("not reproduced", outcome.measured)


def thm32_rate_in_n(tables, threshold) -> Outcome:
    """Largest distance from -1/2 of the log-log slope of the mean gap in N, averaged over seeds, over pools."""
    wide = _wide(tables).reset_index()
    slopes = wide.groupby(["pool", "seed"])[["N", "mean"]].apply(lambda g: np.polyfit(np.log(g["N"]), np.log(g["mean"]), 1)[0])
    return at_most((slopes.groupby("pool").mean() + 0.5).abs().max(skipna=False), threshold)
