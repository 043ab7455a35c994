"""Linear convergence (yang2024, Theorem 1): the quantities of the proof and the step sizes that
it allows.

The paper's constants (its eqs. 15-17) did not reach us. Those below are ours, derived in the
chapter *Linear convergence*. Weights are written w = gamma alpha, so that the two rates eta_Q =
eta and eta_w = gamma^2 eta are one rate eta for (Q, alpha).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from iclbook.errors import require, require_shape
from iclbook.ridge.heads import head_matrices
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss

# sqrt(zeta) may fall by this share of sqrt(zeta_0): then zeta >= zeta_0 / 2
HALF = 1 - 0.5**0.5


@torch.no_grad()
def weighted_attention(model: MultiHeadAttention, loss: PopulationLoss) -> Tensor:
    """B_k = Zbar C_k for every token (yang2024 eq. 13), (K, N, H); C_k has the columns
    softmax(V^T Q_h v_k)."""
    return head_matrices(model.attention(), loss.covariance)


def conditioning(B: Tensor) -> tuple[Tensor, Tensor]:
    """(zeta, b), each (...): zeta = min_k lambda_min(B_k B_k^T) (eq. 14), 0 where H < N, and b
    = max_k ||B_k||.

    B: (..., K, N, H). In float64 a zeta below about (1e-16 b)^2 is rounding, not conditioning.
    """
    values = torch.linalg.svdvals(B)  # (..., K, min(N, H)), falling
    spans = B.shape[-1] >= B.shape[-2]
    return spans * values[..., -1].amin(dim=-1).square(), values[..., 0].amax(dim=-1)


def softmax_derivatives(s: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative of softmax(x + t u) in t at t = 0, each (..., N), where s =
    softmax(x): (..., N).

    s o (u - mean)   and   s o ((u - mean)^2 - variance),   mean and variance of u under the
    probabilities s.
    """
    require_shape("u", u, tuple(s.shape))
    centred = u - (s * u).sum(dim=-1, keepdim=True)  # (..., N)
    first = s * centred  # (..., N)
    return first, first * centred - s * (first * centred).sum(dim=-1, keepdim=True)


def curvature_bound(*, gamma, b, sigma, radius, w_norm, error_norm, K):
    """An upper bound on the second derivative of L along any unit direction of (Q, alpha)
    (ours).

    b = max_k ||B_k||, sigma = ||Zbar||, radius = max_k ||v_k||, w_norm = ||w||_F and error_norm
    = sqrt(sum_k ||delta_k||^2) are numbers, or tensors of one shape.
    """
    # First derivative of the error in Q, and its second derivative.
    slope = sigma * radius**2 * w_norm / 2**0.5
    bend = sigma * radius**2 * (gamma / 2**0.5 + 2**0.5 * radius**2 * w_norm)
    return (gamma**2 * b**2 + slope**2 + error_norm * bend) / K


def frozen_curve(B: Tensor, error: Tensor, rate: float, steps: Tensor) -> Tensor:
    """Excess loss after `steps` steps of gradient descent on w alone, with frozen attention,
    (count,).

    B: (K, N, H); error: (N, K), delta at the start; rate: eta_w; steps: (count,) whole numbers.
    In the eigenbasis of B_k B_k^T each component of delta_k shrinks by its own factor (1 - rate
    lambda / K) a step.
    """
    K = B.shape[0]
    values, vectors = torch.linalg.eigh(B @ B.mT)  # (K, N), (K, N, N)
    components = (vectors.mT @ error.T[..., None])[..., 0]  # (K, N)
    powers = (1 - rate * values / K).abs() ** (2 * steps[:, None, None])  # (count, K, N)
    return (powers * components.square()).sum(dim=(1, 2)) / (2 * K)


@dataclass(frozen=True)
class TheoryRule:
    """What the proof of Theorem 1 measures at the start, and the gamma and step sizes that it
    then allows (ours).

    zeta: min_k lambda_min(B_k B_k^T); b: max_k ||B_k||; sigma: ||Zbar||; radius: max_k ||v_k||;
    excess: L - L* at w = 0; K: dictionary size. Numbers, or tensors that hold one entry a
    model. Raises InputError where zeta = 0: the theorem is silent there.
    """

    zeta: float | Tensor
    b: float | Tensor
    sigma: float | Tensor
    radius: float | Tensor
    excess: float | Tensor
    K: int

    def __post_init__(self):
        require(
            bool(torch.as_tensor(self.zeta > 0).all()),
            "zeta_0 = 0, so Theorem 1 says nothing; take H >= N heads and a positive-definite "
            "Zbar",
        )

    @classmethod
    def at(cls, model: MultiHeadAttention, loss: PopulationLoss) -> "TheoryRule":
        """The rule for a model that stands at its start (w = 0)."""
        zeta, b = (number.item() for number in conditioning(weighted_attention(model, loss)))
        sigma = torch.linalg.eigvalsh(loss.covariance)[-1].sqrt().item()
        radius = model.tokens.norm(dim=0).max().item()
        excess = loss(torch.zeros_like(loss.target))[0].item()
        return cls(zeta, b, sigma, radius, excess, model.tokens.shape[1])

    @property
    def gamma(self) -> float | Tensor:
        """The smallest gamma for which the proof keeps zeta >= zeta_0 / 2."""
        slope = 4 * (2**0.5 + 1) * self.sigma * self.radius**2
        return slope * (self.K * self.excess) ** 0.5 / self.zeta

    @property
    def w_bound(self) -> float | Tensor:
        """||w||_F never exceeds 4 sqrt(K (L - L*)_0 / zeta_0)."""
        return 4 * (self.K * self.excess / self.zeta) ** 0.5

    @property
    def smoothness(self) -> float | Tensor:
        """M, the curvature bound along the whole path at the smallest gamma."""
        b, error_norm = self.b + HALF * self.zeta**0.5, (2 * self.K * self.excess) ** 0.5
        return curvature_bound(
            gamma=self.gamma,
            b=b,
            sigma=self.sigma,
            radius=self.radius,
            w_norm=self.w_bound,
            error_norm=error_norm,
            K=self.K,
        )

    @property
    def rate_Q(self) -> float | Tensor:
        """eta_Q = 1 / M, the largest step that the proof allows."""
        return 1 / self.smoothness

    @property
    def rate_w(self) -> float | Tensor:
        """eta_w = gamma^2 eta_Q."""
        return self.gamma**2 * self.rate_Q

    @property
    def decrease(self) -> float | Tensor:
        """eta mu with mu = gamma^2 zeta_0 / (2 K): L - L* falls by the factor 1 - eta mu or
        more at every step."""
        return self.rate_w * self.zeta / (2 * self.K)
