"""Checks of the chapter *Linear convergence*."""

import math

import numpy as np

from iclbook.claim import Outcome, at_least, at_most

RULES = ("theory", "fixed", "tuned")


def _tightest(tables, names=None) -> float:
    """Smallest ratio (larger side over smaller side) over seeds, of the named inequalities or
    of all."""
    table = tables["yang2024/thm1-inequalities"]
    table = table if names is None else table[table["inequality"].isin(names)]
    ratios = table.loc[table["quantity"] == "tightest ratio", "value"]
    return float(ratios.min(skipna=False)) if len(ratios) else math.nan


def _theory_runs(tables):
    """One frame a seed of the path under the theory's own rule: index step, a column a
    quantity."""
    table = tables["yang2024/thm1-path"]
    runs = table[table["gamma_factor"] == 1]
    for _, run in runs.groupby("seed"):
        yield run.pivot(index="step", columns="quantity", values="value")


def thm1_pl_inequality(tables, threshold) -> Outcome:
    """Smallest ||gradient||^2 / (2 mu (L - L*)), over random points and the worst error."""
    return at_least(_tightest(tables, ["PL", "PL, w alone, worst error"]), threshold)


def thm1_proof_inequalities(tables, threshold) -> Outcome:
    """Smallest ratio over every inequality of the proof."""
    return at_least(_tightest(tables), threshold)


def thm1_zeta_stays(tables, threshold) -> Outcome:
    """Smallest zeta_t / zeta_0 along the theory's runs."""
    return at_least(
        min(run["zeta"].min() / run["zeta_0"].iloc[0] for run in _theory_runs(tables)),
        threshold,
    )


def thm1_linear_convergence(tables, threshold) -> Outcome:
    """Largest relative difference between the rate from 1e-10 to 1e-17 and that from 1e-17 to
    1e-24, over seeds.

    Not reproduced, with NaN, where a run does not reach 1e-24.
    """
    differences = []
    for run in _theory_runs(tables):
        excess = run["excess"].dropna()
        levels = np.log([1e-10, 1e-17, 1e-24])
        if not excess.iloc[-1] <= 1e-24:
            return Outcome("not reproduced", math.nan)
        early, middle, late = np.interp(
            -levels, -np.log(excess), excess.index
        )  # steps at which it passes the levels
        differences.append(abs((middle - early) / (late - middle) - 1))
    return at_most(max(differences), threshold)


def thm1_rate_bound_holds(tables, threshold) -> Outcome:
    """Smallest ratio of measured to proved rate, -log(1 - eta mu), over seeds: of single steps
    and from the start."""
    ratios = []
    for run in _theory_runs(tables):
        proved = -math.log1p(-run["decrease"].iloc[0])
        later = run[run.index > 0]
        average = np.log(run["excess"].iloc[0] / later["excess"]) / later.index
        ratios += [
            average.min() / proved,
            -math.log(later["slowest contraction"].max()) / proved,
        ]
    return at_least(min(ratios), threshold)


def exponents(table, sweep: str, quantity: str = "steps"):
    """d log(steps) / d log(size) by least squares, for each rule and seed: a frame, rules as
    columns."""
    rows = table[(table["sweep"] == sweep) & (table["quantity"] == quantity)]

    def slope(group):
        reached = group["value"].notna().all()
        return (
            np.polyfit(np.log(group["size"]), np.log(group["value"]), 1)[0]
            if reached
            else math.nan
        )

    return rows.groupby(["seed", "rule"])[["size", "value"]].apply(slope).unstack("rule")


def _slower(tables, sweep: str, threshold: float) -> Outcome:
    """The exponent that three seeds in four reach, lowest of the rules.

    Reproduced where it reaches the threshold for every rule, partly where it does for some.
    Steps that were not reached count as no exponent at all.
    """
    found = exponents(tables["yang2024/thm1-rates"], sweep)[list(RULES)]
    quarter = found.quantile(0.25).where(found.notna().all())
    count = int((quarter >= threshold).sum())
    verdict = {len(RULES): "reproduced", 0: "not reproduced"}.get(count, "partly")
    return Outcome(verdict, float(quarter.min(skipna=False)))


def thm1_slower_with_k(tables, threshold) -> Outcome:
    """Growth of the number of steps with the dictionary size K."""
    return _slower(tables, "K", threshold)


def thm1_slower_with_h(tables, threshold) -> Outcome:
    """Growth of the number of steps with the number of heads H."""
    return _slower(tables, "H", threshold)


def frozen_attention_rate(tables, threshold) -> Outcome:
    """Largest relative distance of a run's excess from its closed form, while the excess is
    above 1e-18."""
    table = tables["yang2024/frozen-attention"]
    wide = table[table["quantity"].isin(["excess", "excess exact"])]
    wide = wide.pivot(index=["rule", "seed", "step"], columns="quantity", values="value")
    above = wide[~(wide["excess exact"] < 1e-18)]
    return at_most(
        (above["excess"] / above["excess exact"] - 1).abs().max(skipna=False), threshold
    )
