"""Each check says no where its claim is false, and where what it is read off is not sound."""

import numpy as np
import pytest
from claims import CLAIMS, stored, verdict, verdict_after

from studies.bridge.failure_signatures.compute import small_dictionary
from studies.bridge.failure_signatures.tables import (
    alarm_at_doubling,
    by_length,
    doubling,
    over_own,
    rule_of_thumb,
    weight_square,
)

SHIFTS, LENGTHS, HEADS = "stress/shifts", "stress/lengths", "stress/interventions"
FEW = "stress/few-basis-functions"
CHAPTER = [n for n, claim in CLAIMS.items() if claim.chapter == "bridge/failure_signatures"]
OF_SHIFTS = [name for name in CHAPTER if CLAIMS[name].experiments == (SHIFTS,)]


@pytest.mark.parametrize("name", CHAPTER)
def test_the_recorded_verdict_is_returned(name):
    assert verdict(name, stored(name)) == CLAIMS[name].verdict


def test_measures_are_what_they_are_called():
    result = stored("stress/label-noise")[SHIFTS]
    s = result.settings
    rows = result["errors"].query("step == @s.steps and seed == 2").set_index(["shift", "size"])
    theory, model = rows["theory"], rows["model"]
    square = (theory["noise", 0.3] - theory["noise", 0.0]) / (0.3 * s.m)
    assert weight_square(result).loc[2] == pytest.approx(square)
    rule = theory["missing", 0.0] + 4 * (1 + (1 + s.tau) * square)
    assert rule_of_thumb(result).loc[(4.0, 2)] == pytest.approx(rule)
    size = doubling(result, "noise").loc[2]
    assert model["noise", size] >= 2 * model["noise", 0.0]
    assert all(
        model["noise", smaller] < 2 * model["noise", 0.0]
        for smaller in s.noises
        if smaller < size
    )
    alarms = result["alarms"].query("shift == 'noise' and size == @size and seed == 2")
    assert alarm_at_doubling(result, "noise").loc[2] == alarms["misfit_rings"].item()


def test_lengths_are_compared_with_the_model_of_that_length():
    result = stored("stress/prompt-length")[LENGTHS]
    errors, ratio = by_length(result), over_own(result)
    assert ratio.loc[(8, 3), 16] == errors.loc[(8, 3), 16] / errors.loc[(8, 3), 8]
    assert np.isnan(ratio.loc[(8, 3), 8])


def test_weights_are_shorter_than_the_unpenalised_ones_of_their_dictionary():
    result = stored("stress/label-noise")[SHIFTS]
    s, found = result.settings, weight_square(result)
    for seed, square in found.items():
        exact = small_dictionary(s, s.N, seed)
        others = exact.features[:, 2 * s.N :].numpy()  # (m, n), no prompt shows them
        longest = (np.linalg.pinv(exact.Z.numpy()) @ others) ** 2
        assert 0.5 * longest.sum(axis=0).mean() < square < longest.sum(axis=0).mean()
    assert found.min() > 1 and found.mean() < s.m / (s.N - s.m - 1)


def changed(rows, column, factor):
    """A change that multiplies one column, where `rows` says so, at the end."""

    def change(table):
        hit = table.eval(rows)
        if "step" in table:
            hit &= table["step"] == table["step"].max()
        assert hit.any()
        table.loc[hit, column] *= factor
        return table

    return change


@pytest.mark.parametrize(
    ("name", "rows", "factor"),
    [
        ("label-noise", "shift == 'noise' and size == 1 and seed == 1", 1.2),
        ("out-of-span", "shift == 'angle' and size == 45 and seed == 1", 0.4),
    ],
)
def test_one_seed_is_enough_to_fail(name, rows, factor):
    worse = changed(rows, "sampled", factor)
    assert verdict_after(f"stress/{name}", SHIFTS, errors=worse) == "not reproduced"


def on_the_rule(table):
    """Every sampled error with functions missing lies 20 % above the rule of thumb."""
    rule = 1.2 * rule_of_thumb(stored(FEW)[SHIFTS])
    hit = (table["shift"] == "missing") & (table["size"] > 0)
    hit &= table["step"] == table["step"].max()
    places = table.loc[hit].set_index(["size", "seed"]).index
    table.loc[hit, "sampled"] = rule.loc[places].to_numpy()
    return table


def test_a_rule_that_holds_for_every_world_is_granted():
    assert verdict_after(FEW, SHIFTS, errors=on_the_rule) == "reproduced"


@pytest.mark.parametrize("rows", ["size == 12 and seed == 1", "size == 24 and seed == 1014"])
def test_one_world_is_enough_to_fail_the_rule(rows):
    worse = changed(f"shift == 'missing' and {rows}", "sampled", 1.05)
    both = verdict_after(FEW, SHIFTS, errors=lambda table: worse(on_the_rule(table)))
    assert both == "not reproduced"


@pytest.mark.parametrize(
    ("column", "factor"), [("model", 3), ("best", 0.3), ("sampled", 2), ("zero", 5)]
)
def test_missing_functions_are_not_judged_on_a_model_that_is_not_sound(column, factor):
    poor = changed("shift == 'missing' and size == 0 and seed == 4", column, factor)
    both = verdict_after(FEW, SHIFTS, errors=lambda table: poor(on_the_rule(table)))
    assert both == "not reproduced"


@pytest.mark.parametrize("name", ["label-noise", "out-of-span"])
@pytest.mark.parametrize(
    ("column", "factor"), [("model", 3), ("best", 0.3), ("sampled", 2), ("zero", 5)]
)
def test_a_model_that_is_not_sound_is_not_judged(name, column, factor):
    shift = {"label-noise": "noise", "out-of-span": "angle"}[name]
    poor = changed(f"shift == '{shift}' and size == 0 and seed == 4", column, factor)
    assert verdict_after(f"stress/{name}", SHIFTS, errors=poor) == "not reproduced"


def test_a_model_that_is_good_at_two_lengths_fails_the_claim():
    both = changed("N == 12 and shown == 16 and seed == 0", "model", 0.01)
    assert verdict_after("stress/prompt-length", LENGTHS, errors=both) == "not reproduced"


def test_heads_that_match_fail_the_claim():
    match = changed("count == 16 and seed == 0", "swapped", 0.2)
    assert verdict_after("stress/heads-do-not-match", HEADS, several=match) == "not reproduced"
    off = changed("count == 32 and seed == 0", "swapped", 1.2)
    assert verdict_after("stress/heads-do-not-match", HEADS, several=off) == "not reproduced"


def test_all_heads_swapped_may_be_as_good_as_the_best():
    def best(several):
        rows = (several["count"] == 32) & (several["step"] == several["step"].max())
        several.loc[rows, "swapped"] = several.loc[rows, "best"]
        return several

    claim = "stress/heads-do-not-match"
    assert verdict_after(claim, HEADS, several=best) == CLAIMS[claim].verdict
