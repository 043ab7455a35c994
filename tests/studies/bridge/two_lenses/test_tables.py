"""Each check says no where its claim is false, and where what it is read off is not sound."""

import pytest
from claims import CLAIMS, stored, verdict, verdict_after

from studies.bridge.two_lenses.tables import (
    chance,
    median_head,
    over_independent,
    ridge_over_flow,
)

ONE, RELATED = "bridge/two-lenses", "bridge/related-tokens"
OF_ONE = [name for name, claim in CLAIMS.items() if claim.experiments == (ONE,)]
NAMES = [name for name, claim in CLAIMS.items() if claim.chapter == "bridge/two_lenses"]


def test_the_chapter_has_its_claims():
    assert len(NAMES) == 5 and len(OF_ONE) == 4


@pytest.mark.parametrize("name", NAMES)
def test_the_recorded_verdict_is_returned(name):
    assert verdict(name, stored(name)) == CLAIMS[name].verdict


def test_measures_are_what_they_are_called():
    result = stored(OF_ONE[0])[ONE]
    rules = result["rules"].query("seed == 2 and step == 5_000").set_index("rule")["distance"]
    ratio = rules["ridge, m tau"] / rules["gradient flow"]
    assert ridge_over_flow(result)[2] == pytest.approx(ratio)
    heads = result["heads"].query("seed == 3 and step == 5_000")["contribution"]
    assert median_head(result)[3] == pytest.approx(heads.median())
    assert chance(result.settings, 20) == pytest.approx(20 / (30 * 170))
    related = stored("bridge/related-tokens-change-no-head")[RELATED]
    some = related["heads"].query("seed == 1 and step == 8_000 and beta == 0.1")
    shares = some.groupby("relation")["contribution"].median()
    found = over_independent(related).loc[(0.1, 1), "linear"]
    assert found == pytest.approx(shares["linear"] / shares["independent"])


def untrained(table):
    return table.assign(excess_loss=1.0)


def one_head_is_the_gram_matrix(table):
    return table.assign(contribution=0.9)


def far_from_ridge(table):
    far = table["rule"] == "ridge, m tau"
    return table.assign(distance=table["distance"].where(~far, 1e-2))


def few_are_enough(table):
    return table.assign(free=table["free"].where(table["taken"] < 8, 1e-3))


def linear_more(table):
    more = table["relation"] == "linear"
    times = 1 + 1.5 * more
    return table.assign(contribution=table["contribution"] * times)


@pytest.mark.parametrize(
    ("name", "table", "change"),
    [(name, "whole", untrained) for name in OF_ONE]
    + [
        ("bridge/ridge-is-many-steps", "rules", far_from_ridge),
        ("bridge/eight-gradients-fall-short", "steps", few_are_enough),
        ("bridge/no-head-is-a-polynomial", "heads", one_head_is_the_gram_matrix),
    ],
)
def test_a_false_result_is_refused(name, table, change):
    (experiment,) = CLAIMS[name].experiments
    assert verdict_after(name, experiment, **{table: change}) == "not reproduced"


def linear_less(table):
    less = table["relation"] == "linear"
    return table.assign(contribution=table["contribution"] * (1 - 0.1 * less))


def one_seed_more(table):
    more = (table["relation"] == "cosine") & (table["seed"] == 1_007)
    return linear_less(table).assign(contribution=table["contribution"] * (1 + 1.5 * more))


def test_related_tokens_are_granted_where_the_claim_is_true_and_one_seed_is_enough_to_fail():
    name = "bridge/related-tokens-change-no-head"
    assert verdict_after(name, RELATED, heads=linear_less) == "reproduced"
    assert verdict_after(name, RELATED, heads=one_seed_more) == "not reproduced"
    found = verdict_after(name, RELATED, heads=linear_less, whole=untrained)
    assert found == "not reproduced"
