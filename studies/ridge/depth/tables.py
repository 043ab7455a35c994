"""What is read off the tables of the chapter *Does depth change the story?*, and its checks."""

import math

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_least, at_most
from iclbook.errors import require
from studies.ridge.unseen.tables import DOMAINS, by_domain

SMALL, LARGE = 8, 32  # head counts called small and large; N = 30 lies below the large ones
ORDERED = -0.9  # a rank correlation of iterations with H at most this counts as "fewer with H"


def _trained_on(result, tokens: str, loss: str):
    """The result, if it was trained on this reading: one of the tokens, and sampled batches."""
    held = result.settings.tokens
    require((tokens, loss) == (held, "batch"), f"trained on {held} tokens in batches only")
    return result


def run_of(result, table: str, skip: bool = True) -> pd.DataFrame:
    """The rows of the models with skip connections, or without."""
    rows = result[table]
    return rows[rows["skip"] == skip]


def at_end(result, measure: str) -> pd.DataFrame:
    """A measure of the model with skip connections after its last step, a row a seed, a column
    a domain."""
    rows = run_of(result, "domains")
    return by_domain(rows[rows["step"] == result.settings.steps], measure)


def reference(result, measure: str, predictor: str) -> pd.DataFrame:
    """A measure of a predictor that does not train, a row a seed, a column a domain."""
    rows = run_of(result, "reference_domains")
    return by_domain(rows[rows["predictor"] == predictor], measure)


def share_of_zero(result) -> pd.DataFrame:
    """Final squared distance to y*^ on tokens not shown, relative to that of predicting zero, a
    row a seed, a column a domain."""
    measure = "distance_not_shown"
    return at_end(result, measure) / reference(result, measure, "zero")


def scaled_labels(result, domain: str) -> pd.DataFrame:
    """Relative distance to y*^ of a domain's tasks, a row a seed, a column a label factor."""
    rows = run_of(result, "label_scaling")
    rows = rows[rows["domain"] == domain]
    return rows.pivot(index="seed", columns="factor", values="relative_distance")


def of_losses(result) -> pd.DataFrame:
    """The training loss and both inference losses, a row a (seed, step), in time order."""
    curves = run_of(result, "curves").set_index(["seed", "step"])
    distance = by_domain(run_of(result, "domains"), "distance", "step")
    return distance.join(curves["training_loss"], how="outer").sort_index()


def fig2b_losses_fall_together(results, threshold, tokens, loss) -> Outcome:
    """Smallest rank correlation over seeds of the training loss with either inference loss
    along training.

    Also wanted: each starts within a factor 2 of predicting zero and ends below half its start,
    and the out-of-domain loss lies above the in-domain one at every look.
    """
    result = _trained_on(results["yang2024/fig2b"], tokens, loss)
    losses = of_losses(result)
    start, end = (losses.xs(step, level="step") for step in (0, result.settings.steps))
    zero = reference(result, "distance", "zero")
    rows = run_of(result, "references").query("predictor == 'zero'")
    zero = zero.assign(training_loss=rows.set_index("seed")["training_loss"])
    untrained = bool((np.abs(np.log2(start / zero)) < 1).all(axis=None))
    halved = bool((end < start / 2).all(axis=None))
    above = bool((losses["out-of-domain"] > losses["in-domain"]).all())

    # A curve that stands still has no rank correlation, and a missing look makes none either.
    correlations = []
    for _, curve in losses.groupby(level="seed"):
        known = not curve.isna().any(axis=None) and curve.nunique().min() > 1
        found = curve.corr(method="spearman")["training_loss"]
        correlations += [found[domain] if known else math.nan for domain in DOMAINS]
    measured = float(np.min(correlations))
    holds = above and halved and untrained
    return at_least(measured, threshold) if holds else Outcome("not reproduced", measured)


def fig2b_deep_model_does_ridge(results, threshold, tokens, loss) -> Outcome:
    """Largest final distance to y*^ on tokens not shown, over that of predicting zero, over
    seeds and domains.

    Partly, where it is within the threshold in domain only.
    """
    result = _trained_on(results["yang2024/fig2b"], tokens, loss)
    share = share_of_zero(result).max(skipna=False)
    outcome = at_most(share[list(DOMAINS)].max(skipna=False), threshold)
    if outcome.verdict != "reproduced" and share["in-domain"] <= threshold:
        return Outcome("partly", outcome.measured)
    return outcome


def fig2b_out_of_domain_is_size(results, threshold, tokens, loss) -> Outcome:
    """Largest ratio over seeds of two relative distances to y*^: of out-of-domain tasks with
    labels halved, which makes them about as large as in-domain ones, over that of in-domain
    tasks as they are.

    Also wanted: with labels as they are, both distances are those at the end of training, and
    something does go wrong out of domain: the ratio is above the threshold. Partly, where
    halving brings the out-of-domain tasks closer to ridge for every seed, but not within the
    threshold.
    """
    result = _trained_on(results["yang2024/fig2b"], tokens, loss)
    inside, outside = (scaled_labels(result, domain) for domain in DOMAINS)
    measured = float((outside[0.5] / inside[1.0]).max(skipna=False))
    whole = pd.DataFrame({"in-domain": inside[1.0], "out-of-domain": outside[1.0]})
    same = bool(((whole / share_of_zero(result) - 1).abs() < 1e-3).all(axis=None))
    if not (same and (outside[1.0] > threshold * inside[1.0]).all()):
        return Outcome("not reproduced", measured)
    outcome = at_most(measured, threshold)
    closer = bool((outside[0.5] < outside[1.0]).all())
    return (
        Outcome("partly", measured) if outcome.verdict != "reproduced" and closer else outcome
    )


def final_distances(result, domain: str = "in-domain") -> pd.DataFrame:
    """Inference loss when the time is up, a row a seed, a column a head count."""
    rows = result["final_distances"]
    return rows[rows["domain"] == domain].pivot(index="seed", columns="H", values="distance")


def losses_after(result, steps: int) -> pd.DataFrame:
    """Training loss after equally many steps, a row a seed, a column a head count."""
    rows = result["curves"]
    rows = rows[rows["step"] == steps]
    return rows.pivot(index="seed", columns="H", values="training_loss")


def fig5_fewer_iterations_with_h(results, threshold, tokens, loss) -> Outcome:
    """Largest ratio over seeds of the iterations that the most heads complete to those that one
    head completes.

    Also wanted: their rank correlation with H is at most `ORDERED` for every seed; partly,
    where one of both holds.
    """
    done = _trained_on(results["yang2024/fig5"], tokens, loss)["ends"].pivot(
        index="seed", columns="H", values="iterations"
    )
    ratio = float((done[done.columns.max()] / done[done.columns.min()]).max(skipna=False))
    heads = pd.Series(done.columns, done.columns).rank()
    ranks = [row.rank().corr(heads) for _, row in done.iterrows()]  # Spearman's
    ordered = bool(np.max(ranks) <= ORDERED)
    if not math.isnan(ratio) and ordered != (ratio <= threshold):
        return Outcome("partly", ratio)
    return at_most(ratio, threshold)


def fig5_small_h_wins_on_the_clock(results, threshold, tokens, loss) -> Outcome:
    """Median over seeds of the final in-domain inference loss with the most heads over the
    lowest of any head count.

    Also wanted: the lowest is at H <= `SMALL` for every seed, and every loss is below the
    out-of-domain one, whose labels are larger; partly, where the lowest is there for most seeds
    only.
    """
    result = _trained_on(results["yang2024/fig5"], tokens, loss)
    final, outside = (final_distances(result, domain) for domain in DOMAINS)
    if not (final < outside).all(axis=None):
        return Outcome("not reproduced", math.nan)
    small = (final.idxmin(axis=1) <= SMALL).mean()
    measured = float((final[final.columns.max()] / final.min(axis=1)).median())
    if measured >= threshold and 0.5 < small < 1:
        return Outcome("partly", measured)
    return at_least(measured, threshold) if small == 1 else Outcome("not reproduced", measured)


def fig5_deep_needs_no_large_h(results, threshold, tokens, loss) -> Outcome:
    """Largest ratio over seeds, after `least_steps` steps, which all head counts took: the
    training loss of the best H <= `SMALL` over that of the best H >= `LARGE`.

    Also wanted: all runs start within a factor 2 of each other, from weights that predict next
    to nothing, and both of the best end below half the lowest start.
    """
    result = _trained_on(results["yang2024/fig5"], tokens, loss)
    start, end = (losses_after(result, at) for at in (1, result.settings.least_steps))
    small = end.loc[:, end.columns <= SMALL].min(axis=1, skipna=False)
    large = end.loc[:, end.columns >= LARGE].min(axis=1, skipna=False)
    measured = float((small / large).max(skipna=False))
    low, high = (getattr(start, side)(axis=None, skipna=False) for side in ("min", "max"))
    learned = bool((pd.concat([small, large], axis=1) < low / 2).all(axis=None))
    if not (high <= 2 * low and learned):
        return Outcome("not reproduced", measured)
    return at_most(measured, threshold)


NEAR = 3.0  # how many times ridge regression's loss counts as most of the way to it


def longer_losses(result, step: int | None = None, domain: str = "in-domain") -> pd.DataFrame:
    """Loss on test tasks after `step` steps, at the end by default: a row a seed, a column a
    head count."""
    at = result.settings.steps if step is None else step
    rows = result["curves"]
    rows = rows[(rows["domain"] == domain) & (rows["step"] == at)]
    return rows.pivot(index="seed", columns="H", values="loss")


def reference_losses(result, domain: str = "in-domain") -> pd.DataFrame:
    """The same of the predictors that do not train: a row a seed."""
    rows = result["references"]
    rows = rows[rows["domain"] == domain]
    return rows.pivot(index="seed", columns="predictor", values="loss")


def fig5_longer_needs_no_large_h(results, threshold) -> Outcome:
    """Largest ratio over seeds, after training, of the loss in domain of the best H <= `SMALL`
    to that of the best H >= 2 `SMALL`.

    Also wanted: all start within a factor 2 of predicting zero, and both of the best end within
    `NEAR` times the loss of ridge regression and not below it.
    """
    result = results["yang2024/fig5-longer"]
    start, end, known = (
        longer_losses(result, 0),
        longer_losses(result),
        reference_losses(result),
    )
    small = end.loc[:, end.columns <= SMALL].min(axis=1, skipna=False)
    large = end.loc[:, end.columns >= 2 * SMALL].min(axis=1, skipna=False)
    found = at_most((small / large).max(skipna=False), threshold)
    both = pd.concat([small, large], axis=1).div(known["ridge"], axis=0)
    whole = (
        start.div(known["zero"], axis=0).stack().between(0.5, 2).all()
        and both.stack().between(0.95, NEAR).all()
        and (known["ridge"] < known["zero"] / NEAR).all()
    )
    return found if whole else Outcome("not reproduced", found.measured)
