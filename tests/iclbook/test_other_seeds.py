"""Claims on a reader's seeds: in a store of their own, with the book's or without, in random
sets."""

import json

import pytest
from claims import CLAIMS, stored

from iclbook import claim as claims
from iclbook import other_seeds
from iclbook.errors import InputError
from iclbook.machine import machine, versions
from iclbook.store import Store

LEMMA5 = CLAIMS["yang2024/lemma5-closed-form"]


@pytest.fixture
def small(monkeypatch, lemma5):
    """The experiment of Lemma 5 with few draws, wherever it is looked for."""
    for module in (other_seeds, claims):
        monkeypatch.setattr(module, "find", lambda name: lemma5)
    return lemma5


def test_claims_are_judged_on_the_seeds_that_are_asked_for(small, store):
    how = dict(progress=False)
    results = other_seeds.results_on([LEMMA5], (1000, 1001), store, **how)
    assert results[small.id].settings.seeds == (1000, 1001)
    assert set(results[small.id]["losses"]["seed"]) == {1000, 1001}
    (row,) = other_seeds.judged([LEMMA5], results)
    assert row["id"] == LEMMA5.id and row["returned"] in claims.VERDICTS
    assert row["error"] is None and row["measured"] > 0
    again = other_seeds.results_on([LEMMA5], (1000, 1001), store, **how)
    assert again[small.id]["losses"].equals(results[small.id]["losses"])


def test_an_incomplete_sweep_is_refused_not_accepted(small, store):
    results = other_seeds.results_on([LEMMA5], (1000, 1001), store, progress=False)
    table = results[small.id]["losses"]
    results[small.id].tables["losses"] = table.drop(index=table.index[-1])
    (row,) = other_seeds.judged([LEMMA5], results)
    assert row["returned"] is None and "not complete" in row["error"]


def test_the_books_own_store_is_left_alone():
    with pytest.raises(InputError, match="own store; add --store DIR"):
        other_seeds.results_on([LEMMA5], (1000,), Store())


def test_seeds_are_joined_with_the_books_and_never_counted_twice():
    book = stored(LEMMA5.id)["yang2024/lemma5"]
    first, second = (other_seeds._of_seeds(book, [seed]) for seed in book.settings.seeds[:2])
    both = other_seeds.joined(first, second)
    assert both.settings.seeds == book.settings.seeds[:2]
    assert len(both["losses"]) == 2 * len(first["losses"])
    with pytest.raises(InputError, match="holds seeds"):
        other_seeds.joined(first, both)


def test_sets_are_as_large_as_the_books_and_the_same_each_time(small, store):
    results = other_seeds.results_on([LEMMA5], tuple(range(1000, 1006)), store, progress=False)
    rows = list(other_seeds.subsets(LEMMA5, results, 20))
    assert rows == list(other_seeds.subsets(LEMMA5, results, 20))
    drawn = {row["seeds"] for row in rows}
    assert len(rows) == 20 and len(drawn) > 5
    assert {len(set(seeds.split())) for seeds in drawn} == {len(small.full.seeds)}
    assert {row["verdict"] for row in rows} <= {"reproduced", "not reproduced"}
    size = len(small.full.seeds)
    few = {small.id: other_seeds._of_seeds(results[small.id], range(1000, 1000 + size))}
    with pytest.raises(InputError, match="leave no sets"):  # but one
        list(other_seeds.subsets(LEMMA5, few, 1))


def test_shares_of_fresh_seeds_are_read_from_the_store(tmp_path):
    folder = tmp_path / "claims"
    folder.mkdir()
    rows = "claim,set,seeds,verdict,measured\n"
    rows += f"{LEMMA5.id},0,1 2,reproduced,1.0\n{LEMMA5.id},1,1 3,not reproduced,9.0\n"
    (folder / "fresh.csv").write_text(rows)
    shares = claims.fresh_shares(Store(tmp_path))
    assert shares == {LEMMA5.id: {"sets": 2, "share": 0.5}}
    assert claims.fresh_shares(Store(tmp_path / "none")) == {}


def test_fresh_sets_of_other_claims_are_kept_and_those_judged_again_replaced(small, store):
    path = store.root / "claims" / "fresh.csv"
    path.parent.mkdir(parents=True)
    other, old = "yang2024/zeta", f"{LEMMA5.id},0,1 2,partly,7.0"
    path.write_text(f"claim,set,seeds,verdict,measured\n{other},0,1 2,partly,0.25\n{old}\n")
    (row,) = other_seeds.report_on(
        [LEMMA5], tuple(range(1000, 1006)), store, sets=3, progress=False
    )
    lines = path.read_text().splitlines()
    same = sum(line.split(",")[3] == LEMMA5.verdict for line in lines[1:-1])
    assert same
    assert row["fresh"] == {"sets": 3, "share": pytest.approx(same / 3)}
    assert lines[-1] == f"{other},0,1 2,partly,0.25" and old not in lines
    assert [line.split(",")[:2] for line in lines[1:-1]] == [[LEMMA5.id, s] for s in "012"]
    origin = json.loads(path.with_suffix(".json").read_text())
    assert list(origin) == [LEMMA5.id] and origin[LEMMA5.id]["machine"] == machine()
    assert origin[LEMMA5.id]["versions"] == versions()
    assert set(origin[LEMMA5.id]) == {"machine", "versions", "commit"}


@pytest.mark.parametrize(
    "content", [b"x,y\n1,2\n", b"\xff\xfe", b"claim,set,seeds,verdict,measured\na/b,0\n"]
)
def test_damaged_sets_are_one_line_before_anything_is_computed(store, monkeypatch, content):
    path = store.root / "claims" / "fresh.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setattr(other_seeds, "results_on", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(InputError, match=r"fresh.csv is damaged; restore it, or delete it"):
        other_seeds.report_on([LEMMA5], tuple(range(1000, 1009)), store, sets=3)


@pytest.mark.parametrize("name, content", [("csv", ""), ("csv", "a,b"), ("json", "{")])
def test_sets_that_cannot_be_added_to_are_one_line(small, store, name, content):
    path = store.root / "claims" / f"fresh.{name}"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(InputError, match=r"fresh\.\w+ .*damaged; restore"):
        other_seeds.report_on([LEMMA5], tuple(range(1000, 1006)), store, sets=3, progress=False)
    assert path.read_text() == content


def test_too_few_seeds_and_seeds_of_the_book_are_refused_before_anything_is_computed(
    store, monkeypatch
):
    monkeypatch.setattr(other_seeds.runner, "run", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(InputError, match="2 seeds leave no sets of 5"):
        other_seeds.report_on([LEMMA5], (1000, 1001), store, sets=3)
    with pytest.raises(InputError, match=r"holds seeds \[0, 2\] already"):
        other_seeds.report_on([LEMMA5], (0, 2, 9), store, with_stored=True)
