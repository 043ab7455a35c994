"""Measures and checks of the chapter *Failure signatures*."""

import pandas as pd

from iclbook.claim import Outcome, at_least, at_most

SIZE = 3  # how many times predicting zero may lie from m, its mean over dictionaries
TRAINED = 1.05  # a trained model's error is at most this many times the best
SAMPLED = 0.2  # relative distance from its form within which an unshifted error is sampled
NONE = {"scale": 1.0, "repeated": 1.0, "permuted": 1.0}  # the size that is no shift, else 0
HALF = 45.0  # degrees: half of the power lies in the span
MANY = 8  # missing functions from which their mean is a good guess


def at_end(result, table: str = "errors") -> pd.DataFrame:
    """The rows at the end of training."""
    rows = result[table]
    return rows[rows["step"] == result.settings.steps].drop(columns="step")


def of_shift(result, shift: str) -> pd.DataFrame:
    """One row a (size, seed) of one shift at the end of training, in rising size."""
    rows = at_end(result)
    rows = rows[rows["shift"] == shift].drop(columns="shift")
    return rows.set_index(["size", "seed"]).sort_index()


def unshifted(result, shift: str) -> pd.DataFrame:
    """Its rows without a shift, by seed."""
    return of_shift(result, shift).loc[NONE.get(shift, 0.0)]


def like_the_dictionary(zero: pd.Series, m: int) -> bool:
    """Whether predicting zero costs, up to `SIZE`, its mean m."""
    return bool((zero / m).between(1 / SIZE, SIZE).all())


def sound(result, shift: str) -> bool:
    """Whether the model is trained, its sampled error that of the closed form before any shift,
    and predicting zero costs what it must."""
    base, rows = unshifted(result, shift), of_shift(result, shift)
    return bool(
        (base["model"] <= TRAINED * base["best"]).all()
        and ((base["sampled"] / base["theory"] - 1).abs() <= SAMPLED).all()
        and like_the_dictionary(base["zero"], result.settings.m)
        and (rows["model"] >= rows["best"] * (1 - 1e-6)).all()
    )


def judged(result, shift: str, found: Outcome) -> Outcome:
    """The outcome, "not reproduced" where the rows are not `sound`."""
    return found if sound(result, shift) else Outcome("not reproduced", found.measured)


def weight_square(result) -> pd.Series:
    """Mean of |A_k|^2 over the tokens that no prompt shows, by seed: the slope of the error in
    the variance of added label noise."""
    theory, largest = of_shift(result, "noise")["theory"], max(result.settings.noises)
    return (theory.loc[largest] - theory.loc[0.0]) / (largest * result.settings.m)


def rule_of_thumb(result) -> pd.Series:
    """The error with q basis functions missing, by (q, seed): each adds 1 + (1 + tau) |A_k|^2,
    the mean over what the function may be."""
    rows = of_shift(result, "missing")
    slope = 1 + (1 + result.settings.tau) * weight_square(result)
    q, seed = (rows.index.get_level_values(name) for name in ("size", "seed"))
    base = rows["theory"].loc[0.0]
    return pd.Series(base.loc[seed].to_numpy() + q * slope.loc[seed].to_numpy(), rows.index)


def of_zero(result, shift: str, size: float) -> pd.Series:
    """The sampled error over that of predicting zero, by seed."""
    rows = of_shift(result, shift).loc[size]
    return rows["sampled"] / rows["zero"]


def doubling(result, shift: str) -> pd.Series:
    """The smallest size, by seed, at which the expected error is at least twice that without
    a shift."""
    model = of_shift(result, shift)["model"].unstack("seed")
    return (model >= 2 * model.iloc[0]).idxmax()


def alarm_at_doubling(result, shift: str, alarm: str = "misfit_rings") -> pd.Series:
    """The share of prompts for which an alarm rings at the `doubling` size, by seed."""
    rows = result["alarms"].set_index(["shift", "size", "seed"])[alarm]
    at = doubling(result, shift)
    return pd.Series({seed: rows[shift, size, seed] for seed, size in at.items()})


def label_noise(results, threshold) -> Outcome:
    """Largest relative distance of the sampled error from the line, over sizes and seeds; it
    must rise with the noise."""
    result = results["stress/shifts"]
    rows = of_shift(result, "noise")
    off = (rows["sampled"] / rows["theory"] - 1).abs().max(skipna=False)
    found = judged(result, "noise", at_most(off, threshold))
    rises = (rows["sampled"].unstack("seed").diff().iloc[2:] > 0).all(axis=None)
    return found if rises else Outcome("not reproduced", found.measured)


def out_of_span(results, threshold) -> Outcome:
    """Smallest ratio over seeds of the sampled error to that of predicting zero, at 45
    degrees."""
    result = results["stress/shifts"]
    found = at_least(of_zero(result, "angle", HALF).min(skipna=False), threshold)
    return judged(result, "angle", found)


def few_basis_functions(results, threshold) -> Outcome:
    """Largest relative distance of the sampled error from the rule of thumb, over seeds and
    eight or more missing functions."""
    result = results["stress/shifts"]
    off = (of_shift(result, "missing")["sampled"] / rule_of_thumb(result) - 1).abs()
    many = off[off.index.get_level_values("size") >= MANY]
    return judged(result, "missing", at_most(many.max(skipna=False), threshold))


def ood_tokens(results, threshold) -> Outcome:
    """Smallest ratio over seeds of the sampled error to that of predicting zero, half of the
    shown tokens replaced; as many are shown as before, so the best error hardly moves."""
    result = results["stress/shifts"]
    half = float(result.settings.N // 2)
    found = at_least(of_zero(result, "replaced", half).min(skipna=False), threshold)
    best = of_shift(result, "replaced")["best"]
    same = (best.loc[half] / best.loc[0.0]).between(0.5, 2).all()
    return judged(result, "replaced", found if same else Outcome("not reproduced", found[1]))


ALARMED = ("noise", "angle", "missing")


def misfit_rings(results, threshold) -> Outcome:
    """Smallest share of prompts, over seeds and shifts, that the misfit marks at the size where
    the error has doubled."""
    result = results["stress/shifts"]
    shares = pd.concat([alarm_at_doubling(result, shift) for shift in ALARMED])
    found = at_least(shares.min(skipna=False), threshold)
    alarms = result["alarms"]
    usual = alarms[alarms["shift"].isin(ALARMED) & (alarms["size"] == 0)]["misfit_rings"]
    checked = (alarms["energy_sampled"] / alarms["energy"] - 1).abs() <= SAMPLED
    whole = all(sound(result, shift) for shift in ALARMED) and checked.all()
    whole &= bool(usual.between(0.02, 0.1).all() and (shares <= 1).all())
    return found if whole else Outcome("not reproduced", found.measured)


def by_length(result) -> pd.DataFrame:
    """The model's error at the end: rows (shown, seed), columns N, the trained length."""
    return at_end(result).pivot(index=["shown", "seed"], columns="N", values="model")


def over_own(result) -> pd.DataFrame:
    """Each error over that of the model trained at the shown length; the own one, which is 1,
    left out."""
    errors = by_length(result)
    own = pd.Series({(n, seed): errors.loc[(n, seed), n] for n, seed in errors.index})
    shown = errors.index.get_level_values("shown").to_numpy()
    return errors.div(own, axis=0).where(errors.columns.to_numpy() != shown[:, None])


def prompt_length(results, threshold) -> Outcome:
    """Smallest ratio, over seeds and pairs of two lengths, of the error of a model trained at
    one and shown the other to that of the model trained at the other."""
    result = results["stress/lengths"]
    rows, excess = at_end(result), at_end(result, "curves")["excess_loss"]
    ratios = over_own(result).melt()["value"].dropna()
    found = at_least(ratios.min(skipna=False), threshold)
    pairs = len(result.settings.N) * (len(result.settings.N) - 1) * len(result.settings.seeds)
    whole = (
        len(ratios) == pairs
        and excess.between(0, 0.05).all()
        and like_the_dictionary(rows["zero"], result.settings.m)
        and (rows["model"] >= rows["best"] * (1 - 1e-6)).all()
    )
    return found if whole else Outcome("not reproduced", found.measured)


def heads_do_not_match(results, threshold) -> Outcome:
    """Smallest ratio over seeds of the error with half of the heads swapped to the best; with
    all swapped the error is that of a trained model, with all removed that of zero."""
    result = results["stress/interventions"]
    rows, H = at_end(result, "several").set_index(["count", "seed"]), result.settings.H
    ratio = rows["swapped"] / rows["best"]
    found = at_least(ratio.loc[H // 2].min(skipna=False), threshold)
    signs = at_end(result, "signs").pivot(index="seed", columns="signs")
    excess, bound = signs["excess_loss"], signs["bound"]
    whole = (
        ratio.loc[H].between(1 - 1e-6, TRAINED).all()
        and ((rows["removed"] / rows["zero"] - 1).loc[H].abs() <= 1e-6).all()
        and like_the_dictionary(rows["zero"], result.settings.m)
        and (excess["free"] < excess["positive"]).all()
        and (bound["free"] == 0).all()
        and (excess["positive"] >= bound["positive"] * (1 - 1e-3)).all()
        and (at_end(result, "heads")["flipped"] > 0).all()
    )
    return found if whole else Outcome("not reproduced", found.measured)


DEEP_TRAINED = 3.0  # a deep model's unshifted error is at most this many times the best table's
USUAL = (("angle", 0.0), ("missing", 0.0), *NONE.items(), ("dropped", 0.0), ("replaced", 0.0))
LIKE = 1.5  # how many times two samples of an unshifted error may differ
DEEP_NOISE = (0.1, 1.0)  # sizes of label noise at which it is held against one layer's form


def of_deep(result) -> pd.DataFrame:
    """One row a (shift, size, seed)."""
    return result["errors"].set_index(["shift", "size", "seed"]).sort_index()


def deep_sound(result) -> bool:
    """Whether each deep model is trained, as its curve says too, the worlds without a shift
    agree, and the best table and predicting zero are what they must be."""
    rows, curves = of_deep(result), result["curves"]
    base = rows.loc["noise"].loc[0.0]
    start, end = (
        curves[curves["step"] == step].set_index("seed") for step in (0, result.settings.steps)
    )
    same = [rows.loc[shift].loc[size]["sampled"] / base["sampled"] for shift, size in USUAL]
    return bool(
        (base["sampled"] <= DEEP_TRAINED * base["best"]).all()
        and (end["error"] / base["sampled"]).between(1 / LIKE, LIKE).all()
        and (end["loss"] < start["loss"] / 5).all()
        and all(ratio.between(1 / SIZE, SIZE).all() for ratio in same)
        and like_the_dictionary(base["zero"], result.settings.m)
        and (rows["sampled"] >= rows["best"] * (1 - 2 * SAMPLED)).all()
        and (rows["best"] <= rows["zero"] * (1 + 1e-9)).all()
    )


def judged_deep(result, found: Outcome) -> Outcome:
    """The outcome, "not reproduced" where the rows are not `deep_sound`."""
    return found if deep_sound(result) else Outcome("not reproduced", found.measured)


def deep_of_zero(result, shift: str, size: float) -> pd.Series:
    """The sampled error over that of predicting zero, by seed."""
    rows = of_deep(result).loc[shift].loc[size]
    return rows["sampled"] / rows["zero"]


def deep_scale(results, threshold) -> Outcome:
    """Smallest ratio over seeds of the error over zero's, at the largest factor on all tasks to
    that at none."""
    result = results["stress/deep-shifts"]
    large = deep_of_zero(result, "scale", max(result.settings.scales))
    ratio = large / deep_of_zero(result, "scale", 1.0)
    return judged_deep(result, at_least(ratio.min(skipna=False), threshold))


def deep_label_noise(results, threshold) -> Outcome:
    """Largest relative distance, over seeds and two sizes of noise, of the deep model's error
    from one layer's closed form on the same dictionary."""
    result, layer = results["stress/deep-shifts"], results["stress/shifts"]
    form = of_shift(layer, "noise")["theory"]  # by (size, seed)
    rows = of_deep(result).loc["noise"]["sampled"]
    off = pd.concat([(rows.loc[x] / form.loc[x].loc[rows.loc[x].index]) for x in DEEP_NOISE])
    found = judged_deep(result, at_most((off - 1).abs().max(skipna=False), threshold))
    return judged(layer, "noise", found)


def deep_out_of_span(results, threshold) -> Outcome:
    """Smallest ratio over seeds of the error to that of predicting zero, at 45 degrees."""
    result = results["stress/deep-shifts"]
    found = at_least(deep_of_zero(result, "angle", HALF).min(skipna=False), threshold)
    return judged_deep(result, found)


def deep_ood_tokens(results, threshold) -> Outcome:
    """Smallest ratio over seeds of the error to that of predicting zero, half of the shown
    tokens replaced."""
    result = results["stress/deep-shifts"]
    half = float(result.settings.N // 2)
    found = at_least(deep_of_zero(result, "replaced", half).min(skipna=False), threshold)
    return judged_deep(result, found)
