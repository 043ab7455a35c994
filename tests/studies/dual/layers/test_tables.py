"""Experiments of the chapter *Whole layers, many layers*, and its claims on true and false
tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dual_draws import gen, vectors
from iclbook.experiments.dual import layers as experiments
from torch import nn

from iclbook.claim import all_claims
from iclbook.dual.layers import encoder_dual, single_steps
from iclbook.errors import InputError
from iclbook.runner import compute
from studies.catalogue import find

LAYER, STACK, STEPS, TWO = (
    f"ren2024/{n}"
    for n in ("transformer-layer", "attention-stack", "layer-steps", "two-layers-steps")
)


@pytest.fixture(scope="module")
def tables():
    """Small tables of all experiments, computed by the experiments themselves."""
    changes = {
        LAYER: {},
        STACK: dict(depths=(1, 2)),
        STEPS: dict(prompts=20),
        TWO: dict(prompts=5),
    }
    return {
        name: compute(find(name), find(name).settings("quick", **change))[0]
        for name, change in changes.items()
    }


CLAIMS = [
    "transformer-layer",
    "attention-stack",
    "layer-map-belongs-to-the-answer",
    "stack-pairs-know-the-query",
]


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_hold_on_small_tables(name, tables):
    outcome = all_claims()[f"ren2024/{name}"].check(tables)
    assert outcome.verdict == "reproduced", outcome


ONE = "trial == 1 and mask == 'causal'"
APART = "block == '{}' and quantity == 'apart, mean' and step == {}"
FALSE = [
    (
        "transformer-layer",
        LAYER,
        ONE + " and block == 'post-norm' and activation == 'gelu'",
        lambda v: 1e-9,
    ),
    ("transformer-layer", LAYER, ONE + " and block == 'pre-norm'", lambda v: np.nan),
    (
        "attention-stack",
        STACK,
        ONE + " and depth == 2 and quantity == 'residual'",
        lambda v: 1e-9,
    ),
    ("layer-map-belongs-to-the-answer", STEPS, APART.format("relu", 3), lambda v: 1e-9 * v),
    ("layer-map-belongs-to-the-answer", STEPS, APART.format("gelu", 14), lambda v: np.nan),
    ("layer-map-belongs-to-the-answer", STEPS, APART.format("residual", 3), lambda v: v + 1e-3),
    (
        "stack-pairs-know-the-query",
        STACK,
        "mask == 'full' and depth == 2 and quantity == 'movement'",
        lambda v: 1e-9,
    ),
    (
        "stack-pairs-know-the-query",
        STACK,
        ONE + " and depth == 2 and quantity == 'movement'",
        lambda v: v + 1e-12,
    ),
    (
        "stack-pairs-know-the-query",
        STACK,
        "mask == 'full' and depth == 1 and quantity == 'movement'",
        lambda v: v + 1e-12,
    ),
]


@pytest.mark.parametrize("name, experiment, select, change", FALSE)
def test_claims_on_false_tables(name, experiment, select, change, tables):
    table = tables[experiment].copy()
    rows = table.eval(select)
    assert rows.any()
    table.loc[rows, "value"] = change(table.loc[rows, "value"])
    claim = replace(all_claims()[f"ren2024/{name}"], verdict="reproduced")
    assert claim.check({**tables, experiment: table}).verdict == "not reproduced"


def test_a_stack_above_the_threshold_is_partly_reproduced_only_where_rounding_explains_it(
    tables,
):
    table, claim = tables[STACK].copy(), all_claims()["ren2024/attention-stack"]
    deep = (table["depth"] == 2) & (table["trial"] == 1) & (table["mask"] == "full")
    table.loc[deep & (table["quantity"] == "residual"), "value"] = 1e-9
    for rounding, verdict in (
        (1e-8, "partly"),
        (1e-10, "not reproduced"),
        (np.nan, "not reproduced"),
    ):
        table.loc[deep & (table["quantity"] == "rounding"), "value"] = rounding
        assert claim.check({STACK: table}).verdict == verdict


@pytest.mark.parametrize("is_causal", [False, True])
def test_single_steps_show_one_token_at_a_time(is_causal):
    """Against attention's own weights: after t steps a query has its own token and the first t
    others that it sees."""
    g, M = gen(0), 6
    queries, keys = (vectors((2, M, 3), 2.0, g) for _ in range(2))
    values = torch.randn(2, M, 4, generator=g, dtype=torch.float64)
    mask = experiments.causal(M) if is_causal else torch.ones(M, M, dtype=torch.bool)
    weights = (queries @ keys.mT).masked_fill(~mask, -torch.inf).softmax(-1)  # (2, M, M)
    found = single_steps(queries, keys, values, mask if is_causal else None)
    for t in range(M):
        shown = torch.zeros(M, M, dtype=torch.bool)
        for m in range(M):
            shown[m, [i for i in range(M) if i != m][:t] + [m]] = True
        torch.testing.assert_close(found[t], (weights * shown) @ values, rtol=1e-12, atol=1e-14)


def test_two_layers_end_at_zero_and_only_there(tables):
    mean = tables[TWO].query("quantity == 'error, mean'")
    done = (mean["first"] == 15) & (mean["second"] == 15)
    assert (
        (mean.loc[done, "value"] < 1e-25).all()
        and (mean.loc[~done, "value"] > 1e-6).all()
        and done.sum() == 2
    )


def test_all_blocks_end_at_the_layers_output(tables):
    end = tables[STEPS].query("step == 15 and quantity in ['frozen, mean', 'partial, mean']")
    assert len(end) == 8 and (end["value"] < 1e-25).all()


def test_a_constant_belongs_to_the_frozen_map(tables):
    """Before the first step the dual model's error is the demonstrations' part alone: the
    definition of the unit."""
    start = tables[STEPS].query("step == 0 and quantity == 'frozen, mean'")
    np.testing.assert_allclose(start["value"], 1, rtol=1e-12)


def peer(**options):
    options = {"batch_first": True, "dtype": torch.float64} | options
    layer = nn.TransformerEncoderLayer(6, 2, 9, **options).eval()
    return experiments.draw_parameters(layer, gen(1))


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_dual_without_biases(norm_first):
    layer, h = peer(bias=False, norm_first=norm_first), vectors((2, 5, 6), 1.0, gen(2))
    with torch.no_grad():
        torch.testing.assert_close(encoder_dual(layer, h), layer(h), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda h: encoder_dual(peer(batch_first=False), h), "batch first"),
        (lambda h: encoder_dual(peer().train(), h), "dropout"),
        (lambda h: encoder_dual(peer(activation=nn.functional.silu), h), "activation must be"),
        (lambda h: encoder_dual(peer(activation=nn.Tanh()), h), "activation must be"),
        (
            lambda h: encoder_dual(peer(), h, torch.zeros(5, 5, dtype=torch.bool)),
            "NaN|see a key",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(vectors((2, 5, 6), 1.0, gen(3)))
    assert "\n" not in str(caught.value)
