"""Both experiments, quick, against other routes to their numbers."""

import numpy as np
import pytest
import torch

from iclbook.catalogue import find
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary
from iclbook.runner import live
from studies.bridge.two_lenses.compute import in_float64, random_heads, seen_heads
from studies.bridge.two_lenses.lenses import Spectrum

ONE, RELATED = "bridge/two-lenses", "bridge/related-tokens"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def quick():
    return {name: live(find(name), "quick") for name in (ONE, RELATED)}


def test_the_identity_holds_at_every_step_without_being_copied(quick):
    residuals = quick[ONE]["identity"]
    assert (residuals["residual"] < 1e-12).all() and residuals["residual"].max() > 0
    assert residuals.groupby("route")["residual"].nunique().min() > 1


def test_distances_stand_in_the_order_that_theory_gives(quick):
    for _, some in quick[ONE]["steps"].groupby("step"):
        some = some.sort_values("taken")
        assert (some["free"].diff().dropna() <= 1e-9).all()
        assert (some["free"] <= some["one_rate"] + 1e-9).all()
        first = some.iloc[0]
        assert first["taken"] == 1 and first["free"] == pytest.approx(
            first["one_rate"], rel=1e-6
        )


def test_the_excess_loss_is_the_distance_from_ridge(quick):
    """On tokens not shown: (1/2K) sum ||Zbar (a~ - A)||^2 is at least the square of distance
    times size, and all of the loss but the copied part."""
    result = quick[ONE]
    s, last = result.settings, result["whole"]["step"].max()
    D = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator())
    loss = PopulationLoss.of(D)
    size = (loss.target * (loss.covariance @ loss.target))[:, s.N :].sum().item()
    rules = result["rules"].query("step == @last").set_index("rule")["distance"]
    excess = result["whole"].set_index("step")["excess_loss"][last]
    assert rules["ridge, m tau"] ** 2 * size / (2 * s.K) < 1.1 * excess
    gains = result["gains"].query("step == @last")
    values = torch.linalg.svdvals(D.Z).square().numpy()
    np.testing.assert_allclose(gains["eigenvalue"], values)
    np.testing.assert_allclose(gains["gain"], values / (values + s.m * s.tau), atol=0.1)


def test_heads_are_measured_one_by_one_and_frozen_ones_make_the_best_table():
    D = sample_dictionary(6, 20, 5, 3, 0.2, generator=generator())
    model = MultiHeadAttention(D, 9, generator=generator(1))
    view, loss = Spectrum.of(D), PopulationLoss.of(D)
    rows = random_heads(view, model, loss)
    assert [row["head"] for row in rows] == list(range(9))
    with torch.no_grad():
        attention = model.attention()  # (N, H, K)
        w = torch.stack(  # least norm, token by token
            [torch.linalg.pinv(attention[:, :, k]) @ loss.target[:, k] for k in range(20)], 1
        )
        torch.testing.assert_close((attention * w).sum(1), loss.target)
        for h in (0, 8):
            part = attention[:, h, 6:] * w[h, 6:]
            assert rows[h]["contribution"] == pytest.approx(view.share(part), rel=1e-6)
            soft = attention[:, h, 6:] - attention[:, h, 6:].mean(0)
            assert rows[h]["softmax"] == pytest.approx(view.share(soft), rel=1e-9)
        again = seen_heads(view, attention[:, :, 6:], 3 * w[:, 6:])  # a factor is nothing
    assert again[4]["contribution"] == pytest.approx(rows[4]["contribution"], rel=1e-6)


def test_float64_looks_at_the_same_parameters():
    exact = sample_dictionary(4, 9, 5, 3, 0.2, generator=generator())
    model = MultiHeadAttention(exact.to(torch.float32), 3, generator=generator(1))
    with torch.no_grad():
        model.w.normal_(generator=generator(2))
        looked = in_float64(model, exact)
        assert looked.w.dtype == torch.float64 and torch.equal(looked.w.float(), model.w)
        torch.testing.assert_close(looked().float(), model(), rtol=1e-4, atol=1e-5)


def test_related_runs_learn(quick):
    whole = quick[RELATED]["whole"].sort_values("step")
    keys = ["relation", "beta", "seed"]
    ends = whole.groupby(keys)["excess_loss"].agg(["first", "last"])
    assert len(ends) == 6 and (ends["last"] < 0.2 * ends["first"]).all()
