"""Prompts have the moments that they are said to have; the encoder attends to what it may."""

import pytest
import torch
from torch.testing import assert_close

from iclbook.errors import InputError
from iclbook.ridge.depth import DeepTransformer
from iclbook.ridge.prompt import sample_dictionary
from studies.bridge.over_prompts.encoder import PromptEncoder, Prompts, sample_prompts

SIZES = dict(layers=2, width=16, feedforward=24, H=2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def model(d=3, seed=1):
    return PromptEncoder(d, **SIZES, generator=generator(seed))


def test_prompts_have_their_moments():
    prompts = sample_prompts(20_000, 3, 5, 4, 0.3, generator=generator(), spread=4.0)
    assert prompts.tokens.shape == (20_000, 5, 4) and prompts.y.shape == (20_000, 3)
    scales = prompts.tokens.flatten(0, 1).std(0)
    assert scales[0] / scales[-1] == pytest.approx(4, rel=0.03)
    assert scales.square().sum() == pytest.approx(4, rel=0.02)
    assert_close(
        scales[:-1] / scales[1:], torch.full((3,), 4 ** (1 / 3)).double(), rtol=0.03, atol=0
    )
    off = prompts.labels - prompts.truth
    assert off.var() == pytest.approx(0.3 * 4, rel=0.03) and prompts.noise == 0.3 * 4
    assert abs((off * prompts.truth).mean()) < 0.05
    assert prompts.asked.square().mean() == pytest.approx(4, rel=0.03)
    assert prompts.asked.shape == (20_000, 2)


def test_labels_of_a_prompt_are_of_one_task():
    prompts = sample_prompts(6, 3, 9, 4, 0.0, generator=generator())
    assert_close(prompts.labels, prompts.truth)
    for tokens, truth in zip(prompts.tokens, prompts.truth):
        assert torch.linalg.matrix_rank(torch.cat([tokens, truth[:, None]], 1)) == 4


def test_a_prompt_is_a_dictionary_of_its_own_tokens():
    prompts = sample_prompts(4, 3, 9, 5, 0.2, generator=generator())
    D = prompts.dictionary(2)
    assert (D.N, D.K, D.d, D.m, D.tau) == (3, 9, 5, 5, pytest.approx(0.2))
    assert_close(D.Z, prompts.tokens[2, :3].T)
    rest = prompts.after(2)
    assert isinstance(rest, Prompts)
    assert_close(rest.dictionary(0).tokens, D.tokens)
    assert_close(rest.labels, prompts.labels[2:])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"K": 3}, "none is left"),
        ({"spread": 0.5}, "spread"),
        ({"d": 0}, "d"),
        ({"tau": -1.0}, "tau"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, fault):
    sizes = dict(count=2, N=3, K=5, d=2, tau=0.1) | changes
    with pytest.raises(InputError, match=fault):
        sample_prompts(**sizes, generator=generator())


def test_tokens_that_are_not_shown_change_nobody_else():
    prompts, net = sample_prompts(5, 4, 9, 3, 0.1, generator=generator()), model()
    said = net.predict(prompts.tokens, prompts.y)
    assert said.shape == (5, 5) and said.dtype == torch.float64
    alone = net.predict(prompts.tokens[:, :5], prompts.y)  # one token left that is asked for
    assert_close(said[:, :1], alone, rtol=1e-5, atol=1e-5)
    other = prompts.tokens.clone()
    other[:, 6:] = 7.0
    assert_close(said[:, :2], net.predict(other, prompts.y)[:, :2], rtol=1e-5, atol=1e-5)
    other[:, 0] = 7.0  # a token that is shown does
    assert (net.predict(other, prompts.y)[:, :2] - said[:, :2]).abs().min() > 1e-4


def test_the_order_of_shown_tokens_is_nothing():
    prompts, net = sample_prompts(5, 4, 6, 3, 0.1, generator=generator()), model()
    order = torch.tensor([2, 0, 3, 1])
    tokens = torch.cat([prompts.tokens[:, order], prompts.tokens[:, 4:]], dim=1)
    again = net.predict(tokens, prompts.y[:, order])
    assert_close(again, net.predict(prompts.tokens, prompts.y), rtol=1e-4, atol=1e-5)


def test_with_every_key_it_is_the_depth_chapters_encoder():
    """The same weights on the same inputs: where the last of K tokens alone is not shown, and
    the other model has a token less to attend to, only its key is missing."""
    D = sample_dictionary(4, 5, 3, 2, 0.1, generator=generator(), dtype=torch.float32)
    deep = DeepTransformer(D, **SIZES, generator=generator(1))
    net = model()
    for mine, theirs in zip(net.layers.parameters(), deep.layers.parameters()):
        assert torch.equal(mine, theirs)
    y = torch.randn(2, 4, generator=generator(2))
    for layer in deep.layers:  # hide the token that is not shown from all, by hand
        plain = layer.forward
        layer.forward = lambda x, plain=plain: plain(
            x, src_mask=(torch.arange(5) >= 4).expand(5, 5)
        )
    tokens = D.tokens.T.expand(2, -1, -1)
    assert_close(net(tokens, y)[:, 0], deep(y)[:, 4])


def test_batches_are_nothing_and_wrong_shapes_are_refused():
    prompts, net = sample_prompts(7, 4, 6, 3, 0.1, generator=generator()), model()
    whole = net.predict(prompts.tokens, prompts.y)
    assert_close(whole, net.predict(prompts.tokens, prompts.y, batch=2), rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="none to predict"):
        net(prompts.tokens[:, :4].float(), prompts.y.float())
    with pytest.raises(InputError, match="tokens"):
        net(prompts.tokens[..., :2].float(), prompts.y.float())
