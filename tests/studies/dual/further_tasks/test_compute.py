"""Deeper models: every setting from a draw and from its mirror image, trained alike, their dual
models at the end."""

import pytest
import torch

from iclbook.catalogue import find
from studies.dual.further_tasks import compute

NAMES = ("transformer", "two-layers")


def models(name):
    """(settings, the models that training would start from) of the quick profile."""
    experiment, caught = find(f"ren2024/{name}-trained"), []
    s = experiment.settings("quick")

    def keep(settings, seed, model):
        caught.extend(compute._build(settings, seed, model))
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute, "_deep", keep)
        experiment.resolve()(s, s.points()[0])
    return s, caught


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_starts_twice_from_one_draw(name):
    s, found = models(name)
    wanted = [
        (family, row | {"start": start})
        for family, rows in s.grid().items()
        for row in rows
        for start in ("drawn", "mirrored")
    ]
    assert [(family, key) for family, key, _ in found] == wanted
    plain = found[0][2].state_dict()
    for _, key, module in found:
        sign = {"drawn": 1, "mirrored": -1}[key["start"]]
        for entry, value in module.state_dict().items():
            if entry in plain:
                turned = entry.endswith(("W_K", "W_V"))
                torch.testing.assert_close(value, plain[entry] * (sign if turned else 1))


@pytest.mark.parametrize("name", NAMES)
def test_no_two_models_share_a_parameter(name):
    parameters = [p.data_ptr() for _, _, module in models(name)[1] for p in module.parameters()]
    assert len(set(parameters)) == len(parameters)


def test_the_mirror_image_turns_the_scores_of_a_layer():
    s, found = models("transformer")
    tokens = torch.randn(2, s.N + 1, s.d + 1, generator=torch.Generator().manual_seed(0))
    (queries, keys, values), mirrored = (found[i][2].attention.project(tokens) for i in (0, 1))
    torch.testing.assert_close(mirrored[0] @ mirrored[1].mT, -(queries @ keys.mT))
    torch.testing.assert_close(mirrored[2], -values)


@pytest.mark.parametrize("name", NAMES)
def test_all_models_see_the_same_prompts_and_learn(name):
    experiment = find(f"ren2024/{name}-trained")
    s = experiment.settings("quick").changed(steps=24, rate=1e-2)
    tables = experiment.resolve()(s, s.points()[0])
    for family in s.grid():
        curves = tables[f"{family}_curves"]
        first, last = (curves[curves["step"] == step]["loss"].mean() for step in (0, 24))
        assert last < first
        steps = tables[f"{family}_steps"]
        assert steps[steps["step"] == s.N]["error"].max() < 1e-20
        assert steps[steps["step"] < s.N]["error"].min() > 1e-12
    alone = s.changed(alphas=(0.5,), c=(1.0,), negatives=((15, 1.0),))
    fewer = experiment.resolve()(alone, alone.points()[0])
    assert fewer["plain_ends"].equals(tables["plain_ends"]), "a model depends on its neighbours"
