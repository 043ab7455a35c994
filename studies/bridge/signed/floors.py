"""Floors of Part I's loss for heads with negative samples, and explicit heads that attain them.

Ours. Plain heads: `iclbook.ridge.heads`. Centred heads give columns that sum to zero, for every
number of heads. Heads with a free beta have no floor.
"""

import itertools

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from iclbook.errors import require, require_sizes
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import Dictionary
from studies.bridge.signed.layer import SignedAttention


def centred_fits(loss: PopulationLoss) -> tuple[Tensor, Tensor]:
    """(fits, losses): the best column of sum zero for each token, (N, K), and its loss, (K,).

    With g = Zbar^{-2} 1 and sums 1^T A_k the fit is A_k - g (1^T A_k) / (1^T g), at the loss
    (1^T A_k)^2 / (2 * 1^T g).
    """
    ones = torch.ones(loss.target.shape[0], 1, dtype=loss.target.dtype)
    g = torch.linalg.solve(loss.covariance, ones)  # (N, 1)
    sums = loss.target.sum(dim=0)  # (K,)
    return loss.target - g * sums / g.sum(), sums.square() / (2 * g.sum())


def lowest_losses(loss: PopulationLoss, r: int) -> Tensor:
    """The least loss of each token's column under one head with the r lowest as negatives and
    beta = 1, (K,).

    For a set R of negatives and a sign of w the columns w (s - 1_R / r) are a cone, since R is
    lowest exactly where s_i <= s_j for i in R, j outside. Its rays are s = e_j for j outside,
    and s = 1_outside + 1_T for T in R. One non-negative least-squares problem for each R, sign
    and token: for small N and r only.
    """
    root = torch.linalg.cholesky(loss.covariance).T.numpy()  # (N, N), root^T root = Zbar^2
    right = root @ loss.target.numpy()  # (N, K)
    N, K = right.shape
    require_sizes(r=r)
    require(r <= N, f"r must be at most N={N}, got {r}")
    best = np.full(K, np.inf)
    for R in itertools.combinations(range(N), r):
        rays = root @ rays_of(N, R)  # (N, N - r + 2^r)
        for sign, k in itertools.product((1.0, -1.0), range(K)):
            best[k] = min(best[k], nnls(sign * rays, right[:, k])[1] ** 2 / 2)
    return torch.from_numpy(best)


def rays_of(N: int, R: tuple[int, ...]) -> np.ndarray:
    """Rays of the columns w (s - 1_R / |R|), w > 0, for which R holds the lowest weights, (N, N
    - r + 2^r)."""
    inside = np.zeros(N)
    inside[list(R)] = 1.0
    single = np.eye(N)[inside == 0]  # (N - r, N)
    subsets = np.array(list(itertools.product((0.0, 1.0), repeat=len(R))))  # (2^r, r)
    flat = np.tile(1.0 - inside, (len(subsets), 1))  # (2^r, N)
    flat[:, list(R)] = subsets
    rays = np.concatenate([single, flat])  # (rays, N), weights s up to their sum
    return (rays - rays.sum(axis=1, keepdims=True) * inside / len(R)).T


def linear_loss(dictionary: Dictionary, loss: PopulationLoss) -> Tensor:
    """The least loss of linear attention (I - 1 1^T / N) G v_k over G, (N, d): a scalar.

    One centred head comes as near as one likes, with small logits and a large w.
    """
    fits, losses = centred_fits(loss)
    # In columns of sum zero the loss is losses + ||Zbar (x - fit)||^2 / 2: fit G on the tokens.
    G = torch.linalg.lstsq(dictionary.tokens.T, fits.T, driver="gelsd").solution.T  # (N, d)
    error = G @ dictionary.tokens - fits  # (N, K), sums to zero like the fits
    return (losses + (error * (loss.covariance @ error)).sum(dim=0) / 2).mean()


def blocks_of(dictionary: Dictionary) -> list[range]:
    """The dictionary's tokens cut into blocks of at most d, in order."""
    d, K = dictionary.d, dictionary.K
    return [range(first, min(first + d, K)) for first in range(0, K, d)]


def signed_model(
    dictionary: Dictionary, columns: Tensor, beta: float, w: Tensor
) -> SignedAttention:
    """Heads with all-token negatives of strength beta whose table is `columns`, (N, K): one
    head for each block of d tokens.

    Token k's head has the weights s = columns_k / w_k + beta / N, w: (K,). Raises InputError
    where s is not positive, or does not sum to 1, or a block's tokens are dependent.
    """
    N, K, d = dictionary.N, dictionary.K, dictionary.d
    s = columns / w + beta / N  # (N, K)
    one = torch.ones(K, dtype=s.dtype)
    require(bool((s > 0).all()), "a weight is not positive; take w larger, or beta nearer 1")
    require(torch.allclose(s.sum(dim=0), one), "w (1 - beta) must be the sum of each column")
    blocks = blocks_of(dictionary)
    model = SignedAttention(
        dictionary, len(blocks), generator=torch.Generator(), r=N, beta=beta, scale=0.0
    )
    left = torch.linalg.pinv(dictionary.V.T)  # (d, N)
    with torch.no_grad():
        for h, block in enumerate(blocks):
            tokens = dictionary.tokens[:, block]  # (d, block)
            independent = torch.linalg.matrix_rank(tokens).item() == len(block)
            require(independent and d >= N, "the tokens of a block, or shown, are dependent")
            model.Q[:, h] = left @ s[:, block].log() @ torch.linalg.pinv(tokens)
            model.w[h, block] = w[block]
    return model


def best_centred_model(dictionary: Dictionary, room: float = 2.0) -> SignedAttention:
    """ceil(K / d) centred heads at the floor of `centred_fits`, exactly.

    Any w with |w_k| > N max_i |u_ik| does, of either sign; w_k is `room` times that.
    """
    fits, _ = centred_fits(PopulationLoss.of(dictionary))
    w = room * dictionary.N * fits.abs().amax(dim=0).clamp_min(1e-6)  # (K,)
    return signed_model(dictionary, fits, 1.0, w)


def strength_for(columns: Tensor, room: float = 2.0) -> float:
    """A beta below 1 at which one head gives every column, each of sum other than zero.

    beta / (N (1 - beta)) must exceed M = max_ik(-columns_ik / sum_k), or 0; it is `room` times
    that.
    """
    N = columns.shape[0]
    M = max((-columns / columns.sum(dim=0)).max().item(), 0.0)
    return room * N * M / (1 + room * N * M)


def exact_signed_model(dictionary: Dictionary, room: float = 2.0) -> SignedAttention:
    """ceil(K / d) heads with one beta whose table is A itself."""
    A = PopulationLoss.of(dictionary).target  # (N, K)
    beta = strength_for(A, room)
    return signed_model(dictionary, A, beta, A.sum(dim=0) / (1 - beta))
