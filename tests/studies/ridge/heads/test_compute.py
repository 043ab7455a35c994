"""The experiments of *What heads buy* measure what their columns say."""

import pytest

from iclbook.catalogue import find
from studies.ridge.heads.compute import one_head, prop1, two_heads

ONE, TWO, PROP1 = "yang2024/one-head", "yang2024/two-heads", "yang2024/prop1"


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
    # Nothing counts as improvement: the rate halves at each second look after the first.
    flat = settings.changed(improvement=0.999, last_rate=0.3 * settings.rate)
    assert one_head(flat, point)["curves"]["step"].max() == 250


def test_two_heads_are_exact_one_is_at_its_bound_and_ranks_are_as_counted():
    settings = find(TWO).settings("quick", K=(6, 12), count_K=(6, 24), count_heads=(1, 3))
    tables = two_heads(settings, {"seed": 3})
    built = tables["construction"].set_index("K")
    assert built.loc[6, "bound"] < 1e-20, "N = K: every token is shown, nothing is mixed"
    assert built.loc[12, "bound"] > 1e-3
    assert (built["excess_loss"] < 1e-18).all() and (built["distance"] < 1e-12).all()
    assert (built["condition_number"] >= 1).all()
    count = tables["count"].set_index(["K", "H"])
    # N = 4, d = 6: H (3 min(d, K) + K) parameters against 4 K equations.
    assert count["predicted_rank"].to_dict() == {
        (6, 1): 24,
        (6, 3): 24,
        (24, 1): 42,
        (24, 3): 96,
    }
    assert (count["rank"] == count["predicted_rank"]).all()
    assert count["smallest_kept"].between(1e-12, 1).all()


@pytest.mark.parametrize(("tokens", "full"), [("unit", 8), ("signs", 8), ("equal", 7)])
def test_ranks_grow_with_the_heads_up_to_what_the_tokens_allow(tokens, full):
    settings = find(PROP1).settings("quick", draws=3, betas=(0.3, 1.0))
    spans = prop1(settings, {"tokens": tokens, "seed": 4})["spans"]
    first = spans.query("draw == 0 and beta == 1").set_index("H")
    assert first.index.tolist() == list(range(1, 17))
    assert (first["rank"] == first.index.to_series().clip(upper=full)).all()
    assert first.loc[16, "smallest"] > 1e-3 if full == 8 else first.loc[16, "smallest"] < 1e-12
    others = spans.query("draw > 0")
    assert set(others["H"]) == {8, 16} and set(others["beta"]) == {1}
    assert set(spans["beta"]) == ({0.3, 1.0} if tokens == "unit" else {1.0})
