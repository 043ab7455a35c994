"""Other prompts against the model itself, Monte Carlo, enumeration of all sets and a numerical
minimum."""

import numpy as np
import pytest
import torch
from ridge_draws import dictionary, generator
from scipy.optimize import minimize

from iclbook.errors import InputError
from iclbook.ridge import other_prompts as other
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, minimal_loss, optimal_weights
from iclbook.ridge.prompt import sample_labels, sample_tasks


def model_of(D, H=5, seed=3):
    """A model with random weights, nothing of it zero."""
    model = MultiHeadAttention(D, H, generator=generator(seed))
    with torch.no_grad():
        model.w.normal_(generator=generator(seed + 1))
    return model


def every_set(K, N):
    return torch.combinations(torch.arange(K), N)


def test_tables_are_those_of_the_model_shown_these_tokens():
    D = dictionary(N=3, K=7)
    model = model_of(D)
    sets = torch.tensor([[0, 1, 2], [6, 2, 4], [5, 5, 1]])
    with torch.no_grad():
        tables = other.tables_of(model, sets)
        for shown, table in zip(sets, tables):
            torch.testing.assert_close(table, model(D.tokens[:, shown]), rtol=1e-12, atol=0)


def test_losses_are_the_mean_squared_errors_on_sampled_labels():
    D = dictionary(N=3, K=7, tau=0.4)
    C, count = other.all_label_covariance(D), 400_000
    tasks = sample_tasks(count, D.m, generator=generator(1))
    labels = sample_labels(D, tasks, generator=generator(2))  # (count, K)
    torch.testing.assert_close(labels.T @ labels / count, C, rtol=0.03, atol=0.03)
    # In the second prompt a token stands twice.
    sets = torch.tensor([[6, 2, 4, 0], [5, 5, 1, 2]])
    with torch.no_grad():
        tables = other.tables_of(model_of(D), sets)
    for shown, table, loss in zip(sets, tables, other.losses_of(tables, sets, C)):
        sampled = (labels[:, shown] @ table - labels).square().mean() / 2
        assert loss.item() == pytest.approx(sampled.item(), rel=0.02)
    one = other.losses_of(tables[0], sets[:1], C)  # one table for all prompts
    torch.testing.assert_close(one, other.losses_of(tables[:1], sets[:1], C))


def test_the_best_table_of_the_own_prompt_is_the_papers():
    D = dictionary(N=4, K=9)
    C, own = other.all_label_covariance(D), torch.arange(4)[None]
    best = other.best_tables(own, C)
    torch.testing.assert_close(best[0], optimal_weights(D), rtol=1e-9, atol=1e-11)
    assert other.losses_of(best, own, C).item() == pytest.approx(minimal_loss(D).item())
    with torch.no_grad():
        table = other.tables_of(model_of(D), own)
    excess = PopulationLoss.of(D)(table[0])[0] + minimal_loss(D)
    assert other.losses_of(table, own, C).item() == pytest.approx(excess.item())


def test_sets_are_sets_and_all_equally_likely():
    sets = other.draw_sets(30_000, 2, 5, generator=generator())
    assert (sets[:, 0] < sets[:, 1]).all()
    counts = torch.bincount(5 * sets[:, 0] + sets[:, 1], minlength=25)
    assert (counts > 0).sum() == 10
    assert counts[counts > 0].min() > 2_700 and counts.max() < 3_300
    with pytest.raises(InputError, match="shows 1 to K=5 tokens, got N=6"):
        other.draw_sets(1, 6, 5, generator=generator())


@pytest.mark.parametrize("copying", [False, True])
@pytest.mark.parametrize("N", [1, 2, 4])
def test_additive_weights_are_the_best_over_all_sets(N, copying):
    D = dictionary(N=2, K=5, m=2)
    C, sets = other.all_label_covariance(D), every_set(5, N)

    def mean_loss(W):
        return other.losses_of(other.additive_tables(W, sets, copying=copying), sets, C).mean()

    def gradient(flat):
        W = torch.tensor(flat).view(5, 5).requires_grad_()
        loss = mean_loss(W)
        return loss.item(), torch.autograd.grad(loss, W)[0].flatten().numpy()

    # The minimum itself, found by descent from zero, knows no normal equations.
    found = minimize(gradient, np.zeros(25), jac=True, tol=1e-14, options={"maxiter": 5_000})
    W = other.additive_weights(C, N, copying=copying)
    least = other.additive_loss(C, N, copying=copying).item()
    assert mean_loss(W).item() == pytest.approx(least, rel=1e-10)
    assert least == pytest.approx(found.fun, rel=1e-7)
    if copying:
        assert (W.diag() == 1).all()
        found.x[::6] = 1.0  # the diagonal is used by no table that copies
    np.testing.assert_allclose(W, found.x.reshape(5, 5), atol=1e-4)


def test_additive_weights_lie_between_zero_and_the_best_tables():
    C, sets = other.all_label_covariance(dictionary(N=3, K=8)), every_set(8, 3)
    best = other.losses_of(other.best_tables(sets, C), sets, C).mean()
    losses = [other.additive_loss(C, 3, copying=copying) for copying in (True, False)]
    assert best < losses[0] < losses[1] < C.trace() / 16
    # One token shown: there is nobody else to see.
    alone = every_set(8, 1)
    one = other.losses_of(other.best_tables(alone, C), alone, C).mean()
    assert other.additive_loss(C, 1).item() == pytest.approx(one.item())
    with pytest.raises(InputError, match="1 <= N < K and K > 2, got N=8"):
        other.additive_weights(C, 8)


def test_the_signed_parts_make_the_table_and_sum_to_the_sizes_of_w():
    D = dictionary(N=4, K=9)
    model = model_of(D)
    with torch.no_grad():
        attention = model.attention()
        positive, negative = other.signed_parts(attention, model.w)
        torch.testing.assert_close(positive - negative, model())
        assert positive.min() > 0 and negative.min() > 0
        total = (positive + negative).sum(dim=0)
        torch.testing.assert_close(total, model.w.abs().sum(dim=0))


def test_a_dropped_token_costs_what_its_label_was_worth():
    """The chapter's closed form: strike row n out of A, or read out best without token n."""
    D = dictionary(N=4, K=9)
    C, A, whole = other.all_label_covariance(D), optimal_weights(D), torch.arange(4)
    inverse = torch.linalg.inv(C[:4, :4])
    for n in range(4):
        left, size = whole[whole != n][None], A[n].square().sum() / (2 * D.K)
        struck = other.losses_of(A[left], left, C) - minimal_loss(D)
        best = other.losses_of(other.best_tables(left, C), left, C) - minimal_loss(D)
        assert struck.item() == pytest.approx((C[n, n] * size).item())
        assert best.item() == pytest.approx((size / inverse[n, n]).item())
