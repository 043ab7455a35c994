"""Checks of the chapter *Does depth change the story?*."""

import math

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

DOMAINS = ("in-domain", "out-of-domain")
SMALL, LARGE = 8, 32  # head counts called small and large; N = 30 lies below the large ones
ORDERED = -0.9  # a rank correlation of iterations with H at most this counts as "fewer with H"


def _deep(tables, quantity: str, predictor: str = "transformer") -> pd.DataFrame:
    """One quantity of the model with skip connections, a row a (seed, step), a column a
    domain."""
    table = tables["yang2024/fig2b"]
    chosen = table["skip"] & (table["predictor"] == predictor) & (table["quantity"] == quantity)
    return table[chosen].pivot(index=["seed", "step"], columns="domain", values="value")


def fig2b_losses_fall_together(tables, threshold) -> Outcome:
    """Smallest rank correlation over seeds of the training loss with either inference loss
    along training.

    Also wanted: each ends below half its start, and the out-of-domain loss lies above the
    in-domain one at every look.
    """
    distance, training = _deep(tables, "distance"), _deep(tables, "loss")["training"]
    above = (distance["out-of-domain"] > distance["in-domain"]).all()
    correlations, halved = [], True
    for seed, curves in distance.groupby(level="seed"):
        for domain in DOMAINS:
            flat = curves[domain].nunique() < 2
            correlations.append(
                math.nan
                if flat
                else curves[domain].corr(training.loc[[seed]], method="spearman")
            )
            halved &= bool(curves[domain].iloc[-1] < curves[domain].iloc[0] / 2)
    measured = min(correlations, key=lambda c: -math.inf if math.isnan(c) else c)
    return (
        at_least(measured, threshold)
        if above and halved
        else Outcome("not reproduced", float(measured))
    )


def fig2b_deep_model_does_ridge(tables, threshold) -> Outcome:
    """Largest final distance to y*^ on tokens not shown, over that of predicting zero, over
    seeds and domains.

    Partly, where it is within the threshold in domain only.
    """
    quantity = "distance, not shown"
    end = _deep(tables, quantity).groupby(level="seed").last()
    zero = _deep(tables, quantity, "zero").groupby(level="seed").last()
    share = (end / zero)[list(DOMAINS)].max(skipna=False)
    outcome = at_most(share.max(skipna=False), threshold)
    if outcome.verdict != "reproduced" and share["in-domain"] <= threshold:
        return Outcome("partly", outcome.measured)
    return outcome


def fig2b_out_of_domain_is_size(tables, threshold) -> Outcome:
    """Largest ratio over seeds of two relative distances to y*^: of out-of-domain tasks with
    labels halved, which makes them about as large as in-domain ones, over that of in-domain
    tasks as they are.

    Partly, where halving brings the out-of-domain tasks closer to ridge for every seed, but not
    within the threshold.
    """
    out, same = (
        _deep(tables, f"relative distance, labels x {factor}") for factor in ("0.5", "1")
    )
    outcome = at_most((out["out-of-domain"] / same["in-domain"]).max(skipna=False), threshold)
    closer = (out["out-of-domain"] < same["out-of-domain"]).all()
    return (
        Outcome("partly", outcome.measured)
        if outcome.verdict != "reproduced" and closer
        else outcome
    )


def _race(tables, quantity: str) -> pd.DataFrame:
    """One quantity at the end of Figure 5's races, a row a seed, a column an H."""
    table = tables["yang2024/fig5"]
    return table[table["quantity"] == quantity].pivot(index="seed", columns="H", values="value")


def fig5_fewer_iterations_with_h(tables, threshold) -> Outcome:
    """Largest ratio over seeds of the iterations that the most heads complete to those that one
    head completes.

    Also wanted: their rank correlation with H is at most `ORDERED` for every seed; partly,
    where one of both holds.
    """
    done = _race(tables, "iterations")
    ratio = (done[done.columns.max()] / done[done.columns.min()]).max(skipna=False)
    ordered = all(
        row.corr(pd.Series(row.index, row.index), method="spearman") <= ORDERED
        for _, row in done.iterrows()
    )
    if ordered != (ratio <= threshold):
        return Outcome("partly", float(ratio))
    return at_most(ratio, threshold)


def fig5_small_h_wins_on_the_clock(tables, threshold) -> Outcome:
    """Median over seeds of the final in-domain inference loss with the most heads over the
    lowest of any head count.

    Also wanted: the lowest is at H <= `SMALL` for every seed; partly, where that holds for most
    seeds only.
    """
    final = _race(tables, "distance, in-domain")
    small = (final.idxmin(axis=1) <= SMALL).mean()
    measured = float((final[final.columns.max()] / final.min(axis=1)).median(skipna=False))
    if measured >= threshold and 0.5 < small < 1:
        return Outcome("partly", measured)
    return at_least(measured, threshold) if small == 1 else Outcome("not reproduced", measured)


def fig5_deep_needs_no_large_h(tables, threshold) -> Outcome:
    """Largest ratio over seeds, after equally many iterations: the training loss of the best H
    <= `SMALL` over that of the best H >= `LARGE`, at the last look that all head counts of the
    seed reached.
    """
    table = tables["yang2024/fig5"]
    losses = table[table["quantity"] == "training loss"].pivot(
        index=["seed", "step"], columns="H", values="value"
    )
    last = losses.dropna().groupby(level="seed").last()
    small = last[[H for H in last.columns if H <= SMALL]].min(axis=1)
    large = last[[H for H in last.columns if H >= LARGE]].min(axis=1)
    return at_most((small / large).max(skipna=False), threshold)
