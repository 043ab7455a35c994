"""Every seed draws something of its own: no two seeds of a stored result hold the same rows."""

from itertools import combinations

import pytest

from iclbook.catalogue import experiments
from iclbook.store import Store

COUNTED = {("yang2024/fig5", "costs")}  # operations of a step, which no seed changes
SEVERAL = {name: e for name, e in experiments().items() if len(e.full.seeds) > 1}


@pytest.mark.parametrize("experiment", SEVERAL.values(), ids=list(SEVERAL))
def test_no_two_seeds_hold_the_same_rows(experiment):
    result = Store().read(experiment)
    for name in experiment.tables:
        of_seed = result[name].groupby("seed")
        rows = [part.drop(columns="seed").reset_index(drop=True) for _, part in of_seed]
        same = any(one.equals(other) for one, other in combinations(rows, 2))
        assert same == ((experiment.id, name) in COUNTED), name
