"""Expected errors against Monte Carlo; training against autograd's own optimiser; Figure 2a's
claims against false data."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ridge_draws import dictionary, generator

from iclbook.errors import InputError
from iclbook.ridge import unseen
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, optimal_weights, sampled_loss
from iclbook.ridge.prompt import sample_labels, sample_tasks
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import log_steps

DOMAINS = (unseen.IN_DOMAIN, unseen.OUT_OF_DOMAIN, unseen.Domain(mean=-0.7, std=0.3))


@pytest.mark.parametrize("domain", DOMAINS)
def test_expectations_are_the_means_of_sampled_tasks(domain):
    D, count = dictionary(), 300_000
    tasks = sample_tasks(count, D.m, generator=generator(1), mean=domain.mean, std=domain.std)
    labels, truth = sample_labels(D, tasks, generator=generator(2)), tasks @ D.features
    A = optimal_weights(D)
    table = A + 0.3 * torch.randn(A.shape, generator=generator(3), dtype=A.dtype)
    distance = unseen.sampled_distance(table, A, labels)
    assert (
        abs(distance.mean() - unseen.expected_distance(table, A, D, domain))
        < 5 * distance.std() / count**0.5
    )
    error = unseen.sampled_error(table, labels, truth)
    expected = unseen.expected_error(table, D, domain)[D.N :].mean()
    assert abs(error.mean() - expected) < 5 * error.std() / count**0.5


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 2.0))
def test_in_domain_distance_is_twice_the_excess_loss_and_out_of_domain_at_least_four_times_that(
    seed, N, m, tau
):
    D = dictionary(N=N, m=m, tau=tau, seed=seed)
    loss = PopulationLoss.of(D)
    table = torch.randn(N, D.K, generator=generator(seed), dtype=torch.float64)
    inside = unseen.expected_distance(table, loss.target, D, unseen.IN_DOMAIN)
    outside = unseen.expected_distance(table, loss.target, D, unseen.OUT_OF_DOMAIN)
    torch.testing.assert_close(inside, 2 * loss(table)[0], rtol=1e-10, atol=1e-12)
    assert outside >= 4 * inside * (1 - 1e-12)


@pytest.mark.parametrize("domain", DOMAINS)
def test_best_affine_is_the_regression_with_an_intercept(domain):
    D, count = dictionary(), 400_000
    table, intercept = unseen.best_affine(D, domain)
    tasks = sample_tasks(count, D.m, generator=generator(1), mean=domain.mean, std=domain.std)
    y = sample_labels(D, tasks, generator=generator(2))[:, : D.N]
    truth, one = tasks @ D.features, torch.ones(count, 1, dtype=y.dtype)
    fitted = torch.linalg.lstsq(torch.cat([y, one], dim=1), truth).solution
    torch.testing.assert_close(table, fitted[:-1], atol=0.02, rtol=0.02)
    torch.testing.assert_close(intercept, fitted[-1], atol=0.02, rtol=0.02)

    # Its error: against sampled tasks, and no better with another table or intercept.
    error = unseen.expected_error(table, D, domain, intercept)  # (K,)
    off = (y @ table + intercept - truth).square()  # (count, K)
    assert ((off.mean(dim=0) - error).abs() < 5 * off.std(dim=0) / count**0.5).all()
    for other in (1.05 * table, table + 0.1):
        assert (unseen.expected_error(other, D, domain, intercept) > error).all()
    linear = unseen.expected_error(unseen.best_linear(D, domain), D, domain)
    assert (linear >= error * (1 - 1e-12)).all()
    assert (unseen.expected_error(table, D, domain, intercept + 0.1) > error).all()


def test_affine_in_domain_is_linear_and_elsewhere_ridge_around_the_mean():
    D = dictionary()
    table, intercept = unseen.best_affine(D, unseen.IN_DOMAIN)
    torch.testing.assert_close(table, unseen.best_linear(D, unseen.IN_DOMAIN))
    assert intercept.abs().max() == 0
    # With mean 1 and variance 4 the noise is 5 tau m over a variance of 4.
    table, intercept = unseen.best_affine(D, unseen.OUT_OF_DOMAIN)
    penalty = 1.25 * D.m * D.tau * torch.eye(D.m, dtype=table.dtype)
    ridge = torch.linalg.solve(D.Z @ D.Z.T + penalty, D.Z).T @ D.features  # (N, K)
    torch.testing.assert_close(table, ridge)
    torch.testing.assert_close(intercept, (D.features - D.Z @ table).sum(dim=0))


@pytest.mark.parametrize("domain", DOMAINS)
def test_best_linear_is_the_regression_of_the_truth_on_the_labels(domain):
    D, count = dictionary(), 400_000
    best = unseen.best_linear(D, domain)
    tasks = sample_tasks(count, D.m, generator=generator(1), mean=domain.mean, std=domain.std)
    labels = sample_labels(D, tasks, generator=generator(2))
    fitted = torch.linalg.lstsq(labels[:, : D.N], tasks @ D.features).solution
    torch.testing.assert_close(best, fitted, atol=0.02, rtol=0.02)
    for other in (optimal_weights(D), 1.05 * best):
        assert (
            unseen.expected_error(best, D, domain)
            <= unseen.expected_error(other, D, domain) + 1e-12
        ).all()


@pytest.mark.parametrize("name", ["adam", "gd"])
def test_training_takes_autograds_steps(name):
    D = dictionary()
    labels = sample_labels(
        D, sample_tasks(20, D.m, generator=generator(4)), generator=generator(5)
    )
    ours, theirs = (MultiHeadAttention(D, 3, generator=generator(6)) for _ in range(2))
    own = make_optimizer(ours, name, 0.05, gamma=2.0)
    seen = dict(train(ours, lambda t: sampled_loss(t, labels), own, 30, at=[0, 30]))
    rates = [
        {"params": [theirs.Q], "lr": 0.05},
        {"params": [theirs.w], "lr": 0.05 * (4.0 if name == "gd" else 1.0)},
    ]
    optimizer = torch.optim.Adam(rates) if name == "adam" else torch.optim.SGD(rates)
    for _ in range(30):
        optimizer.zero_grad()
        (0.5 * (theirs.predict(labels[:, : D.N]) - labels).square().mean()).backward()
        optimizer.step()
    torch.testing.assert_close(ours.Q, theirs.Q, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.w, theirs.w, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(seen[30], theirs().detach())
    assert seen[0].abs().max() == 0


def test_float32_training_follows_float64():
    D, curves = dictionary(), {}
    for dtype in (torch.float32, torch.float64):
        model, loss = (
            MultiHeadAttention(D.to(dtype), 8, generator=generator()),
            PopulationLoss.of(D, dtype),
        )
        optimizer = make_optimizer(model, "adam", 0.01)
        curve = [
            loss(t)[0].item()
            for _, t in train(model, loss, optimizer, 200, at=range(0, 201, 20))
        ]
        curves[dtype] = torch.tensor(curve)
    assert len(curve) == 11 and curve[-1] < 0.9 * curve[0]
    torch.testing.assert_close(
        curves[torch.float32], curves[torch.float64], rtol=1e-3, atol=1e-5
    )


def test_divergence_and_bad_rates_are_refused():
    D = dictionary()
    model = MultiHeadAttention(D, 2, generator=generator())
    with pytest.raises(InputError, match="lower the rate"):
        list(train(model, PopulationLoss.of(D), make_optimizer(model, "gd", 1e6), 1000, at=[]))
    for arguments in [("gd", 0.0), ("gd", -1.0), ("sgd", 0.1)]:
        with pytest.raises(InputError):
            make_optimizer(model, *arguments)


@given(st.integers(0, 100_000))
def test_recorded_steps_of_a_short_run_are_a_prefix_of_a_longer_ones(steps):
    short, long = log_steps(steps), log_steps(200_000)
    assert short[0] == 0 and short[-1] == steps and short == sorted(set(short))
    assert set(short) - set(long) <= {steps}
