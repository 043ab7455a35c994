"""Figures 2b and 5: runs that are interrupted, races that stop, devices that are not there."""

import dataclasses

import pandas as pd
import pytest
from iclbook.experiments.ridge import depth as experiments

from iclbook import runner
from iclbook.checkpoint import Checkpoint
from iclbook.errors import InputError
from studies.catalogue import find

TINY = dict(N=3, K=6, d=4, m=2, layers=2, width=8, feedforward=8, H=2, pool=40, batch=4, test_tasks=6, steps=30,
            steps_without_skip=30, probe_tasks=12, probe_tokens=1)  # fmt: skip


def test_an_interrupted_point_goes_on_in_the_same_bits(tmp_path, monkeypatch):
    settings, point = (
        find("yang2024/fig2b").settings("quick", **TINY),
        {"skip": True, "seed": 3},
    )
    whole = experiments.fig2b(settings, point)
    taken, path = 0, tmp_path / "point.checkpoint"
    original = experiments.step

    def breaks(*arguments):
        nonlocal taken
        taken += 1
        if taken == 17:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(experiments, "step", breaks)
    with pytest.raises(KeyboardInterrupt):
        experiments.fig2b(settings, point, Checkpoint(path, seconds=0))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    pd.testing.assert_frame_equal(
        experiments.fig2b(settings, point, Checkpoint(path)), whole, check_exact=True
    )
    assert taken == 17 + 14, "sixteen steps were done, the last of them after the last save"


def test_the_runner_hands_out_checkpoints_and_clears_them_away(tmp_path):
    experiment = find("yang2024/fig2b")
    settings = dataclasses.replace(experiment.settings("quick", **TINY), skip=(True,))
    table, _ = runner.compute(experiment, settings, partial=tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".csv"]
    pd.testing.assert_frame_equal(table, runner.compute(experiment, settings)[0], rtol=1e-9)


def test_relative_distances_agree_with_the_distances():
    settings = find("yang2024/fig2b").settings("quick", **TINY)
    table = experiments.fig2b(settings, {"skip": True, "seed": 0})
    last = table[(table["step"] == TINY["steps"]) & (table["predictor"] == "transformer")]
    value = last.set_index(["domain", "quantity"])["value"]
    zero = table[table["predictor"] == "zero"].set_index(["domain", "quantity"])["value"]
    for domain in experiments.DOMAINS:
        expected = value[domain, "distance, not shown"] / zero[domain, "distance, not shown"]
        assert value[domain, "relative distance, labels x 1"] == pytest.approx(
            expected, rel=1e-5
        )


@pytest.mark.parametrize("factor", experiments.FACTORS)
def test_larger_labels_are_the_same_as_larger_tests(factor):
    settings = find("yang2024/fig2b").settings("quick", **TINY)
    setup = experiments.Setup(settings, 0)
    model, (labels, truth) = setup.model(settings, settings.H), setup.tests["in-domain"]

    def found(tests):
        setup.tests = {"in-domain": (tests, truth)}
        return {
            quantity: value
            for *_, quantity, value in experiments.inside(setup, model, settings, 0)
        }

    plain, larger = found(labels), found(factor * labels)
    assert larger["label size"] == pytest.approx(factor * plain["label size"])
    expected = plain[f"relative distance, labels x {factor:g}"]
    assert larger["relative distance, labels x 1"] == pytest.approx(expected, rel=1e-4)


def test_a_race_stops_at_its_budget_or_at_its_steps_and_shows_all_heads_the_same():
    settings = find("yang2024/fig5").settings("quick", **{k: TINY[k] for k in ("N", "K", "d", "m", "layers", "width", "feedforward")},
                                              H=(1, 4), pool=40, batch=4, test_tasks=6, max_steps=15, budget=1e6)  # fmt: skip
    table = experiments.fig5(settings, {"seed": 0}).set_index(["H", "quantity", "step"])[
        "value"
    ]
    assert (table.xs("iterations", level="quantity") == 15).all()
    first = table.xs("training loss", level="quantity").xs(1, level="step")
    assert abs(first[1] - first[4]) < 0.2 * first[1], (
        "the same weights and the same batch, other heads"
    )
    assert (
        table[1, "exponentials", 0] * 4 == table[4, "exponentials", 0]
        and table[1, "flops", 0] == table[4, "flops", 0]
    )
    changes = dict(max_steps=10**6, budget=0.05, final_look=False, least_steps=215)
    short = experiments.fig5(dataclasses.replace(settings, **changes), {"seed": 0})
    last = short.groupby(["quantity", "H"]).last()
    assert (
        (last.loc["final seconds", "value"] >= 0.05) & (last.loc["final seconds", "value"] < 1)
    ).all()
    assert (last.loc["seconds", "step"] <= last.loc["iterations", "value"]).all()
    assert (last.loc["training loss", "step"] >= 215).all(), (
        "who was too slow went on after the race"
    )


def test_training_losses_are_means_since_the_last_look(monkeypatch):
    settings = find("yang2024/fig5").settings(
        "quick", H=(1,), max_steps=40, budget=0.0, final_look=False
    )
    losses = iter(range(1, 41))
    monkeypatch.setattr(experiments, "step", lambda *arguments: next(losses))
    table = experiments.fig5(settings, {"seed": 0})
    shown = table[table["quantity"] == "training loss"]
    since = shown["step"].shift(fill_value=0)
    assert (shown["value"] == (since + 1 + shown["step"]) / 2).all() and (
        shown["step"] - since
    ).max() > 2


def test_a_device_that_is_not_there_is_refused():
    settings = find("yang2024/fig2b").settings("quick", **TINY, device="nowhere")
    with pytest.raises(InputError, match="no device 'nowhere'; add --set device=cpu"):
        experiments.fig2b(settings, {"skip": True, "seed": 0})
