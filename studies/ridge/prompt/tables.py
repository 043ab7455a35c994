"""Checks of the claims of *The prompt, the dictionary, the model*."""

from iclbook.claim import Outcome, at_most

TRAINED = 1e-6  # excess loss under which a model counts as trained to its minimum
SAME = 1e-9  # relative change of the loss that permuting the prompt may cause: rounding


def knows_one_dictionary_only(tables, threshold) -> Outcome:
    """The largest share over seeds, all shown tokens replaced: (zero - model) / (zero - best)
    of mean losses.

    1 is as good as the best table for that prompt, 0 as good as predicting zero. Not reproduced
    either where a model is not trained to its minimum, or where the order of the prompt matters
    to it.
    """
    table = tables["yang2024/one-dictionary"]
    model = table[table["predictor"] == "transformer"]
    last = model[(model["quantity"] == "excess loss") & (model["step"] == model["step"].max())]
    losses = table[table["quantity"] == "loss"]
    own = model[model["prompt"] == "own"].query("quantity == 'loss'").set_index("seed")["value"]
    permuted = model[model["prompt"] == "permuted"]
    change = (permuted["value"] / permuted["seed"].map(own) - 1).abs()

    away = losses[losses["replaced"] == losses["replaced"].max()]
    mean = away.pivot_table(index="seed", columns="predictor", values="value")
    share = ((mean["zero"] - mean["transformer"]) / (mean["zero"] - mean["best"])).max()
    if not (last["value"].max() <= TRAINED and change.max() <= SAME):
        return Outcome("not reproduced", share)
    return at_most(share, threshold)
