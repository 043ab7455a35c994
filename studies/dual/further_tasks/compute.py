"""The panel of *Does it help?* on further tasks and conditions, and two deeper models trained
like it."""

import dataclasses
from types import SimpleNamespace

import pandas as pd
import torch

from iclbook.dual.further_tasks import TransformerLayer, TwoLayers
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.modified import Augment
from iclbook.dual.panel import losses, train_together
from studies.dual.trained.compute import fig3_trained, generators

FLOAT = torch.float64


def trigonometric_trained(settings, point) -> pd.DataFrame:
    """Columns as `fig3_trained`."""
    return fig3_trained(settings, point)


def exponential_trained(settings, point) -> pd.DataFrame:
    """Columns as `fig3_trained`."""
    return fig3_trained(settings, point)


def longer_prompts(settings, point) -> pd.DataFrame:
    """Columns: task, inputs, noise, seed, then those of `fig3_trained`."""
    condition = {name: point[name] for name in ("task", "inputs", "noise")}
    return fig3_trained(dataclasses.replace(settings, **condition), point)


def inputs_and_noise(settings, point) -> pd.DataFrame:
    """Columns: task, inputs, noise, seed, then those of `fig3_trained`."""
    return longer_prompts(settings, point)


def transformer_trained(settings, point) -> pd.DataFrame:
    """Columns: seed, family, setting, start, quantity, step, value, as `fig3_trained`: losses
    and dual errors."""

    def model(g, maps, **modification):
        maps = {name: pair[0] for name, pair in maps.items()}
        return TransformerLayer(
            settings.d + 1, settings.d_o, settings.hidden, generator=g, **maps, **modification
        )

    return _deep(settings, point["seed"], model)


def two_layers_trained(settings, point) -> pd.DataFrame:
    """Columns as `transformer_trained`."""

    def model(g, maps, **modification):
        return TwoLayers(settings.d + 1, settings.d_o, generator=g, **maps, **modification)

    return _deep(settings, point["seed"], model)


def _maps(s, seed: int) -> dict[str, list[Augment]]:
    g, names = generators(seed), ("g1", "g2")
    return {
        name: [Augment(s.d_o, s.c, hidden=s.map_hidden, generator=g[name]) for _ in range(2)]
        for name in names
    }


def _deep(s, seed: int, model) -> pd.DataFrame:
    """Train one model a setting from the same start on the same prompts."""
    g, rows = generators(seed), []
    models = {
        ("plain", "plain"): model(generators(seed)["start"], {}),
        ("regularised", f"α = {s.alpha:g}"): model(
            generators(seed)["start"], {}, alpha=s.alpha
        ),
        ("augmented", f"c = {s.c:g}, g1 and g2"): model(
            generators(seed)["start"], _maps(s, seed)
        ),
        ("negative", f"r = {s.r}, β = {s.beta:g}"): model(
            generators(seed)["start"], {}, beta=s.beta, r=s.r
        ),
    }

    class AsPanel(SimpleNamespace):  # a panel of one
        def __call__(self, tokens):
            return self.module(tokens)[None]

    panels = [AsPanel(module=m, parameters=dict(m.named_parameters())) for m in models.values()]

    def sample(count, generator, **kwargs):
        return sample_prompts(count, s.N, s.d, generator=generator, **kwargs)

    test, wide = sample(s.test, g["test"]), sample(s.final, g["test"])

    def record(step):
        for key, loss in zip(models, losses(panels, *test).tolist()):
            rows.append((*key, "drawn", "loss", step, loss))

    at = sorted(
        {round(s.steps * share) for share in (0, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 1)}
    )
    train_together(panels, lambda: sample(s.batch, g["training"]), s.steps, rates=[s.rate] * len(panels),
                   decay_from=s.decay_from, stop=s.stop, record=record, at=at)  # fmt: skip
    if not s.stop:
        tokens, _ = sample(s.prompts, g["dual"], dtype=FLOAT)
        for key, loss in zip(models, losses(panels, *wide).tolist()):
            rows.append((*key, "drawn", "final loss", s.steps, loss))
        for key, module in models.items():
            with torch.no_grad():
                module.double()
                wanted, found = (
                    module(tokens),
                    module.step_predictions(tokens),
                )  # (B,), (N + 1, B)
            errors = (found - wanted).square().mean(-1) / wanted.square().mean()
            rows += [
                (*key, "drawn", "dual error", step, value)
                for step, value in enumerate(errors.tolist())
            ]
    return pd.DataFrame(
        rows, columns=["family", "setting", "start", "quantity", "step", "value"]
    )
