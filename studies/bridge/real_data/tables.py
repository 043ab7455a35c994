"""Measures and checks of the chapter *Real data*."""

import pandas as pd

from iclbook.claim import Outcome, at_most
from iclbook.statistics import paired, t_interval

COLUMNS = {"digits": 64, "diabetes": 10, "cancer": 30, "wine": 13, "xor": 2, "moons": 2}
CHOSEN = 16  # functions, of the claims on fixed functions
FEW = 4  # functions, of the claim on learned ones
LEARNERS = ("kernel ridge", "neighbours", "boosting")  # see the prompt and nothing else
TRAINED = 0.1  # the share of its first excess loss that a trained model has at most
SIZE = 2  # how many times predicting zero may lie from what it costs on average, either way
ROUNDING = 1e-9


def exist(rows: pd.DataFrame, m) -> pd.Series:
    """How many of m functions there are: a data set has as many principal components as
    columns."""
    most = rows["data"].map(COLUMNS).where(rows["family"] == "pca", float("inf"))
    return most.clip(upper=m)


def over_chance(result) -> pd.DataFrame:
    """The labels' table with `chance`, the share that as many functions leave on average of
    labels that have nothing to do with them, 1 - m/K; and `ratio`, left over chance."""
    rows = result["labels"]
    chance = 1 - rows["functions"] / result.settings.K
    return rows.assign(chance=chance, ratio=rows["left"] / chance)


def sound_labels(result) -> bool:
    """Whether the functions are those that exist, shares are shares, a token left out of its
    fit is never nearer, and more of the same functions never leave more."""
    rows = result["labels"].sort_values("m")
    nested = rows[rows["family"] != "network"]
    steps = nested.groupby(["data", "family", "seed"])["left"].diff().dropna()
    return bool(
        (rows["functions"] == exist(rows, rows["m"])).all()
        and rows["left"].between(0, 1 + ROUNDING).all()
        and (rows["unseen"] >= rows["left"] - ROUNDING).all()
        and (steps <= ROUNDING).all()
    )


def basis_approximates_labels(results, threshold) -> Outcome:
    """Largest mean over seeds, of the data sets, of what the waves leave over chance."""
    result = results["real/approximation"]
    rows = over_chance(result)
    rows = rows[(rows["family"] == "fourier") & (rows["m"] == CHOSEN)]
    mean = rows.pivot(index="seed", columns="data", values="ratio").mean(skipna=False)
    found = at_most(mean.max(skipna=False), threshold)
    return found if sound_labels(result) else Outcome("not reproduced", found.measured)


def learned_functions_approximate_better(results, threshold) -> Outcome:
    """Largest mean over seeds, of the data sets, of what learned functions leave less what as
    many waves do."""
    result = results["real/approximation"]
    rows = result["labels"][result["labels"]["m"] == FEW]
    pairs = paired(rows, "family", "network", "fourier", "left", pair=["data", "seed"])
    found = at_most(pairs.unstack("data").mean(skipna=False).max(skipna=False), threshold)
    return found if sound_labels(result) else Outcome("not reproduced", found.measured)


def over_ridge(result) -> pd.Series:
    """The trained model's expected error on tasks over its limit's, tokens not shown, one a
    (data, family, seed)."""
    curves, keys = result["curves"], ["data", "family", "seed"]
    last = curves[curves["step"] == result.settings.steps].set_index(keys)["error"]
    return last / result["limits"].set_index(keys)["error"]


def sound_tasks(result) -> bool:
    """Whether the functions are those that exist, zero costs about what it must, models are
    trained, and none beats its limit."""
    s, limits, keys = result.settings, result["limits"], ["data", "family", "seed"]
    excess = result["curves"].pivot(index=keys, columns="step", values="excess")
    zero = limits["zero"] / limits["functions"]
    return bool(
        (limits["functions"] == exist(limits, s.m)).all()
        and zero.between(1 / SIZE, SIZE).all()
        and (excess[s.steps] <= TRAINED * excess[0]).all()
        and (over_ridge(result) >= 1 - ROUNDING).all()
    )


def transformer_matches_ridge(results, threshold) -> Outcome:
    """Largest ratio over data sets, families and seeds of the two expected errors."""
    result = results["real/prompts"]
    found = at_most(over_ridge(result).max(skipna=False), threshold)
    return found if sound_tasks(result) else Outcome("not reproduced", found.measured)


def sound_learners(learners: pd.DataFrame) -> bool:
    """Whether errors are numbers, zero costs about the labels' variance, and a share of wrong
    signs stands for every data set but diabetes."""
    zero = learners.loc[learners["learner"] == "zero", "error"]
    signed = learners["data"] != "diabetes"
    return bool(
        (learners["error"] >= 0).all()
        and zero.between(1 / SIZE, SIZE).all()
        and (learners["wrong"].notna() == signed).all()
        and learners.loc[signed, "wrong"].between(0, 1).all()
    )


def labels_follow_ridge(results, threshold) -> Outcome:
    """Largest difference over data sets, families and seeds of the model's and its limit's
    error on own labels, either way."""
    result = results["real/prompts"]
    rows = result["learners"]
    keys = ["data", "family", "seed"]
    pairs = paired(rows, "learner", "transformer", "ridge", "error", pair=keys)
    found = at_most(pairs.abs().max(skipna=False), threshold)
    sound = sound_tasks(result) and sound_learners(rows)
    return found if sound else Outcome("not reproduced", found.measured)


def errors_of(results, family: str, measure: str = "error") -> pd.DataFrame:
    """One row a (data, seed), one column a learner: the transformer, its limit and tuned ridge
    on the functions of a family, and the standard learners on the same prompt."""
    ours = results["real/prompts"]["learners"]
    ours = ours[(ours["family"] == family) & (ours["learner"] != "zero")]
    rows = pd.concat([ours, results["real/standard"]["learners"]])
    return rows.pivot(index=["data", "seed"], columns="learner", values=measure)


def best_standard(errors: pd.DataFrame) -> pd.Series:
    """For each data set the name of the standard learner whose mean error is least."""
    return errors[list(LEARNERS)].groupby("data").mean().idxmin(axis=1)


def beside_best(errors: pd.DataFrame, learner: str = "transformer") -> pd.DataFrame:
    """A learner's error less that of the best standard learner of each data set, seed by seed:
    mean and 95 % t interval."""
    rows = []
    for data, best in best_standard(errors).items():
        pairs = (errors[learner] - errors[best]).loc[data]
        rows.append((data, best, *t_interval(pairs)))
    return pd.DataFrame(rows, columns=["data", "best", "difference", "low", "high"])


def sound_all(results) -> bool:
    """Whether both results that a comparison reads are sound."""
    return (
        sound_tasks(results["real/prompts"])
        and sound_learners(results["real/prompts"]["learners"])
        and sound_learners(results["real/standard"]["learners"])
    )


def against_standard_learners(results, threshold, family) -> Outcome:
    """Largest mean difference over data sets of the transformer's error and that of the best
    standard learner."""
    errors = errors_of(results, family)
    found = at_most(beside_best(errors)["difference"].max(skipna=False), threshold)
    return found if sound_all(results) else Outcome("not reproduced", found.measured)


def network_needs_no_prompt(results, threshold) -> Outcome:
    """Largest mean difference over data sets of the network's own error, without a prompt, and
    that of the transformer on its functions."""
    errors = errors_of(results, "network")
    pairs = (errors["network alone"] - errors["transformer"]).unstack("data")
    found = at_most(pairs.mean(skipna=False).max(skipna=False), threshold)
    return found if sound_all(results) else Outcome("not reproduced", found.measured)
