"""Three modifications of attention, each a change of the dual model's loss, and the step that
proves it.

Queries are the last M of the N tokens, so query m's own key is column N - M + m; `own` says
otherwise. Weights have shape (..., M, N); a mask is True where a query may see a key, as in
PyTorch.
"""

import functools
import math

import torch
from torch import Tensor, nn

from iclbook.dual.kernel import check_pairs, check_tokens, softmax_kernel
from iclbook.dual.one_step import KernelDualModel
from iclbook.errors import require, require_nonnegative, require_sizes


def regularise(weights: Tensor, own: Tensor, alpha: float) -> Tensor:
    """Scale the query's own weight by 1 - alpha: one full step on L + alpha / (2 eta)
    ||W||_F^2."""
    return weights * (1 - alpha * own.to(weights.dtype))  # (..., M, N)


def lowest_scores(scores: Tensor, demos: Tensor, r: int) -> Tensor:
    """Return the negatives, a bool (..., M, N): each query's r lowest-scored demonstrations or
    all."""
    require_sizes(r=r)
    require(
        r <= scores.shape[-1],
        f"r must be at most the number of tokens {scores.shape[-1]}, got {r}",
    )
    # A stable sort lets the earlier demonstration win a tie, so that the choice is
    # reproducible.
    chosen = scores.masked_fill(~demos, torch.inf).argsort(dim=-1, stable=True)[
        ..., :r
    ]  # (..., M, r)
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, chosen, True) & demos


def negative_shares(negatives: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 1 / |N| on the negatives and 0 elsewhere, shape (..., M, N); all 0 where there are
    none."""
    count = negatives.sum(-1, keepdim=True).clamp(min=1)  # (..., M, 1)
    return negatives.to(dtype) / count


def subtract_negatives(
    weights: Tensor, demos: Tensor, negatives: Tensor, beta: float
) -> Tensor:
    """Return weights - beta p_demo / |N| on the negatives: the closed form of
    `values_less_negatives`."""
    p_demo = (weights * demos).sum(-1, keepdim=True)  # (..., M, 1)
    return weights - beta * p_demo * negative_shares(negatives, weights.dtype)


def values_less_negatives(values: Tensor, negatives: Tensor, beta: float) -> Tensor:
    """Return v_i - (beta / |N|) sum_{j in N} v_j, shape (..., M, N, d_v): the targets of the
    negative loss.

    values: (..., N, d_v); negatives: (..., M, N), the same set for every demonstration i of a
    query.
    """
    mean = negative_shares(negatives, values.dtype) @ values  # (..., M, d_v)
    return values.unsqueeze(-3) - beta * mean.unsqueeze(-2)


class Augment(nn.Module):
    """g(x) = x + c MLP(x), (..., d) -> (..., d): a nonlinear view in place of a linear one."""

    def __init__(
        self, d: int, c: float, *, hidden: int, generator: torch.Generator, dtype=torch.float32
    ):
        super().__init__()
        require_sizes(d=d, hidden=hidden)
        self.c = c
        widen, narrow = nn.Linear(d, hidden, dtype=dtype), nn.Linear(hidden, d, dtype=dtype)
        self.mlp = nn.Sequential(widen, nn.GELU(), narrow)
        for linear in (widen, narrow):
            nn.init.xavier_normal_(linear.weight, generator=generator)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.c * self.mlp(x)  # (..., d)


def _prepare(queries, keys, mask, own, alpha, beta, r, negatives):
    """Check the input; return scores, seen, own, demos, negatives, each (..., M, N), negatives
    maybe None."""
    check_tokens("queries", queries)
    check_tokens("keys", keys, queries.shape[-1])
    require(math.isfinite(alpha), f"alpha must be finite, got {alpha!r}")
    require_nonnegative(beta=beta)
    scores = queries @ keys.mT  # (..., M, N)
    if own is None:
        M, N = scores.shape[-2:]
        require(M <= N, f"queries are the last tokens of the prompt: at most {N}, got {M}")
        own = torch.eye(N, dtype=torch.bool, device=scores.device)[N - M :]  # (M, N)
    seen = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand_as(scores)
    require(bool(seen.any(-1).all()), "every query must see a key; unmask one in each row")
    own, demos = own & seen, ~own & seen  # (..., M, N)
    if negatives is not None:
        negatives = negatives & demos
    elif beta > 0:
        negatives = lowest_scores(scores, demos, r)
    return scores, seen, own, demos, negatives


def attention_weights(
    queries,
    keys,
    mask=None,
    *,
    own=None,
    alpha: float = 0.0,
    beta: float = 0.0,
    r: int = 0,
    negatives=None,
) -> Tensor:
    """Return the signed weights, shape (..., M, N): softmax(q^T k), then the modifications in
    closed form.

    queries: (..., M, d); keys: (..., N, d), both divided by d^{1/4}. alpha = beta = 0 is plain
    attention. With beta > 0 the negatives are the r lowest-scored demonstrations, or the given
    bool (..., M, N). Weights sum to 1 - alpha p_own - beta p_demo.
    """
    scores, seen, own, demos, negatives = _prepare(
        queries, keys, mask, own, alpha, beta, r, negatives
    )
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)  # (..., M, N)
    if beta > 0:
        weights = subtract_negatives(weights, demos, negatives, beta)
    return regularise(weights, own, alpha)


def attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, **modification
) -> Tensor:
    """Return the layer's output, shape (..., M, d_v): `attention_weights` times values (..., N,
    d_v)."""
    check_pairs(keys, values)
    return attention_weights(queries, keys, mask, **modification) @ values


def dual_attention(
    queries,
    keys,
    values,
    mask=None,
    *,
    own=None,
    alpha=0.0,
    beta=0.0,
    r=0,
    negatives=None,
    eta: float = 1.0,
) -> Tensor:
    """Return the same output as `attention`, by training: each query's dual model takes one
    step.

    Every query has its own model, D, W_0 and negatives; the exact kernel is used, no features.
    """
    check_pairs(keys, values)
    scores, seen, own, demos, negatives = _prepare(
        queries, keys, mask, own, alpha, beta, r, negatives
    )
    visible = scores.masked_fill(~seen, -torch.inf)  # (..., M, N)
    top, best = visible.max(-1, keepdim=True)  # (..., M, 1)
    kernel = functools.partial(softmax_kernel, shift=top.unsqueeze(-1))
    D = (visible - top).exp().sum(-1)  # (..., M)
    # A hidden key has target 0; the best visible key stands in for it, so that exp cannot
    # overflow.
    stand_in = torch.take_along_dim(keys, best, dim=-2).unsqueeze(-2)  # (..., M, 1, d)
    views = torch.where(seen.unsqueeze(-1), keys.unsqueeze(-3), stand_in)  # (..., M, N, d)
    targets = (
        values.unsqueeze(-3) if beta == 0 else values_less_negatives(values, negatives, beta)
    )
    own_values = values.unsqueeze(-3) * own.unsqueeze(-1)  # (..., M, N, d_v)
    model = KernelDualModel.start(views, own_values, D, eta, kernel)
    model = model.step(views, targets * demos.unsqueeze(-1), alpha)
    return model(queries.unsqueeze(-2)).squeeze(-2)  # (..., M, d_v)
