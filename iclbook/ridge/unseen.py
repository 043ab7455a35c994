"""Unseen examples and unseen tasks: exact expected errors of any table of weights (yang2024,
section 4).

Tasks of a domain have entries with one mean and one variance. Errors are quadratic in the
table, so their expectations over tasks and label noise are closed forms: no test set is needed,
and a test set can be checked.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from iclbook.ridge.prompt import Dictionary


@dataclass(frozen=True)
class Domain:
    """Tasks lambda with independent entries of this mean and standard deviation."""

    mean: float
    std: float

    def task_moment(self, m: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """E[lambda lambda^T] = std^2 I + mean^2 1 1^T, (m, m)."""
        return self.std**2 * torch.eye(m, dtype=dtype) + self.mean**2 * torch.ones(
            m, m, dtype=dtype
        )

    def label_moment(self, dictionary: Dictionary) -> Tensor:
        """S = E[y y^T] = Z^T E[lambda lambda^T] Z + tau E||lambda||^2 I on the prompt, (N,
        N)."""
        M = self.task_moment(dictionary.m, dictionary.Z.dtype)  # (m, m)
        noise = dictionary.tau * M.trace() * torch.eye(dictionary.N, dtype=M.dtype)  # (N, N)
        return dictionary.Z.T @ M @ dictionary.Z + noise


IN_DOMAIN = Domain(mean=0.0, std=1.0)
OUT_OF_DOMAIN = Domain(mean=1.0, std=2.0)
DOMAINS = {"in-domain": IN_DOMAIN, "out-of-domain": OUT_OF_DOMAIN}


def expected_distance(
    table: Tensor, reference: Tensor, dictionary: Dictionary, domain: Domain
) -> Tensor:
    """E[(1/K) ||y^ - y^ref||^2] = (1/K) sum_k D_k^T S D_k with D = table - reference, both (N,
    K); a scalar.

    With the reference A this is the paper's inference loss; in domain it equals 2 (L - L*),
    since S = Zbar^2.
    """
    D = table - reference  # (N, K)
    return (D * (domain.label_moment(dictionary) @ D)).sum() / D.shape[1]


def expected_error(
    table: Tensor, dictionary: Dictionary, domain: Domain, intercept: Tensor | float = 0.0
) -> Tensor:
    """E[(y^_k - lambda^T z_k)^2], the error against the true, noise-free label, for each token
    k, (K,), of y^_k = y^T table_k + intercept_k; intercept: (K,) or one number."""
    M, features = domain.task_moment(dictionary.m, table.dtype), dictionary.features
    cross = dictionary.Z.T @ M @ features  # (N, K), E[y lambda^T z_k]
    square = (table * (domain.label_moment(dictionary) @ table)).sum(dim=0)  # (K,)
    linear = square - 2 * (table * cross).sum(dim=0) + (features * (M @ features)).sum(dim=0)
    mean = domain.mean * features.sum(dim=0)  # (K,), E[lambda^T z_k]
    bias = mean[: dictionary.N] @ table - mean  # (K,), of the linear part
    return linear + 2 * intercept * bias + intercept**2  # (K,)


def best_linear(dictionary: Dictionary, domain: Domain) -> Tensor:
    """The table that minimises `expected_error` in a domain, S^{-1} Z^T E[lambda lambda^T] Z^,
    (N, K).

    "Linear" means linear in the prompt's labels y, with no intercept, like the model itself.
    """
    cross = (
        dictionary.Z.T
        @ domain.task_moment(dictionary.m, dictionary.Z.dtype)
        @ dictionary.features
    )  # (N, K)
    return torch.linalg.pinv(domain.label_moment(dictionary), hermitian=True) @ cross  # (N, K)


def best_affine(dictionary: Dictionary, domain: Domain) -> tuple[Tensor, Tensor]:
    """The (table, intercept), (N, K) and (K,), that minimise `expected_error` in a domain.

    Labels of a domain whose tasks have a mean have one too. The best affine predictor knows it:
    table = Cov(y)^{-1} std^2 Z^T Z^, and the mean of y is predicted the mean of lambda^T z_k.
    """
    Z, features = dictionary.Z, dictionary.features
    mean = domain.mean * features.sum(dim=0)  # (K,), E[lambda^T z_k]
    shown = mean[: dictionary.N]  # (N,), E[y]
    covariance = domain.label_moment(dictionary) - torch.outer(shown, shown)  # (N, N)
    table = torch.linalg.pinv(covariance, hermitian=True) @ (domain.std**2 * Z.T @ features)
    return table, mean - shown @ table


def sampled_distance(table: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    """(1/K) ||y^ - y^ref||^2 for each sampled task, (count,), from labels (count, K)."""
    N = table.shape[0]
    return (labels[:, :N] @ (table - reference)).square().mean(dim=1)  # (count,)


def sampled_error(table: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error against the true labels on the tokens not shown, for each task,
    (count,).

    labels: (count, K) noisy; truth: (count, K) = lambda^T z_k.
    """
    N = table.shape[0]
    return (labels[:, :N] @ table[:, N:] - truth[:, N:]).square().mean(dim=1)  # (count,)
