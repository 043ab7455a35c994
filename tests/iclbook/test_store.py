"""The store refuses whatever it did not write itself, in one line that names the file and the
mend."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vouch import vouched

from iclbook import files
from iclbook.errors import InputError
from iclbook.experiment import added
from iclbook.machine import machine
from iclbook.runner import Computed, wanted
from iclbook.store import Store


def computed(table):
    return Computed({"losses": table}, [0.1] * 5, [machine()])


@pytest.fixture
def losses(lemma5):
    rows = [
        (seed, name, 1.0 + seed / 7, 0.5, 1.0, 0.1)
        for seed in lemma5.full.seeds
        for name in ("best", "random", "zero")
    ]
    return pd.DataFrame(rows, columns=lemma5.tables["losses"].columns)


@pytest.fixture
def stored(store, lemma5, losses):
    store.write(lemma5, "full", lemma5.full, computed(losses))
    return losses


def refused(store, experiment, *words):
    with pytest.raises(InputError) as caught:
        store.read(experiment)
    message = str(caught.value)
    assert "\n" not in message
    again = f"iclbook run {experiment.id} --profile full --force"
    # What a reader computed with settings of their own is kept, in a store that is theirs.
    assert ("keep it, and name another" if "other settings" in message else again) in message
    assert (again in message) != ("other settings" in message)
    assert all(word in message for word in words), message
    assert not store.is_stored(experiment)


def test_what_was_written_is_read(store, lemma5, stored):
    result = store.read(lemma5)
    pd.testing.assert_frame_equal(result["losses"], stored, rtol=1e-9)
    assert result.settings == lemma5.full
    assert result.provenance.startswith("loaded: yang2024/lemma5 (full), computed 20")
    with pytest.raises(InputError, match="no table 'loss'; there are losses"):
        result["loss"]
    meta = json.loads(store.file(lemma5, "full").read_text())
    content = store.file(lemma5, "full", "losses").read_bytes()
    assert meta["tables"]["losses"] == {
        "rows": len(stored),
        "columns": list(stored.columns),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert meta["seeds"] == [0, 1, 2, 3, 4] and meta["threads"] == 1
    assert meta["device"] == "cpu" and meta["machines"] == [machine()]
    assert meta["settings"] == lemma5.full.as_json()
    assert meta["versions"]["numpy"] == np.__version__


def test_a_missing_result_is_refused(store, lemma5):
    refused(store, lemma5, "full.json is missing")


def test_a_missing_table_is_refused(store, lemma5, stored):
    store.file(lemma5, "full", "losses").unlink()
    refused(store, lemma5, "full.losses.csv is missing")


def test_one_altered_digit_is_refused(store, lemma5, stored):
    csv = store.file(lemma5, "full", "losses")
    text = csv.read_text()
    assert text.count("1.428571429") == 3
    csv.write_text(text.replace("1.428571429", "1.428571428", 1))
    refused(store, lemma5, "damaged")


def test_other_line_ends_are_refused(store, lemma5, stored):
    csv = store.file(lemma5, "full", "losses")
    csv.write_bytes(csv.read_bytes().replace(b"\n", b"\r\n"))
    refused(store, lemma5, "damaged")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"sha256": 1}', "null", "[" * 100_000, '{"settings": [], "seeds": null}'],
)
def test_a_damaged_or_foreign_sidecar_is_refused(store, lemma5, stored, content):
    store.file(lemma5, "full").write_text(content)
    refused(store, lemma5, "is not a result's JSON")


@pytest.mark.parametrize(
    ("name", "value"),
    [("seeds", None), ("wall_seconds", "x"), ("created", 5), ("machines", {}), ("tables", [1])],
)
def test_a_sidecar_with_a_field_of_another_kind_is_refused(store, lemma5, stored, name, value):
    path = store.file(lemma5, "full")
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    refused(store, lemma5, "full.json")


def test_other_settings_are_refused_by_name(store, lemma5, stored):
    other = dataclasses.replace(lemma5.full, tau=0.5, m=2)
    refused(store, dataclasses.replace(lemma5, full=other), "other settings (m, tau)")


def test_a_setting_added_later_leaves_results_valid_where_it_changes_nothing(
    store, lemma5, stored
):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Later(type(lemma5.full)):
        """With a setting that the stored result does not know: neutral at 1, by default 2."""

        old_way: int = added(1)
        new_way: int = added(2, neutral=1)

    values = dataclasses.asdict(lemma5.full)
    same = Later(**values, new_way=1)
    assert store.is_stored(dataclasses.replace(lemma5, full=same))
    refused(store, dataclasses.replace(lemma5, full=Later(**values)), "settings (new_way)")
    other = dataclasses.replace(same, old_way=3)
    refused(store, dataclasses.replace(lemma5, full=other), "settings (old_way)")


def test_a_setting_that_is_gone_is_refused(store, lemma5, stored):
    path = store.file(lemma5, "full")
    meta = json.loads(path.read_text())
    meta["settings"]["forgotten"] = None
    path.write_text(vouched(meta))
    refused(store, lemma5, "other settings (forgotten)")


def test_a_sidecar_is_believed_only_with_the_hash_of_its_content(store, lemma5, stored):
    path = store.file(lemma5, "full")
    meta = json.loads(path.read_text())
    for name, value in (
        ("wall_seconds", 1e9),
        ("created", "2026-99-99Tx"),
        ("id", "\ud800\nx"),
        ("settings", meta["settings"] | {"\ud800\n": 1}),
        ("inputs", {"a": "b"}),
    ):
        path.write_text(json.dumps(meta | {name: value}))
        refused(store, lemma5, "full.json is damaged (its SHA-256 differs)")
    path.write_text(json.dumps({name: x for name, x in meta.items() if name != "sha256"}))
    refused(store, lemma5, "is not a result's JSON")


def test_nothing_is_stored_into_a_corner_of_the_books_own_results(tmp_path, lemma5):
    own = Store()
    for inside in (own.root / "mine", own.root / "yang2024"):
        with pytest.raises(InputError, match="lies in the book's own results"):
            Store(inside)
    (tmp_path / "yang2024").symlink_to(own.root / "yang2024", target_is_directory=True)
    with pytest.raises(InputError, match="by a link; name another --store DIR"):
        wanted(lemma5, "full", Store(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; name a folder"):
        Store(tmp_path / "file")


def test_the_books_own_store_wants_all_seeds(lemma5):
    with pytest.raises(InputError, match=r"wants seeds \[1, 2, 3, 4\] too"):
        wanted(lemma5, "full", Store(), seeds=(0, 7))
    assert wanted(lemma5, "full", Store(), seeds=(0, 1, 2, 3, 4, 7)).seeds[-1] == 7


def test_the_books_store_refuses_fewer_seeds_than_wanted_and_takes_more(store, lemma5, stored):
    more = dataclasses.replace(lemma5, full=dataclasses.replace(lemma5.full, seeds=(0, 1, 9)))
    assert store.read(more).settings.seeds == (0, 1, 2, 3, 4)
    store.is_books_own = True
    six = dataclasses.replace(lemma5.full, seeds=tuple(range(6)))
    refused(store, dataclasses.replace(lemma5, full=six), "5 seeds, 6")
    one = dataclasses.replace(lemma5.full, seeds=(7,))
    fewer = dataclasses.replace(lemma5, full=one)
    assert store.read(fewer).settings.seeds == (0, 1, 2, 3, 4)


def test_other_tables_than_declared_are_refused(store, lemma5, stored):
    declared = {"curves": lemma5.tables["losses"]}
    refused(store, dataclasses.replace(lemma5, tables=declared), "names the files losses.csv")


def test_nothing_is_overwritten_unless_asked(store, lemma5, stored):
    """What a reader computed is never theirs to lose: only the book's own store may be told."""
    before = store.file(lemma5, "full", "losses").read_bytes()
    with pytest.raises(InputError, match=r"name another --store DIR$"):
        store.write(lemma5, "full", lemma5.full, computed(stored))
    store.is_books_own = True
    with pytest.raises(InputError, match=r"--store DIR, or replace it with --force$"):
        store.write(lemma5, "full", lemma5.full, computed(stored))
    assert store.file(lemma5, "full", "losses").read_bytes() == before
    new = computed(stored.assign(simulated=2.0))
    store.write(lemma5, "full", lemma5.full, new, force=True)
    assert (store.read(lemma5)["losses"]["simulated"] == 2.0).all()


def test_a_table_that_is_not_as_declared_is_not_stored(store, lemma5, losses):
    for table in (losses.drop(columns="seed"), losses.assign(x=1), pd.concat([losses, losses])):
        with pytest.raises(InputError, match=r"declared or returned only|same key twice"):
            store.write(lemma5, "quick", lemma5.quick, computed(table))
    assert not store.file(lemma5, "quick").exists()


def test_a_publication_that_was_stopped_is_read_and_then_finished(
    store, lemma5, stored, monkeypatch
):
    def stop(*_):
        raise KeyboardInterrupt

    folder = store.file(lemma5, "full").parent
    monkeypatch.setattr(files, "atomic_write", stop)
    new = computed(stored.assign(simulated=3.0))
    with pytest.raises(KeyboardInterrupt):
        store.write(lemma5, "full", lemma5.full, new, force=True)
    monkeypatch.undo()
    assert (store.read(lemma5)["losses"]["simulated"] == 3.0).all()
    assert "1.428571429" in store.file(lemma5, "full", "losses").read_text()
    store.write(lemma5, "full", lemma5.full, computed(stored.assign(simulated=4.0)), force=True)
    assert (store.read(lemma5)["losses"]["simulated"] == 4.0).all()
    assert sorted(path.name for path in folder.iterdir()) == ["full.json", "full.losses.csv"]


def test_readers_see_the_old_or_the_new_result_never_a_mixture(store, lemma5, stored):
    seen, failed, stop = set(), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                values = store.read(lemma5)["losses"]["simulated"].unique()
                seen.add(tuple(values))
            except InputError as error:
                failed.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        new = computed(stored.assign(simulated=float(number)))
        store.write(lemma5, "full", lemma5.full, new, force=True)
    stop.set()
    reader.join()
    assert not failed and seen and all(len(values) == 1 for values in seen)


def test_a_folder_that_cannot_be_written_is_one_line(lemma5, losses, tmp_path):
    (tmp_path / "yang2024").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write to .*--store DIR"):
        Store(tmp_path).write(lemma5, "full", lemma5.full, computed(losses))


def test_without_a_book_the_store_must_be_named(monkeypatch, tmp_path):
    monkeypatch.setattr("iclbook.store.book_folder", lambda: None)
    monkeypatch.delenv("ICLBOOK_STORE", raising=False)
    with pytest.raises(InputError, match="--store DIR or ICLBOOK_STORE"):
        Store()
    monkeypatch.setenv("ICLBOOK_STORE", str(tmp_path))
    assert Store().root == tmp_path and not Store().is_books_own


def test_the_books_own_store_is_known_by_any_name():
    own = Store()
    assert own.is_books_own and Store(own.root / ".." / "results").is_books_own


@pytest.mark.parametrize(
    "text", ["seed,weights\n0,best\n", "", "a,b\nx\n1,2,3,4\n", "\x00\xff not a table"]
)
def test_a_table_that_is_not_the_declared_one_is_one_line(store, lemma5, stored, text):
    """Its hash fits, as after a measure was added to the declaration."""
    content = text.encode()
    store.file(lemma5, "full", "losses").write_bytes(content)
    sidecar = store.file(lemma5, "full")
    meta = json.loads(sidecar.read_text())
    about = {"sha256": hashlib.sha256(content).hexdigest(), "rows": content.count(b"\n") - 1}
    meta["tables"]["losses"] |= about
    sidecar.write_text(vouched(meta))
    with pytest.raises(InputError, match="not what is declared") as caught:
        store.read(lemma5)
    assert "\n" not in str(caught.value) and "--force" in str(caught.value)


def rewrite(store, experiment, table, **changes):
    """A table and a sidecar that vouches for it, with other fields changed."""
    content = table.to_csv(index=False, lineterminator="\n").encode()
    store.file(experiment, "full", "losses").write_bytes(content)
    path = store.file(experiment, "full")
    meta = json.loads(path.read_text()) | changes
    about = {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(table)}
    meta["tables"]["losses"] |= about | changes.get("about", {})
    path.write_text(vouched(meta))


@pytest.mark.parametrize(
    ("change", "fields", "words"),
    [
        (lambda t: t, {}, None),
        (lambda t: t, {"about": {"rows": 16}}, "has 15 rows, not the 16 that its JSON says"),
        (lambda t: t.head(7), {"about": {"rows": 15}}, "has 7 rows, not the 15"),
        (lambda t: pd.concat([t, t]), {}, "the same key twice"),
        (lambda t: t[t["seed"] < 4], {}, r"tables only: \[4\]"),
        (lambda t: t, {"seeds": [0, 1, 2, 3, 7]}, r"tables only: \[4, 7\]"),
        (lambda t: t.assign(seed=t["seed"] + 1), {}, r"tables only: \[0, 5\]"),
        (lambda t: t, {"id": "yang2024/lemma4"}, "is the result of yang2024/lemma4 full"),
        (lambda t: t, {"profile": "quick"}, "is the result of yang2024/lemma5 quick"),
    ],
)
def test_a_sidecar_that_does_not_tell_the_truth_is_refused(
    store, lemma5, stored, change, fields, words
):
    rewrite(store, lemma5, change(stored), **fields)
    if words is None:
        assert len(store.read(lemma5)["losses"]) == len(stored)
        return
    with pytest.raises(InputError, match=words) as caught:
        store.read(lemma5)
    assert "\n" not in str(caught.value) and "--force" in str(caught.value)


def test_one_changed_character_of_a_sidecar_is_refused(store, lemma5, stored):
    path = store.file(lemma5, "full")
    text = path.read_text()
    for old, new in ((np.__version__, "0.1"), ('"threads": 1', '"threads": 2'), ("0.1", "0.2")):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        refused(store, lemma5, "full.json is damaged (its SHA-256 differs)")
    path.write_text(text.replace(": ", " :  "))
    assert store.is_stored(lemma5), "spaces say nothing"


def test_what_killed_writers_left_is_cleared_away_by_the_next_one(store, lemma5, stored):
    folder = store.file(lemma5, "full").parent
    (folder / "full.json.999.part").write_text("half")
    (folder / ".full.999.part").mkdir()
    (folder / ".full.999.done").mkdir()
    (folder / ".full.999.done" / "full.json").write_text("old")
    (folder / ".quick.999.part").mkdir()
    assert store.is_stored(lemma5)
    store.write(lemma5, "full", lemma5.full, computed(stored), force=True)
    left = {path.name for path in folder.iterdir()}
    assert left == {"full.json", "full.losses.csv", ".quick.999.part"}


def test_a_name_that_is_too_long_is_one_line(lemma5, losses, tmp_path):
    store = Store(tmp_path / ("a" * 300))
    with pytest.raises(InputError, match=r"full.json is missing"):
        store.read(lemma5)
    with pytest.raises(InputError, match=r"cannot write to .*too long"):
        store.write(lemma5, "full", lemma5.full, computed(losses))


def test_one_process_at_a_time_and_a_dead_ones_lock_is_taken_over(tmp_path, capsys):
    code = "import sys, time; from pathlib import Path; from iclbook.files import alone\n"
    code += "with alone(Path(sys.argv[1]), 'x'):\n    print('in', flush=True); time.sleep(60)"
    lock = tmp_path / ".partial" / "full.lock"
    command = [sys.executable, "-c", code, str(lock)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "in\n"
    held = f"process {other.pid} on .* is at work on x; wait"
    with pytest.raises(InputError, match=held), files.alone(lock, "x"):
        pytest.fail("two hold one lock")
    assert capsys.readouterr().err == ""
    other.kill()
    other.communicate()
    for said in (f"process {other.pid} on ", ""):
        ours = pytest.raises(InputError, match=f"process {os.getpid()} on ")
        with files.alone(lock, "x"), ours, files.alone(lock, "x"):
            pytest.fail("two hold one lock")
        error = capsys.readouterr().err
        assert error.startswith(said) and error.count("\n") == bool(said)


def test_the_books_own_results_are_found_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICLBOOK_STORE", raising=False)
    store = Store()
    assert store.is_books_own and store.root == Path(__file__).parents[2] / "results"
