"""What is read off the language table: local and global bests, gains with intervals, checks.

A model is named by its strengths (alpha, c, r, beta), all 0 for the original. Settings are
chosen on the held-out tenth of the training sentences, on the first seed; they are compared on
dev, which chose nothing.
"""

import numpy as np
import pandas as pd

from iclbook.claim import Outcome
from iclbook.errors import require

FAMILIES = {"alpha": "regularised", "c": "augmented", "beta": "negative"}
KEYS = ["alpha", "c", "r", "beta"]
# What the mean over seeds must exceed on dev for a model to have learned: a score, or None for
# a constant answer by twice the seeds' spread.
NEEDED = {"cola": 0.20, "stsb": 0.70, "mrpc": None, "rte": None}


def family(strengths) -> str:
    """Which modification a model has; "original" for none."""
    for name, is_called in FAMILIES.items():
        if strengths[name]:
            return is_called
    return "original"


def name(strengths) -> str:
    """A setting in a few letters, such as "r = 3, β = 0.5"; all for more than there are."""
    which = family(strengths)
    if which == "regularised":
        return f"α = {strengths['alpha']:g}"
    if which == "augmented":
        return f"c = {strengths['c']:g}"
    if which == "negative":
        r = int(strengths["r"])
        return f"r = {'all' if r > 100 else r}, β = {strengths['beta']:g}"
    return "original"


def named(table: pd.DataFrame) -> pd.DataFrame:
    """A table of the study with columns `family` and `setting` in front."""
    every = table[KEYS].drop_duplicates()
    rows = every.to_dict("records")
    every = every.assign(family=list(map(family, rows)), setting=list(map(name, rows)))
    labels = table[KEYS].merge(every, on=KEYS, how="left")[["family", "setting"]]
    return labels.set_axis(table.index).join(table)


def dev_scores(result, split: str = "dev", metric: str = "") -> pd.DataFrame:
    """One row a run: family, setting, seed, score, constant; by default of dev and the task's
    first metric."""
    metric = metric or result.settings.metrics[0]
    found = named(result["scores"])
    require(found["score"].abs().max() <= 1, "a score lies outside -1 to 1: no metric has it")
    return found[(found["split"] == split) & (found["metric"] == metric)]


def local_bests(result) -> dict[str, str]:
    """Family -> its setting with the highest held-out score on the first seed, the first of
    equals."""
    held_out = dev_scores(result, "held_out")
    first = held_out[held_out["seed"] == result.settings.seeds[0]]
    require(not first["score"].isna().all(), "no held-out score on the first seed")
    best = first.fillna({"score": -np.inf}).groupby("family", sort=False)["score"].idxmax()
    return first.loc[best].set_index("family")["setting"].to_dict()


def global_best(result) -> str:
    """The setting with the highest held-out score on the first seed, the original among them;
    the first of equals."""
    held_out = dev_scores(result, "held_out")
    first = held_out[held_out["seed"] == result.settings.seeds[0]]
    return first.loc[first["score"].fillna(-np.inf).idxmax(), "setting"]


def overview(results: dict) -> pd.DataFrame:
    """A row for each task (name -> result) and metric: each family's Local Best with its score
    on dev, mean ± standard deviation over seeds; the task's Global Best. The paper's table has
    tasks, families and both bests; its layout is not in our hands."""
    rows = []
    for task, result in results.items():
        for metric in result.settings.metrics:
            by_setting = dev_scores(result, metric=metric).groupby("setting")["score"]
            mean, spread = by_setting.agg(_mean), by_setting.std()
            row = {"task": task, "metric": metric.capitalize()}
            for which, setting in local_bests(result).items():
                called = "" if which == "original" else f"{setting}: "
                row[which] = f"{called}{mean[setting]:.3f} ± {spread[setting]:.3f}"
            rows.append(row | {"Global Best": global_best(result) if len(mean) > 1 else ""})
    return pd.DataFrame(rows).fillna("")  # where a family was not tried


def gain(result, setting: str) -> dict[str, float]:
    """How much better than the original a setting is on dev: mean over the setting's seeds,
    with two 95 % intervals, over sentences and seeds (`low`, `high`) and over sentences alone
    (`low_sentences`, `high_sentences`), and the number of its seeds.

    The bootstrap is paired twice. A resample of dev scores both models on the same sentences;
    seeds are drawn in pairs, since one seed sets the beginning of the last layer, the order of
    the sentences and the dropout of both.
    """
    by_seed = dev_scores(result).pivot(index="seed", columns="setting", values="score")
    ours, originals = _resampled(result, setting), _resampled(result, "original")
    seeds = list(ours.columns)
    difference = (ours - originals[seeds]).to_numpy()  # (resamples, seeds)
    size = difference.shape
    drawn = np.random.default_rng(0).integers(size[1], size=size)
    both = np.take_along_axis(difference, drawn, axis=1).mean(1)  # (resamples,)
    low, high = np.quantile(both, (0.025, 0.975))
    low_sentences, high_sentences = np.quantile(difference.mean(1), (0.025, 0.975))
    return {
        "mean": _mean((by_seed[setting] - by_seed["original"])[seeds]),
        "low": low,
        "high": high,
        "low_sentences": low_sentences,
        "high_sentences": high_sentences,
        "seeds": len(seeds),
    }


def original_over_sentences(result) -> tuple[float, float]:
    """Between which scores the original's mean over seeds lies in 95 % of the resamples of dev;
    NaN where one of them is."""
    means = _resampled(result, "original").mean(axis=1, skipna=False)  # (resamples,)
    return tuple(np.quantile(means, (0.025, 0.975)).tolist())


def _resampled(result, setting: str) -> pd.DataFrame:
    """A setting's scores on the resamples, (resamples, seeds). Raises InputError where a run
    lacks some."""
    found, scores = named(result["bootstrap"]), dev_scores(result)
    ours = found[found["setting"] == setting]
    by_seed = ours.pivot(index="resample", columns="seed", values="score")
    ran = scores.loc[scores["setting"] == setting, "seed"]
    whole = set(by_seed.columns) == set(ran) and len(ours) == by_seed.size
    require(
        whole and len(by_seed) == result.settings.resamples,
        f"{setting}: its runs do not have {result.settings.resamples} resamples each",
    )
    require(not (ours["score"].abs() > 1).any(), f"{setting}: a resample scores beyond 1")
    return by_seed


def _mean(scores: pd.Series) -> float:
    """NaN where one score is: a run that failed must not help."""
    return scores.mean(skipna=False)


def _complete(results: dict) -> None:
    """Raises InputError where a chosen setting has not run on every seed."""
    for experiment, result in results.items():
        seeds = dev_scores(result).groupby("setting")["seed"].nunique()
        chosen = {*local_bests(result).values(), global_best(result)}
        short = [which for which in chosen if seeds[which] < len(result.settings.seeds)]
        require(
            not short,
            f"{experiment}: {', '.join(sorted(short))} is chosen on held-out sentences, but "
            "not among the settings' best, so it lacks seeds",
        )


def _on_every_task(found: list[float], threshold: float) -> Outcome:
    """Reproduced where each task's number lies above the threshold, partly where one does; the
    smallest is what is measured. A tie is not above, NaN is not."""
    above = np.array(found) > threshold
    some = "partly" if above.any() else "not reproduced"
    return Outcome("reproduced" if above.all() else some, float(np.min(found)))


def glue_original_learns(results, threshold) -> Outcome:
    """By how much the original exceeds what it needs, over seeds, and a constant answer, at the
    lower end of its interval over sentences: the smaller of the two, the smallest of the
    tasks."""
    margins = []
    for result in results.values():
        found, metric = dev_scores(result), result.settings.metrics[0]
        original = found[found["setting"] == "original"]
        # A constant has no correlation with anything, so pearson gives no score for it.
        constant = 0.0 if metric == "pearson" else original["constant"].iloc[0]
        needed = NEEDED[result.settings.task]
        if needed is None:
            needed = constant + 2 * original["score"].std()
        low, _ = original_over_sentences(result)
        margins.append(np.minimum(_mean(original["score"]) - needed, low - constant))
    return _on_every_task(margins, threshold)


def of_family(results, threshold, which: str) -> Outcome:
    """The lower end of the local best's gain over sentences and seeds, the smallest of the
    tasks."""
    _complete(results)
    lows = [gain(result, local_bests(result)[which])["low"] for result in results.values()]
    return _on_every_task(lows, threshold)


def glue_best_beyond_noise(results, threshold) -> Outcome:
    """By how much the global best's mean exceeds the original's by more than twice the
    original's spread over seeds, the smallest of the tasks."""
    _complete(results)
    found = []
    for result in results.values():
        scores = dev_scores(result).groupby("setting")["score"]
        best, spread, means = global_best(result), scores.std()["original"], scores.agg(_mean)
        found.append(means[best] - means["original"] - 2 * spread)
    return _on_every_task(found, threshold)
