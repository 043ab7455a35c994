"""What chapters/back/errata.md says of the papers, derived once more: by counting, sampling or
brute force, and without a line of iclbook."""

import numpy as np
import pytest
from scipy.optimize import minimize

RNG = np.random.default_rng(20_241_126)


def best_table(Z, every, noise):
    """The best weights on noisy shown labels, from the normal equations: the covariance of the
    shown labels, and theirs with all labels. The noise of a shown label is in both."""
    N = Z.shape[1]
    shared = np.hstack([noise * np.eye(N), np.zeros((N, every.shape[1] - N))])
    return np.linalg.solve(Z.T @ Z + noise * np.eye(N), Z.T @ every + shared)


def sampled_labels(every, tau, draws):
    """Labels of tasks with blurred representations, straight from their definition."""
    m, K = every.shape
    task = RNG.choice([-1.0, 1.0], size=(draws, m))
    blur = np.sqrt(tau) * RNG.standard_normal((draws, m, K))
    return np.einsum("dm,dmk->dk", task, every + blur)


def test_every_token_carries_the_noise_of_its_label():
    m, N, K, tau = 3, 4, 9, 0.3
    every = RNG.standard_normal((m, K))
    A = best_table(every[:, :N], every, m * tau)
    y = sampled_labels(every, tau, 200_000)
    losses = ((y[:, :N] @ A - y) ** 2).sum(1) / (2 * K)
    mean, error = losses.mean(), losses.std() / len(losses) ** 0.5

    def constant(noisy):
        own = (every**2).sum(0) + m * tau * noisy
        R = (every[:, :N].T @ every) + np.hstack([m * tau * np.eye(N), np.zeros((N, K - N))])
        return (own - (R * A).sum(0)).sum() / (2 * K)

    shown = np.arange(K) < N
    gap = constant(np.ones(K)) - constant(shown)
    np.testing.assert_allclose(gap, m * tau * (K - N) / (2 * K))
    assert abs(constant(np.ones(K)) - mean) < 4 * error
    assert abs(constant(shown) - mean) > 20 * error


def test_the_limit_is_ridge_with_m_tau_and_lemma_4_with_n_tau():
    m, N, tau = 5, 3, 0.2
    Z, new = RNG.standard_normal((m, N)), RNG.standard_normal((m, 1))
    y = RNG.standard_normal(N)
    limit = y @ best_table(Z, np.hstack([Z, new]), m * tau)[:, N:]
    template = np.linalg.solve(Z @ Z.T + m * tau * np.eye(m), Z @ y)
    np.testing.assert_allclose(limit, template @ new)

    # Blur of two-point law: its average over all signs is exact, and holds y fixed.
    def averaged(template):
        signs = np.array(np.meshgrid(*[[-1, 1]] * m)).reshape(m, -1)
        errors = (y - template @ Z)[:, None] - np.sqrt(tau) * (template @ signs)
        return (errors**2).mean()

    found = minimize(averaged, np.zeros(m), tol=1e-12).x
    wanted = np.linalg.solve(Z @ Z.T + N * tau * np.eye(m), Z @ y)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(found - template).max() > 1e-3


@pytest.mark.parametrize("N", [3, 12])
def test_the_best_template_is_not_the_one_that_errs_least(N):
    m, tau = 6, 0.1
    Z, new = RNG.standard_normal((m, N)), RNG.standard_normal((m, 50))

    def error(penalty):
        """Mean over tasks, noise and tokens not shown, from second moments alone."""
        G = np.linalg.solve(Z @ Z.T + penalty * np.eye(m), Z)
        bias, spread = G @ Z.T - np.eye(m), m * tau * G @ G.T
        return np.einsum("mk,mn,nk->", new, bias @ bias.T + spread, new)

    assert error(m * tau) < error(N * tau)


def test_distinct_tokens_suffice_for_full_rank():
    d, N = 6, 5
    tokens = np.array([[1 if i >> b & 1 else -1 for b in range(d)] for i in range(1, N + 1)]).T
    values = [len(set(row)) for row in tokens]
    assert max(values) == 2 < N  # no coordinate takes N values: Assumption 3 as written fails
    assert len({tuple(column) for column in tokens.T}) == N
    Q = RNG.standard_normal((N, d, d))
    scores = np.einsum("di,hde,e->ih", tokens, Q, tokens[:, 0]) / d
    C = np.exp(scores) / np.exp(scores).sum(0)
    assert np.linalg.matrix_rank(C) == N
    scores[1] = scores[0]  # two equal tokens
    C = np.exp(scores) / np.exp(scores).sum(0)
    assert np.linalg.matrix_rank(C) == N - 1


def test_without_noise_one_head_can_reach_the_minimum():
    Z = np.array([[1.0, -1.0]])
    A = np.linalg.pinv(Z) @ Z
    assert (A > 0).any(0).all() and (A < 0).any(0).all()  # both signs in every column
    softmax = np.array([[0.75, 0.25], [0.25, 0.75]])  # a column a token
    one_head = softmax * np.array([2.0, 2.0])
    np.testing.assert_allclose(Z @ one_head, Z)  # every label, for every task


def test_two_heads_have_every_sign_and_one_has_not():
    column = RNG.standard_normal(6)
    plus, minus = np.maximum(column, 0), np.maximum(-column, 0)
    heads = [plus + 1e-3, minus + 1e-3]  # positive, so each is a multiple of a softmax
    np.testing.assert_allclose(heads[0] - heads[1], column)
    Z, every = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 7))
    A = best_table(Z, np.hstack([Z, every]), 0.4)
    assert ((A > 0).any(0) & (A < 0).any(0)).any()


def test_two_readings_of_fifteen_steps():
    N, rate = 15, 1.0
    values, features = RNG.standard_normal((4, N)), RNG.standard_normal((7, N))
    start, query = RNG.standard_normal((4, 7)), RNG.standard_normal(7)
    whole = (start + rate * values @ features.T) @ query
    single, small, errors = start.copy(), start.copy(), []
    for i in range(N):
        single += rate * np.outer(values[:, i], features[:, i])
        small += rate / N * values @ features.T
        errors.append(((small @ query - whole) ** 2).sum())
    np.testing.assert_allclose(single @ query, whole)
    first = ((start @ query - whole) ** 2).sum()
    expected = first * (1 - np.arange(1, N + 1) / N) ** 2
    np.testing.assert_allclose(errors, expected, atol=1e-20)


def test_the_decay_acts_once_or_in_every_step():
    N, alpha = 15, 0.5
    values, features = RNG.standard_normal((4, N)), RNG.standard_normal((7, N))
    start, query = RNG.standard_normal((4, 7)), RNG.standard_normal(7)
    once = (1 - alpha) * start + values @ features.T
    every, backwards = start.copy(), start.copy()
    for i in range(N):
        every = (1 - alpha) * every + np.outer(values[:, i], features[:, i])
        j = N - 1 - i
        backwards = (1 - alpha) * backwards + np.outer(values[:, j], features[:, j])
    assert np.abs((every - once) @ query).max() > 0.1
    assert np.abs((every - backwards) @ query).max() > 0.1  # then the order matters too
