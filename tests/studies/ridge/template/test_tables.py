"""Checks of *Which template does it choose?* say no to stored results that were made false."""

import pytest
from claims import CLAIMS, stored, verdict, verdict_after

from studies.ridge.template.tables import behaviour, falls_towards_m, gaps, trained_ends

FIG3, LEMMA4, TRAINED = "yang2024/fig3", "yang2024/lemma4", "yang2024/fig3-trained"


def at(where, measure, value):
    def change(table):
        rows = table.query(where).index
        assert len(rows), where
        table.loc[rows, measure] = value
        return table

    return change


COPIED, VANISHES = "reading == 'copied' and ", "fig3-gap-vanishes-at-m"
WORSE = "N == 60 and predictor == 'transformer' and seed == 1"
FALSE = [
    ("lemma4-equivalence", LEMMA4, dict(templates=at("instance == 7", "difference", 1e-8))),
    (
        "fig3-gap-vanishes-at-m",
        FIG3,
        dict(gaps=at(f"{COPIED}N == 100 and seed == 1", "gap", 1e-9)),
    ),
    (
        "fig3-gap-vanishes-at-m",
        FIG3,
        dict(gaps=at(f"{COPIED}N == 120 and seed == 1", "gap", 0.0)),
    ),
    ("fig3-gap-shrinks-towards-m", FIG3, dict(gaps=at(f"{COPIED}N == 97", "gap", 1.0))),
    (
        "fig3-under-and-overfit",
        FIG3,
        dict(behaviours=at("N == 60 and predictor == 'best' and seed == 1", "norm", 0.01)),
    ),
    (
        "fig3-under-and-overfit",
        FIG3,
        dict(behaviours=at("N == 140 and predictor == 'best' and seed == 0", "residual", 0.0)),
    ),
    ("fig3-under-and-overfit", LEMMA4, dict(ratios=at("seed == 2", "residual", 0.99))),
    (
        "fig3-transformer-errs-less",
        FIG3,
        dict(behaviours=at(WORSE, "error", 99.0)),
    ),
    (
        "fig3-trained-models",
        TRAINED,
        dict(curves=at("N == 150 and step == 3000", "gap", 7e-3)),
    ),
]


@pytest.mark.parametrize(("claim", "experiment", "changes"), FALSE)
def test_claims_say_no_to_false_data(claim, experiment, changes):
    claim = f"yang2024/{claim}"
    assert verdict(claim, stored(claim)) == CLAIMS[claim].verdict
    assert verdict_after(claim, experiment, **changes) == "not reproduced"


def test_a_gap_that_always_shrinks_towards_m_is_called_reproduced():
    def shrinking(table):
        return table.assign(gap=(table["N"] - 100).abs() * 1e-4)

    claim = "yang2024/fig3-gap-shrinks-towards-m"
    assert verdict_after(claim, FIG3, gaps=shrinking) == "reproduced"


def test_gaps_have_a_row_for_each_prompt_and_a_column_for_each_seed():
    assert gaps(stored("yang2024/fig3-gap-vanishes-at-m")[FIG3]).shape == (101, 5)


def test_falls_are_read_on_the_way_to_m():
    result = stored("yang2024/fig3-gap-vanishes-at-m")[FIG3]
    falls, gap = falls_towards_m(result), gaps(result).median(axis=1)
    assert len(falls) == 100 and 100 not in falls.index
    assert falls[99] and falls[101] and falls[60] == (gap[61] < gap[60])
    assert falls[140] == (gap[139] < gap[140])


def test_predictors_stand_row_by_row_beside_each_other():
    result = stored("yang2024/fig3-transformer-errs-less")[FIG3]
    ratio = behaviour(result, "transformer") / behaviour(result, "best")
    assert len(ratio) == 505 and not ratio.isna().any(axis=None)
    rows = result["behaviours"].query("N == 60 and seed == 3").set_index("predictor")["norm"]
    assert ratio.loc[(0.01, 60, 3), "norm"] == rows["transformer"] / rows["best"]


def test_trained_ends_hold_the_last_step_and_the_limits():
    result = stored("yang2024/fig3-trained-models")[TRAINED]
    ended = trained_ends(result)
    assert len(ended) == 9 and (ended["step"] == result.settings.steps).all()
    assert ended["gap"].sub(ended["limit_gap"]).abs().max() < 1e-6
    assert (ended["error"] >= ended["limit_error"] * (1 - 1e-9)).all()
