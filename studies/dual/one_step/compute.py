"""Theorem 3.1 on random prompts, and the error after each single-demonstration step."""

import functools

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts, train
from iclbook.dual.kernel import (
    draw_directions,
    exp_shifted,
    kernel_weights,
    log_positive_features,
    softmax_kernel,
)
from iclbook.dual.one_step import (
    DualModel,
    KernelDualModel,
    expected_over_orders,
    one_at_a_time,
)

CHUNK = 200_000  # features of one token, times prompts, held at once


def exact_start(
    keys: Tensor, values: Tensor, query: Tensor, eta: float = 1.0
) -> KernelDualModel:
    """The twin before training, for keys (..., N + 1, d), values (..., N + 1, d_v), query (...,
    1, d)."""
    scores = query @ keys.mT  # (..., 1, N + 1)
    shift = scores.amax(-1, keepdim=True)
    D = (scores - shift).exp().sum((-2, -1))  # (...)
    kernel = functools.partial(softmax_kernel, shift=shift)
    return KernelDualModel.start(keys[..., -1:, :], values[..., -1:, :], D, eta, kernel)


def feature_start(keys: Tensor, values: Tensor, query: Tensor, w: Tensor, eta: float = 1.0):
    """(model before training, phi_k (..., N + 1, d_r), phi_q (..., 1, d_r)) for directions w
    (..., d_r, d)."""
    phi_k = exp_shifted(log_positive_features(keys, w))
    phi_q = exp_shifted(log_positive_features(query, w), dim=-1)
    D = (phi_q @ phi_k.mT).sum((-2, -1))  # (...)
    return DualModel.start(phi_k[..., -1:, :], values[..., -1:, :], D, eta), phi_k, phi_q


def thm31(settings, point) -> dict[str, pd.DataFrame]:
    """Residuals of Theorem 3.1 on random prompts, for random features and the exact kernel.

    The largest over the output's entries after one full step, and after N single-demonstration
    steps in random order, relative to sum_i p_i |v_i|. The output is compared with attention
    computed directly; for the exact kernel that is PyTorch's.
    """
    s, residuals, scores = settings, [], []
    g = torch.Generator().manual_seed(point["seed"])

    def whole(top: int) -> int:
        return int(torch.randint(1, top + 1, (1,), generator=g))

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    for trial in range(s.trials):
        N, d, d_v, d_r = map(whole, (s.N_max, s.width_max, s.width_max, s.d_r_max))
        keys, query, values = normal(N + 1, d), normal(1, d), normal(N + 1, d_v)
        keys, query = (
            s.norm_max * uniform(1) * x / x.norm(dim=-1, keepdim=True) for x in (keys, query)
        )
        keys = keys * uniform(N + 1, 1)  # norms differ from token to token
        eta = 10 ** (6 * uniform(1).item() - 3)
        order = torch.randperm(N, generator=g)
        model, phi_k, phi_q = feature_start(
            keys, values, query, draw_directions(d_r, d, generator=g), eta
        )
        by_features = kernel_weights(phi_q @ phi_k.mT)  # (1, N + 1)
        direct = scaled_dot_product_attention(query[None], keys[None], values[None], scale=1.0)
        exact = exact_start(keys, values, query, eta)
        cases = {
            "random features": (model, phi_k, phi_q, by_features, by_features @ values),
            "exact": (exact, keys, query, (query @ keys.mT).softmax(-1), direct[0]),
        }
        for kernel, (start, views, probe, weights, output) in cases.items():
            *_, single = one_at_a_time(start, views[order], values[order])
            trained = {"one_step": start.step(views[:-1], values[:-1]), "single_steps": single}
            scale = weights @ values.abs()  # (1, d_v)
            found = {
                name: ((model(probe) - output).abs() / scale).max().item()
                for name, model in trained.items()
            }
            residuals.append({"trial": trial, "kernel": kernel, **found})
        scores.append({"trial": trial, "largest": (query @ keys.mT).abs().max().item()})
    return {"residuals": pd.DataFrame(residuals), "scores": pd.DataFrame(scores)}


def _square(gaps: Tensor) -> Tensor:
    """Squared lengths (prompts,) of gaps (prompts, 1, d_v)."""
    return gaps.square().sum((-2, -1))


def _singles(start, views: Tensor, probe: Tensor, values: Tensor) -> list[Tensor]:
    """The output at the probe after 0 to N single-demonstration steps."""
    return [model(probe) for model in one_at_a_time(start, views[:, :-1], values[:, :-1])]


def _all_at_once(start, views: Tensor, probe: Tensor, values: Tensor) -> list[Tensor]:
    """The same after 0 to N steps on all demonstrations, each at a rate of eta / N."""
    N, model, outputs = views.shape[1] - 1, start, [start(probe)]
    for _ in range(N):
        model = model.step(views[:, :-1], values[:, :-1], rate=start.eta / N)
        outputs.append(model(probe))
    return outputs


def _distances(outputs: list[Tensor], target: Tensor) -> Tensor:
    """Squared distances (N + 1, prompts) of outputs to a target (prompts, 1, d_v)."""
    return torch.stack([_square(output - target) for output in outputs])


def _over_prompts(errors: dict[str, Tensor]) -> pd.DataFrame:
    """A row a step, for errors (N + 1, prompts): each mean over prompts and its standard
    error."""
    columns = {}
    for name, each in errors.items():
        columns[name] = each.mean(-1).tolist()
        columns[f"{name}_error"] = (each.std(-1) / each.shape[-1] ** 0.5).tolist()
    return pd.DataFrame(columns).rename_axis("step").reset_index()


def fig3_left(settings, point) -> dict[str, pd.DataFrame]:
    """Squared errors after each step of training the dual model of one layer, by prompts.

    Steps show one demonstration each, or all of them at a rate of eta / N. Features are drawn
    anew for each prompt.
    """
    s = settings
    g = torch.Generator().manual_seed(point["seed"])
    tokens, labels = sample_prompts(s.prompts, s.N, s.d, generator=g, dtype=torch.float64)
    layer = SelfAttention(s.d + 1, s.d_o, generator=g, output=False)
    if point["weights"] == "trained":
        train(layer, s.steps, N=s.N, batch=s.batch, rate=s.rate, generator=g)
    with torch.no_grad():
        projected = layer.double().project(tokens)
    queries, keys, values = (x[:, 0] for x in projected)  # each (prompts, N + 1, d_o)
    query = queries[:, -1:]
    output = scaled_dot_product_attention(query, keys, values, scale=1.0)  # (prompts, 1, d_o)

    start = exact_start(keys, values, query)
    singles = _singles(start, keys, query, values)
    parts = ((query @ keys.mT).softmax(-1).mT * values)[:, :-1]  # (prompts, N, d_o)
    single, closed = _distances(singles, output), expected_over_orders(parts)
    exact = {
        "single": single,
        "all_at_once": _distances(_all_at_once(start, keys, query, values), output),
        "closed_form": closed,
        "difference": single - closed,
        "label": torch.stack([(f[:, 0, -1] - labels).square() for f in singles]),
    }

    features = []
    for d_r in s.d_r:
        chunks = []
        size = max(CHUNK // d_r, 1)
        for k, v, q, h in zip(*(x.split(size) for x in (keys, values, query, output))):
            w = draw_directions(d_r * len(k), s.d_o, generator=g)
            w = w.reshape(len(k), d_r, s.d_o)  # its own for each prompt
            start, phi_k, phi_q = feature_start(k, v, q, w)
            own = kernel_weights(phi_q @ phi_k.mT) @ v
            singles = _singles(start, phi_k, phi_q, v)
            chunks.append(
                {
                    "own": _distances(singles, own),
                    "exact": _distances(singles, h),
                    "own_all_at_once": _distances(_all_at_once(start, phi_k, phi_q, v), own),
                }
            )
        whole = {name: torch.cat([c[name] for c in chunks], dim=-1) for name in chunks[0]}
        features.append(_over_prompts(whole).assign(d_r=d_r))
    return {"exact": _over_prompts(exact), "features": pd.concat(features)}
