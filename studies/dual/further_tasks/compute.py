"""Two deeper models trained like the panel of *Does it help?*, by whose functions the panels of
this chapter are trained too."""

from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy

import pandas as pd
import torch
from torch import Tensor
from torch.nn import Module

from iclbook.dual.attention import SelfAttention
from iclbook.dual.further_tasks import TransformerLayer, TwoLayers
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.modified import Augment
from iclbook.dual.panel import PanelOfOne, losses
from studies.dual.trained.compute import STARTS, curves, generators

FLOAT = torch.float64


def transformer_trained(settings, point) -> dict[str, pd.DataFrame]:
    """One Transformer layer."""

    def model(generator, maps, **modification):
        maps = {name: pair[0] for name, pair in maps.items()}
        sizes = settings.d + 1, settings.d_o, settings.hidden
        return TransformerLayer(*sizes, generator=generator, **maps, **modification)

    return _deep(settings, point["seed"], model)


def two_layers_trained(settings, point) -> dict[str, pd.DataFrame]:
    """Two attention layers."""

    def model(generator, maps, **modification):
        sizes = settings.d + 1, settings.d_o
        return TwoLayers(*sizes, generator=generator, **maps, **modification)

    return _deep(settings, point["seed"], model)


def _build(s, seed: int, model) -> Iterator[tuple[str, dict, Module]]:
    """(family, strengths with the start, module) of every model: all set out from one draw or
    from its mirror image, in which every attention layer's W_K and W_V have the other sign.
    """
    for family, settings in s.grid().items():
        for strengths in settings:
            change, g, maps = dict(strengths), generators(seed), {}
            if change.pop("view", None):
                c = change.pop("c")
                maps = {  # a pair of maps, one for each layer that there may be
                    name: [
                        Augment(s.d_o, c, hidden=s.map_hidden, generator=g[name])
                        for _ in range(2)
                    ]
                    for name in ("g1", "g2")
                }
            for start in s.starts:
                module = model(generators(seed)["start"], deepcopy(maps), **change)
                with torch.no_grad():
                    for layer in module.modules():
                        if isinstance(layer, SelfAttention):
                            layer.W_K.mul_(STARTS[start])
                            layer.W_V.mul_(STARTS[start])
                yield family, strengths | {"start": start}, module


def _deep(s, seed: int, model) -> dict[str, pd.DataFrame]:
    """Train every model of the settings' grid on the same prompts."""
    g, rows = generators(seed), defaultdict(list)
    families, keys, modules = zip(*_build(s, seed, model))
    panels = [PanelOfOne(module) for module in modules]

    def sample(count, generator, **kwargs):
        return sample_prompts(count, s.N, s.d, generator=generator, **kwargs)

    test, final = sample(s.test, g["test"]), sample(s.final, g["test"])
    for step, found in curves(s, panels, test, lambda: sample(s.batch, g["training"])):
        for family, key, loss in zip(families, keys, found.tolist()):
            rows[f"{family}_curves"].append(key | {"step": step, "loss": loss})
    if s.until < 1:
        return {name: pd.DataFrame(found) for name, found in rows.items()}

    for family, key, loss in zip(families, keys, losses(panels, *final).tolist()):
        rows[f"{family}_ends"].append(key | {"final_loss": loss})
    shown, _ = sample(s.prompts, g["dual"], dtype=FLOAT)
    for family, key, module in zip(families, keys, modules):
        if key["start"] == "drawn":
            name = {column: x for column, x in key.items() if column != "start"}
            errors = enumerate(_dual_errors(module.double(), shown))
            rows[f"{family}_steps"] += [name | {"step": i, "error": x} for i, x in errors]
    return {name: pd.DataFrame(found) for name, found in rows.items()}


@torch.no_grad()
def _dual_errors(module: Module, tokens: Tensor) -> list[float]:
    """Squared errors after 0 .. N single steps, over the prediction's mean square."""
    wanted = module(tokens)  # (B,)
    found = module.step_predictions(tokens)  # (N + 1, B)
    return ((found - wanted).square().mean(-1) / wanted.square().mean()).tolist()
