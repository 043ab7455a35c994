"""The in-context regression task and its training."""

import pytest
import torch
from dual_draws import gen

from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts, train
from iclbook.errors import InputError


def test_labels_are_linear_in_x_and_the_querys_is_hidden():
    tokens, labels = sample_prompts(50, 12, 4, generator=gen(0), dtype=torch.float64)
    x, y = tokens[..., :-1], tokens[..., -1]
    w = torch.linalg.lstsq(x[:, :-1], y[:, :-1, None]).solution  # (50, 4, 1)
    torch.testing.assert_close(x[:, -1:] @ w, labels[:, None, None])
    assert (y[:, -1] == 0).all() and tokens.shape == (50, 13, 5) and x.abs().max() <= 1
    assert (w[0] - w[1]).abs().max() > 0.1  # each prompt has its own


def test_moments_are_those_of_the_stated_distributions():
    tokens, labels = sample_prompts(40_000, 2, 3, generator=gen(1), dtype=torch.float64)
    x = tokens[:, 0, :-1].flatten()
    for draws, wanted in ((x, 0.0), (x.square(), 1 / 3), (labels, 0.0), (labels.square(), 1.0)):
        assert (draws.mean() - wanted).abs() < 4.5 * draws.std() / len(draws) ** 0.5


def test_training_lowers_the_loss_below_that_of_predicting_zero():
    layer = SelfAttention(3, 3, generator=gen(2), output=False)
    # On prompts of its own, with the labels as they are; E y^2 = d / 3.
    tokens, labels = sample_prompts(2_000, 15, 2, generator=gen(4))
    losses = {}
    how = dict(N=15, batch=64, rate=1e-2, generator=gen(3))
    for step in train(layer, 300, at=(0, 100, 300), **how):
        with torch.no_grad():
            predicted = layer(tokens, last_only=True)[:, 0, -1]
        losses[step] = (predicted - labels).square()
    assert list(losses) == [0, 100, 300]
    gain = labels.square() - losses[300]
    assert gain.mean() > 4.5 * gain.std() / 2_000**0.5
    assert losses[300].mean() < losses[0].mean()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: sample_prompts(0, 2, 3, generator=gen(0)), "count must be"),
        (
            lambda: next(
                train(SelfAttention(3, 3, generator=gen(0)), 0, at=[0], N=2, generator=gen(0))
            ),
            "steps must be",
        ),
        (
            lambda: next(
                train(
                    SelfAttention(3, 3, generator=gen(0)),
                    1,
                    at=[0],
                    N=2,
                    rate=-1.0,
                    generator=gen(0),
                )
            ),
            "rate must be",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
