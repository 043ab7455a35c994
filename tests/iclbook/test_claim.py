"""Claims: every one has a check, and recorded verdicts are what the stored tables give."""

import pytest

from iclbook.claim import VERDICTS, Claim, all_claims, at_least, at_most, report
from iclbook.errors import InputError
from book import BOOK

from iclbook.store import Store
from studies.catalogue import CATALOGUE

CLAIMS = all_claims()


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_every_claim_names_known_experiments_and_a_chapter_that_shows_it(claim):
    assert set(claim.experiments) <= set(CATALOGUE)
    assert claim.experiments or claim.verdict == "untestable"
    notebook = (BOOK / "chapters" / f"{claim.chapter}.ipynb").read_text()
    assert f'claims_of(\\"{claim.chapter}\\")' in notebook


def test_recorded_verdicts_are_what_the_stored_tables_give():
    wrong = [row for row in report(Store()) if row["returned"] != row["verdict"]]
    assert not wrong, wrong


def test_every_claim_is_fed_false_data_somewhere():
    tests = "".join(path.read_text() for path in (BOOK / "tests").rglob("test_*.py"))
    unfed = [
        claim.id
        for claim in CLAIMS.values()
        if claim.verdict != "untestable" and claim.id.split("/")[1] not in tests
    ]
    assert not unfed


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
