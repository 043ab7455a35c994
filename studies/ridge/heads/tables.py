"""Checks of the chapter *What heads buy*."""

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

ROUNDING = 1e-9  # relative; how far rounding may carry a loss below the bound


def _full_rank(rows: pd.DataFrame, N: int) -> pd.Series:
    """Whether the worst token of each draw has rank N, for rows of quantity "rank"."""
    return rows["value"] == N


def _ranks(tables, tokens: str) -> tuple[pd.DataFrame, int]:
    """(rows of numerical ranks at beta = 1 with H >= N, N) for one kind of tokens; the sweep
    ends at H = 2N."""
    table = tables["yang2024/prop1"]
    N = int(table["H"].max()) // 2
    wanted = (
        (table["tokens"] == tokens)
        & (table["quantity"] == "rank")
        & (table["beta"] == 1)
        & (table["H"] >= N)
    )
    return table[wanted], N


def prop1_full_rank(tables, threshold) -> Outcome:
    """Share of draws with H >= N in which B_k has rank N for every token k; unit tokens, beta =
    1."""
    rows, N = _ranks(tables, "unit")
    return at_least(_full_rank(rows, N).mean(), threshold)


def prop1_needs_distinct_tokens(tables, threshold) -> Outcome:
    """The smaller of two shares of draws: rank N for two-valued entries, rank N - 1 with two
    equal tokens."""
    signs, N = _ranks(tables, "signs")
    equal, _ = _ranks(tables, "equal")
    shares = _full_rank(signs, N).mean(), _full_rank(equal, N - 1).mean()
    return at_least(min(shares) if min(len(signs), len(equal)) else float("nan"), threshold)


def one_head_impossible(tables, threshold) -> Outcome:
    """Smallest lower bound over dictionaries, relative to the excess loss of w = 0.

    Not reproduced either where a trained head or an explicit Q falls below the bound: then the
    bound is wrong.
    """
    table = tables["yang2024/one-head"]

    def lowest(quantity: str, rows: pd.DataFrame = table) -> pd.Series:
        return rows[rows["quantity"] == quantity].groupby(["K", "seed"])["value"].min()

    bound = lowest("bound")
    nothing = lowest("excess loss", table[(table["w_start"] == "zero") & (table["step"] == 0)])
    reached = (
        pd.concat([lowest("excess loss"), lowest("explicit Q")])
        .groupby(level=["K", "seed"])
        .min()
    )
    share = (bound / nothing).min(skipna=False)
    if not (reached >= (1 - ROUNDING) * bound).all():
        return Outcome("not reproduced", float(share))
    return at_least(share, threshold)


def two_heads_suffice(tables, threshold) -> Outcome:
    """Largest excess loss of the explicit two-head model, over sizes K <= d and
    dictionaries."""
    table = tables["yang2024/two-heads"]
    two = table[
        (table["part"] == "construction")
        & (table["quantity"] == "excess loss")
        & (table["H"] == 2)
    ]
    return at_most(two["value"].max(skipna=False), threshold)
