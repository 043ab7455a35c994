"""Lemma 4 and Figure 3 against Monte Carlo, scipy and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ridge_draws import dictionary, generator
from scipy.optimize import minimize, minimize_scalar

from iclbook.errors import InputError
from iclbook.ridge import template
from iclbook.ridge.population_loss import label_covariance, optimal_weights
from iclbook.ridge.prompt import sample_labels, sample_tasks
from iclbook.ridge.ridge_regression import ridge_coefficients
from iclbook.ridge.unseen import IN_DOMAIN, expected_distance, expected_error

sizes = st.integers(1, 8)


def test_best_template_minimises_the_noise_averaged_criterion():
    D, count = dictionary(), 200_000
    y = torch.randn(1, D.N, generator=generator(1), dtype=torch.float64)
    noise = D.tau**0.5 * torch.randn(
        count, D.m, D.N, generator=generator(2), dtype=torch.float64
    )  # the definition, sampled
    second = ((D.Z + noise) @ (D.Z + noise).transpose(1, 2)).mean(dim=0).numpy()
    first = ((D.Z + noise) @ y[0]).mean(dim=0).numpy()

    def criterion(v):
        return (v @ second @ v - 2 * v @ first) / (2 * D.N)

    sampled = minimize(criterion, np.zeros(D.m), tol=1e-12).x
    np.testing.assert_allclose(
        template.best_template(D.Z, y, D.tau)[0], sampled, rtol=0.02, atol=0.01
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), sizes, sizes, st.floats(0.01, 2.0))
def test_best_template_is_least_squares_on_sigma_points_whose_moments_are_the_noises(
    seed, N, m, tau
):
    Z = torch.randn(m, N, generator=generator(seed), dtype=torch.float64)
    y = torch.randn(1, N, generator=generator(seed + 1), dtype=torch.float64)
    points = template.sigma_points(Z, tau)
    moves = points.reshape(m, N, 2 * m) - Z[:, :, None]
    torch.testing.assert_close(moves.mean(dim=2), torch.zeros_like(Z), atol=1e-12, rtol=0)
    covariance = torch.einsum("inc,jnc->nij", moves, moves) / (2 * m)
    torch.testing.assert_close(
        covariance, (tau * torch.eye(m, dtype=Z.dtype)).expand(N, m, m), atol=1e-12, rtol=1e-12
    )
    fitted = np.linalg.lstsq(points.T.numpy(), y[0].repeat_interleave(2 * m).numpy())[0]
    np.testing.assert_allclose(
        template.best_template(Z, y, tau)[0], fitted, rtol=1e-9, atol=1e-11
    )


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 10_000),
    sizes,
    sizes,
    st.floats(0.01, 2.0),
    st.floats(0.01, 5.0),
    st.floats(0.01, 5.0),
)
def test_sums_over_singular_values_are_the_quadratic_forms_of_tables(
    seed, N, m, tau, first, second
):
    D = dictionary(N=N, m=m, tau=tau, seed=seed)
    one, two = (template.ridge_table(D, penalty) for penalty in (first, second))
    unseen = D.K - N
    gap = expected_distance(one[:, N:], two[:, N:], D, IN_DOMAIN)
    assert template.expected_gap(D, first, second) == pytest.approx(
        gap.item(), rel=1e-8, abs=1e-12
    )
    behaviour = template.ridge_behaviour(D, first)
    assert behaviour.error == pytest.approx(
        expected_error(one, D, IN_DOMAIN)[N:].sum().item() / unseen, rel=1e-8
    )
    covariance, eye = label_covariance(D), torch.eye(N, dtype=torch.float64)
    coefficients = ridge_coefficients(D.Z, eye, first).T  # (m, N)
    assert behaviour.norm == pytest.approx(
        (coefficients @ covariance @ coefficients.T).trace().item(), rel=1e-8
    )
    left = eye - one[:, :N].T
    assert behaviour.residual == pytest.approx(
        (left @ covariance @ left.T).trace().item() / N, rel=1e-8, abs=1e-14
    )


@pytest.mark.parametrize(("N", "m"), [(4, 3), (3, 5)])
def test_behaviour_is_the_mean_over_sampled_tasks(N, m):
    D, count = dictionary(N=N, m=m), 200_000
    tasks = sample_tasks(count, m, generator=generator(1))
    y = sample_labels(D, tasks, generator=generator(2))[:, :N]
    fitted = ridge_coefficients(D.Z, y, 0.7)
    samples = {
        "norm": fitted.square().sum(dim=1),
        "residual": (y - fitted @ D.Z).square().mean(dim=1),
        "error": ((fitted - tasks) @ D.features[:, N:]).square().mean(dim=1),
    }
    for name, expected in template.ridge_behaviour(D, 0.7)._asdict().items():
        assert abs(samples[name].mean() - expected) < 5 * samples[name].std() / count**0.5, name


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), sizes, sizes, st.floats(0.05, 2.0))
def test_the_penalty_with_the_least_expected_error_is_m_tau(seed, N, m, tau):
    D = dictionary(N=N, m=m, tau=tau, seed=seed)

    def log_error(x):
        return np.log(template.ridge_behaviour(D, np.exp(x)).error)

    found = minimize_scalar(
        log_error, bounds=(np.log(m * tau) - 3, np.log(m * tau) + 3), method="bounded"
    )
    assert log_error(np.log(m * tau)) <= found.fun + 1e-12
    norms, residuals = zip(*[template.ridge_behaviour(D, c)[:2] for c in (0.1, 0.5, 2.0)])
    assert norms[0] > norms[1] > norms[2] and residuals[0] < residuals[1] < residuals[2]


def test_the_limit_is_the_copying_ridge_table():
    D = dictionary()
    torch.testing.assert_close(
        template.copy_shown(template.ridge_table(D, D.m * D.tau)),
        optimal_weights(D),
        rtol=1e-10,
        atol=1e-12,
    )
    square = dictionary(N=3, m=3)
    best = template.copy_shown(template.ridge_table(square, square.N * square.tau))
    torch.testing.assert_close(best, optimal_weights(square), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: template.best_template(torch.ones(2, 3), torch.ones(1, 3), -0.1),
        lambda: template.best_template(torch.ones(2, 3), torch.ones(1, 2), 0.1),
        lambda: template.sigma_points(torch.ones(2, 3), float("nan")),
        lambda: template.sigma_points(torch.ones(3), 0.1),
        lambda: template.ridge_behaviour(dictionary(), 0.0),
        lambda: template.expected_gap(dictionary(), 1.0, 0.0),
    ],
)
def test_bad_input_is_refused_in_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_basis_on_a_circle_is_orthonormal_and_tokens_stand_where_their_angles_say():
    angles, D = template.circle_dictionary(24, 3, 8, 0.1, generator=generator(2))
    torch.testing.assert_close(
        D.features @ D.features.T / 24, torch.eye(7, dtype=torch.float64), atol=1e-12, rtol=0
    )
    np.testing.assert_allclose(np.angle(D.tokens[0] + 1j * D.tokens[1]) % (2 * np.pi), angles)
    assert len(angles.unique()) == 24 and (D.N, D.tau) == (8, 0.1)
    # An order of its own: the prompt shows no arc.
    assert not torch.equal(angles, angles.sort().values)
    with pytest.raises(InputError, match="waves up to 4 need K > 8 tokens, got K=8"):
        template.circle_dictionary(8, 4, 3, 0.1, generator=generator())


def test_the_price_of_what_lies_outside_is_the_error_it_adds_on_sampled_labels():
    angles, D = template.circle_dictionary(15, 2, 7, 0.05, generator=generator(3))
    table, count, wave = optimal_weights(D), 200_000, 5
    phases = 2 * torch.pi * torch.rand(count, 1, generator=generator(4), dtype=torch.float64)
    part = 2**0.5 * (wave * angles + phases).cos()  # (count, K)
    tasks = sample_tasks(count, D.m, generator=generator(5))
    labels = sample_labels(D, tasks, generator=generator(6)) + part
    truth = tasks @ D.features + part
    sampled = (labels[:, : D.N] @ table - truth).square().mean(dim=0)
    covariance = (wave * (angles[:, None] - angles)).cos()
    price = template.outside_price(table, covariance)
    torch.testing.assert_close(
        sampled, expected_error(table, D, IN_DOMAIN) + price, rtol=0.02, atol=0.01
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 12), st.floats(1e-3, 1.0))
def test_a_wave_outside_costs_more_than_its_size_by_the_formula(seed, top, N, tau):
    angles, D = template.circle_dictionary(17, top, N, tau, generator=generator(seed))
    A = optimal_weights(D)
    hat = D.Z.T @ torch.linalg.solve(
        D.Z @ D.Z.T + D.m * tau * torch.eye(D.m, dtype=torch.float64), D.Z
    )  # (N, N)
    for wave in range(top + 1, 17 - top):
        covariance = (wave * (angles[:, None] - angles)).cos()
        inner = covariance[:N, :N]
        price = template.outside_price(A, covariance)[N:].sum()
        fitted = (A[:, N:] * (inner @ A[:, N:])).sum()
        torch.testing.assert_close(price, 17 - N + 2 * (hat * inner).sum() + fitted)
        assert price >= 17 - N
