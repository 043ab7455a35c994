"""Checks of the chapter *The softmax kernel and its random features*."""

import numpy as np

from iclbook.claim import Outcome, at_most

NOMINAL = {
    "matrix MSE": 1,
    "output MSE": 1,
    "matrix MAE": 2,
    "output MAE": 2,
}  # MAE falls half as fast, so it is doubled


def kernel_identity(tables, threshold) -> Outcome:
    """Largest relative error of the two identities over widths, norms and seeds."""
    return at_most(tables["ren2024/kernel-identity"]["value"].max(skipna=False), threshold)


def features_unbiased(tables, threshold) -> Outcome:
    """Largest distance of a sampled mean or variance from its closed form, in standard
    errors."""
    keys = ["cosine", "seed", "features"]
    wide = tables["ren2024/features-variance"].pivot(
        index=keys, columns="quantity", values="value"
    )
    distances = [
        (wide[name] - wide[f"{name} exact"]).abs() / wide[f"{name} error"]
        for name in ("mean", "variance")
    ]
    return at_most(
        max(
            (d.max(skipna=False) for d in distances), key=lambda d: np.inf if np.isnan(d) else d
        ),
        threshold,
    )


def log_slopes(table):
    """Log-log slopes in d_r, MAE's doubled: a series over (squared_sum, features, quantity,
    seed)."""
    chosen = table[table["quantity"].isin(list(NOMINAL))]

    def slope(group):
        return np.polyfit(np.log(group["d_r"]), np.log(group["value"]), 1)[0]

    slopes = chosen.groupby(["squared_sum", "features", "quantity", "seed"])[
        ["d_r", "value"]
    ].apply(slope)
    return slopes * slopes.index.get_level_values("quantity").map(NOMINAL)


def features_error_rate(tables, threshold) -> Outcome:
    """Largest distance from -1 of a slope averaged over seeds; positive features, means of at
    most 1."""
    mean = (
        log_slopes(tables["ren2024/fig27-error"])
        .groupby(["squared_sum", "features", "quantity"])
        .mean()
        .reset_index(name="slope")
    )
    mean = mean[(mean["squared_sum"] <= 1) & mean["features"].isin(["iid", "orthogonal"])]
    return at_most((mean["slope"] + 1).abs().max(skipna=False), threshold)
