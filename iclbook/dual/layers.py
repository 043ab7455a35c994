"""A Transformer layer as one dual step: the feed-forward block, residual connections and
LayerNorm.

What follows attention is, frozen at one query, an affine map: ReLU and GELU gate their input,
LayerNorm divides by the query's own deviation. Both depend on the answer, so the map is known
only afterwards. Several layers need no code of their own: run each `SelfAttention` with
`attend=dual_attention`.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iclbook.dual.kernel import softmax_kernel
from iclbook.dual.modified import dual_attention
from iclbook.dual.one_step import KernelDualModel, one_at_a_time
from iclbook.errors import InputError, require, require_shape

GATES = {"relu": lambda z: (z > 0).to(z.dtype), "gelu": torch.special.ndtr}


@dataclass(frozen=True)
class Affine:
    """x -> matrix x + constant, one map for each query: matrix (..., d_out, d_in), constant
    (..., d_out)."""

    matrix: Tensor
    constant: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return (..., d_out) for x (..., d_in)."""
        require_shape("x", x, (None,) * (x.ndim - 1) + (self.matrix.shape[-1],))
        return (self.matrix @ x.unsqueeze(-1)).squeeze(-1) + self.constant

    def after(self, inner: "Affine") -> "Affine":
        """Return x -> self(inner(x))."""
        return Affine(self.matrix @ inner.matrix, self(inner.constant))

    def with_residual(self) -> "Affine":
        """Return x -> x + self(x)."""
        eye = torch.eye(
            self.matrix.shape[-1], dtype=self.matrix.dtype, device=self.matrix.device
        )
        return Affine(self.matrix + eye, self.constant)


def add_residual(h: Tensor) -> Affine:
    """Return x -> h + x, the residual connection around attention; h: (..., d), the query's own
    token."""
    eye = torch.eye(h.shape[-1], dtype=h.dtype, device=h.device)
    return Affine(eye.expand(*h.shape, -1), h)


def feed_forward(
    x: Tensor, first: nn.Linear, second: nn.Linear, activation: str = "relu"
) -> Tensor:
    """Return W_2 activation(W_1 x + b_1) + b_2, (..., d_out), for x (..., d)."""
    return second(getattr(nn.functional, activation)(first(x)))


def frozen_feed_forward(
    x: Tensor, first: nn.Linear, second: nn.Linear, activation: str = "relu"
) -> Affine:
    """Return x -> W_F x + W_2 Sigma b_1 + b_2 with W_F = W_2 Sigma W_1, Sigma the gates at x
    (..., d).

    ReLU's gates are 0 or 1; GELU is z ndtr(z), gates between 0 and 1. At x itself the map
    equals the block.
    """
    if activation not in GATES:
        raise InputError(f"activation must be one of {sorted(GATES)}, got {activation!r}")
    gates = GATES[activation](first(x))  # (..., d_hidden)
    gated = second.weight * gates.unsqueeze(-2)  # (..., d_out, d_hidden): W_2 Sigma
    constant = (
        gated.new_zeros(gated.shape[:-1]) if second.bias is None else second.bias
    )  # (..., d_out)
    if first.bias is not None:
        constant = constant + gated @ first.bias  # (..., d_out)
    return Affine(gated @ first.weight, constant.expand(gated.shape[:-1]))


def frozen_layer_norm(x: Tensor, norm: nn.LayerNorm) -> Affine:
    """Return LayerNorm with sd frozen at x (..., d): centre, divide by sd(x), scale, add the
    bias."""
    d = x.shape[-1]
    scale = norm.weight / (x.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()  # (..., d)
    centring = torch.eye(d, dtype=x.dtype, device=x.device) - 1 / d  # (d, d)
    constant = torch.zeros_like(x) if norm.bias is None else norm.bias.expand_as(x)
    return Affine(scale.unsqueeze(-1) * centring, constant)


def layer_dual(queries, keys, values, after: Affine, mask=None, *, eta: float = 1.0) -> Tensor:
    """Return `after` applied to attention's summed heads, by training: (..., M, d_out).

    queries, keys: (..., H, M or N, d); values: (..., H, N, d_in), heads already through W_O.
    Query m's dual models learn the targets A_m v_i, A = after.matrix (..., M, d_out, d_in); the
    constant is added last.
    """
    M, N = queries.shape[-2], keys.shape[-2]
    require(M <= N, f"queries are the last tokens of the prompt: at most {N}, got {M}")
    own = torch.eye(N, dtype=torch.bool, device=keys.device)[N - M :].unsqueeze(-2)  # (M, 1, N)
    hidden = None if mask is None else mask.unsqueeze(-2)  # (..., M, 1, N)
    targets = values.unsqueeze(-3) @ after.matrix.mT.unsqueeze(-4)  # (..., H, M, N, d_out)
    views = keys.unsqueeze(-3).expand(
        *keys.shape[:-2], M, N, keys.shape[-1]
    )  # (..., H, M, N, d)
    # (..., H, M, 1, d_out): every query is a batch entry with targets of its own
    heads = dual_attention(queries.unsqueeze(-2), views, targets, hidden, own=own, eta=eta)
    return heads.squeeze(-2).sum(-3) + after.constant


def encoder_dual(
    layer: nn.TransformerEncoderLayer, tokens: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Return `layer(tokens)`, (B, N, width), by training on maps frozen at the answer; mask as
    in `layer_dual`.

    The answer must be known first: the gates and deviations are read off a forward pass up to
    each of them. Pre-norm and post-norm, ReLU and GELU. Raises InputError unless the layer is
    batch first and in eval mode.
    """
    attn, hidden = layer.self_attn, None if mask is None else ~mask
    require(attn.batch_first, "the layer must be batch first; build it with batch_first=True")
    require(
        not layer.training,
        "dropout would change the layer at every call; call layer.eval() first",
    )
    seen = layer.norm1(tokens) if layer.norm_first else tokens  # what attention reads
    heads, _ = attn(seen, seen, seen, attn_mask=hidden, need_weights=False)
    bias = 0 if attn.out_proj.bias is None else attn.out_proj.bias
    x, start = tokens + heads, add_residual(tokens + bias)  # (B, N, width)
    name = getattr(layer.activation, "__name__", str(layer.activation))
    if layer.norm_first:
        block = frozen_feed_forward(layer.norm2(x), layer.linear1, layer.linear2, name)
        after = block.after(frozen_layer_norm(x, layer.norm2)).with_residual()
    else:
        y = layer.norm1(x)
        block = frozen_feed_forward(y, layer.linear1, layer.linear2, name).with_residual()
        after = (
            frozen_layer_norm(block(y), layer.norm2)
            .after(block)
            .after(frozen_layer_norm(x, layer.norm1))
        )
    return layer_dual(*_projections(attn, seen), after.after(start), mask)


def _projections(attn: nn.MultiheadAttention, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return scaled queries and keys (B, H, N, d), and values already through W_O (B, H, N,
    width)."""
    H, width = attn.num_heads, attn.embed_dim
    d = width // H
    qkv = nn.functional.linear(
        tokens, attn.in_proj_weight, attn.in_proj_bias
    )  # (B, N, 3 width)
    queries, keys, values = qkv.unflatten(-1, (3, H, d)).permute(
        2, 0, 3, 1, 4
    )  # each (B, H, N, d)
    W_O = attn.out_proj.weight.unflatten(1, (H, d)).permute(1, 2, 0)  # (H, d, width)
    return queries * d**-0.25, keys * d**-0.25, values @ W_O


def single_steps(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Return the outputs (N + 1, B, M, d_v) of every query's own dual model, before and after
    each of its N steps.

    queries, keys (B, M, d), values (B, M, d_v), M = N + 1 tokens, each a query. Step i shows
    every query the i-th of the other tokens, in the prompt's order; a token hidden from it has
    target 0, so that its step does nothing.
    """
    M = keys.shape[-2]
    seen = torch.ones(M, M, dtype=torch.bool) if mask is None else mask
    shift = (queries @ keys.mT).amax((-2, -1)).reshape(-1, 1, 1, 1)  # (B, 1, 1, 1)
    kernel = functools.partial(softmax_kernel, shift=shift)
    D = (softmax_kernel(queries, keys, shift[..., 0]) * seen).sum(-1)  # (B, M)
    others = torch.tensor([[i for i in range(M) if i != m] for m in range(M)])  # (M, N)
    targets = values[:, others] * seen.gather(1, others).unsqueeze(-1)  # (B, M, N, d_v)
    start = KernelDualModel.start(keys.unsqueeze(-2), values.unsqueeze(-2), D, kernel=kernel)
    models = one_at_a_time(start, keys[:, others], targets)
    return torch.stack([model(queries.unsqueeze(-2)).squeeze(-2) for model in models])
