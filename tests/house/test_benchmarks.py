"""The summary of the benchmarks: what it holds, and how it is made. No time is asserted."""

import json
import sys
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2]
sys.path += [str(BOOK / "benchmarks"), str(BOOK / "_ext")]

import from_store  # noqa: E402
import summary  # noqa: E402


def test_the_page_and_the_summary_name_the_same_benchmarks():
    held = json.loads(summary.FILE.read_text())
    assert held.keys() - {"machine", "measured"} == from_store.BENCHMARKS.keys()
    assert all(isinstance(held[name], float) for name in from_store.BENCHMARKS)
    assert all(held[name] > 0 for name in from_store.BENCHMARKS if name != "slope_m")


def test_every_benchmark_is_recorded_by_a_script():
    scripts = "".join(path.read_text() for path in (BOOK / "benchmarks").glob("*.py"))
    for name in from_store.BENCHMARKS:
        assert f"{name}=" in scripts, f"nothing records {name}"


def test_the_table_has_a_row_a_benchmark():
    lines = from_store.benchmarks().splitlines()
    assert sum(line.startswith("| ") for line in lines) == 1 + len(from_store.BENCHMARKS)


def test_numbers_of_another_machine_are_thrown_away(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, "FILE", tmp_path / "benchmarks" / "summary.json")
    summary.record(import_ms=1.23456)
    summary.record(list_seconds=2.0)
    held = json.loads(summary.FILE.read_text())
    assert (held["import_ms"], held["list_seconds"]) == (1.23, 2.0)
    summary.FILE.write_text(json.dumps(held | {"machine": {"processor": "another"}}))
    summary.record(list_seconds=3.0)
    held = json.loads(summary.FILE.read_text())
    assert "import_ms" not in held and held["list_seconds"] == 3.0


def test_ways_take_turns_and_the_first_block_is_left_out():
    calls = []

    def way(name, seconds):
        return lambda: calls.append(name) or seconds

    times = summary.in_turn([way("a", 2.0), way("b", 1.0)], blocks=2)
    assert "".join(calls) == "baabba"
    assert times == [[2.0, 2.0], [1.0, 1.0]]
    assert summary.ratio([2.0, 9.0, 4.0], [1.0, 1.0, 1.0]) == pytest.approx(4.0)
