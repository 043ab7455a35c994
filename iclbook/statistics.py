"""Shared measures of spread and trend, on pandas and scipy: bands, standard errors, intervals,
slopes, pairs."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit


class Interval(NamedTuple):
    """An estimate with its interval."""

    estimate: float
    low: float
    high: float


def bands(
    table: pd.DataFrame, by: str | list[str], measure: str, inner: float = 1.0
) -> pd.DataFrame:
    """Median over seeds, and the quantiles that hold the share `inner` of them: columns median,
    low, high by `by`."""
    tail = (1 - inner) / 2
    found = table.groupby(by, sort=False)[measure].quantile([tail, 0.5, 1 - tail]).unstack()
    return found.set_axis(["low", "median", "high"], axis=1)


def t_interval(values, level: float = 0.95) -> Interval:
    """The mean of `values`, (count,), with Student's t interval; NaN where one value is NaN or
    there is but one."""
    values = np.asarray(values, dtype=float)
    mean, half = values.mean(), np.nan
    if len(values) > 1:
        error = values.std(ddof=1) / len(values) ** 0.5
        half = stdtrit(len(values) - 1, (1 + level) / 2) * error
    return Interval(float(mean), float(mean - half), float(mean + half))


def loglog_slope(x, y, level: float = 0.95) -> Interval:
    """The exponent p of the least-squares line log y = p log x + constant, with its t interval;
    x, y: (count,) > 0."""
    x, y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    if len(x) == 2:  # a line through two points leaves nothing to judge it by
        return Interval(float((y[1] - y[0]) / (x[1] - x[0])), np.nan, np.nan)
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    half = stdtrit(len(x) - 2, (1 + level) / 2) * covariance[0, 0] ** 0.5
    return Interval(float(slope), float(slope - half), float(slope + half))


def paired(
    table: pd.DataFrame,
    column: str,
    first,
    second,
    measure: str,
    pair: str | list[str] = "seed",
) -> pd.Series:
    """measure where column = first, minus measure where column = second, for each pair:
    differences come first, then whatever is taken of them. A pair of which one half is missing
    is NaN."""
    wide = table.pivot(index=pair, columns=column, values=measure)
    return wide[first] - wide[second]


def paired_ratio(
    table: pd.DataFrame,
    column: str,
    first,
    second,
    measure: str,
    pair: str | list[str] = "seed",
) -> pd.Series:
    """As `paired`, the ratio in place of the difference."""
    wide = table.pivot(index=pair, columns=column, values=measure)
    return wide[first] / wide[second]
