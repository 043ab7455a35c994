"""Null models: what else reaches the same table of weights, and what that says about attention
(ours)."""

import torch
from torch import Tensor

from iclbook.errors import require_shape, require_sizes


def free_table_descent(
    loss, shape: tuple[int, int], rate: float, steps: int, dtype=torch.float64
):
    """Yield (step, table) of gradient descent on a free N x K table of weights, from zero.

    loss: table -> (value, gradient), such as `PopulationLoss`. The problem is convex.
    """
    require_sizes(N=shape[0], K=shape[1])
    table = torch.zeros(shape, dtype=dtype)  # (N, K)
    for step in range(steps + 1):
        yield step, table
        table = table - rate * loss(table)[1]


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
