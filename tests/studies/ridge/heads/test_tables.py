"""Checks of *What heads buy* say no to stored results that were made false."""

import pytest
from claims import verdict_after

from iclbook.catalogue import find
from studies.ridge.heads.compute import one_head

ONE, TWO, PROP1 = "yang2024/one-head", "yang2024/two-heads", "yang2024/prop1"


def at(where, measure, value):
    """A change of a table: one measure set, or changed by a function, where a query holds."""

    def change(table):
        rows = table.query(where).index
        assert len(rows), where
        new = value(table.loc[rows, measure]) if callable(value) else value
        table.loc[rows, measure] = new
        return table

    return change


BOTH, DISTINCT = ["bound", "explicit_Q"], "prop1-needs-distinct-tokens"
ONE_DRAW = "beta == 1 and H == 60 and draw == 7 and seed == 2 and tokens == "


@pytest.mark.parametrize(
    ("claim", "experiment", "changes"),
    [
        (
            "one-head-impossible",
            ONE,
            dict(bounds=at("seed == 1", ["bound", "explicit_Q"], 0.05)),
        ),
        (
            "one-head-impossible",
            ONE,
            dict(curves=at("K == 200 and seed == 1 and step == 2_000", "excess_loss", 1.0)),
        ),
        (
            "one-head-impossible",
            ONE,
            dict(bounds=at("K == 100 and seed == 2 and start == 3", "explicit_Q", 0.5)),
        ),
        ("two-heads-suffice", TWO, dict(construction=at("K == 60", "excess_loss", 1e-15))),
        ("prop1-full-rank", PROP1, dict(spans=at(f"{ONE_DRAW} 'unit'", "rank", 29))),
        (
            "prop1-needs-distinct-tokens",
            PROP1,
            dict(spans=at(f"{ONE_DRAW} 'signs'", "rank", 29)),
        ),
        (
            "prop1-needs-distinct-tokens",
            PROP1,
            dict(spans=at(f"{ONE_DRAW} 'equal'", "rank", 30)),
        ),
        (
            "prop1-needs-distinct-tokens",
            PROP1,
            dict(spans=at(f"{ONE_DRAW} 'equal'", "rank", 28)),
        ),
    ],
)
def test_claims_say_no_to_false_data(claim, experiment, changes):
    assert verdict_after(f"yang2024/{claim}", experiment, **changes) == "not reproduced"


@pytest.mark.parametrize(
    "changes",
    [
        dict(spans=at("tokens == 'unit' and beta == 10", "rank", 1)),  # another beta
        dict(spans=at("tokens == 'unit' and H < 30", "rank", 1)),  # too few heads
    ],
)
def test_what_proposition_1_does_not_speak_of_changes_nothing(changes):
    assert verdict_after("yang2024/prop1-full-rank", PROP1, **changes) == "reproduced"


def test_one_head_stops_by_its_rule_and_measures_what_its_columns_say():
    settings = find(ONE).settings("quick", max_steps=400, check=50)
    point = {"K": 12, "w_start": "best fit", "seed": 0, "start": 1}
    tables = one_head(settings, point)
    curves, signs, bounds = tables["curves"], tables["signs"], tables["bounds"].iloc[0]
    assert curves["step"].tolist()[:3] == [0, 50, 100] and curves["step"].max() <= 400
    assert signs["step"].tolist() == curves["step"].tolist()[1:]
    assert bounds["explicit_Q"] == pytest.approx(bounds["bound"], rel=1e-6)
    assert (signs["bound"] >= bounds["bound"] * (1 - 1e-9)).all()
    assert (curves["excess_loss"] >= bounds["bound"] * (1 - 1e-9)).all()
    assert signs["first"].iloc[0] == 1 and signs["best"].between(0.5, 1).all()
    other = one_head(settings, point | {"start": 0})["curves"]
    assert other["excess_loss"].iloc[0] != curves["excess_loss"].iloc[0]
    early = one_head(settings.changed(last_rate=1.0), point)["curves"]
    assert early["step"].max() == 0, "a rate under the last one ends the training"
