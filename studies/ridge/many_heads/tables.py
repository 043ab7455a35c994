"""Checks of the chapter *How many heads?*."""

import math

import pandas as pd

from iclbook.claim import Outcome, at_least

MANY = 400  # the head count said to be unstable
# A curve that falls by less than this share over the last half of its steps stands still,
# unless it is below `REACHED`: then it has arrived.
STALLED, REACHED = 0.1, 1e-3
NOISE = 1e-5  # below this a rise is the jitter of Adam and of float32


def curves_of(result, *keys: str) -> dict[tuple, pd.Series]:
    """{values of the keys: excess loss by step} of every run."""
    rows = result["curves"].sort_values("step", kind="stable")
    return {key: run.set_index("step")["excess_loss"] for key, run in rows.groupby(list(keys))}


def fall(curve: pd.Series) -> float:
    """The share by which a curve falls over the last half of its steps."""
    half = curve[curve.index <= curve.index[-1] / 2].iloc[-1]
    return 1 - curve.iloc[-1] / half


def stalls(curve: pd.Series) -> bool:
    """Whether a curve that once fell stands still above the minimum."""
    fell = curve.iloc[-1] < curve.iloc[0]
    return bool(fell and fall(curve) < STALLED and curve.iloc[-1] > REACHED)


def same_start(runs: dict[tuple, pd.Series]) -> bool:
    """Whether all head counts (the last key) start from one loss: that of w = 0."""
    first = pd.Series({key: curve.iloc[0] for key, curve in runs.items()}).unstack()
    return bool((first.max(axis=1) <= first.min(axis=1) * (1 + 1e-3)).all())


def instability(curve: pd.Series) -> float:
    """The largest ratio of a loss to the lowest before it; infinite once a loss is. Below
    `NOISE` counts as `NOISE`."""
    kept = curve.clip(lower=NOISE)
    if not kept.map(math.isfinite).all():
        return math.inf
    return float((kept / kept.cummin()).max())


def fig4_small_h_stalls(results, threshold) -> Outcome:
    """Share of the runs with H < N that stand still above the minimum; partly, where some
    do."""
    result = results["yang2024/fig4"]
    few = result.settings.N
    runs = curves_of(result, "tokens", "seed", "H")
    stalled = [stalls(curve) for (*_, H), curve in runs.items() if few > H]
    share = float(sum(stalled) / len(stalled)) if stalled else math.nan
    if 0 < share < threshold:
        return Outcome("partly", share)
    return at_least(share, threshold)


def fig4_h_equals_n_converges(results, threshold) -> Outcome:
    """Share of neighbours H < H' from H = N on, over seeds and readings of the tokens, in which
    H' is lower at the last step that all have. Also wanted: no run with H = N stands still.
    Partly, where only one of both holds.
    """
    result = results["yang2024/fig4"]
    N, runs = result.settings.N, curves_of(result, "tokens", "seed", "H")
    runs = {key: curve for key, curve in runs.items() if key[-1] >= N}
    common = max(set.intersection(*(set(curve.index) for curve in runs.values())))
    # Rows (tokens, seed), columns H.
    at = pd.Series({key: curve[common] for key, curve in runs.items()}).unstack()
    share = float((at.diff(axis=1).iloc[:, 1:] < 0).mean(axis=None))
    falling = not any(stalls(curve) for key, curve in runs.items() if key[-1] == N)
    if falling != (share >= threshold):
        return Outcome("partly", share)
    return at_least(share, threshold)


def fig4_large_h_diverges(results, threshold) -> Outcome:
    """Largest instability of H = 400 at the paper's rate, over seeds and readings, where H = N
    is stable there.

    Partly, where H = 400 is unstable only at a rate of the map at which H = N is stable and
    halves its loss.
    """
    result, over_rates = results["yang2024/fig4"], results["yang2024/fig4-map"]
    runs = curves_of(result, "tokens", "seed", "H")
    worst = max(instability(curve) for key, curve in runs.items() if key[-1] == MANY)
    few = max(instability(runs[key]) for key in runs if key[-1] == result.settings.N)
    if not (few < threshold and same_start(runs)):
        return Outcome("not reproduced", worst)
    found = at_least(worst, threshold)
    grid = curves_of(over_rates, "optimizer", "loss", "dtype", "rate", "seed", "H")
    for key, curve in grid.items():
        few = grid.get((*key[:-1], result.settings.N))
        if found.verdict == "reproduced" or key[-1] != MANY or few is None:
            continue
        learns = few.iloc[-1] < few.iloc[0] / 2
        if instability(curve) >= threshold > instability(few) and learns:
            return Outcome("partly", worst)
    return found


def fig4_gd_rate_times_heads(results, threshold) -> Outcome:
    """Share of the map's gradient-descent runs that are unstable exactly where rate x curvature
    exceeds 2."""
    result, keys = results["yang2024/fig4-map"], ["optimizer", "H", "rate", "seed"]
    curvature = result["curvatures"].query("optimizer == 'gd'").set_index(keys)["curvature"]
    agree = [
        (instability(curve) >= 10) == (key[2] * curvature[key] > 2)
        for key, curve in curves_of(result, *keys).items()
        if key[0] == "gd"
    ]
    return at_least(sum(agree) / len(agree) if agree else math.nan, threshold)


def fig4_stall_is_optimisation(results, threshold) -> Outcome:
    """Smallest ratio over seeds, two heads and K <= d: final excess loss from the paper's start
    over that from near the explicit solution, under the same decaying rates.
    """
    result = results["yang2024/fig4-stall"]
    s, curves = result.settings, result["curves"]
    last = curves[(curves["K"] <= s.d) & (curves["H"] == 2) & (curves["step"] == s.steps)]
    end = last.pivot(index="seed", columns="case", values="excess_loss")
    runs = curves_of(result, "case", "K", "seed", "H")
    if not same_start({key: run for key, run in runs.items() if key[0] == "from zero"}):
        return Outcome("not reproduced", math.nan)
    return at_least((end["from zero"] / end["near the solution"]).min(skipna=False), threshold)
