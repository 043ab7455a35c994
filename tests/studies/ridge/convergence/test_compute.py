"""The experiments of *Linear convergence*: inequalities, nested sizes, and when a descent
ends."""

import math

import numpy as np
import pytest
import torch
from ridge_draws import generator

from iclbook.errors import InputError
from iclbook.ridge import convergence as theory
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, covariance_root
from iclbook.ridge.prompt import sample_dictionary
from studies.ridge.convergence import compute, inequalities
from studies.ridge.convergence.settings import (
    INEQUALITIES,
    FrozenAttention,
    Thm1Constants,
    Thm1Inequalities,
    Thm1Path,
    Thm1Rates,
)


def start(N=3, K=5, d=4, m=3, H=6, tau=0.4, seed=0):
    dictionary = sample_dictionary(N, K, d, m, tau, generator=generator(seed))
    model = MultiHeadAttention(dictionary, H, generator=generator(seed + 1))
    return PopulationLoss.of(dictionary), model


def test_batched_excess_and_attention_are_the_models():
    loss, model = start()
    model.w.data = torch.randn(model.w.shape, generator=generator(3), dtype=torch.float64)
    found = inequalities.attention(model.Q, model.tokens, 3)
    torch.testing.assert_close(found, model.attention(), rtol=1e-12, atol=1e-14)
    root = covariance_root(loss.covariance)
    value = inequalities.excess(model.Q, model.w, model.tokens, root, loss.target)
    torch.testing.assert_close(value, loss(model())[0], rtol=1e-10, atol=0)


def test_points_of_the_region_lie_in_it():
    pairs = inequalities.model_pairs(3, 4, 3, 2, 5, 50, generator())
    found = {name: (large, small) for name, large, small in pairs}
    assert tuple(found) == INEQUALITIES[3:]
    for large, small in found.values():
        assert torch.isfinite(large).all() and torch.isfinite(small).all()
    large, small = found["PL, w alone, worst error"]
    torch.testing.assert_close(large, small, rtol=1e-6, atol=1e-12)


def test_sizes_are_nested_so_zeta_and_b_are_monotone():
    def rule(K, H):
        return theory.TheoryRule.at(*compute._start(Thm1Rates(), K, H, 1)[::-1])

    def grows(values):
        return all(np.diff(list(values)) >= -1e-9)

    over_K, over_H = [rule(K, 8) for K in (6, 12, 24)], [rule(8, H) for H in (8, 16, 64)]
    assert grows(-each.zeta for each in over_K) and grows(each.b for each in over_K)
    assert grows(each.zeta for each in over_H) and grows(each.b for each in over_H)
    few, many = (compute._start(Thm1Rates(), 8, H, 1)[1].Q for H in (8, 16))
    assert torch.equal(few, many[:, :8])


def test_a_family_has_its_limits():
    with pytest.raises(InputError, match="at most 128"):
        compute._start(Thm1Rates(), 200, 8, 0)


def test_path_reaches_its_target_and_stops_there():
    settings = Thm1Path(target=1e-6, steps=5_000)
    curves = compute.thm1_path(settings, {"gamma_factor": 1.0, "seed": 0})["curves"]
    assert curves["excess"].iloc[-1] <= 1e-6 < curves["excess"].iloc[-2]
    assert (curves["Q_drift"] <= curves["path_length"] + 1e-12).all()
    assert (curves["excess"] <= curves["bound"] * (1 + 1e-9)).all()


def test_the_frozen_curve_is_followed_and_its_rate_measured():
    tables = compute.frozen_attention(FrozenAttention(target=1e-23), {"rule": "1/M", "seed": 3})
    rates, curves = tables["rates"].iloc[0], tables["curves"]
    early = curves[curves["exact"] > 1e-15]
    np.testing.assert_allclose(early["excess"], early["exact"], rtol=1e-6)
    assert rates["measured"] == pytest.approx(rates["predicted"], rel=0.5)


def test_descent_that_diverges_or_runs_out_gives_nan():
    loss, model = start()
    curve = list(compute._descend(model, loss, 1e3, 1.0, 1e-9, 500))
    assert math.isnan(compute._steps(curve, 1e-9)) and len(curve) < 500
    loss, model = start()
    curve = list(compute._descend(model, loss, 1e-3, 1.0, 1e-9, 30))
    assert math.isnan(compute._steps(curve, 1e-9)) and len(curve) == 31
    assert compute._steps([1.0, 0.5, 0.1], 0.1) == 2


def test_no_inequality_is_broken_and_a_broken_one_is_counted(monkeypatch):
    settings = Thm1Inequalities(instances=30)
    found = compute.thm1_inequalities(settings, {"seed": 0})["inequalities"]
    assert tuple(found["inequality"]) == INEQUALITIES
    assert (found["violations"] == 0).all() and (found["tightest_ratio"] > 1 - 1e-6).all()

    def broken(*_):
        yield "softmax", torch.tensor([2.0, 0.5, 1.0]), torch.tensor([1.0, 1.0, 1e-11])

    monkeypatch.setattr(compute, "softmax_pairs", broken)
    row = compute.thm1_inequalities(settings, {"seed": 0})["inequalities"].iloc[0]
    assert row[["instances", "violations", "tightest_ratio"]].tolist() == [6, 3, 0.5]


@pytest.mark.parametrize("tokens, told", [("unit", True), ("gaussian", False)])
def test_constants_that_rounding_decides_are_left_out(tokens, told):
    point = {"tokens": tokens, "H": 30, "seed": 0}
    found = compute.thm1_constants(Thm1Constants(), point)["constants"].iloc[0]
    assert found[["kappa", "gamma", "rate_Q", "decrease"]].notna().eq(told).all()
    assert found[["zeta_0", "b_0", "rate_w"]].notna().all()


def test_steps_of_the_rules():
    settings = Thm1Rates(target=1e-2, gammas=(0.25,), multiples=(1.0, 2.0), heads=(8, 16))
    point = {"sweep": "H", "size": 16, "seed": 0}
    found = {
        rule: compute.thm1_rates(settings, point | {"rule": rule})["steps"].iloc[0]
        for rule in settings.rules
    }
    assert found["theory"]["steps"] <= found["theory"]["bound"]
    assert found["fixed"]["rate_Q"] == found["fixed"]["rate_w"] <= found["theory"]["rate_w"]
    assert found["tuned"]["steps"] <= found["theory"]["steps"]
    unreached = compute.thm1_rates(
        Thm1Rates(steps=2, gammas=(0.25,), multiples=(1.0,)), point | {"rule": "tuned"}
    )["steps"].iloc[0]
    assert unreached[["steps", "rate_w", "rate_Q"]].isna().all()


@pytest.mark.parametrize("sweep", ["K", "H"])
def test_the_fixed_rate_is_the_smallest_of_its_own_sweep(sweep):
    s = Thm1Rates(dictionary_sizes=(6, 24), heads=(16, 64), steps=1)
    sizes = [(K, s.H) for K in (6, 24)] if sweep == "K" else [(s.K, H) for H in (16, 64)]
    rates = [theory.TheoryRule.at(*compute._start(s, *each, 1)[::-1]).rate_w for each in sizes]
    point = {"sweep": sweep, "size": 24 if sweep == "K" else 64, "rule": "fixed", "seed": 1}
    found = compute.thm1_rates(s, point)["steps"]["rate_w"].item()
    assert found == pytest.approx(min(rates)) and max(rates) > 1.01 * min(rates)
