import math

import pytest
import torch
from dual_draws import EXAMPLES, gap, gen, prompts
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from iclbook.dual.kernel import exact_features, softmax_kernel
from iclbook.dual.modified import values_less_negatives
from iclbook.dual.one_step import DualModel
from iclbook.dual.representation import (
    align_two_views,
    effective_rank,
    mean_share,
    negatives_growth,
    repeated_steps,
)
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
        torch.testing.assert_close(
            repeated_steps(W_0, G, alpha, 1000)[-1], G / alpha, rtol=1e-10, atol=1e-10
        )
    torch.testing.assert_close(
        repeated_steps(W_0, G, 0.0, 200)[-1], W_0 + 200 * G, rtol=1e-12, atol=0
    )
    path = repeated_steps(W_0, G, 2.0, 201)  # bounded, yet no limit: W_0, G - W_0, W_0, ...
    torch.testing.assert_close(path[-2], W_0, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(path[-1], G - W_0, rtol=1e-12, atol=1e-12)
    assert repeated_steps(W_0, G, 2.1, 200)[-1].norm() > 1e6
    assert repeated_steps(W_0, G, -0.1, 200)[-1].norm() > 1e6


def test_effective_rank_against_scipy():
    x = torch.randn(2, 9, 5, generator=gen(2), dtype=torch.float64)
    for found, one in zip(effective_rank(x), x):
        assert math.isclose(
            found, math.exp(entropy(torch.linalg.svdvals(one).numpy())), rel_tol=1e-12
        )


def test_effective_rank_at_the_ends():
    assert math.isclose(
        effective_rank(torch.eye(6, dtype=torch.float64) * 3e-9), 6, rel_tol=1e-12
    )
    line = torch.outer(
        torch.arange(1.0, 8.0, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    )
    assert math.isclose(effective_rank(line), 1, rel_tol=1e-9)
    assert effective_rank(torch.zeros(4, 3)) == 0


@EXAMPLES
@given(prompts(batches=((), (2,))))
def test_exact_features_give_back_the_kernel(prompt):
    keys, _, query, _ = prompt
    points = torch.cat([keys, query], dim=-2) / 10
    kernel = softmax_kernel(points, points, shift=points.square().sum(-1).max())
    phi = exact_features(kernel)
    torch.testing.assert_close(phi @ phi.mT, kernel, rtol=1e-10, atol=1e-12)


def test_mean_share_at_the_ends_and_as_one_less_the_scatter():
    x = torch.randn(3, 7, 4, generator=gen(20), dtype=torch.float64)
    scatter = x.var(-2, correction=0).sum(-1) / x.square().sum(-1).mean(-1)
    torch.testing.assert_close(mean_share(x), 1 - scatter, rtol=1e-12, atol=0)
    same, cancelling = torch.ones(5, 3), torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    assert (
        mean_share(same) == 1
        and mean_share(cancelling) == 0
        and mean_share(torch.zeros(4, 3)) == 0
    )


def test_negatives_growth_against_monte_carlo():
    """Values with covariance `gram` over the tokens: the mean ratio within 5 standard
    errors."""
    n, draws = 9, 40_000
    root, keys = (torch.randn(n, d, generator=gen(21 + d), dtype=torch.float64) for d in (n, 3))
    gram, kernel = root @ root.T, softmax_kernel(keys, keys)
    values = torch.einsum(
        "nm,smv->snv", root, torch.randn(draws, n, 2, generator=gen(23), dtype=torch.float64)
    )
    negatives = torch.arange(n) % 3 == 0
    a, b, c = negatives_growth(gram, kernel, negatives)

    def square(v):
        return torch.einsum("snv,nm,smv->s", v, kernel, v)

    plain = square(values)
    for beta in (0.3, 1.0, 2.0, (2 * b / c).item()):
        changed = square(values_less_negatives(values, negatives.unsqueeze(0), beta)[:, 0])
        ratio = changed.mean() / plain.mean()
        error = (changed - ratio * plain).std() / plain.mean() / draws**0.5
        assert abs(ratio - (a - 2 * beta * b + beta**2 * c) / a) < 5 * error


def start(shape):
    g = gen(24)
    U, W = (torch.randn(3, n, generator=g, dtype=torch.float64) for n in shape)
    return U / U.norm(), W / W.norm(), torch.randn(*shape, generator=g, dtype=torch.float64)


def test_learned_targets_end_on_the_leading_singular_vectors():
    U, W, M = start((5, 8))
    left, values, right = torch.linalg.svd(M)
    *_, (U, W) = align_two_views(U, W, M, 1 / values[0].item(), 3_000, learn_targets=True)
    torch.testing.assert_close(((U @ M) * W).sum(), values[0], rtol=1e-10, atol=0)
    for found, leading in ((U, left[:, 0]), (W, right[0])):
        torch.testing.assert_close(
            (found @ leading).norm(), torch.tensor(1.0, dtype=torch.float64)
        )


def test_fixed_targets_end_on_the_one_direction_there_is():
    U, W, M = start((5, 8))
    path = list(align_two_views(U, W, M, 0.5, 2_000, learn_targets=False))
    assert len(path) == 2_001 and all(moved is U for moved, _ in path)
    torch.testing.assert_close(path[-1][1], U @ M / (U @ M).norm(), rtol=1e-8, atol=1e-8)


def test_an_alignment_step_is_autograds_and_both_views_move_at_once():
    U, W, M = (x.requires_grad_() for x in start((5, 8)))
    ((U @ M) * W).sum().backward()
    _, (U_1, W_1) = align_two_views(
        U.detach(), W.detach(), M.detach(), 0.3, 1, learn_targets=True
    )
    for before, after in ((U, U_1), (W, W_1)):
        wanted = before.detach() + 0.3 * before.grad
        torch.testing.assert_close(after, wanted / wanted.norm(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: repeated_steps(torch.ones(2, 2), torch.ones(2, 2), 0.1, 0), "steps must be"),
        (lambda: effective_rank(torch.ones(3)), "must have shape"),
        (lambda: effective_rank(torch.full((3, 2), torch.nan)), "NaN"),
        (lambda: mean_share(torch.ones(3)), "must have shape"),
        (lambda: exact_features(torch.ones(3, 2)), "must have shape"),
        (
            lambda: list(align_two_views(*start((5, 8)), 0.1, 0, learn_targets=True)),
            "steps must be",
        ),
        (
            lambda: list(align_two_views(*start((5, 8)), -0.1, 2, learn_targets=True)),
            "rate must be",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
