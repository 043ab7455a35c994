"""Modified attention: each closed form against its gradient step, and its attention matrix."""

import functools
from collections import defaultdict

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from iclbook.dual.attention import SelfAttention
from iclbook.dual.kernel import exact_features, softmax_kernel
from iclbook.dual.modified import Augment, attention, attention_weights, dual_attention
from iclbook.dual.one_step import KernelDualModel
from iclbook.dual.representation import effective_rank, mean_share


def autograd_step(
    keys: Tensor,
    values: Tensor,
    query: Tensor,
    *,
    alpha: float = 0.0,
    beta: float = 0.0,
    negatives=(),
    eta: float = 0.7,
) -> Tensor:
    """f(q) after one step of autograd on the loss as it is written, (1, d_v), with an explicit
    W.

    keys: (N + 1, d), the query's own last; values: (N + 1, d_v); query: (1, d); negatives:
    indices below N.
    """
    points = torch.cat([keys, query])  # (N + 2, d)
    phi = exact_features(
        softmax_kernel(points, points, shift=(points @ points.mT).max())
    )  # (N + 2, N + 2)
    D = (phi[:-1] @ phi[-1]).sum()
    W = (torch.outer(values[-1], phi[-2]) / D).requires_grad_()  # (d_v, N + 2)
    f = phi[:-2] @ W.mT  # (N, d_v)
    loss = -(values[:-1] * f).sum() / (eta * D) + alpha / (2 * eta) * W.square().sum()
    for j in negatives:
        loss = loss + beta / len(negatives) * (f @ values[j]).sum() / (eta * D)
    (gradient,) = torch.autograd.grad(loss, W)
    return phi[-1:] @ (W - eta * gradient).detach().mT


def single_steps(keys: Tensor, values: Tensor, query: Tensor, decays: list[float]) -> Tensor:
    """f(q) after N single-demonstration steps, (1, d_v); step i has the regularisation alpha =
    decays[i]."""
    shift = (keys @ query.mT).max()
    kernel = functools.partial(softmax_kernel, shift=shift)
    model = KernelDualModel.start(
        keys[-1:], values[-1:], kernel(keys, query).sum(), kernel=kernel
    )
    for i, alpha in enumerate(decays):
        model = model.step(keys[i : i + 1], values[i : i + 1], alpha)
    return model(query)


def modified_forms(settings, point) -> dict[str, pd.DataFrame]:
    """Largest distances over `prompts` of forms that agree, medians of those that do not."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    tables = defaultdict(list)
    for norm in s.norms:
        # Distances prompt by prompt: {(table, modification or ""): [{measure: distance}]}.
        agreeing, rivals = defaultdict(list), defaultdict(list)
        for _ in range(s.prompts):
            for kind, found in zip((agreeing, rivals), _one_prompt(s, norm, generator)):
                for name, distances in found.items():
                    kind[name].append(distances)
        largest = {
            name: pd.DataFrame(rows).max(skipna=False) for name, rows in agreeing.items()
        }
        medians = {name: pd.DataFrame(rows).median() for name, rows in rivals.items()}
        for (table, modification), distances in (largest | medians).items():
            key = {"modification": modification} if modification else {}
            tables[table].append({"norm": norm} | key | distances.to_dict())
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def _one_prompt(s, norm: float, generator: torch.Generator) -> tuple[dict, dict]:
    """(forms that agree, rivals) on one prompt of random size, each a dict (table, modification
    or "") -> {measure: distance}."""
    sizes = [
        int(torch.randint(1, high + 1, (1,), generator=generator))
        for high in (s.N_max, *[s.width_max] * 3)
    ]
    N, d, d_v, width = sizes
    u = torch.rand(2, generator=generator, dtype=torch.float64)
    alpha, beta = (3.5 * u[0] - 1).item(), (2 * u[1]).item()
    r = int(torch.randint(1, N + 1, (1,), generator=generator))

    def draw(rows: int, columns: int, norm: float) -> Tensor:
        drawn = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
        return norm * normalize(drawn, dim=-1)

    keys, query = draw(N + 1, d, norm), draw(1, d, norm)
    values, tokens = draw(N + 1, d_v, 1.0), draw(N + 1, width, norm)
    views = {
        f"g{i}": Augment(d, s.c, hidden=s.hidden, generator=generator, dtype=torch.float64)
        for i in (1, 2)
    }
    layer = SelfAttention(
        width, d, generator=generator, output=False, dtype=torch.float64, **views
    )
    plain = keys, values, query
    runs = {
        "regularised": (plain, {"alpha": alpha}),
        "negative": (plain, {"beta": beta, "r": r}),
        "augmented": (_projected(tokens, layer), {}),
    }
    agreeing, rivals = {}, {("negative_rivals", ""): _negative(*plain, beta, r)}
    once, wrong = _regularised(*plain, alpha)
    agreeing["regularised", ""], rivals["regularised_rivals", ""] = once, wrong
    with torch.no_grad():
        written, late = _augmented(tokens, layer)
    agreeing["augmented", ""], rivals["augmented_rivals", ""] = written, late
    for name, (prompt, change) in runs.items():
        agreeing["steps", name] = _steps(*prompt, change)
        if norm <= s.autograd_norm:
            agreeing["autograd", name] = {"distance": _autograd(*prompt, **change)}
    return agreeing, rivals


def _distance(found: Tensor, closed: Tensor, values: Tensor) -> float:
    return ((found - closed).abs().max() / values.abs().max()).item()


def _steps(keys, values, query, change: dict) -> dict[str, float]:
    """The closed form against the kernel twin's step, and the sum of its weights."""
    closed = attention(query, keys, values, **change)  # (1, d_v)
    twin = dual_attention(query, keys, values, **change, eta=0.7)
    p = attention_weights(query, keys)  # (1, N + 1)
    alpha, beta = change.get("alpha", 0.0), change.get("beta", 0.0)
    predicted = 1 - alpha * p[:, -1] - beta * p[:, :-1].sum(-1)
    total = attention_weights(query, keys, **change).sum(-1)
    gap = (total - predicted).abs().item()
    return {"twin": _distance(twin, closed, values), "sum_of_weights": gap}


def _autograd(keys, values, query, *, r: int = 0, **change) -> float:
    """The closed form against a step of autograd on the loss as written."""
    negatives = (keys[:-1] @ query[0]).argsort(stable=True)[:r].tolist()
    explicit = autograd_step(keys, values, query, negatives=negatives, **change)
    return _distance(explicit, attention(query, keys, values, r=r, **change), values)


def _regularised(keys, values, query, alpha: float) -> tuple[dict, dict]:
    N, closed = len(keys) - 1, attention(query, keys, values, alpha=alpha)
    once = single_steps(keys, values, query, [alpha] + [0.0] * (N - 1))
    rivals = {
        "decay_at_each": single_steps(keys, values, query, [alpha] * N),
        "output_scaled": (1 - alpha) * attention(query, keys, values),
    }
    gaps = {name: _distance(form, closed, values) for name, form in rivals.items()}
    return {"decay_once": _distance(once, closed, values)}, gaps


def _negative(keys, values, query, beta: float, r: int) -> dict[str, float]:
    closed = attention(query, keys, values, beta=beta, r=r)
    lowest = (keys[:-1] @ query[0]).argsort(stable=True)[:r]
    rival = attention(query, keys, values - beta * values[lowest].mean(0))
    return {"own_changed": _distance(rival, closed, values)}


def _projected(tokens, layer) -> tuple[Tensor, Tensor, Tensor]:
    """Keys (N + 1, d), values (N + 1, d) and the last token's query (1, d)."""
    queries, keys, values = (each[0].detach() for each in layer.project(tokens))
    return keys, values, queries[-1:]


def _augmented(tokens, layer) -> tuple[dict, dict]:
    keys, values, query = _projected(tokens, layer)
    closed, d = attention(query, keys, values), keys.shape[-1]
    mapped = layer.g2(tokens @ layer.W_K[0].mT)  # (N + 1, d)
    scores = (tokens[-1:] @ layer.W_Q[0].mT) @ mapped.mT / d**0.5  # (1, N + 1)
    written = scores.softmax(-1) @ layer.g1(tokens @ layer.W_V[0].mT)  # (1, d)
    late = layer.g2(tokens @ layer.W_K[0].mT * d**-0.25)  # (N + 1, d)
    rival = attention(query, late, values)
    return (
        {"as_written": _distance(written, closed, values)},
        {"g2_after_scale": _distance(rival, closed, values)},
    )


def modified_weights(settings, point) -> dict[str, pd.DataFrame]:
    """Means and standard errors over `prompts` attention matrices, (N + 1, N + 1) each."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    layer = SelfAttention(
        s.width, s.head_size, generator=generator, output=False, dtype=torch.float64
    )
    mlps = [
        Augment(s.head_size, 1.0, hidden=s.hidden, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]
    tokens = torch.randn(s.prompts, s.N + 1, s.width, generator=generator, dtype=torch.float64)

    # Plain comes first, since the gain is over it.
    runs = [(family, strengths) for family, rows in s.grid().items() for strengths in rows]
    tables, plain = defaultdict(list), None
    for family, strengths in runs:
        change = dict(strengths)
        c = change.pop("c", 0.0)
        for mlp in mlps:
            mlp.c = c
        layer.g1, layer.g2 = mlps
        with torch.no_grad():
            projected = [each[:, 0] for each in layer.project(tokens)]  # (prompts, N + 1, d)
        queries, keys, values = projected
        weights = attention_weights(queries, keys, **change)  # (prompts, N + 1, N + 1)
        found = _of_matrix(weights, weights @ values)
        plain = found["rank_of_outputs"] if plain is None else plain
        if family != "plain":
            found["gain"] = found["rank_of_outputs"] - plain
        tables[family].append(strengths | _summary(found))
        for index, each in enumerate(torch.linalg.svdvals(weights).unbind(-1), 1):
            row = strengths | {"index": index} | _summary({"singular_value": each})
            tables[f"{family}_spectrum"].append(row)
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def _of_matrix(weights: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """What is measured of weights (prompts, N + 1, N + 1), outputs (prompts, N + 1, d)."""
    return {
        "sum_of_weights": weights.sum(-1).mean(-1),
        "share_of_negative_weights": (weights < 0).double().mean((-2, -1)),
        "spectral_radius": torch.linalg.eigvals(weights).abs().amax(-1),
        "rank_of_weights": effective_rank(weights),
        "rank_of_outputs": effective_rank(outputs),
        "mean_share_of_outputs": mean_share(outputs),
    }


def _summary(found: dict[str, Tensor]) -> dict[str, float]:
    """Mean and standard error over prompts of each measure, (prompts,)."""
    summary = {}
    for name, each in found.items():
        summary[name] = each.mean().item()
        summary[f"{name}_error"] = (each.std() / len(each) ** 0.5).item()
    return summary
