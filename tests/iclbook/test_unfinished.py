"""The fingerprint of unfinished work follows settings, packages and every module behind a
point."""

import dataclasses
import sys
import time

import pandas as pd
import psutil
import pytest

from iclbook import runner, unfinished
from iclbook.catalogue import experiments, find
from iclbook.errors import InputError

PROJECT = {
    "toystudy/__init__.py": "",
    "toystudy/compute.py": "def point(settings, point):\n    from toystudy import draws\n",
    "toystudy/draws.py": "import math\nfrom toystudy.deep import shape, SIZE\n",
    "toystudy/deep/__init__.py": "SIZE = 3\n",
    "toystudy/deep/shape.py": "FORM = 'round'\n",
    "toystudy/other.py": "UNUSED = 1\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    # As if this process had started after every change.
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: time.time() + 60)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "toystudy"]:
        del sys.modules[name]


def print_of(lemma5):
    """The fingerprint as a process that starts now would compute it."""
    unfinished.code_behind.cache_clear()
    toy = dataclasses.replace(lemma5, function="toystudy.compute:point")
    return unfinished.fingerprint(toy, lemma5.full)


@pytest.mark.parametrize("name", [name for name in PROJECT if "other" not in name])
def test_a_changed_line_in_any_module_behind_a_point_changes_the_fingerprint(
    project, lemma5, name
):
    before = print_of(lemma5)
    with (project / name).open("a") as file:
        file.write("# changed\n")
    assert print_of(lemma5) != before


def test_code_that_changed_after_the_process_had_started_vouches_for_nothing(
    project, lemma5, monkeypatch
):
    """What is on the disk is not what this process has imported."""
    print_of(lemma5)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: time.time() - 60)
    with pytest.raises(InputError, match=r"was changed after this process had started"):
        print_of(lemma5)


def test_a_module_that_the_point_does_not_use_changes_nothing(project, lemma5):
    before = print_of(lemma5)
    (project / "toystudy/other.py").write_text("UNUSED = 2\n")
    assert print_of(lemma5) == before


def test_settings_packages_and_the_machinery_count_seeds_do_not(lemma5, monkeypatch):
    full = lemma5.full
    before = unfinished.fingerprint(lemma5, full)
    assert unfinished.fingerprint(lemma5, dataclasses.replace(full, seeds=(9,))) == before
    assert unfinished.fingerprint(lemma5, dataclasses.replace(full, tau=0.5)) != before
    monkeypatch.setattr(unfinished, "versions", lambda: {"torch": "0.1"})
    assert unfinished.fingerprint(lemma5, full) != before
    code = unfinished.code_behind("studies.ridge.population_loss.compute")
    for words in (
        b"def compute_point(",
        b"class Checkpoint",
        b"def atomic_write",
        b"class Store",
    ):
        assert words in code
    assert b"def sample_dictionary" in code, "what the study's modules import themselves counts"
    assert b"def attention_weights" not in code, "part II has no part in it"


def test_a_run_starts_anew_when_code_behind_it_has_changed(store, lemma5, monkeypatch, capsys):
    folders = []
    monkeypatch.setattr(
        runner, "compute", lambda *a, partial, **k: folders.append(partial) or 1 / 0
    )
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            runner.run(lemma5, "full", store, progress=False)
    monkeypatch.setattr(unfinished, "code_behind", lambda module: b"changed")
    with pytest.raises(ZeroDivisionError):
        runner.run(lemma5, "full", store, progress=False)
    assert folders[0] == folders[1] != folders[2]


def test_every_experiments_code_is_found():
    for experiment in experiments().values():
        module = experiment.function.partition(":")[0]
        assert b"def " in unfinished.code_behind(module)
        assert find(experiment.id) is experiment


def test_a_kept_point_takes_the_place_of_its_checkpoint_if_there_is_one(tmp_path):
    tables = {"losses": pd.DataFrame({"seed": [3], "loss": [0.25]})}
    for point in ({"seed": 3}, {"seed": 4}):
        checkpoint = unfinished.checkpoint_of(tmp_path, point)
        if point["seed"] == 3:
            checkpoint.write_bytes(b"a state")
        unfinished.keep(tmp_path, point, tables, 1.5, {"cores": 2})
        assert not checkpoint.exists()
        found, seconds, where = unfinished.kept_point(tmp_path, point, "cpu")
        assert found["losses"]["loss"].item() == 0.25
        assert (seconds, where["cores"]) == (1.5, 2)


def test_a_kept_point_is_taken_up_only_as_its_own_points_in_its_own_run(tmp_path, capsys):
    tables = {"losses": pd.DataFrame({"seed": [3], "loss": [0.25]})}
    ours, theirs = tmp_path / "full-a", tmp_path / "full-b"
    for folder in (ours, theirs):
        folder.mkdir()
        for seed in (3, 4):
            unfinished.keep(folder, {"seed": seed}, tables, 1.5, {"cores": 2})
    three, four = (ours / f"{unfinished.point_name({'seed': s})}.point" for s in (3, 4))
    for other in (four, theirs / three.name):
        three.write_bytes(other.read_bytes())
        assert unfinished.kept_point(ours, {"seed": 3}) is None
        assert "is of another point or run; it is computed again" in capsys.readouterr().err
    three.unlink()
    three.mkdir()
    assert unfinished.kept_point(ours, {"seed": 3}) is None
