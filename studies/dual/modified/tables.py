"""Checks of the chapter *Modified attention*."""

from iclbook.claim import Outcome

RIVAL = "rival: "
TOLD_APART = (
    1e5  # a wrong form must miss by this many thresholds, or the comparison shows nothing
)


def _form(tables, threshold, modification, required) -> Outcome:
    """Largest distance of a closed form; its rivals must miss where autograd's step was taken
    too."""
    table = tables["ren2024/modified-forms"]
    chosen = table[table["modification"] == modification]
    rival = chosen["quantity"].str.startswith(RIVAL)
    largest = chosen[~rival]["value"].max(skipna=False)
    small = chosen[chosen["quantity"] == "autograd's step"]["norm"].unique()
    misses = chosen[rival & chosen["norm"].isin(small)]["value"]
    complete = required <= set(chosen["quantity"]) and len(misses) > 0
    holds = complete and (misses >= TOLD_APART * threshold).all() and largest <= threshold
    return Outcome("reproduced" if holds else "not reproduced", float(largest))


STEPS = {"the kernel twin's step", "autograd's step", "sum of weights"}


def regularised_form(tables, threshold) -> Outcome:
    return _form(tables, threshold, "regularised", STEPS | {"single steps, decay once"})


def augmented_form(tables, threshold) -> Outcome:
    return _form(tables, threshold, "augmented", STEPS | {"the formula as written"})


def negative_form(tables, threshold) -> Outcome:
    return _form(tables, threshold, "negative", STEPS)


def negatives_spread_outputs(tables, threshold) -> Outcome:
    """Smallest gain of the outputs' effective rank over plain attention, in standard errors.

    Partly where only the mean share of the outputs falls, for every seed and strength.
    """
    table = tables["ren2024/modified-weights"]
    keys = ["seed", "modification", "strength", "r"]
    wide = table[table["index"] == 0].pivot(
        index=keys, columns=["quantity", "statistic"], values="value"
    )
    negative, plain = (wide.xs(name, level="modification") for name in ("negative", "plain"))
    gain = (
        negative["gain over plain", "mean"] / negative["gain over plain", "standard error"]
    ).min(skipna=False)
    share = ("mean share of outputs", "mean")
    falls = all(
        (part[share] < plain[share].xs(seed, level="seed").item()).all()
        for seed, part in negative.groupby("seed")
    )
    verdict = (
        "reproduced" if falls and gain >= threshold else "partly" if falls else "not reproduced"
    )
    return Outcome(verdict, float(gain))
