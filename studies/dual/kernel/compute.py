"""Random features measured: identities, mean and variance of a kernel value, error of
attention."""

import math

import pandas as pd
import torch
from torch import Tensor

from iclbook.dual import kernel as K
from iclbook.dual.attention import SelfAttention


def kernel_identity(settings, point) -> pd.DataFrame:
    """Columns: seed, width, norm, quantity, value: each identity's largest relative error over
    N x N pairs.

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
            for name, found, wanted in (
                ("kernel", factored, exact),
                ("shifted features", shifted, in_logs),
            ):
                rows.append((width, norm, name, ((found - wanted).abs() / wanted).max().item()))
    return pd.DataFrame(rows, columns=["width", "norm", "quantity", "value"])


def features_variance(settings, point) -> pd.DataFrame:
    """Columns: seed, cosine, features, quantity, value.

    Quantities: mean, variance (about the exact kernel) and their standard errors over `sets`
    sets of features; and what the closed forms say, "mean exact" and "variance exact".
    """
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
            "mean": estimates.mean(), "mean error": estimates.std() / root, "mean exact": exact,
            "variance": squares.mean(), "variance error": squares.std() / root, "variance exact": variance,
        }  # fmt: skip
        rows += [(name, quantity, float(value)) for quantity, value in values.items()]
    return pd.DataFrame(rows, columns=["features", "quantity", "value"])


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


def fig26_heatmaps(settings, point) -> pd.DataFrame:
    """Columns: squared_sum, seed, d_r (0 = exact), query, key, quantity "weight", value; iid
    features."""
    s, rows = settings, []
    generator = torch.Generator().manual_seed(point["seed"])
    queries, keys, _ = projected_prompt(s.N, s.d, point["squared_sum"], generator)
    matrices = {0: K.kernel_weights(K.softmax_kernel(queries, keys))}
    for d_r in s.d_r:
        matrices[d_r] = K.kernel_weights(
            _estimated_kernel("iid", queries, keys, d_r, generator)
        )
    for d_r, matrix in matrices.items():
        for query, weights in enumerate(matrix.tolist()):
            rows += [(d_r, query, key, "weight", weight) for key, weight in enumerate(weights)]
    return pd.DataFrame(rows, columns=["d_r", "query", "key", "quantity", "value"])


def fig27_error(settings, point) -> pd.DataFrame:
    """Columns: squared_sum, seed, features, d_r, quantity, value; averages over `draws` and
    over the entries.

    Quantities: MSE and MAE of the attention matrix ("matrix") and of the output, the standard
    error of each MSE over the draws; the MSE of the kernel relative to itself and its closed
    form; for iid features the first-order MSEs; the share of negative weights. At d_r = 0,
    features "none": the largest ||q + k||^2.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    queries, keys, values = projected_prompt(s.N, s.d, point["squared_sum"], generator)
    kernel = K.softmax_kernel(queries, keys)
    matrix = K.kernel_weights(kernel)
    output, identity = matrix @ values, torch.eye(len(keys), dtype=torch.float64)
    rows = [
        (
            "none",
            0,
            "largest ||q + k||^2",
            (-2 * K.log_gaussian_kernel(queries, -keys)).max().item(),
        )
    ]
    for d_r in s.d_r:
        for name in s.features:
            draws = {"matrix": [], "output": [], "kernel": [], "negative": []}
            for _ in range(s.draws):
                estimate = _estimated_kernel(name, queries, keys, d_r, generator)
                weights = K.kernel_weights(estimate)
                draws["matrix"].append(weights - matrix)
                draws["output"].append(weights @ values - output)
                draws["kernel"].append(estimate / kernel - 1)
                draws["negative"].append((weights < 0).double())
            found = {}
            for part in ("matrix", "output"):
                differences = torch.stack(draws[part]).flatten(1)  # (draws, entries)
                squares = differences.square().mean(1)  # (draws,)
                found[f"{part} MSE"], found[f"{part} MAE"] = (
                    squares.mean(),
                    differences.abs().mean(),
                )
                found[f"{part} MSE error"] = squares.std() / math.sqrt(s.draws)
            found["kernel MSE"] = torch.stack(draws["kernel"]).square().mean()
            found["share negative"] = torch.stack(draws["negative"]).mean()
            if name == "trigonometric":
                variance = K.trigonometric_variance(queries, keys, d_r // 2)
            else:
                variance = K.positive_variance(
                    queries, keys, d_r, orthogonal=name == "orthogonal"
                )
            found["kernel MSE exact"] = (variance / kernel.square()).mean()
            if name == "iid":
                found["matrix MSE first order"] = K.attention_variance(
                    queries, keys, identity, d_r
                ).mean()
                found["output MSE first order"] = K.attention_variance(
                    queries, keys, values, d_r
                ).mean()
            rows += [(name, d_r, quantity, value.item()) for quantity, value in found.items()]
    return pd.DataFrame(rows, columns=["features", "d_r", "quantity", "value"])
