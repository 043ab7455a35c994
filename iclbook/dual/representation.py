"""The dual loss as representation learning: the step repeated, and measures of collapse."""

from collections.abc import Iterator

import torch
from torch import Tensor

from iclbook.dual.kernel import check_tokens
from iclbook.errors import require_nonnegative, require_sizes


def repeated_steps(W_0: Tensor, G: Tensor, alpha: float, steps: int) -> Tensor:
    """Return W_0 .. W_steps, shape (steps + 1, ..., d_v, d_r), of W <- (1 - alpha) W + G.

    G = (1 / D) sum_i v_i phi(k_i)^T; W_t = (1 - alpha)^t W_0 + sum_{s < t} (1 - alpha)^s G.
    Tends to G/alpha for 0 < alpha < 2, alternates for alpha = 2, grows as t G for alpha = 0 and
    geometrically elsewhere.
    """
    require_sizes(steps=steps)
    times = torch.arange(steps + 1, dtype=G.dtype, device=G.device)
    powers = (1 - alpha) ** times  # (steps + 1,)
    sums = powers.cumsum(0) - powers  # (steps + 1,): sum over s < t
    sums, powers = (c.reshape(-1, *[1] * G.ndim) for c in (sums, powers))
    return powers * W_0 + sums * G


def effective_rank(outputs: Tensor) -> Tensor:
    """Return exp(entropy of the normalised singular values) of outputs (..., N, d): (...).

    Our measure of collapse: 1 where all outputs lie on one line, min(N, d) at most; 0 for a
    zero matrix.
    """
    check_tokens("outputs", outputs)
    singular = torch.linalg.svdvals(outputs)  # (..., min(N, d))
    total = singular.sum(-1, keepdim=True)
    share = singular / total.where(total > 0, torch.ones_like(total))
    return torch.special.entr(share).sum(-1).exp() * (total.squeeze(-1) > 0)


def mean_share(outputs: Tensor) -> Tensor:
    """Return ||mean output||^2 / mean ||output||^2, shape (...), of outputs (..., N, d).

    1 where all outputs are equal, 0 where they average to zero; 0 for a zero matrix too.
    """
    check_tokens("outputs", outputs)
    energy = outputs.square().sum(-1).mean(-1)  # (...)
    return outputs.mean(-2).square().sum(-1) / energy.where(energy > 0, torch.ones_like(energy))


def negatives_growth(
    gram: Tensor, kernel: Tensor, negatives: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a_0, a_1, a_2, scalars.

    E ||G_beta||_F^2 is proportional to a_0 - 2 beta a_1 + beta^2 a_2.

    G_beta is the step's direction when every value loses beta times the mean value of one
    common set, the expectation over values whose coordinates are drawn independently with
    covariance gram (N, N). kernel: (N, N) over the demonstrations; negatives: bool (N,), not
    empty. beta = 2 a_1 / a_2 changes nothing.
    """
    share = negatives.to(gram.dtype) / negatives.sum()  # (N,)
    row = kernel.sum(-1)  # (N,)
    return (gram * kernel).sum(), share @ gram @ row, row.sum() * (share @ gram @ share)


def align_two_views(
    U: Tensor, W: Tensor, M: Tensor, rate: float, steps: int, *, learn_targets: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (U, W), steps + 1 times: gradient ascent on tr(U M W^T) = sum_i (U h_i)^T W phi_i.

    U: (d_v, width) makes the targets, W: (d_v, d_r) the outputs, M = sum_i h_i phi_i^T (width,
    d_r). After each step what was moved returns to Frobenius norm 1. U moves only with
    `learn_targets`.
    """
    require_sizes(steps=steps)
    require_nonnegative(rate=rate)
    yield U, W
    for _ in range(steps):
        U, W = (U + rate * W @ M.mT if learn_targets else U), W + rate * U @ M
        U, W = (U / U.norm() if learn_targets else U), W / W.norm()
        yield U, W
