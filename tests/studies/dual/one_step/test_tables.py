"""Experiments of the chapter *One attention layer is one gradient step*, and its claims on true
and false tables."""

import itertools

import numpy as np
import pytest
import torch
from claims import outcome
from dual_draws import gen
from torch.nn.functional import scaled_dot_product_attention as sdpa

from iclbook.catalogue import find
from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.one_step import expected_over_orders
from iclbook.runner import compute

THM31, FIG3 = "ren2024/thm31", "ren2024/fig3-left"


@pytest.fixture(scope="module")
def tables():
    """Small tables of both experiments, computed by the experiments themselves."""
    changes = {
        THM31: dict(trials=15),
        FIG3: dict(steps=3, prompts=40, d_r=(5, 20), seeds=(0, 1)),
    }
    return {
        name: compute(find(name), find(name).settings("quick", **change)).tables
        for name, change in changes.items()
    }


NAMES = (
    "thm31-one-step",
    "thm31-one-demonstration-a-step",
    "thm31-exact-kernel",
    "steps-average-over-orders",
)


@pytest.mark.parametrize("name", NAMES)
def test_claims_hold_on_small_tables(name, tables):
    found = outcome(f"ren2024/{name}", tables)
    assert found.verdict == "reproduced", found


FEATURES = "kernel == 'random features' and trial == 3"
EXACT = "kernel == 'exact' and trial == 3"
LATE = "step == {} and seed == 1 and weights == 'trained'"
ALONE, MEAN = "thm31-one-demonstration-a-step", "steps-average-over-orders"
FALSE = [
    ("thm31-one-step", THM31, "residuals", "one_step", FEATURES, lambda v: 1e-9),
    ("thm31-one-step", THM31, "residuals", "one_step", FEATURES, lambda v: np.nan),
    ("thm31-exact-kernel", THM31, "residuals", "one_step", EXACT, lambda v: 1e-11),
    ("thm31-exact-kernel", THM31, "residuals", "single_steps", EXACT, lambda v: 1e-11),
    (ALONE, FIG3, "exact", "single", LATE.format(15), lambda v: 1e-15),
    (ALONE, FIG3, "features", "own", LATE.format(15), lambda v: np.nan),
    (ALONE, FIG3, "exact", "single", LATE.format(14), lambda v: 0.0),  # too early
    (MEAN, FIG3, "exact", "difference", "step == 7", lambda v: v + 2),
    (MEAN, FIG3, "exact", "difference", "step == 7", lambda v: np.nan),
    (MEAN, FIG3, "exact", "closed_form", "step == 7", lambda v: 0 * v),  # below the parabola
]


@pytest.mark.parametrize("name, experiment, table, measure, select, change", FALSE)
def test_claims_on_false_tables(name, experiment, table, measure, select, change, tables):
    false = tables[experiment][table].copy()
    rows = false.eval(select)
    assert rows.any()
    false.loc[rows, measure] = change(false.loc[rows, measure])
    false = {**tables, experiment: {**tables[experiment], table: false}}
    assert outcome(f"ren2024/{name}", false).verdict == "not reproduced"


def test_features_measured_against_exact_attention_do_not_reach_zero(tables):
    end = tables[FIG3]["features"].query("step == 15")
    assert len(end) == 8 and (end["exact"] > 1e-4).all()


def test_the_error_is_that_of_the_attention_layer_itself(tables):
    """Step 0 by hand: with nothing shown, what is missing is the demonstrations' part of the
    layer's output."""
    s, g = find(FIG3).quick, gen(0)
    tokens, labels = sample_prompts(40, s.N, s.d, generator=g, dtype=torch.float64)
    layer = SelfAttention(s.d + 1, s.d_o, generator=g, output=False).double()
    with torch.no_grad():
        q, k, v = layer.project(tokens)
        attention = sdpa(q[..., -1:, :], k, v, scale=1.0)[:, 0, 0]
        own = (q[..., -1:, :] @ k.mT).softmax(-1)[:, 0, 0, -1:] * v[:, 0, -1]
    wanted = (attention - own).square().sum(-1)  # (40,)
    table = tables[FIG3]["exact"].query("weights == 'random' and seed == 0").set_index("step")
    assert table.loc[0, "single"] == pytest.approx(wanted.mean().item(), rel=1e-10)
    error = wanted.std().item() / 40**0.5
    assert table.loc[0, "single_error"] == pytest.approx(error, rel=1e-10)
    end = (attention[:, -1] - labels).square().mean().item()
    assert table.loc[15, "label"] == pytest.approx(end, rel=1e-10)


@pytest.mark.parametrize("N", [1, 2, 5])
def test_mean_over_orders_by_listing_all_of_them(N):
    parts = torch.randn(N, 3, generator=gen(N), dtype=torch.float64) + 1
    orders = itertools.permutations(range(N))
    wanted = torch.tensor(
        [[parts[list(o[t:])].sum(0).square().sum() for t in range(N + 1)] for o in orders]
    ).mean(0)
    torch.testing.assert_close(expected_over_orders(parts), wanted, rtol=1e-12, atol=1e-14)
    batch = torch.stack([parts, 2 * parts])
    torch.testing.assert_close(
        expected_over_orders(batch), torch.stack([wanted, 4 * wanted], dim=1)
    )
