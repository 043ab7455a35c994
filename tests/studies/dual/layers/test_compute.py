"""Experiments of the chapter *Whole layers, many layers*."""

import numpy as np
import pytest
import torch
from dual_draws import gen

from iclbook.catalogue import find
from iclbook.dual.attention import SelfAttention
from iclbook.runner import compute
from studies.dual.layers.compute import _through, causal, draw_parameters
from studies.dual.layers.settings import MASKS

SMALL = {
    "ren2024/transformer-layer": dict(trials=2),
    "ren2024/attention-stack": dict(depths=(1, 2)),
    "ren2024/layer-steps": dict(prompts=20),
    "ren2024/two-layers-steps": dict(prompts=5),
}


def tables_of(name):
    experiment = find(f"ren2024/{name}")
    settings = experiment.settings("quick", **SMALL[experiment.id])
    return compute(experiment, settings).tables


def test_every_block_activation_and_mask_has_its_residual():
    residuals = tables_of("transformer-layer")["residuals"]
    assert len(residuals) == 2 * 3 * 2 * 2
    assert residuals["residual"].between(0, 1e-10).all()


def test_a_stack_differs_from_its_trainings_by_less_than_rounding():
    stacks = tables_of("attention-stack")["stacks"]
    assert len(stacks) == 2 * 2 * 2 * 2
    assert (stacks["residual"] <= stacks["rounding"]).all()
    assert (stacks["largest_score"] > 0).all()


def test_one_layers_rounding_is_the_largest_of_the_disturbances_drawn():
    """Noise on the only layer's output is what comes out, relative to the largest entry."""
    settings = find("ren2024/attention-stack").settings(
        "quick", trials=1, depths=(1,), disturbances=5, N_max=1, seeds=(7,)
    )
    stacks = compute(find("ren2024/attention-stack"), settings).tables["stacks"]
    of_noise = torch.Generator().manual_seed(1_000_007)
    for row in stacks.itertuples():
        noise = torch.randn(5, 2, 2, settings.width, generator=of_noise, dtype=torch.float64)
        wanted = 2.0**-52 * (1 + row.largest_score) * noise.abs().max().item()
        assert row.rounding == pytest.approx(wanted, rel=0.05)  # itself rounded


@pytest.mark.parametrize("connected", [False, True])
def test_a_disturbance_goes_through_the_layers_above_it(connected):
    """Beside one run after another, each disturbed behind every layer."""
    g, sizes = gen(0), dict(generator=gen(1), dtype=torch.float64)
    layers = [SelfAttention(8, 3, 2, **sizes) for _ in range(3)]
    tokens = 8 * torch.randn(2, 6, 8, generator=g, dtype=torch.float64)
    row = _through(layers, None, connected, tokens, tokens, 4, gen(2))

    with torch.no_grad():
        drawn = gen(2)
        noise = [torch.randn(4, 2, 6, 8, generator=drawn, dtype=torch.float64) for _ in layers]
        plain, noisy = tokens, [tokens] * 4
        for layer, draws in zip(layers, noise):
            queries, keys, _ = layer.project(plain)
            size = 2.0**-52 * (1 + (queries @ keys.mT).abs().max())
            plain = layer(plain) + connected * plain
            noisy = [layer(x) + connected * x for x in noisy]
            noisy = [x + size * plain.abs().max() * n for x, n in zip(noisy, draws)]
        wanted = max((x - plain).abs().max() for x in noisy) / plain.abs().max()
        last_alone = size * noise[-1].abs().max()
    assert row["rounding"] == pytest.approx(wanted.item(), rel=0.05)
    assert wanted > 2 * last_alone


@pytest.mark.parametrize("distance", ["frozen", "partial", "apart"])
def test_all_blocks_end_at_the_layers_output(distance):
    distances = tables_of("layer-steps")["distances"]
    end = distances.query("step == 15 and distance == @distance")
    assert len(end) == 4 and (end["mean"] < 1e-25).all()


def test_a_constant_belongs_to_the_frozen_map():
    """Before the first step the dual model's error is the demonstrations' part alone: the
    definition of the unit."""
    start = tables_of("layer-steps")["distances"].query("step == 0 and distance == 'frozen'")
    np.testing.assert_allclose(start["mean"], 1, rtol=1e-12)


def test_gates_end_as_the_answers():
    gates = tables_of("layer-steps")["gates"].set_index("step")
    assert list(gates.index) == list(range(16))
    assert tuple(gates.loc[15, ["mean", "standard_error"]]) == (1, 0)
    assert 0.3 < gates.loc[0, "mean"] < gates.loc[14, "mean"] < 1


def test_two_layers_end_at_zero_and_only_there():
    errors = tables_of("two-layers-steps")["errors"]
    done = (errors["first"] == 15) & (errors["second"] == 15)
    assert (errors.loc[done, "mean"] < 1e-25).all() and done.sum() == len(MASKS)
    assert (errors.loc[~done, "mean"] > 1e-6).all()


def test_a_causal_mask_shows_a_token_itself_and_those_before():
    assert causal(3).tolist() == [[True, False, False], [True, True, False], [True] * 3]


def test_drawn_parameters_have_their_sizes():
    layer = draw_parameters(torch.nn.Linear(400, 300, dtype=torch.float64), gen(0), vectors=0.1)
    assert layer.weight.std().item() == pytest.approx(1 / 20, rel=0.02)
    assert layer.bias.std().item() == pytest.approx(0.1, rel=0.2)
