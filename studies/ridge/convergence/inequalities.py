"""The inequalities behind Theorem 1 on random instances, each as (name, larger sides, smaller
sides)."""

from collections.abc import Iterator
from dataclasses import dataclass

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
    scale = _power(-1, 1, (count, 1), generator)
    logits = scale * _normal((count, most), generator)  # (count, most)
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
    logits = torch.einsum("...dn,...dhe,...ek->...nhk", tokens[..., :N], Q, tokens)
    return logits.softmax(dim=-3)


def excess(Q: Tensor, w: Tensor, tokens: Tensor, root: Tensor, target: Tensor) -> Tensor:
    """L - L* of many models at once, (...,); w: (..., H, K), root Zbar: (..., N, N), target A:
    (..., N, K)."""
    heads = attention(Q, tokens, target.shape[-2])  # (..., N, H, K)
    table = (heads * w[..., None, :, :]).sum(dim=-2)  # (..., N, K)
    return (root @ (table - target)).square().sum(dim=(-2, -1)) / (2 * tokens.shape[-1])


@dataclass(frozen=True)
class Models:
    """`count` random problems, each with a model at a random point (Q, w) and a direction P.

    tokens: (count, d, K); root: Zbar, (count, N, N); target: (count, N, K); Q, P: (count, d, H,
    d); w: (count, H, K).
    """

    tokens: Tensor
    root: Tensor
    target: Tensor
    Q: Tensor
    w: Tensor
    P: Tensor

    @property
    def problem(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.tokens, self.root, self.target

    def attention(self, Q: Tensor) -> Tensor:
        """softmax(V^T Q_h v_k) of each model, (count, N, H, K)."""
        return attention(Q, self.tokens, self.target.shape[1])

    def weighted(self, Q: Tensor) -> Tensor:
        """B_k of each model, (count, K, N, H)."""
        return self.root[:, None] @ self.attention(Q).permute(0, 3, 1, 2)


def model_pairs(
    N: int, K: int, d: int, m: int, H: int, count: int, generator: torch.Generator
) -> Pairs:
    """The inequalities of the proof for `count` random models, at random points inside and
    outside its region."""
    models = _models(N, K, d, m, H, count, generator)
    zeta, b = conditioning(models.weighted(models.Q))
    sigma = torch.linalg.matrix_norm(models.root, 2)  # (count,)
    radius = models.tokens.norm(dim=1).amax(dim=1)  # (count,)
    start = excess(models.Q, 0 * models.w, *models.problem)
    rule = TheoryRule(zeta, b, sigma, radius, start, K)
    yield from _anywhere(models, rule, generator)
    yield from _in_region(models, rule, generator)


def _models(N, K, d, m, H, count, generator) -> Models:
    dictionaries = [
        sample_dictionary(N, K, d, m, tau.item(), generator=generator)
        for tau in _power(-2, 0, (count,), generator)
    ]
    scale = _power(-0.5, 1, (count, 1, 1, 1), generator)  # beta
    return Models(
        tokens=torch.stack([each.tokens for each in dictionaries]),
        root=torch.stack([covariance_root(label_covariance(each)) for each in dictionaries]),
        target=torch.stack([optimal_weights(each) for each in dictionaries]),
        Q=scale * _normal((count, d, H, d), generator),
        w=_normal((count, H, K), generator),
        P=_normal((count, d, H, d), generator),
    )


def _anywhere(models: Models, rule: TheoryRule, generator: torch.Generator) -> Pairs:
    """Q moved by any length, w of any size, any gamma."""
    Q, problem, zeta, K = models.Q, models.problem, rule.zeta, rule.K
    count, B = len(Q), models.weighted(Q)  # (count, K, N, H)

    # How far attention, and with it zeta, moves with Q.
    move = models.P * _power(-3, 0.5, (count, 1, 1, 1), generator)
    moved = models.attention(Q + move) - models.attention(Q)  # (count, N, H, K)
    lengths = move.square().sum(dim=(1, 3)).sqrt()  # (count, H)
    reach = rule.radius[:, None] ** 2 / 2**0.5 * lengths  # (count, H)
    yield "attention against Q", reach.ravel(), moved.norm(dim=1).amax(dim=2).ravel()
    after = models.weighted(Q + move)  # (count, K, N, H)
    shift = torch.linalg.matrix_norm(after - B, 2).amax(dim=1)  # (count,)
    yield "zeta against B", shift, (zeta.sqrt() - conditioning(after)[0].sqrt()).abs()

    # The gradient against the excess: at random, and for the error that w corrects most slowly.
    wild = models.w * _power(-2, 1, (count, 1, 1), generator)
    value, gradient = _gradient(Q, wild, problem, torch.ones(count))
    yield "PL", gradient, 2 * zeta / K * value
    slowest = torch.linalg.svdvals(B)[..., -1].argmin(dim=1)  # (count,), the token
    worst = B[torch.arange(count), slowest]  # (count, N, H)
    delta = torch.linalg.svd(worst)[0][..., -1:]  # (count, N, 1)
    yield "PL, w alone, worst error", (worst.mT @ delta).square().sum(dim=(1, 2)), zeta

    any_gamma = _power(-1, 1.5, (count,), generator)
    bound = curvature_bound(
        gamma=any_gamma,
        b=rule.b,
        sigma=rule.sigma,
        radius=rule.radius,
        w_norm=wild.norm(dim=(1, 2)),
        error_norm=(2 * K * value).sqrt(),
        K=K,
    )
    yield "curvature", bound, _curvature(Q, wild, problem, any_gamma)


def _in_region(models: Models, rule: TheoryRule, generator: torch.Generator) -> Pairs:
    """In the region of the proof: Q in the ball, w no longer than its bound, excess no larger
    than at the start."""
    Q, w, P, problem, gamma = models.Q, models.w, models.P, models.problem, rule.gamma
    count, mu = len(Q), gamma**2 * rule.zeta / (2 * rule.K)

    drift = torch.rand(count, generator=generator, dtype=Q.dtype) * rule.w_bound / gamma
    near = Q + P * (drift / P.flatten(1).norm(dim=1))[:, None, None, None]
    yield "zeta in the ball", conditioning(models.weighted(near))[0], rule.zeta / 2

    # One step of a random length, up to the longest that the proof allows.
    inside = _into_region(near, w, problem, rule, generator)
    value, gradient = _gradient(near, inside, problem, gamma)
    step = torch.rand(count, generator=generator, dtype=Q.dtype) * rule.rate_Q
    Q_grad, w_grad = _gradients(near, inside, problem)
    new_Q = near - step[:, None, None, None] * Q_grad
    new_w = inside - (gamma**2 * step)[:, None, None] * w_grad
    after = excess(new_Q, new_w, *problem)
    yield "descent", value - after, step / 2 * gradient
    telescoped = (8 / mu).sqrt() * (value.sqrt() - after.sqrt())
    yield "length of a step", telescoped, step * gradient.sqrt()
    yield "contraction of a step", value - after, step * mu * value


def _into_region(
    Q: Tensor, w: Tensor, problem, rule: TheoryRule, generator: torch.Generator
) -> Tensor:
    """w scaled and turned so that ||w|| <= its bound and the excess is at most that of w = 0,
    (count, H, K)."""
    here, there, start = excess(Q, w, *problem), excess(Q, -w, *problem), rule.excess
    # Along w the excess is a parabola, lowest at `best`, and above the start beyond twice that.
    best = (there - here) / (2 * (here + there - 2 * start))  # (count,)
    share = 2 * torch.rand(len(best), generator=generator, dtype=w.dtype)
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
    by_Q, by_w = Q_grad.square().sum(dim=(1, 2, 3)), w_grad.square().sum(dim=(1, 2))
    return excess(Q, w, *problem), by_Q + gamma**2 * by_w


def _curvature(Q: Tensor, w: Tensor, problem, gamma: Tensor) -> Tensor:
    """The largest eigenvalue of each model's Hessian in (Q, alpha), by automatic
    differentiation, (count,)."""

    def value(flat, gamma, *problem):
        new_Q, alpha = flat.split([Q[0].numel(), w[0].numel()])
        return excess(new_Q.view(Q.shape[1:]), gamma * alpha.view(w.shape[1:]), *problem)

    points = torch.cat([Q.flatten(1), (w / gamma[:, None, None]).flatten(1)], dim=1)
    hessians = torch.func.vmap(torch.func.hessian(value))(points, gamma, *problem)
    return torch.linalg.eigvalsh(hessians)[:, -1]


def _normal(shape, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _power(low: float, high: float, shape, generator: torch.Generator) -> Tensor:
    """10 to uniform powers between `low` and `high`."""
    share = torch.rand(shape, generator=generator, dtype=torch.float64)
    return 10 ** (low + (high - low) * share)
