"""The loss without sampling: yang2024's Lemma 5 and the closed forms behind it (section 3.3,
appendices B-D).

Over tasks with mean 0 and variance 1, labels have covariance Zbar^2 = Z^T Z + m tau I on the
prompt. The squared error of any table a~ of weights is then a quadratic form around one best
table A.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from iclbook.errors import require, require_shape, require_sizes
from iclbook.ridge.prompt import Dictionary


def label_covariance(dictionary: Dictionary) -> Tensor:
    """Zbar^2 = Z^T Z + m tau I, the covariance of the prompt's labels (yang2024 eq. 12), (N,
    N)."""
    Z, eye = dictionary.Z, torch.eye(dictionary.N, dtype=dictionary.Z.dtype)
    return Z.T @ Z + dictionary.m * dictionary.tau * eye  # (N, N)


def covariance_root(covariance: Tensor) -> Tensor:
    """Zbar, the symmetric root of Zbar^2 = Z^T Z + m tau I (yang2024 eq. 12), (N, N)."""
    values, vectors = torch.linalg.eigh(covariance)  # (N,), (N, N)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def cross_covariance(dictionary: Dictionary) -> Tensor:
    """R = Z^T Z^ + m tau [I_N, 0], covariance of the prompt's labels with all labels, (N,
    K)."""
    R = dictionary.Z.T @ dictionary.features  # (N, K)
    R[:, : dictionary.N] += (
        dictionary.m * dictionary.tau * torch.eye(dictionary.N, dtype=R.dtype)
    )
    return R


def optimal_weights(dictionary: Dictionary) -> Tensor:
    """A = (Z^T Z + m tau I)^{-1} R, the best table of weights (yang2024 eq. 34), (N, K).

    For tau > 0 its first N columns are the identity: a label that is shown is copied. Where
    Zbar is singular (tau = 0 and N > m) it is the best table of least norm. Solved as least
    squares for the stacked matrix X = [Z; sqrt(m tau) I], whose X^T X is Zbar^2, so that the
    condition number is not squared.
    """
    N, K = dictionary.N, dictionary.K
    noise = (dictionary.m * dictionary.tau) ** 0.5 * torch.eye(
        N, K, dtype=dictionary.Z.dtype
    )  # (N, K)
    stacked = torch.cat([dictionary.features, noise])  # (m + N, K), its first N columns are X
    return torch.linalg.pinv(stacked[:, :N]) @ stacked  # (N, K)


def minimal_loss(dictionary: Dictionary) -> Tensor:
    """L*, the loss of the best table A: (1/2K) sum_k (||z_k||^2 + m tau - R[:, k]^T A[:, k]), a
    scalar.

    The `+ m tau` stands for every token. The paper's appendix D.3 drops it for k > N, although
    the loss (its eq. 9) is on the noisy labels of all K tokens: see the chapter *Training
    without sampling*.
    """
    variance = dictionary.features.square().sum(dim=0) + dictionary.m * dictionary.tau  # (K,)
    explained = (cross_covariance(dictionary) * optimal_weights(dictionary)).sum(dim=0)  # (K,)
    return (variance - explained).clamp_min(0).sum() / (2 * dictionary.K)


@dataclass(frozen=True)
class PopulationLoss:
    """The excess loss L - L* of a table of weights and its gradient, with no sampling (yang2024
    Lemma 5).

    L(a~) - L* = (1/2K) sum_k ||Zbar (a~_k - A_k)||^2
    """

    target: Tensor  # A, (N, K)
    covariance: Tensor  # Zbar^2, (N, N)

    @classmethod
    def of(cls, dictionary: Dictionary, dtype: torch.dtype | None = None) -> "PopulationLoss":
        """The loss for one dictionary. A is solved in float64 and then rounded to `dtype`."""
        exact, dtype = dictionary.to(torch.float64), dtype or dictionary.tokens.dtype
        return cls(optimal_weights(exact).to(dtype), label_covariance(exact).to(dtype))

    def __call__(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """(L - L*, its gradient in the table), shapes () and (N, K), for a table of shape (N,
        K)."""
        error = table - self.target  # (N, K)
        gradient = self.covariance @ error / table.shape[1]  # (N, K)
        return (error * gradient).sum() / 2, gradient


def sampled_loss(table: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(mean loss, its gradient in the table) on given tasks: what the paper's experiments
    minimise.

    table: (N, K); labels: (count, K), the prompt's N labels first. Loss: (1/2K) sum_k (y^_k -
    y_k)^2, averaged over the tasks (yang2024 eq. 9 before the expectation).
    """
    N, K = table.shape
    require_shape("labels", labels, (None, K))
    count = labels.shape[0]
    residual = labels[:, :N] @ table - labels  # (count, K)
    return residual.square().sum() / (2 * K * count), labels[:, :N].T @ residual / (
        K * count
    )  # (), (N, K)


class Batches:
    """Batches of a fixed pool of sampled tasks, without replacement within an epoch, drawn from
    `generator`.

    labels: (pool, K). `order` and `next` say where in the epoch the next batch starts.
    """

    def __init__(self, labels: Tensor, batch: int, *, generator: torch.Generator):
        require_sizes(batch=batch)
        require_shape("labels", labels, (None, None))
        pool = labels.shape[0]
        require(
            batch <= pool, f"a batch of {batch} exceeds the {pool} tasks in the pool; lower it"
        )
        self.labels, self.batch, self.generator = labels, batch, generator
        self.order, self.next = torch.randperm(pool, generator=generator), 0

    def draw(self) -> Tensor:
        """The next batch of labels, (batch, K); the end of an epoch that is shorter than a
        batch is skipped."""
        if self.next + self.batch > len(self.order):
            self.order, self.next = torch.randperm(len(self.order), generator=self.generator), 0
        rows = self.order[self.next : self.next + self.batch]
        self.next += self.batch
        return self.labels[rows]


class BatchLoss(Batches):
    """The loss on a batch out of a fixed pool of sampled tasks, another one at each call."""

    def __call__(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """(batch loss, its gradient in the table), shapes () and (N, K)."""
        return sampled_loss(table, self.draw())
