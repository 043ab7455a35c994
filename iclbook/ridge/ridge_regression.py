"""What the trained model is: ridge regression over basis functions (yang2024, Theorem 2)."""

import math

import torch
from torch import Tensor

from iclbook.errors import require, require_nonnegative, require_shape
from iclbook.ridge.population_loss import label_covariance
from iclbook.ridge.prompt import Dictionary


def ridge_coefficients(Z: Tensor, y: Tensor, penalty: float) -> Tensor:
    """argmin ||y - Z^T lambda||^2 + penalty ||lambda||^2 = (Z Z^T + penalty I)^{-1} Z y,
    (count, m).

    Z: (m, N); y: (count, N). Theorem 2's limit has penalty m tau (yang2024 eq. 20), Lemma 4's
    template N tau (eq. 25). With penalty 0 the least-norm solution is returned.
    """
    require_nonnegative(penalty=penalty)
    require_shape("Z", Z, (None, None))
    require_shape("y", y, (None, Z.shape[1]))
    if penalty == 0:
        return y @ torch.linalg.pinv(Z)  # (count, m)
    gram = Z @ Z.T + penalty * torch.eye(Z.shape[0], dtype=Z.dtype)  # (m, m)
    return torch.linalg.solve(gram, Z @ y.T).T  # (count, m)


def ridge_predictions(Z: Tensor, features: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Ridge predictions lambda^T z for tokens with representations `features`: (m, K), as
    (count, K)."""
    return ridge_coefficients(Z, y, penalty) @ features  # (count, K)


def label_energy(dictionary: Dictionary, y: Tensor) -> Tensor:
    """||Zbar^{-1} y||^2 for each prompt, (count,), from y: (count, N).

    Theorem 2: (1/2K) ||y^ - y*^||^2 <= (L - L*) ||Zbar^{-1} y||^2 for every table of weights.
    Raises InputError where Zbar is singular, that is for tau = 0 and N > m.
    """
    require_shape("y", y, (None, dictionary.N))
    root = _covariance_root(dictionary)  # (N, N), lower
    return torch.linalg.solve_triangular(root, y.T, upper=False).square().sum(dim=0)  # (count,)


def chi_square_bound(weights: Tensor, delta: float) -> float:
    """A number that sum_i a_i g_i^2, g_i ~ N(0, 1) independent, exceeds with probability at
    most delta.

    weights a_i >= 0: (count,). Laurent and Massart's tail bound: with t = log(1 / delta),
    sum a_i + 2 sqrt(t sum a_i^2) + 2 t max a_i.
    """
    require(0 < delta < 1, f"delta must lie between 0 and 1, got {delta!r}")
    require_shape("weights", weights, (None,))
    require(
        bool((weights >= 0).all()),
        "weights must be at least 0; the bound is for sums of squares",
    )
    t = math.log(1 / delta)
    return float(weights.sum() + 2 * t**0.5 * weights.norm() + 2 * t * weights.max())


def label_energy_bound(dictionary: Dictionary, B: float, delta: float) -> float:
    """A number that ||Zbar^{-1} y||^2 exceeds with probability at most delta, for any task with
    ||lambda|| <= B.

    y = Z^T lambda + e with e ~ N(0, tau ||lambda||^2 I). By the triangle inequality the root of
    the number is B (||Zbar^{-1} Z^T|| + sqrt(tau q)), q the `chi_square_bound` with the
    eigenvalues of Zbar^{-2} as weights.
    Ours: the paper's constants did not reach us.
    """
    require_nonnegative(B=B)
    root = _covariance_root(dictionary)  # (N, N), lower
    signal = torch.linalg.matrix_norm(
        torch.linalg.solve_triangular(root, dictionary.Z.T, upper=False), ord=2
    )
    inverse = 1 / torch.linalg.eigvalsh(label_covariance(dictionary))  # (N,)
    return float(B * (signal + (dictionary.tau * chi_square_bound(inverse, delta)) ** 0.5)) ** 2


def iteration_count(excess: float, energy: float, precision: float, contraction: float) -> int:
    """The smallest T with excess (1 - contraction)^T energy <= precision.

    excess: L - L* at the start; energy: a bound on ||Zbar^{-1} y||^2; contraction in (0, 1): by
    how much of itself L - L* shrinks in a step (Theorem 1). After T steps (1/2K) ||y^ - y*^||^2
    <= precision.
    """
    require(0 < contraction < 1, f"contraction must lie between 0 and 1, got {contraction!r}")
    require(min(excess, energy, precision) > 0, "excess, energy and precision must be positive")
    return max(0, math.ceil(math.log(excess * energy / precision) / -math.log1p(-contraction)))


def _covariance_root(dictionary: Dictionary) -> Tensor:
    """The lower Cholesky factor of Zbar^2, (N, N); Zbar^{-1} up to a rotation is its
    inverse."""
    singular = dictionary.tau == 0 and dictionary.m < dictionary.N
    require(not singular, "Zbar is singular for tau = 0 and N > m; take tau > 0 or N <= m")
    return torch.linalg.cholesky(label_covariance(dictionary))
