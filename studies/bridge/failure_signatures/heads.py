"""What becomes of a model when its heads are removed, turned or swapped, or their signs held
(ours)."""

import torch
from torch import Tensor

from iclbook.errors import require_shape
from iclbook.ridge.model import MultiHeadAttention


def contributions(model: MultiHeadAttention) -> Tensor:
    """What each head adds to the table, w[h, k] softmax(V^T Q_h v_k), (H, N, K)."""
    return (model.attention() * model.w).movedim(1, 0)


def price(change: Tensor, S: Tensor) -> Tensor:
    """What a change of the best table adds to the error, D_k^T S D_k for each token,
    (..., K); change: (..., N, K); S: (N, N), second moment of the shown labels."""
    return (change * (S @ change)).sum(dim=-2)


def random_sum_price(parts: Tensor, S: Tensor, count: int) -> Tensor:
    """`price` of the sum of `count` randomly chosen parts, averaged over the choice, (K,).

    parts: (H, N, K). With p and p2 the chances that one part, and that two parts, are chosen:
    p2 |sum of all|^2 + (p - p2) times the sum of each one's square.
    """
    H = len(parts)
    p, p2 = count / H, count * (count - 1) / (H * (H - 1))
    together, each = price(parts.sum(dim=0), S), price(parts, S).sum(dim=0)
    return p2 * together + (p - p2) * each


def hold_signs(
    optimizer: torch.optim.Optimizer, model: MultiHeadAttention, signs: Tensor
) -> None:
    """After every step, put each w[h, k] that has left its sign back to zero; signs: (H, K)."""
    require_shape("signs", signs, tuple(model.w.shape))

    def clamp(*_) -> None:
        with torch.no_grad():
            model.w.mul_(model.w * signs >= 0)

    optimizer.register_step_post_hook(clamp)
