"""The one-step theorem on random prompts, and the error after each single-demonstration
step."""

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
)
from iclbook.dual.one_step import (
    DualModel,
    all_at_once,
    exact_start,
    expected_over_orders,
    one_at_a_time,
)

CHUNK = 200_000  # features of one token, times prompts, held at once


def feature_start(
    keys: Tensor, values: Tensor, query: Tensor, w: Tensor, eta: float = 1.0
) -> tuple[DualModel, Tensor, Tensor]:
    """(model before training, phi_k (..., N + 1, d_r), phi_q (..., 1, d_r)) for directions w
    (..., d_r, d)."""
    phi_k = exp_shifted(log_positive_features(keys, w))
    phi_q = exp_shifted(log_positive_features(query, w), dim=-1)
    D = (phi_q @ phi_k.mT).sum((-2, -1))  # (...)
    return DualModel.start(phi_k[..., -1:, :], values[..., -1:, :], D, eta), phi_k, phi_q


# --- the one-step theorem


def thm31(settings, point) -> dict[str, pd.DataFrame]:
    """Residuals on random prompts. Attention by features is the weighted sum of the values, for
    the exact kernel it is PyTorch's."""
    s, residuals, prompts = settings, [], []
    generator = torch.Generator().manual_seed(point["seed"])
    tops = (s.N_max, s.width_max, s.width_max, s.d_r_max)
    for trial in range(s.trials):
        # Everything about the prompt is drawn, its sizes first.
        N, d, d_v, d_r = (
            torch.randint(1, top + 1, (1,), generator=generator).item() for top in tops
        )
        keys, values, query = random_prompt(N, d, d_v, s.norm_max, generator)
        rate = torch.rand(1, generator=generator, dtype=torch.float64).item()
        eta = 10 ** (6 * rate - 3)
        order = torch.randperm(N, generator=generator)

        # Both sides, by random features and by the exact kernel.
        w = draw_directions(d_r, d, generator=generator)
        start, phi_k, phi_q = feature_start(keys, values, query, w, eta)
        weights = kernel_weights(phi_q @ phi_k.mT)  # (1, N + 1)
        found = residual(start, phi_k, phi_q, values, order, weights, weights @ values)
        residuals.append((trial, "random features", *found))
        start, weights = exact_start(keys, values, query, eta), (query @ keys.mT).softmax(-1)
        one = (x[None] for x in (query, keys, values))
        attention = scaled_dot_product_attention(*one, scale=1.0)[0]  # (1, d_v)
        found = residual(start, keys, query, values, order, weights, attention)
        residuals.append((trial, "exact", *found))
        prompts.append((trial, (query @ keys.mT).abs().max().item()))
    columns = ["trial", "kernel", "one_step", "single_steps"]
    return {
        "residuals": pd.DataFrame(residuals, columns=columns),
        "prompts": pd.DataFrame(prompts, columns=["trial", "largest_score"]),
    }


def random_prompt(
    N: int, d: int, d_v: int, norm_max: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """(keys (N + 1, d), values (N + 1, d_v), query (1, d)); norms differ from token to
    token."""
    draw = dict(generator=generator, dtype=torch.float64)
    keys, query, values = (torch.randn(*n, **draw) for n in ((N + 1, d), (1, d), (N + 1, d_v)))
    keys, query = (
        norm_max * torch.rand(1, **draw) * x / x.norm(dim=-1, keepdim=True)
        for x in (keys, query)
    )
    return keys * torch.rand(N + 1, 1, **draw), values, query


def residual(start, views, probe, values, order, weights, attention) -> tuple[float, float]:
    """Largest difference from `attention` (1, d_v) after one full step and after single steps,
    relative to sum_i p_i |v_i|."""
    full = start.step(views[:-1], values[:-1])
    *_, single = one_at_a_time(start, views[order], values[order])
    scale = weights @ values.abs()  # (1, d_v)
    return tuple(
        ((model(probe) - attention).abs() / scale).max().item() for model in (full, single)
    )


# --- Figure 3, left


def fig3_left(settings, point) -> dict[str, pd.DataFrame]:
    """Errors while the dual model is trained: by the exact kernel, and by random features."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    tokens, labels = sample_prompts(
        s.prompts, s.N, s.d, generator=generator, dtype=torch.float64
    )
    layer = SelfAttention(s.d + 1, s.d_o, generator=generator, output=False)
    if point["weights"] == "trained":
        how = dict(N=s.N, batch=s.batch, rate=s.rate, generator=generator)
        for _ in train(layer, s.steps, at=[], **how):
            pass
    with torch.no_grad():
        queries, keys, values = (x[:, 0] for x in layer.double().project(tokens))
    query = queries[:, -1:]  # (prompts, 1, d_o); keys and values (prompts, N + 1, d_o)
    attention = scaled_dot_product_attention(query, keys, values, scale=1.0)
    exact = summary(s.dual_steps, exact_errors(keys, values, query, attention, labels))
    features = []
    for d_r in s.d_r:
        errors = feature_errors(keys, values, query, attention, d_r, generator)
        features.append(summary(s.dual_steps, errors).assign(d_r=d_r))
    return {"exact": exact, "features": pd.concat(features)}


def summary(steps: tuple[int, ...], errors: dict[str, Tensor]) -> pd.DataFrame:
    """Mean and standard error over prompts of errors (steps, prompts), a row a step."""
    columns = {"step": steps}
    for name, each in errors.items():
        columns[name] = each.mean(-1)
        columns[f"{name}_se"] = each.std(-1) / each.shape[-1] ** 0.5
    return pd.DataFrame(columns)


def squared_errors(models, probe: Tensor, target: Tensor) -> Tensor:
    """||f(probe) - target||^2 of each model, (models, prompts)."""
    return torch.stack([(model(probe) - target).square().sum((-2, -1)) for model in models])


def exact_errors(keys, values, query, attention, labels) -> dict[str, Tensor]:
    """Errors (N + 1, prompts) by the exact kernel, their closed form, and the query's label."""
    start, pairs = exact_start(keys, values, query), (keys[:, :-1], values[:, :-1])
    singles = list(one_at_a_time(start, *pairs))
    parts = ((query @ keys.mT).softmax(-1).mT * values)[:, :-1]  # (prompts, N, d_o)
    single, closed = squared_errors(singles, query, attention), expected_over_orders(parts)
    predicted = torch.stack([model(query)[:, 0, -1] for model in singles])  # (N + 1, prompts)
    return {
        "single": single,
        "small": squared_errors(all_at_once(start, *pairs), query, attention),
        "closed": closed,
        "difference": single - closed,
        "label": (predicted - labels).square(),
    }


def feature_errors(keys, values, query, attention, d_r, generator) -> dict[str, Tensor]:
    """Errors (N + 1, prompts) by d_r features of each prompt's own, a chunk of prompts at a
    time."""
    chunks = []
    size = max(CHUNK // d_r, 1)
    for k, v, q, h in zip(*(x.split(size) for x in (keys, values, query, attention))):
        w = draw_directions(d_r * len(k), k.shape[-1], generator=generator)
        start, phi_k, phi_q = feature_start(k, v, q, w.reshape(len(k), d_r, -1))
        own, pairs = kernel_weights(phi_q @ phi_k.mT) @ v, (phi_k[:, :-1], v[:, :-1])
        singles = list(one_at_a_time(start, *pairs))
        chunks.append(
            {
                "single": squared_errors(singles, phi_q, own),
                "small": squared_errors(all_at_once(start, *pairs), phi_q, own),
                "to_exact": squared_errors(singles, phi_q, h),
            }
        )
    return {name: torch.cat([each[name] for each in chunks], dim=-1) for name in chunks[0]}
