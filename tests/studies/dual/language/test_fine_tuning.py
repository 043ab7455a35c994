"""The loop that fine-tunes, on a tiny random BERT."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef
from transformers import BertConfig, BertModel

from iclbook.dual.bert import modify
from iclbook.errors import InputError
from studies.dual.language.fine_tuning import (
    Examples,
    SentenceModel,
    _batches,
    bucketed,
    encode,
    fine_tune,
    loss_of,
    padded,
    predictions,
    scores,
)

HOW = dict(epochs=3, batch=8, rate=3e-3, warmup=0.1, decay=0.01, seed=5)


def model(outputs=2, dropout=0.1, **strengths):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.3,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    bert = modify(BertModel(config, add_pooling_layer=False), **strengths)
    return SentenceModel(bert, outputs, torch.Generator().manual_seed(0))


def examples(n=50, outputs=2):
    """The label says whether token 7 occurs."""
    random = np.random.default_rng(0)
    tokens, labels = [], []
    for _ in range(n):
        ids = random.integers(8, 30, size=random.integers(3, 9)).tolist()
        label = int(random.integers(2))
        if label:
            ids[int(random.integers(len(ids)))] = 7
        tokens.append({"input_ids": ids, "token_type_ids": [0] * len(ids)})
        labels.append(label)
    return Examples(tokens, np.array(labels, dtype=int if outputs > 1 else float))


def test_the_mean_over_a_sentences_tokens_does_not_see_the_batch():
    found, one = model().eval(), examples(6)
    with torch.no_grad():
        together = found(padded(one, "cpu"))
        alone = torch.cat([found(padded(one[[i]], "cpu")) for i in range(6)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_pooled_state_is_the_mean_of_the_hidden_states():
    found, one = model().eval(), examples(1)
    inputs = padded(one, "cpu")
    with torch.no_grad():
        mean = found.bert(**inputs).last_hidden_state[0].mean(0)
        torch.testing.assert_close(found(inputs)[0], found.head.weight @ mean + found.head.bias)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 90), batch=st.integers(1, 16), seed=st.integers(0, 99))
def test_an_epoch_shows_every_sentence_once(n, batch, seed):
    some = examples(n)
    batches = bucketed(some, batch, torch.Generator().manual_seed(seed))
    assert sorted(itertools.chain(*batches)) == list(range(n))
    assert all(1 <= len(chosen) <= batch for chosen in batches)
    assert batches == bucketed(some, batch, torch.Generator().manual_seed(seed))


def test_buckets_waste_less_padding_than_a_random_order():
    some = examples(400)
    lengths = np.array([len(t["input_ids"]) for t in some.tokens])

    def waste(batches):
        return sum(len(b) * lengths[b].max() - lengths[b].sum() for b in batches)

    order = torch.randperm(400, generator=torch.Generator().manual_seed(0)).tolist()
    plain = [order[i : i + 8] for i in range(0, 400, 8)]
    assert waste(bucketed(some, 8, torch.Generator().manual_seed(0))) < 0.3 * waste(plain)


def test_it_learns_what_can_be_learned_and_yields_each_epoch():
    found, some = model(dropout=0.0), examples(200)
    rows = [(epoch, loss) for epoch, loss, _ in fine_tune(found, some, **HOW | {"epochs": 8})]
    assert [epoch for epoch, _ in rows] == list(range(9)) and np.isnan(rows[0][1])
    assert rows[-1][1] < 0.35 < 0.6 < rows[1][1]
    other = examples(300)[list(range(200, 300))]  # not seen in training
    assert (predictions(found, other, 16, "cpu") == other.labels).mean() > 0.85


@pytest.mark.parametrize("outputs", [1, 2])
def test_training_goes_on_in_the_same_bits(outputs):
    some, states, whole = examples(50, outputs), [], model(outputs)
    for _, loss, state in fine_tune(whole, some, **HOW):
        states.append((loss, copy.deepcopy(state())))
    again = model(outputs)
    torch.manual_seed(1234)  # an interrupted process is somewhere else
    rest = [
        (epoch, loss) for epoch, loss, _ in fine_tune(again, some, **HOW, state=states[1][1])
    ]
    assert [epoch for epoch, _ in rest] == [2, 3]
    assert [loss for _, loss in rest] == [loss for loss, _ in states[2:]]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_the_seed_is_used_and_nothing_else_is():
    def end(seed, noise):
        torch.manual_seed(noise)
        found = model()
        torch.manual_seed(noise)
        list(fine_tune(found, examples(), **HOW | {"seed": seed}))
        return found.head.weight.detach()

    assert torch.equal(end(5, 0), end(5, 1))
    assert not torch.equal(end(5, 0), end(6, 0))


def test_order_and_dropout_each_depend_on_the_seed_and_on_the_epoch():
    some, orders, draws = examples(), [], []
    for seed in (5, 6):
        batches = _batches(some, 8, range(2), seed)
        for _ in range(2):
            first = next(batches)
            draws.append(torch.rand(3).tolist())  # what dropout would draw
            orders.append([first, *(next(batches) for _ in range(6))])
    for found in (orders, draws):
        assert all(a != b for a, b in itertools.combinations(found, 2))


def test_the_loop_is_adamw_with_clipping_warm_up_and_decay():
    """Step by step beside the formulas of AdamW, written out."""
    how = HOW | dict(epochs=2, warmup=0.3, decay=0.5)
    found, some, clipped = model(dropout=0.0), examples(), []
    with torch.no_grad():
        found.head.weight *= 30  # gradients that are clipped, others that are not
    plain = copy.deepcopy(found).train()
    list(fine_tune(found, some, **how))

    weights = list(plain.parameters())
    first, second = ([torch.zeros_like(p) for p in weights] for _ in range(2))
    steps, warm = 14, 4  # 7 batches an epoch; 0.3 of 14, rounded down
    for t, chosen in enumerate(_batches(some, how["batch"], range(2), how["seed"])):
        loss = loss_of(plain, some[chosen], "cpu")
        slopes = torch.autograd.grad(loss, weights)
        norm = torch.stack([g.norm() for g in slopes]).norm()
        clipped.append(norm.item() > 1)
        rate = how["rate"] * (t / warm if t < warm else (steps - t) / (steps - warm))
        with torch.no_grad():
            for p, g, m, v in zip(weights, slopes, first, second):
                g = g / norm.clamp(min=1)
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g**2)
                p -= rate * how["decay"] * p
                ahead = (v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8
                p -= rate * m / (1 - 0.9 ** (t + 1)) / ahead
    assert t + 1 == steps and 0 < sum(clipped) < steps
    for name, value in found.named_parameters():
        if not name.endswith("key.bias"):  # softmax does not see it: its slope is rounding
            torch.testing.assert_close(value, plain.get_parameter(name), rtol=1e-3, atol=1e-4)


def test_dropout_before_the_last_layer_is_on_in_training_only_and_keeps_the_mean():
    found, inputs = model(dropout=0.5), padded(examples(4), "cpu")
    with torch.no_grad():
        still = found.eval()(inputs)  # (4, 2)
        assert torch.equal(still, found(inputs))
        found.dropout.train()
        torch.manual_seed(0)
        drawn = torch.stack([found(inputs) for _ in range(1_000)])  # (1000, 4, 2)
    error = drawn.std(0) / 1_000**0.5
    assert (error > 0).all() and ((drawn.mean(0) - still).abs() < 5 * error).all()


def test_frozen_words_stay_and_the_rest_moves():
    found = model()
    words = found.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in found.state_dict().items()}
    list(fine_tune(found, examples(), **HOW))
    moved = {n for n, value in found.state_dict().items() if not torch.equal(value, before[n])}
    assert torch.equal(words, before["bert.embeddings.word_embeddings.weight"])
    assert "bert.embeddings.word_embeddings.weight" not in moved and len(moved) > 20


def test_predictions_keep_the_order_of_the_examples():
    found, some = model().eval(), examples(40)
    wanted = [predictions(found, some[[i]], 1, "cpu")[0] for i in range(40)]
    assert predictions(found, some, 7, "cpu").tolist() == wanted


def test_scores_are_the_libraries_and_say_nan_where_nothing_is_defined():
    labels, found = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 0, 1])
    got = scores(["matthews", "accuracy", "f1"], labels, found)
    assert got["matthews"] == matthews_corrcoef(labels, found)
    assert got["accuracy"] == 0.8 and got["f1"] == pytest.approx(0.8)
    line = scores(["pearson", "spearman"], np.arange(5.0), np.arange(5.0) ** 3)
    assert line["spearman"] == pytest.approx(1) and line["pearson"] < 1
    assert np.isnan(scores(["pearson"], np.arange(5.0), np.ones(5))["pearson"])


def test_pairs_have_two_kinds_of_tokens_and_are_cut():
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    found = encode(tokenizer, ["a b", "a"], ["c", "c c c c c c"], [0, 1], longest=7)
    assert found.tokens[0] == {
        "input_ids": [2, 5, 6, 3, 7, 3],
        "token_type_ids": [0, 0, 0, 0, 1, 1],
    }
    assert len(found.tokens[1]["input_ids"]) == 7 and found.labels.tolist() == [0, 1]


def test_no_examples_are_refused():
    with pytest.raises(InputError, match="no examples"):
        next(fine_tune(model(), examples(5)[[]], **HOW))
