import math

import pytest
import torch
from dual.draws import EXAMPLES, gap, gen, prompts
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from iclbook.dual.one_step import DualModel
from iclbook.dual.representation import effective_rank, repeated_steps
from iclbook.errors import InputError


@EXAMPLES
@given(prompts(batches=((), (2,))), st.floats(-0.5, 2.5), st.integers(1, 30))
def test_closed_form_of_repeated_steps(prompt, alpha, steps):
    phi, values, _, g = prompt
    D = 1 + torch.rand(phi.shape[:-2], generator=g, dtype=torch.float64)
    model = DualModel.start(phi[..., -1:, :], values[..., -1:, :], D, 0.7)
    G = values[..., :-1, :].mT @ phi[..., :-1, :] / D[..., None, None]
    path = repeated_steps(model.W, G, alpha, steps)
    assert path.shape == (steps + 1, *model.W.shape)
    scale = model.W.abs().max() + G.abs().max()
    for W in path:
        assert gap(model.W, W, (1 + abs(1 - alpha)) ** steps * scale + 1e-300) < 1e-10
        model = model.step(phi[..., :-1, :], values[..., :-1, :], alpha)


def test_growth_and_limits():
    W_0, G = (
        torch.randn(3, 4, generator=gen(0), dtype=torch.float64),
        torch.randn(3, 4, generator=gen(1), dtype=torch.float64),
    )
    for alpha in (0.05, 0.5, 1.0, 1.7, 1.95):
        torch.testing.assert_close(repeated_steps(W_0, G, alpha, 1000)[-1], G / alpha, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(repeated_steps(W_0, G, 0.0, 200)[-1], W_0 + 200 * G, rtol=1e-12, atol=0)
    path = repeated_steps(W_0, G, 2.0, 201)  # bounded, yet no limit: W_0, G - W_0, W_0, ...
    torch.testing.assert_close(path[-2], W_0, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(path[-1], G - W_0, rtol=1e-12, atol=1e-12)
    assert repeated_steps(W_0, G, 2.1, 200)[-1].norm() > 1e6
    assert repeated_steps(W_0, G, -0.1, 200)[-1].norm() > 1e6


def test_effective_rank_against_scipy():
    x = torch.randn(2, 9, 5, generator=gen(2), dtype=torch.float64)
    for found, one in zip(effective_rank(x), x):
        assert math.isclose(found, math.exp(entropy(torch.linalg.svdvals(one).numpy())), rel_tol=1e-12)


def test_effective_rank_at_the_ends():
    assert math.isclose(effective_rank(torch.eye(6, dtype=torch.float64) * 3e-9), 6, rel_tol=1e-12)
    line = torch.outer(torch.arange(1.0, 8.0, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    assert math.isclose(effective_rank(line), 1, rel_tol=1e-9)
    assert effective_rank(torch.zeros(4, 3)) == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: repeated_steps(torch.ones(2, 2), torch.ones(2, 2), 0.1, 0), "steps must be"),
        (lambda: effective_rank(torch.ones(3)), "must have shape"),
        (lambda: effective_rank(torch.full((3, 2), torch.nan)), "NaN"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
