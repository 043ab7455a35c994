"""Claims of the chapter *Modified attention* on true and false tables, and the families' tables
under each other."""

import math

import pytest
from claims import outcome, stored, verdict_after

from iclbook.catalogue import find
from iclbook.dual import modified
from iclbook.errors import InputError
from iclbook.runner import compute
from studies.dual.modified.tables import beside_plain, label, layers

FORMS, WEIGHTS = "ren2024/modified-forms", "ren2024/modified-weights"
SPREAD = "ren2024/negatives-spread-outputs"
MODIFICATIONS = ("regularised", "augmented", "negative")


def small_forms() -> dict:
    settings = find(FORMS).settings("quick", seeds=(7,), prompts=5)
    return compute(find(FORMS), settings).tables


@pytest.fixture(scope="module")
def tables():
    return small_forms()


def form(modification: str, tables: dict) -> str:
    return outcome(f"ren2024/{modification}-form", {FORMS: tables}).verdict


def changed(tables: dict, name: str, select: str, measure: str, value) -> dict:
    """A copy of the tables with `value` for a measure in the rows that `select` picks."""
    table = tables[name].copy()
    rows = table.eval(select)
    assert rows.any()
    table.loc[rows, measure] = value
    return {**tables, name: table}


@pytest.mark.parametrize("modification", MODIFICATIONS)
def test_todays_code_keeps_the_forms(modification, tables):
    assert form(modification, tables) == "reproduced"


OWN = {"regularised": ("regularised", "decay_once"), "augmented": ("augmented", "as_written")}


@pytest.mark.parametrize("value", [1e-9, math.nan])
@pytest.mark.parametrize("modification", MODIFICATIONS)
def test_a_form_that_is_not_its_steps_is_not_reproduced(modification, value, tables):
    mine = f"modification == '{modification}'"
    false = [
        ("steps", f"{mine} and norm == 20", "twin"),
        ("steps", f"{mine} and norm == 1", "sum_of_weights"),
        ("autograd", mine, "distance"),
    ]
    if modification in OWN:
        name, measure = OWN[modification]
        false.append((name, "norm == 20", measure))
    for name, select, measure in false:
        wrong = changed(tables, name, select, measure, value)
        assert form(modification, wrong) == "not reproduced", (name, measure)


@pytest.mark.parametrize("modification", MODIFICATIONS)
def test_a_wrong_form_that_agrees_shows_that_nothing_was_compared(modification, tables):
    name = f"{modification}_rivals"
    for measure in tables[name].columns.difference(["seed", "norm"]):
        for value in (1e-12, math.nan):
            wrong = changed(tables, name, "norm == 1", measure, value)
            assert form(modification, wrong) == "not reproduced", measure


@pytest.mark.parametrize("name", ["steps", "autograd", "negative_rivals"])
def test_a_comparison_that_was_not_made_is_not_reproduced(name, tables):
    for gone in (tables[name].iloc[:0], tables[name].query("norm == 20")):
        assert form("negative", {**tables, name: gone}) == "not reproduced"


def test_another_modifications_error_does_not_count(tables):
    wrong = changed(tables, "autograd", "modification == 'negative'", "distance", 1.0)
    assert form("regularised", wrong) == "reproduced"


def without_p_demo(weights, demos, negatives, beta):
    return weights - beta * modified.negative_shares(negatives, weights.dtype)


@pytest.mark.parametrize(
    ("function", "broken", "fails"),
    [
        ("regularise", lambda weights, own, alpha: weights * (1 - alpha), "regularised"),
        ("regularise", lambda w, own, alpha: w * (1 + alpha * own.double()), "regularised"),
        ("subtract_negatives", lambda weights, demos, negatives, beta: weights, "negative"),
        ("subtract_negatives", without_p_demo, "negative"),
    ],
)
def test_the_forms_fail_on_broken_code(monkeypatch, function, broken, fails):
    monkeypatch.setattr(modified, function, broken)
    tables = small_forms()
    assert [name for name in MODIFICATIONS if form(name, tables) != "reproduced"] == [fails]


@pytest.mark.parametrize(
    ("measure", "value", "verdict"),
    [
        ("gain", 9.0, "partly"),
        ("gain", -0.1, "partly"),
        ("gain", math.nan, "refused"),
        ("mean_share_of_outputs", 0.9, "not reproduced"),
        ("mean_share_of_outputs", math.nan, "refused"),
    ],
)
def test_one_seed_decides_whether_negatives_spread_outputs(measure, value, verdict):
    def change(table):
        rows = table.eval("seed == 4 and r == 15 and beta == 1")
        assert rows.any()
        table.loc[rows, measure] = value
        return table

    assert verdict_after(SPREAD, WEIGHTS, negative=change) == verdict


def test_outputs_that_all_spread_would_be_reproduced():
    def change(table):
        return table.assign(gain=1.0, gain_error=0.1)

    assert verdict_after(SPREAD, WEIGHTS, negative=change) == "reproduced"


@pytest.mark.parametrize(
    ("family", "strengths", "text"),
    [
        ("plain", {}, "plain"),
        ("linear_attention", {}, "linear attention"),
        ("regularised", {"alpha": -0.5}, "α = -0.5"),
        ("negative", {"r": 3, "beta": 0.5}, "r = 3, β = 0.5"),
        ("learned", {"r": 15}, "r = 15, β learned"),
        ("augmented", {"view": "g1 and g2", "c": 1.0}, "c = 1, g1 and g2"),
    ],
)
def test_labels_of_settings(family, strengths, text):
    assert label(family, strengths) == text


def test_the_families_stand_under_each_other_in_the_order_of_the_grid():
    result = stored(SPREAD)[WEIGHTS]
    every = layers(result)
    grid = result.settings.grid()
    order = [label(family, row) for family, rows in grid.items() for row in rows]
    assert list(dict.fromkeys(every["setting"])) == order
    assert len(every) == len(order) * len(result.settings.seeds)
    assert every.query("family == 'regularised'")[["r", "beta", "c"]].isna().all(axis=None)
    result.tables["negative"] = result["negative"].query("r != 15")
    with pytest.raises(InputError, match="negative does not hold the settings' negative grid"):
        layers(result)


def test_each_seed_stands_beside_its_own_plain_attention():
    result = stored(SPREAD)[WEIGHTS]
    every = beside_plain(result)
    plain = result["plain"].set_index("seed")["rank_of_outputs"]
    assert len(every) == len(layers(result)) - len(plain)
    assert (every["rank_of_outputs_plain"] == every["seed"].map(plain)).all()
