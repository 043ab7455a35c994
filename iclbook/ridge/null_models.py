"""Null models: what else reaches the same table of weights, and what that says about attention
(ours)."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from iclbook.errors import require_shape
from iclbook.training import descend


def free_table_descent(
    loss, table: nn.Parameter, rate: float, steps: int, *, at: Iterable[int]
) -> Iterator[tuple[int, Tensor]]:
    """Gradient descent on a free table of weights, (N, K), in place; yields (step, table) for
    the steps in `at`.

    loss: table -> (value, gradient), such as `PopulationLoss`. The problem is convex.
    """

    def gradient() -> Tensor:
        value, table.grad = loss(table.detach())
        return value

    for step in descend(gradient, torch.optim.SGD([table], lr=rate), steps, at=at):
        yield step, table.detach()


def frozen_attention_weights(attention: Tensor, target: Tensor, covariance: Tensor) -> Tensor:
    """The best w for frozen attention: for each token k the least-squares fit of A_k by the H
    columns of S_k, (H, K).

    attention: (N, H, K); target A: (N, K); covariance Zbar^2: (N, N). With Q frozen at random
    the model is linear in w and the loss convex; it reaches L* as soon as the H >= N columns
    span R^N.
    """
    N, _, K = attention.shape
    require_shape("target", target, (N, K))
    root = torch.linalg.cholesky(covariance).T  # (N, N), root^T root = Zbar^2
    B = (root @ attention.permute(2, 0, 1)).contiguous()  # (K, N, H)
    right = (root @ target).T[..., None]  # (K, N, 1)
    return torch.linalg.lstsq(B, right, driver="gelsd").solution[..., 0].T  # (H, K)
