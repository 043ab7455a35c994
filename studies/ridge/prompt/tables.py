"""Checks of the claims of *The prompt, the dictionary, the model*."""

import pandas as pd

from iclbook.claim import Outcome, at_most

TRAINED = 1e-6  # excess loss under which a model counts as trained to its minimum
SAME = 1e-9  # relative change of the loss that permuting the prompt may cause: rounding


def share_of_the_gain(prompts: pd.DataFrame) -> pd.Series:
    """(zero - model) / (zero - best) of mean losses with all shown tokens replaced, by seed.

    1 is as good as the best table for that prompt, 0 as good as predicting zero.
    """
    away = prompts[prompts["replaced"] == prompts["replaced"].max()]
    mean = away.groupby(["seed", "predictor"])["loss"].agg(lambda each: each.mean(skipna=False))
    mean = mean.unstack("predictor")
    return (mean["zero"] - mean["transformer"]) / (mean["zero"] - mean["best"])


def knows_one_dictionary_only(results, threshold) -> Outcome:
    """The largest share of the gain over seeds, all shown tokens replaced.

    Not reproduced either where a model is not trained to its minimum, where the order of the
    prompt matters to it, or where the best table is not the best.
    """
    result = results["yang2024/one-dictionary"]
    training, prompts = result["training"], result["prompts"]
    model = training[training["predictor"] == "transformer"]
    last = model[model["step"] == result.settings.steps]["excess_loss"].max(skipna=False)
    own_loss = prompts[prompts["predictor"] == "transformer"].set_index("seed")
    own = own_loss[own_loss["prompt"] == "own"]["loss"]
    permuted = own_loss[own_loss["prompt"] == "permuted"]["loss"]
    change = (permuted / own.reindex(permuted.index) - 1).abs().max(skipna=False)
    keys = ["seed", "prompt", "replaced", "draw"]
    best = prompts[prompts["predictor"] == "best"].set_index(keys)["loss"]
    beaten = prompts.set_index(keys)["loss"] - best.reindex(prompts.set_index(keys).index)
    share = share_of_the_gain(prompts).max(skipna=False)
    sound = last <= TRAINED and change <= SAME and beaten.min(skipna=False) >= -1e-9
    return at_most(share, threshold) if sound else Outcome("not reproduced", float(share))
