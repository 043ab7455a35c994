"""Sweeps: the same bits whatever the number of jobs, resumption after SIGKILL, verification that can fail."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from iclbook import runner
from iclbook.errors import InputError
from iclbook.store import machine
from studies.catalogue import find


def iclbook(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "iclbook", *arguments], capture_output=True, text=True, **kwargs
    )


def content(folder):
    return (folder / "yang2024/fig2a/quick.csv").read_bytes()


def test_jobs_and_sigkill_do_not_change_a_bit(tmp_path):
    changed = ["yang2024/fig2a", "--profile", "quick", "--set", "steps=600", "--seeds", "3-4"]
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    assert iclbook("run", *changed, "--store", str(one)).returncode == 0
    assert iclbook("run", *changed, "--store", str(two), "--jobs", "2").returncode == 0

    victim = subprocess.Popen(
        [sys.executable, "-m", "iclbook", "run", *changed, "--store", str(killed)],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not (kept := list(killed.glob(".partial/**/*.csv"))):
        assert victim.poll() is None and time.monotonic() < deadline, (
            "the run ended before it could be killed"
        )
        time.sleep(0.02)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    assert not (killed / "yang2024/fig2a/quick.csv").exists(), (
        "killed too late to show anything"
    )
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    first = next(iter(stamps))
    resumed = iclbook("run", *changed, "--store", str(killed))
    assert resumed.returncode == 0 and not first.exists(), (
        "finished points are cleared away in the end"
    )
    assert content(one) == content(two) == content(killed)


def test_finished_points_are_taken_up_not_computed_again(store, lemma5, tmp_path, monkeypatch):
    whole, _ = runner.compute(lemma5, lemma5.full, partial=tmp_path)
    assert len(list(tmp_path.glob("*.csv"))) == len(lemma5.full.seeds)
    monkeypatch.setattr(runner, "compute_point", None)  # any further computation would fail
    again, _ = runner.compute(lemma5, lemma5.full, partial=tmp_path)
    pd.testing.assert_frame_equal(whole, again, rtol=1e-9)


def test_a_result_names_every_machine_that_computed_a_point(store, lemma5, tmp_path):
    runner.compute(lemma5, lemma5.full, partial=tmp_path)
    first = next(tmp_path.glob("*.csv"))
    head, rest = first.read_text().split("\n", 1)
    assert head.endswith(f" {machine()}")
    first.write_text(head.removesuffix(machine()) + "a far machine\n" + rest)
    table, seconds = runner.compute(lemma5, lemma5.full, partial=tmp_path)
    store.write(lemma5, "full", lemma5.full, table, seconds)
    assert set(store.meta(lemma5, "full")["machine"].split("; ")) == {
        machine(),
        "a far machine",
    }


def test_a_stored_run_is_left_alone_and_other_seeds_do_not_replace_it(store, lemma5):
    arguments = dict(changes={"draws": 2_000}, progress=False)
    lemma5 = find("yang2024/lemma5")
    assert runner.run(lemma5, "quick", store, **arguments) == "stored"
    csv = store.path(lemma5, "quick", ".csv")
    before = csv.read_bytes()
    with pytest.raises(InputError, match="other settings"):
        runner.run(lemma5, "quick", store, progress=False)
    assert csv.read_bytes() == before
    assert runner.run(lemma5, "quick", store, seeds=(5,), force=True, **arguments) == "stored"
    assert csv.read_bytes() != before


def test_the_books_own_store_takes_neither_changed_settings_nor_the_paper_profile():
    from iclbook.store import Store

    with pytest.raises(InputError, match="--store DIR"):
        runner.run(find("yang2024/fig2a"), "full", Store(), changes={"H": 2})
    with pytest.raises(InputError, match="--store DIR"):
        runner.run(find("yang2024/fig2a"), "paper", Store())


def test_verify_agrees_with_itself_and_sees_a_changed_number(store, lemma5):
    table, seconds = runner.compute(lemma5, lemma5.full)
    store.write(lemma5, "full", lemma5.full, table, seconds)
    report = runner.verify(lemma5, store)
    assert report["ok"] and report["rows"] == len(table) // 5
    bent = table.assign(value=table["value"] * (1 + 1e-6))
    store.write(lemma5, "full", lemma5.full, bent, seconds, force=True)
    assert not runner.verify(lemma5, store)["ok"]
    store.write(
        lemma5, "full", lemma5.full, table[table["table"] != "zero"], seconds, force=True
    )
    assert runner.verify(lemma5, store)["missing"] == 4


def test_verify_leaves_out_what_a_clock_decides_and_nothing_else(store, lemma5):
    table, seconds = runner.compute(lemma5, lemma5.full)
    timed = table["quantity"] == table["quantity"].iloc[0]
    assert not timed.all()
    clocked = dataclasses.replace(lemma5, timings=(table["quantity"].iloc[0],))
    for hit, ok in ((timed, True), (~timed, False)):
        bent = table.assign(value=table["value"].mask(hit, table["value"] + 1))
        store.write(lemma5, "full", lemma5.full, bent, seconds, force=not ok)
        assert runner.verify(clocked, store)["ok"] is ok
    assert runner.verify(clocked, store)["rows"] < runner.verify(lemma5, store)["rows"]
