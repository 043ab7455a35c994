"""Floors against general solvers, and explicit heads against the floors."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from iclbook.errors import InputError
from iclbook.ridge.heads import one_signed_fits
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary
from studies.bridge.signed import floors
from studies.bridge.signed.layer import SignedAttention


def drawn(seed=0, N=5, K=8, d=8, m=3, tau=0.1, tokens="unit"):
    generator = torch.Generator().manual_seed(seed)
    return sample_dictionary(N, K, d, m, tau, generator=generator, tokens=tokens)


def column_loss(loss, k, x):
    error = torch.as_tensor(x) - loss.target[:, k]
    return (error @ loss.covariance @ error).item() / 2


@pytest.mark.parametrize("tau", [0.01, 1.0, 30.0])
def test_centred_fit_is_what_a_general_solver_finds(tau):
    loss = PopulationLoss.of(drawn(tau=tau))
    fits, losses = floors.centred_fits(loss)
    assert fits.sum(dim=0).abs().max() < 1e-10
    for k in (0, 6):
        constraint = {"type": "eq", "fun": np.sum, "jac": np.ones_like}
        found = minimize(
            lambda x, k=k: column_loss(loss, k, x),
            np.zeros(5),
            jac=lambda x, k=k: (
                loss.covariance @ (torch.tensor(x) - loss.target[:, k])
            ).numpy(),
            constraints=[constraint],
            options=dict(ftol=1e-14, maxiter=500),
        )
        assert found.fun == pytest.approx(losses[k].item(), rel=1e-5)
        assert column_loss(loss, k, fits[:, k]) == pytest.approx(losses[k].item(), rel=1e-9)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_lowest_floor_is_below_heads_and_near_the_best_of_them(r):
    """A head that is fitted to one column ends at the floor, up to the edge of softmax."""
    dictionary = drawn(N=4, K=6, d=6)
    loss = PopulationLoss.of(dictionary)
    losses = floors.lowest_losses(loss, r)
    draws = np.random.default_rng(r)
    for k in (1, 4):

        def value(x, k=k):
            s = np.exp(x - x.max())
            s = s / s.sum()
            chosen = np.argsort(x, kind="stable")[:r]
            tilde = s.copy()
            tilde[chosen] -= 1 / r
            tilde = torch.tensor(tilde)
            w = (tilde @ loss.covariance @ loss.target[:, k]) / (
                tilde @ loss.covariance @ tilde
            )
            return column_loss(loss, k, w * tilde)

        starts = draws.normal(size=(12, 4)) * 2
        found = min(
            minimize(value, x, method="Nelder-Mead", options=dict(maxiter=300)).fun
            for x in starts
        )
        assert found >= losses[k].item() * (1 - 1e-9)
        assert found <= losses[k].item() * 1.05 + 1e-3


def test_rays_span_the_columns_of_heads():
    """Random columns of a head are non-negative sums of the rays of their negatives."""
    from scipy.optimize import nnls

    draws = np.random.default_rng(0)
    for _ in range(50):
        s = draws.dirichlet(np.ones(6) * 0.7)
        R = tuple(int(i) for i in np.sort(np.argsort(s)[:2]))
        column = s - np.isin(np.arange(6), R) / 2
        _, residual = nnls(floors.rays_of(6, R), column)
        assert residual < 1e-8
        others = (R_ for R_ in itertools.combinations(range(6), 2) if R_ != R)
        assert max(nnls(floors.rays_of(6, other), column)[1] for other in others) > 1e-3
        assert (column[list(R)] < 0).all() and (np.delete(column, R) > 0).all()


def test_lowest_of_all_is_centring():
    loss = PopulationLoss.of(drawn(N=4, K=6, d=6))
    torch.testing.assert_close(floors.lowest_losses(loss, 4), floors.centred_fits(loss)[1])
    with pytest.raises(InputError):
        floors.lowest_losses(loss, 5)


@pytest.mark.parametrize("K", [8, 16, 20])
@pytest.mark.parametrize("tokens", ["unit", "gaussian"])
@torch.no_grad()
def test_explicit_centred_heads_attain_the_floor(K, tokens):
    dictionary = drawn(K=K, tokens=tokens)
    loss = PopulationLoss.of(dictionary)
    model = floors.best_centred_model(dictionary)
    assert model.w.shape[0] == -(-K // 8)
    torch.testing.assert_close(loss(model())[0], floors.centred_fits(loss)[1].mean())
    exact = floors.exact_signed_model(dictionary)
    assert exact.w.shape[0] == -(-K // 8) and (exact.beta < 1).all()
    torch.testing.assert_close(exact(), loss.target, rtol=1e-7, atol=1e-7)


def test_strength_is_the_edge():
    """Just above the line every attention weight is positive; just below one is not."""
    A = PopulationLoss.of(drawn()).target
    edge = floors.strength_for(A, room=1.0)
    for beta, positive in ((edge + 1e-9, True), (edge - 1e-6, False)):
        s = A * (1 - beta) / A.sum(dim=0) + beta / 5
        torch.testing.assert_close(s.sum(dim=0), torch.ones(8, dtype=torch.float64))
        assert bool((s > 0).all()) == positive


def test_linear_attention_is_the_limit_of_a_head_and_no_worse_than_free_descent():
    dictionary = drawn(N=4, K=12, d=5)
    loss = PopulationLoss.of(dictionary)
    expected = floors.linear_loss(dictionary, loss)
    centre = torch.eye(4, dtype=torch.float64) - 1 / 4
    G = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([G], max_iter=500, tolerance_grad=1e-12)

    def closure():
        optimizer.zero_grad()
        error = centre @ G @ dictionary.tokens - loss.target
        value = (error * (loss.covariance @ error)).sum() / (2 * 12)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(closure().detach(), expected, rtol=1e-6, atol=1e-9)
    model = SignedAttention(dictionary, 1, generator=torch.Generator(), r=4)
    with torch.no_grad():
        model.Q[:, 0] = 1e-5 * torch.linalg.pinv(dictionary.V.T) @ G
        model.w.fill_(4e5)
        torch.testing.assert_close(loss(model())[0], expected, rtol=1e-4, atol=0)


def test_when_centring_lowers_the_floor():
    """The three parts of the chapter's proposition."""

    def pair(dictionary):
        loss = PopulationLoss.of(dictionary)
        plain = one_signed_fits(loss)[1].min(dim=0).values.mean().item()
        return floors.centred_fits(loss)[1].mean().item(), plain

    everything = drawn(N=8, K=8)
    centred, plain = pair(everything)
    assert plain < 1e-20 < 1e-3 < centred
    some = drawn(N=5, K=20, d=20)
    unseen = some.features[:, 5:].square().sum().item() / some.m
    for tau in (unseen, 10 * unseen):
        centred, plain = pair(replace(some, tau=tau))
        assert centred >= some.m * tau / 40 * (1 - 1e-9) > plain
        assert plain <= some.features[:, 5:].square().sum().item() / 40
    low = [pair(replace(some, tau=tau)) for tau in (1e-5, 1e-6)]
    assert low[0][0] / low[1][0] == pytest.approx(10, rel=0.01)  # in proportion to the noise
    assert low[1][1] == pytest.approx(low[0][1], rel=0.01) and low[1][1] > 1e-3
    assert low[1][0] < low[1][1] / 10


@pytest.mark.parametrize("fault", ["sum", "sign"])
def test_columns_out_of_reach_are_refused(fault):
    dictionary = drawn()
    fits, _ = floors.centred_fits(PopulationLoss.of(dictionary))
    w = torch.full((8,), 1e-3 if fault == "sign" else 1e3, dtype=torch.float64)
    with pytest.raises(InputError):
        floors.signed_model(dictionary, fits + (fault == "sum"), 1.0, w)
