"""Whole layers and stacks of layers as dual models: identities on random prompts, and what
partial training gives."""

import functools
from itertools import product

import pandas as pd
import torch
from torch import Tensor, nn

from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.layers import (
    GATES,
    Affine,
    add_residual,
    encoder_dual,
    feed_forward,
    frozen_feed_forward,
    frozen_layer_norm,
    layer_dual,
    single_steps,
)
from iclbook.dual.modified import dual_attention
from studies.dual.layers.settings import DISTANCES, MASKS

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


def _mask(name: str, n: int) -> Tensor | None:
    """The mask of that name over n tokens; None where every token sees every other."""
    return causal(n) if name == "causal" else None


def _whole(top: int, generator: torch.Generator, low: int = 1) -> int:
    """A whole number from `low` to `top`, both included."""
    return int(torch.randint(low, top + 1, (1,), generator=generator))


def _tokens(batch: int, n: int, width: int, norm: float, generator) -> Tensor:
    """(batch, n, width) tokens in random directions, norms uniform up to `norm`."""
    x = torch.randn(batch, n, width, generator=generator, dtype=FLOAT)
    lengths = norm * torch.rand(batch, n, 1, generator=generator, dtype=FLOAT)
    return lengths * x / x.norm(dim=-1, keepdim=True)


def draw_feed_forward(
    width: int, hidden: int, generator: torch.Generator, vectors: float = 1.0
) -> tuple[nn.Linear, nn.Linear]:
    """The two linear maps of a feed-forward block, drawn."""
    sizes = (width, hidden), (hidden, width)
    first, second = (nn.Linear(*size, dtype=FLOAT) for size in sizes)
    draw_parameters(first, generator, vectors)
    return first, draw_parameters(second, generator, vectors)


def _residual(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest entry wanted."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def _over_prompts(samples: Tensor) -> dict[str, float]:
    """The mean of samples (prompts,) and its standard error."""
    error = samples.std() / len(samples) ** 0.5
    return {"mean": samples.mean().item(), "standard_error": error.item()}


@torch.no_grad()
def transformer_layer(settings, point) -> dict[str, pd.DataFrame]:
    """Residuals of a layer's output at every token to one step of training on the frozen map.

    block "attention + feed-forward" is ours, with biases; "pre-norm" and "post-norm" are
    PyTorch's encoder layers.
    """
    s, rows = settings, []
    g = torch.Generator().manual_seed(point["seed"])
    for trial, activation, mask_name in product(s.numbers, GATES, MASKS):
        n, heads = _whole(s.N_max, g) + 1, _whole(s.heads_max, g)
        hidden, norm = _whole(s.hidden_max, g), s.norm_max * torch.rand(1, generator=g).item()
        mask, residuals = _mask(mask_name, n), {}

        # Our own attention, whatever its widths, and a feed-forward block.
        width = _whole(s.width_max, g)
        tokens = _tokens(2, n, width, norm, g)  # (2, n, width)
        head_size = _whole(s.width_max, g)
        layer = SelfAttention(width, head_size, heads, generator=g, dtype=FLOAT)
        first, second = draw_feed_forward(width, hidden, g)
        x = layer(tokens, mask)  # (2, n, width)
        queries, keys, values = layer.project(tokens)  # (2, heads, n, head_size)
        after = frozen_feed_forward(x, first, second, activation)
        found = layer_dual(queries, keys, values @ layer.W_O.mT, after, mask)
        wanted = feed_forward(x, first, second, activation)
        residuals["attention + feed-forward"] = _residual(found, wanted)

        # PyTorch's own layers, whose width the heads share.
        width = heads * _whole(max(s.width_max // heads, 2), g, low=2)
        tokens = _tokens(2, n, width, norm, g)
        options = {"dropout": 0.0, "activation": activation, "batch_first": True}
        for block in ("pre-norm", "post-norm"):
            options |= {"norm_first": block == "pre-norm", "dtype": FLOAT}
            peer = nn.TransformerEncoderLayer(width, heads, hidden, **options)
            draw_parameters(peer, g).eval()
            wanted = peer(tokens, src_mask=None if mask is None else ~mask)
            residuals[block] = _residual(encoder_dual(peer, tokens, mask), wanted)

        key = {"trial": trial, "activation": activation, "mask": mask_name}
        rows += [key | {"block": block, "residual": r} for block, r in residuals.items()]
    return {"residuals": pd.DataFrame(rows)}


def _through(
    layers, mask, connected: bool, tokens: Tensor, other: Tensor, disturbances: int, of_noise
) -> dict:
    """What a stack makes of tokens (2, n, width): a row of measures; see `attention_stack`.

    other: the same tokens but for the query's. of_noise: the generator of the disturbances.
    """
    plain, trained, moved, scores = tokens, tokens, other, []
    noisy = tokens.expand(disturbances, *tokens.shape)  # (disturbances, 2, n, width)
    for layer in layers:
        entering, entering_moved = plain[:, :-1], moved[:, :-1]  # (2, n - 1, width)
        queries, keys, _ = layer.project(plain)
        scores.append((queries @ keys.mT).abs().max().item())

        noise = torch.finfo(FLOAT).eps * (1 + scores[-1])
        plain = layer(plain, mask) + connected * plain
        trained = layer(trained, mask, attend=dual_attention) + connected * trained
        noisy, moved = (layer(x, mask) + connected * x for x in (noisy, moved))
        drawn = torch.randn(noisy.shape, generator=of_noise, dtype=FLOAT)
        noisy = noisy + noise * drawn * plain.abs().max()
    return {
        "residual": _residual(trained, plain),
        "rounding": _residual(noisy, plain),
        "largest_score": max(scores),
        "movement": _residual(entering_moved, entering),
    }


@torch.no_grad()
def attention_stack(settings, point) -> dict[str, pd.DataFrame]:
    """A stack run as a sequence of trained models against the stack itself, at every token.

    Beside it: what rounding should do to it, by disturbing every layer's output by epsilon (1 +
    largest score), relative to its largest entry, in several draws of which the largest effect
    counts; and how far the demonstrations that enter the last layer move, relative to their
    size, when only the query's token changes.
    """
    s, rows = settings, []
    g = torch.Generator().manual_seed(point["seed"])
    of_noise = torch.Generator().manual_seed(point["seed"] + 1_000_000)
    for trial in s.numbers:
        n, heads = _whole(s.N_max, g) + 1, _whole(s.heads_max, g)
        tokens = _tokens(2, n, s.width, s.norm_max, g)  # (2, n, width)
        other = torch.cat([tokens[:, :-1], _tokens(2, 1, s.width, s.norm_max, g)], dim=1)
        layers = [
            SelfAttention(s.width, 3, heads, generator=g, dtype=FLOAT)
            for _ in range(point["depth"])
        ]
        for connected, mask_name in product((False, True), MASKS):
            key = {"trial": trial, "residual_connections": connected, "mask": mask_name}
            mask = _mask(mask_name, n)
            prompts = tokens, other, s.disturbances
            rows.append(key | _through(layers, mask, connected, *prompts, of_noise))
    return {"stacks": pd.DataFrame(rows)}


def partly_trained(layer: SelfAttention, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return a one-head layer's output after each single-demonstration step of every query's
    model, (N + 1, prompts, N + 1, width); tokens (prompts, N + 1, width)."""
    queries, keys, values = (each[:, 0] for each in layer.project(tokens))
    return single_steps(queries, keys, values @ layer.W_O[0].mT, mask)


@torch.no_grad()
def layer_steps(settings, point) -> dict[str, pd.DataFrame]:
    """Squared distances at the query's token after each single-demonstration step.

    What follows attention is a feed-forward block, or LayerNorm after a residual connection, or
    that connection alone. The distances, see the table's declaration, are over the mean error
    of the dual model before any step.
    """
    s = settings
    g = torch.Generator().manual_seed(point["seed"])
    tokens, _ = sample_prompts(s.prompts, s.N, s.d, generator=g, dtype=FLOAT)
    width = s.d + 1
    layer = SelfAttention(width, s.d_o, generator=g, dtype=FLOAT)
    first, second = draw_feed_forward(width, s.hidden, g, vectors=0.1)
    norm = nn.LayerNorm(width, dtype=FLOAT)

    # Attention's output at the query, partly trained; the last step gives the answer.
    x = partly_trained(layer, tokens)[:, :, -1]  # (N + 1, prompts, width)
    answer, start = x[-1], add_residual(tokens[:, -1])
    after_norm = frozen_layer_norm(start(answer), norm).after(start)
    blocks = {
        activation: (
            functools.partial(feed_forward, first=first, second=second, activation=activation),
            frozen_feed_forward(answer, first, second, activation),
        )
        for activation in GATES
    }
    blocks["layer norm"] = (lambda z: norm(start(z)), after_norm)
    blocks["residual"] = (start, start)
    rows = [
        {"block": name, **row}
        for name, (block, frozen) in blocks.items()
        for row in _distances(block, frozen, x)
    ]
    gates = first(x) > 0  # (N + 1, prompts, hidden)
    same = (gates == gates[-1]).to(FLOAT).mean(-1)  # (N + 1, prompts)
    shares = [{"step": step} | _over_prompts(each) for step, each in enumerate(same)]
    return {"distances": pd.DataFrame(rows), "gates": pd.DataFrame(shares)}


def _distances(block, frozen: Affine, x: Tensor) -> list[dict]:
    """Rows of step, distance, mean and its standard error; x: (steps, prompts, width), of which
    the last is the answer."""
    wanted = block(x[-1])  # (prompts, width)
    size = (frozen(x[0]) - wanted).square().sum(-1).mean()
    rows = []
    for step, reached in enumerate(x):
        dual, partial = frozen(reached), block(reached)  # each (prompts, width)
        gaps = dual - wanted, partial - wanted, dual - partial
        for name, gap in zip(DISTANCES, gaps, strict=True):
            squared = gap.square().sum(-1) / size  # (prompts,)
            rows.append({"step": step, "distance": name} | _over_prompts(squared))
    return rows


@torch.no_grad()
def two_layers_steps(settings, point) -> dict[str, pd.DataFrame]:
    """Squared error at the query of a stack of two layers, over the output's mean square.

    The first layer's models, one a token, have taken `first` single steps; on what they return,
    the second layer's model of the query has taken `second`.
    """
    s, rows = settings, []
    g = torch.Generator().manual_seed(point["seed"])
    tokens, _ = sample_prompts(s.prompts, s.N, s.d, generator=g, dtype=FLOAT)
    one, two = (SelfAttention(s.d + 1, s.d_o, generator=g, dtype=FLOAT) for _ in range(2))

    for name in MASKS:
        mask = _mask(name, s.N + 1)
        wanted = two(one(tokens, mask), mask)[:, -1]  # (prompts, width)
        size = wanted.square().sum(-1).mean()
        for taken, x in enumerate(partly_trained(one, tokens, mask)):
            outputs = partly_trained(two, x, mask)[:, :, -1]  # (N + 1, prompts, width)
            errors = (outputs - wanted).square().sum(-1) / size  # (N + 1, prompts)
            rows += [
                {"mask": name, "first": taken, "second": then} | _over_prompts(each)
                for then, each in enumerate(errors)
            ]
    return {"errors": pd.DataFrame(rows)}
