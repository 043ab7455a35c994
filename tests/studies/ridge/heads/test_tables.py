"""Checks of *What heads buy* say no to stored results that were made false."""

import pytest
from claims import stored, verdict_after

from studies.ridge.heads.tables import ends, predicting_zero

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
        (
            "one-head-impossible",
            ONE,
            dict(bounds=at("K == 200 and seed == 1 and start == 5", "bound", 20.0)),
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


@pytest.mark.parametrize("lost", ["draw == 99", "draw == 0 and H == 31"])
def test_a_draw_that_is_missing_everywhere_is_refused(lost):
    def without(table):
        return table.drop(table.query(lost).index)

    assert verdict_after("yang2024/prop1-full-rank", PROP1, spans=without) == "refused"


def test_ends_are_the_last_looks_beside_their_bounds():
    result = stored("yang2024/one-head-impossible")[ONE]
    run = ["K", "w_start", "seed", "start"]
    ended = ends(result).set_index(run)
    assert len(ended) == len(result["bounds"])
    assert ended.drop(columns="explicit_Q").notna().all(axis=None)
    last = result["curves"].groupby(run)["step"].max()
    assert (ended["step"] == last.loc[ended.index]).all()
    assert (ended["bound_of_signs"] >= ended["bound"] * (1 - 1e-9)).all()
    nothing = predicting_zero(result)
    assert nothing.index.names == ["K", "seed"] and len(nothing) == 6
    first = result["curves"].query("step == 0 and w_start == 'zero' and K == 100 and seed == 2")
    assert (first["excess_loss"] == nothing[100, 2]).all()
