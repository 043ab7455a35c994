"""Other prompts: what a one-layer model does with any tokens of its dictionary, and what it is
measured against (ours).

A prompt is a row of token indices, a set of prompts is `sets`: (count, n). Every predictor is a
table of weights on the labels of the prompt, (n, K). Over tasks with mean 0 and variance 1 its
loss is a quadratic form in C, the covariance of all K labels, so that no labels are drawn.
"""

import torch
from torch import Tensor

from iclbook.errors import require, require_shape
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.prompt import Dictionary


def all_label_covariance(dictionary: Dictionary) -> Tensor:
    """C = Z^^T Z^ + m tau I, the covariance of the labels of all K tokens, (K, K)."""
    noise = dictionary.m * dictionary.tau * torch.eye(dictionary.K, dtype=torch.float64)
    return dictionary.features.T @ dictionary.features + noise.to(dictionary.features.dtype)


def draw_sets(count: int, N: int, K: int, *, generator: torch.Generator) -> Tensor:
    """Random sets of N of K tokens, each in rising order, (count, N); all sets are equally
    likely."""
    require(1 <= N <= K, f"a prompt shows 1 to K={K} tokens, got N={N}")
    shuffled = torch.rand(count, K, generator=generator).argsort(dim=1)  # (count, K)
    return shuffled[:, :N].sort(dim=1).values


def tables_of(model: MultiHeadAttention, sets: Tensor) -> Tensor:
    """The model's table of label weights for each prompt, (count, n, K).

    sets: (count, n) token indices, in any order, repeated ones allowed. All K x K logits are
    computed once; a prompt selects rows of them.
    """
    d, H, _ = model.Q.shape
    left = model.tokens.T @ model.Q.view(d, H * d)  # (K, H d)
    logits = (left.view(-1, d) @ model.tokens).view(-1, H, model.tokens.shape[1])  # (K, H, K)
    attention = logits[sets].softmax(dim=1)  # (count, n, H, K)
    return torch.einsum("cnhk,hk->cnk", attention, model.w)


def best_tables(sets: Tensor, C: Tensor) -> Tensor:
    """The best linear read-out of the labels of each prompt, C_SS^{-1} C_S, (count, n, K).

    sets: (count, n) without repetition; C: (K, K), positive definite on every prompt. For the
    own prompt this is the table A (yang2024 eq. 34).
    """
    inner = C[sets[:, :, None], sets[:, None, :]]  # (count, n, n)
    return torch.linalg.solve(inner, C[sets])


def losses_of(tables: Tensor, sets: Tensor, C: Tensor) -> Tensor:
    """L = E (1/2K) sum_k (y^_k - y_k)^2 of a table for each prompt, (count,).

    tables: (count, n, K), or one (n, K) for all; sets: (count, n); C: (K, K). A token that
    stands twice in a prompt brings the same label twice.
    """
    require_shape("sets", sets, (None, tables.shape[-2]))
    inner = C[sets[:, :, None], sets[:, None, :]]  # (count, n, n)
    quadratic = (tables * (inner @ tables - 2 * C[sets])).sum(dim=(-2, -1))  # (count,)
    return (C.trace() + quadratic) / (2 * len(C))


def additive_weights(C: Tensor, N: int, *, copying: bool = False) -> Tensor:
    """The best weights that do not see who else is shown, (K, K), for prompts that are random
    sets of N tokens.

    Column k predicts y^_k = sum_{n shown} W[n, k] y_n, with one W for all sets. It solves

        ((N - 1) C + (K - N) diag C) W = (K - 1) C

    copying: a token that is shown is predicted by its own label alone, so W[k, k] = 1, and the
    rest of column k is the best for the sets that lack k:

        ((N - 1) C + (K - 1 - N) diag C) W_k = (K - 2) C_k   without row and column k.
    """
    K = len(C)
    require(
        1 <= N < K and K > 2,
        f"additive weights need 1 <= N < K and K > 2, got N={N}, K={K}; show fewer tokens",
    )
    if not copying:
        matrix = (N - 1) * C + (K - N) * C.diag().diag()  # (K, K)
        return torch.linalg.solve(matrix, (K - 1) * C)
    matrix = (N - 1) * C + (K - 1 - N) * C.diag().diag()  # (K, K)
    rest = ~torch.eye(K, dtype=torch.bool)
    others = torch.arange(K).expand(K, K)[rest].view(K, K - 1)  # (K, K - 1), row k lacks k
    inner = matrix[others[:, :, None], others[:, None, :]]  # (K, K - 1, K - 1)
    right = (K - 2) * C.T[rest].view(K, K - 1, 1)  # (K, K - 1, 1)
    W = torch.eye(K, dtype=C.dtype)
    W.T[rest] = torch.linalg.solve(inner, right).flatten()
    return W


def additive_tables(W: Tensor, sets: Tensor, *, copying: bool = False) -> Tensor:
    """The tables that additive weights W: (K, K) give each prompt, (count, n, K): rows of W;
    with `copying` the columns of the shown tokens copy."""
    tables = W[sets]  # (count, n, K)
    if not copying:
        return tables
    eye = torch.eye(len(W), dtype=W.dtype)[sets]  # (count, n, K)
    shown = eye.sum(dim=1, keepdim=True) > 0  # (count, 1, K)
    return torch.where(shown, eye, tables)


def additive_loss(C: Tensor, N: int, *, copying: bool = False) -> Tensor:
    """The loss of the best `additive_weights`, averaged over all sets of N tokens, a scalar.

    (1/2K) (tr C - (N / K) sum_k W_k^T C_k); copying, with every sum without row k: (1/2K) (1 -
    N / K) (tr C - (N / (K - 1)) sum_k W_k^T C_k). For K tokens of which none is shown twice.
    """
    K, W = len(C), additive_weights(C, N, copying=copying)
    gain = W * C  # (K, K)
    if not copying:
        return (C.trace() - N / K * gain.sum()) / (2 * K)
    others = gain.sum() - gain.diag().sum()
    return (1 - N / K) * (C.trace() - N / (K - 1) * others) / (2 * K)


def signed_parts(attention: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """(positive, negative): a table as the difference of two tables >= 0, each (n, K).

    attention: (n, H, K); w: (H, K). The heads with w > 0 make the first and those with w < 0
    the second: each column is a mixture of softmax vectors times the sum of its |w|, so that
    the columns of the two together sum to sum_h |w[h, k]|.
    """
    require_shape("w", w, tuple(attention.shape[1:]))
    return tuple((attention * part.clamp_min(0)).sum(dim=1) for part in (w, -w))
