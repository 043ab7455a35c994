"""Checks of the chapter *What it learned: ridge regression*."""

from iclbook.claim import Outcome, at_least, at_most

UNSEEN_TASKS = ("out-of-domain", "signs", "one basis function")


def _at_end(table, part, quantity):
    """The rows of a quantity of Theorem 2's run at its last step."""
    return table[
        (table["step"] == table["step"].max())
        & (table["part"] == part)
        & (table["quantity"] == quantity)
    ]


def thm2_ridge_limit(tables, threshold) -> Outcome:
    """Largest relative difference from ridge on tokens not shown, in domain, over seeds."""
    rows = _at_end(tables["yang2024/thm2"], "ridge", "relative difference")
    return at_most(rows.loc[rows["group"] == "in-domain", "value"].max(skipna=False), threshold)


def thm2_unseen_tasks(tables, threshold) -> Outcome:
    """Largest relative difference from ridge on tokens not shown, over seeds and three kinds of
    new tasks."""
    rows = _at_end(tables["yang2024/thm2"], "ridge", "relative difference").set_index("group")[
        "value"
    ]
    return at_most(rows.loc[list(UNSEEN_TASKS)].max(skipna=False), threshold)


def thm2_error_bound(tables, threshold) -> Outcome:
    """Largest ratio of left to right side over all inequalities and instances.

    Also wanted: for every delta, kind of task, step and seed, at most that share of the draws
    above the bound.
    """
    ratios, run = tables["yang2024/thm2-error-bound"], tables["yang2024/thm2"]
    shares = run[run["quantity"] == "share above"]
    outcome = at_most(ratios["value"].max(skipna=False), threshold)
    return (
        outcome
        if (shares["value"] <= shares["level"]).all()
        else Outcome("not reproduced", outcome.measured)
    )


def thm2_iteration_complexity(tables, threshold) -> Outcome:
    """Smallest ratio of promised to measured iterations, over precisions and seeds.

    A precision that was not reached counts against the claim where the promise falls within the
    steps taken. Also wanted: zeta stays above half its start along every path, as the promise
    assumes, and every step contracts at least as promised.
    """
    table = tables["yang2024/thm2-iterations"]
    counts = table[table["precision"] > 0].pivot(
        index=["seed", "precision"], columns="quantity", values="value"
    )
    facts = table[table["precision"] == 0].pivot(
        index="seed", columns="quantity", values="value"
    )
    premise = (facts["smallest zeta"] >= facts["zeta at the start"] / 2).all()
    premise &= (facts["smallest measured contraction"] >= facts["promised contraction"]).all()
    counts = counts.join(facts["steps"], on="seed")
    judged = counts[counts["measured error"].notna() | (counts["promised"] <= counts["steps"])]
    outcome = at_least(
        (judged["promised"] / judged["measured error"].clip(lower=1)).min(skipna=False),
        threshold,
    )
    return outcome if premise else Outcome("not reproduced", outcome.measured)


def attention_converges_to_a(tables, threshold) -> Outcome:
    """Largest relative distance of a column of the trained table from A's, over all K columns
    and the seeds."""
    rows = _at_end(tables["yang2024/thm2"], "columns", "relative distance")
    return at_most(rows["value"].max(skipna=False), threshold)


def thm2_noiseless_template(tables, threshold) -> Outcome:
    """Largest relative error, after training, on tokens not shown and of the template read off
    them.

    Also wanted: the table itself stays at least 0.1 away from A, relatively: predictions
    converge, weights do not.
    """
    table = tables["yang2024/thm2-noiseless"]
    after = table[table["group"] == "after"].set_index("quantity")["value"]
    outcome = at_most(after.loc[["error", "task error"]].max(skipna=False), threshold)
    return (
        outcome
        if after.loc[["table error"]].min() >= 0.1
        else Outcome("not reproduced", outcome.measured)
    )
