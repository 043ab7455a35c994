"""Whole layers and stacks of layers as dual models: identities on random prompts, and what
partial training gives."""

import pandas as pd
import torch
from torch import Tensor, nn

from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.layers import (
    GATES,
    add_residual,
    encoder_dual,
    frozen_feed_forward,
    frozen_layer_norm,
    layer_dual,
    single_steps,
)
from iclbook.dual.modified import dual_attention

FLOAT = torch.float64


def causal(n: int) -> Tensor:
    """(n, n), True where a query may see a key: its own token and those before it."""
    return torch.ones(n, n, dtype=torch.bool).tril()


def draw_parameters(
    module: nn.Module, generator: torch.Generator, vectors: float = 1.0
) -> nn.Module:
    """Draw every parameter of `module` in place: matrices like 1 / sqrt(fan in), vectors with
    sd `vectors`."""
    for p in module.parameters():
        nn.init.normal_(
            p, std=p.shape[-1] ** -0.5 if p.ndim > 1 else vectors, generator=generator
        )
    return module


def _tokens(batch: int, n: int, width: int, norm: float, generator) -> Tensor:
    """(batch, n, width) tokens in random directions, norms uniform up to `norm`."""
    x = torch.randn(batch, n, width, generator=generator, dtype=FLOAT)
    return (
        norm
        * torch.rand(batch, n, 1, generator=generator, dtype=FLOAT)
        * x
        / x.norm(dim=-1, keepdim=True)
    )


def _residual(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest entry wanted."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@torch.no_grad()
def transformer_layer(settings, point) -> dict[str, pd.DataFrame]:
    """Residuals of a layer's output at every token to one step of training on the frozen map.

    block "attention + feed-forward" is ours, with biases; "pre-norm" and "post-norm" are
    PyTorch's encoder layers.
    """
    s, rows = settings, []
    g = torch.Generator().manual_seed(point["seed"])

    def whole(top: int, low: int = 1) -> int:
        return int(torch.randint(low, top + 1, (1,), generator=g))

    for trial in range(s.trials):
        for activation in GATES:
            for mask_name in ("full", "causal"):
                n, heads = whole(s.N_max) + 1, whole(s.heads_max)
                mask = causal(n) if mask_name == "causal" else None
                hidden, norm = (
                    whole(s.hidden_max),
                    s.norm_max * torch.rand(1, generator=g).item(),
                )

                width = whole(s.width_max)
                tokens = _tokens(2, n, width, norm, g)
                layer = SelfAttention(
                    width, whole(s.width_max), heads, generator=g, dtype=FLOAT
                )
                first, second = (
                    nn.Linear(width, hidden, dtype=FLOAT),
                    nn.Linear(hidden, width, dtype=FLOAT),
                )
                draw_parameters(first, g), draw_parameters(second, g)
                x = layer(tokens, mask)  # (2, n, width)
                wanted = second(getattr(nn.functional, activation)(first(x)))
                queries, keys, values = layer.project(tokens)
                after = frozen_feed_forward(x, first, second, activation)
                found = layer_dual(queries, keys, values @ layer.W_O.mT, after, mask)
                residuals = {"attention + feed-forward": _residual(found, wanted)}

                width = heads * whole(max(s.width_max // heads, 2), 2)
                tokens = _tokens(2, n, width, norm, g)
                for block in ("pre-norm", "post-norm"):
                    peer = nn.TransformerEncoderLayer(
                        width,
                        heads,
                        hidden,
                        dropout=0.0,
                        activation=activation,
                        batch_first=True,
                        norm_first=block == "pre-norm",
                        dtype=FLOAT,
                    )
                    draw_parameters(peer, g).eval()
                    wanted = peer(tokens, src_mask=None if mask is None else ~mask)
                    residuals[block] = _residual(encoder_dual(peer, tokens, mask), wanted)
                key = {"trial": trial, "activation": activation, "mask": mask_name}
                rows += [{**key, "block": b, "residual": r} for b, r in residuals.items()]
    return {"residuals": pd.DataFrame(rows)}


@torch.no_grad()
def attention_stack(settings, point) -> dict[str, pd.DataFrame]:
    """A stack run as a sequence of trained models against the stack itself, at every token.

    Beside it: what rounding should do to it, by disturbing every layer's output by epsilon (1 +
    largest score), relatively; and how far the demonstrations that enter the last layer move,
    relative to their size, when only the query's token changes.
    """
    s, rows, depth = settings, [], point["depth"]
    g, of_noise = (
        torch.Generator().manual_seed(point["seed"] + shift) for shift in (0, 1_000_000)
    )
    for trial in range(s.trials):
        n = int(torch.randint(2, s.N_max + 2, (1,), generator=g))
        heads = int(torch.randint(1, s.heads_max + 1, (1,), generator=g))
        tokens = _tokens(2, n, s.width, s.norm_max, g)
        other = torch.cat([tokens[:, :-1], _tokens(2, 1, s.width, s.norm_max, g)], dim=1)
        layers = [
            SelfAttention(s.width, 3, heads, generator=g, dtype=FLOAT) for _ in range(depth)
        ]
        for connected in (False, True):
            for mask_name in ("full", "causal"):
                mask = causal(n) if mask_name == "causal" else None
                plain, trained, noisy, moved, scores = tokens, tokens, tokens, other, []
                for layer in layers:
                    entering, entering_moved = plain[:, :-1], moved[:, :-1]
                    queries, keys, _ = layer.project(plain)
                    scores.append((queries @ keys.mT).abs().max().item())

                    def run(x, **kwargs):
                        return layer(x, mask, **kwargs) + (x if connected else 0)  # noqa: B023

                    plain, trained, noisy, moved = (
                        run(plain),
                        run(trained, attend=dual_attention),
                        run(noisy),
                        run(moved),
                    )
                    noise = torch.randn(noisy.shape, generator=of_noise, dtype=FLOAT)
                    noisy = (
                        noisy
                        + torch.finfo(FLOAT).eps * (1 + scores[-1]) * noise * noisy.abs().max()
                    )
                key = {"trial": trial, "connected": connected, "mask": mask_name}
                found = {
                    "residual": _residual(trained, plain),
                    "rounding": _residual(noisy, plain),
                    "largest_score": max(scores),
                    "movement": _residual(entering_moved, entering),
                }
                rows.append(key | found)
    return {"stacks": pd.DataFrame(rows)}


def _mean_and_error(name: str, samples: Tensor) -> dict[str, float]:
    """The mean of samples (prompts,) and its standard error."""
    error = (samples.std() / len(samples) ** 0.5).item()
    return {name: samples.mean().item(), f"{name}_error": error}


@torch.no_grad()
def layer_steps(settings, point) -> dict[str, pd.DataFrame]:
    """Squared errors at the query's token after each single-demonstration step.

    What follows attention is a feed-forward block, or LayerNorm after a residual connection, or
    that connection alone. Errors are those of the dual model, whose map belongs to the answer,
    and of the block itself, applied to the partly trained attention; each over the mean of the
    first at step 0.
    """
    s, rows, gates = settings, [], []
    g = torch.Generator().manual_seed(point["seed"])
    tokens, _ = sample_prompts(s.prompts, s.N, s.d, generator=g, dtype=FLOAT)
    width = s.d + 1
    layer = SelfAttention(width, s.d_o, generator=g, dtype=FLOAT)
    first, second, norm = (
        nn.Linear(width, s.hidden).double(),
        nn.Linear(s.hidden, width).double(),
        nn.LayerNorm(width).double(),
    )
    for module in (first, second):
        draw_parameters(module, g, vectors=0.1)
    queries, keys, values = (x[:, 0] for x in layer.project(tokens))
    x = single_steps(queries, keys, values @ layer.W_O[0].mT)[
        :, :, -1
    ]  # (N + 1, prompts, width)
    answer, start = x[-1], add_residual(tokens[:, -1])
    after_norm = frozen_layer_norm(start(answer), norm).after(start)
    blocks = {
        "relu": (
            lambda z: second(first(z).relu()),
            frozen_feed_forward(answer, first, second, "relu"),
        ),
        "gelu": (
            lambda z: second(nn.functional.gelu(first(z))),
            frozen_feed_forward(answer, first, second, "gelu"),
        ),
        "layer norm": (lambda z: norm(start(z)), after_norm),
        "residual": (start, start),
    }
    for name, (block, frozen) in blocks.items():
        wanted = block(answer)
        size = (frozen(x[0]) - wanted).square().sum(-1).mean()
        for step in range(s.N + 1):
            dual, partial = frozen(x[step]), block(x[step])
            gaps = {
                "frozen": dual - wanted,
                "partial": partial - wanted,
                "apart": dual - partial,
            }
            row = {"block": name, "step": step}
            for what, gap in gaps.items():
                row |= _mean_and_error(what, gap.square().sum(-1) / size)
            rows.append(row)
    for step in range(s.N + 1):
        same = ((first(x[step]) > 0) == (first(answer) > 0)).double().mean(-1)  # (prompts,)
        gates.append({"step": step, **_mean_and_error("share", same)})
    return {"errors": pd.DataFrame(rows), "gates": pd.DataFrame(gates)}


@torch.no_grad()
def two_layers_steps(settings, point) -> dict[str, pd.DataFrame]:
    """Squared error at the query of a stack of two layers, relative to the output's mean
    square.

    The first layer's models, one a token, have taken `first` single steps; on what they return,
    the second layer's model of the query has taken `second`.
    """
    s, rows = settings, []
    g = torch.Generator().manual_seed(point["seed"])
    tokens, _ = sample_prompts(s.prompts, s.N, s.d, generator=g, dtype=FLOAT)
    one, two = (SelfAttention(s.d + 1, s.d_o, generator=g, dtype=FLOAT) for _ in range(2))

    def steps(layer, x, mask):  # (N + 1, prompts, N + 1, width)
        queries, keys, values = (t[:, 0] for t in layer.project(x))
        return single_steps(queries, keys, values @ layer.W_O[0].mT, mask)

    for name, mask in (("full", None), ("causal", causal(s.N + 1))):
        wanted = two(one(tokens, mask), mask)[:, -1]  # (prompts, width)
        size = wanted.square().sum(-1).mean()
        for t, x in enumerate(steps(one, tokens, mask)):
            outputs = steps(two, x, mask)[:, :, -1]  # (N + 1, prompts, width)
            errors = (outputs - wanted).square().sum(-1) / size  # (N + 1, prompts)
            rows += [
                {"mask": name, "first": t, "second": u, **_mean_and_error("error", each)}
                for u, each in enumerate(errors)
            ]
    return {"errors": pd.DataFrame(rows)}
