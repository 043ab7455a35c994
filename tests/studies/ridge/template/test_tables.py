"""Checks of *Which template does it choose?* say no to stored results that were made false."""

import pytest
from claims import CLAIMS, stored, verdict, verdict_after

from iclbook.catalogue import find
from studies.ridge.template.compute import fig3, fig3_penalties, fig3_trained
from studies.ridge.template.tables import gaps

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


def test_the_experiments_measure_what_their_columns_say():
    small = find(FIG3).settings("quick", N_first=18, N_last=22)
    tables = fig3(small, {"tau": 0.01, "seed": 4})
    copied = tables["gaps"].query("reading == 'copied'").set_index("N")["gap"]
    assert copied[20] < 1e-20 < copied.drop(20).min()
    behaviour = tables["behaviours"].set_index(["N", "predictor"])
    for N in (18, 22):
        model, best = behaviour.loc[(N, "transformer")], behaviour.loc[(N, "best")]
        assert model["error"] < best["error"]
        assert (model["norm"] < best["norm"]) == (N < 20)
    assert (tables["prompts"]["smallest_singular_value"] > 0).all()

    settings = find(TRAINED).quick
    trained = fig3_trained(settings, {"N": 6, "seed": 0})
    first, last = (trained["curves"].iloc[row] for row in (0, -1))
    limits = trained["limits"].iloc[0]
    assert last["step"] == settings.steps and last["excess_loss"] < 0.01 * first["excess_loss"]
    assert abs(last["gap"] - limits["gap"]) < 0.1 * first["gap"]
    assert limits["error"] < limits["best_error"]

    chosen = fig3_penalties(find("yang2024/fig3-penalties").quick, {"N": 10, "seed": 0})
    errors = chosen["errors"].set_index("rule")
    assert errors["error"].idxmin() == "oracle"
    assert errors.loc["transformer", "low"] == pytest.approx(20 * 0.01)
    assert errors.loc["best", "high"] == pytest.approx(10 * 0.01)
    assert 0.5 < chosen["tasks"]["transformer_errs_less"].item() <= 1


def test_gaps_have_a_row_for_each_prompt_and_a_column_for_each_seed():
    assert gaps(stored("yang2024/fig3-gap-vanishes-at-m")[FIG3]).shape == (101, 5)
