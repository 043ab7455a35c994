import pytest
import torch
from dual_draws import EXAMPLES, SEEDS, gen, vectors
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from iclbook.dual.attention import SelfAttention
from iclbook.dual.layers import (
    add_residual,
    encoder_dual,
    frozen_feed_forward,
    frozen_layer_norm,
    layer_dual,
    single_steps,
)
from iclbook.dual.modified import dual_attention
from iclbook.errors import InputError

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
TOKENS = vectors((2, 5, 6), 1.0, gen(3))


def encoder(seed, width=6, heads=2, hidden=9, **options):
    """PyTorch's own Transformer layer, in float64, with every parameter drawn (biases too)."""
    options = {"dropout": 0.0, "batch_first": True, "dtype": torch.float64} | options
    layer = nn.TransformerEncoderLayer(width, heads, hidden, **options).eval()
    for p in layer.parameters():
        nn.init.normal_(p, std=0.7, generator=gen(seed))
    return layer


@EXAMPLES
@given(
    SEEDS,
    st.integers(1, 40),
    st.integers(1, 4),
    st.floats(0.0, 20.0),
    st.sampled_from(["relu", "gelu"]),
)
def test_attention_and_feed_forward_are_one_step(seed, n, heads, norm, activation):
    g = gen(seed)
    width = int(torch.randint(1, 8, (1,), generator=g))
    layer = SelfAttention(width, 3, heads, generator=g, dtype=torch.float64)
    first, second = (
        nn.Linear(width, 11, dtype=torch.float64),
        nn.Linear(11, 5, dtype=torch.float64),
    )
    for p in (*first.parameters(), *second.parameters()):
        nn.init.normal_(p, generator=g)
    tokens = vectors((2, n + 1, width), norm, g)
    with torch.no_grad():
        h = layer(tokens)  # (2, N + 1, width)
        wanted = second(getattr(nn.functional, activation)(first(h)))
        after = frozen_feed_forward(h, first, second, activation)
        queries, keys, values = layer.project(tokens)
        trained = layer_dual(queries, keys, values @ layer.W_O.mT, after, eta=3.0)
    scale = wanted.abs().max() + values.abs().max() * after.matrix.abs().max()
    assert (trained - wanted).abs().max() <= 1e-10 * scale


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("is_causal", [False, True])
def test_pytorchs_whole_layer_is_one_step_on_frozen_maps(activation, norm_first, is_causal):
    peer = encoder(1, activation=activation, norm_first=norm_first)
    h = vectors((3, 8, 6), 2.0, gen(2))
    mask = torch.ones(8, 8, dtype=torch.bool).tril() if is_causal else None
    with torch.no_grad():
        wanted = peer(h, src_mask=None if mask is None else ~mask)
        trained = encoder_dual(peer, h, mask)
    torch.testing.assert_close(trained, wanted, **CLOSE)


def test_frozen_maps_are_exact_at_their_point_and_wrong_elsewhere():
    """Gates and deviations belong to one answer: the frozen map is no substitute for the
    block."""
    x, other = vectors((5, 6), 1.0, gen(3)), vectors((5, 6), 1.0, gen(4))
    first, second, norm = (
        nn.Linear(6, 9).double(),
        nn.Linear(9, 6).double(),
        nn.LayerNorm(6).double(),
    )
    nn.init.normal_(norm.weight, generator=gen(5))
    with torch.no_grad():
        for frozen, block in [
            (frozen_feed_forward(x, first, second), lambda z: second(first(z).relu())),
            (frozen_layer_norm(x, norm), norm),
        ]:
            torch.testing.assert_close(frozen(x), block(x), **CLOSE)
            assert (frozen(other) - block(other)).abs().max() > 1e-2


def test_layers_without_biases():
    x = vectors((5, 6), 1.0, gen(6))
    first, second = nn.Linear(6, 9, bias=False).double(), nn.Linear(9, 4, bias=False).double()
    norm = nn.LayerNorm(6, bias=False).double()
    with torch.no_grad():
        torch.testing.assert_close(
            frozen_feed_forward(x, first, second)(x), second(first(x).relu()), **CLOSE
        )
        torch.testing.assert_close(frozen_layer_norm(x, norm)(x), norm(x), **CLOSE)


@EXAMPLES
@given(
    SEEDS, st.integers(1, 20), st.integers(1, 4), st.booleans(), st.booleans(), st.booleans()
)
def test_a_stack_of_attention_is_a_sequence_of_trained_models(
    seed, n, depth, residual, is_causal, modified
):
    g = gen(seed)
    change = {"alpha": 0.3, "beta": 0.5, "r": 1} if modified else {}
    layers = [
        SelfAttention(4, 3, 2, generator=g, dtype=torch.float64, **change) for _ in range(depth)
    ]
    tokens = vectors((2, n + 1, 4), 1.0, g)
    mask = torch.ones(n + 1, n + 1, dtype=torch.bool).tril() if is_causal else None
    plain = trained = tokens
    with torch.no_grad():
        for layer in layers:
            plain = layer(plain, mask) + (plain if residual else 0)
            trained = layer(trained, mask, attend=dual_attention) + (trained if residual else 0)
    assert (trained - plain).abs().max() <= 1e-9 * plain.abs().max()


def test_without_a_causal_mask_the_demonstrations_learn_of_the_query():
    """The second layer's training pairs depend on the query, unless a causal mask forbids
    it."""
    layer = SelfAttention(4, 3, 1, generator=gen(7), dtype=torch.float64)
    tokens = vectors((6, 4), 1.0, gen(8))
    other = torch.cat([tokens[:-1], vectors((1, 4), 1.0, gen(9))])
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    with torch.no_grad():
        assert (layer(tokens)[:-1] - layer(other)[:-1]).abs().max() > 1e-3
        torch.testing.assert_close(
            layer(tokens, mask)[:-1], layer(other, mask)[:-1], rtol=0, atol=0
        )


@pytest.mark.parametrize("is_causal", [False, True])
def test_single_steps_show_one_token_at_a_time(is_causal):
    """Against attention's own weights: after t steps a query has its own token and the first t
    others that it sees."""
    g, M = gen(0), 6
    queries, keys = (vectors((2, M, 3), 2.0, g) for _ in range(2))
    values = torch.randn(2, M, 4, generator=g, dtype=torch.float64)
    mask = torch.ones(M, M, dtype=torch.bool)
    mask = mask.tril() if is_causal else mask
    weights = (queries @ keys.mT).masked_fill(~mask, -torch.inf).softmax(-1)  # (2, M, M)
    found = single_steps(queries, keys, values, mask if is_causal else None)
    for t in range(M):
        shown = torch.zeros(M, M, dtype=torch.bool)
        for m in range(M):
            shown[m, [*[i for i in range(M) if i != m][:t], m]] = True
        torch.testing.assert_close(found[t], (weights * shown) @ values, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_dual_without_biases(norm_first):
    layer, h = encoder(1, bias=False, norm_first=norm_first), vectors((2, 5, 6), 1.0, gen(2))
    with torch.no_grad():
        torch.testing.assert_close(encoder_dual(layer, h), layer(h), **CLOSE)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: frozen_feed_forward(
                torch.ones(3), nn.Linear(3, 2), nn.Linear(2, 3), "tanh"
            ),
            "activation must be",
        ),
        (lambda: add_residual(torch.ones(2, 3))(torch.ones(2, 4)), "x must have shape"),
        (
            lambda: layer_dual(
                torch.ones(1, 5, 3), torch.ones(1, 4, 3), torch.ones(1, 4, 3), None
            ),
            "queries are the last",
        ),
        (lambda: encoder_dual(encoder(1, batch_first=False), TOKENS), "batch first"),
        (lambda: encoder_dual(encoder(1).train(), TOKENS), "dropout"),
        (
            lambda: encoder_dual(encoder(1, activation=nn.functional.silu), TOKENS),
            "activation must be",
        ),
        (lambda: encoder_dual(encoder(1, activation=nn.Tanh()), TOKENS), "activation must be"),
        (
            lambda: encoder_dual(encoder(1), TOKENS, torch.zeros(5, 5, dtype=torch.bool)),
            "NaN|see a key",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
