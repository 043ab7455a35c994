"""Measures and checks of the chapter *Do negative samples replace heads?*."""

import math

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

RUN = ["tokens", "K", "kind", "H", "seed"]
FEW = 8  # up to this many heads the question is whether negatives save some
FLOAT32 = 1e-3  # what a trained loss may lie below its floor, relative: rounding


def ends(result) -> pd.DataFrame:
    """The last look of every run that took all its steps."""
    curves = result["curves"]
    return curves[curves["step"] == result.settings.steps].reset_index(drop=True)


def by_heads(result, tokens: str, kind: str) -> pd.DataFrame:
    """Final excess loss under one reading and kind, index seed, a column a head count; NaN
    where a run rose or is lacking."""
    s, curves = result.settings, result["curves"]
    K, heads = s.many
    some = curves[curves["K"] == K].query("tokens == @tokens and kind == @kind")
    wide = some.pivot(index="step", columns=["seed", "H"], values="excess_loss")
    wide = wide.reindex(index=[0, s.steps])
    wide = wide.reindex(columns=pd.MultiIndex.from_product([s.seeds, heads]))
    fell = wide.loc[s.steps].where(wide.loc[s.steps] < wide.loc[0])
    return fell.unstack().reindex(index=list(s.seeds), columns=list(heads))


def plain_heads(result, tokens: str, kind: str) -> pd.DataFrame:
    """How many plain heads end where H heads of a kind do, index seed, a column an H.

    On straight lines between plain head counts, log-log, up to the count that ends lowest; a
    loss above that of the fewest, or below that of the lowest, counts as theirs. NaN where a
    seed's plain losses are not known, or do not fall with H up to more than `FEW`.
    """
    plain, wanted = by_heads(result, tokens, "none"), by_heads(result, tokens, kind)
    found = wanted * math.nan
    for seed, losses in plain.iterrows():
        if losses.isna().any():
            continue
        falling = losses.loc[: losses.idxmin()]
        if falling.index[-1] <= FEW or not falling.is_monotonic_decreasing:
            continue
        x, y = -np.log(falling.to_numpy()), np.log(falling.index.to_numpy(dtype=float))
        each = -np.log(wanted.loc[seed].to_numpy())  # NaN stays NaN
        found.loc[seed] = np.exp(np.interp(each, x, y))
    return found


def factors(result, tokens: str, kind: str) -> pd.DataFrame:
    """Plain heads that one head of a kind is worth, index seed, a column an H of at most
    `FEW`."""
    heads = plain_heads(result, tokens, kind)
    few = [H for H in heads.columns if H <= FEW]
    return heads[few] / np.array(few, dtype=float)


def negatives_save_heads(results, threshold, tokens, kind) -> Outcome:
    """Median over seeds and few heads of the plain heads that one head with negatives is
    worth."""
    worth = factors(results["bridge/signed-trained"], tokens, kind).to_numpy()
    complete = worth.size and not np.isnan(worth).any()
    return at_least(float(np.median(worth)) if complete else math.nan, threshold)


def lowest_negatives_hurt(results, threshold, tokens) -> Outcome:
    """Share of seeds and head counts in which the r lowest as negatives end higher than
    none."""
    result = results["bridge/signed-trained"]
    higher = by_heads(result, tokens, "lowest") / by_heads(result, tokens, "none")
    known = higher.size and higher.notna().all(axis=None)
    return at_least(float((higher > 1).to_numpy().mean()) if known else math.nan, threshold)


def centring_hurts_many_heads(results, threshold, tokens) -> Outcome:
    """Least ratio over seeds, at the most heads: final loss with centring over that without."""
    result = results["bridge/signed-many"]
    ratio = by_heads(result, tokens, "all") / by_heads(result, tokens, "none")
    return at_least(ratio.iloc[:, -1].min(skipna=False), threshold)


def at_noise(result, tau: float, K: int) -> pd.DataFrame:
    """The floors at one noise and size, index seed; NaN where a seed is lacking."""
    table = result["floors"]
    some = table[np.isclose(table["tau"], tau) & (table["K"] == K)].set_index("seed")
    return some.reindex(list(result.settings.seeds))


def centring_lowers_one_head_floor(results, threshold) -> Outcome:
    """Largest ratio over seeds, K = d: loss of the explicit centred head over the floor of
    plain heads."""
    result = results["bridge/signed-floors"]
    s = result.settings
    found = at_noise(result, s.stated, s.d)
    return at_most((found["explicit"] / found["plain"]).max(skipna=False), threshold)


def centring_raises_floor_when_noisy(results, threshold) -> Outcome:
    """Least ratio over seeds and K at the largest noise: centred floor over plain floor."""
    result = results["bridge/signed-floors"]
    s = result.settings
    each = [at_noise(result, max(s.tau), K) for K in s.K]
    ratio = pd.concat([found["centred"] / found["plain"] for found in each])
    return at_least(ratio.min(skipna=False), threshold)


def free_strength_reaches_all(results, threshold) -> Outcome:
    """Largest excess loss of the explicit heads with one free beta, over that of predicting
    zero."""
    result = results["bridge/signed-floors"]
    s = result.settings
    each = pd.concat([at_noise(result, tau, K) for tau in s.tau for K in s.K])
    below_one = (each["strength"] < 1).all()
    worst = (each["exact"].abs() / each["zero"]).max(skipna=False)
    return at_most(worst if below_one else math.nan, threshold)


def zero_sum_floor_holds(results, threshold) -> Outcome:
    """Least final loss of runs with beta = 1, all of which must have fallen, over the floor of
    columns that sum to zero."""
    result, half = results["bridge/signed-trained"], results["bridge/signed-floors-half"]
    table = half["floors"][np.isclose(half["floors"]["tau"], result.settings.tau)]
    runs = ends(result).query("kind in ('all', 'lowest')")
    runs = runs.merge(table[["K", "seed", "centred"]], on=["K", "seed"], how="left")
    starts = result["curves"].query("step == 0").set_index(RUN)["excess_loss"]
    began = starts.reindex(pd.MultiIndex.from_frame(runs[RUN])).to_numpy()
    wanted = sum(p["kind"] in ("all", "lowest") for p in result.settings.points())
    whole = len(runs) == wanted and (runs["excess_loss"] < began).all()
    ratio = (runs["excess_loss"] / runs["centred"]).min(skipna=False)
    return at_least(ratio if whole else math.nan, threshold)
