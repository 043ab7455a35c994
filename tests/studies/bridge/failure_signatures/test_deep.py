"""The deep model on other prompts and in other worlds, against its layers run by hand and
against closed forms; its claims say no where they are false."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from claims import CLAIMS, stored, verdict_after

from iclbook.catalogue import find
from iclbook.checkpoint import Checkpoint
from iclbook.ridge.population_loss import optimal_weights
from studies.bridge.failure_signatures import deep
from studies.bridge.failure_signatures.compute import (
    generator_of,
    label_worlds,
    small_dictionary,
)
from studies.bridge.failure_signatures.worlds import errors_of

DEEP, SHIFTS = "stress/deep-shifts", "stress/shifts"
STORED = {SHIFTS: "stress/label-noise", DEEP: "stress/deep-label-noise"}  # a claim on each
S = replace(find(DEEP).quick, steps=20)


@pytest.fixture(scope="module")
def exact():
    return small_dictionary(S, S.N, 0)


@pytest.fixture(scope="module")
def model(exact):
    return deep.deep_model(S, exact, 0)


@torch.no_grad()
def by_hand(model, exact, shown, y):
    """The layers on inputs (v_k, flag, label) in the dictionary's own order; (count, K)."""
    inputs = torch.zeros(len(y), exact.K, exact.d + 2)
    inputs[:, :, : exact.d] = exact.tokens.T.float()
    inputs[:, shown, exact.d] = 1
    inputs[:, shown, exact.d + 1] = y.float()
    states = model.embed(inputs)
    for layer in model.layers:
        states = layer(states)
    return model.read(states)[..., 0]


def test_worlds_cost_what_they_cost_one_layer(monkeypatch):
    """`best` and `zero` know no model: those computed now are the ones stored beside one
    layer, and so are those stored."""
    full, keys = find(DEEP).full, ["shift", "size"]
    monkeypatch.setattr(deep, "on_prompt", lambda *_: None)
    monkeypatch.setattr(deep, "squared_errors", lambda s, model, y, truth: torch.ones(len(y)))
    computed = pd.DataFrame(deep.in_worlds(full, None, small_dictionary(full, full.N, 0), 0))
    of_one, of_deep = (stored(claim)[name]["errors"] for name, claim in STORED.items())
    of_one = of_one[of_one["step"] == of_one["step"].max()]
    for found, seeds in ((computed.assign(seed=0), [0]), (of_deep, full.seeds)):
        wanted = of_one[of_one["seed"].isin(seeds)]
        both = found.merge(wanted, on=["seed", *keys], suffixes=("", "_one"))
        assert len(both) == len(found) == len(wanted)
        for name in ("best", "zero"):
            np.testing.assert_allclose(both[name], both[f"{name}_one"], rtol=1e-6)


@pytest.mark.parametrize("shown", [[0, 1, 2], [8, 2, 11, 5, 0], list(range(8, -1, -1))])
def test_other_prompts_give_what_the_layers_say(exact, model, shown):
    shown = torch.tensor(shown)
    y = torch.randn(4, len(shown), generator=generator_of(0, 1), dtype=torch.float64)
    truth = torch.randn(4, exact.K, generator=generator_of(0, 2), dtype=torch.float64)
    wanted = by_hand(model, exact, shown, y).double()[:, 2 * S.N :]
    other = deep.on_prompt(S, model, exact, shown)
    found = deep.squared_errors(S, other, y, truth)
    torch.testing.assert_close(
        found, (wanted - truth[:, 2 * S.N :]).square().mean(dim=1), rtol=1e-4, atol=1e-4
    )


def test_a_token_shown_again_is_one_more_token_with_its_label(exact, model):
    shown = torch.tensor([*range(S.N), 3, 3])
    other = deep.on_prompt(S, model, exact, shown)
    assert len(other.tokens) == exact.K + 2 and other.N == S.N + 2
    assert torch.equal(other.tokens[S.N], other.tokens[3]) and other.tokens[: S.N + 2, -1].all()
    assert not other.tokens[S.N + 2 :, -1].any()
    y = torch.randn(4, S.N, generator=generator_of(0, 1), dtype=torch.float64)
    once, again = (
        deep.squared_errors(S, each, y[:, some], torch.zeros(4, exact.K).double())
        for each, some in ((model, torch.arange(S.N)), (other, shown))
    )
    assert not torch.allclose(once, again)


def test_sampled_errors_are_those_of_a_predictor_whose_errors_are_known(exact, monkeypatch):
    """A table in the deep model's place has a closed form in every world."""

    class Linear:
        def predict(self, y):
            return y @ table.float()

    table, many = optimal_weights(exact), replace(S, tasks=4_000)
    monkeypatch.setattr(deep, "prompts_of", lambda *_: [])
    rows = deep.in_worlds(many, Linear(), exact, 0)
    extra = torch.randn(
        max(S.missing), S.K, generator=generator_of(0, 500), dtype=torch.float64
    )
    worlds = list(label_worlds(S, exact, extra))
    assert [(row["shift"], row["size"]) for row in rows] == [w[:2] for w in worlds]
    for row, (*_, world) in zip(rows, worlds):
        form = errors_of(world, table, torch.arange(S.N)[None])[0, 2 * S.N :].mean().item()
        assert abs(row["sampled"] - form) < 5 * row["deviation"] and row["deviation"] < form / 9
        assert row["best"] <= form * (1 + 1e-9)
        zero = world.power[2 * S.N :].mean().item()
        assert row["zero"] == pytest.approx(zero)


def test_training_lowers_the_loss_and_goes_on_after_an_interruption(tmp_path, monkeypatch):
    path, point = tmp_path / "point.checkpoint", {"seed": 0}
    whole = deep.deep_shifts(S, point)
    loss = whole["curves"].set_index("step")["loss"]
    assert loss.loc[20] < 0.9 * loss.loc[0]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deep, "in_worlds", stop)
        with pytest.raises(KeyboardInterrupt):
            deep.deep_shifts(replace(S, steps=12), point, Checkpoint(path, seconds=0))
    again = deep.deep_shifts(S, point, Checkpoint(path))
    for name, table in whole.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)
    other = deep.deep_shifts(S, {"seed": 1})
    assert other["curves"]["loss"].iloc[-1] != loss.loc[20]


CHAPTER = [name for name, claim in CLAIMS.items() if DEEP in claim.experiments]
HIT = {
    "stress/deep-label-noise": ("noise", 0.1),
    "stress/deep-out-of-span": ("angle", 45.0),
    "stress/deep-scale": ("scale", 10.0),
    "stress/deep-ood-tokens": ("replaced", 9.0),
}


def multiplied(shift, size, seeds, factor, column="sampled"):
    def change(errors):
        hit = (errors["shift"] == shift) & (errors["size"] == size)
        hit &= errors["seed"].isin(seeds)
        assert hit.any()
        errors.loc[hit, column] *= factor
        return errors

    return change


def at_ratio(name, ratio):
    """The errors of every seed moved to `ratio` times what the claim compares them with."""

    def change(errors):
        shift, size = HIT[name]
        hit = (errors["shift"] == shift) & (errors["size"] == size)
        errors.loc[hit, "sampled"] = ratio * errors.loc[hit, "zero"]
        return errors

    return change


@pytest.mark.parametrize("name", ["stress/deep-out-of-span", "stress/deep-ood-tokens"])
def test_one_seed_below_silence_is_enough_to_fail(name):
    assert verdict_after(name, DEEP, errors=at_ratio(name, 1.2)) == "reproduced"
    for seed in find(DEEP).full.seeds:

        def one(errors, seed=seed):
            return multiplied(*HIT[name], [seed], 0.8)(at_ratio(name, 1.2)(errors))

        assert verdict_after(name, DEEP, errors=one) == "not reproduced"


def test_a_deep_model_that_scales_fails_its_claim():
    """Tasks ten times as large, at a hundred times the usual error."""
    base = stored("stress/deep-scale")[DEEP]["errors"].query("shift == 'scale' and size == 1")
    usual = (base["sampled"] / base["zero"]).to_numpy()

    def scaled(factor):
        return lambda errors: at_ratio("stress/deep-scale", factor * usual)(errors)

    assert verdict_after("stress/deep-scale", DEEP, errors=scaled(1.0)) == "not reproduced"
    assert verdict_after("stress/deep-scale", DEEP, errors=scaled(2.1)) == "reproduced"


def on_the_form(factor):
    """Errors under noise at `factor` times the closed form of one layer."""
    rows = stored("stress/deep-label-noise")[SHIFTS]["errors"]
    rows = rows[rows["step"] == rows["step"].max()].query("shift == 'noise'")
    form = rows.set_index(["size", "seed"])["theory"]

    def change(errors):
        hit = (errors["shift"] == "noise") & errors["size"].isin([0.1, 1.0])
        places = errors.loc[hit].set_index(["size", "seed"]).index
        errors.loc[hit, "sampled"] = factor * form.loc[places].to_numpy()
        return errors

    return change


def test_noise_is_held_against_the_form_of_one_layer():
    name = "stress/deep-label-noise"
    assert verdict_after(name, DEEP, errors=on_the_form(1.2)) == "reproduced"
    for factor in (0.7, 1.3):
        assert verdict_after(name, DEEP, errors=on_the_form(factor)) == "not reproduced"

    def one(errors):
        return multiplied("noise", 1.0, [2], 1.1)(on_the_form(1.2)(errors))

    assert verdict_after(name, DEEP, errors=one) == "not reproduced"


def granted(name):
    """A change after which the claim's own measure passes."""
    return on_the_form(1.0) if name == "stress/deep-label-noise" else at_ratio(name, 3.0)


@pytest.mark.parametrize("name", CHAPTER)
@pytest.mark.parametrize(
    ("shift", "size", "factor", "column"),
    [
        ("noise", 0.0, 20, "sampled"),
        ("permuted", 1.0, 5, "sampled"),
        ("noise", 0.0, 5, "zero"),
        ("dropped", 6.0, 0.01, "sampled"),
        ("dropped", 6.0, 100, "best"),
    ],
)
def test_a_deep_model_that_is_not_sound_is_not_judged(name, shift, size, factor, column):
    assert verdict_after(name, DEEP, errors=granted(name)) == "reproduced"
    poor = multiplied(shift, size, [1], factor, column)
    both = verdict_after(name, DEEP, errors=lambda errors: poor(granted(name)(errors)))
    assert both == "not reproduced"
