"""The pools of the chapter *How many demonstrations?* and the gap measured on them."""

import numpy as np
import pytest
import torch

from iclbook.catalogue import find
from studies.dual.generalisation.compute import draw_pool


def test_pools():
    for name, shapes in (
        ("unit", ((50, 4), (50, 3))),
        ("uniform", ((50, 11),) * 2),
        ("prompt", ((50, 11),) * 2),
    ):
        pool = draw_pool(name, 50, torch.Generator().manual_seed(0))
        assert tuple(t.shape for t in pool) == shapes
    ones = torch.ones(50, dtype=torch.float64)
    for side in draw_pool("unit", 50, torch.Generator().manual_seed(1)):
        torch.testing.assert_close(side.norm(dim=-1), ones)
    keys, _ = draw_pool("prompt", 50, torch.Generator().manual_seed(1))
    assert (
        torch.linalg.matrix_rank(keys) == 10
    )  # the label is a linear function of the ten inputs


def test_the_experiment_measures_the_gap_on_a_small_pool():
    experiment = find("ren2024/thm32-gap")
    s = experiment.settings("quick", size=40, samples=300, N=(1, 4))
    tables = experiment.resolve()(s, {"pool": "unit", "seed": 0})
    for n in (1, 4):
        row = tables["gaps"].set_index("N").loc[n]
        assert abs(row["mean_square"] - row["rms"] ** 2) < 4 * row["mean_square_error"]
        assert (
            row["mean"] <= row["quantile"] <= row["largest"] < row["bound"]
            and row["share_above"] == 0
        )
        assert 1.6 * row["mean"] < row["twice_Rademacher"] <= row["symmetrised"] * (1 + 1e-9)
    pool = tables["pools"].iloc[0]
    assert pool["rho"] == pytest.approx(1) and pool["kappa"] ** 2 == pytest.approx(np.e)
