"""Checks of the chapter *Training without sampling*."""

import pandas as pd

from iclbook.claim import Outcome, at_most


def misses(losses: pd.DataFrame, closed_form: str = "closed_form") -> pd.Series:
    """Distance of a closed form from the simulation, in standard errors of the simulation, row
    by row."""
    return (losses[closed_form] - losses["simulated"]).abs() / losses["standard_error"]


def lemma5_closed_form(results, threshold) -> Outcome:
    """Largest distance of the closed form from the Monte Carlo mean, in standard errors."""
    losses = results["yang2024/lemma5"]["losses"]
    return at_most(misses(losses).max(skipna=False), threshold)


def lemma5_constant(results, threshold) -> Outcome:
    """Smallest distance of the constant without m tau from Monte Carlo, in standard errors.

    Must exceed the threshold for the erratum to stand, and the constant with m tau must lie
    within it.
    """
    best = results["yang2024/lemma5"]["losses"].query("weights == 'best'")
    with_term = misses(best).max(skipna=False)
    without = misses(best, "without_m_tau").min(skipna=False)
    holds = without > threshold and with_term <= threshold
    return Outcome("reproduced" if holds else "not reproduced", float(without))
