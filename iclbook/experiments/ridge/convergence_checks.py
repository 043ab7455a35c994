"""The inequalities behind Theorem 1 on random instances: each as (name, larger side, smaller side)."""

import math

import torch
from torch import Tensor

from iclbook.ridge.convergence import (
    TheoryRule,
    conditioning,
    curvature_bound,
    softmax_derivatives,
    weighted_attention,
)
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary


def softmax_pairs(generator: torch.Generator):
    """(name, large side, small side) of the three bounds on softmax, at a random point and direction."""
    n = torch.randint(2, 13, (), generator=generator).item()
    s = (_power(-1, 1, generator) * _normal(n, generator)).softmax(dim=0)  # (n,)
    u = _normal(n, generator)  # (n,)
    u = u.sign() if torch.rand((), generator=generator) < 0.5 else u
    first, second = softmax_derivatives(s, u)
    yield "zero-sum vectors", first.abs().sum() / 2**0.5, first.norm()
    yield "softmax, first derivative", u.abs().max() / 2**0.5, first.norm()
    yield "softmax, second derivative", 2**0.5 * u.abs().max() ** 2, second.norm()


def model_pairs(N, K, d, m, H, generator: torch.Generator):
    """(name, large side, small side) of the inequalities of the proof, for a random model at random points."""
    dictionary = sample_dictionary(N, K, d, m, _power(-2, 0, generator), generator=generator)
    loss = PopulationLoss.of(dictionary)
    model = MultiHeadAttention(dictionary, H, generator=generator, beta=_power(-0.5, 1, generator))
    rule, B = TheoryRule.at(model, loss), weighted_attention(model, loss)
    gamma, mu = rule.gamma, rule.gamma**2 * rule.zeta / (2 * K)
    Q, S = model.Q.detach().clone(), model.attention().detach()

    # Anywhere: a move of Q of any length, a w of any size.
    P = _normal((d, H, d), generator) * _power(-3, 0.5, generator)  # (d, H, d)
    model.Q.data = Q + P
    heads = P.permute(1, 0, 2).flatten(1).norm(dim=1)  # (H,)
    moved = (model.attention().detach() - S).norm(dim=0).amax(dim=1)  # (H,)
    worst = (moved / heads).argmax()
    yield "attention against Q", rule.radius**2 / 2**0.5 * heads[worst], moved[worst]
    shift = torch.linalg.matrix_norm(weighted_attention(model, loss) - B, 2).max().item()
    yield "zeta against B", shift, rule.zeta**0.5 - conditioning(weighted_attention(model, loss))[0] ** 0.5
    model.Q.data = Q
    model.w.data = _normal((H, K), generator) * _power(-2, 1, generator)  # (H, K)
    excess, gradient, _ = _gradient(model, loss, 1.0)
    yield "PL", gradient, 2 * rule.zeta / K * excess
    yield "curvature", curvature_bound(
        gamma=1.0, b=rule.b, sigma=rule.sigma, radius=rule.radius, w_norm=model.w.norm().item(),
        error_norm=math.sqrt(2 * K * excess), K=K), _curvature(model, loss)  # fmt: skip
    worst = torch.linalg.svdvals(B)[:, -1].argmin()
    delta = torch.zeros(K, N, 1, dtype=B.dtype)
    delta[worst] = torch.linalg.svd(B[worst])[0][:, -1:]  # the error that w corrects most slowly
    yield "PL, w alone, worst error", (B.mT @ delta).square().sum() / K**2, rule.zeta / K**2 * delta.square().sum()

    # In the region of the proof: Q in the ball, w no longer than its bound, excess no larger than at the start.
    model.Q.data = Q + P * (_uniform(generator) * rule.w_bound / gamma / P.norm())
    yield "zeta in the ball", conditioning(weighted_attention(model, loss))[0], rule.zeta / 2
    _shrink_into_region(model, loss, rule, _normal((H, K), generator), generator)
    excess, gradient, smaller = _gradient(model, loss, gamma)
    step = _uniform(generator) * rule.rate_Q
    after = smaller(step)
    yield "descent", excess - after, step / 2 * gradient
    yield "length of a step", math.sqrt(8 / mu) * (excess**0.5 - after**0.5), step * gradient**0.5
    yield "contraction of a step", (1 - step * mu) * excess, after


def _shrink_into_region(model, loss, rule, direction: Tensor, generator) -> None:
    """Set w along +-direction so that ||w|| <= its bound and the excess is at most that of w = 0."""
    model.w.data = direction
    table = model().detach()
    value, _ = loss(table)
    slope = (loss(torch.zeros_like(table))[1] * table).sum()
    best = -slope / (2 * (value - rule.excess - slope))  # where the parabola along the direction is lowest
    scale = min(2 * _uniform(generator) * abs(best.item()), rule.w_bound / direction.norm().item())
    model.w.data = math.copysign(scale, best.item()) * direction


def _gradient(model, loss, gamma: float):
    """(excess, squared norm of the gradient in (Q, alpha), step -> excess after it) of a model, w = gamma alpha."""
    attention = model.attention().detach()  # (N, H, K)
    value, G = loss((attention * model.w.detach()).sum(dim=1))
    model.set_gradient(attention, G)
    squared = (model.Q.grad.square().sum() + gamma**2 * model.w.grad.square().sum()).item()

    def after(step: float) -> float:
        Q, w = model.Q.data, model.w.data
        model.Q.data, model.w.data = Q - step * model.Q.grad, w - gamma**2 * step * model.w.grad
        moved = loss(model().detach())[0].item()
        model.Q.data, model.w.data = Q, w
        return moved

    return value.item(), squared, after


def _curvature(model, loss) -> float:
    """The largest eigenvalue of the Hessian in (Q, w), by automatic differentiation."""
    parameters = torch.cat([model.Q.detach().flatten(), model.w.detach().flatten()])
    split, shapes = model.Q.numel(), (model.Q.shape, model.w.shape)

    def value(flat):
        new = {"Q": flat[:split].view(shapes[0]), "w": flat[split:].view(shapes[1])}
        return loss(torch.func.functional_call(model, new))[0]

    return torch.linalg.eigvalsh(torch.func.hessian(value)(parameters))[-1].item()


def _normal(shape, generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _uniform(generator) -> float:
    return torch.rand((), generator=generator, dtype=torch.float64).item()


def _power(low: float, high: float, generator) -> float:
    """10 to a uniform power between `low` and `high`."""
    return 10 ** (low + (high - low) * _uniform(generator))
