"""Every stored result of the book, computed again in part with today's code."""

import pytest

from iclbook import runner
from iclbook.store import Store
from studies.catalogue import CATALOGUE


@pytest.mark.parametrize("experiment", CATALOGUE.values(), ids=list(CATALOGUE))
def test_a_part_of_the_stored_result_is_computed_again(experiment):
    report = runner.verify(experiment, Store())
    assert report["ok"], report
