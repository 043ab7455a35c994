"""Claims: every one has a check, and recorded verdicts are what the stored tables give."""

import dataclasses
import json

import pytest
from book import BOOK
from claims import CLAIMS, altered, stored, verdict

from iclbook.catalogue import experiments, find
from iclbook.claim import (
    STATED_TOKENS,
    VERDICTS,
    Claim,
    at_least,
    at_most,
    fresh_shares,
    report,
)
from iclbook.errors import InputError
from iclbook.store import Store


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_every_claim_names_known_experiments_and_a_chapter_that_shows_it(claim):
    assert set(claim.experiments) <= set(experiments())
    assert claim.experiments or claim.verdict == "untestable"
    notebook = (BOOK / "chapters" / f"{claim.chapter}.ipynb").read_text()
    assert f'claims_of(\\"{claim.chapter}\\")' in notebook


def test_recorded_verdicts_are_what_the_stored_tables_give():
    wrong = [row for row in report(Store()) if row["returned"] != row["verdict"]]
    assert not wrong, wrong


def test_a_missing_table_is_an_error_not_a_verdict(tmp_path):
    rows = [row for row in report(Store(tmp_path)) if row["verdict"] != "untestable"]
    assert rows and all(
        row["returned"] is None and "is missing" in row["error"] for row in rows
    )


def test_thresholds_decide_and_nan_is_never_reproduced():
    assert at_most(1.0, 1.0).verdict == at_least(1.0, 1.0).verdict == "reproduced"
    assert at_most(1.1, 1.0).verdict == at_least(0.9, 1.0).verdict == "not reproduced"
    assert (
        at_most(float("nan"), 1.0).verdict
        == at_least(float("nan"), 1.0).verdict
        == "not reproduced"
    )


LEMMA5 = "yang2024/lemma5-closed-form"


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.iloc[:0],
        lambda table: table[table["seed"] != 3],
        lambda table: table[table["weights"] != "zero"],
        lambda table: table.drop(index=4),
        lambda table: table.replace({"weights": {"zero": "nil"}}),
        lambda table: table.assign(simulated=table["simulated"].where(table["seed"] != 3)),
    ],
    ids=["empty", "a seed", "a level", "a row", "another level", "NaN"],
)
def test_a_result_that_is_no_complete_sweep_is_refused(change):
    results = stored(LEMMA5)
    assert verdict(LEMMA5, results) == "reproduced"
    changed = {name: altered(result, losses=change) for name, result in results.items()}
    assert verdict(LEMMA5, changed) == "refused"


def test_a_check_may_be_named_and_given_arguments(monkeypatch):
    claim, seen = CLAIMS[LEMMA5], []
    module = pytest.importorskip("studies.ridge.population_loss.tables")
    monkeypatch.setattr(
        module, "some_check", lambda *a, **k: seen.append(k) or at_most(0, 1), raising=False
    )
    named = dataclasses.replace(claim, check="some_check", arguments={"family": "plain"})
    assert named.judge(stored(LEMMA5)).verdict == "reproduced" and seen == [{"family": "plain"}]


def make(**changes):
    entry = dict(
        item="",
        chapter="ridge/unseen",
        kind="identity",
        statement="",
        experiments=(),
        verdict="reproduced",
        source="ours",
    )
    entry["fixed"] = "before the first full run"
    return Claim(id="x/y", **entry | changes)


@pytest.mark.parametrize(
    "changes",
    [dict(kind="fact"), dict(verdict="yes"), dict(source="me"), dict(verdict="partly")],
)
def test_a_badly_written_claim_is_refused(changes):
    with pytest.raises(InputError):
        make(**changes)
    assert all(
        make(verdict=verdict, reason="measured").verdict == verdict for verdict in VERDICTS
    )


def test_a_flipped_direction_is_seen():
    """The published margin would have the wrong sign."""
    claim = CLAIMS["yang2024/lemma5-constant"]
    flipped = dataclasses.replace(claim, direction="at_most")
    assert claim.judge(stored(claim.id)).verdict == "reproduced"
    with pytest.raises(InputError, match="wrong side of the threshold"):
        flipped.judge(stored(claim.id))


def test_a_claim_that_reads_a_result_cannot_be_muted():
    claim = CLAIMS["yang2024/lemma5-constant"]
    with pytest.raises(InputError, match="is not untestable"):
        dataclasses.replace(claim, verdict="untestable", reason="muted")


def test_margins_are_positive_on_the_right_side():
    claim = CLAIMS["yang2024/lemma5-constant"]  # at least 4.5
    assert claim.margin(9.0) == 1.0 and claim.margin(2.25) == -0.5
    other = dataclasses.replace(claim, direction="at_most")
    assert other.margin(9.0) == -1.0


# The losses that yang2024 states for a figure: it says that the training loss is the population
# loss, and that batches of 256 are drawn; Figure 4 names the first. A deep model's population
# loss has no closed form, so batches are all that it can be trained on.
STATED_LOSSES = {
    "Figure 2a": {"population", "batch"},
    "Figure 2b": {"batch"},
    "Figure 4": {"population"},
    "Figure 5": {"batch"},
}


def test_a_claim_of_yang2024_about_training_lists_every_stated_reading():
    of_the_paper = [
        claim
        for claim in CLAIMS.values()
        if claim.item in STATED_LOSSES
        and claim.id.startswith("yang2024/")
        and claim.kind == "empirical"
        and claim.source != "ours"
    ]
    assert len(of_the_paper) >= 10
    for claim in of_the_paper:
        losses = {r["loss"] for r in claim.readings if r["tokens"] == STATED_TOKENS}
        assert losses >= STATED_LOSSES[claim.item], claim.id


def test_only_costly_experiments_excuse_a_claim_from_fresh_seeds():
    store = Store()
    judged = fresh_shares(store)
    for claim in CLAIMS.values():
        metas = [store.meta(find(name), "full") for name in claim.experiments]
        costly = sum(meta["wall_seconds"] for meta in metas) > 1_000
        if claim.kind == "empirical" and claim.experiments and not costly:
            assert judged[claim.id]["sets"] >= 200, claim.id
            said = judged[claim.id]["share"] >= 0.9 or "fresh" in claim.reason
            assert said, f"{claim.id}: its reason says nothing of fresh seeds"


def test_what_says_where_fresh_sets_were_judged_is_of_claims_that_have_sets():
    folder = Store().root / "claims"
    origins = json.loads((folder / "fresh.json").read_text(encoding="utf-8"))
    assert origins.keys() <= fresh_shares(Store()).keys() <= CLAIMS.keys()
    for name, origin in origins.items():
        assert {"machine", "versions", "commit"} <= origin.keys(), name
