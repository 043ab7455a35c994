"""Checks of the chapter *How many heads?*."""

import math

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_least
from iclbook.statistics import paired_ratio

# A curve stands still where its local slope at the end, -d ln(loss) / d ln(step), is below:
# at 0.1 the loss needs a thousand times the steps to halve. Below `REACHED` it has arrived.
STILL, REACHED = 0.1, 1e-3
LOCAL = 0.75  # the slope is taken from the last look before this share of the steps
CELL = ["optimizer", "loss", "dtype", "H", "rate", "seed"]  # what names a run of the map
UNSTABLE = 10  # a run whose loss climbs to this many times its lowest value before
NOISE = 1e-5  # below this a rise is the jitter of Adam and of float32


def instability(curve: pd.Series, floor: float = NOISE) -> float:
    """The largest ratio of a loss to the lowest before it; infinite once a loss is, NaN where
    one is. What is below the floor counts as the floor; the checks use `NOISE`."""
    if curve.isna().any():
        return math.nan
    kept = curve.clip(lower=floor)
    return math.inf if math.isinf(kept.max()) else float((kept / kept.cummin()).max())


def fates(curves: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """What became of every run, one row a value of the keys.

    steps: taken; start, end: the excess loss there; slope: -d ln(loss) / d ln(step) at the end;
    stalls: whether a curve that once fell stands still above the minimum.
    """
    keys, curves = list(keys), curves.sort_values("step")
    last = curves.groupby(keys)["step"].transform("max")

    def look(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.groupby(keys).tail(1).set_index(keys)[["step", "excess_loss"]].sort_index()

    end, before = look(curves), look(curves[curves["step"] <= LOCAL * last])
    found = pd.DataFrame({"steps": end["step"], "end": end["excess_loss"]})
    found["start"] = curves.groupby(keys).head(1).set_index(keys)["excess_loss"]
    fell = np.log(before["excess_loss"] / end["excess_loss"])
    found["slope"] = fell / np.log(end["step"] / before["step"])
    found["instability"] = curves.groupby(keys)["excess_loss"].agg(instability)
    below = found["end"] < found["start"]
    found["stalls"] = below & (found["slope"] < STILL) & (found["end"] > REACHED)
    return found.reset_index()


def map_fates(result) -> pd.DataFrame:
    """The `fates` of the map, with the two products that should decide about stability."""
    runs = fates(result["curves"], *CELL)
    runs = runs.merge(result["curvatures"], on=CELL, how="left", validate="1:1")
    runs["rate x H"] = runs["rate"] * runs["H"]
    runs["rate x curvature"] = runs["rate"] * runs["curvature"]
    return runs


def same_start(runs: pd.DataFrame, *keys: str) -> bool:
    """Whether all head counts start from one loss, that of w = 0, for each value of the
    keys."""
    start = runs.groupby(list(keys))["start"].agg(["min", "max"])
    return bool(len(start) and (start["max"] <= start["min"] * (1 + 1e-3)).all())


def runs_of(result, tokens: str, loss: str) -> pd.DataFrame:
    """The `fates` of Figure 4's runs under one reading."""
    curves = result["curves"]
    chosen = (curves["tokens"] == tokens) & (curves["loss"] == loss)
    return fates(curves[chosen], "seed", "H")


def fig4_small_h_stalls(results, threshold, tokens, loss) -> Outcome:
    """Share of the runs with H < N that stand still above the minimum; partly, where some
    do."""
    result = results["yang2024/fig4"]
    runs = runs_of(result, tokens, loss)
    share = runs.loc[runs["H"] < result.settings.N, "stalls"].astype(float).mean()
    if 0 < share < threshold:
        return Outcome("partly", share)
    return at_least(share, threshold)


def fig4_h_equals_n_converges(results, threshold, tokens, loss) -> Outcome:
    """Share of neighbours H < H' from H = N on, over seeds, in which H' is lower, at the last
    look at which a seed's runs are all above `NOISE`. Also wanted: no run with H = N stands
    still. Partly, where only one of both holds.
    """
    result = results["yang2024/fig4"]
    N, curves = result.settings.N, result["curves"]
    many = curves[(curves["H"] >= N) & (curves["tokens"] == tokens) & (curves["loss"] == loss)]
    wide = many.pivot(index=["step", "seed"], columns="H", values="excess_loss").sort_index()
    above = (wide > NOISE).all(axis=1) | wide.isna().any(axis=1)
    at = wide[above].groupby("seed").tail(1)
    lower = (at.diff(axis=1) < 0).where(at.notna()).iloc[:, 1:].astype(float)
    known = len(at) == many["seed"].nunique() and lower.notna().all(axis=None)
    share = float(lower.mean(axis=None)) if known else math.nan
    equal = runs_of(result, tokens, loss).query("H == @N")
    falling = bool(len(equal) and not equal["stalls"].any())
    if math.isnan(share):
        return Outcome("not reproduced", share)
    if falling != (share >= threshold):
        return Outcome("partly", share)
    return at_least(share, threshold)


def fig4_large_h_diverges(results, threshold, tokens, loss) -> Outcome:
    """Largest instability of the most heads at the paper's rate, over seeds, where H = N is
    stable there.

    Partly, where so many heads are unstable only at a rate of the map, whose tokens are unit
    vectors, at which H = N is stable and halves its loss.
    """
    result, s = results["yang2024/fig4"], results["yang2024/fig4"].settings
    runs = runs_of(result, tokens, loss)
    largest = runs.groupby("H")["instability"].agg(lambda each: each.max(skipna=False))
    worst, few = largest[max(s.H)], largest[s.N]
    if not (few < threshold and same_start(runs, "seed")):
        return Outcome("not reproduced", worst)
    found = at_least(worst, threshold)
    if found.verdict == "reproduced" or tokens != "unit":
        return found

    cells = map_fates(results["yang2024/fig4-map"])
    cells = cells.set_index([key for key in CELL if key != "H"])
    many, few = (cells[cells["H"] == H] for H in (max(s.H), s.N))
    few = few.reindex(many.index)  # the map need not hold H = N in every cell: NaN is no match
    stable = (few["instability"] < threshold) & (few["end"] < few["start"] / 2)
    apart = (many["instability"] >= threshold) & stable
    return Outcome("partly" if apart.any() else "not reproduced", worst)


def fig4_gd_rate_times_heads(results, threshold) -> Outcome:
    """Share of the map's gradient-descent runs that are unstable exactly where rate x curvature
    exceeds 2."""
    runs = map_fates(results["yang2024/fig4-map"]).query("optimizer == 'gd'")
    if runs[["instability", "rate x curvature"]].isna().any(axis=None):
        return Outcome("not reproduced", math.nan)
    agree = (runs["instability"] >= UNSTABLE) == (runs["rate x curvature"] > 2)
    return at_least(agree.astype(float).mean(), threshold)


def fig4_stall_is_optimisation(results, threshold) -> Outcome:
    """Smallest ratio over seeds, where few heads can represent the minimum: final excess loss
    from the paper's start over that from near the explicit solution, under the same decaying
    rates.
    """
    result = results["yang2024/fig4-stall"]
    s, runs = result.settings, fates(result["curves"], "case", "K", "H", "seed")
    K, H = s.solvable
    if s.d < K or not same_start(runs[runs["case"] == "from zero"], "K", "seed"):
        return Outcome("not reproduced", math.nan)
    runs["end"] = runs["end"].where(runs["steps"] == s.steps)  # no end, no ratio
    ratio = from_start(runs[(runs["K"] == K) & (runs["H"] == H)])
    return at_least(ratio.min(skipna=False), threshold)


def few_at_end(result) -> pd.DataFrame:
    """For each (K, H, case), medians over seeds at the end of training: excess loss, the best
    that w alone can do while Q stays as drawn, share of tokens with both signs, share of signs
    kept."""
    by, found = ["K", "H", "case"], {}
    for name in ("curves", "signs"):
        rows = result[name]
        found[name] = rows[rows["step"] == result.settings.steps].groupby(by)
    curves, signs = found["curves"], found["signs"]
    return pd.DataFrame(
        {
            "excess_loss": curves["excess_loss"].median(),
            "frozen": result["frozen"].groupby(by)["excess_loss"].median(),
            "both_signs": curves["both_signs"].median(),
            "kept": signs["kept"].median(),
        }
    )


def from_start(runs: pd.DataFrame) -> pd.Series:
    """Final loss from zero over that from near the solution, for each seed; `fates` of one K
    and H."""
    return paired_ratio(runs, "case", "from zero", "near the solution", "end")
