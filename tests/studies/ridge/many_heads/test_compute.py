"""Figure 4's experiments: same dictionaries, curvature against autograd, divergence recorded,
starts as named."""

import math

import pytest
import torch

from iclbook.catalogue import find
from iclbook.ridge.population_loss import PopulationLoss
from studies.ridge.many_heads import compute as experiments

SMALL = dict(N=4, d=6, m=3, steps=120)


def quick(name, **changes):
    return find(f"yang2024/{name}").settings("quick", **SMALL | changes)


def test_head_counts_and_readings_of_a_seed_share_the_dictionary():
    s = quick("fig4", K=9)
    points = [
        {"seed": 3, "H": H, "tokens": tokens} for H in (1, 7) for tokens in ("unit", "gaussian")
    ]
    exact = [experiments.start(s, point, s.dtype, point["tokens"])[0] for point in points]
    assert all(torch.equal(exact[0].features, other.features) for other in exact)
    assert torch.equal(exact[0].tokens, exact[2].tokens)
    directions = [other.tokens / other.tokens.norm(dim=0) for other in exact]
    torch.testing.assert_close(directions[0], directions[1], rtol=1e-12, atol=1e-14)


def test_all_head_counts_take_the_same_steps_but_for_the_few():
    s = quick("fig4", K=9, steps=20, few=2, steps_of_few=60, H=(2, 5, 40), on_batches=(5,))
    points = s.points()
    last = {
        (point["loss"], point["H"]): experiments.fig4(s, point)["curves"]["step"].max()
        for point in points
        if point["tokens"] == "unit"
    }
    steps = {("population", 2): 60, ("population", 5): 20, ("population", 40): 20}
    assert last == steps | {("batch", 5): 20}
    assert len(points) == 2 * len(last)


def test_a_run_on_batches_learns_from_its_pool_only():
    s = quick("fig4", K=9, steps=200, pool=40, batch=10)
    point = {"tokens": "unit", "seed": 0, "H": 6}
    found = {
        loss: experiments.fig4(s, point | {"loss": loss})["curves"]["excess_loss"]
        for loss in ("population", "batch")
    }
    assert found["batch"].iloc[-1] < found["batch"].iloc[0]
    assert found["population"].iloc[-1] < found["batch"].iloc[-1], "noise costs nothing"


def test_the_largest_curvature_is_that_of_autograd():
    s, point = (
        quick("fig4-map", K=5, steps=1),
        {
            "optimizer": "gd",
            "loss": "population",
            "dtype": "float64",
            "H": 3,
            "rate": 0.1,
            "seed": 1,
        },
    )
    exact, model, _ = experiments.start(s, point, "float64")
    loss, attention = PopulationLoss.of(exact), model.attention().detach()

    def in_w(w):
        error = (attention * w).sum(dim=1) - loss.target
        return (error * (loss.covariance @ error)).sum() / (2 * s.K)

    hessian = torch.autograd.functional.hessian(
        in_w, torch.zeros(3, s.K, dtype=torch.float64)
    ).reshape(3 * s.K, -1)
    found = experiments.fig4_map(s, point)["curvatures"]["curvature"].item()
    assert found == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-9)


def test_a_diverged_run_is_infinite_from_then_on_and_has_every_step():
    s = quick("fig4-map", K=9, steps=600)
    point = {"optimizer": "gd", "loss": "population", "dtype": "float32", "H": 6, "seed": 0}
    wild, tame = (
        experiments.fig4_map(s, point | {"rate": rate})["curves"] for rate in (1e3, 1e-2)
    )
    assert list(wild["step"]) == list(tame["step"]) and math.isinf(wild["excess_loss"].iloc[-1])
    assert tame["excess_loss"].map(math.isfinite).all()
    assert tame["excess_loss"].is_monotonic_decreasing


@pytest.mark.parametrize(
    "case, K", [("from zero", 9), ("random signs", 9), ("near the solution", 6)]
)
def test_starts_are_what_they_are_called(case, K):
    s = quick("fig4-stall", blur=0.0, w_spread=0.5, dtype="float64", rate=1e-12)
    tables = experiments.fig4_stall(s, {"case": case, "K": K, "H": 2, "seed": 0})
    at_start = tables["curves"].iloc[0]
    both = {"from zero": 0.0, "near the solution": 1.0}
    if case == "random signs":
        assert 0 < at_start["both_signs"] < 1
    else:
        assert at_start["both_signs"] == both[case]
    assert (at_start["excess_loss"] < 1e-20) == (case == "near the solution")
    assert tables["frozen"]["excess_loss"].item() > 1e-6
    kept = tables["signs"]["kept"]
    assert len(kept) and (kept == 1).all(), "with a vanishing rate no sign changes"


def test_the_case_near_a_solution_names_the_sizes_that_can_be_solved():
    for profile in ("quick", "full"):
        s = find("yang2024/fig4-stall").settings(profile)
        K, H = s.solvable
        assert s.d >= K and H == 2
        assert {"case": "from zero", "K": K, "H": H, "seed": s.seeds[0]} in s.points()
