"""Part I's multi-head attention with negative samples: signed weights, their gradient, floors.

A head's column softmax(V^T Q_h v_k) loses beta_h times the mean of its negatives: the r shown
tokens of lowest score, or all N of them (centring). Part I's prompt holds no query with a value
of its own, so all the attention lies on demonstrations, and `iclbook.dual.modified` gives

    s~_hk = softmax(V^T Q_h v_k) - (beta_h / r) 1[R_hk],    a~_k = sum_h w_hk s~_hk .
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from iclbook.dual.modified import lowest_scores
from iclbook.errors import require, require_nonnegative
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.prompt import Dictionary
from iclbook.training import descend


class SignedAttention(MultiHeadAttention):
    """`MultiHeadAttention` whose heads subtract `beta` of the mean of their r lowest-scored
    tokens.

    r = 0: none, plain attention; r = N: all, so that beta = 1 is centring. beta: (H,), a
    parameter; it learns only where the optimiser holds it. Raises InputError for r beyond N.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        H: int,
        *,
        generator: torch.Generator,
        r: int = 0,
        beta: float = 1.0,
        scale: float = 1.0,
    ):
        super().__init__(dictionary, H, generator=generator, beta=scale)
        require_nonnegative(beta=beta)
        require(0 <= r <= dictionary.N, f"r must lie between 0 and {dictionary.N}, got {r!r}")
        self.r = r
        start = torch.full((H,), beta if r else 0.0, dtype=self.w.dtype)
        self.beta = nn.Parameter(start)

    def scores(self) -> Tensor:
        """The logits V^T Q_h v_k, (N, H, K)."""
        d, H, _ = self.Q.shape
        left = (self.V.T @ self.Q.view(d, H * d)).view(-1, d)  # (N H, d)
        return (left @ self.tokens).view(self.V.shape[1], H, -1)  # (N, H, K)

    def shares(self, scores: Tensor) -> Tensor:
        """1 / r on the negatives of each head and token, else 0: (N, H, K), or (1, 1, 1) where
        all are negatives."""
        N = scores.shape[0]
        if self.r in (0, N):
            return scores.new_full((1, 1, 1), 1 / N if self.r else 0.0)
        return lowest(scores.detach(), self.r).to(scores.dtype) / self.r  # (N, H, K)

    def signed(self) -> Tensor:
        """The signed weights s~ of every head and token, (N, H, K)."""
        scores = self.scores()  # (N, H, K)
        return scores.softmax(dim=0) - self.beta[:, None] * self.shares(scores)

    def forward(self, V: Tensor | None = None) -> Tensor:
        """The table a~, (N, K)."""
        require(V is None, "negatives are chosen among the dictionary's own shown tokens")
        return (self.signed() * self.w).sum(dim=1)  # (N, K)

    @torch.no_grad()
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """(attention, shares, table): what a step and a look need, computed once."""
        scores = self.scores()  # (N, H, K)
        attention, shares = scores.softmax(dim=0), self.shares(scores)  # (N, H, K) each
        table = (attention * self.w).sum(dim=1)  # (N, K)
        if self.r:
            less = self.beta[:, None] * self.w  # (H, K)
            table = table - (shares * less).sum(dim=1)  # (N, K)
        return attention, shares, table

    @torch.no_grad()
    def set_signed_gradient(self, attention: Tensor, shares: Tensor, G: Tensor) -> None:
        """Write the gradient of a loss into Q, w and beta, given its gradient G in the table.

        With the set of negatives held fixed, as it is almost everywhere, Q sees plain
        attention; and with n = shares:

            d loss / d w[h, k] = (S[:, h, k] - beta_h n[:, h, k])^T G[:, k]
            d loss / d beta_h  = -sum_k w[h, k] n[:, h, k]^T G[:, k]
        """
        self.set_gradient(attention, G)
        if self.r:
            seen = (shares * G[:, None, :]).sum(dim=0)  # n^T G, (H or 1, K)
            self.w.grad -= self.beta[:, None] * seen  # (H, K)
            self.beta.grad = -(self.w * seen).sum(dim=1)  # (H,)


def lowest(scores: Tensor, r: int) -> Tensor:
    """`lowest_scores` along the first axis, a bool (N, H, K), by a partial sort; ties go the
    same way."""
    last = torch.from_numpy(np.partition(scores.numpy(), r - 1, axis=0)[r - 1])  # (H, K)
    chosen = scores <= last  # (N, H, K)
    if chosen.sum() == r * last.numel():
        return chosen
    rows = scores.permute(1, 2, 0)  # (H, K, N)
    demos = torch.ones(1, dtype=torch.bool).expand_as(rows)
    return lowest_scores(rows, demos, r).permute(2, 0, 1)


def train_signed(
    model: SignedAttention,
    loss,
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    at: Iterable[int],
) -> Iterator[tuple[int, Tensor]]:
    """Train by `descend`; yield (step, table) before the steps named in `at`; loss: table ->
    (value, gradient)."""
    seen = []

    def gradient() -> Tensor:
        attention, shares, table = seen.pop() if seen else model.parts()
        value, G = loss(table)
        model.set_signed_gradient(attention, shares, G)
        return value

    for step in descend(gradient, optimizer, steps, at=at):
        seen[:] = [model.parts()]
        yield step, seen[0][2]
