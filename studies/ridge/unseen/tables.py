"""Checks of the chapter *Unseen examples, unseen tasks*."""

from iclbook.claim import Outcome, at_most

DOMAINS = ("in-domain", "out-of-domain")


def _run(tables, predictor="transformer"):
    """Figure 2a's own run: unit-norm tokens, population loss."""
    table = tables["yang2024/fig2a"]
    return table[
        (table["loss"] == "population")
        & (table["tokens"] == "unit")
        & (table["predictor"] == predictor)
    ]


def _at_end(run):
    return run[run["step"] == run["step"].max()]


def fig2a_losses_fall_together(tables, threshold) -> Outcome:
    """Largest relative distance of the sampled inference losses from their closed forms, over
    steps and seeds.

    Also wanted: at every step the in-domain form is 2 (L - L*), and the out-of-domain one is at
    least 4 times it.
    """
    wide = _run(tables).pivot(
        index=["seed", "step"], columns=["domain", "quantity"], values="value"
    )
    deviations = [
        (wide[d, "distance sampled"] / wide[d, "distance expected"] - 1).abs().max(skipna=False)
        for d in DOMAINS
    ]
    twice = (
        (wide["in-domain", "distance expected"] / (2 * wide["training", "excess loss"]) - 1)
        .abs()
        .max(skipna=False)
    )
    ratio = (
        wide["out-of-domain", "distance expected"] / wide["in-domain", "distance expected"]
    ).min(skipna=False)
    forms = twice <= 1e-6 and ratio >= 4 * (1 - 1e-6)
    measured = float(max(deviations))
    return Outcome(
        "reproduced" if forms and measured <= threshold else "not reproduced", measured
    )


def fig2a_unseen_tasks(tables, threshold) -> Outcome:
    """Largest ratio, over seeds and domains, of the final error on tokens not shown to the best
    linear predictor's.

    Partly, where every error is at least below half that of predicting zero and the median seed
    within the threshold.
    """
    ratios, median, halves = [], [], []
    for domain in DOMAINS:
        error = {
            name: run[
                (run["domain"] == domain) & (run["quantity"] == "error sampled")
            ].set_index("seed")["value"]
            for name in ("transformer", f"best linear, {domain}", "zero")
            for run in [_at_end(_run(tables, name))]
        }
        ratio = error["transformer"] / error[f"best linear, {domain}"]
        ratios.append(ratio.max(skipna=False))
        median.append(ratio.median(skipna=False))
        halves.append((error["transformer"] / error["zero"]).max(skipna=False))
    outcome = at_most(max(ratios), threshold)
    if not max(halves) < 0.5 or not max(median) <= threshold:
        return Outcome("not reproduced", outcome.measured)
    return outcome if outcome.verdict == "reproduced" else Outcome("partly", outcome.measured)


def fig2a_reaches_the_ridge_limit(tables, threshold) -> Outcome:
    """Largest final excess loss L - L* over the seeds."""
    end = _at_end(_run(tables))
    return at_most(
        end.loc[end["quantity"] == "excess loss", "value"].max(skipna=False), threshold
    )
