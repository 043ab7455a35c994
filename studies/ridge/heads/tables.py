"""Measures and checks of the chapter *What heads buy*."""

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

ROUNDING = 1e-9  # relative; how far rounding may carry a loss below the bound


def predicting_zero(result) -> pd.Series:
    """The excess loss of w = 0, by K and seed."""
    start = result["curves"].query("w_start == 'zero' and step == 0")
    return start.groupby(["K", "seed"])["excess_loss"].first().rename("predicting_zero")


def ends(result) -> pd.DataFrame:
    """Every head where its training ended: its last row of the curves and of the signs.

    Beside it its lower bound, that of its signs then, and predicting zero; the order of the
    sweep.
    """
    run = ["K", "w_start", "seed", "start"]
    last = result["curves"].sort_values("step").groupby(run, sort=False).tail(1)
    signs = result["signs"].rename(columns={"bound": "bound_of_signs"})
    ended = result["bounds"].merge(last, how="left", on=run)
    ended = ended.merge(signs, how="left", on=[*run, "step"])
    ended = ended.join(predicting_zero(result), on=["K", "seed"])
    return ended.assign(over_bound=ended["excess_loss"] / ended["bound"])


def spans_at_N(result, tokens: str) -> pd.DataFrame:
    """Proposition 1's own draws for one kind of tokens: beta = 1 and H >= N heads."""
    spans = result["spans"]
    wanted = (spans["tokens"] == tokens) & (spans["beta"] == 1)
    return spans[wanted & (spans["H"] >= result.settings.N)]


def share_of_rank(result, tokens: str, rank: int) -> float:
    """Share of those draws whose worst token has this rank; NaN where there is no draw."""
    return (spans_at_N(result, tokens)["rank"] == rank).mean()


def prop1_full_rank(results, threshold) -> Outcome:
    """Share of draws with H >= N in which every B_k has rank N; unit tokens, beta = 1."""
    result = results["yang2024/prop1"]
    return at_least(share_of_rank(result, "unit", result.settings.N), threshold)


def prop1_needs_distinct_tokens(results, threshold) -> Outcome:
    """The smaller of two shares: rank N for two-valued entries, N - 1 with two equal tokens."""
    result = results["yang2024/prop1"]
    N = result.settings.N
    shares = [share_of_rank(result, "signs", N), share_of_rank(result, "equal", N - 1)]
    return at_least(pd.Series(shares).min(skipna=False), threshold)


def one_head_impossible(results, threshold) -> Outcome:
    """Smallest lower bound over dictionaries, relative to the excess loss of w = 0.

    Not reproduced either where a trained head or an explicit Q falls below any bound stored for
    its dictionary: then the bound is wrong.
    """
    result, by = results["yang2024/one-head"], ["K", "seed"]
    bound = result["bounds"].groupby(by)["bound"].agg(["min", "max"])
    share = (bound["min"] / predicting_zero(result)).min(skipna=False)
    explicit = result["bounds"].query("K <= @result.settings.d")
    reached = pd.concat(
        [result["curves"], explicit.rename(columns={"explicit_Q": "excess_loss"})]
    )
    floor = reached[by].join(bound, on=by)["max"]
    if not (reached["excess_loss"] >= (1 - ROUNDING) * floor).all():
        return Outcome("not reproduced", float(share))
    return at_least(share, threshold)


def two_heads_suffice(results, threshold) -> Outcome:
    """Largest excess loss of the explicit two-head model, over K <= d and dictionaries."""
    two = results["yang2024/two-heads"]["construction"]["excess_loss"]
    return at_most(two.max(skipna=False), threshold)
