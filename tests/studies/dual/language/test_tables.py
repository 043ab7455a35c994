"""Bests, gains and checks of the language table, on results made up here."""

import contextlib
import dataclasses

import numpy as np
import pandas as pd
import pytest

from iclbook.errors import InputError
from iclbook.store import Result
from studies.dual.language import tables
from studies.dual.language.settings import OF_TASK

ALPHA, MAPS, LOW, ALL = (0.5, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 3, 0.1), (0, 0, 512, 0.5)
ORIGINAL = (0, 0, 0, 0)
BEST = (ALPHA, MAPS, LOW)
KEYS = ["alpha", "c", "r", "beta"]


def made(task="rte", dev=(), held_out=(), constant=0.5, best=BEST, noise=0.01):
    """A result whose settings score 0.7 but for what dev and held_out say: setting -> score."""
    dev, held_out = dict(dev), dict(held_out)
    settings = dataclasses.replace(
        OF_TASK[task].full,
        alphas=(0.5,),
        c=(1.0,),
        negatives=((3, 0.1), (512, 0.5)),
        best=best,
        resamples=200,
    )
    scores, bootstrap = [], []
    sentences = np.random.default_rng(0).normal(
        0, noise, 200
    )  # shared: the bootstrap is paired
    for point in settings.points():
        key = tuple(point[name] for name in KEYS)
        seeds_own = 1e-3 * point["seed"]
        for split, known in (("held_out", held_out), ("dev", dev)):
            score = known.get(key, 0.7) + seeds_own
            for metric in settings.metrics:
                row = {"split": split, "metric": metric, "score": score, "constant": constant}
                scores.append(point | row)
        draws = dev.get(key, 0.7) + seeds_own + sentences
        bootstrap += [point | {"resample": i, "score": x} for i, x in enumerate(draws)]
    found = {"scores": pd.DataFrame(scores), "bootstrap": pd.DataFrame(bootstrap)}
    return Result(found, settings, "made up")


def test_settings_are_called_by_what_they_change():
    names = [tables.name(dict(zip(KEYS, s))) for s in (ORIGINAL, ALPHA, MAPS, LOW, ALL)]
    assert names == ["original", "α = 0.5", "c = 1", "r = 3, β = 0.1", "r = all, β = 0.5"]


def test_bests_are_chosen_on_held_out_sentences_of_the_first_seed():
    result = made(held_out={ALL: 0.8, ALPHA: 0.75}, dev={LOW: 0.99, MAPS: 0.9})
    assert tables.local_bests(result) == {
        "original": "original",
        "regularised": "α = 0.5",
        "augmented": "c = 1",
        "negative": "r = all, β = 0.5",
    }
    assert tables.global_best(result) == "r = all, β = 0.5"
    assert tables.global_best(made()) == "original", "the first of equals"


def test_the_overview_has_a_row_a_metric_and_the_local_bests():
    mrpc = made("mrpc", dev={LOW: 0.8}, held_out={LOW: 0.9})
    found = tables.overview({"MRPC": mrpc, "RTE": made()})
    assert found[["task", "metric"]].to_numpy().tolist() == [
        ["MRPC", "Accuracy"],
        ["MRPC", "F1"],
        ["RTE", "Accuracy"],
    ]
    first, last = found.iloc[0], found.iloc[2]
    assert first["negative"] == "r = 3, β = 0.1: 0.801 ± 0.001"  # of 0.800, 0.801, 0.802
    assert first["original"] == "0.701 ± 0.001"
    assert (first["Global Best"], last["Global Best"]) == ("r = 3, β = 0.1", "original")
    untried = made()
    only = {"scores": untried["scores"].query("alpha == 0 and c == 0 and beta == 0")}
    untried = Result(only, untried.settings, "made up")
    alone = tables.overview({"MRPC": mrpc, "RTE": untried}).iloc[2]
    assert alone["original"] == "0.701 ± 0.001"
    assert alone["augmented"] == alone["Global Best"] == "", "not tried"
    mrpc["scores"].loc[mrpc["scores"]["seed"] == 1, "score"] = np.nan
    missing = tables.overview({"MRPC": mrpc})["original"][0]
    assert missing.startswith("nan"), "a missing run is not hidden"


def test_a_gain_is_found_where_it_is_larger_than_the_noise_and_not_elsewhere():
    def found(better: float, noise=0.01) -> dict:
        result = made(dev={ALPHA: 0.7 + better})
        rng, table = np.random.default_rng(1), result["bootstrap"]
        own = rng.normal(0, noise, (200, 3))  # of the sentences, not shared by the two models
        for seed in range(3):
            rows = (table["alpha"] == 0.5) & (table["seed"] == seed)
            table.loc[rows, "score"] += own[:, seed]
        return tables.gain(result, "α = 0.5")

    better = found(0.02)
    assert better["mean"] == pytest.approx(0.02) and better["seeds"] == 3
    assert 0 < better["low"] < 0.02 < better["high"] < 0.04
    same = found(0.0)
    assert same["low"] < 0 < same["high"]
    assert found(-0.1)["high"] < 0
    # The mean of three independent normal errors: +- 1.96 sigma / sqrt 3, in 200 draws.
    width = better["high_sentences"] - better["low_sentences"]
    assert width == pytest.approx(2 * 1.96 * 0.01 / 3**0.5, rel=0.25)
    assert better["high"] - better["low"] > width, "seeds are drawn besides"


def test_sentences_and_seeds_are_paired():
    """What both models share, the luck of the sentences and of the seed, cancels; what a seed
    does to one of them alone does not."""
    result = made(dev={ALPHA: 0.72}, noise=0.05)
    luck = {0: 0.1, 1: -0.2, 2: 0.05}
    for table in (result["scores"], result["bootstrap"]):
        table["score"] += 0.1 * table["seed"].map(luck)
    same = tables.gain(result, "α = 0.5")
    for end in ("mean", "low", "high", "low_sentences", "high_sentences"):
        assert same[end] == pytest.approx(0.02), end
    bootstrap = result["bootstrap"]
    bootstrap.loc[(bootstrap["alpha"] == 0.5) & (bootstrap["seed"] == 1), "score"] -= 0.03
    uneven = tables.gain(result, "α = 0.5")  # the seeds gain 0.02, -0.01, 0.02
    assert uneven["low"] == pytest.approx(-0.01) and uneven["high"] == pytest.approx(0.02)
    assert uneven["low_sentences"] == pytest.approx(0.01), "the three seeds as they are"


def test_a_setting_with_one_seed_is_compared_with_the_originals_run_on_it():
    result = made(dev={ALL: 0.69})
    scores, bootstrap = result["scores"], result["bootstrap"]
    for table in (scores, bootstrap):  # other seeds of the original say nothing of this one
        table.loc[table["seed"] != 0, "score"] -= 0.1
    found = tables.gain(result, "r = all, β = 0.5")
    assert found["mean"] == pytest.approx(-0.01) and found["seeds"] == 1
    assert found["low"] == found["low_sentences"] == pytest.approx(-0.01)


def results(**changes):
    """One for each task; changes: task -> keywords of `made`."""
    usual = {task: dict(constant=0.5) for task in OF_TASK}
    usual["cola"] = usual["stsb"] = dict(constant=0.0)
    return {task: made(task, **usual[task] | changes.get(task, {})) for task in OF_TASK}


def test_the_original_learns_only_where_every_task_does():
    check = tables.glue_original_learns
    low = results(stsb=dict(dev={ORIGINAL: 0.6}))
    assert check(low, 0.0) == ("partly", pytest.approx(0.601 - 0.7))
    no_verbs = results(
        stsb=dict(dev={ORIGINAL: 0.8}), cola=dict(dev={ORIGINAL: 0.3}, noise=0.2)
    )
    assert check(no_verbs, 0.0).verdict == "partly", "CoLA's interval holds a constant's zero"
    good = results(stsb=dict(dev={ORIGINAL: 0.8}))
    assert check(good, 0.0).verdict == "reproduced"
    majority = results(stsb=dict(dev={ORIGINAL: 0.8}), rte=dict(constant=0.7, noise=1e-4))
    assert check(majority, 0.0) == ("partly", pytest.approx(0.001 - 2e-3))
    few_sentences = results(stsb=dict(dev={ORIGINAL: 0.8}), rte=dict(constant=0.69))
    assert check(few_sentences, 0.0).verdict == "partly", "0.69 lies among the resamples"
    for result in few_sentences.values():
        result["bootstrap"].loc[result["bootstrap"]["seed"] == 1, "score"] = np.nan
    assert check(few_sentences, 0.0).verdict != "reproduced"
    unknown = results(stsb=dict(dev={ORIGINAL: 0.8}), mrpc=dict(constant=np.nan))
    assert check(unknown, 0.0).verdict != "reproduced"
    nothing = results(**{task: dict(dev={ORIGINAL: 0.1}) for task in OF_TASK})
    assert check(nothing, 0.0).verdict == "not reproduced"


def test_a_family_must_gain_on_every_task():
    def verdict(*tasks):
        found = results(**{task: dict(dev={MAPS: 0.75}) for task in tasks})
        return tables.of_family(found, 0.0, "augmented").verdict

    assert verdict(*OF_TASK) == "reproduced"
    assert verdict("cola", "rte") == "partly"
    assert verdict() == "not reproduced", "a tie is no gain"


def test_the_global_best_must_lie_outside_the_originals_spread():
    def verdict(by, *tasks):
        lucky = {task: dict(held_out={ALPHA: 0.8}, dev={ALPHA: 0.7 + by}) for task in tasks}
        return tables.glue_best_beyond_noise(results(**lucky), 0.0).verdict

    assert verdict(0.02, *OF_TASK) == "reproduced"
    assert verdict(0.0019, *OF_TASK) == "not reproduced", "twice the spread is 0.002"
    assert verdict(0.0021, *OF_TASK) == "reproduced"
    assert verdict(0.02, "rte") == "partly"


def test_a_chosen_setting_that_lacks_seeds_is_refused():
    lacking = results(rte=dict(held_out={ALL: 0.9}))
    for check in (
        lambda: tables.of_family(lacking, 0.0, "negative"),
        lambda: tables.glue_best_beyond_noise(lacking, 0.0),
    ):
        with pytest.raises(InputError, match=r"r = all, β = 0\.5 is chosen.*lacks seeds"):
            check()


@pytest.mark.parametrize("split", ["held_out", "dev"])
def test_a_missing_score_never_helps(split):
    found = results(**{t: dict(dev={MAPS: 0.75, ORIGINAL: 0.72}) for t in OF_TASK})
    for result in found.values():
        scores, bootstrap = result["scores"], result["bootstrap"]
        scores.loc[(scores["seed"] == 0) & (scores["split"] == split), "score"] = np.nan
        if split == "dev":
            bootstrap.loc[bootstrap["seed"] == 0, "score"] = np.nan
    for check in (
        lambda: tables.glue_original_learns(found, 0.0),
        lambda: tables.of_family(found, 0.0, "augmented"),
        lambda: tables.glue_best_beyond_noise(found, 0.0),
    )[split == "held_out" :]:  # the first one does not look at held-out sentences
        with contextlib.suppress(InputError):
            assert check().verdict == "not reproduced"


def test_the_originals_interval_holds_95_percent_of_the_resamples():
    low, high = tables.original_over_sentences(made(noise=0.01))
    draws = np.random.default_rng(0).normal(0, 0.01, 200)  # those of `made`
    inside = ((draws + 0.701 >= low) & (draws + 0.701 <= high)).mean()
    assert inside == pytest.approx(0.95, abs=0.011)
    assert (draws + 0.701 < low).sum() == 5


@pytest.mark.parametrize(
    "fault",
    [
        lambda t: t[t["resample"] < 3],
        lambda t: t[(t["seed"] != 1) | (t["resample"] % 2 == 0)],
        lambda t: t[t["seed"] != 2],
        lambda t: t.assign(score=t["score"] + 5),
    ],
    ids=["few", "half of one seed", "no third seed", "beyond 1"],
)
def test_resamples_that_are_not_whole_are_refused(fault):
    result = made(dev={ALPHA: 0.75})
    whole = Result(
        {"scores": result["scores"], "bootstrap": fault(result["bootstrap"])},
        result.settings,
        "made up",
    )
    with pytest.raises(InputError, match="resample"):
        tables.gain(whole, "α = 0.5")
    with pytest.raises(InputError, match="resample"):
        tables.original_over_sentences(whole)
