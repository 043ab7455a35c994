import pytest
import torch
from dual_draws import EXAMPLES, gap, gen, prompts, vectors
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention as sdpa

from iclbook.dual.attention import SelfAttention
from iclbook.dual.kernel import softmax_kernel
from iclbook.dual.modified import (
    Augment,
    Modification,
    attention,
    attention_weights,
    dual_attention,
    lowest_scores,
    values_less_negatives,
)
from iclbook.dual.one_step import DualModel, KernelDualModel, one_at_a_time
from iclbook.errors import InputError

ALPHAS, BETAS = st.floats(-1.0, 2.5), st.sampled_from([0.0, 0.3, 1.0, 2.0])


def causal(n):
    return torch.ones(n, n, dtype=torch.bool).tril()


def self_prompt(prompt):
    """Every token a query: queries with the keys' shapes, and random norms up to the
    query's."""
    keys, values, query, g = prompt
    queries = vectors(keys.shape, query.norm(dim=-1).max().item(), g)
    return queries, keys, values, g


def random_mask(n, g, batch=()):
    """A random mask in which every query sees its own key or, sometimes, only another one."""
    mask = torch.rand(*batch, n, n, generator=g) < 0.6
    mask.diagonal(dim1=-2, dim2=-1).copy_(torch.rand(*batch, n, generator=g) < 0.8)
    empty = ~mask.any(-1)
    mask[..., 0] |= empty
    return mask


def size(queries, keys, values, mask=None):
    """The scale of rounding: attention over |v|, times 10 since modified weights may exceed
    1."""
    return 10 * (attention(queries, keys, values.abs(), mask) + values.abs().amax())


@EXAMPLES
@given(prompts(), st.sampled_from(["none", "causal", "random"]))
def test_plain_attention_is_sdpa(prompt, kind):
    queries, keys, values, g = self_prompt(prompt)
    n = keys.shape[-2]
    mask = {"none": None, "causal": causal(n), "random": random_mask(n, g, keys.shape[:-2])}[
        kind
    ]
    peer = sdpa(queries, keys, values, attn_mask=mask, scale=1.0)
    assert (
        gap(attention(queries, keys, values, mask), peer, size(queries, keys, values, mask))
        < 1e-12
    )


@EXAMPLES
@given(
    prompts(), ALPHAS, BETAS, st.integers(1, 8), st.sampled_from(["none", "causal", "random"])
)
def test_each_closed_form_is_the_step_of_its_dual_model(prompt, alpha, beta, r, kind):
    queries, keys, values, g = self_prompt(prompt)
    n = keys.shape[-2]
    r = min(r, n)
    mask = {"none": None, "causal": causal(n), "random": random_mask(n, g, keys.shape[:-2])}[
        kind
    ]
    change = {"alpha": alpha, "beta": beta, "r": r}
    closed = attention(queries, keys, values, mask, **change)
    trained = dual_attention(queries, keys, values, mask, **change, eta=0.37)
    assert gap(trained, closed, size(queries, keys, values, mask)) < 1e-10


@EXAMPLES
@given(prompts(batches=((),)), ALPHAS, BETAS, st.integers(1, 8))
def test_the_closed_form_is_one_autograd_step_on_the_modified_loss(prompt, alpha, beta, r):
    """An explicit W in the kernel's own feature space: phi = rows of a square root of the
    kernel matrix."""
    keys, values, query, _ = prompt
    keys, query = keys / 20, query / 20
    n, eta = len(keys) - 1, 0.8
    points = torch.cat([keys, query])
    kernel = softmax_kernel(points, points, shift=1.0)
    roots, vecs = torch.linalg.eigh(kernel)
    phi = vecs * roots.clamp(min=0).sqrt()  # (n + 2, n + 2): phi phi^T = kernel
    D = kernel[-1, :-1].sum()
    scores = (query @ keys[:-1].mT)[0]
    chosen = scores.argsort(stable=True)[: min(r, n)]
    targets = values[:-1] - beta * values[:-1][chosen].mean(0)
    W = DualModel.start(phi[n : n + 1], values[-1:], D).W.requires_grad_()
    loss = (
        -(targets * (phi[:n] @ W.mT)).sum() / (eta * D) + alpha / (2 * eta) * W.square().sum()
    )
    (gradient,) = torch.autograd.grad(loss, W)
    out = phi[-1:] @ (W - eta * gradient).mT
    closed = attention(query, keys, values, alpha=alpha, beta=beta, r=min(r, n))
    assert gap(out, closed, size(query, keys, values)) < 1e-10


@EXAMPLES
@given(prompts(), ALPHAS, BETAS, st.integers(1, 8))
def test_sum_of_the_weights(prompt, alpha, beta, r):
    keys, _, query, _ = prompt
    n = keys.shape[-2] - 1
    weights = attention_weights(query, keys, alpha=alpha, beta=beta, r=min(r, n))
    plain = (query @ keys.mT).softmax(-1)
    own, demos = plain[..., -1], plain[..., :-1].sum(-1)
    torch.testing.assert_close(
        weights.sum(-1), 1 - alpha * own - beta * demos, rtol=1e-12, atol=1e-13
    )
    torch.testing.assert_close(weights[..., -1], (1 - alpha) * own, rtol=1e-12, atol=1e-300)
    torch.testing.assert_close(
        weights[..., :-1].sum(-1), (1 - beta) * demos, rtol=1e-12, atol=1e-13
    )


def test_regularised_scales_only_the_querys_own_value():
    queries, keys, values = (
        vectors((4, 1, 3), 1.0, gen(0)),
        vectors((4, 9, 3), 1.0, gen(1)),
        vectors((4, 9, 2), 1.0, gen(2)),
    )
    scaled = torch.cat([values[..., :-1, :], 0.4 * values[..., -1:, :]], dim=-2)
    torch.testing.assert_close(
        attention(queries, keys, values, alpha=0.6), sdpa(queries, keys, scaled, scale=1.0)
    )


def test_single_regularised_steps_differ_from_one_full_step_and_depend_on_the_order():
    keys, values, query, alpha = (
        vectors((6, 3), 1.0, gen(3)),
        vectors((6, 2), 1.0, gen(4)),
        vectors((1, 3), 1.0, gen(5)),
        0.3,
    )
    D = softmax_kernel(keys, query).sum()
    start = KernelDualModel.start(keys[-1:], values[-1:], D)
    outs = []
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        *_, last = one_at_a_time(start, keys[order], values[order], alpha)
        outs.append(last(query))
        decays = (1 - alpha) ** torch.arange(
            4, -1, -1, dtype=torch.float64
        )  # the first shown decays most
        p = (query @ keys.mT).softmax(-1)
        wanted = (p[:, order] * decays) @ values[order] + (1 - alpha) ** 5 * p[:, -1:] @ values[
            -1:
        ]
        torch.testing.assert_close(outs[-1], wanted, rtol=1e-12, atol=1e-14)
    full = attention(query, keys, values, alpha=alpha)
    assert (outs[0] - full).norm() > 0.05 and (outs[0] - outs[1]).norm() > 0.01


def test_lowest_scores_against_sorting():
    g = gen(6)
    scores = torch.randn(3, 5, 9, generator=g)
    demos = torch.rand(3, 5, 9, generator=g) < 0.5
    found = lowest_scores(scores, demos, 4)
    for row in range(15):
        s, d, f = (t.reshape(15, 9)[row] for t in (scores, demos, found))
        wanted = sorted(i for i in range(9) if d[i])
        wanted = sorted(wanted, key=lambda i: s[i].item())[:4]
        assert set(f.nonzero().flatten().tolist()) == set(wanted)


def test_given_negatives_and_their_targets():
    query, keys, values = (
        vectors((1, 3), 1.0, gen(7)),
        vectors((7, 3), 1.0, gen(8)),
        vectors((7, 2), 1.0, gen(9)),
    )
    negatives = torch.tensor(
        [[False, True, False, True, False, False, True]]
    )  # the query's own key is no negative
    weights = attention_weights(query, keys, beta=0.5, negatives=negatives)
    p = (query @ keys.mT).softmax(-1)
    wanted = p.clone()
    wanted[:, [1, 3]] -= 0.25 * p[:, :-1].sum()
    torch.testing.assert_close(weights, wanted, rtol=1e-12, atol=0)
    assert (weights < 0).any()
    targets = values_less_negatives(values, negatives & (torch.arange(7) < 6), 0.5)
    torch.testing.assert_close(
        targets[0], values - 0.5 * (values[1] + values[3]) / 2, rtol=1e-12, atol=0
    )
    trained = dual_attention(query, keys, values, beta=0.5, negatives=negatives)
    torch.testing.assert_close(trained, weights @ values, rtol=1e-12, atol=1e-14)


@EXAMPLES
@given(prompts(batches=((2,),)), st.integers(1, 4), st.booleans(), st.booleans(), st.booleans())
def test_augmented_layer_by_training(prompt, heads, output, last_only, modified):
    tokens, _, _, g = prompt
    width = tokens.shape[-1]
    views = {
        f"g{i}": Augment(3, 0.7, hidden=5, generator=g, dtype=torch.float64) for i in (1, 2)
    }
    change = {"alpha": 0.4, "beta": 0.5, "r": 1} if modified else {}
    layer = SelfAttention(
        width, 3, heads, generator=g, output=output, dtype=torch.float64, **views, **change
    )
    with torch.no_grad():
        closed = layer(tokens, last_only=last_only)
        trained = layer(tokens, last_only=last_only, attend=dual_attention)
        assert closed.shape == (
            2,
            1 if last_only else tokens.shape[-2],
            width if output else 3 * heads,
        )
        assert gap(trained, closed, closed.abs().max() + 1e-3) < 1e-9
        if not modified:
            q, k, v = layer.project(tokens)
            peer = sdpa(q[..., -1:, :] if last_only else q, k, v, scale=1.0)  # (2, H, M, 3)
            mixed = (
                sum(peer[:, h] @ layer.W_O[h].T for h in range(heads))
                if output
                else torch.cat(list(peer.unbind(1)), -1)
            )
            torch.testing.assert_close(closed, mixed, rtol=1e-9, atol=1e-9)


def test_augment_is_the_identity_at_c_zero_and_nonlinear_beyond():
    x = vectors((5, 3), 2.0, gen(10))
    same, other = (
        Augment(3, c, hidden=4, generator=gen(11), dtype=torch.float64) for c in (0.0, 1.0)
    )
    torch.testing.assert_close(same(x), x)
    torch.testing.assert_close(other(x), x + other.mlp(x))
    assert (other(2 * x) - 2 * other(x)).abs().max() > 1e-2


def test_augmented_layer_is_its_formula():
    """softmax(g2(W_K H)^T W_Q h_q / sqrt(d)) on g1(W_V H): g2 acts before the scale, and on
    keys only."""
    g1, g2 = (
        Augment(4, 0.7, hidden=5, generator=gen(s), dtype=torch.float64) for s in (20, 21)
    )
    layer = SelfAttention(
        5, 4, generator=gen(12), dtype=torch.float64, g1=g1, g2=g2, output=False
    )
    h = vectors((7, 5), 2.0, gen(13))
    scores = (h @ layer.W_Q[0].T) @ g2(h @ layer.W_K[0].T).T / 2.0
    torch.testing.assert_close(layer(h), scores.softmax(-1) @ g1(h @ layer.W_V[0].T))


def test_projection_scales_and_last_only():
    layer = SelfAttention(5, 4, 2, generator=gen(12), dtype=torch.float64)
    tokens = vectors((3, 7, 5), 1.0, gen(13))
    q, k, v = layer.project(tokens)
    default = sdpa(
        tokens.unsqueeze(1) @ layer.W_Q.mT, tokens.unsqueeze(1) @ layer.W_K.mT, v
    )  # its own 1/sqrt(d)
    torch.testing.assert_close(attention(q, k, v), default)
    torch.testing.assert_close(layer(tokens, last_only=True), layer(tokens)[:, -1:])


def test_padded_prompt_equals_the_short_prompt():
    layer = SelfAttention(
        5, 4, 2, generator=gen(14), dtype=torch.float64, alpha=0.2, beta=0.7, r=2
    )
    tokens = vectors((3, 8, 5), 1.0, gen(15))
    pad = torch.full((3, 4, 5), 1e5, dtype=torch.float64)  # loud padding must not be heard
    mask = torch.cat([torch.zeros(4), torch.ones(8)]).bool()
    for attend in (attention, dual_attention):
        padded = layer(torch.cat([pad, tokens], dim=1), mask, last_only=True, attend=attend)
        torch.testing.assert_close(padded, layer(tokens, last_only=True))


def test_biases_are_a_constant_coordinate():
    """Weights with biases, as in pretrained layers, need no other identity: the functions take
    q, k, v."""
    peer = torch.nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)
    for p in peer.parameters():
        torch.nn.init.normal_(p, generator=gen(16))
    h = vectors((2, 9, 6), 1.0, gen(17))
    qkv = (
        (h @ peer.in_proj_weight.T + peer.in_proj_bias)
        .reshape(2, 9, 3, 2, 3)
        .permute(2, 0, 3, 1, 4)
    )
    heads = dual_attention(qkv[0] * 3**-0.25, qkv[1] * 3**-0.25, qkv[2], causal(9))
    out = peer.out_proj(heads.transpose(1, 2).flatten(-2))
    wanted, _ = peer(h, h, h, attn_mask=~causal(9))
    torch.testing.assert_close(out, wanted, rtol=1e-10, atol=1e-10)


def test_float32_and_gradients():
    layer = SelfAttention(5, 4, 2, generator=gen(18), alpha=0.2, beta=0.7, r=2)
    tokens = vectors((3, 8, 5), 1.0, gen(19), torch.float32)
    out = layer(tokens)
    assert out.dtype == torch.float32
    torch.testing.assert_close(layer(tokens, attend=dual_attention), out, rtol=1e-4, atol=1e-5)
    out.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


Q, KEYS = torch.ones(1, 3), torch.ones(4, 3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: attention(Q, KEYS[:0], KEYS[:0]), "no tokens"),
        (lambda: attention(Q, KEYS, KEYS[:3]), "one value"),
        (lambda: dual_attention(Q, KEYS, KEYS[:3]), "one value"),
        (lambda: attention(torch.ones(1, 2), KEYS, KEYS), "must have shape"),
        (lambda: attention(Q * torch.nan, KEYS, KEYS), "queries holds NaN"),
        (lambda: attention(torch.ones(5, 3), KEYS, KEYS), "queries are the last"),
        (
            lambda: attention(Q, KEYS, KEYS, torch.zeros(4, dtype=torch.bool)),
            "every query must see",
        ),
        (lambda: attention(Q, KEYS, KEYS, beta=0.5), "r must be"),
        (lambda: attention(Q, KEYS, KEYS, beta=0.5, r=5), "r must be at most"),
        (lambda: attention(Q, KEYS, KEYS, beta=-1.0, r=1), "beta must be"),
        (lambda: attention(Q, KEYS, KEYS, alpha=torch.inf), "alpha must be"),
        (lambda: SelfAttention(3, 0, generator=gen(0)), "head_size must be"),
        (
            lambda: SelfAttention(3, 2, generator=gen(0))(torch.ones(4, 2)),
            "tokens must have shape",
        ),
        (lambda: Augment(3, 1.0, hidden=0, generator=gen(0)), "hidden must be"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_stacked_strengths_are_those_of_each_layer():
    parts = [Modification(alpha=0.3), Modification(beta=0.5, r=2), Modification()]
    whole = Modification.stacked(parts, torch.float64)
    assert whole.negatives is None
    for name in ("alpha", "beta", "r"):
        column = getattr(whole, name)
        assert column.shape == (3, 1, 1, 1)
        assert column.flatten().tolist() == [getattr(part, name) for part in parts]
    assert (whole.alpha.dtype, whole.r.dtype) == (torch.float64, torch.int64)
