"""Checks of the chapter *Linear convergence*."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_least, at_most
from iclbook.statistics import loglog_slope

RULES = ("theory", "fixed", "tuned")


def tightest(result, *names: str) -> float:
    """Smallest ratio (larger side over smaller side) over seeds, of the named inequalities or
    of all."""
    table = result["inequalities"]
    table = table[table["inequality"].isin(names)] if names else table
    return float(table["tightest_ratio"].min(skipna=False))


def theory_runs(result) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """(constants, curve with index step) of each seed's path under the theory's own rule."""
    constants = result["constants"].query("gamma_factor == 1").set_index("seed")
    for seed, curve in result["curves"].query("gamma_factor == 1").groupby("seed"):
        yield constants.loc[seed], curve.set_index("step")


def thm1_pl_inequality(results, threshold) -> Outcome:
    """Smallest ||gradient||^2 / (2 mu (L - L*)), over random points and the worst error."""
    result = results["yang2024/thm1-inequalities"]
    return at_least(tightest(result, "PL", "PL, w alone, worst error"), threshold)


def thm1_proof_inequalities(results, threshold) -> Outcome:
    """Smallest ratio over every inequality of the proof."""
    return at_least(tightest(results["yang2024/thm1-inequalities"]), threshold)


def thm1_zeta_stays(results, threshold) -> Outcome:
    """Smallest zeta_t / zeta_0 along the theory's runs."""
    runs = theory_runs(results["yang2024/thm1-path"])
    shares = [
        curve["zeta"].min(skipna=False) / constants["zeta_0"] for constants, curve in runs
    ]
    return at_least(np.min(shares), threshold)


def steps_at(curve: pd.DataFrame, *levels: float) -> np.ndarray:
    """The steps at which a run's excess passes some levels, between recorded steps on a
    straight line in the log; NaN where it never does."""
    excess = curve["excess"]
    falls = excess.iloc[-1] <= min(levels) and excess.iloc[0] > max(levels)
    found = np.interp(-np.log(levels), -np.log(excess), excess.index)
    return found if falls else np.full(len(levels), np.nan)


def thm1_linear_convergence(results, threshold) -> Outcome:
    """Largest relative difference between the rate from 1e-10 to 1e-17 and that from 1e-17 to
    1e-24, over seeds.

    Not reproduced, with NaN, where a run does not reach 1e-24.
    """
    differences = []
    for _, curve in theory_runs(results["yang2024/thm1-path"]):
        early, middle, late = steps_at(curve, 1e-10, 1e-17, 1e-24)
        differences.append(abs((middle - early) / (late - middle) - 1))
    return at_most(np.max(differences), threshold)


def thm1_rate_bound_holds(results, threshold) -> Outcome:
    """Smallest ratio of measured to proved rate, -log(1 - eta mu), over seeds: of single steps
    and from the start."""
    ratios = []
    for constants, curve in theory_runs(results["yang2024/thm1-path"]):
        proved = -math.log1p(-constants["decrease"])
        later = curve[curve.index > 0]
        average = np.log(curve["excess"].iloc[0] / later["excess"]) / later.index
        slowest = -np.log(later["slowest"].max(skipna=False))
        ratios += [average.min(skipna=False) / proved, slowest / proved]
    return at_least(np.min(ratios), threshold)


def exponents(steps: pd.DataFrame, sweep: str, measure: str = "steps") -> pd.DataFrame:
    """d log(steps) / d log(size) by least squares: a row a seed, a column a rule; NaN where a
    size was not reached."""

    def slope(rows: pd.DataFrame) -> float:
        return loglog_slope(rows["size"], rows[measure]).estimate

    rows = steps[steps["sweep"] == sweep]
    return rows.groupby(["seed", "rule"])[["size", measure]].apply(slope).unstack("rule")


def thm1_slower(results, threshold, sweep: str) -> Outcome:
    """The exponent of the number of steps in K or H that three seeds in four reach, lowest of
    the rules.

    Reproduced where it reaches the threshold for every rule, partly where it does for some.
    Steps that were not reached count as no exponent at all.
    """
    found = exponents(results["yang2024/thm1-rates"]["steps"], sweep)[list(RULES)]
    quarter = found.quantile(0.25).where(found.notna().all())
    count = int((quarter >= threshold).sum())
    verdict = {len(RULES): "reproduced", 0: "not reproduced"}.get(count, "partly")
    return Outcome(verdict, float(quarter.min(skipna=False)))


def frozen_attention_rate(results, threshold) -> Outcome:
    """Largest relative distance of a run's excess from its closed form, while that is above
    1e-18."""
    curves = results["yang2024/frozen-attention"]["curves"]
    above = curves[~(curves["exact"] < 1e-18)]
    return at_most((above["excess"] / above["exact"] - 1).abs().max(skipna=False), threshold)
