"""Checks of the chapter *What heads buy*."""

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

ROUNDING = 1e-9  # relative; how far rounding may carry a loss below the bound


def spans_at_N(result, tokens: str) -> pd.DataFrame:
    """Proposition 1's own draws for one kind of tokens: beta = 1 and H >= N heads."""
    spans = result["spans"]
    wanted = (spans["tokens"] == tokens) & (spans["beta"] == 1)
    return spans[wanted & (spans["H"] >= result.settings.N)]


def share_of_rank(result, tokens: str, rank: int) -> float:
    """Share of those draws in which the worst token has this rank; NaN where there is no
    draw."""
    return (spans_at_N(result, tokens)["rank"] == rank).mean()


def prop1_full_rank(results, threshold) -> Outcome:
    """Share of draws with H >= N in which B_k has rank N for every token k; unit tokens, beta =
    1."""
    result = results["yang2024/prop1"]
    return at_least(share_of_rank(result, "unit", result.settings.N), threshold)


def prop1_needs_distinct_tokens(results, threshold) -> Outcome:
    """The smaller of two shares of draws: rank N for two-valued entries, rank N - 1 with two
    equal tokens."""
    result = results["yang2024/prop1"]
    N = result.settings.N
    shares = [share_of_rank(result, "signs", N), share_of_rank(result, "equal", N - 1)]
    return at_least(pd.Series(shares).min(skipna=False), threshold)


def one_head_impossible(results, threshold) -> Outcome:
    """Smallest lower bound over dictionaries, relative to the excess loss of w = 0.

    Not reproduced either where a trained head or an explicit Q falls below the bound: then the
    bound is wrong.
    """
    result, by = results["yang2024/one-head"], ["K", "seed"]
    bounds, curves = result["bounds"], result["curves"]
    bound = bounds.groupby(by)["bound"].agg(lambda each: each.min(skipna=False))
    start = curves[(curves["w_start"] == "zero") & (curves["step"] == 0)]
    share = (bound / start.groupby(by)["excess_loss"].min()).min(skipna=False)
    trained = curves.groupby(by)["excess_loss"].agg(lambda each: each.min(skipna=False))
    attained = bounds[bounds["K"] <= result.settings.d].groupby(by)["explicit_Q"]
    explicit = attained.agg(lambda each: each.min(skipna=False))
    sound = all((low >= (1 - ROUNDING) * bound[low.index]).all() for low in (trained, explicit))
    return at_least(share, threshold) if sound else Outcome("not reproduced", float(share))


def two_heads_suffice(results, threshold) -> Outcome:
    """Largest excess loss of the explicit two-head model, over sizes K <= d and
    dictionaries."""
    two = results["yang2024/two-heads"]["construction"]["excess_loss"]
    return at_most(two.max(skipna=False), threshold)
