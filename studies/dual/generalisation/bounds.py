"""How many demonstrations? Our generalisation bound for the dual model's loss, and the exact
gap it bounds.

Class: ||W||_F <= w. Loss of a pair: -v^T W phi(k). The population is the uniform law on a pool
of P pairs, so that every expectation is a finite sum and only kernel values are needed, never
phi.
"""

import math

import torch
from torch import Tensor

from iclbook.dual.kernel import check_tokens
from iclbook.errors import require, require_nonnegative, require_shape, require_sizes


def pair_gram(kernel: Tensor, values: Tensor) -> Tensor:
    """Return <v_i phi_i^T, v_j phi_j^T>_F = k(k_i, k_j) v_i^T v_j, (P, P); kernel (P, P),
    values (P, d_v)."""
    check_tokens("values", values)
    require_shape("kernel", kernel, (len(values), len(values)))
    return kernel * (values @ values.mT)  # (P, P)


def centred(gram: Tensor) -> Tensor:
    """Return the Gram matrix, shape (P, P), of the pairs less the pool's mean pair."""
    rows = gram.mean(-1, keepdim=True)  # (P, 1)
    return gram - rows - rows.mT + gram.mean()


def gap_supremum(centred_gram: Tensor, sample: Tensor, w: float) -> Tensor:
    """Return sup_{||W||_F <= w} |L(W) - L_hat(W)| = w ||mean over sample of the centred
    pairs||_F, a scalar.

    sample: (N,) indices into the pool. The supremum is attained, so this is an equality, not a
    bound.
    """
    require_nonnegative(w=w)
    require(
        sample.ndim == 1 and len(sample) >= 1, "sample must be a list of at least one index"
    )
    return w * centred_gram[sample][:, sample].mean().clamp(min=0).sqrt()


def rademacher_complexity(
    gram: Tensor, w: float, *, draws: int, generator: torch.Generator
) -> Tensor:
    """Return draws of (w / N) ||sum_i s_i v_i phi_i^T||_F, s random signs; their mean estimates
    R_S."""
    require_sizes(draws=draws)
    n = len(gram)
    signs = (
        torch.randint(0, 2, (draws, n), generator=generator).to(gram.dtype) * 2 - 1
    )  # (draws, N)
    return w / n * ((signs @ gram) * signs).sum(-1).clamp(min=0).sqrt()


def bound_steps(
    kernel: Tensor, values: Tensor, w: float, n: int, delta: float
) -> dict[str, float]:
    """Return each step of our proof for samples of n pairs from the pool, kernel (P, P), values
    (P, d_v).

    rms: the gap's exact root mean square, w sqrt(tr Cov / n); by Jensen the mean gap is at most
    this.
    second_moment: the mean pair is dropped. symmetrised: twice that, the price of ghost samples
    and signs.
    radius: 2 w rho sqrt(E k(x, x) / n), every ||v|| replaced by rho = max ||v||. deviation:
    McDiarmid's M sqrt(log(1 / delta) / (2 n)), M = 2 w rho kappa. bound = radius + deviation
    holds with chance 1 - delta.
    """
    require_sizes(n=n)
    require_nonnegative(w=w)
    require(0 < delta < 1, f"delta must lie between 0 and 1, got {delta!r}")
    gram = pair_gram(kernel, values)  # (P, P)
    rho = values.norm(dim=-1).max().item()
    kappa = kernel.diagonal().max().sqrt().item()
    second = w * math.sqrt(gram.diagonal().mean() / n)
    radius = 2 * w * rho * math.sqrt(kernel.diagonal().mean() / n)
    deviation = 2 * w * rho * kappa * math.sqrt(math.log(1 / delta) / (2 * n))
    return {
        "rms": w * math.sqrt(centred(gram).diagonal().mean().clamp(min=0) / n),
        "second_moment": second,
        "symmetrised": 2 * second,
        "radius": radius,
        "deviation": deviation,
        "bound": radius + deviation,
    }
