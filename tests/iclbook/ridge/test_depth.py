"""The deep model against torch's own encoder, hand counts and linear predictors."""

import pytest
import torch
from torch import nn

from iclbook.errors import InputError
from iclbook.ridge.depth import (
    DeepTransformer,
    EncoderLayer,
    linear_part,
    nonlinear_share,
    operations,
    prediction_loss,
    scaling_error,
)
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import Batches, PopulationLoss, minimal_loss
from iclbook.ridge.prompt import sample_dictionary, sample_labels, sample_tasks

SIZES = dict(layers=3, width=12, feedforward=20)


@pytest.fixture
def dictionary():
    return sample_dictionary(4, 9, 5, 3, 0.1, generator=torch.Generator().manual_seed(0))


def deep(dictionary, H=2, seed=1, **changes):
    return DeepTransformer(
        dictionary, H=H, generator=torch.Generator().manual_seed(seed), **SIZES | changes
    )


def labels(count, N=4, seed=2):
    return torch.randn(
        count, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def test_the_stack_is_torchs_encoder(dictionary):
    model, y = deep(dictionary), labels(6)
    layer = nn.TransformerEncoderLayer(
        12, 2, 20, dropout=0.0, batch_first=True, dtype=torch.float64
    )
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    encoder.load_state_dict(
        {f"layers.{name}": value for name, value in model.layers.state_dict().items()}
    )
    inputs = torch.zeros(6, 9, 7, dtype=torch.float64)
    inputs[:, :, :5], inputs[:, :4, 5], inputs[:, :4, 6] = dictionary.tokens.T, 1, y
    torch.testing.assert_close(
        model(y), model.read(encoder(model.embed(inputs)))[..., 0], rtol=1e-10, atol=1e-12
    )


def test_without_skip_nothing_of_the_input_is_added(dictionary):
    x = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(3))
    layer = EncoderLayer(12, 3, 20, skip=False)
    q, k, v = (x @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(
        3, dim=-1
    )
    heads = [t.unflatten(-1, (3, 4)).transpose(1, 2) for t in (q, k, v)]
    mixed = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(-2)
    first = nn.functional.layer_norm(layer.self_attn.out_proj(mixed), (12,))
    wanted = nn.functional.layer_norm(layer.linear2(layer.linear1(first).relu()), (12,))
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)


def test_the_draw_depends_on_the_seed_alone_and_leaves_the_global_generator(dictionary):
    state = torch.get_rng_state()
    one, other, plain, again = (
        deep(dictionary),
        deep(dictionary, H=4),
        deep(dictionary, skip=False),
        deep(dictionary, seed=5),
    )
    assert torch.equal(state, torch.get_rng_state())
    for a, b, c in zip(one.parameters(), other.parameters(), plain.parameters()):
        assert torch.equal(a, b) and torch.equal(a, c)
    assert not torch.equal(one.embed.weight, again.embed.weight)
    weights = [layer.linear1.weight for layer in one.layers]
    assert not torch.equal(weights[0], weights[1]), (
        "torch copies one layer; ours are drawn apart"
    )


def test_the_order_of_the_prompt_and_of_the_other_tokens_does_not_matter(dictionary):
    y, order = labels(5), torch.tensor([2, 0, 3, 1, 8, 5, 7, 4, 6])
    model, moved = deep(dictionary), deep(dictionary.reordered(order))
    torch.testing.assert_close(
        moved(y[:, order[:4]]), model(y)[:, order], rtol=1e-9, atol=1e-11
    )
    torch.testing.assert_close(
        model.predict(y, batch=2), model(y).detach(), rtol=1e-12, atol=1e-14
    )


def test_the_loss_of_a_linear_model_is_the_population_loss_on_average(dictionary):
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(dictionary.N, dictionary.K, generator=generator, dtype=torch.float64)
    tasks = sample_tasks(20_000, dictionary.m, generator=generator)
    seen = sample_labels(dictionary, tasks, generator=generator)
    expected = minimal_loss(dictionary) + PopulationLoss.of(dictionary)(table)[0]
    assert prediction_loss(seen[:, : dictionary.N] @ table, seen).item() == pytest.approx(
        expected.item(), rel=0.05
    )


def test_a_linear_model_has_no_nonlinear_share_and_a_deep_one_has(dictionary):
    y = labels(40)
    one_layer = MultiHeadAttention(dictionary, 3, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        one_layer.w.normal_(generator=torch.Generator().manual_seed(5))
        table, predicted = one_layer(), one_layer.predict(y)
        bent = deep(dictionary).predict(y)
    T = linear_part(y, predicted)
    torch.testing.assert_close(T, table, rtol=1e-9, atol=1e-11)
    assert (
        nonlinear_share(predicted, y @ T)
        < 1e-20
        < 1e-3
        < nonlinear_share(bent, y @ linear_part(y, bent))
    )
    assert scaling_error(lambda y: y @ table, y, 2.0) < 1e-25
    torch.testing.assert_close(
        scaling_error(lambda y: y**2, y, 2.0), torch.tensor(1.0, dtype=torch.float64)
    )
    N = dictionary.N  # as many prompts as labels are enough
    torch.testing.assert_close(linear_part(y[:N], predicted[:N]), table, rtol=1e-6, atol=1e-8)
    with pytest.raises(InputError, match="take more"):
        linear_part(y[: N - 1], predicted[: N - 1])


def test_the_linear_part_does_not_depend_on_what_lay_in_memory():
    generator = torch.Generator().manual_seed(0)
    y, predicted = (
        torch.randn(20, size, generator=generator, dtype=torch.float64) for size in (6, 9)
    )
    first = linear_part(y, predicted)
    for count in range(40):
        left = [torch.full((6,), value, dtype=torch.int32) for value in range(count)]
        del left
        assert torch.equal(linear_part(y, predicted), first)


@pytest.mark.parametrize("H", [1, 4])
def test_operations_by_hand(dictionary, H):
    B, K, d, layers, width, feedforward = 3, 9, 5, 3, 12, 20
    inner = layers * (4 * width**2 + 2 * width * feedforward) + width
    attention = layers * 2 * K**2 * width
    forward = 2 * B * (K * (inner + width * (d + 2)) + attention)
    backward = (
        2 * B * (2 * K * inner + K * width * (d + 2) + 2 * attention)
    )  # the inputs need no gradient
    counted = operations(deep(dictionary, H=H), B)
    assert counted == {"flops": forward + backward, "exponentials": B * layers * H * K**2}


def test_bad_sizes_are_refused(dictionary):
    with pytest.raises(InputError, match="H=5 does not divide the width 12"):
        deep(dictionary, H=5)
    with pytest.raises(InputError, match="layers"):
        deep(dictionary, layers=0)
    with pytest.raises(InputError, match="y must"):
        deep(dictionary)(labels(2, N=3))


def test_an_epoch_shows_every_task_once():
    batches = Batches(
        torch.arange(10.0)[:, None].expand(10, 3), 3, generator=torch.Generator().manual_seed(0)
    )
    for _ in range(4):
        epoch = torch.cat([batches.draw()[:, 0] for _ in range(3)])
        assert len(epoch.unique()) == 9
