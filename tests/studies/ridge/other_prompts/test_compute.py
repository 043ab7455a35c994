"""The prompts are what they are called; both experiments against other routes to their
numbers."""

import pytest
import torch

from iclbook.catalogue import find
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.other_prompts import all_label_covariance, draw_sets
from iclbook.ridge.population_loss import PopulationLoss, minimal_loss
from iclbook.ridge.prompt import sample_dictionary
from iclbook.runner import live
from studies.ridge.other_prompts import compute as experiments
from studies.ridge.other_prompts.tables import in_standard_errors, losses_at_end, sets_at_end


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def prompts_of(N=5, K=12, changes=(1, 3), draws=7):
    found = experiments.changed_prompts(N, K, changes, draws, generator())
    return {(prompt, changed): (slots, sets) for prompt, changed, slots, sets in found}


def test_prompts_are_what_they_are_called():
    prompts, N = prompts_of(), 5
    assert prompts["own", 0][1].tolist() == [list(range(N))]
    slots, sets = prompts["permuted", 0]
    assert (sets.sort(dim=1).values == torch.arange(N)).all() and torch.equal(slots, sets)
    twice = prompts["all twice", N][1][0]
    assert torch.bincount(twice).tolist() == [2] * N
    once_more = prompts["one twice", 1][1]
    doubled = [torch.bincount(row).argmax().item() for row in once_more]
    assert doubled == list(range(N)) and once_more.shape == (N, N + 1)
    for changed in (1, 3, N):
        slots, sets = prompts["replaced", changed]
        assert torch.equal(slots, torch.arange(N).expand(7, N))
        new = sets >= N
        assert (new.sum(dim=1) == changed).all()
        assert (sets == slots)[~new].all()
        assert all(len(set(row.tolist())) == N for row in sets)
    _, sets = prompts["dropped", 1]
    assert [set(range(N)) - set(row.tolist()) for row in sets] == [{n} for n in range(N)]
    slots, sets = prompts["dropped", 3]
    assert torch.equal(slots, sets) and sets.shape == (7, 2) and (sets < N).all()
    assert ("dropped", N) not in prompts


def test_prices_are_the_losses_of_reordered_dictionaries():
    D = sample_dictionary(5, 12, 6, 3, 0.2, generator=generator())
    model = MultiHeadAttention(D, 4, generator=generator(1))
    with torch.no_grad():
        model.w.normal_(generator=generator(2))
        slots = torch.arange(5)[None]
        sets = torch.tensor([[0, 7, 2, 3, 11]])
        rows = experiments.prices(
            model, [("replaced", 2, slots, sets)], all_label_covariance(D)
        )
        found = {row["predictor"]: row["loss"] for row in rows}
        order = torch.tensor([0, 7, 2, 3, 11, 1, 4, 5, 6, 8, 9, 10])
        shown = D.reordered(order)
        loss, least = PopulationLoss.of(shown), minimal_loss(shown)
        tables = {
            "model": model(shown.V)[:, order],
            "fixed table": model()[:, order],
            "best": loss.target,
            "zero": torch.zeros_like(loss.target),
        }
    for name, table in tables.items():
        assert found[name] == pytest.approx((least + loss(table)[0]).item()), name


@pytest.fixture(scope="module")
def quick():
    return {name: live(find(name), "quick") for name in IDS}


IDS = ("yang2024/other-prompts", "yang2024/many-prompts")


@pytest.mark.parametrize("tokens", ["unit", "gaussian"])
def test_what_softmax_cannot_see_changes_nothing(quick, tokens):
    losses = losses_at_end(quick[IDS[0]], tokens)
    own, N = losses.loc[("own", 0)], find(IDS[0]).quick.N
    for prompt in (("permuted", 0), ("all twice", N)):
        for name in ("model", "best", "zero"):
            assert losses.loc[prompt][name].item() == pytest.approx(own[name].item(), rel=1e-9)
    for name in ("model", "fixed table"):
        assert (losses[name] >= losses["best"] * (1 - 1e-9)).all()
    start = quick[IDS[0]]["prompts"].query("step == 0 and predictor == 'model'")
    zero = own["zero"].item()  # an untrained model has w = 0
    assert start.query("tokens == @tokens")["loss"].to_numpy() == pytest.approx(zero)


def test_the_opened_query_is_a_column_of_the_table(quick):
    result = quick[IDS[0]]
    s = result.settings
    last = result["opened"].query("step == @s.steps and tokens == 'unit'")
    D = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator(0))
    best = PopulationLoss.of(D).target[:, s.N]
    torch.testing.assert_close(torch.tensor(last["best"].to_numpy()), best)
    assert (last["positive"] - last["negative"]).to_numpy() == pytest.approx(
        best.numpy(), abs=0.2
    )
    heads = result["heads"].query("step == @s.steps and tokens == 'unit'")
    gross = last[["positive", "negative"]].sum().sum()
    assert heads["weight"].abs().sum() == pytest.approx(gross)
    assert heads["effective"].between(1, s.N).all()


@pytest.mark.parametrize("tokens", ["unit", "gaussian"])
def test_additive_weights_agree_with_their_closed_form(quick, tokens):
    apart = in_standard_errors(quick[IDS[1]], tokens)
    assert apart.abs().max(axis=None) < 5 and apart.shape == (8, 2)
    losses = sets_at_end(quick[IDS[1]], tokens)
    for name in ("trained", "additive", "additive, copying"):
        assert (losses[name] >= losses["best"]).all()
    assert (losses["additive, copying"] <= losses["additive"] * 1.05).all()


def test_sets_that_are_tested_are_kept_out_of_training(monkeypatch):
    seen = []

    def spy(model, sets):
        seen.append((torch.is_grad_enabled(), sets))
        return tables_of(model, sets)

    tables_of = experiments.tables_of
    monkeypatch.setattr(experiments, "tables_of", spy)
    s = find(IDS[1]).settings("quick", steps=60, sizes=((3, 8, 10, 2, 2),), lengths=(3,))
    experiments.many_prompts(s, s.points()[0])
    trained, tested = (
        {tuple(row.tolist()) for learning, sets in seen if learning is which for row in sets}
        for which in (True, False)
    )
    assert trained and tested and not trained & tested


def test_a_code_names_one_set():
    sets = draw_sets(500, 7, 40, generator=generator())
    codes = experiments.code_of(sets)
    assert len(codes.unique()) == len(sets.unique(dim=0))
    assert experiments.code_of(torch.tensor([[0, 2, 5]])).item() == 37
