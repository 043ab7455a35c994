"""A small experiment to run for real, a store of its own, and a command that must be
refused."""

import dataclasses
import sys

import pytest

from iclbook.catalogue import find
from iclbook.cli import main
from iclbook.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def refusal(monkeypatch, capsys):
    """Run a command in this process that must be refused; returns its one line on standard
    error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["iclbook", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        error = capsys.readouterr().err
        assert stop.value.code == 2
        assert error.count("\n") == 1 and error.endswith("\n"), error
        return error

    return run


@pytest.fixture
def lemma5():
    """yang2024/lemma5 with its full profile made as small as the quick one."""
    experiment = find("yang2024/lemma5")
    small = dataclasses.replace(experiment.full, draws=2_000)
    return dataclasses.replace(experiment, full=small, quick=small)
