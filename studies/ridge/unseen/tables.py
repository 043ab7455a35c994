"""Checks of the chapter *Unseen examples, unseen tasks*."""

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_most

DOMAINS = ("in-domain", "out-of-domain")


def run_of(result, table: str, loss: str = "population", tokens: str = "unit") -> pd.DataFrame:
    """The rows of one run; by default Figure 2a's own, unit-norm tokens and population loss."""
    rows = result[table]
    return rows[(rows["loss"] == loss) & (rows["tokens"] == tokens)]


def by_domain(rows: pd.DataFrame, measure: str, *keys: str) -> pd.DataFrame:
    """One row a (seed, keys), one column a domain."""
    return rows.pivot(index=["seed", *keys], columns="domain", values=measure)


def final_errors(result, loss: str = "population", tokens: str = "unit") -> pd.DataFrame:
    """Sampled errors on tokens not shown at the end of training, one row a (seed, domain): of
    the transformer, ridge, the domain's best linear predictor, and zero."""
    keys, measure = ["seed", "domain"], "error_sampled"
    rows = run_of(result, "domains", loss, tokens)
    last = rows[rows["step"] == result.settings.steps].set_index(keys)[measure]
    found = run_of(result, "reference_domains", loss, tokens)
    found = found.pivot(index=keys, columns="predictor", values=measure)[["ridge", "zero"]]
    linear = run_of(result, "best_linear_domains", loss, tokens)
    own = linear[linear["fitted"] == linear["domain"]].set_index(keys)[measure]
    return found.assign(**{"transformer": last, "best linear": own})


FALLS = 1e-3  # a loss that "falls" ends below this share of its start


def fig2a_losses_fall_together(results, threshold, tokens, loss) -> Outcome:
    """Largest relative distance of the sampled inference losses from their closed forms, over
    steps and seeds.

    Also wanted: at every step the in-domain form is 2 (L - L*), and the out-of-domain one is at
    least 4 times it; and every loss ends below `FALLS` of its start.
    """
    result = results["yang2024/fig2a"]
    rows = run_of(result, "domains", loss, tokens)
    expected, sampled = (
        by_domain(rows, f"distance_{kind}", "step") for kind in ("expected", "sampled")
    )
    excess = run_of(result, "curves", loss, tokens)
    excess = excess.set_index(["seed", "step"])["excess_loss"]
    measured = float((sampled / expected - 1).abs().max(axis=None, skipna=False))
    twice = (expected["in-domain"] / (2 * excess) - 1).abs().max(skipna=False)
    ratio = (expected["out-of-domain"] / expected["in-domain"]).min(skipna=False)
    ends = [losses.xs(result.settings.steps, level="step") for losses in (excess, sampled)]
    starts = [losses.xs(0, level="step") for losses in (excess, sampled)]
    falls = all((end < FALLS * start).all(axis=None) for end, start in zip(ends, starts))
    holds = falls and twice <= 1e-6 and ratio >= 4 * (1 - 1e-6) and measured <= threshold
    return Outcome("reproduced" if holds else "not reproduced", measured)


def fig2a_unseen_tasks(results, threshold, tokens, loss) -> Outcome:
    """Largest ratio, over seeds and domains, of the final error on tokens not shown to the best
    linear predictor's.

    Partly, where every error is at least below half that of predicting zero and the median seed
    within the threshold.
    """
    errors = final_errors(results["yang2024/fig2a"], loss, tokens)
    ratio = errors["transformer"] / errors["best linear"]
    half = (errors["transformer"] / errors["zero"]).max(skipna=False)
    median = ratio.groupby("domain").agg(lambda each: each.median(skipna=False))
    found = at_most(ratio.max(skipna=False), threshold)
    if not half < 0.5 or not median.max(skipna=False) <= threshold:
        return Outcome("not reproduced", found.measured)
    return found if found.verdict == "reproduced" else Outcome("partly", found.measured)


def fig2a_batches_do_as_well(results, threshold, tokens, loss) -> Outcome:
    """How many times the final excess losses after training on sampled batches and on the
    population loss lie apart, either way; the largest over seeds.

    Also wanted: both losses end below half of their start.
    """
    result = results["yang2024/fig2a"]
    runs = {
        trained_on: run_of(result, "curves", trained_on, tokens).pivot(
            index="seed", columns="step", values="excess_loss"
        )
        for trained_on in (loss, "population")
    }
    first, last = 0, result.settings.steps
    apart = np.exp(np.abs(np.log(runs[loss][last] / runs["population"][last])))
    falls = all((run[last] < run[first] / 2).all() for run in runs.values())
    found = at_most(apart.max(skipna=False), threshold)
    return found if falls else Outcome("not reproduced", found.measured)


def fig2a_reaches_the_ridge_limit(results, threshold, tokens, loss) -> Outcome:
    """Largest final excess loss L - L* over the seeds."""
    result = results["yang2024/fig2a"]
    curves = run_of(result, "curves", loss, tokens)
    last = curves[curves["step"] == result.settings.steps]["excess_loss"]
    return at_most(last.max(skipna=False), threshold)
