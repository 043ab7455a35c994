"""Checks of the chapter *How many heads?*."""

import math

import pandas as pd

from iclbook.claim import Outcome, at_least

N, MANY = 30, 400  # Figure 4's prompt length, and the head count said to be unstable
STALLED = 0.1  # a curve that falls by less than this share over the last half of its steps stands still,
REACHED = 1e-3  # unless it is below this: then it has arrived
NOISE = 1e-5  # below this a rise is the jitter of Adam and of float32


def _curves(table, *keys: str) -> dict[tuple, pd.Series]:
    """{values of the keys: excess loss by step} of every run."""
    rows = table[table["quantity"] == "excess loss"].sort_values("step")
    return {key: run.set_index("step")["value"] for key, run in rows.groupby(list(keys))}


def fall(curve: pd.Series) -> float:
    """The share by which a curve falls over the last half of its steps."""
    half = curve[curve.index <= curve.index[-1] / 2].iloc[-1]
    return 1 - curve.iloc[-1] / half


def stalls(curve: pd.Series) -> bool:
    """Whether a curve stands still above the minimum."""
    return fall(curve) < STALLED and curve.iloc[-1] > REACHED


def instability(curve: pd.Series) -> float:
    """The largest ratio of a loss to the lowest before it; infinite once a loss is. Below
    `NOISE` counts as `NOISE`."""
    kept = curve.clip(lower=NOISE)
    if not kept.map(math.isfinite).all():
        return math.inf
    return float((kept / kept.cummin()).max())


def fig4_small_h_stalls(tables, threshold) -> Outcome:
    """Share of the runs with H < N that stand still above the minimum; partly, where some
    do."""
    runs = _curves(tables["yang2024/fig4"], "tokens", "seed", "H")
    stalled = [stalls(curve) for (*_, H), curve in runs.items() if H < N]
    share = float(sum(stalled) / len(stalled)) if stalled else math.nan
    if 0 < share < threshold:
        return Outcome("partly", share)
    return at_least(share, threshold)


def fig4_h_equals_n_converges(tables, threshold) -> Outcome:
    """Share of neighbours H < H' from H = N on, over seeds and readings of the tokens, in which
    H' is lower at the last step that all have. Also wanted: no run with H = N stands still.
    Partly, where only one of both holds.
    """
    runs = _curves(tables["yang2024/fig4"], "tokens", "seed", "H")
    runs = {key: curve for key, curve in runs.items() if key[-1] >= N}
    common = max(set.intersection(*(set(curve.index) for curve in runs.values())))
    at = pd.Series(
        {key: curve[common] for key, curve in runs.items()}
    ).unstack()  # rows (tokens, seed), columns H
    share = float((at.diff(axis=1).iloc[:, 1:] < 0).mean(axis=None))
    falling = not any(stalls(curve) for key, curve in runs.items() if key[-1] == N)
    if falling != (share >= threshold):
        return Outcome("partly", share)
    return at_least(share, threshold)


def fig4_large_h_diverges(tables, threshold) -> Outcome:
    """Largest instability of H = 400 at the paper's rate, over seeds and readings.

    Partly, where H = 400 is unstable only at a rate of the map at which H = N is stable and
    halves its loss.
    """
    runs = _curves(tables["yang2024/fig4"], "tokens", "seed", "H")
    worst = max(instability(curve) for key, curve in runs.items() if key[-1] == MANY)
    outcome = at_least(worst, threshold)
    grid = _curves(
        tables["yang2024/fig4-map"], "optimizer", "loss", "dtype", "rate", "seed", "H"
    )
    for key, curve in grid.items():
        few = grid.get((*key[:-1], N))
        if outcome.verdict == "reproduced" or key[-1] != MANY or few is None:
            continue
        if (
            instability(curve) >= threshold > instability(few)
            and few.iloc[-1] < few.iloc[0] / 2
        ):
            return Outcome("partly", worst)
    return outcome


def fig4_gd_rate_times_heads(tables, threshold) -> Outcome:
    """Share of the map's gradient-descent runs that are unstable exactly where rate x curvature
    exceeds 2."""
    table = tables["yang2024/fig4-map"]
    table = table[table["optimizer"] == "gd"]
    curvature = table[table["quantity"] == "largest curvature"].set_index(
        ["H", "rate", "seed"]
    )["value"]
    agree = [
        (instability(curve) >= 10) == (key[1] * curvature[key] > 2)
        for key, curve in _curves(table, "H", "rate", "seed").items()
    ]
    return at_least(sum(agree) / len(agree) if agree else math.nan, threshold)


def fig4_stall_is_optimisation(tables, threshold) -> Outcome:
    """Smallest ratio over seeds, two heads and K <= d: final excess loss from the paper's start
    over that from near the explicit solution, under the same decaying rates.
    """
    runs = _curves(tables["yang2024/fig4-stall"], "K", "H", "case", "seed")
    K = min(key[0] for key in runs)
    end = {case: pd.Series({key[3]: c.iloc[-1] for key, c in runs.items() if key[:3] == (K, 2, case)})
           for case in ("from zero", "near the solution")}  # fmt: skip
    return at_least((end["from zero"] / end["near the solution"]).min(skipna=False), threshold)
