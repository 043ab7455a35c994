"""Measures and checks of the chapter *Other prompts*."""

import math

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

TRAINED = 1.5  # on its own prompt a trained model's loss is at most this many times the best
SAME = 1e-9  # relative change of a loss that rounding may cause
SIZE = 3  # how many times predicting zero may lie from its mean over dictionaries, either way
SAMPLED = 5  # standard errors within which a mean over sets lies of its closed form
LEARNED = 0.5  # the least share of the gain that counts as having learned


def at_end(result, tokens: str, name: str = "prompts") -> pd.DataFrame:
    """The rows of one reading of the tokens at the end of training."""
    rows = result[name]
    return rows[(rows["tokens"] == tokens) & (rows["step"] == result.settings.steps)]


def losses_at_end(result, tokens: str, measure: str = "loss") -> pd.DataFrame:
    """One row a (prompt, changed, seed), one column a predictor: mean losses over the prompts
    of a kind."""
    rows = at_end(result, tokens)
    return rows.pivot(
        index=["prompt", "changed", "seed"], columns="predictor", values=measure
    ).sort_index()


def share_of_the_gain(losses: pd.DataFrame, predictor: str = "model") -> pd.Series:
    """(zero - predictor) / (zero - best): 1 is as good as the best table, 0 as predicting
    zero."""
    return (losses["zero"] - losses[predictor]) / (losses["zero"] - losses["best"])


def over_best(losses: pd.DataFrame, predictor: str = "model") -> pd.Series:
    """How many times the best table's loss a predictor has."""
    return losses[predictor] / losses["best"]


def like_the_dictionary(zero: pd.Series, m, tau: float) -> bool:
    """Whether predicting zero costs, up to `SIZE`, what it costs on average: m (1 + tau) /
    2."""
    share = zero / (m * (1 + tau) / 2)
    return bool(share.between(1 / SIZE, SIZE).all())


def sound(result, losses: pd.DataFrame) -> bool:
    """Whether models are trained, their prompt's order is nothing to them, and no predictor
    beats the best table anywhere."""
    s = result.settings
    own, permuted = (losses.loc[(prompt, 0)] for prompt in ("own", "permuted"))
    beaten = losses.sub(losses["best"] * (1 - SAME), axis=0).min(axis=None, skipna=False)
    return bool(
        (over_best(own) <= TRAINED).all()
        and ((permuted["model"] / own["model"] - 1).abs() <= SAME).all()
        and beaten >= 0
        and like_the_dictionary(losses["zero"], s.m, s.tau)
    )


def judged(result, losses: pd.DataFrame, found: Outcome) -> Outcome:
    """The outcome, "not reproduced" where the losses are not `sound`."""
    return found if sound(result, losses) else Outcome("not reproduced", found.measured)


def dropped_token_costs(results, threshold, tokens, loss) -> Outcome:
    """Smallest ratio over seeds of the model's loss to the best table's, one token dropped."""
    result = results["yang2024/other-prompts"]
    losses = losses_at_end(result, tokens)
    ratio = over_best(losses.loc[("dropped", 1)])
    return judged(result, losses, at_least(ratio.min(skipna=False), threshold))


def added_by_softmax(losses: pd.DataFrame) -> pd.Series:
    """The model's loss above the best table's over that of its own table used as it stands."""
    return (losses["model"] - losses["best"]) / (losses["fixed table"] - losses["best"])


def softmax_adds_to_a_dropped_token(results, threshold, tokens, loss) -> Outcome:
    """Smallest ratio over seeds of the two losses above the best, one token dropped."""
    result = results["yang2024/other-prompts"]
    losses = losses_at_end(result, tokens)
    ratio = added_by_softmax(losses.loc[("dropped", 1)])
    return judged(result, losses, at_least(ratio.min(skipna=False), threshold))


def new_tokens_cost_more_than_zero(results, threshold, tokens, loss) -> Outcome:
    """Smallest ratio over seeds of the model's loss to zero's, all shown tokens replaced."""
    result = results["yang2024/other-prompts"]
    losses = losses_at_end(result, tokens)
    away = losses.loc[("replaced", result.settings.N)]
    ratio = away["model"] / away["zero"]
    return judged(result, losses, at_least(ratio.min(skipna=False), threshold))


def a_third_dropped(results, threshold, tokens, loss) -> Outcome:
    """Largest share of the gain over seeds, with a third of the tokens dropped."""
    result = results["yang2024/other-prompts"]
    losses = losses_at_end(result, tokens)
    share = share_of_the_gain(losses.loc[("dropped", result.settings.N // 3)])
    return judged(result, losses, at_most(share.max(skipna=False), threshold))


def sets_at_end(result, tokens: str, measure: str = "loss") -> pd.DataFrame:
    """One row a (N, K, shown, seed), one column a predictor, zero among them."""
    keys = ["N", "K", "shown", "seed"]
    wide = at_end(result, tokens, "sets").pivot(index=keys, columns="predictor", values=measure)
    expected = result["expected"]
    zero = expected[(expected["predictor"] == "zero") & (expected["tokens"] == tokens)]
    return wide.assign(zero=zero.set_index(keys)["loss"]).sort_index()


def never_shown(result, tokens: str) -> pd.DataFrame:
    """`sets_at_end` of the trained length: sets of N tokens that training never showed."""
    losses = sets_at_end(result, tokens)
    levels = losses.index
    return losses[levels.get_level_values("N") == levels.get_level_values("shown")]


def in_standard_errors(result, tokens: str) -> pd.DataFrame:
    """How far the additive weights' means over tested sets lie from their closed form, in
    standard errors, one row a (N, K, shown, seed)."""
    keys = ["N", "K", "shown", "seed"]
    means, errors = (sets_at_end(result, tokens, m) for m in ("loss", "error"))
    expected = result["expected"]
    forms = expected[expected["tokens"] == tokens]
    forms = forms.pivot(index=keys, columns="predictor", values="loss").sort_index()
    names = ["additive", "additive, copying"]
    return (means[names] - forms[names]) / errors[names]


def sound_sets(result, tokens: str) -> bool:
    """Whether attention has learned, nothing beats the best tables, and additive weights agree
    with their closed forms."""
    s, losses = result.settings, never_shown(result, tokens)
    everywhere = sets_at_end(result, tokens)
    beaten = everywhere.sub(everywhere["best"] * (1 - SAME), axis=0)
    m = losses.index.get_level_values("N").map({N: m for N, _, _, m, _ in s.sizes})
    return bool(
        (share_of_the_gain(losses, "trained") >= LEARNED).all()
        and beaten.min(axis=None, skipna=False) >= 0
        and (in_standard_errors(result, tokens).abs() <= SAMPLED).all(axis=None)
        and like_the_dictionary(losses["zero"], pd.Series(m, index=losses.index), s.tau)
    )


def judged_sets(result, tokens: str, found: Outcome) -> Outcome:
    """The outcome, "not reproduced" where the losses are not `sound_sets`."""
    sound = not math.isnan(found.measured) and sound_sets(result, tokens)
    return found if sound else Outcome("not reproduced", found.measured)


def gain_over(losses: pd.DataFrame, predictor: str) -> pd.Series:
    """What trained attention gains over predicting zero, over what another predictor gains."""
    return (losses["zero"] - losses["trained"]) / (losses["zero"] - losses[predictor])


def many_prompts_generalise(results, threshold, tokens, loss) -> Outcome:
    """Smallest share of the gain over sizes and seeds, on sets never shown."""
    result = results["yang2024/many-prompts"]
    share = share_of_the_gain(never_shown(result, tokens), "trained")
    return judged_sets(result, tokens, at_least(share.min(skipna=False), threshold))


def many_prompts_mostly_add(results, threshold, tokens, loss) -> Outcome:
    """Smallest ratio over sizes and seeds of what additive weights gain to what trained
    attention does."""
    result = results["yang2024/many-prompts"]
    ratio = 1 / gain_over(never_shown(result, tokens), "additive")
    return judged_sets(result, tokens, at_least(ratio.min(skipna=False), threshold))


def many_prompts_do_more_than_add(results, threshold, tokens, loss) -> Outcome:
    """Smallest ratio over sizes and seeds of what trained attention gains to what additive
    weights that copy shown labels do."""
    result = results["yang2024/many-prompts"]
    ratio = gain_over(never_shown(result, tokens), "additive, copying")
    return judged_sets(result, tokens, at_least(ratio.min(skipna=False), threshold))
