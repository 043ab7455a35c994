"""Experiments of the chapter *Whole layers, many layers*, and its claims on true and false
tables."""

import numpy as np
import pytest
import torch
from claims import outcome
from dual_draws import gen, vectors
from torch import nn

from iclbook.catalogue import find
from iclbook.dual.layers import encoder_dual, single_steps
from iclbook.errors import InputError
from iclbook.runner import compute
from studies.dual.layers import compute as experiments

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
        name: compute(find(name), find(name).settings("quick", **change)).tables
        for name, change in changes.items()
    }


NAMES = (
    "transformer-layer",
    "attention-stack",
    "layer-map-belongs-to-the-answer",
    "stack-pairs-know-the-query",
)


@pytest.mark.parametrize("name", NAMES)
def test_claims_hold_on_small_tables(name, tables):
    found = outcome(f"ren2024/{name}", tables)
    assert found.verdict == "reproduced", found


ONE, PRE = "trial == 1 and mask == 'causal'", "block == 'pre-norm'"
DEEP, FIRST = "mask == 'full' and depth == 2", "mask == 'full' and depth == 1"
MAP, PAIRS = "layer-map-belongs-to-the-answer", "stack-pairs-know-the-query"
FALSE = [
    ("transformer-layer", LAYER, "residual", f"{ONE} and block == 'post-norm'", lambda v: 1e-9),
    (
        "transformer-layer",
        LAYER,
        "residual",
        f"{ONE} and {PRE}",
        lambda v: np.nan,
    ),
    ("attention-stack", STACK, "residual", f"{ONE} and depth == 2", lambda v: 1e-9),
    (MAP, STEPS, "apart", "block == 'relu' and step == 3", lambda v: 1e-9 * v),
    (MAP, STEPS, "apart", "block == 'gelu' and step == 14", lambda v: np.nan),
    (MAP, STEPS, "apart", "block == 'residual' and step == 3", lambda v: v + 1e-3),
    (PAIRS, STACK, "movement", DEEP, lambda v: 1e-9),
    (PAIRS, STACK, "movement", f"{ONE} and depth == 2", lambda v: v + 1e-12),
    (PAIRS, STACK, "movement", FIRST, lambda v: v + 1e-12),
]


@pytest.mark.parametrize("name, experiment, measure, select, change", FALSE)
def test_claims_on_false_tables(name, experiment, measure, select, change, tables):
    part = next(iter(tables[experiment]))
    table = tables[experiment][part].copy()
    rows = table.eval(select)
    assert rows.any()
    table.loc[rows, measure] = change(table.loc[rows, measure])
    false = {**tables, experiment: {**tables[experiment], part: table}}
    assert outcome(f"ren2024/{name}", false).verdict == "not reproduced"


def test_a_stack_above_the_threshold_is_partly_reproduced_only_where_rounding_explains_it(
    tables,
):
    table = tables[STACK]["stacks"].copy()
    deep = table.eval("depth == 2 and trial == 1 and mask == 'full'")
    table.loc[deep, "residual"] = 1e-9
    for rounding, verdict in (
        (1e-8, "partly"),
        (1e-10, "not reproduced"),
        (np.nan, "not reproduced"),
    ):
        table.loc[deep, "rounding"] = rounding
        found = outcome("ren2024/attention-stack", {STACK: {"stacks": table}})
        assert found.verdict == verdict


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
            shown[m, [*[i for i in range(M) if i != m][:t], m]] = True
        torch.testing.assert_close(found[t], (weights * shown) @ values, rtol=1e-12, atol=1e-14)


def test_two_layers_end_at_zero_and_only_there(tables):
    errors = tables[TWO]["errors"]
    done = (errors["first"] == 15) & (errors["second"] == 15)
    assert (errors.loc[done, "error"] < 1e-25).all() and done.sum() == 2
    assert (errors.loc[~done, "error"] > 1e-6).all()


def test_all_blocks_end_at_the_layers_output(tables):
    end = tables[STEPS]["errors"].query("step == 15")
    assert len(end) == 4 and (end[["frozen", "partial"]] < 1e-25).all(axis=None)


def test_a_constant_belongs_to_the_frozen_map(tables):
    """Before the first step the dual model's error is the demonstrations' part alone: the
    definition of the unit."""
    start = tables[STEPS]["errors"].query("step == 0")
    np.testing.assert_allclose(start["frozen"], 1, rtol=1e-12)


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
