"""Theorem 1: derivatives against autograd, constants against brute force, claims against false
data."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ridge_draws import generator
from scipy.linalg import sqrtm

from iclbook.errors import InputError
from iclbook.ridge import convergence as theory
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, covariance_root
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer, train


def start(N=3, K=5, d=4, m=3, H=6, tau=0.4, beta=1.0, seed=0):
    dictionary = sample_dictionary(N, K, d, m, tau, generator=generator(seed))
    return PopulationLoss.of(dictionary), MultiHeadAttention(
        dictionary, H, generator=generator(seed + 1), beta=beta
    )


def hessian_in_Q_and_alpha(loss, model, gamma):
    def value(Q, alpha):
        return loss(torch.func.functional_call(model, {"Q": Q, "w": gamma * alpha}))[0]

    Q, alpha = model.Q.detach(), model.w.detach() / gamma
    blocks = torch.autograd.functional.hessian(value, (Q, alpha))
    sizes = (Q.numel(), alpha.numel())
    return torch.cat(
        [
            torch.cat([blocks[i][j].reshape(sizes[i], sizes[j]) for j in (0, 1)], dim=1)
            for i in (0, 1)
        ]
    )


def test_covariance_root_is_scipys():
    loss, _ = start()
    expected = sqrtm(loss.covariance.numpy())
    np.testing.assert_allclose(
        covariance_root(loss.covariance), expected, rtol=1e-10, atol=1e-12
    )


def test_weighted_attention_and_conditioning_by_hand():
    loss, model = start()
    zeta, b = theory.conditioning(theory.weighted_attention(model, loss))
    root, extremes = sqrtm(loss.covariance.numpy()), []
    for k in range(5):
        columns = [
            (model.V.T @ model.Q[:, h] @ model.tokens[:, k]).softmax(0).detach()
            for h in range(6)
        ]
        B = root @ torch.stack(columns, dim=1).numpy()
        torch.testing.assert_close(
            theory.weighted_attention(model, loss)[k], torch.tensor(B), rtol=1e-10, atol=1e-12
        )
        extremes.append(np.linalg.eigvalsh(B @ B.T)[[0, -1]])
    assert zeta.item() == pytest.approx(min(e[0] for e in extremes), rel=1e-9)
    assert b.item() ** 2 == pytest.approx(max(e[1] for e in extremes), rel=1e-9)


def test_too_few_heads_have_zeta_zero_and_no_rule():
    loss, model = start(H=2)
    assert theory.conditioning(theory.weighted_attention(model, loss))[0] == 0
    with pytest.raises(InputError, match="H >= N"):
        theory.TheoryRule.at(model, loss)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_softmax_derivatives_are_those_of_autograd(seed, n):
    x, u = torch.randn(2, n, generator=generator(seed), dtype=torch.float64)
    first, second = theory.softmax_derivatives(x.softmax(0), u)

    def path(t):
        return (x + t * u).softmax(0)

    slope = torch.func.jacfwd(path)
    zero = torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(first, slope(zero), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(second, torch.func.jacfwd(slope)(zero), rtol=1e-10, atol=1e-13)


def test_softmax_derivatives_refuse_another_shape():
    with pytest.raises(InputError, match="u must have shape"):
        theory.softmax_derivatives(torch.ones(3) / 3, torch.ones(4))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(-1, 2), st.floats(-2, 1), st.floats(-1, 1))
def test_curvature_bound_is_above_the_hessian(seed, gamma, size, beta):
    loss, model = start(seed=seed, beta=10**beta)
    model.w.data = 10**size * torch.randn(
        model.w.shape, generator=generator(seed), dtype=torch.float64
    )
    gamma = 10**gamma
    _, b = theory.conditioning(theory.weighted_attention(model, loss))
    bound = theory.curvature_bound(
        gamma=gamma,
        b=b.item(),
        sigma=torch.linalg.eigvalsh(loss.covariance)[-1].sqrt().item(),
        radius=1.0,
        w_norm=model.w.norm().item(),
        error_norm=math.sqrt(2 * 5 * loss(model())[0].item()),
        K=5,
    )
    largest = torch.linalg.eigvalsh(hessian_in_Q_and_alpha(loss, model, gamma))[-1]
    assert largest <= bound * (1 + 1e-9)


def test_curvature_bound_by_hand():
    bound = theory.curvature_bound(
        gamma=2.0, b=3.0, sigma=5.0, radius=2.0, w_norm=4.0, error_norm=6.0, K=7
    )
    slope, bend = 5 * 4 * 4 / 2**0.5, 5 * (2 * 2 * 4 / 2**0.5 / 2 + 2**0.5 * 16 * 4)
    assert bound == pytest.approx((36 + slope**2 + 6 * bend) / 7, rel=1e-12)


def test_curvature_bound_is_attained_where_only_w_curves():
    loss, model = start()
    model.w.data.zero_()
    values = torch.linalg.eigvalsh(hessian_in_Q_and_alpha(loss, model, 1e4))
    _, b = theory.conditioning(theory.weighted_attention(model, loss))
    bound = theory.curvature_bound(
        gamma=1e4, b=b.item(), sigma=1, radius=1, w_norm=0, error_norm=0, K=5
    )
    assert values[-1].item() == pytest.approx(bound, rel=1e-6)


def test_rule_against_its_formulas():
    loss, model = start()
    rule = theory.TheoryRule.at(model, loss)
    C0, sigma = rule.zeta, torch.linalg.matrix_norm(loss.covariance, 2).sqrt().item()
    assert rule.sigma == pytest.approx(sigma) and rule.radius == pytest.approx(1)
    assert rule.excess == pytest.approx(loss(0 * loss.target)[0].item()) and rule.K == 5
    # At the smallest gamma the ball's radius D = W / gamma moves B by just (1 - 1/sqrt 2)
    # sqrt(zeta_0).
    D = rule.w_bound / rule.gamma
    assert sigma * D / 2**0.5 == pytest.approx((1 - 0.5**0.5) * C0**0.5, rel=1e-12)
    # D = sqrt(8 (L - L*) / mu).
    mu = rule.gamma**2 * C0 / (2 * 5)
    assert pytest.approx(math.sqrt(8 * rule.excess / mu), rel=1e-12) == D
    assert rule.decrease == pytest.approx(rule.rate_Q * mu, rel=1e-12)
    # The chapter's corollary: M mu^-1 in terms of kappa alone, from above.
    kappa = rule.b**2 / rule.zeta
    ceiling = 2 * ((kappa**0.5 + 0.293) ** 2 + 0.19 + 0.086 * rule.zeta**0.5 / sigma)
    assert kappa < 1 / rule.decrease < ceiling * (1 + 1e-3)


def test_rule_does_not_depend_on_the_scale_of_the_labels():
    loss, model = start()
    rule = theory.TheoryRule.at(model, loss)
    scaled = theory.TheoryRule.at(model, PopulationLoss(loss.target, 9 * loss.covariance))
    assert scaled.gamma == pytest.approx(rule.gamma, rel=1e-9)
    assert scaled.decrease == pytest.approx(rule.decrease, rel=1e-9)
    assert scaled.rate_Q == pytest.approx(rule.rate_Q / 9, rel=1e-9)


def test_rule_refuses_zeta_zero_among_many_models():
    with pytest.raises(InputError, match="zeta_0 = 0"):
        theory.TheoryRule(
            torch.tensor([1.0, 0.0]),
            torch.ones(2),
            torch.ones(2),
            torch.ones(2),
            torch.ones(2),
            3,
        )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_theory_never_fails_along_a_path(seed):
    loss, model = start(seed=seed, H=8)
    rule = theory.TheoryRule.at(model, loss)
    Q, excess, inside = model.Q.detach().clone(), [], []
    optimizer = make_optimizer(model, "gd", rule.rate_Q, gamma=rule.gamma)
    for _, table in train(model, loss, optimizer, 100, at=range(101)):
        excess.append(loss(table)[0].item())
        zeta, _ = theory.conditioning(theory.weighted_attention(model, loss))
        drift = (model.Q.detach() - Q).norm().item()
        small = drift <= rule.w_bound / rule.gamma and model.w.norm() <= rule.w_bound
        inside.append(zeta.item() >= rule.zeta / 2 and small)
    assert len(inside) == 101
    assert all(inside)
    ratios = np.array(excess[1:]) / np.array(excess[:-1])
    assert (ratios <= 1 - rule.decrease + 1e-12).all()


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_frozen_curve_is_gradient_descent_on_w(rate):
    loss, model = start()
    B = theory.weighted_attention(model, loss)
    steps = torch.tensor([0, 1, 2, 5, 40])
    error = -covariance_root(loss.covariance) @ loss.target
    curve = theory.frozen_curve(B, error, rate, steps)
    optimizer = make_optimizer(model, "gd", rate, freeze_Q=True)
    run = train(model, loss, optimizer, 40, at=steps.tolist())
    found = [loss(table)[0] for _, table in run]
    torch.testing.assert_close(curve, torch.stack(found), rtol=1e-10, atol=1e-14)
