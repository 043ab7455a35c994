"""Every stored result of the book, computed again in part with today's code."""

import pytest

from iclbook.catalogue import experiments
from iclbook.errors import InputError
from iclbook.store import Store
from iclbook.verify import verify


@pytest.mark.parametrize("experiment", experiments().values(), ids=list(experiments()))
def test_a_part_of_the_stored_result_is_computed_again(experiment):
    try:
        experiment.inputs_of(experiment.full)
    except InputError as error:
        pytest.skip(str(error))  # data and weights that are not the book's need not be here
    report = verify(experiment, Store())
    assert report["ok"], report
