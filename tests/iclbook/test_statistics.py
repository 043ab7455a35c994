"""Shared measures against independent ones: scipy's own intervals, numpy's fits, coverage."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from iclbook.statistics import (
    bands,
    loglog_slope,
    paired,
    paired_ratio,
    t_interval,
)

NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=30)


@given(NUMBERS, st.floats(0.5, 0.99))
def test_the_t_interval_is_scipys(values, level):
    found = t_interval(values, level)
    wanted = stats.ttest_1samp(values, 0.0).confidence_interval(level)
    np.testing.assert_allclose(found[0], np.mean(values), atol=1e-9)
    if np.std(values) > 1e-3:
        np.testing.assert_allclose(found[1:], wanted, rtol=1e-6, atol=1e-6)


def test_the_t_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    found = [t_interval(random.normal(2.0, 3.0, 5), 0.9) for _ in range(2_000)]
    share = np.mean([low <= 2.0 <= high for _, low, high in found])
    assert abs(share - 0.9) < 4 * (0.09 / 2_000) ** 0.5


def test_an_interval_of_one_value_or_of_nan_is_nan():
    assert np.isnan(t_interval([1.0]).low) and t_interval([1.0]).estimate == 1.0
    assert np.isnan(t_interval([1.0, np.nan, 2.0])).all()


@given(st.floats(0.01, 3), st.floats(0.1, 10.0))
def test_the_slope_of_a_power_law_is_its_exponent(power, factor):
    x = np.array([1.0, 2.0, 5.0, 9.0])
    found = loglog_slope(x, factor * x**power)
    np.testing.assert_allclose(found, [power] * 3, atol=1e-6)


def test_the_slopes_interval_is_that_of_least_squares():
    random, x = np.random.default_rng(2), np.geomspace(1, 100, 12)
    y = x**-0.5 * np.exp(0.1 * random.normal(size=12))
    found = loglog_slope(x, y)
    (slope, _), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    half = stats.t.ppf(0.975, 10) * covariance[0, 0] ** 0.5
    np.testing.assert_allclose(found, [slope, slope - half, slope + half], rtol=1e-9)


TABLE = pd.DataFrame(
    {
        "seed": [0, 1, 2] * 2,
        "rule": ["a"] * 3 + ["b"] * 3,
        "loss": [1.0, 10.0, 100.0, 2.0, 5.0, 400.0],
    }
)


def test_pairs_are_subtracted_before_anything_is_taken_of_them():
    difference = paired(TABLE, "rule", "a", "b", "loss")
    assert difference.tolist() == [-1.0, 5.0, -300.0] and list(difference.index) == [0, 1, 2]
    ratio = paired_ratio(TABLE, "rule", "a", "b", "loss")
    assert ratio.tolist() == [0.5, 2.0, 0.25]
    medians = TABLE.groupby("rule")["loss"].median()
    assert ratio.median() != medians["a"] / medians["b"]


def test_a_pair_with_one_half_missing_is_nan_and_a_repeated_pair_is_an_error():
    assert paired(TABLE.drop(index=4), "rule", "a", "b", "loss").isna().tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="duplicate"):
        paired(pd.concat([TABLE, TABLE]), "rule", "a", "b", "loss")


def test_bands_hold_the_share_they_are_asked_for():
    table = pd.DataFrame({"step": np.repeat([0, 1], 101), "loss": np.tile(np.arange(101.0), 2)})
    whole, half = bands(table, "step", "loss"), bands(table, "step", "loss", inner=0.5)
    assert whole.loc[0].to_dict() == {"low": 0.0, "median": 50.0, "high": 100.0}
    assert half.loc[1].to_dict() == {"low": 25.0, "median": 50.0, "high": 75.0}
