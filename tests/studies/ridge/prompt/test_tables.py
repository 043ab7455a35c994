"""The experiment against enumeration; the claim's check says no where the claim is false."""

import pytest
import torch
from claims import CLAIMS, stored, verdict, verdict_after

from iclbook.catalogue import find
from iclbook.ridge.population_loss import PopulationLoss, minimal_loss, optimal_weights
from iclbook.ridge.prompt import sample_dictionary
from iclbook.runner import live
from studies.ridge.prompt.compute import one_dictionary
from studies.ridge.prompt.tables import share_of_the_gain

ID, CLAIM = "yang2024/one-dictionary", "yang2024/knows-one-dictionary-only"


def test_the_share_is_that_of_the_gain():
    prompts = stored(CLAIM)[ID]["prompts"].query("seed == 0 and replaced == 6")
    mean = prompts.groupby("predictor")["loss"].mean()
    share = (mean["zero"] - mean["transformer"]) / (mean["zero"] - mean["best"])
    assert share_of_the_gain(prompts).loc[0] == pytest.approx(share)
    assert CLAIMS[CLAIM].verdict == verdict(CLAIM, stored(CLAIM)) == "reproduced"


def copes(seeds):
    """The model as good as the best table when all tokens are replaced, for some seeds."""

    def change(prompts):
        away = prompts[(prompts["replaced"] == 6) & prompts["seed"].isin(seeds)]
        best = away[away["predictor"] == "best"].set_index(["seed", "draw"])["loss"]
        own = away[away["predictor"] == "transformer"]
        prompts.loc[own.index, "loss"] = best.loc[
            list(zip(own["seed"], own["draw"]))
        ].to_numpy()
        return prompts

    return change


@pytest.mark.parametrize("seeds", [(0, 1, 2, 3, 4), (3,)])
def test_a_model_that_copes_with_another_prompt_is_enough_to_fail_it(seeds):
    assert verdict_after(CLAIM, ID, prompts=copes(seeds)) == "not reproduced"


def untrained(training):
    training.loc[training["step"] == 10_000, "excess_loss"] = 1e-3
    return training


def minds_the_order(prompts):
    hit = (prompts["prompt"] == "permuted") & (prompts["predictor"] == "transformer")
    prompts.loc[hit, "loss"] *= 1.05
    return prompts


def test_it_fails_for_an_untrained_model_or_one_that_minds_the_order():
    assert verdict_after(CLAIM, ID, training=untrained) == "not reproduced"
    assert verdict_after(CLAIM, ID, prompts=minds_the_order) == "not reproduced"


def test_it_fails_where_something_beats_the_best_table():
    def beats(prompts):
        here = prompts.query("seed == 2 and replaced == 6 and draw == 0")
        best = here.loc[here["predictor"] == "best", "loss"].item()
        prompts.loc[here.index[here["predictor"] == "free table"], "loss"] = best - 1e-6
        return prompts

    assert verdict_after(CLAIM, ID, prompts=beats) == "not reproduced"


def test_the_quick_profile_returns_the_documented_tables():
    result, s = live(find(ID), "quick"), find(ID).quick
    losses = result["prompts"]
    trained = {"transformer", "frozen attention, w solved", "free table"}
    assert set(losses["predictor"]) == trained | {"best", "zero"}
    assert len(losses) == 5 * (1 + s.prompts * (1 + s.N))
    by = ["prompt", "replaced", "draw"]
    best = losses[losses["predictor"] == "best"].set_index(by)["loss"]
    for name, frame in losses.groupby("predictor"):
        assert (frame.set_index(by)["loss"] - best).min() > -1e-12, name
    own = losses[losses["prompt"] == "own"].set_index("predictor")["loss"]
    assert own["free table"] == pytest.approx(own["best"], rel=1e-9)
    assert own["frozen attention, w solved"] == pytest.approx(own["best"], rel=1e-9)
    assert result["solved"]["excess_loss"].item() < 1e-20
    for name in ("transformer", "frozen attention, w solved"):
        of_name = losses[(losses["predictor"] == name) & (losses["prompt"] == "permuted")]
        assert of_name["loss"].to_numpy() == pytest.approx(own[name], rel=1e-9)


def test_with_two_shown_tokens_every_prompt_of_the_free_table_can_be_enumerated():
    s = find(ID).quick.changed(N=2, K=4, H=2, steps=1_500, prompts=12)
    prompts = one_dictionary(s, {"seed": 0})["prompts"]
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
    possible_orders = {
        ("permuted", 0): [[0, 1], [1, 0]],
        ("replaced", 1): [[2, 1], [3, 1], [0, 2], [0, 3]],
        ("replaced", 2): [[2, 3], [3, 2]],
    }
    free = prompts[prompts["predictor"] == "free table"]
    for (prompt, replaced), orders in possible_orders.items():
        possible = sorted(loss(order, A) for order in orders)
        seen = free[(free["prompt"] == prompt) & (free["replaced"] == replaced)]["loss"]
        assert len(seen) == 12 and seen.nunique() > 1
        for value in seen:
            assert min(abs(value - p) for p in possible) < 1e-8
