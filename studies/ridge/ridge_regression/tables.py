"""Checks of the chapter *What it learned: ridge regression*."""

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

UNSEEN_TASKS = ("out-of-domain", "signs", "one basis function")
DOMAINS = ("in-domain", *UNSEEN_TASKS)


def at_end(result, table: str) -> pd.DataFrame:
    """The rows of a table at the last step of training."""
    rows = result[table]
    return rows[rows["step"] == result.settings.steps]


def overview(result) -> pd.DataFrame:
    """One row a (step, seed) at which all was measured: excess loss, distance of the farthest
    column from A's, difference from ridge for each kind of tasks."""
    by = ["step", "seed"]
    ridge = result["ridge"].pivot(index=by, columns="domain", values="difference")
    found = ridge[list(DOMAINS)].add_prefix("difference from ridge, ")
    farthest = (
        result["columns"].groupby(by)["farthest"].agg(lambda each: each.max(skipna=False))
    )
    found.insert(0, "farthest column from A's", farthest)
    found.insert(0, "L − L*", result["training"].set_index(by)["excess_loss"])
    return found


def given_away(result) -> pd.DataFrame:
    """For each kind of tasks and delta, medians over seeds at the end of training: the quantile
    of the error, its bound, and the ratios of the Cauchy-Schwarz quantile (first) and of the
    bound (whole) to the error. share_above: the largest over recorded steps and seeds."""
    by, bounds = ["domain", "delta"], result["bounds"]
    found = at_end(result, "bounds").groupby(by)[["error", "cauchy_schwarz", "bound"]].median()
    found["first"] = found["cauchy_schwarz"] / found["error"]
    found["whole"] = found["bound"] / found["error"]
    found["share_above"] = bounds.groupby(by)["share_above"].max()
    return found.reindex(DOMAINS, level="domain")


def promises(result) -> pd.DataFrame:
    """The counts of iterations, with promised over measured, and with what the bound alone
    costs: by the measured loss over by the measured error."""
    counts = result["counts"]
    measured = counts["by_error"].clip(lower=1)
    return counts.assign(
        kept=counts["promised"] / measured, from_bound=counts["by_loss"] / measured
    )


def premises(result) -> pd.DataFrame:
    """What the promise rests on, for each seed: how far zeta falls along the path, at least to
    1/2, and the smallest measured contraction over the promised one, at least 1."""
    facts = result["facts"]
    return pd.DataFrame(
        {
            "shrinks": facts["smallest_zeta"] / facts["zeta_start"],
            "contracts": facts["smallest"] / facts["promised"],
        }
    )


def thm2_ridge_limit(results, threshold) -> Outcome:
    """Largest relative difference from ridge on tokens not shown, in domain, over seeds."""
    rows = at_end(results["yang2024/thm2"], "ridge").set_index("domain")
    return at_most(rows.loc[["in-domain"], "difference"].max(skipna=False), threshold)


def thm2_unseen_tasks(results, threshold) -> Outcome:
    """Largest relative difference from ridge on tokens not shown, over seeds and three kinds of
    new tasks."""
    rows = at_end(results["yang2024/thm2"], "ridge").set_index("domain")
    return at_most(rows.loc[list(UNSEEN_TASKS), "difference"].max(skipna=False), threshold)


def thm2_error_bound(results, threshold) -> Outcome:
    """Largest ratio of left to right side over all inequalities and instances.

    Also wanted: for every delta, kind of task, step and seed, at most that share of the draws
    above the bound.
    """
    ratios = results["yang2024/thm2-error-bound"]["ratios"].drop(columns=["seed", "instance"])
    bounds = results["yang2024/thm2"]["bounds"]
    found = at_most(ratios.max(axis=None, skipna=False), threshold)
    rare = len(bounds) and (bounds["share_above"] <= bounds["delta"]).all()
    return found if rare else Outcome("not reproduced", found.measured)


def thm2_iteration_complexity(results, threshold) -> Outcome:
    """Smallest ratio of promised to measured iterations, over precisions and seeds.

    A precision that was not reached counts against the claim where the promise falls within the
    steps taken. Also wanted: zeta stays above half its start along every path, as the promise
    assumes, and every step contracts at least as promised.
    """
    result = results["yang2024/thm2-iterations"]
    counts, premise = promises(result), premises(result)
    within = counts["promised"] <= result.settings.steps
    judged = counts[counts["by_error"].notna() | within]
    found = at_least(judged["kept"].min(skipna=False), threshold)
    held = (premise["shrinks"] >= 0.5).all() and (premise["contracts"] >= 1).all()
    return found if held else Outcome("not reproduced", found.measured)


def attention_converges_to_a(results, threshold) -> Outcome:
    """Largest relative distance of a column of the trained table from A's, over all K columns
    and the seeds."""
    rows = at_end(results["yang2024/thm2"], "columns")
    return at_most(rows["farthest"].max(skipna=False), threshold)


def thm2_copies_shown_labels(results, threshold) -> Outcome:
    """Largest relative distance of a shown column of the trained table from A's, which is the
    identity's, over the seeds.

    Also wanted: before training, with w = 0, every such distance is 1.
    """
    result = results["yang2024/thm2"]
    shown = result["columns"].query("group == 'shown'").set_index(["seed", "step"])
    start, end = (shown.xs(at, level="step") for at in (0, result.settings.steps))
    found = at_most(end["farthest"].max(skipna=False), threshold)
    ends = start[["nearest", "farthest"]]
    zero = bool(((ends - 1).abs() < 1e-6).all(axis=None))
    return found if zero else Outcome("not reproduced", found.measured)


def thm2_noiseless_template(results, threshold) -> Outcome:
    """Largest relative error, after training, on tokens not shown and of the template read off
    them.

    Also wanted: the table itself stays at least 0.1 away from A, relatively: predictions
    converge, weights do not.
    """
    after = results["yang2024/thm2-noiseless"]["errors"].query("group == 'after'")
    found = at_most(after[["error", "task_error"]].max(axis=None, skipna=False), threshold)
    apart = after["table_error"].min(skipna=False) >= 0.1
    return found if apart else Outcome("not reproduced", found.measured)
