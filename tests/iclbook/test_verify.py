"""Every stored result of the book, computed again in part with today's code."""

import dataclasses

import pytest

from iclbook.catalogue import experiments, find
from iclbook.errors import InputError
from iclbook.store import Store
from iclbook.verify import _turned, verify


def test_a_part_moves_on_over_seeds_and_branches():
    full = find("yang2024/thm1-rates").full
    part = {"seeds": (full.seeds[-1],), "rules": ("theory",)}
    assert _turned(part, full, 0) == part
    assert _turned(part, full, 1) == {"seeds": (full.seeds[0],), "rules": ("fixed",)}
    assert _turned(part, full, 2)["rules"] == ("tuned",)


@pytest.mark.parametrize("experiment", experiments().values(), ids=list(experiments()))
def test_a_part_of_the_stored_result_is_computed_again(experiment):
    try:
        experiment.inputs_of(experiment.full)
    except InputError as error:
        pytest.skip(str(error))  # data and weights that are not the book's need not be here
    # The part as it is declared, which is cheap; `make verify` moves on to others.
    report = verify(experiment, Store(), rotate=0)
    assert report["ok"], report


def test_attention_trained_over_many_prompts_repeats_a_hundred_steps_on_unit_tokens():
    """With Gaussian tokens, the part that is declared, last bits have grown by then."""
    experiment = find("yang2024/many-prompts")
    longer = dict(steps=100, seeds=(0,), tokens=("unit",))
    report = verify(dataclasses.replace(experiment, verify=longer), Store(), rotate=0)
    assert report["ok"], report
