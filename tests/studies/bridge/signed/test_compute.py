"""The experiments of the chapter on signed heads: what points share, what tables say."""

import numpy as np
import pytest
import torch

from iclbook.catalogue import find
from iclbook.ridge.heads import one_signed_fits
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary
from studies.bridge.signed import compute
from studies.bridge.signed.settings import KINDS

SIZES = ((9, (1, 2)),)


def quick(**changes):
    small = dict(N=4, d=6, m=3, r=2, steps=12, half_life=5.0, sizes=SIZES)
    return find("bridge/signed-trained").settings("quick", **small | changes)


def point(kind="all", H=2, seed=3, tokens="unit", K=9):
    return {"tokens": tokens, "K": K, "kind": kind, "H": H, "seed": seed}


def test_kinds_and_readings_of_a_seed_share_dictionary_and_start():
    s = quick()
    starts = {kind: compute.start(s, point(kind)) for kind in KINDS}
    first, model, _ = starts["none"]
    for exact, other, _ in starts.values():
        assert torch.equal(exact.features, first.features)
        assert torch.equal(exact.tokens, first.tokens)
        assert torch.equal(other.Q, model.Q) and not other.w.any()
    gaussian = compute.start(s, point(tokens="gaussian"))[0]
    directions = gaussian.tokens / gaussian.tokens.norm(dim=0)
    torch.testing.assert_close(directions, first.tokens)
    own = {kind: (m.r, *m.beta.tolist()) for kind, (_, m, _) in starts.items()}
    assert own == {
        "none": (0, 0.0, 0.0),
        "all": (4, 1.0, 1.0),
        "learned": (4, 0.0, 0.0),
        "lowest": (2, 1.0, 1.0),
        "learned from 1": (4, 1.0, 1.0),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_falls_and_only_learned_strengths_move(kind):
    s = quick(steps=60, half_life=20.0)
    curves = compute.trained(s, point(kind))["curves"]
    assert curves["step"].iloc[-1] == 60
    assert curves["excess_loss"].iloc[-1] < curves["excess_loss"].iloc[0]
    moved = curves[["beta_low", "beta_high"]].to_numpy()
    assert np.ptp(moved) == 0 or kind.startswith("learned")
    assert kind.startswith("learned") == bool(np.ptp(moved) > 0)


def test_rates_are_two_and_halve():
    s = quick()
    _, model, optimizer = compute.start(s, point("learned"))
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == [s.rate, s.faster_w * s.rate]
    assert any(p is model.w for p in optimizer.param_groups[1]["params"])
    for parameter in (model.Q, model.w, model.beta):
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(5):
        optimizer.step()
    np.testing.assert_allclose(
        [group["lr"] for group in optimizer.param_groups], [rate / 2 for rate in rates]
    )


def test_floors_are_those_of_the_dictionary_that_is_trained():
    s = find("bridge/signed-floors-half").settings("quick", K=(9,), N=4, d=6, m=3, r=2)
    floors = compute.floors(s, {"K": 9, "seed": 3})["floors"].iloc[0]
    exact = compute.start(quick(tau=s.tau[0]), point())[0]
    assert exact.tau == s.tau[0]
    loss = PopulationLoss.of(exact)
    plain = one_signed_fits(loss)[1].min(dim=0).values.mean().item()
    assert floors["plain"] == pytest.approx(plain, rel=1e-9)
    ones = np.ones(4)
    inverse = np.linalg.inv(loss.covariance.numpy())
    sums = loss.target.numpy().sum(axis=0)
    assert floors["centred"] == pytest.approx((sums**2).mean() / (2 * ones @ inverse @ ones))
    assert floors["explicit"] == pytest.approx(floors["centred"], rel=1e-6)
    assert floors["centred"] <= floors["lowest"] <= floors["zero"]
    assert floors["exact"] < 1e-12 and floors["strength"] < 1


def test_half_sizes_are_half_of_figure_four():
    fig4 = find("yang2024/fig4").full
    s, floors = find("bridge/signed-trained").full, find("bridge/signed-floors-half").full
    assert (2 * s.N, 2 * s.d, 2 * s.m, s.tau) == (fig4.N, fig4.d, fig4.m, fig4.tau)
    assert (s.N, s.d, s.m, s.r) == (floors.N, floors.d, floors.m, floors.r)
    assert {K for K, _ in s.sizes} == set(floors.K) and 2 * s.many[0] == fig4.K
    drawn = sample_dictionary(s.N, 50, s.d, s.m, s.tau, generator=torch.Generator())
    assert drawn.N == s.N
