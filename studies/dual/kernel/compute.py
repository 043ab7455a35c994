"""Random features measured: identities, mean and variance of a kernel value, error of
attention."""

import math

import pandas as pd
import torch
from torch import Tensor

from iclbook.dual import kernel as K
from iclbook.dual.attention import SelfAttention


def kernel_identity(settings, point) -> dict[str, pd.DataFrame]:
    """Each identity's largest relative error over N x N pairs.

    Keys have the given norm times a uniform number, the first of them 0; queries have the norm
    itself.
    """
    s, rows = settings, []
    generator = torch.Generator().manual_seed(point["seed"])
    for width in s.widths:
        for norm in s.norms:
            keys, queries = torch.randn(
                2, s.N, width, generator=generator, dtype=torch.float64
            )  # (N, width) each
            keys, queries = (
                norm * torch.nn.functional.normalize(t, dim=-1) for t in (keys, queries)
            )
            keys = keys * torch.rand(s.N, 1, generator=generator, dtype=torch.float64)
            keys[0] = 0
            norms = (
                queries.norm(dim=-1, keepdim=True).square() / 2 + keys.norm(dim=-1).square() / 2
            )  # (N, N)
            factored = (
                norms + K.log_gaussian_kernel(queries, keys)
            ).exp()  # one by one they under- and overflow
            exact = K.softmax_kernel(queries, keys)

            w = K.draw_directions(s.d_r, width, generator=generator)
            log_q, log_k = (K.log_positive_features(t, w) for t in (queries, keys))  # (N, d_r)
            shifted = K.kernel_weights(K.exp_shifted(log_q, dim=-1) @ K.exp_shifted(log_k).mT)
            in_logs = (
                (log_q.unsqueeze(-2) + log_k.unsqueeze(-3)).logsumexp(-1).softmax(-1)
            )  # (N, N)
            errors = {
                "kernel": (factored / exact - 1).abs().max().item(),
                "shifted_features": (shifted / in_logs - 1).abs().max().item(),
            }
            rows.append({"width": width, "norm": norm, **errors})
    return {"errors": pd.DataFrame(rows)}


def features_variance(settings, point) -> dict[str, pd.DataFrame]:
    """Mean and variance of the kernel's estimates over `sets` sets of d_r features, by kind."""
    s, rows = settings, []
    generator = torch.Generator().manual_seed(point["seed"])
    x, y = torch.zeros(2, 1, s.d, dtype=torch.float64)
    x[0, 0] = y[0, 0] = math.sqrt(s.squared_norm)
    y = y * point["cosine"]
    y[0, 1] = math.sqrt(s.squared_norm * (1 - point["cosine"] ** 2))
    exact, blocks = K.softmax_kernel(x, y).item(), -(-s.d_r // s.d)
    for name in ("iid", "orthogonal", "trigonometric"):
        if name == "trigonometric":
            w = K.draw_directions(
                s.sets * s.d_r // 2, s.d, generator=generator
            )  # half the directions, two waves each
            terms = 2 * K.trigonometric_features(x, w).mul(
                K.trigonometric_features(y, w)
            ).reshape(2, s.sets, -1)
            estimates, variance = (
                terms.sum((0, 2)) * s.sets / 2,
                K.trigonometric_variance(x, y, s.d_r // 2),
            )
        else:
            per_set = blocks * s.d
            w = K.draw_directions(
                s.sets * per_set, s.d, generator=generator, orthogonal=name == "orthogonal"
            )
            terms = (K.log_positive_features(x, w) + K.log_positive_features(y, w)).exp() * len(
                w
            )
            estimates = terms.reshape(s.sets, per_set)[:, : s.d_r].mean(-1)  # (sets,)
            variance = K.positive_variance(x, y, s.d_r, orthogonal=name == "orthogonal")
        squares, root = (estimates - exact).square(), math.sqrt(s.sets)
        values = {
            "mean": estimates.mean(),
            "mean_error": estimates.std() / root,
            "mean_exact": exact,
            "variance": squares.mean(),
            "variance_error": squares.std() / root,
            "variance_exact": variance,
        }
        rows.append({"features": name, **{what: float(v) for what, v in values.items()}})
    return {"moments": pd.DataFrame(rows)}


def projected_prompt(
    N: int, d: int, squared_sum: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys, values, each (N + 1, d), of a random layer on tokens [x; w^T x] and a
    query [x; 0].

    Queries and keys are scaled so that the mean of ||q_i + k_j||^2 is `squared_sum`.
    """
    x = (
        2 * torch.rand(N + 1, d - 1, generator=generator, dtype=torch.float64) - 1
    )  # (N + 1, d - 1)
    y = x @ torch.randn(d - 1, 1, generator=generator, dtype=torch.float64)  # (N + 1, 1)
    y[-1] = 0
    layer = SelfAttention(d, d, generator=generator, output=False, dtype=torch.float64)
    with torch.no_grad():
        queries, keys, values = (t[0] for t in layer.project(torch.cat([x, y], dim=-1)))
    scale = (squared_sum / (-2 * K.log_gaussian_kernel(queries, -keys)).mean()).sqrt()
    return scale * queries, scale * keys, values


def _estimated_kernel(
    name: str, queries: Tensor, keys: Tensor, d_r: int, generator: torch.Generator
) -> Tensor:
    """The kernel (N + 1, N + 1) from d_r features of a kind; trigonometric ones have d_r / 2
    directions."""
    d = keys.shape[-1]
    if name == "trigonometric":
        w = K.draw_directions(d_r // 2, d, generator=generator)
        return K.trigonometric_features(queries, w) @ K.trigonometric_features(keys, w).mT
    w = K.draw_directions(d_r, d, generator=generator, orthogonal=name == "orthogonal")
    return K.log_positive_features(queries, w).exp() @ K.log_positive_features(keys, w).exp().mT


def fig26_heatmaps(settings, point) -> dict[str, pd.DataFrame]:
    """The attention matrix of one prompt, exact and by iid features."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    queries, keys, _ = projected_prompt(s.N, s.d, point["squared_sum"], generator)

    def rows(kernel, name, **key):  # kernel: (N + 1, N + 1)
        matrix = enumerate(K.kernel_weights(kernel).tolist())
        return [
            {**key, "query": query, "key": place, name: weight}
            for query, weights in matrix
            for place, weight in enumerate(weights)
        ]

    estimated = []
    for d_r in s.d_r:
        kernel = _estimated_kernel("iid", queries, keys, d_r, generator)
        estimated += rows(kernel, "estimated", d_r=d_r)
    exact = rows(K.softmax_kernel(queries, keys), "weight")
    return {"weights": pd.DataFrame(estimated), "exact": pd.DataFrame(exact)}


def _differences(estimates: Tensor, exact: Tensor, name: str) -> dict[str, float]:
    """MSE, MAE and the MSE's standard error over draws, of estimates (draws, ...) of exact
    (...)."""
    differences = (estimates - exact).flatten(1)  # (draws, entries)
    squares = differences.square().mean(1)  # (draws,)
    return {
        f"{name}_MSE": squares.mean().item(),
        f"{name}_MAE": differences.abs().mean().item(),
        f"{name}_MSE_error": (squares.std() / math.sqrt(len(squares))).item(),
    }


def fig27_error(settings, point) -> dict[str, pd.DataFrame]:
    """Errors of attention by features, averaged over `draws` draws and over the entries."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    queries, keys, values = projected_prompt(s.N, s.d, point["squared_sum"], generator)
    kernel = K.softmax_kernel(queries, keys)  # (N + 1, N + 1)
    matrix = K.kernel_weights(kernel)
    identity = torch.eye(len(keys), dtype=torch.float64)
    errors, first_order = [], []
    for d_r in s.d_r:
        for name in s.features:
            estimates = torch.stack(
                [_estimated_kernel(name, queries, keys, d_r, generator) for _ in range(s.draws)]
            )  # (draws, N + 1, N + 1)
            weights = K.kernel_weights(estimates)
            if name == "trigonometric":
                variance = K.trigonometric_variance(queries, keys, d_r // 2)
            else:
                orthogonal = name == "orthogonal"
                variance = K.positive_variance(queries, keys, d_r, orthogonal=orthogonal)
            found = {
                **_differences(weights, matrix, "matrix"),
                **_differences(weights @ values, matrix @ values, "output"),
                "kernel_MSE": (estimates / kernel - 1).square().mean().item(),
                "kernel_MSE_exact": (variance / kernel.square()).mean().item(),
                "share_negative": (weights < 0).double().mean().item(),
            }
            errors.append({"features": name, "d_r": d_r, **found})
        variances = {
            "matrix_MSE": K.attention_variance(queries, keys, identity, d_r),
            "output_MSE": K.attention_variance(queries, keys, values, d_r),
        }
        first_order.append({"d_r": d_r} | {n: v.mean().item() for n, v in variances.items()})
    largest = (-2 * K.log_gaussian_kernel(queries, -keys)).max().item()
    return {
        "errors": pd.DataFrame(errors),
        "first_order": pd.DataFrame(first_order),
        "prompts": pd.DataFrame([{"largest": largest}]),
    }
