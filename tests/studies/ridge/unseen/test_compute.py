"""The stored weights are the model of Figure 2a's own run, and nothing else is."""

from itertools import combinations

import numpy as np
import pytest
import torch

from iclbook.catalogue import find
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.runner import compute
from iclbook.store import Store
from studies.ridge.unseen import compute as unseen
from studies.ridge.unseen.compute import start
from studies.ridge.unseen.tables import run_of

WEIGHTS, FIG2A = find("yang2024/fig2a-weights"), find("yang2024/fig2a")


def excess_of(arrays, settings, seed=0):
    """The excess loss of the model with these weights, on the dictionary of a seed."""
    exact, model = start(settings, "unit", torch.Generator().manual_seed(seed))
    with torch.no_grad():
        model.Q.copy_(torch.from_numpy(arrays["Q"][0]))
        model.w.copy_(torch.from_numpy(arrays["w"][0]))
        return PopulationLoss.of(exact)(model().double())[0].item()


def test_its_training_is_figure_2as_to_the_bit():
    settings = WEIGHTS.settings("quick", steps=60, seeds=3)
    found = compute(WEIGHTS, settings)
    one = dict(losses="population", tokens="unit", steps=60, seeds=3)
    figure = run_of(compute(FIG2A, FIG2A.settings("quick", **one)).tables, "curves")
    curve = found.tables["curves"]
    np.testing.assert_array_equal(
        curve[["seed", "step", "excess_loss"]], figure[["seed", "step", "excess_loss"]]
    )
    assert excess_of(found.arrays, settings, 3) == pytest.approx(curve["excess_loss"].iloc[-1])


def test_declared_shapes_are_those_returned():
    settings = WEIGHTS.settings("quick", steps=1)
    arrays = compute(WEIGHTS, settings).arrays
    s = settings
    assert {name: (x.shape, str(x.dtype)) for name, x in arrays.items()} == {
        "Q": ((1, s.d, s.H, s.d), "float32"),
        "w": ((1, s.H, s.K), "float32"),
    }


def test_the_stored_weights_give_the_stored_loss_and_other_weights_do_not():
    kept = Store().read(WEIGHTS)
    s, arrays = kept.settings, kept.arrays
    last = kept["curves"].set_index("step")["excess_loss"][s.steps]
    assert excess_of(arrays, s) == pytest.approx(last, rel=1e-3)
    assert excess_of(arrays, s, seed=1) > 1e3 * last, "another dictionary"
    turned = np.roll(arrays["w"], 1, axis=1)
    assert excess_of(arrays | {"w": turned}, s) > 1e3 * last, "heads out of order"
    bent = arrays["Q"] * np.float32(1 + 1e-3)
    assert excess_of(arrays | {"Q": bent}, s) > 1.01 * last, "a thousandth more attention"


def test_the_stored_curve_is_figure_2as():
    kept, figure = Store().read(WEIGHTS), Store().read(FIG2A)
    shared = WEIGHTS.full.as_json().items()
    assert shared <= FIG2A.full.as_json().items()
    curve = run_of(figure, "curves").query("seed == 0").set_index("step")["excess_loss"]
    found = kept["curves"].set_index("step")["excess_loss"]
    np.testing.assert_allclose(found, curve[found.index], rtol=1e-3, atol=1e-6)
    assert len(found) == len(curve)


def test_inference_losses_are_taken_on_tasks_outside_the_training_pool(monkeypatch):
    """Every set of tasks that is drawn on the way: the pool and both domains' tests."""
    drawn, sample = [], unseen.sample_tasks

    def noted(*arguments, **how):
        drawn.append(sample(*arguments, **how))
        return drawn[-1]

    monkeypatch.setattr(unseen, "sample_tasks", noted)
    s = find("yang2024/fig2a").settings("quick", steps=2)
    unseen.fig2a(s, next(point for point in s.points() if point["loss"] == "batch"))
    assert sorted(len(tasks) for tasks in drawn) == sorted([s.pool, s.test_tasks, s.test_tasks])
    for one, other in combinations(drawn, 2):
        assert torch.cdist(one, other).min() > 1e-9
