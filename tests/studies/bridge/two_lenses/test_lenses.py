"""Both lenses against other routes: PyTorch's gradients, descent written out, scikit-learn's
ridge regression, Monte Carlo, and numpy's least squares."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from iclbook.errors import InputError
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import optimal_weights
from iclbook.ridge.prompt import sample_dictionary, sample_labels, sample_tasks
from studies.bridge.two_lenses.lenses import (
    RELATIONS,
    ROUTES,
    Spectrum,
    best_flow,
    best_polynomial,
    best_steps,
    flow,
    related_dictionary,
    ridge,
    steps,
    two_heads,
)

SIZES = ((7, 20, 6, 4, 0.2), (5, 15, 4, 9, 0.1), (1, 6, 3, 2, 0.5))  # N, K, d, m, tau


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def case(size, seed=0):
    D = sample_dictionary(*size, generator=generator(seed))
    model = MultiHeadAttention(D, 5, generator=generator(seed + 1))
    with torch.no_grad():
        model.w.normal_(generator=generator(seed + 2))
    tasks = sample_tasks(6, D.m, generator=generator(seed + 3))
    return D, model, sample_labels(D, tasks, generator=generator(seed + 4))[:, : D.N]


@pytest.mark.parametrize("eta", [0.01, 3.0])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("route", ROUTES)
def test_both_routes_are_the_layer(route, size, eta):
    _, model, y = case(size)
    with torch.no_grad():
        wanted = model.predict(y)
    assert_close(ROUTES[route](model, y, eta=eta), wanted, rtol=1e-11, atol=1e-11)


def test_one_head_is_the_step_that_autograd_takes():
    """The proposition's step with its own loss, on explicit features of the shown keys."""
    D, model, y = case(SIZES[0])
    root = torch.linalg.cholesky((D.V.T @ D.V).exp())
    eta, k, total = 0.4, 11, torch.zeros(len(y)).double()
    for h in range(5):
        kernel = (D.V.T @ model.Q[:, h].detach() @ D.tokens[:, k]).exp()  # (N,)
        W = torch.zeros(len(y), D.N, dtype=torch.float64, requires_grad=True)
        (-(y.T * (root @ W.T)).sum() / (eta * kernel.sum())).backward()
        step = -eta * model.w[h, k].item() * W.grad
        total += step @ torch.linalg.solve(root, kernel)
    assert_close(ROUTES["head by head"](model, y)[:, k], total)


def by_descent(D, y, rates):
    """Predictions for tokens not shown after these gradient steps on the shown labels."""
    lam = torch.zeros(len(y), D.m, dtype=torch.float64)
    for rate in rates:
        lam = lam + rate * (y - lam @ D.Z) @ D.Z.T
    return lam @ D.features[:, D.N :]


@pytest.mark.parametrize("size", SIZES)
def test_filters_are_descent_flow_and_ridge(size):
    D, _, y = case(size)
    view = Spectrum.of(D)
    rate = 0.7 / view.values[0].item()
    assert_close(y @ view.table(steps(6, rate)), by_descent(D, y, [rate] * 6))

    def velocity(_, lam):
        return D.Z.numpy() @ (y[0].numpy() - lam @ D.Z.numpy())

    end = solve_ivp(velocity, (0, 0.3), np.zeros(D.m), rtol=1e-10, atol=1e-12).y[:, -1]
    wanted = torch.from_numpy(end @ D.features[:, D.N :].numpy())
    assert_close((y @ view.table(flow(0.3)))[0], wanted, rtol=1e-6, atol=1e-8)
    found = Ridge(alpha=0.8, fit_intercept=False).fit(D.Z.T.numpy(), y.T.numpy())
    wanted = torch.from_numpy(found.predict(D.features[:, D.N :].T.numpy())).T
    assert_close(y @ view.table(ridge(0.8)), wanted)


def test_the_filter_of_the_limit_is_ridge_and_its_gains_are_read_off():
    D, _, _ = case(SIZES[0])
    view, penalty = Spectrum.of(D), D.m * D.tau
    A = optimal_weights(D)[:, D.N :]
    assert_close(view.table(ridge(penalty)), A)
    assert_close(view.gains(A), view.values / (view.values + penalty))
    assert view.share(A) == pytest.approx(1)
    assert_close(view.values, torch.linalg.eigvalsh(D.Z.T @ D.Z).flip(0)[: len(view.values)])


def test_share_is_that_of_a_projection_and_of_chance():
    D, _, _ = case(SIZES[0])
    view, unseen = Spectrum.of(D), D.K - D.N
    gram, cross = D.Z.T @ D.Z, D.Z.T @ D.features[:, D.N :]
    powers = [torch.linalg.matrix_power(gram, p) @ cross for p in range(len(view.values))]
    basis = torch.stack([(p / p.norm()).flatten() for p in powers], dim=1).numpy()
    drawn = torch.randn(400, D.N, unseen, generator=generator(5), dtype=torch.float64)
    for table in drawn[:5]:
        flat = table.flatten().numpy()
        fit = basis @ np.linalg.lstsq(basis, flat, rcond=None)[0]
        assert view.share(table) == pytest.approx((fit @ fit) / (flat @ flat), rel=1e-6)
    shares = torch.tensor([view.share(table) for table in drawn])
    expected = len(view.values) / (D.N * unseen)
    assert abs(shares.mean() - expected) < 4 * shares.std() / 20


def test_distance_is_that_of_sampled_predictions():
    D, model, _ = case(SIZES[0])
    view = Spectrum.of(D)
    with torch.no_grad():
        a = model()[:, D.N :]
    b = view.table(ridge(0.3))
    tasks = sample_tasks(200_000, D.m, generator=generator(6))
    y = sample_labels(D, tasks, generator=generator(7))[:, : D.N]
    sampled = (y @ (a - b)).norm() / (y @ a).norm()
    assert view.distance(a, b) == pytest.approx(sampled.item(), rel=0.01)
    rules = [ridge(0.3), flow(0.1), steps(3, 0.01)]
    filters = torch.stack([rule(view.values) for rule in rules])
    found = view.distances(a, filters)
    assert_close(found, torch.tensor([view.distance(a, view.table(r)) for r in rules]).double())


def test_best_rules_cannot_be_beaten_and_are_reached():
    D, model, _ = case(SIZES[0])
    view = Spectrum.of(D)
    with torch.no_grad():
        a = optimal_weights(D)[:, D.N :] + 0.05 * model()[:, D.N :]
    top = view.values[0].item()
    for count in (1, 2, 4):
        tried = [
            view.distance(a, view.table(steps(count, r / top)))
            for r in np.linspace(0.01, 2, 2_000)
        ]
        best = best_steps(view, a, count)
        assert best <= min(tried) + 1e-12 and best == pytest.approx(min(tried), rel=1e-4)
        free = view.distance(a, best_polynomial(view, a, count))
        assert free <= best + 1e-12
        for seed in range(20):  # no other polynomial of this degree is nearer
            c = torch.randn(count, generator=generator(seed)).double() / top
            powers = (view.values / top) ** torch.arange(count)[:, None]  # (count, r)
            other = view.table(lambda _, q=c @ powers: q)
            assert view.distance(a, other) >= free
    times = np.geomspace(0.01, 1e4, 2_000) / top
    tried = [view.distance(a, view.table(flow(t))) for t in times]
    assert best_flow(view, a) <= min(tried) + 1e-12


def test_as_many_gradients_as_eigenvalues_are_ridge_and_fewer_are_not():
    D, _, _ = case(SIZES[0])
    view = Spectrum.of(D)
    A, r = optimal_weights(D)[:, D.N :], 4
    assert len(view.values) == r
    assert view.distance(A, best_polynomial(view, A, r)) < 1e-10
    assert view.distance(A, best_polynomial(view, A, r + 5)) < 1e-10
    assert view.distance(A, best_polynomial(view, A, r - 1)) > 1e-4


def test_relations_share_tokens_and_have_mean_square_one():
    drawn = {
        name: related_dictionary(name, 5, 4_000, 6, 0.1, generator=generator())
        for name in RELATIONS
    }
    tokens = drawn["independent"].tokens
    for name, D in drawn.items():
        assert_close(D.tokens, tokens)
        assert_close(tokens.norm(dim=0), torch.ones(4_000).double())
        assert D.features.square().mean().item() == pytest.approx(1, abs=0.1), name
    assert_close(drawn["linear"].features, 6**0.5 * tokens)
    with pytest.raises(InputError, match="relation"):
        related_dictionary("none", 5, 9, 3, 0.1, generator=generator())


def test_two_heads_tend_to_ridge_quadratically():
    D = related_dictionary("linear", 8, 30, 5, 0.1, generator=generator(3))
    A = optimal_weights(D)[:, D.N :]
    with torch.no_grad():
        errors = [(two_heads(D, size)()[:, D.N :] - A).norm().item() for size in (0.1, 0.01)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05) and errors[1] < 1e-3


def test_a_dictionary_with_every_token_shown_is_refused():
    with pytest.raises(InputError, match="N < K"):
        Spectrum.of(sample_dictionary(4, 4, 3, 2, 0.1, generator=generator()))
