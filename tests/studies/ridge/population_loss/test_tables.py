"""Lemma 5's checks say no to false data; its experiment agrees with a direct simulation."""

import pandas as pd
import pytest
from claims import outcome

from iclbook.catalogue import find
from studies.ridge.population_loss.compute import lemma5


def losses(closed=2.0, dropped=1.75, mean=2.001, error=0.001):
    row = {"seed": 0, "weights": "best", "closed_form": closed, "without_m_tau": dropped}
    row |= {"simulated": mean, "standard_error": error}
    return {"yang2024/lemma5": {"losses": pd.DataFrame([row])}}


@pytest.mark.parametrize(
    ("claim", "false"),
    [
        ("yang2024/lemma5-closed-form", dict(mean=2.1)),
        ("yang2024/lemma5-constant", dict(closed=1.75, dropped=2.0)),
        ("yang2024/lemma5-constant", dict(closed=2.0, dropped=2.0005)),
    ],
)
def test_claims_say_no_to_false_data(claim, false):
    assert outcome(claim, losses()).verdict == "reproduced"
    assert outcome(claim, losses(**false)).verdict == "not reproduced"


def test_the_experiment_measures_what_its_columns_say():
    settings = find("yang2024/lemma5").settings("quick", draws=50_000)
    found = lemma5(settings, {"seed": 5})["losses"].set_index("weights")
    assert (found["simulated"] - found["closed_form"]).abs().max() < 5 * found[
        "standard_error"
    ].max()
    assert (found["closed_form"] > found.loc["best", "closed_form"] - 1e-12).all()
    dropped = found["closed_form"] - found["without_m_tau"]
    s = settings
    assert dropped.to_numpy() == pytest.approx(s.m * s.tau * (s.K - s.N) / (2 * s.K))
