"""What heads buy: what H heads can represent, and what H random heads span.

yang2024, section 3.3 and Proposition 1.

One head gives column k of the table one sign, w[k] softmax(...). With two heads every column is
in reach; while the K tokens are independent, one Q per head reaches all of them at once.
"""

import torch
from scipy.optimize import nnls
from torch import Tensor

from iclbook.errors import require, require_shape
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, covariance_root
from iclbook.ridge.prompt import Dictionary


def one_signed_fits(loss: PopulationLoss) -> tuple[Tensor, Tensor]:
    """(fits, losses): the best column of each sign for each token, (2, N, K); its loss, (2, K).

    Index 0: fits >= 0, index 1: fits <= 0. losses[s, k] is the minimum over x of sign s of
    (1/2) ||Zbar (x - A_k)||^2: a non-negative least-squares problem. A single head gives column
    k one sign, so no Q and w bring L - L* below `losses.min(dim=0).values.mean()`.
    """
    root = torch.linalg.cholesky(loss.covariance).T  # (N, N), root^T root = Zbar^2
    right = root @ loss.target  # (N, K)
    N, K = right.shape
    fits, losses = torch.empty(2, N, K, dtype=right.dtype), torch.empty(2, K, dtype=right.dtype)
    for index, sign in enumerate((1.0, -1.0)):
        for k in range(K):
            x, norm = nnls(root.numpy(), (sign * right[:, k]).numpy())
            fits[index, :, k], losses[index, k] = sign * torch.from_numpy(x), norm**2 / 2
    return fits, losses


def model_of_pieces(
    dictionary: Dictionary, pieces: Tensor, signs: Tensor
) -> MultiHeadAttention:
    """A model whose table is sum_h signs[h] * pieces[h], one head a piece.

    pieces: (H, N, K), every entry > 0; signs: (H, K). Head h has w[h] = signs[h] times the
    column sums of pieces[h], and a Q_h that solves V^T Q_h V^ = log pieces[h]; softmax undoes
    the logarithm. Raises InputError where an entry is not positive or the K tokens are
    dependent, as they are for K > d: then the logits cannot be chosen freely.
    """
    N, K, d, H = dictionary.N, dictionary.K, dictionary.d, len(pieces)
    require_shape("pieces", pieces, (None, N, K))
    require_shape("signs", signs, (H, K))
    require(
        bool((pieces > 0).all()),
        "pieces must be positive in every entry; add a constant to each, or a floor",
    )
    independent = d >= K and torch.linalg.matrix_rank(dictionary.tokens).item() == K
    require(
        independent,
        f"the K={K} tokens of dimension d={d} are dependent; take K <= d, distinct directions",
    )
    left = torch.linalg.pinv(dictionary.V.T)  # (d, N)
    right = torch.linalg.pinv(dictionary.tokens)  # (K, d)
    model = MultiHeadAttention(dictionary, H, generator=torch.Generator(), beta=0.0)
    with torch.no_grad():
        model.Q.copy_((left @ pieces.log() @ right).transpose(0, 1))  # (d, H, d)
        model.w.copy_(signs * pieces.sum(dim=1))  # (H, K)
    return model


def best_one_head_model(dictionary: Dictionary, floor: float = 1e-30) -> MultiHeadAttention:
    """One head at the lower bound of `one_signed_fits`, up to `floor`: softmax has no zeros."""
    fits, losses = one_signed_fits(PopulationLoss.of(dictionary))
    best = losses.argmin(dim=0)  # (K,)
    piece = fits.abs()[best, :, torch.arange(dictionary.K)].T.clamp_min(floor)  # (N, K)
    return model_of_pieces(dictionary, piece[None], 1.0 - 2.0 * best[None])


def exact_two_head_model(dictionary: Dictionary) -> MultiHeadAttention:
    """Two heads whose table is A itself, a difference of positive pieces.

    A = (max(A, 0) + c) - (max(-A, 0) + c).

    c_k is the largest entry of column k in size: its logits differ by at most log 2.
    """
    A = PopulationLoss.of(dictionary).target  # (N, K)
    c = A.abs().amax(dim=0)  # (K,)
    pieces = torch.stack([A.clamp_min(0) + c, (-A).clamp_min(0) + c])  # (2, N, K)
    return model_of_pieces(
        dictionary, pieces, torch.tensor([[1.0], [-1.0]], dtype=A.dtype).expand(2, dictionary.K)
    )


def effective_parameters(N: int, K: int, d: int, H: int) -> int:
    """How many numbers of an H-head model act on its table: H ((N - 1) min(d, K) + K).

    For N <= d.
    """
    require(d >= N, f"the count holds for N <= d, got N={N}, d={d}; lower N")
    return H * ((N - 1) * min(d, K) + K)


@torch.no_grad()
def table_jacobian(model: MultiHeadAttention) -> Tensor:
    """Derivative of the table in w and U_h = V^T Q_h, by which Q_h acts, (N K, H (N d + K)).

        d a~[n, k] / d U_h[j, :] = w[h, k] S[n, h, k] (delta_nj - S[j, h, k]) v_k^T
        d a~[n, k] / d w[h, k] = S[n, h, k]

    While the N <= d tokens of the prompt are independent, U_h takes every value: the rank is
    that of (Q, w) -> table.
    """
    S = model.attention()  # (N, H, K)
    N, _, K = S.shape
    eye = torch.eye(N, dtype=S.dtype)
    own = torch.einsum("nhk,nj->nkhj", S, eye)  # (N, K, H, N)
    softmax = own - torch.einsum("nhk,jhk->nkhj", S, S)  # (N, K, H, N)
    in_U = torch.einsum("hk,nkhj,ck->nkhjc", model.w, softmax, model.tokens)  # (N, K, H, N, d)
    in_w = torch.einsum("nhk,kl->nkhl", S, torch.eye(K, dtype=S.dtype))  # (N, K, H, K)
    return torch.cat([in_U.reshape(N * K, -1), in_w.reshape(N * K, -1)], dim=1)


def head_matrices(attention: Tensor, covariance: Tensor) -> Tensor:
    """B_k = Zbar C_k, C_k = (softmax(V^T Q_1 v_k), ..., softmax(V^T Q_H v_k)), (K, N, H).

    yang2024 eq. 13. attention: (N, H, K); covariance: Zbar^2, (N, N). Zbar is the symmetric
    root, as in the paper.
    """
    return covariance_root(covariance) @ attention.permute(2, 0, 1)  # (K, N, H)


def numerical_rank(singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
    """How many singular values count, (..., r) -> (...): above max(shape) * eps * the largest.

    The tolerance of numpy and torch.
    """
    tolerance = max(shape) * torch.finfo(singular_values.dtype).eps * singular_values[..., :1]
    return (singular_values > tolerance).sum(dim=-1)
