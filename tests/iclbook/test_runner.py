"""Sweeps: the same bits whatever the number of jobs, resumption after SIGKILL, verification
that can fail."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
from vouch import vouched

from iclbook import runner
from iclbook.catalogue import find
from iclbook.errors import InputError
from iclbook.experiment import Experiment
from iclbook.files import alone
from iclbook.store import Store
from iclbook.unfinished import fingerprint
from iclbook.verify import _turned, verify

# Eight points, so that others are under way when the first is kept.
QUICK = ["yang2024/fig2a", "--profile", "quick", "--set", "steps=250", "--seeds", "3-4"]
MANY = ["stress/shifts", "--profile", "quick", "--seeds", "0-39"]


def iclbook(*arguments, **kwargs):
    command = [sys.executable, "-m", "iclbook", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


def content(folder):
    """The bytes of every table of a stored result."""
    files = sorted(folder.glob("yang2024/fig2a*/quick.*.csv"))
    assert files
    return {path.name: path.read_bytes() for path in files}


def test_jobs_and_sigkill_do_not_change_a_bit(tmp_path):
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    assert iclbook("run", *QUICK, "--store", str(one)).returncode == 0
    assert iclbook("run", *QUICK, "--store", str(two), "--jobs", "2").returncode == 0

    victim, workers, kept = started(killed)
    assert len(workers) == 2
    victim.kill()
    victim.communicate()
    assert not psutil.wait_procs(workers, timeout=60)[1], "a worker outlives its caller"
    assert not list(killed.glob("yang2024/*/quick.json")), "killed too late"
    resumed = iclbook("run", *QUICK, "--store", str(killed))
    assert resumed.returncode == 0
    assert f"process {victim.pid} on " in resumed.stderr, "it takes over the lock of the dead"
    assert not kept[0].exists(), "finished points are cleared away in the end"
    assert content(one) == content(two) == content(killed)


def started(store, points=QUICK):
    """A run of two points at a time that has kept a point, its workers, and the kept points."""
    command = [sys.executable, "-m", "iclbook", "run", *points, "--store", str(store)]
    run = subprocess.Popen(
        [*command, "--jobs", "2", "--json"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not (kept := list(store.glob(".partial/**/*.point"))):
        assert run.poll() is None and time.monotonic() < deadline, "it ended too early"
        time.sleep(0.02)
    children = psutil.Process(run.pid).children()
    return run, [child for child in children if "popen_loky" in str(child.cmdline())], kept


@pytest.mark.parametrize(
    ("points", "kill", "code", "words"),
    [
        (QUICK, lambda run, worker: run.terminate(), 130, "stopped; finished points are kept"),
        # joblib's own thread stumbled in every other run that had many points to do; the test
        # below stops one at the moment that matters.
        (MANY, lambda run, worker: run.terminate(), 130, "stopped; finished points are kept"),
        (QUICK, lambda run, worker: worker.kill(), 2, "a process that computed a point died"),
    ],
    ids=["SIGTERM", "of many", "a worker killed"],
)
def test_a_run_that_is_stopped_says_one_line_and_leaves_points_but_no_worker(
    tmp_path, points, kill, code, words
):
    run, workers, kept = started(tmp_path, points)
    kill(run, workers[0])
    error = run.communicate()[1].decode().strip()
    assert run.returncode == code and words in error and "\n" not in error, error
    assert not psutil.wait_procs(workers, timeout=60)[1] and kept[0].exists()


def test_a_run_that_is_stopped_between_two_points_says_one_line(tmp_path):
    """Where joblib is not waiting, it counts the points that it drops, if it may."""
    stopped_while_keeping = f"""if True:
        import os, signal, sys
        from iclbook import cli, runner
        keep = runner.keep
        runner.keep = lambda *what: (keep(*what), os.kill(os.getpid(), signal.SIGTERM))
        sys.argv = ["iclbook", "run", *{MANY}, "--jobs", "2", "--store", {str(tmp_path)!r}]
        cli.main()"""
    command = [sys.executable, "-c", stopped_while_keeping]
    run = subprocess.run(command, capture_output=True, text=True)
    error = run.stderr.strip().split("\n")[-1]
    assert run.returncode == 130 and "stopped; finished points are kept" in error, run.stderr
    assert "warn" not in run.stderr.lower() and list(tmp_path.glob(".partial/**/*.point"))


def test_a_second_run_into_a_store_is_refused_while_the_first_computes(store, lemma5):
    lock = store.root / ".partial" / lemma5.id / "full.lock"
    with (
        alone(lock, "it"),
        pytest.raises(InputError, match=rf"process {os.getpid()} on .*wait"),
    ):
        runner.run(lemma5, "full", store, progress=False)
    with alone(lock.with_name("quick.lock"), "another profile"):
        assert runner.run(lemma5, "full", store, progress=False) == "stored"


def test_what_is_kept_of_other_seeds_stays(store, lemma5, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runner.run(lemma5, "full", store, progress=False, seeds=(0, 1))
    kept = set(store.root.glob(".partial/**/*.point"))
    assert len(kept) == 2
    runner.run(lemma5, "full", store, progress=False, seeds=(7,))
    assert set(store.root.glob(".partial/**/*.point")) == kept
    runner.run(lemma5, "full", store, progress=False, seeds=(0, 1), force=True)
    assert not list(store.root.glob(".partial/**/full-*"))


def test_what_no_claim_will_accept_is_stored_and_said_in_one_line(
    store, lemma5, monkeypatch, capsys
):
    once = lemma5.resolve()

    def nan(settings, point):
        found = once(settings, point)
        found["losses"].iloc[0, -1] = float("nan")
        return found

    monkeypatch.setattr(Experiment, "resolve", lambda self: nan)
    assert runner.run(lemma5, "full", store, progress=False, seeds=(0, 1)) == "stored"
    error = capsys.readouterr().err
    assert error.startswith("stored, but yang2024/lemma5, table losses: ")
    assert "holds NaN; no claim will accept it" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "changes", "words"),
    [
        (FileNotFoundError(2, "No such file", "a.tsv"), {}, r"\(FileNotFoundError: .*a.tsv"),
        (MemoryError(), {}, "cannot be computed so .MemoryError"),
        (RuntimeError("N\nis too small"), {"draws": 10}, "RuntimeError: N is too small"),
        (RuntimeError("a slip"), {}, None),
    ],
)
def test_a_failure_inside_a_study_is_not_said_to_be_the_stores(
    store, lemma5, monkeypatch, error, changes, words
):
    def fail(settings, point):
        raise error

    monkeypatch.setattr(Experiment, "resolve", lambda self: fail)
    with pytest.raises(InputError if words else RuntimeError, match=words) as caught:
        runner.run(lemma5.variant("full", **changes), "full", store, progress=False)
    assert "cannot write" not in str(caught.value) and "\n" not in str(caught.value)


def test_no_more_points_at_a_time_than_cores(lemma5, monkeypatch):
    monkeypatch.setattr(runner.joblib, "cpu_count", lambda: 1)
    here = []
    monkeypatch.setattr(runner, "_end_with", lambda caller: pytest.fail("a worker"))
    compute_point = runner.compute_point
    monkeypatch.setattr(
        runner, "compute_point", lambda *task: here.append(task) or compute_point(*task)
    )
    runner.compute(lemma5, lemma5.full, jobs=1_000_000)
    assert len(here) == len(lemma5.full.seeds)


def test_verify_turns_over_seeds_and_branches_and_deep_computes_every_point(
    store, lemma5, monkeypatch
):
    runner.run(lemma5, "full", store, progress=False)
    computed, compute = [], runner.compute

    def note(experiment, settings, **options):
        computed.append(settings.seeds)
        return compute(experiment, settings, **options)

    monkeypatch.setattr(runner, "compute", note)
    for how in (*({"rotate": k} for k in range(6)), {}, {}, {"deep": True}):
        assert verify(lemma5, store, **how)["ok"]
    assert computed[:6] == [(0,), (1,), (2,), (3,), (4,), (0,)]
    assert computed[6] == computed[7] and len(computed[6]) == 1
    assert computed[8] == lemma5.full.seeds
    path = store.file(lemma5, "full")
    meta = json.loads(path.read_text())
    path.write_text(vouched(meta | {"created": "2026-01-01T00:00:00+00:00"}))
    first = verify(lemma5, store) and computed[-1]
    path.write_text(vouched(meta | {"created": "2026-01-02T00:00:00+00:00"}))
    assert (verify(lemma5, store) and computed[-1]) == ((first[0] + 1) % 5,)


def test_the_branches_of_a_part_are_turned_too_what_stays_inside_a_point_is_not():
    fig4 = find("yang2024/fig4")
    turned = _turned(fig4.verify, fig4.full, 1)
    assert turned == fig4.verify | {"H": (5, 64), "on_batches": (30,), "seeds": (1,)}
    gap = find("ren2024/thm32-gap")
    assert _turned(gap.verify, gap.full, 7) == gap.verify | {"seeds": (2,)}


def test_verify_misses_rows_that_are_stored_and_no_longer_computed(store, lemma5, monkeypatch):
    """Of a table whose levels are not declared, so that only the stored rows tell."""
    plain = dataclasses.replace(lemma5.tables["losses"], levels={}, ragged=True)
    lemma5 = dataclasses.replace(lemma5, tables={"losses": plain})
    runner.run(lemma5, "full", store, progress=False)
    assert verify(lemma5, store)["ok"]
    compute = runner.compute
    monkeypatch.setattr(
        runner, "compute", lambda *a, **k: bend(compute(*a, **k), lambda t: t.iloc[:-1])
    )
    for deep in (False, True):
        report = verify(lemma5, store, deep=deep)
        assert not report["ok"] and report["missing"] == 1 and not report["gaps"]


def test_finished_points_are_taken_up_not_computed_again(lemma5, tmp_path, monkeypatch):
    whole = runner.compute(lemma5, lemma5.full, partial=tmp_path)
    assert len(list(tmp_path.glob("*.point"))) == len(lemma5.full.seeds)
    monkeypatch.setattr(runner, "compute_point", None)  # any further computation would fail
    again = runner.compute(lemma5, lemma5.full, partial=tmp_path)
    pd.testing.assert_frame_equal(whole.tables["losses"], again.tables["losses"], rtol=1e-9)


def flip_a_digit(text):
    at = next(i for i in reversed(range(len(text))) if text[i : i + 1].isdigit())
    return text[:at] + (b"1" if text[at : at + 1] != b"1" else b"2") + text[at + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        flip_a_digit,
        lambda text: text[: text.rindex(b"\\n")],
        lambda text: text.replace(b",standard_error", b"", 1),
        lambda text: b"",
        lambda text: b"nonsense",
    ],
    ids=["last digit", "cut at a line end", "a column lost", "empty", "nonsense"],
)
def test_a_spoilt_kept_point_is_computed_again_with_one_line(lemma5, tmp_path, spoil, capsys):
    whole = runner.compute(lemma5, lemma5.full, partial=tmp_path)
    first = sorted(tmp_path.glob("*.point"))[0]
    sound = first.read_bytes()
    first.write_bytes(spoil(sound))
    assert first.read_bytes() != sound
    again = runner.compute(lemma5, lemma5.full, partial=tmp_path)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "damaged; it is computed again" in error
    pd.testing.assert_frame_equal(whole.tables["losses"], again.tables["losses"], rtol=1e-9)
    assert len(first.read_bytes()) > 100


def test_a_result_names_every_machine_that_computed_a_point(
    store, lemma5, tmp_path, monkeypatch, capsys
):
    far = {"processor": "far", "instruction_set": "old", "architecture": "arm64"}
    far |= {"cores": 1, "system": "Linux"}
    monkeypatch.setattr(runner, "machine", lambda device: far)
    runner.compute(lemma5, dataclasses.replace(lemma5.full, seeds=(0, 1)), partial=tmp_path)
    monkeypatch.undo()
    computed = runner.compute(lemma5, lemma5.full, partial=tmp_path)
    assert "another machine" in capsys.readouterr().err
    store.write(lemma5, "full", lemma5.full, computed)
    assert store.meta(lemma5, "full")["machines"] == [far, runner.machine()]


def test_a_stored_run_is_left_alone_and_other_seeds_do_not_replace_it(store):
    lemma5, quiet = find("yang2024/lemma5").variant("quick", draws=2_000), {"progress": False}
    assert runner.run(lemma5, "quick", store, **quiet) == "stored"
    csv = store.file(lemma5, "quick", "losses")
    before = csv.read_bytes()
    with pytest.raises(InputError, match="name another --store"):
        runner.run(lemma5, "quick", store, seeds=(5,), **quiet)
    assert csv.read_bytes() == before
    assert runner.run(lemma5, "quick", store, seeds=(5,), force=True, **quiet) == "stored"
    assert csv.read_bytes() != before


def test_the_books_own_store_takes_neither_changed_settings_nor_the_paper_profile():
    with pytest.raises(InputError, match="--store DIR"):
        runner.run(find("yang2024/fig2a").variant("full", H=2), "full", Store())
    with pytest.raises(InputError, match="--store DIR"):
        runner.run(find("yang2024/fig2a"), "paper", Store())


def bend(computed, change):
    return dataclasses.replace(computed, tables={"losses": change(computed.tables["losses"])})


def test_verify_agrees_with_itself_and_sees_a_changed_number(store, lemma5):
    computed = runner.compute(lemma5, lemma5.full)
    store.write(lemma5, "full", lemma5.full, computed)
    report = verify(lemma5, store)
    assert report["ok"] and report["rows"] == len(computed.tables["losses"]) // 5
    assert report["stored_on"] == report["computed_on"] == [runner.machine()]
    for name in lemma5.tables["losses"].measures:
        bent = bend(computed, lambda t, name=name: t.assign(**{name: t[name] * (1 + 1e-5)}))
        store.write(lemma5, "full", lemma5.full, bent, force=True)
        assert not verify(lemma5, store)["ok"], name
    short = bend(computed, lambda table: table[table["weights"] != "zero"])
    store.write(lemma5, "full", lemma5.full, short, force=True)
    report = verify(lemma5, store)
    assert report["missing"] == 1 and not report["ok"]


def test_verify_leaves_out_what_a_clock_decides_and_nothing_else(store, lemma5):
    declared = lemma5.tables["losses"]
    clock = dataclasses.replace(declared.measures["simulated"], clock=True)
    timed = dataclasses.replace(declared, measures=declared.measures | {"simulated": clock})
    clocked = dataclasses.replace(lemma5, tables={"losses": timed})
    computed = runner.compute(lemma5, lemma5.full)
    for name, ok in (("simulated", True), ("closed_form", False)):
        bent = bend(computed, lambda table, name=name: table.assign(**{name: table[name] + 1}))
        store.write(lemma5, "full", lemma5.full, bent, force=True)
        assert verify(clocked, store)["ok"] is ok


def test_a_run_with_other_seeds_or_settings_is_found_again(store, lemma5):
    for place, changes in (("seeds", {}), ("draws", {"draws": 500})):
        mine, other = Store(store.root / place), lemma5.variant("full", **changes)
        first = runner.run(other, "full", mine, progress=False, seeds=(7,))
        again = runner.run(other, "full", mine, progress=False, seeds=(7,))
        assert (first, again) == ("stored", "already stored")
        with pytest.raises(InputError, match="name another --store"):
            runner.run(other, "full", mine, progress=False, seeds=(8,))


def test_verify_sees_rows_that_are_no_longer_computed(monkeypatch):
    """A part that returns next to nothing agrees with everything that is stored."""
    experiment = find("yang2024/lemma5")
    assert verify(experiment, Store())["ok"]
    compute = runner.compute
    for rows in (1, 0):

        def less(*arguments, rows=rows, **options):
            found = compute(*arguments, **options)
            found.tables["losses"] = found.tables["losses"].head(rows)
            return found

        monkeypatch.setattr(runner, "compute", less)
        report = verify(experiment, Store())
        assert not report["ok"] and report["gaps"]


def with_inputs(experiment, monkeypatch, found):
    """The experiment, with inputs that are not the book's: what `found()` says of them."""
    module = "studies.ridge.population_loss.compute"
    monkeypatch.setattr(f"{module}.inputs", lambda settings: found(), raising=False)
    return dataclasses.replace(experiment, inputs=f"{module}:inputs")


def test_inputs_are_recorded_and_another_one_is_noticed(store, lemma5, monkeypatch):
    held = {"a.tsv": "1"}
    given = with_inputs(lemma5, monkeypatch, lambda: dict(held))
    given = dataclasses.replace(given, verify={})
    runner.run(given, "full", store, progress=False)
    assert store.meta(given, "full")["inputs"] == {"a.tsv": "1"}
    assert verify(given, store)["ok"]
    held["a.tsv"] = "2"
    with pytest.raises(InputError, match=r"not what the result was computed from: a\.tsv"):
        verify(given, store)


def test_a_result_of_other_data_does_not_count_as_stored(store, lemma5, monkeypatch):
    held = {"a.tsv": "1"}

    def given():
        if not held:
            raise InputError("a.tsv is not there")
        return dict(held)

    experiment = with_inputs(lemma5, monkeypatch, given)
    runner.run(experiment, "full", store, progress=False)
    assert runner.run(experiment, "full", store, progress=False) == "already stored"
    held["a.tsv"] = "2"
    with pytest.raises(InputError, match=r"of another a\.tsv; name another --store DIR"):
        runner.run(experiment, "full", store, progress=False)
    held.clear()  # who has no data is not asked for them
    assert runner.run(experiment, "full", store, progress=False) == "already stored"


def test_data_that_change_during_a_run_are_not_mixed(store, lemma5, monkeypatch):
    held = {"a.tsv": "1"}
    given = with_inputs(lemma5, monkeypatch, lambda: dict(held))
    partial = runner.unfinished_of(given, "full", store, given.full)
    plain = runner.compute

    def changed(*args, **how):
        found = plain(*args, **how)
        assert list(partial.glob("*.point"))
        held["a.tsv"] = "2"
        return found

    monkeypatch.setattr(runner, "compute", changed)
    with pytest.raises(InputError, match="the data changed during the run"):
        runner.run(given, "full", store, progress=False)
    assert not list(partial.glob("*.point")), "some are of the other data"
    assert not store.file(given, "full").exists()


def test_a_missing_input_is_refused_before_anything_is_computed(store, lemma5, monkeypatch):
    def missing():
        raise InputError("a.tsv is not there")

    given = with_inputs(lemma5, monkeypatch, missing)
    monkeypatch.setattr(runner, "compute", None)
    with pytest.raises(InputError, match=r"a\.tsv is not there"):
        runner.run(given, "full", store, progress=False)


def test_other_inputs_do_not_take_up_unfinished_points(lemma5, monkeypatch):
    held = {"a.tsv": "1"}
    given = with_inputs(lemma5, monkeypatch, lambda: dict(held))
    before = fingerprint(given, given.full)
    assert fingerprint(given, given.full) == before
    held["a.tsv"] = "2"
    assert fingerprint(given, given.full) != before


def test_a_device_is_a_setting_only_for_those_that_have_one(store, lemma5):
    with pytest.raises(InputError, match="computes on the processor, not on 'cuda'"):
        runner.run(lemma5, "full", store, device="cuda", progress=False)
    assert runner.run(lemma5, "full", store, device="cpu", progress=False) == "stored"
    deep = find("yang2024/fig2b")
    with pytest.raises(InputError, match="no device 'nowhere'; add --device cpu"):
        runner.run(deep, "quick", store, device="nowhere", progress=False)


def test_a_result_from_another_device_is_as_valid():
    deep = find("yang2024/fig2b").full
    assert deep.on_device("cuda").differing(deep.as_json()) == []
    assert deep.on_device("cuda").device_used == "cuda"


def test_many_ctrl_c_end_in_one_line(tmp_path):
    run, _, _ = started(tmp_path, MANY)
    for _ in range(3):
        run.send_signal(signal.SIGINT)
        time.sleep(0.15)
    error = run.communicate()[1].decode()
    assert run.returncode == 130 and error.count("\n") == 1 and "run the same command" in error
