"""Measures and checks of the chapter *Does it hold where the papers stop?*."""

import math
from itertools import pairwise

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

ID, STACKS = "bridge/trained-over-prompts", "bridge/stacks"
ONE_PASS = ("one step", "additive", "softmax head")  # rules that see each shown token once
SLACK = 1e-6  # relative; rounding, and what a best of many may miss by its grid
SIZE = 1.5  # how many times predicting zero may lie from d, its mean over prompts
ALIKE = 1.5  # how many times the excess over ridge of two that err alike may differ
READ = 0.8  # the least R^2 with which one step is read off after the first layer
TRAINED = 0.6  # the largest share of its first error that the training of any model leaves


def at_end(result, name: str, layers: int | None = None) -> pd.DataFrame:
    """The rows of a table at the end of training, of one number of layers or of all."""
    rows = result[name]
    rows = rows[rows["step"] == result.settings.steps] if "step" in rows else rows
    return rows if layers is None else rows[rows["layers"] == layers]


def deepest(result) -> int:
    """The largest number of layers."""
    return max(result.settings.layers)


def distances(result, name: str = "rules") -> pd.DataFrame:
    """Distances at the end of training: one row a (layers, seed), one column a rule. name:
    "rules" for predictions, "weights" for the closest tables."""
    rows = at_end(result, name)
    return rows.pivot(index=["layers", "seed"], columns="rule", values="distance")


def of_steps(result, measure: str = "one_rate") -> pd.DataFrame:
    """The same from so many gradient steps: one column a number of steps."""
    rows = at_end(result, "taken")
    return rows.pivot(index=["layers", "seed"], columns="taken", values=measure)


def errors(result) -> pd.Series:
    """The final error against true labels, by (layers, seed)."""
    return at_end(result, "curves").set_index(["layers", "seed"])["error"]


def reference_errors(result) -> pd.DataFrame:
    """The errors of the rules on the same prompts, one row a (layers, seed)."""
    rows = result["references"]
    return rows.pivot(index=["layers", "seed"], columns="rule", values="error")


def stack_errors(stacks) -> pd.Series:
    """The error of the best stack found, on the same prompts, by (layers, seed)."""
    return stacks["errors"].set_index(["layers", "seed"])["error"]


def over_stack(result, stacks) -> pd.Series:
    """The final error over that of the stack of as many layers, by (layers, seed)."""
    return errors(result) / stack_errors(stacks)


def excess_over_stack(result, stacks) -> pd.Series:
    """The same of what both err more than ridge; infinite or negative where the stack errs no
    more than ridge on these prompts."""
    ridge = reference_errors(result)["ridge"]
    return (errors(result) - ridge) / (stack_errors(stacks) - ridge)


def worth(result) -> pd.Series:
    """How many gradient steps, at the rate that errs least, err as little as the model does:
    by (layers, seed), on straight lines in log error between the numbers of steps that were
    taken; infinite where none of them errs so little, 0 where one step errs less."""
    steps = result["reference_steps"].pivot(
        index=["layers", "seed"], columns="taken", values="error"
    )
    found = {}
    for key, error in errors(result).items():
        curve, x = steps.loc[key], math.nan
        if not (curve.isna().any() or math.isnan(error)):
            x = 0.0 if error > curve.iloc[0] else math.inf
            pairs = list(curve.items())
            for (low, above), (high, below) in pairwise(pairs):
                if above >= error > below:
                    share = math.log(above / error) / math.log(above / below)
                    x = low + share * (high - low)
                    break
        found[key] = x
    return pd.Series(found).rename_axis(["layers", "seed"])


def one_pass(result) -> pd.Series:
    """The least distance from a rule that sees each shown token once, one step at its nearest
    rate among them, by (layers, seed)."""
    near = distances(result)[list(ONE_PASS)].assign(rate=of_steps(result)[1])
    return near.min(axis=1, skipna=False)


def layer_by_layer(result, layers: int) -> pd.DataFrame:
    """What the probe for the true label decodes after each layer of a model: its distance from
    ridge over that from one step at the nearest rate, a row a seed, a column a layer."""
    rows, steps = at_end(result, "decoded", layers), at_end(result, "decoded_steps", layers)
    ridge = rows[rows["rule"] == "ridge"].set_index(["seed", "layer"])["distance"]
    one = steps[steps["taken"] == 1].set_index(["seed", "layer"])["one_rate"]
    return (ridge / one).unstack("layer").drop(columns=0)  # the embedding knows no label


def shifted(result, name: str, key: str, layers: int) -> pd.DataFrame:
    """The rows of one kind of other prompts for a number of layers, by (value, seed)."""
    return at_end(result, name, layers).set_index([key, "seed"]).sort_index()


def sound(result) -> bool:
    """Whether the rules err as they must, no model beats ridge, every model is trained and
    deeper ones err less, and what is measured in two ways agrees."""
    s, rules, ends = result.settings, reference_errors(result), errors(result)
    first = result["curves"].query("step == 0").set_index(["layers", "seed"])["error"]
    order = rules[["ridge", "additive", "one step", "softmax head", "zero"]]
    steps, free = of_steps(result), of_steps(result, "free")
    wide = ends.unstack("layers")
    near = distances(result)
    # Ridge is the best of all predictors: what a model errs more is its distance from it.
    size = rules["zero"] - rules["ridge"]
    excess = (ends - rules["ridge"] - near["ridge"] ** 2 * size) / rules["zero"]
    return bool(
        (order.diff(axis=1).iloc[:, 1:] > 0).all(axis=None)
        and (rules["zero"] / s.d).between(1 / SIZE, SIZE).all()
        and (ends > rules["ridge"]).all()
        and sound_stacks(result)
        and (ends <= TRAINED * first).all()
        and (wide.diff(axis=1).iloc[:, 1:] < 0).all(axis=None)
        and excess.abs().max() < 0.05
        and (steps[1] <= near["one step"] * (1 + SLACK)).all()
        and (free <= steps * (1 + SLACK)).all(axis=None)
        and (free.diff(axis=1).iloc[:, 1:] <= SLACK).all(axis=None)
        and at_end(result, "curves")["nonlinear_share"].between(0, 1).all()
    )


def sound_stacks(result) -> bool:
    """Whether stacks err more than ridge and less the more layers they have, and the more if
    their tokens may not move; one layer is the best step."""
    keys = ["layers", "seed"]
    stacks, ridge = result["stacks"].set_index(keys), reference_errors(result)["ridge"]
    steps = result["reference_steps"].pivot(index=keys, columns="taken", values="error")
    one = stacks["error"].loc[1] / steps[1].loc[1]
    return bool(
        (stacks["error"] > ridge).all()
        and (stacks["error"].unstack("layers").diff(axis=1).iloc[:, 1:] < 0).all(axis=None)
        and (stacks["error"] <= 1.05 * stacks["steps_alone"]).all()
        and one.between(1 - SLACK, 1.05).all()
    )


def judged(result, found: Outcome, also: bool = True) -> Outcome:
    """The outcome, "not reproduced" where the result is not `sound` or what is also wanted does
    not hold."""
    good = also and sound(result)
    return found if good else Outcome("not reproduced", found.measured)


def trained_over_prompts(results, threshold) -> Outcome:
    """Deepest model: largest ratio over seeds of its distance from ridge to the least from a
    rule that sees each shown token once."""
    result = results[ID]
    ratio = distances(result)["ridge"] / one_pass(result)
    return judged(result, at_most(ratio.loc[deepest(result)].max(skipna=False), threshold))


def one_layer_is_one_step(results, threshold) -> Outcome:
    """One layer: largest ratio over seeds of its distance from one step at the nearest rate to
    that from ridge."""
    result = results[ID]
    ratio = of_steps(result)[1] / distances(result)["ridge"]
    return judged(result, at_most(ratio.loc[1].max(skipna=False), threshold))


def one_layer_beats_no_sum(results, threshold) -> Outcome:
    """One layer: smallest ratio over seeds of its error to that of the best sum over shown
    tokens."""
    result = results[ID]
    ratio = errors(result) / reference_errors(result)["additive"]
    return judged(result, at_least(ratio.loc[1].min(skipna=False), threshold))


def more_steps_than_layers(results, threshold) -> Outcome:
    """Deepest model: largest ratio over seeds of its distance from ridge to the least from as
    many gradients as it has layers, added with any fixed weights."""
    result = results[ID]
    layers = deepest(result)
    ratio = distances(result)["ridge"] / of_steps(result, "free")[layers]
    return judged(result, at_most(ratio.loc[layers].max(skipna=False), threshold))


def layers_go_from_one_step_to_ridge(results, threshold) -> Outcome:
    """Deepest model, decoded layer by layer: smallest over seeds of the ratio of distances
    (from ridge over from one step) after the first layer to that after the last.

    Also wanted: the first is above 1, the last below, the ratio falls with every layer. Partly,
    where one step cannot be read off after the first: what knows nothing is nearer to the
    smaller of two predictions.
    """
    result = results[ID]
    ratio = layer_by_layer(result, deepest(result))
    probes = at_end(result, "probe_steps", deepest(result))
    read = probes[(probes["layer"] == 1) & (probes["taken"] == 1)]["r2"]
    first, last = ratio.iloc[:, 0], ratio.iloc[:, -1]
    whole = not ratio.isna().any(axis=None) and len(ratio) == len(result.settings.seeds)
    falls = (ratio.diff(axis=1).iloc[:, 1:] < 0).all(axis=None)
    also = bool(whole and (first > 1).all() and (last < 1).all() and falls)
    found = judged(result, at_least((first / last).min(skipna=False), threshold), also)
    known = (read >= READ).all() and len(read) == len(result.settings.seeds)
    partly = found.verdict == "reproduced" and not known
    return Outcome("partly", found.measured) if partly else found


def errs_like_a_moving_stack(results, threshold) -> Outcome:
    """Largest factor over layers and seeds between the encoder's error and that of the best
    stack, either way.

    Partly, where the errors agree but what they exceed ridge by does not, up to `ALIKE`.
    """
    result, stacks = results[ID], results[STACKS]
    ratio, excess = over_stack(result, stacks), excess_over_stack(result, stacks)
    worst = pd.concat([ratio, 1 / ratio]).max(skipna=False)
    found = judged(result, at_most(worst, threshold), sound_better(result, stacks))
    alike = excess.between(1 / ALIKE, ALIKE).all()
    partly = found.verdict == "reproduced" and not alike
    return Outcome("partly", found.measured) if partly else found


def sound_better(result, stacks) -> bool:
    """Whether the stacks found from many starts err less the more layers they have and about as
    ridge at best, no more than those found from one, and one layer is the best step."""
    keys = ["layers", "seed"]
    better, known = stack_errors(stacks), result["stacks"].set_index(keys)["error"]
    steps = result["reference_steps"].pivot(index=keys, columns="taken", values="error")
    one = (better / steps[1]).loc[1]
    return bool(
        better.sort_index().index.equals(known.sort_index().index)
        and (better >= 0.97 * reference_errors(result)["ridge"]).all()
        and (better <= 1.05 * known).all()
        and (better.unstack("layers").diff(axis=1).iloc[:, 1:] < 0).all(axis=None)
        and one.between(1 - SLACK, 1.05).all()
    )


def over_prompts_is_linear(results, threshold) -> Outcome:
    """Deepest model: largest share over seeds of its predictions that the closest table of each
    set of tokens leaves."""
    result = results[ID]
    share = at_end(result, "curves", deepest(result))["nonlinear_share"]
    return judged(result, at_most(share.max(skipna=False), threshold))


def holds_at_twice_the_length(results, threshold) -> Outcome:
    """Deepest model: largest ratio over seeds of its error to ridge's on prompts twice as long
    as those of training.

    Also wanted: on prompts of training's length it errs as the looks say, and longer prompts
    are better predicted by ridge.
    """
    result = results[ID]
    s, rows = result.settings, shifted(result, "lengths", "N", deepest(result))
    long, plain = rows.loc[2 * s.N], rows.loc[s.N]
    known = errors(result).loc[deepest(result)]
    same = (plain["error"] / known).between(1 / SIZE, SIZE).all()
    better = (long["ridge"] < plain["ridge"]).all() and sound_shifts(rows, s)
    ratio = (long["error"] / long["ridge"]).max(skipna=False)
    return judged(result, at_most(ratio, threshold), bool(same and better))


def sound_shifts(rows: pd.DataFrame, s) -> bool:
    """Whether ridge errs least and predicting zero costs d."""
    return bool(
        (rows["ridge"] <= rows["error"]).all()
        and (rows["ridge"] < rows["one_step"]).all()
        and (rows["zero"] / s.d).between(1 / SIZE, SIZE).all()
        and rows["distance"].between(0, 2).all()
    )


def large_labels_break_it(results, threshold) -> Outcome:
    """Deepest model: smallest relative distance over seeds from ridge, of the largest labels.

    Also wanted: labels of training's size are nearer, as near as the looks say.
    """
    result = results[ID]
    s, rows = result.settings, shifted(result, "factors", "factor", deepest(result))
    large, plain = rows.loc[max(s.factors)]["distance"], rows.loc[1.0]["distance"]
    known = distances(result)["ridge"].loc[deepest(result)]
    same = (plain / known).between(1 / SIZE, SIZE).all() and (large > plain).all()
    found = at_least(large.min(skipna=False), threshold)
    return judged(result, found, bool(same and sound_shifts(rows, s)))


def rules_know_their_errors(results, threshold) -> Outcome:
    """Largest distance over lengths, seeds and rules of the sampled error from its closed form,
    in standard errors. Sound where no rule errs less than ridge."""
    result = results["bridge/prompt-rules"]
    rows = result["errors"]
    wide = rows.pivot(index=["N", "seed"], columns="rule", values="error")
    known = rows[rows["rule"].isin(("one step", "additive", "zero"))]
    off = (known["error"] - known["exact"]).abs() / known["standard_error"]
    found = at_most(off.max(skipna=False), threshold)
    exact = known.pivot(index=["N", "seed"], columns="rule", values="exact")
    precise = (known["standard_error"] < 0.1 * known["exact"]).all()
    order = (wide.drop(columns="ridge").min(axis=1) >= wide["ridge"]).all()
    floors = (exact["additive"] < exact["one step"]).all()
    known_size = (exact["zero"] == result.settings.d).all()
    good = order and floors and precise and known_size and (off > 0).all()
    return found if good else Outcome("not reproduced", found.measured)


def ridge_needs_more(result) -> pd.DataFrame:
    """What the best sum over shown tokens errs over ridge, one row a seed, one column an N."""
    wide = result["errors"].pivot(index=["N", "seed"], columns="rule", values="error")
    return (wide["additive"] / wide["ridge"]).unstack("N")
