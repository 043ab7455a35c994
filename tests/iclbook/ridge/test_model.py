"""The one-layer model against PyTorch's attention, autograd and differences; null models
against scipy."""

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ridge_draws import generator
from torch.nn.functional import scaled_dot_product_attention

from iclbook.errors import InputError
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.null_models import free_table_descent, frozen_attention_weights
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary


def make(N=4, K=9, d=5, m=3, tau=0.3, H=6, seed=0, **kwargs):
    """(dictionary, model) with a w that is not zero."""
    g = generator(seed)
    dictionary = sample_dictionary(N, K, d, m, tau, generator=g)
    model = MultiHeadAttention(dictionary, H, generator=g, **kwargs)
    with torch.no_grad():
        model.w.normal_(generator=g)
    return dictionary, model


def attention_with_torch(dictionary, model):
    """softmax(V^T Q_h v_k) by torch: queries Q_h v_k, keys v_n, unit vectors as values, (N, H,
    K)."""
    queries = torch.einsum("dhe,ek->hkd", model.Q, dictionary.tokens)  # (H, K, d)
    keys = dictionary.V.T.expand(len(queries), -1, -1)  # (H, N, d)
    values = torch.eye(dictionary.N, dtype=keys.dtype).expand(len(queries), -1, -1)  # (H, N, N)
    return scaled_dot_product_attention(queries, keys, values, scale=1.0).permute(2, 0, 1)


sizes = st.fixed_dictionaries(
    {
        "N": st.integers(1, 5),
        "K": st.integers(5, 9),
        "d": st.integers(1, 6),
        "H": st.integers(1, 5),
        "seed": st.integers(0, 99),
    }
)


@settings(deadline=None, max_examples=25)
@given(sizes)
def test_attention_is_pytorchs_softmax_attention_for_any_sizes(sizes):
    dictionary, model = make(**sizes)
    attention = model.attention()
    assert attention.shape == (dictionary.N, sizes["H"], dictionary.K)
    torch.testing.assert_close(
        attention, attention_with_torch(dictionary, model), rtol=1e-12, atol=1e-14
    )
    torch.testing.assert_close(attention.sum(dim=0), torch.ones_like(attention[0]))


def test_prediction_is_equation_8_head_by_head():
    dictionary, model = make()
    y = torch.randn(3, dictionary.N, generator=generator(1), dtype=torch.float64)
    expected = torch.zeros(3, dictionary.K, dtype=torch.float64)
    for k in range(dictionary.K):
        for h in range(len(model.w)):
            softmax = torch.softmax(
                dictionary.V.T @ model.Q[:, h, :] @ dictionary.tokens[:, k], dim=0
            )
            expected[:, k] += model.w[h, k] * (y @ softmax)
    torch.testing.assert_close(model.predict(y), expected, rtol=1e-12, atol=1e-13)


def test_other_prompt_tokens_replace_the_models_own():
    dictionary, model = make()
    order = torch.tensor([5, 1, 7, 3, 4, 0, 6, 2, 8])
    other = dictionary.reordered(order)
    moved = MultiHeadAttention(other, 6, generator=generator())
    with torch.no_grad():
        moved.Q.copy_(model.Q)
        moved.w.copy_(model.w[:, order])
    torch.testing.assert_close(model(other.V)[:, order], moved(), rtol=1e-12, atol=1e-14)


def test_the_order_of_the_prompt_does_not_matter():
    dictionary, model = make()
    order = torch.tensor([2, 0, 3, 1])
    y = torch.randn(3, 4, generator=generator(1), dtype=torch.float64)
    permuted = model.predict(y[:, order], V=dictionary.V[:, order])
    torch.testing.assert_close(permuted, model.predict(y), rtol=1e-12, atol=1e-13)


def test_the_start_is_w_zero_and_standard_gaussian_Q():
    dictionary = sample_dictionary(4, 9, 30, 3, 0.1, generator=generator())
    model = MultiHeadAttention(dictionary, 20, generator=generator(1), beta=0.5)
    assert torch.equal(model.w, torch.zeros(20, 9, dtype=torch.float64))
    Q = model.Q.detach() / 0.5
    assert (
        abs(Q.mean()) < 5 / Q.numel() ** 0.5 and abs(Q.var() - 1) < 5 * (2 / Q.numel()) ** 0.5
    )


def test_bad_input_is_refused():
    dictionary, model = make()
    with pytest.raises(InputError, match="H must be"):
        MultiHeadAttention(dictionary, 0, generator=generator())
    with pytest.raises(InputError, match="beta must be"):
        MultiHeadAttention(dictionary, 2, generator=generator(), beta=-1.0)
    with pytest.raises(InputError, match=r"y must have shape \(any, 4\)"):
        model.predict(torch.zeros(3, 5, dtype=torch.float64))
    with pytest.raises(InputError, match="y holds NaN"):
        model.predict(torch.full((3, 4), torch.nan, dtype=torch.float64))


@settings(deadline=None, max_examples=25)
@given(sizes)
def test_the_closed_form_gradient_is_autograds(sizes):
    dictionary, model = make(**sizes)
    loss = PopulationLoss.of(dictionary)
    table = model()
    table.retain_grad()
    error = table - loss.target
    value = (error * (loss.covariance @ error)).sum() / (
        2 * dictionary.K
    )  # Lemma 5, written again
    value.backward()
    expected_Q, expected_w = model.Q.grad.clone(), model.w.grad.clone()
    closed, G = loss(table.detach())
    torch.testing.assert_close(closed, value.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(G, table.grad, rtol=1e-10, atol=1e-12)
    model.Q.grad = model.w.grad = None
    with torch.no_grad():
        model.set_gradient(model.attention(), G)
    for got, expected in ((model.Q.grad, expected_Q), (model.w.grad, expected_w)):
        torch.testing.assert_close(
            got, expected, rtol=1e-10, atol=1e-10 * (1 + expected.abs().max().item())
        )
        assert got.is_contiguous()


def test_autograd_agrees_with_finite_differences():
    dictionary, model = make(N=3, K=4, d=2, m=2, H=2)
    loss = PopulationLoss.of(dictionary)

    def value(Q, w):
        table = torch.func.functional_call(model, {"Q": Q, "w": w}, ())
        error = table - loss.target
        return (error * (loss.covariance @ error)).sum()

    Q, w = (p.detach().clone().requires_grad_() for p in (model.Q, model.w))
    assert torch.autograd.gradcheck(value, (Q, w), eps=1e-6, atol=1e-7, rtol=1e-6)


def test_the_gradient_leaves_the_attention_it_was_given_alone():
    dictionary, model = make()
    with torch.no_grad():
        attention = model.attention()
        before = attention.clone()
        model.set_gradient(
            attention, torch.ones(dictionary.N, dictionary.K, dtype=torch.float64)
        )
    assert torch.equal(attention, before)


def test_gradient_descent_on_a_free_table_finds_scipys_minimum():
    dictionary, _ = make()
    loss = PopulationLoss.of(dictionary)
    N, K = dictionary.N, dictionary.K

    def flat(x):
        value, gradient = loss(torch.from_numpy(x).reshape(N, K))
        return value.item(), gradient.numpy().ravel()

    start, options = np.zeros(N * K), {"gtol": 1e-10}
    found = scipy.optimize.minimize(
        flat, start, jac=True, method="BFGS", options=options
    ).x.reshape(N, K)
    rate = K / torch.linalg.eigvalsh(loss.covariance).max().item()
    table = torch.nn.Parameter(torch.zeros(N, K, dtype=torch.float64))
    run = free_table_descent(loss, table, rate, 2_000, at=(0, 1, 2_000))
    steps = {step: each.clone() for step, each in run}
    assert list(steps) == [0, 1, 2_000]
    assert torch.equal(steps[0], torch.zeros(N, K, dtype=torch.float64))
    torch.testing.assert_close(steps[1], -rate * loss(steps[0])[1])
    np.testing.assert_allclose(steps[2_000].numpy(), found, atol=1e-7)


@pytest.mark.parametrize("H", [2, 6])
def test_frozen_attention_gets_the_least_squares_w(H):
    """H = 2 < N leaves a residual, so that the weighting by Zbar matters; H = 6 > N fits, with
    least norm."""
    dictionary, model = make(H=H)
    loss = PopulationLoss.of(dictionary)
    S = model.attention().detach()
    w = frozen_attention_weights(S, loss.target, loss.covariance)
    values, vectors = np.linalg.eigh(loss.covariance.numpy())
    root = (
        vectors @ np.diag(values**0.5) @ vectors.T
    )  # the symmetric root; the package takes Cholesky's
    for k in range(dictionary.K):
        expected = np.linalg.lstsq(
            root @ S[:, :, k].numpy(), root @ loss.target[:, k].numpy(), rcond=None
        )[0]
        np.testing.assert_allclose(w[:, k].numpy(), expected, rtol=1e-7, atol=1e-8)
    value, G = loss((S * w).sum(dim=1))
    torch.testing.assert_close(
        torch.einsum("nhk,nk->hk", S, G), torch.zeros_like(w), rtol=0, atol=1e-9
    )
    assert (value < 1e-18) == (H >= dictionary.N)


def test_null_models_refuse_bad_shapes():
    dictionary, model = make()
    loss = PopulationLoss.of(dictionary)
    with pytest.raises(InputError, match="target must have shape"):
        frozen_attention_weights(
            model.attention().detach(), loss.target[:, 1:], loss.covariance
        )
