"""Lemma 5 and its closed forms against Monte Carlo, scikit-learn, autograd and scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ridge_draws import dictionary, generator
from sklearn.linear_model import Ridge

from iclbook.errors import InputError
from iclbook.ridge.population_loss import (
    BatchLoss,
    PopulationLoss,
    cross_covariance,
    label_covariance,
    minimal_loss,
    optimal_weights,
    sampled_loss,
)
from iclbook.ridge.prompt import sample_labels, sample_tasks


def noisy_labels(D, count, seed=1):
    tasks = sample_tasks(count, D.m, generator=generator(seed))
    return sample_labels(D, tasks, generator=generator(seed + 1))


sizes = st.tuples(st.integers(1, 7), st.integers(0, 6), st.integers(1, 6), st.integers(0, 1000))


@settings(deadline=None, max_examples=40)
@given(sizes, st.floats(1e-3, 2.0))
def test_the_best_table_predicts_unseen_tokens_by_sklearns_ridge(size, tau):
    N, extra, m, seed = size
    D = dictionary(N, N + extra + 1, 4, m, tau, seed)
    y = torch.randn(N, generator=generator(seed + 1), dtype=torch.float64)
    ridge = Ridge(alpha=m * tau, fit_intercept=False, solver="cholesky").fit(
        D.Z.T.numpy(), y.numpy()
    )
    predicted = (y @ optimal_weights(D))[N:].numpy()
    np.testing.assert_allclose(
        predicted, ridge.predict(D.features[:, N:].T.numpy()), rtol=1e-7, atol=1e-9
    )


def test_the_best_table_copies_the_labels_that_are_shown():
    D = dictionary()
    torch.testing.assert_close(
        optimal_weights(D)[:, : D.N], torch.eye(D.N, dtype=torch.float64)
    )


def test_without_noise_the_best_table_reproduces_shown_labels_though_no_identity():
    D = dictionary(N=6, m=3, tau=0.0)
    A = optimal_weights(D)
    y = sample_tasks(1, D.m, generator=generator(3)) @ D.Z  # (1, N)
    assert not torch.allclose(A[:, : D.N], torch.eye(D.N, dtype=torch.float64))
    torch.testing.assert_close(y @ A[:, : D.N], y)


def test_the_covariances_are_those_of_sampled_labels():
    D, count = dictionary(), 400_000
    labels = noisy_labels(D, count)
    products = labels[:, : D.N, None] * labels[:, None, :]  # (count, N, K)
    mean, error = products.mean(0), products.std(0) / count**0.5
    assert ((mean - cross_covariance(D)).abs() < 5 * error).all()
    assert ((mean[:, : D.N] - label_covariance(D)).abs() < 5 * error[:, : D.N]).all()


@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_lemma5_is_the_monte_carlo_mean_for_any_table(tau):
    D, count = dictionary(tau=tau, N=3), 400_000
    labels, loss = noisy_labels(D, count), PopulationLoss.of(D)
    for table in (loss.target, loss.target + 0.5, torch.zeros_like(loss.target)):
        each = (labels[:, : D.N] @ table - labels).square().sum(1) / (2 * D.K)
        closed = minimal_loss(D) + loss(table)[0]
        assert abs(each.mean() - closed) < 5 * each.std() / count**0.5 + 1e-12


@settings(deadline=None, max_examples=30)
@given(sizes, st.floats(0.0, 2.0))
def test_gradients_are_autograds(size, tau):
    N, extra, m, seed = size
    D = dictionary(N, N + extra, 4, m, tau, seed)
    table = torch.randn(
        N, D.K, generator=generator(seed), dtype=torch.float64, requires_grad=True
    )
    labels, loss = noisy_labels(D, 7), PopulationLoss.of(D)
    for function in (loss, lambda t: sampled_loss(t, labels)):
        value, G = function(table)
        (expected,) = torch.autograd.grad(value, table)
        torch.testing.assert_close(G, expected, rtol=1e-10, atol=1e-12)


def test_the_sampled_losss_minimum_on_a_large_pool_is_near_the_best_table():
    D = dictionary()
    labels = noisy_labels(D, 200_000)
    fitted = torch.linalg.lstsq(labels[:, : D.N], labels).solution
    assert PopulationLoss.of(D)(fitted)[0] < 1e-3 * minimal_loss(D)


def test_batches_cover_the_pool_once_an_epoch():
    labels = torch.arange(12.0).reshape(6, 2).double()
    loss, table = (
        BatchLoss(labels, 2, generator=generator()),
        torch.zeros(1, 2, dtype=torch.float64),
    )
    values = torch.stack([loss(table)[0] for _ in range(3)])
    torch.testing.assert_close(values.mean(), sampled_loss(table, labels)[0])


def test_bad_batches_are_refused():
    with pytest.raises(InputError, match="exceeds the 3 tasks"):
        BatchLoss(torch.ones(3, 2), 4, generator=generator())
    with pytest.raises(InputError, match="NaN"):
        BatchLoss(torch.full((3, 2), torch.nan), 2, generator=generator())
