import itertools

import pytest
import torch
from dual_draws import EXAMPLES, gap, gen, prompts, vectors
from hypothesis import given
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from torch.nn.functional import scaled_dot_product_attention as sdpa

from iclbook.dual.kernel import (
    draw_directions,
    exp_shifted,
    kernel_weights,
    log_gaussian_kernel,
    log_positive_features,
    softmax_kernel,
)
from iclbook.dual.one_step import (
    DualModel,
    KernelDualModel,
    all_at_once,
    exact_start,
    expected_over_orders,
    one_at_a_time,
)
from iclbook.errors import InputError


def features(keys, query, g, d_r=12):
    """phi_k (..., N + 1, d_r), phi_q (..., 1, d_r) and the query's D (...)."""
    w = draw_directions(d_r, keys.shape[-1], generator=g)
    phi_k = exp_shifted(log_positive_features(keys, w))
    phi_q = exp_shifted(log_positive_features(query, w), dim=-1)
    return phi_k, phi_q, (phi_q @ phi_k.mT).sum((-2, -1))


def size(weights, values):
    """sum_i |p_i| |v_i|: what the output's rounding is relative to."""
    return weights.abs() @ values.abs()


@EXAMPLES
@given(prompts(), st.integers(1, 40), st.floats(1e-3, 1e3))
def test_one_step_on_features_is_feature_attention_and_eta_cancels(prompt, d_r, eta):
    keys, values, query, g = prompt
    phi_k, phi_q, D = features(keys, query, g, d_r)
    model = DualModel.start(phi_k[..., -1:, :], values[..., -1:, :], D, eta)
    model = model.step(phi_k[..., :-1, :], values[..., :-1, :])
    weights = kernel_weights(phi_q @ phi_k.mT)
    assert gap(model(phi_q), weights @ values, size(weights, values)) < 1e-10


@EXAMPLES
@given(prompts(), st.floats(1e-3, 1e3))
def test_one_step_with_the_exact_kernel_is_softmax_attention(prompt, eta):
    keys, values, query, _ = prompt
    model = exact_start(keys, values, query, eta).step(keys[..., :-1, :], values[..., :-1, :])
    weights = (query @ keys.mT).softmax(-1)
    assert (
        gap(model(query), sdpa(query, keys, values, scale=1.0), size(weights, values)) < 1e-10
    )


@EXAMPLES
@given(prompts(), st.randoms(use_true_random=False))
def test_single_steps_reach_attention_at_the_last_demonstration_in_any_order(prompt, random):
    keys, values, query, g = prompt
    order = list(range(keys.shape[-2] - 1))
    random.shuffle(order)
    weights = (query @ keys.mT).softmax(-1)
    twins = list(
        one_at_a_time(
            exact_start(keys, values, query), keys[..., order, :], values[..., order, :]
        )
    )
    assert len(twins) == len(order) + 1
    for t in (
        0,
        len(order) // 2,
        len(order),
    ):  # what is missing after t steps is what was not yet shown
        missing = weights[..., order[t:]] @ values[..., order[t:], :]
        assert gap(twins[t](query) + missing, weights @ values, size(weights, values)) < 1e-10

    phi_k, phi_q, D = features(keys, query, g)
    start = DualModel.start(phi_k[..., -1:, :], values[..., -1:, :], D)
    *_, last = one_at_a_time(start, phi_k[..., order, :], values[..., order, :])
    weights = kernel_weights(phi_q @ phi_k.mT)
    assert gap(last(phi_q), weights @ values, size(weights, values)) < 1e-10


def test_small_full_steps_close_the_error_linearly():
    """The other reading of the axis: t full steps of rate eta / N leave (1 - t / N)^2 of the
    first error."""
    keys, values, query = (
        vectors((16, 5), 1.0, gen(0)),
        vectors((16, 3), 1.0, gen(1)),
        vectors((1, 5), 1.0, gen(2)),
    )
    wanted = sdpa(query, keys, values, scale=1.0)
    models = all_at_once(exact_start(keys, values, query, eta=0.3), keys[:-1], values[:-1])
    found = torch.stack([(model(query) - wanted).square().sum() for model in models])
    t = torch.arange(16, dtype=torch.float64)
    torch.testing.assert_close(found, found[0] * (1 - t / 15) ** 2, rtol=1e-9, atol=1e-25)


@pytest.mark.parametrize("N", [1, 2, 5])
def test_mean_over_orders_by_listing_all_of_them(N):
    parts = torch.randn(N, 3, generator=gen(N), dtype=torch.float64) + 1
    orders = itertools.permutations(range(N))
    wanted = torch.tensor(
        [[parts[list(o[t:])].sum(0).square().sum() for t in range(N + 1)] for o in orders]
    ).mean(0)
    torch.testing.assert_close(expected_over_orders(parts), wanted, rtol=1e-12, atol=1e-14)
    batch = torch.stack([parts, 2 * parts])
    torch.testing.assert_close(
        expected_over_orders(batch), torch.stack([wanted, 4 * wanted], dim=1)
    )


@EXAMPLES
@given(prompts(), st.floats(-1.0, 3.0), st.floats(1e-2, 1e2), st.floats(0.1, 2.0))
def test_the_step_is_the_gradient_of_the_loss(prompt, alpha, eta, part):
    keys, values, query, g = prompt
    phi_k, _, D = features(keys, query, g)
    model = DualModel.start(phi_k[..., -1:, :], values[..., -1:, :], D, eta)
    leaf = model.W.clone().requires_grad_()
    loss = DualModel(leaf, D, eta).loss(phi_k[..., :-1, :], values[..., :-1, :], alpha)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    stepped = model.step(phi_k[..., :-1, :], values[..., :-1, :], alpha, rate=part * eta)
    wanted = model.W - part * eta * gradient
    assert (
        gap(stepped.W, wanted, wanted.abs().amax((-2, -1), keepdim=True) + model.W.abs().max())
        < 1e-10
    )


@EXAMPLES
@given(prompts(batches=((), (3,))), st.floats(-0.5, 1.5))
def test_the_twin_follows_the_model_step_by_step(prompt, alpha):
    """The same linear kernel with and without features: outputs, norms and losses agree after
    every step."""
    keys, values, query, g = prompt
    keys, query = keys / 20, query / 20
    D = 1 + torch.rand(keys.shape[:-2], generator=g, dtype=torch.float64)
    model = DualModel.start(keys[..., -1:, :], values[..., -1:, :], D, 0.7)
    twin = KernelDualModel.start(
        keys[..., -1:, :], values[..., -1:, :], D, 0.7, lambda x, y: x @ y.mT
    )
    for rate in (None, 0.2):
        model, twin = (m.step(keys, values, alpha, rate) for m in (model, twin))
        torch.testing.assert_close(twin(query), model(query), rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(
            twin.squared_norm(), model.squared_norm(), rtol=1e-9, atol=1e-11
        )
        losses = [m.loss(keys, values, alpha) for m in (twin, model)]
        torch.testing.assert_close(*losses, rtol=1e-9, atol=1e-9)


def test_the_identity_holds_for_a_kernel_that_is_not_softmax():
    keys, values, query = (
        vectors((9, 3), 1.0, gen(3)),
        vectors((9, 2), 1.0, gen(4)),
        vectors((1, 3), 1.0, gen(5)),
    )

    def kernel(x, y):
        return log_gaussian_kernel(x, y).exp() + (1 + x @ y.mT) ** 2

    weights = kernel_weights(kernel(query, keys))
    model = KernelDualModel.start(
        keys[-1:], values[-1:], kernel(keys, query).sum(), 1.0, kernel
    )
    torch.testing.assert_close(
        model.step(keys[:-1], values[:-1])(query), weights @ values, rtol=1e-12, atol=1e-14
    )


def test_the_twin_predicts_what_kernel_ridge_predicts():
    keys, values, queries = (
        vectors((12, 4), 1.0, gen(6)),
        vectors((12, 2), 1.0, gen(7)),
        vectors((5, 4), 1.0, gen(8)),
    )
    gram, cross = softmax_kernel(keys, keys), softmax_kernel(queries, keys)
    peer = KernelRidge(alpha=0.3, kernel="precomputed").fit(gram.numpy(), values.numpy())
    D = torch.ones((), dtype=torch.float64)
    twin = KernelDualModel(keys, torch.from_numpy(peer.dual_coef_), D)
    torch.testing.assert_close(
        twin(queries), torch.from_numpy(peer.predict(cross.numpy())), rtol=1e-10, atol=1e-12
    )
    # Attention's step is kernel ridge in the limit of a strong penalty: penalty * coefficients
    # -> values.
    far = KernelRidge(alpha=1e9, kernel="precomputed").fit(gram.numpy(), values.numpy())
    step = KernelDualModel.start(keys[:1], 0 * values[:1], D).step(keys, values)
    torch.testing.assert_close(
        step(queries), 1e9 * torch.from_numpy(far.predict(cross.numpy())), rtol=1e-5, atol=1e-6
    )


def test_random_features_leave_a_residual_against_exact_attention():
    keys, values, query = (
        vectors((16, 5), 1.0, gen(9)),
        vectors((16, 3), 1.0, gen(10)),
        vectors((1, 5), 1.0, gen(11)),
    )
    exact, errors = sdpa(query, keys, values, scale=1.0), []
    for d_r in (10, 100_000):
        phi_k, phi_q, _ = features(keys, query, gen(12), d_r)
        errors.append((kernel_weights(phi_q @ phi_k.mT) @ values - exact).norm().item())
    assert errors[0] > 1e-3 and errors[1] < errors[0] / 10


def test_float32():
    keys, values, query = (
        vectors(s, 1.0, gen(13), torch.float32) for s in ((2, 9, 4), (2, 9, 3), (2, 1, 4))
    )
    out = exact_start(keys, values, query).step(keys[..., :-1, :], values[..., :-1, :])(query)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, sdpa(query, keys, values, scale=1.0), rtol=1e-4, atol=1e-5)


ONE = torch.ones(())


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: DualModel.start(torch.ones(1, 3), torch.ones(2, 2), ONE),
            "every key needs one value",
        ),
        (
            lambda: DualModel.start(torch.ones(1, 3), torch.ones(1, 2), ONE).step(
                torch.ones(0, 3), torch.ones(0, 2)
            ),
            "no tok",
        ),
        (
            lambda: DualModel.start(torch.ones(1, 3), torch.ones(1, 2), ONE)(torch.ones(1, 4)),
            "phi must have shape",
        ),
        (
            lambda: DualModel(torch.ones(2, 3), 0 * ONE).step(
                torch.ones(1, 3), torch.ones(1, 2)
            ),
            "D must be finite",
        ),
        (
            lambda: DualModel(torch.ones(2, 3), ONE, 0.0).step(
                torch.ones(1, 3), torch.ones(1, 2)
            ),
            "eta must be",
        ),
        (
            lambda: KernelDualModel.start(torch.ones(1, 3), torch.full((1, 2), torch.inf), ONE),
            "NaN or infinity",
        ),
        (
            lambda: KernelDualModel.start(torch.ones(1, 3), torch.ones(1, 2), ONE)(
                torch.ones(1, 2)
            ),
            "must have shape",
        ),
        (lambda: list(one_at_a_time(None, torch.ones(0, 2), torch.ones(0, 2))), "no tokens"),
        (lambda: list(all_at_once(None, torch.ones(0, 2), torch.ones(0, 2))), "no tokens"),
        (lambda: exact_start(torch.ones(3, 2), torch.ones(2, 2), torch.ones(1, 2)), "3 keys"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
