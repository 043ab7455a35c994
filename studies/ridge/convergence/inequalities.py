"""The inequalities behind Theorem 1 on random instances, each as (name, larger sides, smaller
sides)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from iclbook.ridge.convergence import (
    TheoryRule,
    conditioning,
    curvature_bound,
    softmax_derivatives,
)
from iclbook.ridge.population_loss import covariance_root, label_covariance, optimal_weights
from iclbook.ridge.prompt import sample_dictionary

Pairs = Iterator[tuple[str, Tensor, Tensor]]


def softmax_pairs(count: int, generator: torch.Generator, most: int = 12) -> Pairs:
    """The three bounds on softmax at `count` random points and directions, of up to `most`
    entries."""
    entries = torch.randint(2, most + 1, (count, 1), generator=generator)  # (count, 1)
    logits = _power(-1, 1, (count, 1), generator) * _normal(
        (count, most), generator
    )  # (count, most)
    logits = logits.masked_fill(torch.arange(most) >= entries, -torch.inf)
    u = _normal((count, most), generator)  # (count, most)
    u[::2] = u[::2].sign()
    first, second = softmax_derivatives(logits.softmax(dim=1), u)  # (count, most) each
    largest = u.masked_fill(torch.arange(most) >= entries, 0).abs().amax(dim=1)  # (count,)
    yield "zero-sum vectors", first.abs().sum(dim=1) / 2**0.5, first.norm(dim=1)
    yield "softmax, first derivative", largest / 2**0.5, first.norm(dim=1)
    yield "softmax, second derivative", 2**0.5 * largest.square(), second.norm(dim=1)


def attention(Q: Tensor, tokens: Tensor, N: int) -> Tensor:
    """softmax(V^T Q_h v_k) for many models at once, (..., N, H, K), from Q: (..., d, H, d),
    tokens: (..., d, K)."""
    return torch.einsum("...dn,...dhe,...ek->...nhk", tokens[..., :N], Q, tokens).softmax(
        dim=-3
    )


def excess(Q: Tensor, w: Tensor, tokens: Tensor, root: Tensor, target: Tensor) -> Tensor:
    """L - L* of many models at once, (...,); w: (..., H, K), root Zbar: (..., N, N), target A:
    (..., N, K)."""
    table = (attention(Q, tokens, target.shape[-2]) * w[..., None, :, :]).sum(
        dim=-2
    )  # (..., N, K)
    return (root @ (table - target)).square().sum(dim=(-2, -1)) / (2 * tokens.shape[-1])


def model_pairs(
    N: int, K: int, d: int, m: int, H: int, count: int, generator: torch.Generator
) -> Pairs:
    """The inequalities of the proof for `count` random models, at random points inside and
    outside its region."""
    dictionaries = [sample_dictionary(N, K, d, m, tau.item(), generator=generator)
                    for tau in _power(-2, 0, (count,), generator)]  # fmt: skip
    tokens = torch.stack([dictionary.tokens for dictionary in dictionaries])  # (count, d, K)
    root = torch.stack(
        [covariance_root(label_covariance(dictionary)) for dictionary in dictionaries]
    )  # (count, N, N)
    problem = (
        tokens,
        root,
        torch.stack([optimal_weights(dictionary) for dictionary in dictionaries]),
    )
    scale = _power(-0.5, 1, (count, 1, 1, 1), generator)  # beta
    Q = scale * _normal((count, d, H, d), generator)  # (count, d, H, d)
    w = _normal((count, H, K), generator)  # (count, H, K)
    P = _normal((count, d, H, d), generator)  # (count, d, H, d), a direction

    def weighted(Q: Tensor) -> Tensor:
        return root[:, None] @ attention(Q, tokens, N).permute(0, 3, 1, 2)  # (count, K, N, H)

    B = weighted(Q)
    zeta, b = conditioning(B)
    sigma, radius = (
        torch.linalg.matrix_norm(root, 2),
        tokens.norm(dim=1).amax(dim=1),
    )  # (count,) each
    rule = TheoryRule(zeta, b, sigma, radius, excess(Q, 0 * w, *problem), K)
    gamma, mu = rule.gamma, rule.gamma**2 * zeta / (2 * K)

    # Anywhere: Q moved by any length, w of any size, any gamma.
    move = P * _power(-3, 0.5, (count, 1, 1, 1), generator)
    moved = attention(Q + move, tokens, N) - attention(Q, tokens, N)  # (count, N, H, K)
    lengths = move.square().sum(dim=(1, 3)).sqrt()  # (count, H)
    reach = radius[:, None] ** 2 / 2**0.5 * lengths  # (count, H)
    yield "attention against Q", reach.ravel(), moved.norm(dim=1).amax(dim=2).ravel()
    shift = torch.linalg.matrix_norm(weighted(Q + move) - B, 2).amax(dim=1)  # (count,)
    yield (
        "zeta against B",
        shift,
        (zeta.sqrt() - conditioning(weighted(Q + move))[0].sqrt()).abs(),
    )
    wild = w * _power(-2, 1, (count, 1, 1), generator)
    value, gradient = _gradient(Q, wild, problem, torch.ones(count))
    yield "PL", gradient, 2 * zeta / K * value
    worst = B[
        torch.arange(count), torch.linalg.svdvals(B)[..., -1].argmin(dim=1)
    ]  # (count, N, H)
    delta = torch.linalg.svd(worst)[0][
        ..., -1:
    ]  # (count, N, 1), the error that w corrects most slowly
    yield "PL, w alone, worst error", (worst.mT @ delta).square().sum(dim=(1, 2)), zeta
    any_gamma = _power(-1, 1.5, (count,), generator)
    lengths = {"w_norm": wild.norm(dim=(1, 2)), "error_norm": (2 * K * value).sqrt()}
    bound = curvature_bound(gamma=any_gamma, b=b, sigma=sigma, radius=radius, K=K, **lengths)
    yield "curvature", bound, _curvature(Q, wild, problem, any_gamma)

    # In the region of the proof: Q in the ball, w no longer than its bound, excess no larger
    # than at the start.
    drift = (
        torch.rand(count, generator=generator, dtype=Q.dtype) * rule.w_bound / gamma
    )  # (count,)
    near = Q + P * (drift / P.flatten(1).norm(dim=1))[:, None, None, None]
    yield "zeta in the ball", conditioning(weighted(near))[0], zeta / 2
    inside = _into_region(near, w, problem, rule, generator)
    value, gradient = _gradient(near, inside, problem, gamma)
    step = torch.rand(count, generator=generator, dtype=Q.dtype) * rule.rate_Q
    Q_grad, w_grad = _gradients(near, inside, problem)
    new_Q, new_w = (
        near - step[:, None, None, None] * Q_grad,
        inside - (gamma**2 * step)[:, None, None] * w_grad,
    )
    after = excess(new_Q, new_w, *problem)
    yield "descent", value - after, step / 2 * gradient
    yield (
        "length of a step",
        (8 / mu).sqrt() * (value.sqrt() - after.sqrt()),
        step * gradient.sqrt(),
    )
    yield "contraction of a step", value - after, step * mu * value


def _into_region(
    Q: Tensor, w: Tensor, problem, rule: TheoryRule, generator: torch.Generator
) -> Tensor:
    """w scaled and turned so that ||w|| <= its bound and the excess is at most that of w = 0,
    (count, H, K)."""
    here, there, start = excess(Q, w, *problem), excess(Q, -w, *problem), rule.excess
    best = (there - here) / (
        2 * (here + there - 2 * start)
    )  # (count,), where the parabola along w is lowest
    share = 2 * torch.rand(
        len(best), generator=generator, dtype=w.dtype
    )  # beyond 2 the excess is above the start
    size = torch.minimum(share * best.abs(), rule.w_bound / w.norm(dim=(1, 2)))
    return (size * best.sign())[:, None, None] * w


def _gradients(Q: Tensor, w: Tensor, problem) -> tuple[Tensor, Tensor]:
    """The gradients of each model's excess in Q and in w, by automatic differentiation."""
    Q, w = Q.clone().requires_grad_(), w.clone().requires_grad_()
    return torch.autograd.grad(excess(Q, w, *problem).sum(), (Q, w))


def _gradient(Q: Tensor, w: Tensor, problem, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """(excess, squared norm of its gradient in (Q, alpha)) where w = gamma alpha, (count,)
    each."""
    Q_grad, w_grad = _gradients(Q, w, problem)
    return excess(Q, w, *problem), Q_grad.square().sum(
        dim=(1, 2, 3)
    ) + gamma**2 * w_grad.square().sum(dim=(1, 2))


def _curvature(Q: Tensor, w: Tensor, problem, gamma: Tensor) -> Tensor:
    """The largest eigenvalue of each model's Hessian in (Q, alpha), by automatic
    differentiation, (count,)."""

    def value(flat, gamma, *problem):
        new_Q, alpha = (
            flat[: Q[0].numel()].view(Q.shape[1:]),
            flat[Q[0].numel() :].view(w.shape[1:]),
        )
        return excess(new_Q, gamma * alpha, *problem)

    points = torch.cat([Q.flatten(1), (w / gamma[:, None, None]).flatten(1)], dim=1)
    return torch.linalg.eigvalsh(
        torch.func.vmap(torch.func.hessian(value))(points, gamma, *problem)
    )[:, -1]


def _normal(shape, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _power(low: float, high: float, shape, generator: torch.Generator) -> Tensor:
    """10 to uniform powers between `low` and `high`."""
    return 10 ** (
        low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
    )
