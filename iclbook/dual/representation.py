"""The dual loss as representation learning: what repeated steps do to W, and a measure of collapse."""

import torch
from torch import Tensor

from iclbook.dual.kernel import check_tokens
from iclbook.errors import require_sizes


def repeated_steps(W_0: Tensor, G: Tensor, alpha: float, steps: int) -> Tensor:
    """Return W_0 .. W_steps, shape (steps + 1, ..., d_v, d_r), of W <- (1 - alpha) W + G with rate eta.

    G = (1 / D) sum_i v_i phi(k_i)^T; W_t = (1 - alpha)^t W_0 + sum_{s < t} (1 - alpha)^s G. Tends to G/alpha
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
