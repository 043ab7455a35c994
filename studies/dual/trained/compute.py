"""Layers trained with and without the modifications, the optimum that symmetry leaves, and
peers outside attention."""

from collections import defaultdict
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

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

FLOAT = torch.float64
STARTS = {"drawn": 1.0, "mirrored": -1.0}  # name -> sign of W_K and W_V
VIEWS = {"g1": ("g1",), "g2": ("g2",), "g1 and g2": ("g1", "g2")}  # name -> the maps it has
SHARES = (
    0,
    0.01,
    0.03,
    0.1,
    0.25,
    0.5,
    0.75,
    0.9,
    1,
)  # of the steps, where losses are measured


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
    return sample_prompts(
        count,
        s.N,
        s.d,
        generator=generator,
        dtype=dtype,
        task=find_task(s.task),
        inputs=s.inputs,
        noise=s.noise,
    )


def curves(s, panels, test, sample):
    """Train panels; yield (step, losses on the prompts `test`, (S,)) at `SHARES` of the steps,
    until the share `s.until` of them is done."""
    at = sorted({round(s.steps * share) for share in SHARES})
    rates = [s.rate] * len(panels)
    for step in train_together(
        panels, sample, s.steps, rates=rates, at=at, decay_from=s.decay_from
    ):
        yield step, losses(panels, *test)
        if step >= s.until * s.steps:
            return


def start(
    s,
    seed: int,
    mirror: float = 1.0,
    maps: tuple[str, ...] = (),
    c: float = 0.0,
    **modification,
) -> SelfAttention:
    """A layer as drawn or, with mirror = -1, with W_K and W_V of the other sign. Weights depend
    on the seed only: all settings set out from the same place."""
    g = generators(seed)
    views = {name: Augment(s.d_o, c, hidden=s.hidden, generator=g[name]) for name in maps}
    layer = SelfAttention(
        s.d + 1, s.d_o, generator=g["start"], output=False, **views, **modification
    )
    with torch.no_grad():
        for W in (layer.W_K, layer.W_V):
            W.mul_(mirror)
    return layer


def build(s, seed: int) -> tuple[list[Panel], list[tuple[str, dict]]]:
    """(panels, (family, strengths with the start) of each of their layers, in order).

    Layers with the same maps share a panel.
    """
    members = defaultdict(list)
    for family, settings in s.grid().items():
        for strengths in settings:
            change = dict(strengths)
            view = change.pop("view", "g1 and g2" if family == "crossed" else "")
            maps = VIEWS.get(view, ())
            if family == "learned":
                change["beta"] = 0.5
            for name, mirror in STARTS.items():
                layer = start(s, seed, mirror, maps, **change)
                member = (family, strengths | {"start": name}), layer
                members[family == "linear_attention", maps].append(member)
    panels = []
    for (is_linear, _), part in members.items():
        learns = [family == "learned" for (family, _), _ in part]
        layers = [layer for _, layer in part]
        panels.append(Panel(layers, softmax=not is_linear, learn_beta=learns))
    return panels, [key for part in members.values() for key, _ in part]


def trained(settings, point) -> dict[str, pd.DataFrame]:
    """Train a panel of every family under the point's conditions; see `tables` in the settings.

    A point may name any setting, such as the task or the rate, beside its seed.
    """
    condition = {name: value for name, value in point.items() if name != "seed"}
    s, seed = settings.changed(**condition), point["seed"]
    g = generators(seed)
    panels, keys = build(s, seed)
    test, final = prompts(s, s.test, g["test"]), prompts(s, s.final, g["test"])
    rows = defaultdict(list)
    sample = partial(prompts, s, s.batch, g["training"])
    for step, found in curves(s, panels, test, sample):
        for (family, key), loss in zip(keys, found.tolist()):
            rows[f"{family}_curves"].append(key | {"step": step, "loss": loss})
    if s.until == 1:
        ends = losses(panels, *final).tolist()
        shown, _ = prompts(s, s.prompts, g["dual"], FLOAT)
        for (family, key), end, steps in _at_the_end(panels, keys, ends, test[0][:512], shown):
            rows[f"{family}_ends"].append(key | end)
            rows[f"{family}_steps"] += steps
    return {name: pd.DataFrame(found) for name, found in rows.items() if found}


def rates(settings, point) -> dict[str, pd.DataFrame]:
    """As `trained`: losses only."""
    found = trained(settings, point)
    curves = {name: table for name, table in found.items() if name.endswith("_curves")}
    return curves | {
        name: table.loc[:, :"final_loss"]
        for name, table in found.items()
        if name.endswith("_ends")
    }


def _at_the_end(panels, keys, final_losses, tokens, shown):
    """Yield (key, measures, rows of single steps) of each trained layer: of its weights on
    `tokens`, of its parameters, and of the dual model of a drawn start on `shown`."""
    layers = [layer for panel in panels for layer in panel.unstack()]
    with torch.no_grad():
        weights = [w for panel in panels for w in panel.weights(tokens)]  # each (512, N + 1)
        for (family, key), layer, w, loss in zip(keys, layers, weights, final_losses):
            end, steps = {"final_loss": loss} | _of_weights(w) | _of_parameters(layer), []
            if family == "learned":
                end["learned_beta"] = float(layer.modification.beta)
            if family != "linear_attention":
                end["one_step_error"] = np.nan
                if key["start"] == "drawn":
                    errors, end["one_step_error"] = dual_errors(layer.double(), shown)
                    name = {column: x for column, x in key.items() if column != "start"}
                    steps = [name | {"step": i, "error": x} for i, x in enumerate(errors)]
            yield (family, key), end, steps


def _of_weights(w: Tensor) -> dict[str, float]:
    found = {
        "own_weight": w[:, -1].mean(),
        "sum_of_weights": w.sum(-1).mean(),
        "share_of_negative_weights": (w[:, :-1] < 0).float().mean(),
    }
    return {name: value.item() for name, value in found.items()}


def _of_parameters(layer: SelfAttention) -> dict[str, float]:
    """What symmetry speaks of; of an augmented layer's linear part only."""
    form = layer.W_K[0].T @ layer.W_Q[0] / layer.W_Q.shape[-2] ** 0.5  # (d + 1, d + 1)
    value, inner = layer.W_V[0, -1], form[:-1, :-1]  # (d + 1,), (d, d)
    scale = inner.diagonal().mean()
    rest = inner - scale * torch.eye(len(inner))
    found = {
        "score_scale": scale,
        "value_scale": value[-1],
        "asymmetry": rest.norm() / inner.norm(),
        "value_of_x": value[:-1].norm() / value[-1].abs(),
    }
    return {name: x.item() for name, x in found.items()}


def dual_errors(layer: SelfAttention, tokens: Tensor) -> tuple[list[float], float]:
    """(errors after 0..N single steps, error after one full step) of the trained entry, over
    its mean square."""
    wanted = layer(tokens, last_only=True)[:, 0, -1]  # (B,)
    singles, one = step_outputs(layer, tokens)
    after, full = (
        (found[..., -1] - wanted).square().mean(-1) / wanted.square().mean()
        for found in (singles, one)
    )
    return after.tolist(), full.item()


def _condition(settings, point, count: int, generator: torch.Generator):
    """`count` prompts of a point's condition, in float64."""
    return sample_prompts(
        count,
        point["N"],
        settings.d,
        generator=generator,
        dtype=FLOAT,
        task=find_task(point["task"]),
        inputs=point["inputs"],
        noise=point["noise"],
    )


def two_numbers(settings, point) -> dict[str, pd.DataFrame]:
    """For each family of weights and each sign of the score scale a: the loss at the best a and
    value scale b on these prompts. Linear weights have no a."""
    s = settings
    tokens, labels = _condition(s, point, s.prompts, generators(point["seed"])["test"])
    known = [(r, beta) for r in s.r if r <= point["N"] for beta in s.betas]
    negatives = list(dict.fromkeys(known + [(point["N"], beta) for beta in s.fine_betas]))
    smallest, largest, count = s.scales
    best = {}
    for sign, factor in {"+": 1, "-": -1}.items():
        for a in factor * np.geomspace(smallest, largest, count):
            for family, feature in two_number_features(tokens, float(a), negatives).items():
                value, loss = (x.item() for x in best_scale(feature, labels))
                before = best.get((family, sign), (np.inf,))
                best[family, sign] = min(before, (loss, float(a), value))
    tables = defaultdict(list)
    for ((name, *pair), sign), found in best.items():
        key = dict(zip(("r", "beta"), pair)) if pair else {"weights": name}
        measures = dict(zip(("loss", "score_scale", "value_scale"), found))
        tables["negative" if pair else "positive"].append(key | {"sign": sign} | measures)
    for (name,), feature in linear_features(tokens).items():
        value, loss = (x.item() for x in best_scale(feature, labels))
        row = {"centred": name == "linear, centred", "loss": loss, "value_scale": value}
        tables["linear"].append(row)
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def baselines(settings, point) -> dict[str, pd.DataFrame]:
    """Losses of peers; a penalty, bandwidth or scale is chosen on `tuning` other prompts."""
    s, g = settings, generators(point["seed"])
    tokens, labels = _condition(s, point, s.prompts, g["test"])
    other, other_labels = _condition(s, point, s.tuning, g["training"])

    def linear_step(prompts, scale):
        return scale * linear_features(prompts)["linear",]

    penalties, widths = np.geomspace(1e-4, 30.0, 12), np.geomspace(0.2, 5.0, 15)
    fitted, _ = best_scale(linear_step(other, 1.0), other_labels)
    tuned = {  # name -> (predictor, what it may be tuned to)
        "kernel smoother": (smoother, widths),
        "best linear step": (linear_step, [fitted.item()]),
        "ridge": (ridge, penalties),
        "ridge with intercept": (partial(ridge, intercept=True), penalties),
    }
    predicted = {
        "zero": torch.zeros(len(tokens), dtype=FLOAT),
        "mean": tokens[:, :-1, -1].mean(-1),
    }
    choices = []
    for name, (predict, candidates) in tuned.items():
        errors = [(predict(other, x) - other_labels).square().mean() for x in candidates]
        choice = float(candidates[int(torch.stack(errors).argmin())])
        choices.append({"predictor": name, "tuned": choice})
        predicted[name] = predict(tokens, choice)
    rows = [
        {"predictor": name, "loss": (each - labels).square().mean().item()}
        for name, each in predicted.items()
    ]
    return {"losses": pd.DataFrame(rows), "choices": pd.DataFrame(choices)}
