"""Checkpoints inside a point: whole, at most every so often, handed out by the runner and cleared away."""

import time

import pandas as pd
import pytest
import torch

from iclbook import runner
from iclbook.checkpoint import Checkpoint
from iclbook.experiment import Experiment


def test_what_is_saved_is_loaded_and_no_path_means_no_file(tmp_path):
    path = tmp_path / "point.checkpoint"
    assert Checkpoint(path).load() is None
    Checkpoint(path, seconds=0).save(
        lambda: {"step": 7, "weights": torch.arange(3.0), "rows": [(1, "a", 0.5)]}
    )
    loaded = Checkpoint(path).load()
    assert (
        loaded["step"] == 7
        and loaded["rows"] == [(1, "a", 0.5)]
        and torch.equal(loaded["weights"], torch.arange(3.0))
    )
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    nowhere = Checkpoint(seconds=0)
    nowhere.save(lambda: pytest.fail("nothing is to be saved"))
    assert nowhere.load() is None


def test_it_waits_between_two_saves(tmp_path):
    keeper = Checkpoint(tmp_path / "point.checkpoint", seconds=3_600)
    keeper.save(lambda: pytest.fail("too early"))
    assert keeper.load() is None


def test_the_runner_hands_a_checkpoint_to_a_function_that_takes_one_and_clears_it_away(
    tmp_path, monkeypatch, lemma5
):
    stopped = []

    def function(settings, point, checkpoint):
        checkpoint.seconds = 0
        state = checkpoint.load() or {"done": 0}
        time.sleep(0.2 * (point["seed"] == 1 and not stopped))
        checkpoint.save(lambda: {"done": state["done"] + 1})
        if point["seed"] == 1 and not stopped:
            stopped.append(checkpoint.path)
            raise KeyboardInterrupt
        return pd.DataFrame(
            {"quantity": ["runs before this one"], "value": [float(state["done"])]}
        )

    monkeypatch.setattr(Experiment, "function", lambda self: function)
    settings = lemma5.settings("full", seeds=(0, 1))
    with pytest.raises(KeyboardInterrupt):
        runner.compute(lemma5, settings, partial=tmp_path)
    assert stopped[0].exists() and stopped[0].parent == tmp_path
    table, seconds = runner.compute(lemma5, settings, partial=tmp_path)
    assert seconds[1] >= 0.2, "the time of the attempt that was stopped counts"
    assert table["value"].tolist() == [0, 1], (
        "the second point took up what the first attempt had left"
    )
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".csv"]
