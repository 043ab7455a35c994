"""A small experiment to run for real, and a store of its own."""

import dataclasses

import pytest

from iclbook.settings.catalogue import find
from iclbook.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def lemma5():
    """yang2024/lemma5 with its full profile made as small as the quick one."""
    experiment = find("yang2024/lemma5")
    small = dataclasses.replace(experiment.full, draws=2_000)
    return dataclasses.replace(experiment, full=small, quick=small)
