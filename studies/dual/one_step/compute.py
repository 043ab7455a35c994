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


def thm31(settings, point) -> pd.DataFrame:
    """Columns: seed, trial, kernel ("random features", "exact"), quantity, value.

    Quantities: "one step" and "single steps", the largest residual over the output's entries
    after one full step, and after N single-demonstration steps in random order, relative to
    sum_i p_i |v_i|. The output is compared with attention computed directly; for the exact
    kernel that is PyTorch's. And "largest score", max |q^T k_i|.
    """
    s, rows = settings, []
    g = torch.Generator().manual_seed(point["seed"])
    whole = lambda top: int(torch.randint(1, top + 1, (1,), generator=g))  # noqa: E731
    uniform = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731

    for trial in range(s.trials):
        N, d, d_v, d_r = (
            whole(s.N_max),
            whole(s.width_max),
            whole(s.width_max),
            whole(s.d_r_max),
        )
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
        weights = {
            "random features": kernel_weights(phi_q @ phi_k.mT),
            "exact": (query @ keys.mT).softmax(-1),
        }
        outputs = {
            "random features": weights["random features"] @ values,
            "exact": scaled_dot_product_attention(
                query[None], keys[None], values[None], scale=1.0
            )[0],
        }
        starts = {
            "random features": (model, phi_k, phi_q),
            "exact": (exact_start(keys, values, query, eta), keys, query),
        }
        for kernel, (start, views, probe) in starts.items():
            full = start.step(views[:-1], values[:-1])
            *_, single = one_at_a_time(start, views[order], values[order])
            scale = weights[kernel] @ values.abs()  # (1, d_v)
            for quantity, trained in (("one step", full), ("single steps", single)):
                residual = ((trained(probe) - outputs[kernel]).abs() / scale).max().item()
                rows.append((trial, kernel, quantity, residual))
        rows.append((trial, "exact", "largest score", (query @ keys.mT).abs().max().item()))
    return pd.DataFrame(rows, columns=["trial", "kernel", "quantity", "value"])


def fig3_left(settings, point) -> pd.DataFrame:
    """Columns: weights, seed, kernel, target, reading, step, quantity ("mean", "standard
    error"), value.

    kernel: "exact" or "features d_r". target: "its own attention" (by the same kernel), "exact
    attention", or "label", where the squared error is that of the query's y. reading: "one
    demonstration a step", "all, a rate of eta / N", or "closed form over orders" and its
    difference from the first, prompt by prompt.
    """
    s = settings
    g = torch.Generator().manual_seed(point["seed"])
    tokens, labels = sample_prompts(s.prompts, s.N, s.d, generator=g, dtype=torch.float64)
    layer = SelfAttention(s.d + 1, s.d_o, generator=g, output=False)
    if point["weights"] == "trained":
        train(layer, s.steps, N=s.N, batch=s.batch, rate=s.rate, generator=g)
    with torch.no_grad():
        queries, keys, values = (
            x[:, 0] for x in layer.double().project(tokens)
        )  # each (prompts, N + 1, d_o)
    query, N, rows = queries[:, -1:], s.N, []
    exact = scaled_dot_product_attention(query, keys, values, scale=1.0)  # (prompts, 1, d_o)

    def record(kernel, target, reading, errors):  # errors: (N + 1, prompts)
        spread = errors.std(-1) / s.prompts**0.5
        for name, column in (("mean", errors.mean(-1)), ("standard error", spread)):
            rows.extend(
                (kernel, target, reading, step, name, value)
                for step, value in enumerate(column.tolist())
            )

    square = lambda gaps: gaps.square().sum((-2, -1))  # noqa: E731

    def watch(kernel, start, views, probe, values, targets):
        """{(kernel, target, reading): errors (N + 1, prompts)} while `start` is trained."""
        singles = [
            model(probe) for model in one_at_a_time(start, views[:, :-1], values[:, :-1])
        ]
        found = {
            (kernel, name, SINGLE): torch.stack([square(f - h) for f in singles])
            for name, h in targets.items()
        }
        small = [start]
        for _ in range(N):
            small.append(small[-1].step(views[:, :-1], values[:, :-1], rate=start.eta / N))
        own = targets[next(iter(targets))]
        found[kernel, next(iter(targets)), SMALL] = torch.stack(
            [square(model(probe) - own) for model in small]
        )
        if kernel == "exact":
            found[kernel, "label", SINGLE] = torch.stack(
                [(f[:, 0, -1] - labels).square() for f in singles]
            )
        return found

    exact_errors = watch(
        "exact",
        exact_start(keys, values, query),
        keys,
        query,
        values,
        {"exact attention": exact},
    )
    parts = ((query @ keys.mT).softmax(-1).mT * values)[:, :-1]  # (prompts, N, d_o)
    closed = expected_over_orders(parts)  # (N + 1, prompts)
    exact_errors["exact", "exact attention", CLOSED] = closed
    exact_errors["exact", "exact attention", f"{SINGLE} less {CLOSED}"] = (
        exact_errors["exact", "exact attention", SINGLE] - closed
    )
    for key, errors in exact_errors.items():
        record(*key, errors)

    for d_r in s.d_r:
        chunks = []
        for k, v, q, h in zip(
            *(x.split(max(CHUNK // d_r, 1)) for x in (keys, values, query, exact))
        ):
            w = draw_directions(d_r * len(k), s.d_o, generator=g).reshape(
                len(k), d_r, s.d_o
            )  # its own for each prompt
            start, phi_k, phi_q = feature_start(k, v, q, w)
            targets = {
                "its own attention": kernel_weights(phi_q @ phi_k.mT) @ v,
                "exact attention": h,
            }
            chunks.append(watch(f"features {d_r}", start, phi_k, phi_q, v, targets))
        for key in chunks[0]:
            record(*key, torch.cat([chunk[key] for chunk in chunks], dim=-1))
    return pd.DataFrame(
        rows, columns=["kernel", "target", "reading", "step", "quantity", "value"]
    )


SINGLE, SMALL, CLOSED = (
    "one demonstration a step",
    "all, a rate of eta / N",
    "closed form over orders",
)
