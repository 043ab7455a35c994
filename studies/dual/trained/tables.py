"""Checks of the chapter *Does it help?*, and the paired differences they and the chapters speak
of."""

import dataclasses

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_most
from iclbook.statistics import t_interval
from studies.dual.modified.tables import layers

EXACT = 1e-20  # relative squared error of a dual model that has taken all its steps, in float64
STARTED = 1e-6  # its error one step earlier must be above this, or the comparison shows nothing
ALIKE = 0.25  # a layer's last loss on test prompts may differ by this share from its final loss
FAMILIES = ("regularised", "augmented", "negative")
CONDITION = ("task", "inputs", "noise")
SETTING = ("family", "setting", "alpha", "r", "beta", "view", "c")


def conditions(result) -> dict:
    """{(task, inputs, noise): the result under that condition}, as the tables name them."""
    names = [name for name in CONDITION if name in next(iter(result.tables.values()))]
    if not names:
        return {(): result}
    parts = {
        name: {key: part.drop(columns=names) for key, part in table.groupby(names, sort=False)}
        for name, table in result.tables.items()
    }
    every = layers(result, "ends")[names].drop_duplicates()
    found = {}
    for key in every.itertuples(index=False, name=None):
        tables = {
            name: of_key.get(key, result[name][:0].drop(columns=names))
            for name, of_key in parts.items()
        }
        found[key] = dataclasses.replace(result, tables=tables)
    return found


def gains(
    result,
    families=None,
    level: float = 0.95,
    simultaneous: bool = False,
    starts: str = "mean",
) -> pd.DataFrame:
    """Relative gain of each setting over plain, paired by seed: family, setting, strengths,
    mean, low, high, seeds. families: all but plain, unless some are named.

    A seed's gain is 1 - (mean final loss over its starts) / (that of plain); with starts="min"
    its better start over plain's better start. low, high: a t interval over seeds, at `level`
    for each setting or, Bonferroni, for all of them together.
    """
    ends = layers(result, "ends")
    names = [name for name in SETTING if name in ends]
    groups = ends.groupby([*names, "seed"], sort=False, dropna=False)["final_loss"]
    # A seed of which a start is NaN is NaN, and so is the whole interval of its setting.
    loss = groups.agg(starts).where(groups.count() == groups.size()).reset_index()
    is_plain = loss["family"] == "plain"
    plain = loss[is_plain].set_index("seed")["final_loss"]
    wanted = ~is_plain if families is None else loss["family"].isin(families)
    settings = loss[wanted].groupby(names, sort=False, dropna=False)
    level = 1 - (1 - level) / (settings.ngroups if simultaneous else 1)
    rows = []
    for key, part in settings:
        gain = 1 - part.set_index("seed")["final_loss"].reindex(plain.index) / plain
        rows.append((*key, *t_interval(gain, level), len(gain)))
    return pd.DataFrame(rows, columns=[*names, "mean", "low", "high", "seeds"])


def mean_curves(result) -> pd.DataFrame:
    """Loss on the test prompts along training, mean over seeds and starts: a row a (family,
    setting), a column a step."""
    keys = ["family", "setting", "step"]
    means = layers(result, "curves").groupby(keys, sort=False)["loss"].mean()
    return means.unstack("step", sort=False)


def was_trained(result) -> bool:
    """Whether the curves end, on their own prompts, at about what the final losses say."""
    alike = []
    for name, curves in result.tables.items():
        if name.endswith("curves"):
            last = curves[curves["step"] == result.settings.steps]
            ends = result[name.replace("curves", "ends")]
            both = ends.merge(last, on=[key for key in ends if key in last], how="left")
            alike.append((both["loss"] / both["final_loss"] - 1).abs() <= ALIKE)
    return bool(pd.concat(alike).all() and min(map(len, alike)) > 0)


def improves(result, families, threshold: float) -> Outcome:
    """Reproduced where some setting's gain is surely at least `threshold`; partly where some
    setting surely changes the loss, in whatever direction. Intervals hold for all settings of
    `families` together."""
    found = gains(result, families, simultaneous=True)
    best = found["low"].max(skipna=False)
    complete = set(found["family"]) == set(families) and was_trained(result)
    if not complete or pd.isna(best):
        return Outcome("not reproduced", float(best))
    if best >= threshold:
        return Outcome("reproduced", float(best))
    changed = ((found["low"] > 0) | (found["high"] < 0)).any()
    return Outcome("partly" if changed else "not reproduced", float(best))


def improvement(results, threshold, families: list[str]) -> Outcome:
    """What `improves` says of the claim's one experiment."""
    (result,) = results.values()
    return improves(result, families, threshold)


def dual_error(result, threshold: float = EXACT) -> Outcome:
    """Largest error of the dual models after their last step, or after one full step; before it
    they must have one."""
    steps, ends, N = layers(result, "steps"), layers(result, "ends"), result.settings.N
    after, before = (steps.loc[steps["step"] == step, "error"] for step in (N, N - 1))
    errors = [after]
    if "one_step_error" in ends:
        drawn = (ends["start"] == "drawn") & (ends["family"] != "linear_attention")
        errors.append(ends.loc[drawn, "one_step_error"])
    outcome = at_most(pd.concat(errors).max(skipna=False), threshold)
    whole = {len(part) for part in (before, *errors)} == {len(steps) / (N + 1)}
    families = {*FAMILIES, "plain"} & set(ends["family"])
    complete = whole and families <= set(steps["family"])
    if complete and before.min(skipna=False) > STARTED:
        return outcome
    return Outcome("not reproduced", outcome.measured)


def fig3_equivalence_linear(results, threshold) -> Outcome:
    """Largest error of the dual models that have taken all their steps."""
    return dual_error(results["ren2024/fig3-trained"], threshold)


def by_sign(result) -> pd.DataFrame:
    """The ends of all layers, with the sign of the score scale that each ended with."""
    ends = layers(result, "ends")
    return ends.assign(sign=np.where(ends["score_scale"] > 0, "+", "-"))


def plain_has_two_solutions(results, threshold) -> Outcome:
    """Largest loss ratio, negative over positive score scale, of seeds whose starts found both;
    at least three must."""
    result = results["ren2024/fig3-trained"]
    plain = by_sign(result).query("family == 'plain'")
    mean = plain.groupby(["seed", "sign"])["final_loss"].mean().unstack()
    mean = mean.reindex(columns=["-", "+"])
    found = (mean["-"] / mean["+"]).dropna()
    outcome = at_most(found.max(), threshold)
    known = plain[["final_loss", "score_scale"]].notna().all(axis=None)
    if len(found) >= 3 and known and was_trained(result):
        return outcome
    return Outcome("not reproduced", outcome.measured)


def under(table: pd.DataFrame, task: str, N: int = 15, inputs="uniform", noise=0.0):
    """The rows of one condition, its columns left out."""
    condition = {"task": task, "N": N, "inputs": inputs, "noise": noise}
    rows = (table[list(condition)] == list(condition.values())).all(axis=1)
    return table[rows].drop(columns=list(condition))


def two_number_losses(optimum) -> pd.DataFrame:
    """The tables of two-numbers under each other: the condition and seed, weights, r, beta,
    sign, and the measures. What weights do not have is NaN."""
    linear = optimum["linear"]
    names = {False: "linear attention", True: "centred linear attention"}
    linear = linear.assign(weights=linear["centred"].map(names)).drop(columns="centred")
    negative = optimum["negative"].assign(weights="negative")
    return pd.concat([optimum["positive"], negative, linear], ignore_index=True)


def optima(optimum, task: str, **condition) -> pd.DataFrame:
    """The best of two numbers under one condition, means over seeds: weights, r, beta, sign and
    the measures."""
    best = under(two_number_losses(optimum), task, **condition)
    groups = best.groupby(["weights", "r", "beta", "sign"], sort=False, dropna=False)
    return groups[["loss", "score_scale", "value_scale"]].mean().reset_index()


def two_number_ratios(result, optimum, task: str) -> pd.DataFrame:
    """Trained loss over the best of two numbers of the same sign, for plain, regularised and
    negative settings: family, setting, sign, loss, optimum, ratio; losses are means over seeds.
    a_ratio, b_ratio: the same of the score scale and the value scale.

    Regularisation has plain's optimum, since the query's own value is 0 there.
    """
    found = by_sign(result)
    found = found[found["family"].isin(["plain", "regularised", "negative"])]
    keys = ["family", "setting", "r", "beta", "sign"]
    groups = found.groupby(keys, sort=False, dropna=False)
    measures = ["final_loss", "score_scale", "value_scale"]
    found = groups[measures].mean().rename(columns={"final_loss": "loss"}).reset_index()
    best = optima(optimum, task, N=result.settings.N).rename(columns={"loss": "optimum"})
    best = best[best["weights"].isin(["plain", "negative"])].drop(columns="weights")
    both = found.merge(best, on=["r", "beta", "sign"], how="left", suffixes=("", "_best"))
    return both[["family", "setting", "sign", "loss", "optimum"]].assign(
        ratio=both["loss"] / both["optimum"],
        a_ratio=both["score_scale"] / both["score_scale_best"],
        b_ratio=both["value_scale"] / both["value_scale_best"],
    )


def two_numbers_suffice(results, threshold) -> Outcome:
    """Largest |trained loss / two-number optimum of that sign - 1| on the linear task."""
    result, optimum = results["ren2024/fig3-trained"], results["ren2024/two-numbers"]
    ratios = two_number_ratios(result, optimum, "linear")
    outcome = at_most((ratios["ratio"] - 1).abs().max(skipna=False), threshold)
    return outcome if was_trained(result) else Outcome("not reproduced", outcome.measured)
