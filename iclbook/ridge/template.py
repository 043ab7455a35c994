"""Which template the trained model chooses: two ridge penalties side by side.

yang2024, Lemma 4 and Figure 3.

Theorem 2's limit y*^ does ridge regression with penalty m tau, Lemma 4's template has N tau.
Both are ridge tables, so everything about them is a sum over the singular values of Z. Tasks
have mean 0 and variance 1 (Assumption 1).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from iclbook.errors import require, require_nonnegative, require_shape
from iclbook.ridge.prompt import Dictionary
from iclbook.ridge.ridge_regression import ridge_coefficients


def best_template(Z: Tensor, y: Tensor, tau: float) -> Tensor:
    """Lemma 4's template, argmin E_eps (1/2N) sum_i (y_i - lambda^T (z_i + eps_i))^2.

    y is held fixed; Z: (m, N), y: (count, N); returns (count, m). The average adds
    (tau/2) ||lambda||^2 (yang2024 eq. 25), that is penalty N tau.
    """
    require_nonnegative(tau=tau)
    return ridge_coefficients(Z, y, Z.shape[1] * tau)  # (count, m)


def sigma_points(Z: Tensor, tau: float) -> Tensor:
    """Each z_i moved by +-sqrt(m tau) along each axis, (m, 2 m N).

    The 2m copies of z_i stand together. The moves have mean 0 and covariance tau I, like eps,
    so averages of quadratics over them are exact (ours).
    """
    require_nonnegative(tau=tau)
    require_shape("Z", Z, (None, None))
    m = Z.shape[0]
    axes = (m * tau) ** 0.5 * torch.eye(m, dtype=Z.dtype)  # (m, m)
    moves = torch.cat([axes, -axes], dim=1)  # (m, 2 m)
    return (Z[:, :, None] + moves[:, None, :]).reshape(m, -1)  # (m, N 2m)


def ridge_table(dictionary: Dictionary, penalty: float) -> Tensor:
    """Weights on the prompt's labels of a ridge regression, (N, K).

    Z^T (Z Z^T + penalty I)^{-1} Z^. A token that is shown gets its fitted value here, not its
    label: `copy_shown` puts the label in.
    """
    eye = torch.eye(dictionary.N, dtype=dictionary.Z.dtype)
    return ridge_coefficients(dictionary.Z, eye, penalty) @ dictionary.features  # (N, K)


def copy_shown(table: Tensor) -> Tensor:
    """The table with the identity in its first N columns, (N, K): shown labels are copied."""
    table = table.clone()
    table[:, : len(table)] = torch.eye(len(table), dtype=table.dtype)
    return table


class Behaviour(NamedTuple):
    """Expectations over tasks and label noise of a ridge regression on the prompt."""

    norm: float  # E ||lambda^||^2
    residual: float  # E (1/N) ||y - Z^T lambda^||^2, on the labels shown
    error: float  # E of the squared error against the truth, mean over the tokens not shown


def ridge_behaviour(dictionary: Dictionary, penalty: float) -> Behaviour:
    """Norm, residual and true error of ridge with this penalty (ours).

    From the singular values s of Z, with noise n = m tau and penalty c > 0:
        norm      sum of s^2 (s^2 + n) / (s^2 + c)^2
        residual  1/N times the sum of (s^2 + n) c^2 / (s^2 + c)^2 over all N directions
        error     sum of p (c^2 + n s^2) / (s^2 + c)^2 over all m directions, p their mean power
    """
    require(penalty > 0, f"penalty must be positive, got {penalty!r}")
    N, m, noise = dictionary.N, dictionary.m, dictionary.m * dictionary.tau
    U, s, _ = torch.linalg.svd(dictionary.Z)  # (m, m), (min(m, N),)
    square = torch.zeros(max(m, N), dtype=s.dtype)
    square[: len(s)] = s**2
    gain = 1 / (square + penalty)  # (max(m, N),)
    power = (U.T @ dictionary.features[:, N:]).square().mean(dim=1)  # (m,)
    norm = (square * (square + noise) * gain**2).sum()
    residual = ((square + noise) * (penalty * gain) ** 2)[:N].sum() / N
    error = (power * ((penalty**2 + noise * square) * gain**2)[:m]).sum()
    return Behaviour(norm.item(), residual.item(), error.item())


def expected_gap(dictionary: Dictionary, first: float, second: float) -> float:
    """E of the squared difference of two ridge predictions, mean over tokens not shown (ours).

    sum_j p_j s_j^2 (s_j^2 + m tau) (first - second)^2 / ((s_j^2 + first)(s_j^2 + second))^2.
    """
    require(
        first > 0 and second > 0,
        f"both penalties must be positive, got {first!r} and {second!r}",
    )
    U, s, _ = torch.linalg.svd(dictionary.Z, full_matrices=False)  # (m, r), (r,)
    power = (U.T @ dictionary.features[:, dictionary.N :]).square().mean(dim=1)  # (r,)
    variance = s**2 * (s**2 + dictionary.m * dictionary.tau)  # (r,)
    difference = (first - second) / ((s**2 + first) * (s**2 + second))  # (r,)
    return (power * variance * difference**2).sum().item()


def circle_dictionary(
    K: int, top: int, N: int, tau: float, *, generator: torch.Generator
) -> tuple[Tensor, Dictionary]:
    """K equally spaced tokens on the unit circle in random order, with their angles, (K,).

    f is the constant and the waves sqrt(2) cos(j x), sqrt(2) sin(j x) for j = 1 .. top, so that
    m = 2 top + 1 and every basis function has mean square 1 over the circle: a template is a
    smooth function of the angle, and can be seen.
    """
    require(2 * top < K, f"waves up to {top} need K > {2 * top} tokens, got K={K}; take more")
    angles = 2 * torch.pi * torch.randperm(K, generator=generator).double() / K  # (K,)
    waves = torch.arange(1, top + 1)[:, None] * angles  # (top, K)
    features = torch.cat(
        [torch.ones_like(waves[:1]), 2**0.5 * waves.cos(), 2**0.5 * waves.sin()]
    )
    return angles, Dictionary(torch.stack([angles.cos(), angles.sin()]), features, N, tau)


def outside_price(table: Tensor, covariance: Tensor) -> Tensor:
    """What a part of the labels that no basis function knows adds to a table's expected squared
    error against the truth, for each token, (K,) (ours).

    table: (N, K); covariance: (K, K), of that part, which has mean 0 and is independent of the
    task and the noise. Psi_kk - 2 a_k^T Psi_Nk + a_k^T Psi_NN a_k.
    """
    N, K = table.shape
    require_shape("covariance", covariance, (K, K))
    inner = table * (covariance[:N, :N] @ table - 2 * covariance[:N])  # (N, K)
    return covariance.diag() + inner.sum(dim=0)  # (K,)
