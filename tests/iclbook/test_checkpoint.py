"""Checkpoints inside a point: whole, at most every so often, handed out by the runner and
cleared away."""

import time

import pandas as pd
import pytest
import torch

from iclbook import checkpoint as checkpoints
from iclbook import runner
from iclbook.checkpoint import Checkpoint
from iclbook.experiment import Experiment

STATE = {"step": 7, "weights": torch.arange(3.0), "rows": [(1, "a", 0.5)]}


@pytest.fixture
def path(tmp_path):
    Checkpoint(tmp_path / "point.checkpoint", seconds=0).save(lambda: STATE)
    return tmp_path / "point.checkpoint"


def test_what_is_saved_is_loaded_and_no_path_means_no_file(path):
    loaded = Checkpoint(path).load()
    assert loaded["step"] == 7 and loaded["rows"] == [(1, "a", 0.5)]
    assert torch.equal(loaded["weights"], torch.arange(3.0))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    nowhere = Checkpoint(seconds=0)
    nowhere.save(lambda: pytest.fail("nothing is to be saved"))
    assert nowhere.load() is None
    assert Checkpoint(path.with_name("other")).load() is None


def test_seconds_of_all_attempts_are_added_up(tmp_path, monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    for before, took in ((0.0, 40.0), (40.0, 7.5), (47.5, 1.0)):
        keeper = Checkpoint(tmp_path / "point.checkpoint", seconds=0)
        keeper.load()
        assert keeper.earlier == before
        now[0] += took
        keeper.save(lambda: STATE)
        now[0] += 500  # between two attempts


def test_it_waits_between_two_saves(tmp_path):
    keeper = Checkpoint(tmp_path / "point.checkpoint", seconds=3_600)
    keeper.save(lambda: pytest.fail("too early"))
    assert keeper.load() is None


@pytest.mark.parametrize("spoil", ["bit", "empty", "cut"])
def test_a_spoilt_checkpoint_is_left_aside_with_one_line(path, capsys, spoil):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    changed = {"bit": content, "empty": b"", "cut": content[:200]}[spoil]
    path.write_bytes(bytes(changed))
    assert Checkpoint(path).load() is None
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "damaged; the point starts anew" in error


def test_a_checkpoint_of_another_processor_is_left_aside(path, monkeypatch, capsys):
    far = {"processor": "far", "instruction_set": "old"}
    monkeypatch.setattr(checkpoints, "processor", lambda: far)
    assert Checkpoint(path).load() is None
    assert "another processor" in capsys.readouterr().err


@pytest.mark.parametrize("last", [0, 1])
def test_the_runner_hands_out_a_checkpoint_and_clears_it_away(
    tmp_path, monkeypatch, lemma5, last
):
    partial, stopped = tmp_path / "kept" / "nowhere yet", []

    def function(settings, point, checkpoint):
        checkpoint.seconds = 0
        state = checkpoint.load() or {"done": 0}
        time.sleep(0.2 * (point["seed"] == last and not stopped))
        checkpoint.save(lambda: {"done": state["done"] + 1})
        if point["seed"] == last and not stopped:
            stopped.append(checkpoint.path)
            raise KeyboardInterrupt
        columns = dict.fromkeys(lemma5.tables["losses"].measures, float(state["done"]))
        return {"losses": pd.DataFrame([{"weights": "best", **columns}])}

    monkeypatch.setattr(Experiment, "resolve", lambda self: function)
    settings = lemma5.settings("full", seeds=(0, 1))
    with pytest.raises(KeyboardInterrupt):
        runner.compute(lemma5, settings, partial=partial)
    assert stopped[0].exists() and stopped[0].parent == partial
    computed = runner.compute(lemma5, settings, partial=partial)
    assert computed.seconds[last] >= 0.2, "the time of the attempt that was stopped counts"
    done = computed.tables["losses"]["simulated"].tolist()
    assert done == [seed == last for seed in (0, 1)], "it took up what the first attempt left"
    assert sorted(path.suffix for path in partial.iterdir()) == [".point", ".point"]
