"""Measures and checks of the chapter *Two lenses on one layer*."""

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

TRAINED = 1e-3  # the largest excess loss of a trained layer, of at most about 10 at the start
FALLEN = 1e-3  # the largest share of its first excess loss that training leaves
WHOLE = 0.99  # the least share of a trained table that is a polynomial of the Gram matrix
COPIED = 0.05  # the largest error of the part that copies shown labels
SLACK = 1e-6  # relative; what a best of many may miss by the grid it is looked for on
EIGHT = 8  # gradients that fall short


def at_end(result, name: str) -> pd.DataFrame:
    """The rows of a table at the end of training."""
    rows = result[name]
    return rows[rows["step"] == result.settings.steps]


def sound(result) -> bool:
    """Whether every layer is trained and its table, as a whole, a polynomial of the Gram matrix
    on the tokens not shown; shares and numbers of heads are what they can be."""
    keys = [key for key in ("relation", "beta", "seed") if key in result["whole"]]
    first = result["whole"].sort_values("step").groupby(keys)["excess_loss"].first()
    last = at_end(result, "whole").set_index(keys).sort_index()
    shares = pd.concat([at_end(result, "heads"), result["random"]], ignore_index=True)[
        ["contribution", "softmax"]
    ]
    return bool(
        (last["excess_loss"] <= TRAINED).all()
        and (last["excess_loss"] <= FALLEN * first.sort_index()).all()
        and last["share"].between(WHOLE, 1 + SLACK).all()
        and last["negative"].between(0.05, 0.95).all()
        and (last["gross"] >= 1 - SLACK).all()
        and shares.gt(0).all(axis=None)
        and shares.le(1 + SLACK).all(axis=None)
    )


def sound_map(result) -> bool:
    """`sound`, and what the trained map is compared with is in order: it copies shown labels,
    more steps come nearer, free weights nearer than one rate, and zero is as far as its own
    size."""
    rules, steps = distances(result), at_end(result, "steps")
    curves = steps.set_index(["seed", "taken"]).sort_index()
    falls = curves.groupby("seed").diff().dropna()
    return bool(
        sound(result)
        and (at_end(result, "whole")["copied"] <= COPIED).all()
        and (rules["zero"] - 1).abs().le(SLACK).all()
        and (rules["ridge, m tau"] < rules["ridge, N tau"]).all()
        and (falls["free"] <= SLACK).all()
        and (curves["free"] <= curves["one_rate"] + SLACK).all()
        and (curves["one_rate"] <= 1 + SLACK).all()
    )


def judged(good: bool, found: Outcome) -> Outcome:
    """The outcome, "not reproduced" where the result is not sound."""
    return found if good else Outcome("not reproduced", found.measured)


def distances(result) -> pd.DataFrame:
    """One row a seed, one column a rule: distances from the trained map."""
    return at_end(result, "rules").pivot(index="seed", columns="rule", values="distance")


def ridge_over_flow(result) -> pd.Series:
    """Distance from ridge regression over the least distance from gradient flow, by seed."""
    rules = distances(result)
    return rules["ridge, m tau"] / rules["gradient flow"]


def free_gradients(result, taken: int) -> pd.Series:
    """The least distance of so many gradients, added with any weights, by seed."""
    steps = at_end(result, "steps")
    return steps[steps["taken"] == taken].set_index("seed")["free"]


def median_head(result, measure: str = "contribution", name: str = "heads") -> pd.Series:
    """The share of the median head, by relation and beta, where there are some, and seed; name:
    "heads", the trained ones at the end, or "random"."""
    rows = at_end(result, name) if name == "heads" else result[name]
    keys = [key for key in ("relation", "beta", "seed") if key in rows]
    return rows.groupby(keys)[measure].agg(lambda share: share.median(skipna=False))


def chance(settings, r: int) -> float:
    """The mean share of a table of independent Gaussians, of tokens not shown; r: rank of Z."""
    return r / (settings.N * (settings.K - settings.N))


def over_independent(result, measure: str = "contribution") -> pd.DataFrame:
    """The median head's share over that with independent tokens: one row a (beta, seed), one
    column a related kind."""
    shares = median_head(result, measure).unstack("relation")
    related = [name for name in result.settings.relations if name != "independent"]
    return shares[related].div(shares["independent"], axis=0)


def heads_are_dual_models(results, threshold) -> Outcome:
    """Largest residual over seeds, steps and routes."""
    result = results["bridge/two-lenses"]
    worst = result["identity"]["residual"].max(skipna=False)
    return judged(sound(result) and worst > 0, at_most(worst, threshold))


def ridge_is_many_steps(results, threshold) -> Outcome:
    """Largest ratio over seeds of the distance from ridge to that from gradient flow."""
    result = results["bridge/two-lenses"]
    ratio = ridge_over_flow(result).max(skipna=False)
    return judged(sound_map(result), at_most(ratio, threshold))


def eight_gradients_fall_short(results, threshold) -> Outcome:
    """Smallest distance over seeds of eight gradients with any weights."""
    result = results["bridge/two-lenses"]
    least = free_gradients(result, EIGHT).min(skipna=False)
    return judged(sound_map(result), at_least(least, threshold))


def no_head_is_a_polynomial(results, threshold) -> Outcome:
    """Largest share of the median head over seeds, independent tokens. Sound only where the
    whole is ridge regression."""
    result = results["bridge/two-lenses"]
    return judged(sound_map(result), at_most(median_head(result).max(skipna=False), threshold))


def related_tokens_change_no_head(results, threshold) -> Outcome:
    """Largest ratio over relations, starts and seeds of the median head's share to that with
    independent tokens. Sound only where linear tokens are related as their name says: in their
    softmax vectors, drawn or trained, the Gram matrix is seen most."""
    result = results["bridge/related-tokens"]
    worst = over_independent(result).max(axis=None, skipna=False)
    seen = [median_head(result, "softmax", name) for name in ("heads", "random")]
    shares = pd.concat([each.unstack("relation") for each in seen])
    related = shares["linear"] > shares.drop(columns="linear").max(axis=1)
    return judged(sound(result) and related.all(), at_most(worst, threshold))
