"""Checks of the chapter *The softmax kernel and its random features*."""

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_most
from iclbook.statistics import loglog_slope

# What a slope is multiplied by: the mean absolute error falls half as fast.
NOMINAL = {"matrix_MSE": 1, "output_MSE": 1, "matrix_MAE": 2, "output_MAE": 2}


def kernel_identity(results, threshold) -> Outcome:
    """Largest relative error of the two identities over widths, norms and seeds."""
    errors = results["ren2024/kernel-identity"]["errors"][["kernel", "shifted_features"]]
    return at_most(errors.to_numpy().max(), threshold)


def features_unbiased(results, threshold) -> Outcome:
    """Largest distance of a sampled mean or variance from its closed form, in standard
    errors."""
    table = results["ren2024/features-variance"]["moments"]
    distances = [
        (table[name] - table[f"{name}_exact"]).abs() / table[f"{name}_error"]
        for name in ("mean", "variance")
    ]
    return at_most(np.max(distances), threshold)


def log_slopes(errors: pd.DataFrame) -> pd.DataFrame:
    """Log-log slopes in d_r, MAE's doubled: a column an error, a row for each squared_sum,
    features and seed."""

    def slopes(rows):
        return pd.Series(
            {e: n * loglog_slope(rows["d_r"], rows[e]).estimate for e, n in NOMINAL.items()}
        )

    return errors.groupby(["squared_sum", "features", "seed"])[["d_r", *NOMINAL]].apply(slopes)


def features_error_rate(results, threshold) -> Outcome:
    """Largest distance from -1 of a slope averaged over seeds; positive features, means of at
    most 1."""
    slopes = log_slopes(results["ren2024/fig27-error"]["errors"])
    mean = slopes.groupby(["squared_sum", "features"]).agg(lambda each: each.mean(skipna=False))
    mean = mean.query("squared_sum <= 1 and features in ('iid', 'orthogonal')")
    return at_most((mean + 1).abs().to_numpy().max(initial=-np.inf), threshold)
