"""Theorem 2 against scikit-learn, scipy and Monte Carlo."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ridge_draws import dictionary, generator
from scipy.stats import chi2
from sklearn.linear_model import Ridge

from iclbook.errors import InputError
from iclbook.ridge import ridge_regression as rr
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, label_covariance, optimal_weights
from iclbook.ridge.prompt import sample_labels, sample_tasks
from iclbook.ridge.training import make_optimizer, train

sizes = st.integers(1, 8)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), sizes, sizes, st.floats(0.01, 2.0))
def test_the_limit_copies_shown_labels_and_is_scikit_learns_ridge_elsewhere(seed, N, m, tau):
    D = dictionary(N=N, m=m, tau=tau, seed=seed)
    y = torch.randn(5, N, generator=generator(seed), dtype=torch.float64)
    predicted = y @ optimal_weights(D)
    ridge = Ridge(alpha=m * tau, fit_intercept=False, solver="svd").fit(
        D.Z.T.numpy(), y.T.numpy()
    )
    torch.testing.assert_close(predicted[:, :N], y, rtol=1e-10, atol=1e-10)
    expected = torch.from_numpy(ridge.predict(D.features.T.numpy())).T
    torch.testing.assert_close(predicted[:, N:], expected[:, N:], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(
        rr.ridge_predictions(D.Z, D.features, y, m * tau), expected, rtol=1e-9, atol=1e-10
    )


def test_without_a_penalty_the_least_norm_solution_is_returned():
    for N, m in ((3, 5), (6, 4)):
        D = dictionary(N=N, m=m)
        y = torch.randn(1, N, generator=generator(1), dtype=torch.float64)
        expected = np.linalg.lstsq(D.Z.T.numpy(), y[0].numpy())[0]
        np.testing.assert_allclose(rr.ridge_coefficients(D.Z, y, 0.0)[0], expected, rtol=1e-10)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), sizes, sizes, st.floats(0.01, 2.0))
def test_label_energy_is_a_solve_with_the_covariance_and_bounds_the_error(seed, N, m, tau):
    D = dictionary(N=N, m=m, tau=tau, seed=seed)
    y = torch.randn(3, N, generator=generator(seed), dtype=torch.float64)
    expected = [
        v @ scipy.linalg.solve(label_covariance(D).numpy(), v, assume_a="pos")
        for v in y.numpy()
    ]
    energy = rr.label_energy(D, y)
    np.testing.assert_allclose(energy, expected, rtol=1e-9)
    loss = PopulationLoss.of(D)
    table = loss.target + torch.randn(
        loss.target.shape, generator=generator(seed + 1), dtype=torch.float64
    )
    error = (y @ (table - loss.target)).square().sum(dim=1) / (2 * D.K)
    assert (error <= loss(table)[0] * energy * (1 + 1e-10)).all()


def test_the_error_bound_is_attained_and_its_mean_is_N_times_too_large():
    D = dictionary()
    loss = PopulationLoss.of(D)
    zbar = torch.from_numpy(scipy.linalg.sqrtm(label_covariance(D).numpy()).real)
    u, v = (torch.randn(n, 1, generator=generator(5), dtype=torch.float64) for n in (D.N, D.K))
    table, y = loss.target + u @ v.T, (zbar @ zbar @ u).T
    error = (y @ (table - loss.target)).square().sum() / (2 * D.K)
    torch.testing.assert_close(
        error, loss(table)[0] * rr.label_energy(D, y)[0], rtol=1e-10, atol=0
    )

    labels = sample_labels(
        D, sample_tasks(200_000, D.m, generator=generator(1)), generator=generator(2)
    )[:, : D.N]
    energy = rr.label_energy(D, labels)
    assert abs(energy.mean() - D.N) < 5 * energy.std() / len(energy) ** 0.5


@given(st.integers(1, 200), st.floats(1e-6, 0.999))
def test_chi_square_bound_lies_above_the_exact_quantile(count, delta):
    bound = rr.chi_square_bound(torch.ones(count, dtype=torch.float64), delta)
    assert bound >= chi2.isf(delta, count)
    assert (
        bound
        <= count + 2 * (count * math.log(1 / delta)) ** 0.5 + 2 * math.log(1 / delta) + 1e-9
    )
    assert rr.chi_square_bound(
        3 * torch.ones(count, dtype=torch.float64), delta
    ) == pytest.approx(3 * bound)


def test_chi_square_bound_holds_for_unequal_weights_and_is_not_idle():
    weights = torch.tensor([5.0, 1.0, 0.2, 0.0], dtype=torch.float64)
    draws = (
        weights * torch.randn(400_000, 4, generator=generator(), dtype=torch.float64).square()
    ).sum(dim=1)
    for delta in (0.3, 0.1, 0.01):
        bound = rr.chi_square_bound(weights, delta)
        assert (draws > bound).double().mean() < delta
        assert bound < 5 * draws.quantile(1 - delta)


@pytest.mark.parametrize(
    ("N", "m", "tau"), [(4, 3, 0.3), (3, 6, 0.01), (8, 2, 1.0), (2, 5, 0.0)]
)
def test_label_energy_bound_holds_for_the_worst_task_of_its_norm(N, m, tau):
    D, B, delta, count = dictionary(N=N, m=m, tau=tau), 1.7, 0.05, 100_000
    inverse = torch.linalg.inv(label_covariance(D))
    # The direction in which Zbar^{-1} Z^T stretches most.
    direction = torch.linalg.eigh(D.Z @ inverse @ D.Z.T).eigenvectors[:, -1]
    for task in (direction, sample_tasks(1, m, generator=generator(3))[0]):
        tasks = (B * task / task.norm()).expand(count, m)
        y = sample_labels(replace(D, tokens=D.V, features=D.Z), tasks, generator=generator(4))
        share = (rr.label_energy(D, y) > rr.label_energy_bound(D, B, delta)).double().mean()
        assert share <= delta
    assert rr.label_energy_bound(D, B, delta) < 20 * rr.label_energy(D, y).max()
    assert rr.label_energy_bound(D, 2 * B, delta) == pytest.approx(
        4 * rr.label_energy_bound(D, B, delta)
    )


@pytest.mark.parametrize(("B", "delta", "tau"), [(1.0, 0.1, 0.3), (3.0, 0.01, 2.0)])
def test_label_energy_bound_by_hand_for_one_token_and_one_basis_function(B, delta, tau):
    D = dictionary(N=1, m=1, tau=tau)
    z, t = D.Z.item(), math.log(1 / delta)
    variance, chi_square = z**2 + tau, 1 + 2 * t**0.5 + 2 * t
    expected = B**2 * (abs(z) / variance**0.5 + (tau / variance * chi_square) ** 0.5) ** 2
    assert rr.label_energy_bound(D, B, delta) == pytest.approx(expected)


@given(st.floats(1e-3, 1e3), st.floats(1e-2, 1e2), st.floats(1e-12, 1.0), st.floats(1e-4, 0.9))
def test_iteration_count_is_the_first_that_suffices(excess, energy, precision, contraction):
    T = rr.iteration_count(excess, energy, precision, contraction)

    def left(steps):
        return excess * (1 - contraction) ** steps * energy

    assert left(T) <= precision * (1 + 1e-6)
    assert T == 0 or left(T - 1) >= precision * (1 - 1e-6)


@pytest.mark.parametrize("name", ["adam", "gd"])
def test_rates_halve_in_their_half_life_and_stay_without_one(name):
    D = dictionary()
    for half_life, expected in ((10, 0.25), (math.inf, 1.0)):
        model, loss = MultiHeadAttention(D, 6, generator=generator(1)), PopulationLoss.of(D)
        optimizer = make_optimizer(model, name, 0.01, gamma=3.0, half_life=half_life)
        before = [group["lr"] for group in optimizer.param_groups]
        list(train(model, loss, optimizer, 20, at=[]))
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [expected * lr for lr in before]
        )
    with pytest.raises(InputError):
        make_optimizer(model, name, 0.01, half_life=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rr.ridge_coefficients(torch.ones(2, 3), torch.ones(1, 4), 1.0),
        lambda: rr.ridge_coefficients(torch.ones(2, 3), torch.ones(1, 3), -1.0),
        lambda: rr.label_energy(dictionary(tau=0.0), torch.ones(1, 4)),
        lambda: rr.label_energy(dictionary(), torch.ones(4)),
        lambda: rr.label_energy_bound(dictionary(), -1.0, 0.1),
        lambda: rr.chi_square_bound(torch.ones(3), 1.0),
        lambda: rr.chi_square_bound(-torch.ones(3), 0.1),
        lambda: rr.iteration_count(1.0, 1.0, 0.0, 0.1),
        lambda: rr.iteration_count(1.0, 1.0, 1.0, 1.0),
    ],
)
def test_bad_input_is_refused_in_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
