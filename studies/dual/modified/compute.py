"""Modified attention: each closed form against its gradient step, and its attention matrix."""

import functools
import statistics
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
from iclbook.errors import require

RIVAL = "rival: "  # a form that must not agree: the median of its distances is kept, not the largest


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


def modified_forms(settings, point) -> pd.DataFrame:
    """Columns: seed, norm, modification, quantity, value: the largest distance over `prompts`,
    in max |v|.

    Quantities: closed form against "the kernel twin's step", and at small norms against
    "autograd's step"; "sum of weights" against 1 - alpha p_own - beta p_demo; regularised:
    "single steps, decay once";
    augmented: "the formula as written". Those that start with "rival: " are median distances of
    wrong forms.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    found = defaultdict(list)
    for norm in s.norms:
        for _ in range(s.prompts):
            for modification, distances in _one_prompt(s, norm, generator).items():
                for name, distance in distances.items():
                    found[norm, modification, name].append(distance)
    rows = []
    for (norm, modification, name), distances in found.items():
        value = statistics.median(distances) if name.startswith(RIVAL) else max(distances)
        rows.append((norm, modification, name, value))
    return pd.DataFrame(rows, columns=["norm", "modification", "quantity", "value"])


def _one_prompt(s, norm: float, generator: torch.Generator) -> dict[str, dict[str, float]]:
    """{modification: {quantity: distance}} on one prompt of random size."""
    sizes = [
        int(torch.randint(1, high + 1, (1,), generator=generator))
        for high in (s.N_max, *[s.width_max] * 3)
    ]
    N, d, d_v, width = sizes
    u = torch.rand(2, generator=generator, dtype=torch.float64)
    alpha, beta = (3.5 * u[0] - 1).item(), (2 * u[1]).item()
    r = int(torch.randint(1, N + 1, (1,), generator=generator))

    def draw(rows: int, columns: int, norm: float) -> Tensor:
        return norm * normalize(
            torch.randn(rows, columns, generator=generator, dtype=torch.float64), dim=-1
        )

    keys, query = draw(N + 1, d, norm), draw(1, d, norm)
    values, tokens = draw(N + 1, d_v, 1.0), draw(N + 1, width, norm)
    views = {
        f"g{i}": Augment(d, s.c, hidden=s.hidden, generator=generator, dtype=torch.float64)
        for i in (1, 2)
    }
    layer = SelfAttention(
        width, d, generator=generator, output=False, dtype=torch.float64, **views
    )
    by_autograd = norm <= s.autograd_norm
    with torch.no_grad():
        augmented = _augmented(tokens, layer)
    return {
        "regularised": _regularised(keys, values, query, alpha)
        | _steps(keys, values, query, by_autograd, alpha=alpha),
        "negative": _negative(keys, values, query, beta, r)
        | _steps(keys, values, query, by_autograd, beta=beta, r=r),
        "augmented": augmented | _steps(*_projected(tokens, layer), by_autograd),
    }


def _distance(found: Tensor, closed: Tensor, values: Tensor) -> float:
    return ((found - closed).abs().max() / values.abs().max()).item()


def _steps(
    keys, values, query, by_autograd: bool, *, alpha=0.0, beta=0.0, r=0
) -> dict[str, float]:
    """The closed form against one gradient step, taken in two ways; the sum of its weights."""
    change = {"alpha": alpha, "beta": beta, "r": r}
    closed = attention(query, keys, values, **change)  # (1, d_v)
    p = attention_weights(query, keys)  # (1, N + 1)
    total = attention_weights(query, keys, **change).sum(-1)
    twin = dual_attention(query, keys, values, **change, eta=0.7)
    found = {
        "the kernel twin's step": _distance(twin, closed, values),
        "sum of weights": (total - (1 - alpha * p[:, -1] - beta * p[:, :-1].sum(-1)))
        .abs()
        .item(),
    }
    if by_autograd:
        negatives = (keys[:-1] @ query[0]).argsort(stable=True)[:r].tolist()
        explicit = autograd_step(
            keys, values, query, alpha=alpha, beta=beta, negatives=negatives
        )
        found["autograd's step"] = _distance(explicit, closed, values)
    return found


def _regularised(keys, values, query, alpha: float) -> dict[str, float]:
    N, closed = len(keys) - 1, attention(query, keys, values, alpha=alpha)
    forms = {
        "single steps, decay once": single_steps(
            keys, values, query, [alpha] + [0.0] * (N - 1)
        ),
        f"{RIVAL}single steps, decay at each": single_steps(keys, values, query, [alpha] * N),
        f"{RIVAL}the whole output scaled": (1 - alpha) * attention(query, keys, values),
    }
    return {name: _distance(form, closed, values) for name, form in forms.items()}


def _negative(keys, values, query, beta: float, r: int) -> dict[str, float]:
    closed = attention(query, keys, values, beta=beta, r=r)
    lowest = (keys[:-1] @ query[0]).argsort(stable=True)[:r]
    rival = attention(query, keys, values - beta * values[lowest].mean(0))
    return {f"{RIVAL}the query's own value changed too": _distance(rival, closed, values)}


def _projected(tokens, layer) -> tuple[Tensor, Tensor, Tensor]:
    """Keys (N + 1, d), values (N + 1, d) and the last token's query (1, d)."""
    queries, keys, values = (each[0].detach() for each in layer.project(tokens))
    return keys, values, queries[-1:]


def _augmented(tokens, layer) -> dict[str, float]:
    keys, values, query = _projected(tokens, layer)
    closed, d = attention(query, keys, values), keys.shape[-1]
    scores = (
        (tokens[-1:] @ layer.W_Q[0].mT) @ layer.g2(tokens @ layer.W_K[0].mT).mT / d**0.5
    )  # (1, N + 1)
    written = scores.softmax(-1) @ layer.g1(tokens @ layer.W_V[0].mT)  # (1, d)
    late = layer.g2(tokens @ layer.W_K[0].mT * d**-0.25)  # (N + 1, d)
    return {
        "the formula as written": _distance(written, closed, values),
        f"{RIVAL}g2 after the scale": _distance(attention(query, late, values), closed, values),
    }


def modified_weights(settings, point) -> pd.DataFrame:
    """Columns: seed, modification, strength, r, quantity, index, statistic ("mean", "standard
    error"), value.

    strength: alpha, beta or c. Over `prompts` prompts, of each (N + 1, N + 1) attention matrix:
    "sum of weights" of a row; "share of negative weights"; "spectral radius"; "effective rank
    of weights"; "singular value", with index 1, 2, ...; and of the N + 1 outputs: "effective
    rank of outputs", its "gain over plain", "mean share of outputs".
    """
    s = settings
    require(
        len(s.r) == len(s.beta),
        f"r and beta must be equally long, got {len(s.r)} and {len(s.beta)}",
    )
    generator = torch.Generator().manual_seed(point["seed"])
    layer = SelfAttention(
        s.width, s.head_size, generator=generator, output=False, dtype=torch.float64
    )
    mlps = [
        Augment(s.head_size, 1.0, hidden=s.hidden, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]
    tokens = torch.randn(s.prompts, s.N + 1, s.width, generator=generator, dtype=torch.float64)
    runs = [("plain", 0.0, 0, {})]
    runs += [("regularised", alpha, 0, {"alpha": alpha}) for alpha in s.alphas]
    runs += [("augmented", c, 0, {}) for c in s.c]
    runs += [("negative", beta, r, {"beta": beta, "r": r}) for r, beta in zip(s.r, s.beta)]
    rows, plain = [], None
    for modification, strength, r, change in runs:
        for mlp in mlps:
            mlp.c = strength if modification == "augmented" else 0.0
        layer.g1, layer.g2 = mlps
        with torch.no_grad():
            queries, keys, values = (
                each[:, 0] for each in layer.project(tokens)
            )  # (prompts, N + 1, d)
        weights = attention_weights(queries, keys, **change)  # (prompts, N + 1, N + 1)
        outputs = weights @ values  # (prompts, N + 1, d)
        rank = effective_rank(outputs)  # (prompts,)
        plain = rank if plain is None else plain
        found = {
            "sum of weights": weights.sum(-1).mean(-1),
            "share of negative weights": (weights < 0).double().mean((-2, -1)),
            "spectral radius": torch.linalg.eigvals(weights).abs().amax(-1),
            "effective rank of weights": effective_rank(weights),
            "effective rank of outputs": rank,
            "gain over plain": rank - plain,
            "mean share of outputs": mean_share(outputs),
        }
        numbered = {(name, 0): each for name, each in found.items()}
        numbered |= {
            ("singular value", i): each
            for i, each in enumerate(torch.linalg.svdvals(weights).unbind(-1), 1)
        }
        for (name, index), each in numbered.items():
            error = (each.std() / s.prompts**0.5).item()
            rows.append((modification, strength, r, name, index, "mean", each.mean().item()))
            rows.append((modification, strength, r, name, index, "standard error", error))
    columns = ["modification", "strength", "r", "quantity", "index", "statistic", "value"]
    return pd.DataFrame(rows, columns=columns)
