"""Each check says no where its claim is false, and where what it is read off is not sound."""

import pytest
from claims import CLAIMS, stored, verdict, verdict_after, verdict_in

from studies.ridge.other_prompts.tables import (
    added_by_softmax,
    gain_over,
    losses_at_end,
    never_shown,
    sets_at_end,
    share_of_the_gain,
)

ONE, MANY = "yang2024/other-prompts", "yang2024/many-prompts"
OF_ONE, OF_MANY = (
    [name for name, claim in CLAIMS.items() if claim.experiments == (experiment,)]
    for experiment in (ONE, MANY)
)
LAST = {ONE: 20_000, MANY: 10_000}


def test_all_claims_of_the_chapter_read_one_of_the_two():
    chapter = {n for n, claim in CLAIMS.items() if claim.chapter == "ridge/other_prompts"}
    assert chapter == {*OF_ONE, *OF_MANY} and (len(OF_ONE), len(OF_MANY)) == (4, 3)


@pytest.mark.parametrize("name", OF_ONE + OF_MANY)
def test_the_recorded_verdict_is_returned(name):
    assert verdict(name, stored(name)) == CLAIMS[name].verdict


def test_measures_are_what_they_are_called():
    result = stored(OF_ONE[0])[ONE]
    prompts = result["prompts"].query(
        "tokens == 'unit' and step == 20_000 and prompt == 'dropped' and changed == 10"
        " and seed == 2"
    )
    loss = prompts.set_index("predictor")["loss"]
    losses = losses_at_end(result, "unit").loc[("dropped", 10)]
    share = (loss["zero"] - loss["model"]) / (loss["zero"] - loss["best"])
    assert share_of_the_gain(losses).loc[2] == pytest.approx(share)
    added = (loss["model"] - loss["best"]) / (loss["fixed table"] - loss["best"])
    assert added_by_softmax(losses).loc[2] == pytest.approx(added)

    result = stored(OF_MANY[0])[MANY]
    for tokens in ("gaussian", "unit"):
        zero = result["expected"].query("predictor == 'zero' and tokens == @tokens")
        for row in zero.itertuples():
            held = sets_at_end(result, tokens).loc[(row.N, row.K, row.shown, row.seed), "zero"]
            assert held == row.loss
    losses = never_shown(result, "gaussian")
    assert set(losses.index.droplevel("seed")) == {(6, 18, 6), (10, 40, 10)}
    here = losses.loc[(10, 40, 10, 3)]
    ratio = (here["zero"] - here["trained"]) / (here["zero"] - here["additive"])
    assert gain_over(losses, "additive").loc[(10, 40, 10, 3)] == pytest.approx(ratio)


def changed(name, rows, factor, column="loss", of="predictor"):
    """A change that multiplies losses of one predictor, where `rows` says so, at the end."""

    def change(table):
        hit = table.eval(rows) & (table[of] == name) & (table["step"] == table["step"].max())
        assert hit.any()
        table.loc[hit, column] *= factor
        return table

    return change


@pytest.mark.parametrize(
    "name, rows, factor",
    [
        ("dropped-token-costs", "prompt == 'dropped' and changed == 1", 0.3),
        ("softmax-adds-to-a-dropped-token", "prompt == 'dropped' and changed == 1", 0.6),
        ("new-tokens-cost-more-than-zero", "prompt == 'replaced' and changed == 30", 0.35),
        ("a-third-dropped", "prompt == 'dropped' and changed == 10", 0.3),
    ],
)
def test_one_seed_that_copes_with_its_new_prompt_is_enough_to_fail(name, rows, factor):
    copes = changed("model", rows + " and seed == 3", factor)
    assert verdict_after(f"yang2024/{name}", ONE, prompts=copes) == "not reproduced"


@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize(
    "rows, predictor, factor",
    [
        ("prompt in ['own', 'permuted', 'all twice']", "model", 2.0),  # not trained
        ("prompt == 'permuted'", "model", 1.001),  # minds the order
        ("prompt == 'replaced' and changed == 5", "best", 100.0),  # the best is not the best
        ("changed >= 0", "zero", 10.0),  # not this dictionary
    ],
)
def test_no_claim_is_read_off_losses_that_are_not_sound(name, rows, predictor, factor):
    false = changed(predictor, rows, factor)
    assert verdict_after(name, ONE, prompts=false) == "not reproduced"


@pytest.mark.parametrize(
    "name, predictor, factor",
    [
        ("many-prompts-generalise", "trained", 1.7),
        ("many-prompts-mostly-add", "trained", 0.6),
    ],
)
def test_a_seed_on_the_wrong_side_fails_it(name, predictor, factor):
    false = changed(predictor, "shown == N and N == 10 and seed == 4", factor)
    assert verdict_after(f"yang2024/{name}", MANY, sets=false) == "not reproduced"


def test_attention_that_does_more_than_add_would_be_reproduced():
    name, better = (
        "yang2024/many-prompts-do-more-than-add",
        changed("trained", "shown == N", 0.75),
    )
    results = stored(name)
    for tokens in ("unit", "gaussian"):
        assert verdict_in(name, results, tokens, "population") == "not reproduced"
    assert verdict_after(name, MANY, sets=better) == "reproduced"


@pytest.mark.parametrize("name", OF_MANY)
def test_additive_weights_must_agree_with_their_closed_form(name):
    def other_formula(expected):
        expected.loc[expected["predictor"] == "additive", "loss"] *= 1.2
        return expected

    assert verdict_after(name, MANY, expected=other_formula) == "not reproduced"
