"""Two deeper models trained like the panel of *Does it help?*, by whose functions the panels of
this chapter are trained too."""

from collections import defaultdict

import pandas as pd
import torch

from iclbook.dual.further_tasks import TransformerLayer, TwoLayers
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.modified import Augment
from iclbook.dual.panel import PanelOfOne, losses
from studies.dual.trained.compute import curves, generators

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


def _maps(s, seed: int) -> dict[str, list[Augment]]:
    """A pair of maps, one for each layer that there may be, of g1 and of g2."""
    g, names = generators(seed), ("g1", "g2")
    return {
        name: [Augment(s.d_o, s.c, hidden=s.map_hidden, generator=g[name]) for _ in range(2)]
        for name in names
    }


def _deep(s, seed: int, model) -> dict[str, pd.DataFrame]:
    """Train one model a family from the same start on the same prompts."""
    g, rows = generators(seed), defaultdict(list)
    modified = {
        "plain": ({}, {}),
        "regularised": ({}, {"alpha": s.alpha}),
        "augmented": (_maps(s, seed), {}),
        "negative": ({}, {"beta": s.beta, "r": s.r}),
    }
    models = {
        family: model(generators(seed)["start"], maps, **change)
        for family, (maps, change) in modified.items()
    }
    panels = [PanelOfOne(module) for module in models.values()]

    def sample(count, generator, **kwargs):
        return sample_prompts(count, s.N, s.d, generator=generator, **kwargs)

    # Training, all on the same prompts.
    test, final = sample(s.test, g["test"]), sample(s.final, g["test"])
    for step, found in curves(s, panels, test, lambda: sample(s.batch, g["training"])):
        for family, loss in zip(models, found.tolist()):
            rows["curves"].append({"family": family, "step": step, "loss": loss})
    if s.until < 1:
        return {name: pd.DataFrame(found) for name, found in rows.items()}

    # Losses at the end, and the trained models' dual models, in float64.
    for family, loss in zip(models, losses(panels, *final).tolist()):
        rows["ends"].append({"family": family, "final_loss": loss})
    tokens, _ = sample(s.prompts, g["dual"], dtype=FLOAT)
    for family, module in models.items():
        with torch.no_grad():
            module.double()
            wanted = module(tokens)  # (B,)
            found = module.step_predictions(tokens)  # (N + 1, B)
        errors = (found - wanted).square().mean(-1) / wanted.square().mean()
        for step, error in enumerate(errors.tolist()):
            rows["steps"].append({"family": family, "step": step, "error": error})
    return {name: pd.DataFrame(found) for name, found in rows.items()}
