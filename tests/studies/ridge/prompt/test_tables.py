"""The experiment against enumeration; the claim's check says no where the claim is false."""

import pandas as pd
import pytest
import torch

from iclbook.claim import all_claims
from iclbook.ridge.population_loss import PopulationLoss, minimal_loss, optimal_weights
from iclbook.ridge.prompt import sample_dictionary
from iclbook.runner import live
from studies.catalogue import find
from studies.ridge.prompt.compute import one_dictionary

ID = "yang2024/one-dictionary"


def check(table):
    return all_claims()["yang2024/knows-one-dictionary-only"].check({ID: table})


def made_up(model_away=2.6, excess=1e-10, permuted=0.2):
    """A table of two seeds; best 0.2 and zero 1.7 throughout."""
    columns = ["predictor", "step", "prompt", "replaced", "draw", "quantity", "value"]
    training = ((0, 1.0), (100, excess))
    rows = [
        ("transformer", step, "own", 0, 0, "excess loss", value) for step, value in training
    ]
    prompts = [
        ("own", 0, 0.2),
        ("permuted", 0, permuted),
        ("replaced", 1, 0.6),
        ("replaced", 4, model_away),
    ]
    for prompt, replaced, loss in prompts:
        for draw in (0, 1):
            for predictor, value in (("transformer", loss), ("best", 0.2), ("zero", 1.7)):
                if prompt != "own" or draw == 0:
                    rows.append((predictor, 100, prompt, replaced, draw, "loss", value))
    frames = []
    for seed in (0, 1):
        frame = pd.DataFrame(rows, columns=columns)
        frame.insert(0, "seed", seed)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def test_it_holds_on_a_table_where_it_is_true():
    outcome = check(made_up())
    assert outcome.verdict == "reproduced"
    assert outcome.measured == pytest.approx((1.7 - 2.6) / 1.5)


def test_it_fails_where_the_model_copes_with_another_prompt():
    outcome = check(made_up(model_away=0.4))
    assert outcome.verdict == "not reproduced"
    assert outcome.measured == pytest.approx(1.3 / 1.5)


def test_one_seed_that_copes_is_enough_to_fail_it():
    table = made_up()
    hit = (
        (table["seed"] == 1) & (table["replaced"] == 4) & (table["predictor"] == "transformer")
    )
    table.loc[hit, "value"] = 0.9
    assert check(table).verdict == "not reproduced"


@pytest.mark.parametrize(
    "flaw", [{"excess": 1e-3}, {"permuted": 0.21}, {"excess": float("nan")}]
)
def test_it_fails_for_an_untrained_model_or_one_that_minds_the_order(flaw):
    assert check(made_up(**flaw)).verdict == "not reproduced"


def test_the_quick_profile_returns_the_documented_table():
    table = live(find(ID), "quick").table
    s = find(ID).quick
    losses = table[table["quantity"] == "loss"]
    trained = {"transformer", "frozen attention, w solved", "free table"}
    assert set(losses["predictor"]) == trained | {"best", "zero"}
    assert len(losses) == 5 * (1 + s.prompts * (1 + s.N))
    best = losses[losses["predictor"] == "best"].set_index(["prompt", "replaced", "draw"])[
        "value"
    ]
    for name, frame in losses.groupby("predictor"):
        gap = frame.set_index(["prompt", "replaced", "draw"])["value"] - best
        assert gap.min() > -1e-12, name
    own = losses[losses["prompt"] == "own"].set_index("predictor")["value"]
    assert own["free table"] == pytest.approx(own["best"], rel=1e-9)
    assert own["frozen attention, w solved"] == pytest.approx(own["best"], rel=1e-9)
    for name in ("transformer", "frozen attention, w solved"):
        permuted = losses[(losses["predictor"] == name) & (losses["prompt"] == "permuted")][
            "value"
        ]
        assert permuted.to_numpy() == pytest.approx(own[name], rel=1e-9)


def test_with_two_shown_tokens_every_prompt_of_the_free_table_can_be_enumerated():
    s = find(ID).quick.changed(N=2, K=4, H=2, steps=1_500, prompts=12)
    table = one_dictionary(s, {"seed": 0})
    dictionary = sample_dictionary(
        2, 4, s.d, s.m, s.tau, generator=torch.Generator().manual_seed(0)
    )
    A = optimal_weights(dictionary)

    def loss(order, weights):
        """Direct: (1/2K) E sum_k (y_k - y^T a_k)^2 from the covariance of all four labels."""
        Z = dictionary.features
        C = Z.T @ Z + s.m * s.tau * torch.eye(4, dtype=A.dtype)
        inner, cross = C[order][:, order], C[order]
        return ((weights * (inner @ weights - 2 * cross)).sum() + C.trace()).item() / 8

    assert loss([0, 1], A) == pytest.approx(minimal_loss(dictionary).item())
    swapped = minimal_loss(dictionary) + PopulationLoss.of(dictionary)(A[[1, 0]])[0]
    assert loss([1, 0], A) == pytest.approx(swapped.item())
    prompts = {
        ("permuted", 0): [[0, 1], [1, 0]],
        ("replaced", 1): [[2, 1], [3, 1], [0, 2], [0, 3]],
        ("replaced", 2): [[2, 3], [3, 2]],
    }
    free = table[(table["predictor"] == "free table") & (table["quantity"] == "loss")]
    for (prompt, replaced), orders in prompts.items():
        possible = sorted(loss(order, A) for order in orders)
        seen = free[(free["prompt"] == prompt) & (free["replaced"] == replaced)]["value"]
        assert len(seen) == 12 and seen.nunique() > 1
        for value in seen:
            assert min(abs(value - p) for p in possible) < 1e-8
