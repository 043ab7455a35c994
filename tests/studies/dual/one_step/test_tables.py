"""Experiments of the chapter *One attention layer is one gradient step*, and its claims on true
and false tables."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from dual_draws import gen
from torch.nn.functional import scaled_dot_product_attention as sdpa

from iclbook.claim import all_claims
from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.one_step import expected_over_orders
from iclbook.runner import compute
from studies.catalogue import find
from studies.dual.one_step.tables import CLOSED, SINGLE

THM31, FIG3 = "ren2024/thm31", "ren2024/fig3-left"


@pytest.fixture(scope="module")
def tables():
    """Small tables of both experiments, computed by the experiments themselves."""
    changes = {
        THM31: dict(trials=15),
        FIG3: dict(steps=3, prompts=40, d_r=(5, 20), seeds=(0, 1)),
    }
    return {
        name: compute(find(name), find(name).settings("quick", **change))[0]
        for name, change in changes.items()
    }


def check(name, tables):
    return all_claims()[f"ren2024/{name}"].check(tables)


def changed(tables, experiment, select, change):
    """The tables with the values of the selected rows changed."""
    table = tables[experiment].copy()
    rows = table.eval(select)
    assert rows.any()
    table.loc[rows, "value"] = change(table.loc[rows, "value"])
    return {**tables, experiment: table}


CLAIMS = [
    "thm31-one-step",
    "thm31-one-demonstration-a-step",
    "thm31-exact-kernel",
    "steps-average-over-orders",
]


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_hold_on_small_tables(name, tables):
    outcome = check(name, tables)
    assert outcome.verdict == "reproduced", outcome


FEATURES = "kernel == 'random features' and quantity == 'one step' and trial == 3"
EXACT = "kernel == 'exact' and quantity == '{}' and trial == 3"
LAST = f"reading == '{SINGLE}' and quantity == 'mean' and step == {{}} and seed == 1 and weights == 'trained'"
FALSE = [
    ("thm31-one-step", THM31, FEATURES, lambda v: 1e-9),
    ("thm31-one-step", THM31, FEATURES, lambda v: np.nan),
    ("thm31-exact-kernel", THM31, EXACT.format("one step"), lambda v: 1e-11),
    ("thm31-exact-kernel", THM31, EXACT.format("single steps"), lambda v: 1e-11),
    ("thm31-one-demonstration-a-step", FIG3, LAST.format(15) + " and kernel == 'exact'", lambda v: 1e-15),
    ("thm31-one-demonstration-a-step", FIG3, LAST.format(15) + " and target == 'its own attention'", lambda v: np.nan),
    ("thm31-one-demonstration-a-step", FIG3, LAST.format(14) + " and kernel == 'exact'", lambda v: 0.0),  # too early
    ("steps-average-over-orders", FIG3, f"reading == '{SINGLE} less {CLOSED}' and quantity == 'mean' and step == 7", lambda v: v + 2),
    ("steps-average-over-orders", FIG3, f"reading == '{CLOSED}' and quantity == 'mean' and step == 7", lambda v: 0 * v),  # below
    ("steps-average-over-orders", FIG3, f"reading == '{SINGLE} less {CLOSED}' and step == 7", lambda v: np.nan),
]  # fmt: skip


@pytest.mark.parametrize("name, experiment, select, change", FALSE)
def test_claims_on_false_tables(name, experiment, select, change, tables):
    claim = replace(all_claims()[f"ren2024/{name}"], verdict="reproduced")
    assert claim.check(changed(tables, experiment, select, change)).verdict == "not reproduced"


def test_features_measured_against_exact_attention_do_not_reach_zero(tables):
    table = tables[FIG3]
    end = table.query(
        "step == 15 and quantity == 'mean' and target == 'exact attention' and kernel != 'exact'"
    )
    assert len(end) == 8 and (end["value"] > 1e-4).all()


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
    table = tables[FIG3].query(
        "weights == 'random' and seed == 0 and kernel == 'exact' and reading == @SINGLE"
    )
    found = table.query("step == 0 and target == 'exact attention'").set_index("quantity")[
        "value"
    ]
    assert found["mean"] == pytest.approx(wanted.mean().item(), rel=1e-10)
    assert found["standard error"] == pytest.approx(wanted.std().item() / 40**0.5, rel=1e-10)
    end = table.query("step == 15 and target == 'label'").set_index("quantity")["value"]
    assert end["mean"] == pytest.approx(
        (attention[:, -1] - labels).square().mean().item(), rel=1e-10
    )


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
