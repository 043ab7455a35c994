"""Modified attention in a BERT, against transformers' own attention and against loops."""

import pytest
import torch
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from iclbook.dual.bert import modified_attention, modify
from iclbook.dual.modified import dual_attention
from iclbook.errors import InputError

SIZES = dict(vocab_size=50, hidden_size=24, num_attention_heads=3, intermediate_size=32)
SIZES |= dict(num_hidden_layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def bert(dtype=torch.float64, **changes):
    """A small random BERT with large weights, so that attention is far from uniform."""
    torch.manual_seed(0)
    config = BertConfig(**SIZES | changes, initializer_range=0.5)
    return BertModel(config, add_pooling_layer=False).to(dtype).eval()


@pytest.fixture
def inputs():
    """Three sentences of 7, 4 and 1 tokens, padded to 7."""
    ids = torch.randint(1, 50, (3, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def states(model, inputs):
    with torch.no_grad():
        return model(**inputs).last_hidden_state  # (B, N, width)


def layer_call(model, inputs, layer=0):
    """What a layer's self-attention is called with: (module, q, k, v, mask, scaling)."""
    calls = []

    def spy(module, query, key, value, mask, **about):
        calls.append((module, query, key, value, mask, about["scaling"]))
        return modified_attention(module, query, key, value, mask, **about)

    from transformers import AttentionInterface

    AttentionInterface.register("iclbook_modified", spy)
    states(model, inputs)
    AttentionInterface.register("iclbook_modified", modified_attention)
    return calls[layer]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_neutral_strengths_are_the_models_own_eager_attention(inputs, dtype, c):
    eager = bert(dtype)
    eager.set_attn_implementation("eager")
    ours = modify(bert(dtype), c=c, generator=torch.Generator().manual_seed(2)).to(dtype)
    real = inputs["attention_mask"].bool()
    difference = states(eager, inputs) - states(ours, inputs)
    assert difference[real].abs().max() == 0.0


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_padding_is_neither_attended_to_nor_a_negative(inputs, beta):
    model, real = modify(bert(), beta=beta, r=2), inputs["attention_mask"].bool()
    before = states(model, inputs)
    other = inputs | {"input_ids": torch.where(real, inputs["input_ids"], 17)}
    assert torch.equal(before[real], states(model, other)[real])
    alone = {name: value[1:2, :4] for name, value in inputs.items()}
    torch.testing.assert_close(states(model, alone), before[1:2, :4], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "strengths", [dict(alpha=0.4), dict(beta=0.6, r=2), dict(alpha=-0.5, beta=0.3, r=512)]
)
def test_each_token_weighs_its_own_value_and_its_negatives(inputs, strengths):
    """Written out token by token from the definitions, with no mask and no sort."""
    model = modify(bert(), **strengths)
    module, query, key, value, mask, scaling = layer_call(model, inputs)
    with torch.no_grad():
        out, weights = modified_attention(module, query, key, value, mask, scaling)
    alpha, beta, r = (strengths.get(name, 0) for name in ("alpha", "beta", "r"))
    for sentence, length in enumerate((7, 4, 1)):
        for head in range(3):
            q, k, v = (part[sentence, head, :length] for part in (query, key, value))
            for i in range(length):
                scores = [float(q[i] @ k[j]) * scaling for j in range(length)]
                total = sum(torch.tensor(s).exp().item() for s in scores)
                p = [torch.tensor(s).exp().item() / total for s in scores]
                others = sorted((s, j) for j, s in enumerate(scores) if j != i)
                negatives = [j for _, j in others[:r]]
                mean = sum(v[j] for j in negatives) / len(negatives) if negatives else 0
                wanted = (1 - alpha) * p[i] * v[i]
                wanted = wanted + sum(p[j] * (v[j] - beta * mean) for _, j in others)
                torch.testing.assert_close(out[sentence, i, head], wanted, rtol=1e-6, atol=1e-6)
    assert weights.shape == (3, 3, 7, 7)


def test_every_token_has_a_dual_model_of_its_own(inputs):
    """One gradient step on the other tokens gives what the modified layer gives."""
    model = modify(bert(), alpha=0.3, beta=0.5, r=2)
    module, query, key, value, mask, scaling = layer_call(model, inputs, layer=1)
    with torch.no_grad():
        out, _ = modified_attention(module, query, key, value, mask, scaling)
        query, key = query * scaling**0.5, key * scaling**0.5
        by_training = dual_attention(query, key, value, mask, alpha=0.3, beta=0.5, r=2)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(
        by_training.transpose(1, 2)[real], out[real], rtol=1e-9, atol=1e-9
    )


def test_a_layer_that_is_not_named_stays_as_it_was(inputs):
    first, both = modify(bert(), layers=(0,), alpha=0.9), modify(bert(), alpha=0.9)
    second = modify(bert(), layers=(1,), alpha=0.9)
    plain = states(modify(bert()), inputs)
    found = [states(model, inputs) for model in (first, both, second)]
    assert all((one - plain).abs().max() > 1e-3 for one in found)
    assert all((one - found[1]).abs().max() > 1e-3 for one in (found[0], found[2]))
    assert not hasattr(first.encoder.layer[1].attention.self, "modification")


def test_the_maps_are_trained_and_saved_with_the_model(inputs):
    model = modify(bert(), layers=(1,), c=0.5, generator=torch.Generator().manual_seed(0))
    model.to(torch.float64)
    names = {name for name, _ in model.named_parameters() if ".g1." in name or ".g2." in name}
    assert len(names) == 8 and all("layer.1." in name for name in names)
    model(**inputs).last_hidden_state.square().sum().backward()
    grads = dict(model.named_parameters())
    assert all(grads[name].grad is not None for name in names)
    assert any(grads[name].grad.abs().max() > 0 for name in names if ".g1." in name)
    assert any(grads[name].grad.abs().max() > 0 for name in names if ".g2." in name)
    assert names <= model.state_dict().keys()


def test_a_later_call_leaves_no_maps_of_an_earlier_one(inputs):
    model, drawn = bert(), {"generator": torch.Generator().manual_seed(0)}
    plain = states(modify(model), inputs)
    modify(model, c=0.5, **drawn)
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.attention.self.g1.mlp[-1].weight.fill_(1.0)
    assert (states(model.double(), inputs) - plain).abs().max() > 1e-3
    assert torch.equal(states(modify(model), inputs), plain)
    assert not [name for name in model.state_dict() if ".g1." in name or ".g2." in name]


def test_moved_maps_change_keys_and_values(inputs):
    model = modify(bert(), c=0.5, generator=torch.Generator().manual_seed(0)).to(torch.float64)
    before = states(model, inputs)
    for which in ("g1", "g2"):
        moved = modify(bert(), c=0.5, generator=torch.Generator().manual_seed(0))
        moved.to(torch.float64)
        with torch.no_grad():
            getattr(moved.encoder.layer[0].attention.self, which).mlp[-1].weight.fill_(0.3)
        assert (states(moved, inputs) - before).abs().max() > 1e-4


def test_bad_input_is_refused_in_one_line():
    config = DistilBertConfig(vocab_size=20, dim=8, n_layers=1, n_heads=2, hidden_dim=8)
    with pytest.raises(InputError, match="DistilBertModel is not a BERT encoder"):
        modify(DistilBertModel(config))
    with pytest.raises(InputError, match="layer 2 of 2"):
        modify(bert(), layers=(2,))
    with pytest.raises(InputError, match="give a generator"):
        modify(bert(), c=0.1)
    with pytest.raises(InputError, match="alpha must be finite"):
        modify(bert(), alpha=float("nan"))
