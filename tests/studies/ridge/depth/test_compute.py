"""Figures 2b and 5: runs that are interrupted, races that stop, devices that are not there."""

import numpy as np
import pandas as pd
import pytest

from iclbook import runner
from iclbook.catalogue import find
from iclbook.checkpoint import Checkpoint
from iclbook.ridge.population_loss import Batches
from iclbook.tables import arranged, faults
from studies.ridge.depth import compute

SIZES = dict(N=3, K=6, d=4, m=2, layers=2, width=8, feedforward=8)
FEW = dict(pool=40, batch=4, test_tasks=6)
STEPS = dict(steps=30, steps_without_skip=30, probe_tasks=12, probe_tokens=1)
TINY = SIZES | FEW | STEPS | {"H": 2}
POINT = {"skip": True, "seed": 3}


def tiny(**changes):
    return find("yang2024/fig2b").settings("quick", **TINY | changes)


def race(**changes):
    settings = find("yang2024/fig5").settings("quick", **SIZES | FEW | {"H": (1, 4)} | changes)
    return compute.fig5(settings, {"seed": 0})


def same(found, wanted, **kwargs):
    assert found.keys() == wanted.keys()
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, wanted[name], **kwargs)


def test_an_interrupted_point_goes_on_in_the_same_bits(tmp_path, monkeypatch):
    settings, path = tiny(), tmp_path / "point.checkpoint"
    whole = compute.fig2b(settings, POINT)
    taken, draw = 0, Batches.draw

    def breaks(batches):
        nonlocal taken
        taken += 1
        if taken == 17:
            raise KeyboardInterrupt
        return draw(batches)

    monkeypatch.setattr(Batches, "draw", breaks)
    with pytest.raises(KeyboardInterrupt):
        compute.fig2b(settings, POINT, Checkpoint(path, seconds=0))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    same(compute.fig2b(settings, POINT, Checkpoint(path)), whole, check_exact=True)
    assert taken == 17 + 14, "sixteen steps were done, the last of them after the last save"


def test_the_runner_hands_out_checkpoints_and_clears_them_away(tmp_path):
    experiment, settings = find("yang2024/fig2b"), tiny(skip=(True,))
    found = runner.compute(experiment, settings, partial=tmp_path)
    assert not list(tmp_path.rglob("*.checkpoint"))
    again = runner.compute(experiment, settings)
    same(found.tables, again.tables, rtol=1e-9)


def test_every_table_of_a_sweep_is_complete():
    for name, settings in (
        ("yang2024/fig2b", tiny()),
        ("yang2024/fig5", find("yang2024/fig5").settings("quick", **SIZES | FEW, budget=0.05)),
    ):
        found = runner.compute(find(name), settings).tables
        assert not faults(find(name), settings, found)


def test_the_losses_start_near_those_of_zero_and_fall_as_the_model_trains():
    settings = find("yang2024/fig2b").settings("quick", skip=(True,), probe_tasks=0)
    found = compute.fig2b(settings, POINT)
    curve = found["curves"].set_index("step")["training_loss"]
    zero, ridge = (
        found["references"].set_index("predictor")["training_loss"][name]
        for name in ("zero", "ridge")
    )
    assert curve[0] == pytest.approx(zero, rel=0.5)
    assert curve[settings.steps] < curve[0] / 2
    assert ridge < curve[settings.steps]
    assert set(found) == {name for name in find("yang2024/fig2b").tables if name in found}
    assert "probes" not in found, "no task to probe with, no table"


def test_the_references_are_what_they_are_called():
    found = compute.fig2b(tiny(), POINT)
    domains = found["reference_domains"].set_index(["predictor", "domain"])
    assert (domains.loc["ridge", "distance"] == 0).all()
    assert (domains.loc["Lemma 4", "distance_to_lemma4"] == 0).all()
    to_lemma4 = domains.loc["ridge", "distance_to_lemma4"]
    pd.testing.assert_series_equal(
        domains.loc["Lemma 4", "distance_not_shown"], to_lemma4, check_names=False
    )
    linear = found["best_linear_domains"].set_index(["fitted", "domain"])
    hidden = linear["distance_not_shown"]
    assert hidden["in-domain"].max() < 1e-20, "in domain y*^ is the best linear predictor"
    assert hidden["out-of-domain"].min() > 1e-6


def test_relative_distances_agree_with_the_distances():
    found = compute.fig2b(tiny(), POINT)
    domains, scaled = found["domains"], found["label_scaling"]
    end = domains[domains["step"] == TINY["steps"]].set_index("domain")["distance_not_shown"]
    zero = found["reference_domains"].query("predictor == 'zero'").set_index("domain")
    plain = scaled[scaled["factor"] == 1].set_index("domain")["relative_distance"]
    expected = end / zero["distance_not_shown"]
    pd.testing.assert_series_equal(plain, expected, check_names=False, rtol=1e-5)


@pytest.mark.parametrize("factor", find("yang2024/fig2b").full.factors)
def test_larger_labels_are_the_same_as_larger_tests(factor):
    settings = tiny()
    setup = compute.Setup(settings, 0)
    model, (labels, truth) = setup.model(settings, settings.H), setup.tests["in-domain"]

    def found(tests):
        setup.tests = {"in-domain": (tests, truth)}
        sizes, rows = compute.label_scaling(setup, model, (1.0, factor))
        return sizes["label_size"][0], rows["relative_distance"]

    (size, plain), (larger_size, larger) = found(labels), found(factor * labels)
    assert larger_size == pytest.approx(factor * size)
    assert larger.iloc[0] == pytest.approx(plain.iloc[1], rel=1e-4)


def test_a_linear_target_is_read_off_and_noise_is_not():
    random = np.random.default_rng(0)
    x, noise = random.standard_normal((2, 200, 5))
    assert compute.r2(x, x @ random.standard_normal((5, 3)) + 1, 150) > 0.999
    assert compute.r2(x, noise, 150) < 0.2


def test_a_race_stops_at_its_steps_and_shows_all_heads_the_same():
    found = race(max_steps=15, budget=1e6)
    assert (found["ends"]["iterations"] == 15).all()
    first = found["curves"].query("step == 1").set_index("H")["training_loss"]
    assert abs(first[1] - first[4]) < 0.2 * first[1], (
        "the same weights and the same batch, other heads"
    )
    costs = found["costs"].set_index("H")
    assert costs.loc[1, "exponentials"] * 4 == costs.loc[4, "exponentials"]
    assert costs.loc[1, "flops"] == costs.loc[4, "flops"]
    assert not found["curves"].isna().any(axis=None), "the time was never up"


def test_a_race_stops_at_its_budget_and_who_was_too_slow_goes_on_after_it():
    found = race(max_steps=10**6, budget=0.05, final_look=False, least_steps=215)
    ends, curves = found["ends"].set_index("H"), found["curves"]
    assert ends["seconds"].between(0.05, 1).all()
    timed = curves.dropna().groupby("H")["step"].max()
    assert (ends["iterations"] > 0).all(), "getting ready does not count"
    assert (timed <= ends["iterations"]).all()
    assert (curves.groupby("H")["step"].max() >= 215).all()
    assert "final_losses" not in found and "final_distances" not in found


def test_training_losses_are_means_since_the_last_look(monkeypatch):
    losses = iter(range(1, 41))
    monkeypatch.setattr(
        compute, "batch_loss", lambda model, batches: next(losses) + 0 * model.read.bias.sum()
    )
    found = race(H=(1,), max_steps=40, least_steps=40, budget=0.0, final_look=False)
    shown = found["curves"]
    since = shown["step"].shift(fill_value=0)
    assert (shown["training_loss"] == (since + 1 + shown["step"]) / 2).all()
    assert (shown["step"] - since).max() > 2
    assert shown["seconds"].isna().all() and (found["ends"]["iterations"] == 0).all()


def test_what_the_clock_decides_is_never_compared():
    declared = find("yang2024/fig5").tables
    clock = {f"{t}.{m}" for t, d in declared.items() for m, a in d.measures.items() if a.clock}
    assert clock == {
        "curves.seconds",
        "ends.iterations",
        "ends.seconds",
        "ends.wall_seconds",
        "final_losses.loss",
        "final_distances.distance",
    }
    assert declared["curves"].ragged, "how many looks there are, the clock decides"


def test_tables_are_as_declared():
    experiment = find("yang2024/fig2b")
    found = compute.fig2b(tiny(), POINT)
    whole = {name: table.assign(**POINT) for name, table in found.items()}
    assert arranged(experiment, whole).keys() == experiment.tables.keys()


def test_the_model_is_tested_on_tasks_that_it_never_trained_on():
    setup = compute.Setup(tiny(pool=200, test_tasks=50), 3)
    trained = setup.batches.labels.double()  # (200, K)
    for labels, _ in setup.tests.values():
        nearest = (labels[:, None] - trained[None]).norm(dim=-1).min()
        assert nearest > 1e-4 * labels.norm(dim=-1).mean()
    inner, outer = (labels for labels, _ in setup.tests.values())
    assert (inner[:, None] - outer[None]).norm(dim=-1).min() > 1e-4


def test_longer_runs_are_those_of_one_model_each_and_start_alike():
    settings = find("yang2024/fig5-longer").settings("quick", **SIZES | FEW, H=(1, 4), steps=30)
    both = compute.fig5_longer(settings, {"seed": 2})
    alone = compute.fig5_longer(
        find("yang2024/fig5-longer").settings("quick", **SIZES | FEW, H=(4,), steps=30),
        {"seed": 2},
    )
    kept = both["curves"].query("H == 4").reset_index(drop=True).drop(columns="seconds")
    pd.testing.assert_frame_equal(kept, alone["curves"].drop(columns="seconds"))
    last = both["curves"].query("step == 30 and domain == 'in-domain'").set_index("H")["loss"]
    first = both["curves"].query("step == 0 and domain == 'in-domain'").set_index("H")["loss"]
    assert (last < first).all() and last.loc[1] != last.loc[4]
    setup = compute.Setup(settings, 2)
    zero = setup.tests["in-domain"][0].square().mean().item() / 2
    known = both["references"].query("domain == 'in-domain'").set_index("predictor")["loss"]
    assert known["zero"] == pytest.approx(zero) and known["ridge"] < zero
