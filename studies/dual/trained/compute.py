"""Layers trained with and without the modifications, the optimum that symmetry leaves, and
peers outside attention."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.modified import Augment
from iclbook.dual.panel import Panel, losses, train_together
from iclbook.dual.tasks import find_task
from iclbook.dual.trained import (
    best_scale,
    linear_features,
    ridge,
    smoother,
    step_outputs,
    two_number_features,
)

STARTS = {
    "drawn": 1.0,
    "mirrored": -1.0,
}  # the mirrored start has W_K and W_V of the other sign
FLOAT = torch.float64


def generators(seed: int) -> dict[str, torch.Generator]:
    """Independent streams of one seed. The maps and the prompts do not depend on what else is
    in a panel."""
    names = ("start", "training", "test", "g1", "g2", "dual")
    return {
        name: torch.Generator().manual_seed(seed + 1_000_000 * place)
        for place, name in enumerate(names)
    }


def prompts(s, count: int, generator: torch.Generator, dtype=torch.float32):
    """Tokens and labels of the settings' task, inputs and noise."""
    return sample_prompts(count, s.N, s.d, generator=generator, dtype=dtype, task=find_task(s.task), inputs=s.inputs,
                          noise=s.noise)  # fmt: skip


def grid(s) -> Iterator[tuple[str, str, str, dict]]:
    """(panel, family, setting, options) of every layer. Layers with the same maps share a
    panel."""
    yield "softmax", "plain", "plain", {}
    for alpha in s.alphas:
        yield "softmax", "regularised", f"α = {alpha:g}", {"alpha": alpha}
    for r, beta in s.negatives:
        yield "softmax", "negative", f"r = {r}, β = {beta:g}", {"beta": beta, "r": r}
    for r in s.learned:
        yield "softmax", "learned", f"r = {r}, β learned", {"beta": 0.5, "r": r}
    yield "linear", "linear attention", "linear attention", {}
    for views in s.views:
        for c in s.c:
            yield views, "augmented", f"c = {c:g}, {views}", {"c": c}
    for r, beta, c in s.crossed:
        yield (
            "g1 and g2",
            "crossed",
            f"r = {r}, β = {beta:g}, c = {c:g}",
            {"beta": beta, "r": r, "c": c},
        )


def start(
    s, seed: int, mirror: float, views: str, c: float = 0.0, **modification
) -> SelfAttention:
    """A layer as drawn or mirrored. Weights depend on the seed only: all settings set out from
    the same place."""
    g = generators(seed)
    maps = {
        name: Augment(s.d_o, c, hidden=s.hidden, generator=g[name])
        for name in ("g1", "g2")
        if name in views
    }
    layer = SelfAttention(
        s.d + 1, s.d_o, generator=g["start"], output=False, **maps, **modification
    )
    with torch.no_grad():
        for W in (layer.W_K, layer.W_V):
            W.mul_(mirror)
    return layer


def build(s, seed: int) -> tuple[list[Panel], list[tuple[str, str, str]]]:
    """(panels, [(family, setting, start)] of their layers, in order)."""
    members: dict[str, list] = {}
    for views, family, setting, options in grid(s):
        for name, mirror in STARTS.items():
            layer = start(s, seed, mirror, views, **options)
            members.setdefault(views, []).append(((family, setting, name), layer))
    panels = []
    for views, part in members.items():
        learned = [key[0] == "learned" for key, _ in part]
        panels.append(
            Panel([layer for _, layer in part], softmax=views != "linear", learn_beta=learned)
        )
    return panels, [key for part in members.values() for key, _ in part]


def fig3_trained(settings, point) -> pd.DataFrame:
    """Columns: seed, family, setting, start, quantity, step, value.

    Quantities: "loss" at some steps on `test` prompts; at the last step "final loss" on `final`
    prompts, of the weights the means of "own weight", "sum of weights", "share of negative
    weights", of the parameters "score scale" and "value scale" (diagonal of the scores' form in
    x, the value's factor of y), "asymmetry" (what of the form is not that diagonal, relative),
    "value of x" (relative to that of y), "beta". And the dual model's squared error over the
    mean square of the prediction: "dual error" at step 0..N, "one step error" after one full
    step; drawn starts only.
    """
    s, seed = settings, point["seed"]
    g = generators(seed)
    panels, keys = build(s, seed)
    test, wide = prompts(s, s.test, g["test"]), prompts(s, s.final, g["test"])
    rows = []

    def record(step):
        for key, loss in zip(keys, losses(panels, *test).tolist()):
            rows.append((*key, "loss", step, loss))

    at = sorted(
        {round(s.steps * share) for share in (0, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 1)}
    )
    train_together(panels, lambda: prompts(s, s.batch, g["training"]), s.steps, rates=[s.rate] * len(panels),
                   decay_from=s.decay_from, stop=s.stop, record=record, at=at)  # fmt: skip
    if not s.stop:
        rows += _at_the_end(s, panels, keys, wide, test[0][:512], g["dual"])
    return pd.DataFrame(
        rows, columns=["family", "setting", "start", "quantity", "step", "value"]
    )


def _at_the_end(s, panels, keys, wide, tokens, generator: torch.Generator) -> list[tuple]:
    """What is measured of trained layers: on the prompts `wide`, of the weights on `tokens`, of
    their dual models."""
    rows = []
    for key, loss in zip(keys, losses(panels, *wide).tolist()):
        rows.append((*key, "final loss", s.steps, loss))
    layers = [layer for panel in panels for layer in panel.unstack()]
    with torch.no_grad():
        weights = [w for panel in panels for w in panel.weights(tokens)]  # each (512, N + 1)
        shown, _ = prompts(s, s.prompts, generator, FLOAT)
        for key, layer, w in zip(keys, layers, weights):
            found = _of_weights(w) | _of_parameters(layer)
            rows += [(*key, name, s.steps, value) for name, value in found.items()]
            if key[0] != "linear attention" and key[2] == "drawn":
                errors, one = dual_errors(layer.double(), shown)
                rows += [(*key, "dual error", step, value) for step, value in enumerate(errors)]
                rows.append((*key, "one step error", 1, one))
    return rows


def _of_weights(w: torch.Tensor) -> dict[str, float]:
    negative = (w[:, :-1] < 0).float().mean()
    found = {
        "own weight": w[:, -1].mean(),
        "sum of weights": w.sum(-1).mean(),
        "share of negative weights": negative,
    }
    return {name: value.item() for name, value in found.items()}


def _of_parameters(layer: SelfAttention) -> dict[str, float]:
    """What symmetry speaks of; of an augmented layer's linear part only."""
    form = layer.W_K[0].T @ layer.W_Q[0] / layer.W_Q.shape[-2] ** 0.5  # (d + 1, d + 1)
    value, inner = layer.W_V[0, -1], form[:-1, :-1]  # (d + 1,), (d, d)
    scale = inner.diagonal().mean()
    rest = inner - scale * torch.eye(len(inner))
    found = {"score scale": scale, "value scale": value[-1], "asymmetry": rest.norm() / inner.norm(),
             "value of x": value[:-1].norm() / value[-1].abs()}  # fmt: skip
    return {name: x.item() for name, x in found.items()} | {"beta": layer.modification["beta"]}


def dual_errors(layer: SelfAttention, tokens: torch.Tensor) -> tuple[list[float], float]:
    """(errors after 0..N single steps, error after one full step) of the trained entry, over
    its mean square."""
    wanted = layer(tokens, last_only=True)[:, 0, -1]  # (B,)
    singles, one = step_outputs(layer, tokens)
    error = lambda found: (
        (found[..., -1] - wanted).square().mean(-1) / wanted.square().mean()
    ).tolist()
    return error(singles), error(one)


def rates(settings, point) -> pd.DataFrame:
    """Columns: task, tried, seed, then those of `fig3_trained`, its quantities "loss" and
    "final loss" only."""
    table = fig3_trained(
        dataclasses.replace(settings, task=point["task"], rate=point["tried"]), point
    )
    return table[table["quantity"].isin(["loss", "final loss"])].reset_index(drop=True)


def long_trained(settings, point) -> pd.DataFrame:
    """Columns as `fig3_trained`."""
    return fig3_trained(settings, point)


def preferred_trained(settings, point) -> pd.DataFrame:
    """Columns as `fig3_trained`."""
    return fig3_trained(settings, point)


def _condition(settings, point, count: int, generator: torch.Generator):
    """`count` prompts of a point's condition, in float64."""
    task = find_task(point["task"])
    return sample_prompts(count, point["N"], settings.d, generator=generator, dtype=FLOAT, task=task,
                          inputs=point["inputs"], noise=point["noise"])  # fmt: skip


def two_numbers(settings, point) -> pd.DataFrame:
    """Columns: task, N, inputs, noise, seed, family, r, beta, sign, quantity, value.

    For each family of weights and each sign of the score scale a: the "loss" at the best a and
    value scale c on these prompts, with "score scale" and "value scale". Linear families have
    no a: sign "none".
    """
    s = settings
    tokens, labels = _condition(s, point, s.prompts, generators(point["seed"])["test"])
    known = [(r, beta) for r in s.r if r <= point["N"] for beta in s.betas]
    negatives = list(dict.fromkeys(known + [(point["N"], beta) for beta in s.fine_betas]))
    scales = np.geomspace(s.scales[0], s.scales[1], s.scales[2])
    best: dict[tuple, tuple] = {}
    for sign, name in ((1, "+"), (-1, "-")):
        for a in sign * scales:
            for family, feature in two_number_features(tokens, float(a), negatives).items():
                c, loss = (x.item() for x in best_scale(feature, labels))
                best[family, name] = min(
                    best.get((family, name), (np.inf,)), (loss, float(a), c)
                )
    for family, feature in linear_features(tokens).items():
        c, loss = (x.item() for x in best_scale(feature, labels))
        best[family, "none"] = (loss, 0.0, c)
    rows = []
    for (family, sign), found in best.items():
        name, r, beta = (*family, 0, 0.0) if len(family) == 1 else family
        for quantity, value in zip(("loss", "score scale", "value scale"), found):
            rows.append((name, r, beta, sign, quantity, value))
    return pd.DataFrame(rows, columns=["family", "r", "beta", "sign", "quantity", "value"])


def baselines(settings, point) -> pd.DataFrame:
    """Columns: task, N, inputs, noise, seed, predictor, quantity ("loss", "tuned"), value.

    "tuned" is the penalty, bandwidth or scale, chosen on `tuning` other prompts.
    """
    s, g = settings, generators(point["seed"])
    tokens, labels = _condition(s, point, s.prompts, g["test"])
    other, other_labels = _condition(s, point, s.tuning, g["training"])
    penalties, widths = (
        np.geomspace(1e-4, 30.0, 12).tolist(),
        np.geomspace(0.2, 5.0, 15).tolist(),
    )
    linear = lambda t, c: c * linear_features(t)["linear",]  # noqa: E731
    fitted = [best_scale(linear(other, 1.0), other_labels)[0].item()]
    predictors = {
        "zero": (lambda t, _: torch.zeros(len(t), dtype=FLOAT), [0.0]),
        "mean": (lambda t, _: t[:, :-1, -1].mean(-1), [0.0]),
        "kernel smoother": (smoother, widths),
        "best linear step": (linear, fitted),
        "ridge": (ridge, penalties),
        "ridge with intercept": (
            lambda t, penalty: ridge(t, penalty, intercept=True),
            penalties,
        ),
    }
    rows = []
    for name, (predict, choices) in predictors.items():
        error = lambda choice: (predict(other, choice) - other_labels).square().mean().item()  # noqa: B023, E731
        tuned = min(choices, key=error)
        rows.append((name, "loss", (predict(tokens, tuned) - labels).square().mean().item()))
        rows.append((name, "tuned", tuned))
    return pd.DataFrame(rows, columns=["predictor", "quantity", "value"])
