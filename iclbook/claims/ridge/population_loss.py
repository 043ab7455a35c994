"""Checks of the chapter *Training without sampling*."""

from iclbook.claims import Outcome, at_most


def _wide(tables):
    """One row a (table, seed), one column a quantity."""
    return tables["yang2024/lemma5"].pivot(index=["table", "seed"], columns="quantity", values="value")


def lemma5_closed_form(tables, threshold) -> Outcome:
    """Largest distance of the closed form from the Monte Carlo mean, in standard errors."""
    wide = _wide(tables)
    distance = (wide["closed form"] - wide["Monte Carlo mean"]).abs() / wide["Monte Carlo standard error"]
    return at_most(distance.max(skipna=False), threshold)


def lemma5_constant(tables, threshold) -> Outcome:
    """Smallest distance of the constant without m tau from Monte Carlo, in standard errors.

    Must exceed the threshold for the erratum to stand, and the constant with m tau must lie within it.
    """
    wide = _wide(tables).loc["best"]
    error = wide["Monte Carlo standard error"]
    with_term = ((wide["closed form"] - wide["Monte Carlo mean"]).abs() / error).max(skipna=False)
    without = ((wide["closed form, m tau dropped"] - wide["Monte Carlo mean"]).abs() / error).min(skipna=False)
    holds = without > threshold and with_term <= threshold
    return Outcome("reproduced" if holds else "not reproduced", float(without))
