"""The scorecard shows the whole ledger, as the checks return it; its script asks no server."""

import csv
import dataclasses
import importlib
import json
import re
import sys
from urllib.parse import parse_qsl

import pytest
from book import BOOK

from iclbook.card import agreeing
from iclbook.claim import KINDS, SOURCES, VERDICTS, all_claims
from iclbook.errors import InputError

BUILT = BOOK / "_build" / "html" / "chapters" / "back" / "scorecard.html"


@pytest.fixture(scope="module")
def scorecard():
    """The extension that writes the page; extensions import each other."""
    sys.path.insert(0, str(BOOK / "_ext"))
    yield importlib.import_module("scorecard")
    sys.path.remove(str(BOOK / "_ext"))


def listed(text):
    return re.findall(r'class="claim" id="claim-([^"]+)"', text)


def names():
    return [claim.replace("/", "-") for claim in all_claims()]


def test_every_claim_is_listed_once_in_the_books_order(scorecard):
    text = scorecard.cards()
    assert listed(text) == names()
    assert all(claim.statement.rstrip(".") in text for claim in all_claims().values())


def test_counts_are_those_of_the_ledger(scorecard):
    rows = scorecard.counts().splitlines()[2:]
    counts = [
        [int(n) for n in re.findall(r">(\d+)<|\b(0)\b", row) for n in n if n] for row in rows
    ]
    claims = all_claims().values()
    groups = [[claim for claim in claims if claim.kind == kind] for kind in KINDS]
    by_source = [[claim for claim in claims if claim.source == source] for source in SOURCES]
    groups += [[claim for claim in group if claim.kind == "empirical"] for group in by_source]
    for group, found in zip([*groups, *by_source, claims], counts, strict=True):
        verdicts = [claim.verdict for claim in group]
        assert found == [*(verdicts.count(verdict) for verdict in VERDICTS), len(verdicts)]


def test_a_count_leads_to_its_claims(scorecard):
    """The filters of assets/scorecard.js compare what a card carries with the address."""
    cards = re.findall(r'<div class="claim" id[^>]+>', scorecard.cards())
    fields = re.findall(r'<select name="(\w+)">', scorecard.filters())
    found = re.findall(r'href="\?([^"]*)">(\d+)<', scorecard.counts())
    assert len(found) > 25
    for query, count in found:
        wanted = dict(parse_qsl(query))
        assert set(wanted) <= set(fields)
        fits = [f'data-{name}="{value}"' for name, value in wanted.items()]
        assert sum(all(part in card for part in fits) for card in cards) == int(count)


def test_the_strip_counts_every_claim(scorecard):
    found = re.findall(r"<b>(\d+)</b> ([\w ]+)</a>", scorecard.strip())
    assert [verdict for _, verdict in found] == list(VERDICTS)
    assert sum(int(count) for count, _ in found) == len(all_claims())
    papers = [claim.verdict for claim in all_claims().values() if claim.source == "paper"]
    assert f"Statements of the papers are {len(papers)} of them: " in scorecard.strip()
    for verdict in VERDICTS:
        assert f"{papers.count(verdict)} {verdict}" in scorecard.strip().split("of them: ")[1]


def test_downloads_hold_the_same_claims(scorecard, tmp_path):
    scorecard.write_downloads(tmp_path)
    rows = json.loads((tmp_path / "scorecard.json").read_text(encoding="utf-8"))
    with (tmp_path / "scorecard.csv").open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == [row["id"] for row in table] == list(all_claims())
    for row, line in zip(rows, table):
        assert line["measured"] == ("" if row["measured"] is None else str(row["measured"]))
        assert line["verdict"] == row["verdict"] == row["returned"]


def test_the_papers_items_stand_in_the_index(scorecard):
    items = scorecard.items_of("ridge/many_heads")
    assert items["Figure 4"] == "claim-yang2024-fig4-small-h-stalls"
    assert "Theorem 1" in scorecard.items_of("ridge/convergence")
    assert scorecard.items_of("back/api") == {}


def test_a_page_without_a_marker_is_left_alone(scorecard, monkeypatch):
    monkeypatch.setattr(scorecard, "ledger", None)
    page = ["# A page\n"]
    scorecard.filler(scorecard.MARKERS)(None, "page", page)
    assert page == ["# A page\n"]


def test_a_verdict_that_no_longer_holds_stops_the_page(monkeypatch):
    bent = all_claims()
    name = "yang2024/lemma5-closed-form"
    bent[name] = dataclasses.replace(bent[name], verdict="partly", reason="bent on purpose")
    monkeypatch.setattr("iclbook.claim.all_claims", lambda: bent)
    with pytest.raises(InputError, match="recorded is 'partly'"):
        agreeing("ridge/population_loss")


def test_the_page_has_every_marker_but_the_strip(scorecard):
    page = (BOOK / f"{scorecard.PAGE}.md").read_text(encoding="utf-8")
    assert [marker in page for marker in scorecard.MARKERS] == [True, True, True, False]


def test_the_filters_ask_no_server():
    script = (BOOK / "assets" / "scorecard.js").read_text(encoding="utf-8")
    asks = r"https?:|//\w|fetch|XMLHttpRequest|WebSocket|EventSource|import|sendBeacon|\bsrc\b"
    assert re.findall(asks, script) == []


@pytest.mark.skipif(not BUILT.is_file(), reason="make book has not run here")
def test_the_built_page_lists_every_claim():
    text = BUILT.read_text(encoding="utf-8")
    assert listed(text) == names()
    for name in ("scorecard.json", "scorecard.csv"):
        assert f'href="{name}"' in text and BUILT.with_name(name).is_file()
