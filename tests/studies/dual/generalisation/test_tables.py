"""Claims of the chapter *How many demonstrations?* on true and false tables."""

import numpy as np
import pandas as pd
import pytest
from claims import CLAIMS, outcome

from studies.dual.generalisation.tables import STEPS, misses, relative_steps, tightness

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
    lost = outcome(
        "ren2024/thm32-rate-in-n", gap_table({("unit", 8, "mean"): np.nan}, slope=mixed)
    )
    assert lost.verdict == "not reproduced"


def test_the_papers_statement_stays_untestable():
    claim = CLAIMS["ren2024/thm32-paper-statement"]
    assert claim.judge({}).verdict == "untestable" and claim.experiments == () and claim.reason


def test_tightness_takes_the_worst_seed_of_what_must_hold_for_all():
    gaps = gap_table()["ren2024/thm32-gap"]["gaps"]
    worst = (gaps["pool"] == "unit") & (gaps["N"] == 8) & (gaps["seed"] == 1)
    gaps.loc[worst, ["largest", "share_above"]] *= 2
    gaps.loc[worst, "share_above"] = 0.01
    found = tightness(gaps).set_index(["pool", "N"]).loc[("unit", 8)]
    assert found["bound / largest gap seen"] == pytest.approx(5 / 3)
    assert found["share above the bound"] == 0.01
    assert found["bound / 95 % quantile"] == pytest.approx(5 / 1.3)
    assert len(tightness(gaps)) == 3 * len(COUNTS)


def test_relative_steps_start_at_the_mean_gap():
    gaps = gap_table()["ren2024/thm32-gap"]["gaps"]
    found = relative_steps(gaps, N=32)
    assert list(found) == ["mean gap", *STEPS.values()] and len(found) == 6
    assert (found["mean gap"] == 1).all()
    np.testing.assert_allclose(found["symmetrised"] / found["second moment"], 2)


def test_misses_are_in_standard_errors():
    gaps = gap_table({("unit", 8, "mean_square"): 1.049})["ren2024/thm32-gap"]["gaps"]
    row = gaps.query("pool == 'unit' and N == 8 and seed == 1")  # a wobble of 1.001
    assert misses(row).item() == pytest.approx(100 * (1.001 * 1.049 - 1))
