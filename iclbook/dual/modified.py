"""Three modifications of attention, each a change of the dual model's loss, and its proof.

The one place that knows them: `Modification` names their strengths, `signed_weights` makes
weights of scores, `dual_problem` says what the dual model is trained on, `Augment` is the view.
Queries are the last M of the N tokens, so query m's own key is column N - M + m; `own` says
otherwise. Weights have shape (..., M, N); a mask is True where a query may see a key, as in
PyTorch.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from iclbook.dual.kernel import check_pairs, check_tokens, softmax_kernel
from iclbook.dual.one_step import KernelDualModel
from iclbook.errors import require, require_nonnegative, require_sizes


@dataclass(frozen=True)
class Modification:
    """The strengths; the defaults are plain attention.

    alpha: the query's own value is scaled by 1 - alpha. beta: how much of the mean of its r
    lowest-scored demonstrations, or of the given `negatives` (..., M, N), a query subtracts.
    A strength is a number, or a tensor that broadcasts against scores (..., M, N).
    """

    alpha: float | Tensor = 0.0
    beta: float | Tensor = 0.0
    r: int | Tensor = 0
    negatives: Tensor | None = None

    def __post_init__(self):
        if not isinstance(self.alpha, Tensor):
            require(math.isfinite(self.alpha), f"alpha must be finite, got {self.alpha!r}")
        if not isinstance(self.beta, Tensor):
            require_nonnegative(beta=self.beta)

    @classmethod
    def stacked(cls, parts: Sequence["Modification"], dtype: torch.dtype) -> "Modification":
        """One for scores (S, ..., M, N) of S layers: its strengths have shape (S, 1, 1, 1)."""
        types = {float: dtype, int: torch.int64}
        columns = {}
        for field in fields(cls):
            if field.name != "negatives":
                column = [getattr(part, field.name) for part in parts]
                column = torch.tensor(column, dtype=types[type(field.default)])
                columns[field.name] = column.reshape(-1, 1, 1, 1)
        return cls(**columns)

    def chosen(self, scores: Tensor, demos: Tensor) -> Tensor | None:
        """The negatives, a bool (..., M, N), or None where nothing is subtracted."""
        if self.negatives is not None:
            return self.negatives & demos
        if isinstance(self.beta, Tensor):
            wanted = bool((torch.as_tensor(self.r) > 0).any())
        else:
            wanted = self.beta > 0
        return lowest_scores(scores, demos, self.r) if wanted else None


# --- what they do to the weights


def regularise(weights: Tensor, own: Tensor, alpha: float | Tensor) -> Tensor:
    """Scale the query's own weight by 1 - alpha: one full step on L + alpha / (2 eta)
    ||W||_F^2."""
    return weights * (1 - alpha * own.to(weights.dtype))  # (..., M, N)


def lowest_scores(scores: Tensor, demos: Tensor, r: int | Tensor) -> Tensor:
    """Return the negatives, a bool (..., M, N): each query's r lowest-scored demonstrations or
    all."""
    N = scores.shape[-1]
    if isinstance(r, Tensor):
        most = int(r.max())
    else:
        require_sizes(r=r)
        most = r
    require(most <= N, f"r must be at most the number of tokens {N}, got {most}")
    # A stable sort lets the earlier demonstration win a tie, so that the choice is
    # reproducible.
    order = scores.masked_fill(~demos, torch.inf).argsort(dim=-1, stable=True)  # (..., M, N)
    first = torch.arange(N, device=scores.device) < r  # (..., N)
    return (
        torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, first.expand_as(order))
        & demos
    )


def negative_shares(negatives: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 1 / |N| on the negatives and 0 elsewhere, shape (..., M, N); all 0 where there are
    none."""
    count = negatives.sum(-1, keepdim=True).clamp(min=1)  # (..., M, 1)
    return negatives.to(dtype) / count


def subtract_negatives(
    weights: Tensor, demos: Tensor, negatives: Tensor, beta: float | Tensor
) -> Tensor:
    """Return weights - beta p_demo / |N| on the negatives: the closed form of
    `values_less_negatives`."""
    p_demo = (weights * demos).sum(-1, keepdim=True)  # (..., M, 1)
    return weights - beta * p_demo * negative_shares(negatives, weights.dtype)


def _masks(
    scores: Tensor, mask: Tensor | None, own: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor]:
    """What each query sees, None for all; its own key; its demonstrations: broadcast to
    scores."""
    if own is None:
        M, N = scores.shape[-2:]
        require(M <= N, f"queries are the last tokens of the prompt: at most {N}, got {M}")
        own = torch.eye(N, dtype=torch.bool, device=scores.device)[N - M :]  # (M, N)
    if mask is None:
        return None, own, ~own
    seen = mask.expand_as(scores)
    require(bool(seen.any(-1).all()), "every query must see a key; unmask one in each row")
    return seen, own & seen, ~own & seen


def signed_weights(
    scores: Tensor, mask: Tensor | None = None, *, own: Tensor | None = None, **strengths
) -> Tensor:
    """Return signed weights (..., M, N): softmax of any scores, then the modifications.

    strengths: those of `Modification`. Weights sum to 1 - alpha p_own - beta p_demo.
    """
    change, (seen, own, demos) = Modification(**strengths), _masks(scores, mask, own)
    visible = scores if seen is None else scores.masked_fill(~seen, -torch.inf)
    weights = visible.softmax(-1)  # (..., M, N)
    negatives = change.chosen(scores, demos)
    if negatives is not None:
        weights = subtract_negatives(weights, demos, negatives, change.beta)
    return regularise(weights, own, change.alpha)


def attention_weights(
    queries: Tensor, keys: Tensor, mask: Tensor | None = None, **modification
) -> Tensor:
    """Return `signed_weights` of the scores q^T k, shape (..., M, N).

    queries: (..., M, d); keys: (..., N, d), both divided by d^{1/4}.
    """
    check_tokens("queries", queries)
    check_tokens("keys", keys, queries.shape[-1])
    return signed_weights(queries @ keys.mT, mask, **modification)


def attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, **modification
) -> Tensor:
    """Return the layer's output, shape (..., M, d_v): `attention_weights` times values (..., N,
    d_v)."""
    check_pairs(keys, values)
    return attention_weights(queries, keys, mask, **modification) @ values


# --- what they do to the dual model


def values_less_negatives(values: Tensor, negatives: Tensor, beta: float | Tensor) -> Tensor:
    """Return v_i - (beta / |N|) sum_{j in N} v_j, shape (..., M, N, d_v): the targets of the
    negative loss.

    values: (..., N, d_v); negatives: (..., M, N), the same set for every demonstration i of a
    query.
    """
    mean = negative_shares(negatives, values.dtype) @ values  # (..., M, d_v)
    return values.unsqueeze(-3) - (beta * mean).unsqueeze(-2)


def dual_problem(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    own: Tensor | None = None,
    eta: float = 1.0,
    **strengths,
) -> tuple[KernelDualModel, Tensor, Tensor, float | Tensor]:
    """What each query's own dual model is trained on: (start, views, targets, alpha).

    start: the models at W_0, (..., M) of them, with the exact kernel; views: (..., M, N, d);
    targets: (..., M, N, d_v), 0 for its own key and hidden ones; alpha: of the penalty.
    """
    check_tokens("queries", queries)
    check_pairs(keys, values, queries.shape[-1])
    scores = queries @ keys.mT  # (..., M, N)
    change, (seen, own, demos) = Modification(**strengths), _masks(scores, mask, own)
    visible = scores if seen is None else scores.masked_fill(~seen, -torch.inf)
    top, best = visible.max(-1, keepdim=True)  # (..., M, 1)
    D = (visible - top).exp().sum(-1)  # (..., M)
    views = keys.unsqueeze(-3).expand(*scores.shape, -1)  # (..., M, N, d)
    if seen is not None:
        # A hidden key has target 0; the best visible key stands in, so that exp cannot
        # overflow.
        stand_in = torch.take_along_dim(keys, best, dim=-2).unsqueeze(-2)  # (..., M, 1, d)
        views = torch.where(seen.unsqueeze(-1), views, stand_in)
    negatives, targets = change.chosen(scores, demos), values.unsqueeze(-3)
    if negatives is not None:
        targets = values_less_negatives(values, negatives, change.beta)  # (..., M, N, d_v)
    own_values = values.unsqueeze(-3) * own.unsqueeze(-1)  # (..., M, N, d_v)
    kernel = functools.partial(softmax_kernel, shift=top.unsqueeze(-1))
    start = KernelDualModel.start(views, own_values.expand(*scores.shape, -1), D, eta, kernel)
    targets = (targets * demos.unsqueeze(-1)).expand(*scores.shape, -1)
    alpha = change.alpha
    return start, views, targets, alpha.unsqueeze(-1) if isinstance(alpha, Tensor) else alpha


def dual_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, **modification
) -> Tensor:
    """Return the same output as `attention`, by training: each query's dual model takes one
    step."""
    start, views, targets, alpha = dual_problem(queries, keys, values, mask, **modification)
    model = start.step(views, targets, alpha)
    return model(queries.unsqueeze(-2)).squeeze(-2)  # (..., M, d_v)


# --- the augmented views


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

    @staticmethod
    def probed(probe: Tensor, W: Tensor, tokens: Tensor, mlps: Mapping[str, Tensor]) -> Tensor:
        """probe . MLP(W h_i) for S stacked maps, (S, B, n), without forming MLP(W h_i).

        probe: (S, B or 1, d); W: (S, d, width); tokens: (B, n, width); mlps: stacked `mlp`.
        """
        widen, b_1, narrow, b_2 = (
            mlps[part] for part in ("0.weight", "0.bias", "2.weight", "2.bias")
        )
        (B, n, width), (S, hidden) = tokens.shape, b_1.shape
        inner = tokens.reshape(-1, width) @ (widen @ W).mT + b_1.unsqueeze(
            1
        )  # (S, B n, hidden)
        outer = (probe @ narrow).unsqueeze(2)  # (S, B or 1, 1, hidden)
        # A sum of products is faster here than a product of matrices.
        mapped = (gelu(inner).reshape(S, B, n, hidden) * outer).sum(-1)  # (S, B, n)
        return mapped + probe @ b_2.unsqueeze(-1)
