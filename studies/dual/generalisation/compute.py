"""The generalisation gap measured: its exact supremum over samples, beside every step of the
bound."""

import math

import pandas as pd
import torch
from torch import Tensor

from iclbook.dual.kernel import softmax_kernel
from studies.dual.generalisation import bounds as G


def draw_pool(name: str, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Keys and values of `size` pairs: the population, from which demonstrations are drawn with
    replacement.

    unit: keys (size, 4) and values (size, 3) uniform on the sphere. uniform: a random layer's
    keys and values, (size, 11), of tokens uniform on [-1, 1]^11. prompt: the same with tokens
    [x; w^T x], x uniform on [-1, 1]^10.
    """
    if name == "unit":
        shapes = (size, 4), (size, 3)
        raw = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        return tuple(torch.nn.functional.normalize(t, dim=-1) for t in raw)
    d = 11
    tokens = 2 * torch.rand(size, d, generator=generator, dtype=torch.float64) - 1  # (size, d)
    if name == "prompt":
        tokens[:, -1] = tokens[:, :-1] @ torch.randn(
            d - 1, generator=generator, dtype=torch.float64
        )
    W_K, W_V = torch.randn(2, d, d, generator=generator, dtype=torch.float64) / d**0.5
    return tokens @ W_K.T / d**0.25, tokens @ W_V.T


def thm32_gap(settings, point) -> dict[str, pd.DataFrame]:
    """The gap over `samples` samples of each N pairs of a pool, beside every step of the bound.

    The steps of the bound are those of `bound_steps`.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    keys, values = draw_pool(point["pool"], s.size, generator)
    kernel = softmax_kernel(keys, keys)  # (size, size)
    gram = G.pair_gram(kernel, values)
    centred = G.centred(gram)
    facts = {
        "rho": values.norm(dim=-1).max().item(),
        "kappa": kernel.diagonal().max().sqrt().item(),
        "mean_kernel": kernel.diagonal().mean().item(),
    }
    rows = []
    for n in s.N:
        gaps, complexities = [], []
        for _ in range(s.samples):
            sample = torch.randint(0, s.size, (n,), generator=generator)
            gaps.append(G.gap_supremum(centred, sample, s.w))
            part = gram[sample][:, sample]  # (n, n)
            drawn = G.rademacher_complexity(part, s.w, draws=s.signs, generator=generator)
            complexities.append(2 * drawn.mean())
        gaps, complexities = torch.stack(gaps), torch.stack(complexities)  # (samples,)
        steps = G.bound_steps(kernel, values, s.w, n, s.delta)
        found = {
            "mean": gaps.mean(),
            "mean_error": gaps.std() / math.sqrt(s.samples),
            "mean_square": gaps.square().mean(),
            "mean_square_error": gaps.square().std() / math.sqrt(s.samples),
            "largest": gaps.max(),
            "quantile": gaps.quantile(1 - s.delta),
            "share_above": (gaps > steps["bound"]).double().mean(),
            "twice_Rademacher": complexities.mean(),
            "Rademacher_error": complexities.std() / math.sqrt(s.samples),
        }
        found = {name: value.item() for name, value in found.items()}
        rows.append({"N": n, **found, **steps})
    return {"pools": pd.DataFrame([facts]), "gaps": pd.DataFrame(rows)}
