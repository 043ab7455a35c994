"""Checks of the chapter *Does it help?*, and the paired differences they and the chapters speak
of."""

import pandas as pd
from scipy.special import stdtrit

from iclbook.claim import Outcome, at_most

EXACT = 1e-20  # relative squared error of a dual model that has taken all its steps, in float64
STARTED = 1e-6  # its error one step earlier must be above this, or the comparison shows nothing
FAMILIES = ("regularised", "augmented", "negative")


def gains(table: pd.DataFrame, level: float = 0.95, simultaneous: bool = False) -> pd.DataFrame:
    """Relative gain of each setting over plain, paired by seed: family, setting, mean, low,
    high, seeds.

    A seed's gain is 1 - (mean final loss over its starts) / (that of plain). low, high: a t
    interval over seeds, at `level` for each setting or, Bonferroni, for all settings of the
    table together.
    """
    final = table[table["quantity"] == "final loss"]
    per_seed = (
        final.groupby(["family", "setting", "seed"], sort=False)["value"].mean().unstack("seed")
    )
    gain = 1 - per_seed.drop(index="plain", level="family") / per_seed.loc[("plain", "plain")]
    count = gain.shape[1]
    tail = (1 - level) / 2 / (len(gain) if simultaneous else 1)
    half = stdtrit(count - 1, 1 - tail) * gain.sem(axis=1, skipna=False)
    mean = gain.mean(axis=1, skipna=False)
    found = pd.DataFrame(
        {"mean": mean, "low": mean - half, "high": mean + half, "seeds": count}
    )
    return found.reset_index()


def improves(table: pd.DataFrame, families: tuple[str, ...], threshold: float) -> Outcome:
    """Reproduced where some setting's gain is surely at least `threshold`; partly where some
    setting surely changes the loss, in whatever direction. Intervals hold for all settings of
    `families` together."""
    found = gains(table[table["family"].isin((*families, "plain"))], simultaneous=True)
    best = found["low"].max(skipna=False)
    if best >= threshold:
        return Outcome("reproduced", float(best))
    changed = ((found["low"] > 0) | (found["high"] < 0)).any()
    return Outcome("partly" if changed else "not reproduced", float(best))


def dual_error(table: pd.DataFrame, threshold: float = EXACT) -> Outcome:
    """Largest error of the dual models after their last step, or after one full step; before it
    they must have one."""
    steps = table[table["quantity"] == "dual error"]
    last = steps["step"].max()
    after = pd.concat(
        [steps[steps["step"] == last], table[table["quantity"] == "one step error"]]
    )
    outcome = at_most(after["value"].max(skipna=False), threshold)
    before = steps[steps["step"] == last - 1]["value"].min(skipna=False)
    return outcome if before > STARTED else Outcome("not reproduced", outcome.measured)


def fig3_equivalence_linear(tables, threshold) -> Outcome:
    table = tables["ren2024/fig3-trained"]
    outcome = dual_error(table, threshold)
    complete = {*FAMILIES, "plain"} <= set(table[table["quantity"] == "dual error"]["family"])
    return outcome if complete else Outcome("not reproduced", outcome.measured)


def fig3_regularised(tables, threshold) -> Outcome:
    return improves(tables["ren2024/fig3-trained"], ("regularised",), threshold)


def fig3_augmented(tables, threshold) -> Outcome:
    return improves(tables["ren2024/fig3-trained"], ("augmented",), threshold)


def fig3_negative(tables, threshold) -> Outcome:
    return improves(tables["ren2024/fig3-trained"], ("negative",), threshold)


def regularised_with_a_common_part(tables, threshold) -> Outcome:
    return improves(tables["ren2024/preferred-trained"], ("regularised",), threshold)


def by_sign(table: pd.DataFrame) -> pd.DataFrame:
    """Final losses with the sign of the score scale that each layer ended with: adds columns
    "sign" and "loss"."""
    keys = ["family", "setting", "seed", "start"]
    wide = table[table["quantity"].isin(["final loss", "score scale", "value scale"])]
    wide = wide.pivot(index=keys, columns="quantity", values="value").reset_index()
    wide["sign"] = (wide["score scale"] > 0).map({True: "+", False: "-"})
    return wide.rename(columns={"final loss": "loss"})


def plain_has_two_solutions(tables, threshold) -> Outcome:
    """Largest loss ratio, negative over positive score scale, of seeds whose starts found both;
    at least three must."""
    plain = by_sign(tables["ren2024/fig3-trained"]).query("family == 'plain'")
    ratio = plain.pivot_table(
        index="seed", columns="sign", values="loss", aggfunc="mean"
    ).reindex(columns=["-", "+"])
    found = (ratio["-"] / ratio["+"]).dropna()
    outcome = at_most(found.max(), threshold)
    enough = len(found) >= 3 and plain["loss"].notna().all()
    return outcome if enough else Outcome("not reproduced", outcome.measured)


def two_number_ratios(
    trained: pd.DataFrame, optimum: pd.DataFrame, task: str, N: int = 15
) -> pd.DataFrame:
    """Trained loss over the best of two numbers of the same sign, for plain, regularised and
    negative settings.

    Columns: family, setting, sign, loss, optimum, ratio; losses are means over seeds. The
    setting in `optimum` is found by (r, beta); regularisation has no optimum of its own, since
    the query's own value is 0.
    """
    found = by_sign(trained)
    found = found[found["family"].isin(["plain", "regularised", "negative"])]
    found = (
        found.groupby(["family", "setting", "sign"], sort=False)["loss"].mean().reset_index()
    )
    best = optimum[(optimum["task"] == task) & (optimum["N"] == N) & (optimum["inputs"] == "uniform")
                   & (optimum["noise"] == 0) & (optimum["quantity"] == "loss")]  # fmt: skip
    best = best.groupby(["family", "r", "beta", "sign"])["value"].mean()
    known = {("plain", sign): best.get(("plain", 0, 0.0, sign)) for sign in "+-"}
    for _, r, beta, sign in best.loc[["negative"]].index:
        known[f"r = {r}, β = {beta:g}", sign] = best["negative", r, beta, sign]
    name = found["setting"].where(found["family"] == "negative", "plain")
    found["optimum"] = [known.get(key) for key in zip(name, found["sign"])]
    found["ratio"] = found["loss"] / found["optimum"].astype(float)
    return found


def two_numbers_suffice(tables, threshold) -> Outcome:
    """Largest |trained loss / two-number optimum of that sign - 1| on the linear task."""
    ratios = two_number_ratios(
        tables["ren2024/fig3-trained"], tables["ren2024/two-numbers"], "linear"
    )
    return at_most((ratios["ratio"] - 1).abs().max(skipna=False), threshold)
