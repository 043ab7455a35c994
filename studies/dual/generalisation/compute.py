"""The generalisation gap measured: its exact supremum over samples, beside every step of the bound."""

import math

import pandas as pd
import torch
from torch import Tensor

from iclbook.dual import generalisation as G
from iclbook.dual.kernel import softmax_kernel


def draw_pool(name: str, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Keys and values of `size` pairs: the population, from which demonstrations are drawn with replacement.

    unit: keys (size, 4) and values (size, 3) uniform on the sphere. uniform: a random layer's keys and
    values, (size, 11), of tokens uniform on [-1, 1]^11. prompt: the same with tokens [x; w^T x], x uniform on
    [-1, 1]^10.
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


def thm32_gap(settings, point) -> pd.DataFrame:
    """Columns: pool, seed, N, quantity, value.

    Measured over `samples` samples of N pairs: mean, its standard error, 1 - delta quantile, largest, and the
    share above the bound; "twice Rademacher" is twice the mean complexity of the samples, and "Rademacher error"
    the standard error of that. The other quantities are those of `bound_steps`. At N = 0: rho, kappa and E k(x, x) of the pool.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    keys, values = draw_pool(point["pool"], s.size, generator)
    kernel = softmax_kernel(keys, keys)  # (size, size)
    gram = G.pair_gram(kernel, values)
    centred = G.centred(gram)
    facts = {
        "rho": values.norm(dim=-1).max(),
        "kappa": kernel.diagonal().max().sqrt(),
        "E k(x, x)": kernel.diagonal().mean(),
    }
    rows = [(0, name, value.item()) for name, value in facts.items()]
    for n in s.N:
        gaps, complexities = [], []
        for _ in range(s.samples):
            sample = torch.randint(0, s.size, (n,), generator=generator)
            gaps.append(G.gap_supremum(centred, sample, s.w))
            drawn = G.rademacher_complexity(
                gram[sample][:, sample], s.w, draws=s.signs, generator=generator
            )
            complexities.append(2 * drawn.mean())
        gaps, complexities = torch.stack(gaps), torch.stack(complexities)  # (samples,)
        steps = G.bound_steps(kernel, values, s.w, n, s.delta)
        found = {
            "mean": gaps.mean(), "mean error": gaps.std() / math.sqrt(s.samples),
            "mean square": gaps.square().mean(),
            "mean square error": gaps.square().std() / math.sqrt(s.samples), "largest": gaps.max(),
            "quantile": gaps.quantile(1 - s.delta), "share above": (gaps > steps["bound"]).double().mean(),
            "twice Rademacher": complexities.mean(),
            "Rademacher error": complexities.std() / math.sqrt(s.samples),
        }  # fmt: skip
        rows += [(n, name, value.item()) for name, value in found.items()] + [
            (n, *step) for step in steps.items()
        ]
    return pd.DataFrame(rows, columns=["N", "quantity", "value"])
