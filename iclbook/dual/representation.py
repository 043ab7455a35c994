"""Representation learning: a contrastive loss to set beside the dual loss, repeated steps, collapse."""

import torch
from torch import Tensor

from iclbook.dual.kernel import check_tokens
from iclbook.errors import require, require_sizes


def spectral_contrastive_loss(z: Tensor, z_plus: Tensor) -> Tensor:
    """Return -2 mean_i z_i^T z+_i + mean_{i != j} (z_i^T z+_j)^2, shape (...), for views (..., N, d), N >= 2.

    Both views pass through W and the negatives enter squared, so this loss is bounded below; ours is not.
    """
    check_tokens("z", z)
    check_tokens("z_plus", z_plus, z.shape[-1])
    n = z.shape[-2]
    require(n >= 2, "a contrastive loss needs at least 2 tokens, got 1")
    similar = z @ z_plus.mT  # (..., N, N)
    diagonal = similar.diagonal(dim1=-2, dim2=-1)  # (..., N)
    apart = similar.square().sum((-2, -1)) - diagonal.square().sum(-1)
    return -2 * diagonal.mean(-1) + apart / (n * (n - 1))


def repeated_steps(W_0: Tensor, G: Tensor, alpha: float, steps: int) -> Tensor:
    """Return W_0 .. W_steps, shape (steps + 1, ..., d_v, d_r), of W <- (1 - alpha) W + G with rate eta.

    G = (1 / D) sum_i v_i phi(k_i)^T; W_t = (1 - alpha)^t W_0 + sum_{s < t} (1 - alpha)^s G. It tends to G / alpha
    for 0 < alpha < 2, alternates for alpha = 2, grows as t G for alpha = 0 and geometrically elsewhere.
    """
    require_sizes(steps=steps)
    powers = (1 - alpha) ** torch.arange(steps + 1, dtype=G.dtype, device=G.device)  # (steps + 1,)
    sums = powers.cumsum(0) - powers  # (steps + 1,): sum over s < t
    sums, powers = (c.reshape(-1, *[1] * G.ndim) for c in (sums, powers))
    return powers * W_0 + sums * G


def effective_rank(outputs: Tensor) -> Tensor:
    """Return exp(entropy of the normalised singular values), shape (...), of outputs (..., N, d).

    Our measure of collapse: 1 where all outputs lie on one line, min(N, d) at most; 0 for a zero matrix.
    """
    check_tokens("outputs", outputs)
    singular = torch.linalg.svdvals(outputs)  # (..., min(N, d))
    total = singular.sum(-1, keepdim=True)
    share = singular / total.where(total > 0, torch.ones_like(total))
    return torch.special.entr(share).sum(-1).exp() * (total.squeeze(-1) > 0)
