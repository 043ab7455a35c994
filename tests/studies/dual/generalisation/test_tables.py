"""Claims of the chapter on demonstrations say no to false data; its pools are what they are
said to be."""

import numpy as np
import pandas as pd
import pytest
import torch
from claims import CLAIMS, outcome

from iclbook.catalogue import find
from studies.dual.generalisation.compute import draw_pool

COUNTS = (2, 8, 32, 128, 512)


def gap_table(change=None, pools=("unit", "uniform", "prompt"), slope=-0.5):
    """A table on which both claims hold; `change` maps (pool, N, quantity) to a factor; slope:
    of the mean gap.

    slope may be a dict over pools.
    """
    rows = []
    for pool in pools:
        exponent = slope[pool] if isinstance(slope, dict) else slope
        for seed in (0, 1):
            for n in COUNTS:
                rms, wobble = n**-0.5, 1 + 0.001 * (2 * seed - 1)
                mean = 0.98 * 2**-0.5 * (n / 2) ** exponent * wobble
                cell = {
                    "mean": mean,
                    "mean_error": 0.01 * mean,
                    "mean_square": rms**2 * wobble,
                    "mean_square_error": 0.01 * rms**2,
                    "largest": 1.5 * rms,
                    "quantile": 1.3 * rms,
                    "share_above": 0.0,
                    "twice_Rademacher": 1.9 * rms,
                    "Rademacher_error": 0.01 * rms,
                    "rms": rms,
                    "second_moment": 1.02 * rms,
                    "symmetrised": 2.04 * rms,
                    "radius": 2.5 * rms,
                    "deviation": 2.5 * rms,
                    "bound": 5 * rms,
                }
                for name in cell:
                    cell[name] *= (change or {}).get((pool, n, name), 1.0)
                rows.append({"pool": pool, "seed": seed, "N": n, **cell})
    return {"ren2024/thm32-gap": {"gaps": pd.DataFrame(rows)}}


@pytest.mark.parametrize(
    "change",
    [
        {("uniform", 8, "quantile"): 4.0},  # above the bound
        {("prompt", 2, "quantile"): 4.0},
        {("unit", 512, "bound"): 0.25},
        {("unit", 8, "rms"): 1.5},  # the exact mean square disagrees with the sampled one
        {("uniform", 32, "mean_square"): 1.2},
        {("uniform", 32, "mean"): 1.2},  # above the root mean square
        {("prompt", 32, "symmetrised"): 0.4},  # a step that tightens
        {("prompt", 32, "radius"): 0.5},
        {("unit", 2, "twice_Rademacher"): 0.4},  # below the mean gap
        {("unit", 2, "twice_Rademacher"): 1.3},  # above its ceiling
        {("unit", 2, "quantile"): np.nan},
        {("unit", 2, "mean_square"): np.nan},
    ],
)
def test_the_bound_claim_says_no_to_false_data(change):
    assert outcome("ren2024/thm32-bound-holds", gap_table()).verdict == "reproduced"
    assert outcome("ren2024/thm32-bound-holds", gap_table(change)).verdict == "not reproduced"


def test_the_rate_claim_tells_three_cases_apart():
    def judged(slope):
        return outcome("ren2024/thm32-rate-in-n", gap_table(slope=slope))

    assert judged(-0.5) == ("reproduced", pytest.approx(0.0, abs=1e-6))
    for slope in (-0.4, -0.6):
        assert judged(slope) == ("not reproduced", pytest.approx(0.1))
    mixed = {"unit": -0.5, "uniform": -0.52, "prompt": -0.1}
    assert judged(mixed) == ("partly", pytest.approx(0.4))


def test_the_papers_statement_stays_untestable():
    claim = CLAIMS["ren2024/thm32-paper-statement"]
    assert claim.judge({}).verdict == "untestable" and claim.experiments == () and claim.reason


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
