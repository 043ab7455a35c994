"""Shared measures of spread and trend, on pandas and scipy: bands, standard errors, intervals,
slopes, pairs."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats


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
        half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return Interval(float(mean), float(mean - half), float(mean + half))


def bootstrap_interval(
    values, statistic: Callable = np.mean, level: float = 0.95, seed: int = 0
) -> Interval:
    """A statistic of `values`, (count,), with its bias-corrected bootstrap interval of 9,999
    resamples."""
    values = np.asarray(values, dtype=float)
    found = stats.bootstrap(
        (values,), statistic, confidence_level=level, rng=np.random.default_rng(seed)
    )
    return Interval(float(statistic(values)), *map(float, found.confidence_interval))


def loglog_slope(x, y, level: float = 0.95) -> Interval:
    """The exponent p of the least-squares line log y = p log x + constant, with its t interval;
    x, y: (count,) > 0."""
    x, y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    line = stats.linregress(x, y)
    half = stats.t.ppf((1 + level) / 2, len(x) - 2) * line.stderr if len(x) > 2 else np.nan
    return Interval(float(line.slope), float(line.slope - half), float(line.slope + half))


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
