"""One step: softmax attention is one gradient step on the dual model f(x) = W phi(x).

The loss is L(W) = -(1 / (eta D)) sum_i v_i^T W phi(k_i), D the query's softmax denominator.
From W_0 = (1 / D) v_q phi(k_q)^T one step with rate eta gives W_1, and W_1 phi(q) is the
attention output. Both classes are immutable: `step` returns the next model, so that a reader
can keep every one of them.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iclbook.dual.kernel import check_pairs, check_tokens, softmax_kernel
from iclbook.errors import require


class _Trainable:
    """What the two models share: the loss, and the checks of a step. Fields D: (...), eta."""

    def _check(self, views: Tensor, values: Tensor, width: int | None = None) -> None:
        require(0 < self.eta < math.inf, f"eta must be finite and above 0, got {self.eta!r}")
        usable = bool((self.D.isfinite() & (self.D != 0)).all())
        require(usable, "D must be finite and not 0; shift the features in the log domain")
        check_pairs(views, values, width)

    def loss(self, views: Tensor, values: Tensor, alpha: float = 0.0) -> Tensor:
        """Return -(1 / (eta D)) sum_i v_i^T f(view_i) + (alpha / (2 eta)) ||W||_F^2: (...)."""
        check_pairs(views, values)
        aligned = (values * self(views)).sum((-2, -1))  # (...)
        return -aligned / (self.eta * self.D) + alpha / (2 * self.eta) * self.squared_norm()


@dataclass(frozen=True)
class DualModel(_Trainable):
    """f = W phi, W (..., d_v, d_r), trained on pairs (phi(k_i), v_i); D, eta: of the loss."""

    W: Tensor
    D: Tensor
    eta: float = 1.0

    @classmethod
    def start(cls, phi: Tensor, values: Tensor, D: Tensor, eta: float = 1.0) -> "DualModel":
        """Return W_0 = (1 / D) v_q phi(k_q)^T from phi (..., 1, d_r), values (..., 1, d_v)."""
        check_pairs(phi, values)
        return cls(values.mT @ phi / D[..., None, None], D, eta)

    def __call__(self, phi: Tensor) -> Tensor:
        """Return f, shape (..., M, d_v), at the features phi (..., M, d_r)."""
        check_tokens("phi", phi, self.W.shape[-1])
        return phi @ self.W.mT  # (..., M, d_v)

    def squared_norm(self) -> Tensor:
        """Return ||W||_F^2, shape (...); phi times t divides it by t^2, since D follows."""
        return self.W.square().sum((-2, -1))

    def step(self, phi: Tensor, values: Tensor, alpha: float = 0.0, rate=None) -> "DualModel":
        """Return the model after W <- W - rate dL/dW.

        phi: (..., N, d_r); values: (..., N, d_v); rate: eta unless given.
        """
        self._check(phi, values, self.W.shape[-1])
        rate = self.eta if rate is None else rate
        fit = values.mT @ phi / (self.eta * self.D[..., None, None])  # (..., d_v, d_r)
        return replace(self, W=self.W - rate * (alpha / self.eta * self.W - fit))


@dataclass(frozen=True)
class KernelDualModel(_Trainable):
    """The kernel trick: f(x) = (1 / D) sum_i z_i k(k_i, x).

    W = (1 / D) sum_i z_i phi(k_i)^T stays implicit. views: the k_i, (..., n, d); coefficients:
    the z_i, (..., n, d_v); kernel: any (x, y) -> (..., n, m).
    """

    views: Tensor
    coefficients: Tensor
    D: Tensor
    eta: float = 1.0
    kernel: Callable[[Tensor, Tensor], Tensor] = softmax_kernel

    @classmethod
    def start(
        cls, views, values, D, eta: float = 1.0, kernel=softmax_kernel
    ) -> "KernelDualModel":
        """Return the twin of W_0, from the query's own pair.

        views: (..., 1, d); values: (..., 1, d_v).
        """
        check_pairs(views, values)
        return cls(views, values, D, eta, kernel)

    def __call__(self, x: Tensor) -> Tensor:
        """Return f, shape (..., M, d_v), at the tokens x (..., M, d)."""
        check_tokens("x", x, self.views.shape[-1])
        kernel = self.kernel(self.views, x)  # (..., n, M)
        return kernel.mT @ self.coefficients / self.D[..., None, None]  # (..., M, d_v)

    def squared_norm(self) -> Tensor:
        """Return ||W||_F^2 = (1 / D) sum_i z_i^T f(k_i), shape (...)."""
        return (self.coefficients * self(self.views)).sum((-2, -1)) / self.D

    def step(
        self, views: Tensor, values: Tensor, alpha: float = 0.0, rate=None
    ) -> "KernelDualModel":
        """Return the model after the same step: old coefficients decay, the new pairs join."""
        self._check(views, values, self.views.shape[-1])
        size = 1.0 if rate is None else rate / self.eta
        joined = torch.cat([self.views, views], dim=-2)  # (..., n + N, d)
        decayed = (1 - size * alpha) * self.coefficients  # (..., n, d_v)
        coefficients = torch.cat([decayed, size * values], dim=-2)  # (..., n + N, d_v)
        return replace(self, views=joined, coefficients=coefficients)


def exact_start(
    keys: Tensor, values: Tensor, query: Tensor, eta: float = 1.0
) -> KernelDualModel:
    """Return the twin before training, for the query's exact softmax attention.

    keys: (..., N + 1, d), the query's own key last; values: (..., N + 1, d_v); query: (..., 1,
    d). The kernel is divided by its largest value, so that exp cannot overflow.
    """
    check_pairs(keys, values)
    scores = query @ keys.mT  # (..., 1, N + 1)
    shift = scores.amax(-1, keepdim=True)  # (..., 1, 1)
    D = (scores - shift).exp().sum((-2, -1))  # (...)
    kernel = functools.partial(softmax_kernel, shift=shift)
    return KernelDualModel.start(keys[..., -1:, :], values[..., -1:, :], D, eta, kernel)


def one_at_a_time(model, views: Tensor, values: Tensor, alpha: float = 0.0) -> Iterator:
    """Yield `model`, then the model after each of the N single-demonstration steps.

    The loss is linear in W, so with alpha = 0 the last one equals one full step, in any order.
    """
    check_pairs(views, values)
    yield model
    for i in range(views.shape[-2]):
        model = model.step(views[..., i : i + 1, :], values[..., i : i + 1, :], alpha)
        yield model


def all_at_once(model, views: Tensor, values: Tensor) -> Iterator:
    """Yield `model`, then the model after each of N steps on all demonstrations at eta / N."""
    check_pairs(views, values)
    yield model
    for _ in range(views.shape[-2]):
        model = model.step(views, values, rate=model.eta / views.shape[-2])
        yield model


def expected_over_orders(parts: Tensor) -> Tensor:
    """Return the mean over all orders of ||sum of the parts not yet shown||^2: (N + 1, ...).

    parts: (..., N, d_v), the u_i = p_i v_i that the N steps of `one_at_a_time` add. With a =
    sum_i ||u_i||^2, b = ||sum_i u_i||^2 and m = N - t parts missing it is
    (m / N) a + m (m - 1) / (N (N - 1)) (b - a).
    """
    check_tokens("parts", parts)
    N = parts.shape[-2]
    a, b = parts.square().sum((-2, -1)), parts.sum(-2).square().sum(-1)  # (...)
    m = torch.arange(N, -1, -1, dtype=parts.dtype).reshape(-1, *[1] * a.ndim)  # (N + 1, ...)
    return m / N * a + m * (m - 1) / max(N * (N - 1), 1) * (b - a)
