"""Checks of the chapter *Linear convergence*."""

import math

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


def steps_at(curve: pd.DataFrame, *levels: float) -> np.ndarray:
    """The steps at which a run's excess passes some levels, between recorded steps on a
    straight line in the log; NaN where it never does."""
    excess = curve["excess"]
    falls = excess.iloc[-1] <= min(levels) and excess.iloc[0] > max(levels)
    found = np.interp(-np.log(levels), -np.log(excess), excess.index)
    return found if falls else np.full(len(levels), np.nan)


@np.errstate(invalid="ignore", divide="ignore")
def path_measures(result) -> pd.DataFrame:
    """What each run of thm1-path shows beside its constants, index (gamma_factor, seed).

    steps: to the target, NaN where it is not reached. smallest: zeta_t / zeta_0 along the run.
    moved: ||Q - Q_0||_F at the end. Rates are -log of the factor of the excess a step. proved:
    by the theorem. frozen: of attention that stands still where the run ended. early, late:
    while the excess falls from 1e-10 to 1e-17, and from there to 1e-24. slowest: of a single
    step. average: from the start to a later step, the lowest.
    """
    constants = result["constants"].set_index(["gamma_factor", "seed"])
    found, runs = {}, result["curves"].groupby(["gamma_factor", "seed"], sort=False)
    for run, rows in runs:
        start, curve = constants.loc[run], rows.set_index("step").sort_index()
        later, end = curve[curve.index > 0], curve.iloc[-1]
        early, middle, late = steps_at(curve, 1e-10, 1e-17, 1e-24)
        average = np.log(curve["excess"].iloc[0] / later["excess"]) / later.index
        found[run] = {
            "steps": end.name if end["excess"] <= result.settings.target else math.nan,
            "smallest": curve["zeta"].min(skipna=False) / start["zeta_0"],
            "moved": end["Q_drift"],
            "proved": -np.log1p(-start["decrease"]),
            "frozen": -2 * np.log1p(-start["rate_w"] * end["zeta"] / result.settings.K),
            "early": math.log(1e7) / (middle - early),
            "late": math.log(1e7) / (late - middle),
            "slowest": -np.log(later["slowest"].max(skipna=False)),
            "average": average.min(skipna=False),
        }
    table = pd.DataFrame.from_dict(found, orient="index").rename_axis(constants.index.names)
    return constants.join(table)


def by_theory(results) -> pd.DataFrame:
    """`path_measures` of the runs by the theory's own rule, a row a seed."""
    return path_measures(results["yang2024/thm1-path"]).loc[1.0]


def thm1_pl_inequality(results, threshold) -> Outcome:
    """Smallest ||gradient||^2 / (2 mu (L - L*)), over random points and the worst error."""
    result = results["yang2024/thm1-inequalities"]
    return at_least(tightest(result, "PL", "PL, w alone, worst error"), threshold)


def thm1_proof_inequalities(results, threshold) -> Outcome:
    """Smallest ratio over every inequality of the proof."""
    return at_least(tightest(results["yang2024/thm1-inequalities"]), threshold)


def thm1_zeta_stays(results, threshold) -> Outcome:
    """Smallest zeta_t / zeta_0 along the theory's runs; NaN where one does not reach its
    target."""
    runs = by_theory(results)
    return at_least(runs["smallest"].where(runs["steps"].notna()).min(skipna=False), threshold)


def thm1_linear_convergence(results, threshold) -> Outcome:
    """Largest relative difference between the rate from 1e-10 to 1e-17 and that from 1e-17 to
    1e-24, over seeds; NaN where a run does not reach 1e-24."""
    runs = by_theory(results)
    return at_most((runs["late"] / runs["early"] - 1).abs().max(skipna=False), threshold)


def thm1_rate_bound_holds(results, threshold) -> Outcome:
    """Smallest ratio of measured to proved rate over seeds: of single steps and from the
    start."""
    runs = by_theory(results)
    ratios = runs[["slowest", "average"]].div(runs["proved"], axis=0)
    return at_least(ratios.min(axis=None, skipna=False), threshold)


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
    1e-18; NaN where a closed form does not fall below that."""
    curves = results["yang2024/frozen-attention"]["curves"]
    exact = curves.sort_values("step").groupby(["rule", "seed"])["exact"]
    falls = exact.is_monotonic_decreasing.all() and (exact.last() < 1e-18).all()
    above = curves[~(curves["exact"] < 1e-18)]
    distance = (above["excess"] / above["exact"] - 1).abs().max(skipna=False)
    return at_most(distance if falls else math.nan, threshold)
