"""The checks of *How many heads?* on invented curves: true ones and ones that make each claim
false."""

import dataclasses
import math

import pandas as pd
import pytest
from claims import CLAIMS, outcome

from iclbook.catalogue import find
from iclbook.store import Result
from studies.ridge.many_heads import tables as checks

STEPS = (0, 10, 100, 1_000, 2_000, 4_000)


def check(tail, tables, **settings):
    """The outcome of a claim, with its recorded threshold, on invented tables."""
    return outcome(f"yang2024/{tail}", tables, **settings)


def falling(rate):
    return [10 * math.exp(-rate * step) for step in STEPS]


STILL = [10, 5, 1, 0.5, 0.5, 0.5]
WILD = [10, 5, 1e-2, 1e-3, 1e-1, 1e-2]
ZERO, NEAR = "from zero", "near the solution"


def fig4(**curves):
    """A table with the same curve for both readings and two seeds: fig4(h5=..., h400=...)."""
    rows = []
    for name, values in curves.items():
        for tokens in ("unit", "gaussian"):
            for seed in (0, 1):
                key = (tokens, "population", seed, int(name[1:]))
                rows += [(*key, step, v) for step, v in zip(STEPS, values)]
    columns = ["tokens", "loss", "seed", "H", "step", "excess_loss"]
    return {"yang2024/fig4": {"curves": pd.DataFrame(rows, columns=columns)}}


def grid(curves, curvature=1.0):
    """A map: {(optimizer, H, rate): curve}."""
    rows, curvatures = [], []
    for (optimizer, H, rate), values in curves.items():
        key = (optimizer, "population", "float32", H, rate, 0)
        rows += [(*key, step, v) for step, v in zip(STEPS, values)]
        curvatures.append((*key, curvature))
    keys = ["optimizer", "loss", "dtype", "H", "rate", "seed"]
    tables = {
        "curves": pd.DataFrame(rows, columns=[*keys, "step", "excess_loss"]),
        "curvatures": pd.DataFrame(curvatures, columns=[*keys, "curvature"]),
    }
    return {"yang2024/fig4-map": tables}


def test_fig4_small_h_stalls():
    tail = "fig4-small-h-stalls"
    assert check(tail, fig4(h5=STILL, h20=STILL, h30=falling(1e-3))) == ("reproduced", 1.0)
    assert check(tail, fig4(h5=STILL, h20=falling(1e-3))) == ("partly", 0.5)
    rising = fig4(h5=STILL[::-1], h20=STILL[::-1])
    assert check(tail, rising).verdict == "not reproduced"
    assert check(tail, fig4(h5=falling(1e-4), h20=falling(1e-3), h30=STILL)) == (
        "not reproduced",
        0.0,
    )
    arrived = [10, 1e-2, 1e-5, 1e-5, 1e-5, 1e-5]
    assert check(tail, fig4(h5=arrived)).verdict == "not reproduced", (
        "what stands at the minimum does not stall"
    )
    assert check(tail, fig4(h30=STILL)).verdict == "not reproduced", "no run with few heads"


def test_fig4_h_equals_n_converges():
    tail = "fig4-h-equals-n-converges"
    assert check(
        tail, fig4(h20=STILL, h30=falling(1e-4), h64=falling(2e-4), h400=falling(1e-3))
    ) == ("reproduced", 1.0)
    assert (
        check(tail, fig4(h30=STILL, h64=falling(2e-3), h400=falling(3e-3))).verdict == "partly"
    )
    assert check(tail, fig4(h30=falling(1e-3), h64=falling(1e-4))) == ("partly", 0.0)
    assert check(tail, fig4(h30=STILL, h64=[2 * v for v in STILL])) == ("not reproduced", 0.0)


def test_fig4_large_h_diverges():
    tail, calm = "fig4-large-h-diverges", fig4(h30=falling(1e-3), h400=falling(1e-3))
    both = ("adam", 30, 1e-2), ("adam", 400, 1e-2)
    tame = grid(dict.fromkeys(both, falling(1e-3)))
    assert check(tail, fig4(h30=falling(1e-3), h400=WILD) | tame) == (
        "reproduced",
        pytest.approx(100),
    )
    assert check(tail, calm | grid({both[0]: falling(1e-3), both[1]: WILD})) == (
        "partly",
        pytest.approx(1),
    )
    assert check(tail, calm | tame).verdict == "not reproduced"
    assert check(tail, calm | grid(dict.fromkeys(both, WILD))).verdict == "not reproduced", (
        "few heads suffer too"
    )
    assert (
        check(tail, calm | grid({both[0]: [10] * 6, both[1]: WILD})).verdict == "not reproduced"
    ), "few heads learn nothing"
    assert (
        check(
            tail,
            calm
            | grid(
                {
                    both[0]: falling(1e-3),
                    both[1]: [10, 9, math.inf, math.inf, math.inf, math.inf],
                }
            ),
        ).verdict
        == "partly"
    )


def test_the_head_counts_judged_are_those_of_the_settings():
    """The same curves under other settings: fewer shown tokens, another largest head count."""
    curves = fig4(h5=STILL, h20=falling(1e-3), h30=falling(2e-3), h400=WILD)
    assert check("fig4-small-h-stalls", curves) == ("partly", 0.5)
    assert check("fig4-small-h-stalls", curves, N=20) == ("reproduced", 1.0)
    assert check("fig4-h-equals-n-converges", curves, N=5).verdict == "not reproduced"
    tame = grid(dict.fromkeys((("adam", 30, 1e-2), ("adam", 400, 1e-2)), falling(1e-3)))
    assert check("fig4-large-h-diverges", curves | tame).verdict == "reproduced"
    results = {
        name: Result(tables, find(name).full, "made up")
        for name, tables in (curves | tame).items()
    }
    settings = dataclasses.replace(find("yang2024/fig4").full, H=(5, 20, 30))
    results["yang2024/fig4"] = dataclasses.replace(results["yang2024/fig4"], settings=settings)
    fewer = CLAIMS["yang2024/fig4-large-h-diverges"].outcome(results)
    assert fewer == ("not reproduced", 1.0), "400 heads are not the most any more"


def test_a_loss_that_is_no_number_is_no_sign_of_instability():
    assert math.isnan(checks.instability(pd.Series([1.0, math.nan, 0.1], STEPS[:3])))
    assert checks.instability(pd.Series([1.0, 0.1, math.inf], STEPS[:3])) == math.inf
    broken = [10, 5, 1, math.nan, math.nan, math.nan]
    calm, both = falling(1e-3), (("adam", 30, 1e-2), ("adam", 400, 1e-2))
    tame = grid(dict.fromkeys(both, calm))
    found = check("fig4-large-h-diverges", fig4(h30=calm, h400=broken) | tame)
    assert found.verdict == "not reproduced" and math.isnan(found.measured)
    descent = grid({("gd", 10, 1.0): calm, ("gd", 400, 3.0): broken})
    assert check("fig4-gd-rate-times-heads", descent).verdict == "not reproduced"


def test_fates_are_read_in_time_order():
    tables = fig4(h5=[10, 8, 6, 4, 2, 1])
    tables["yang2024/fig4"]["curves"] = tables["yang2024/fig4"]["curves"].iloc[::-1]
    run = checks.fates(tables["yang2024/fig4"]["curves"], "tokens", "seed", "H").iloc[0]
    assert (run["steps"], run["start"], run["end"]) == (4_000, 10, 1)
    assert run["slope"] == pytest.approx(1), "from 2,000 to 4,000 steps the loss halves"
    assert (run["stalls"], run["instability"]) == (False, 1)


@pytest.mark.parametrize("power, stalls", [(0.05, True), (0.09, True), (0.11, False)])
def test_a_power_law_has_its_own_slope(power, stalls):
    curve = [10, *(10 * step**-power for step in STEPS[1:])]
    curves = fig4(h5=curve)["yang2024/fig4"]["curves"]
    runs = checks.fates(curves, "tokens", "seed", "H")
    assert runs["slope"].to_list() == pytest.approx([power] * 4)
    assert runs["stalls"].all() == stalls and runs["stalls"].any() == stalls


def test_a_run_that_ends_in_no_number_does_not_stand_still():
    curves = fig4(h5=[10, 8, 6, 4, 2, math.nan])["yang2024/fig4"]["curves"]
    runs = checks.fates(curves, "tokens", "seed", "H")
    assert not runs["stalls"].any() and runs["slope"].isna().all()


def test_more_heads_are_compared_before_any_has_arrived():
    """Below the noise the order of two curves says nothing; before, the larger is lower."""
    few, many = [10, 5, 1, 1e-2, 1e-6, 1e-8], [10, 4, 0.5, 1e-3, 1e-6, 2e-8]
    assert check("fig4-h-equals-n-converges", fig4(h30=few, h64=many)) == ("reproduced", 1.0)
    assert check("fig4-h-equals-n-converges", fig4(h30=many, h64=few)).measured == 0.0
    broken = [*many[:4], math.nan, math.nan]
    found = check("fig4-h-equals-n-converges", fig4(h30=few, h64=broken))
    assert found.verdict == "not reproduced" and math.isnan(found.measured)


def test_each_cell_of_the_map_has_its_own_curvature():
    cells = {("gd", 10, 2.0): falling(1e-3), ("gd", 400, 3.0): falling(1e-3)}
    tables = grid(cells)["yang2024/fig4-map"]
    tables["curvatures"]["curvature"] = [0.5, 0.25]
    found = checks.map_fates(tables).set_index("H")
    assert found["rate x H"].to_dict() == {10: 20.0, 400: 1_200.0}
    assert found["rate x curvature"].to_dict() == {10: 1.0, 400: 0.75}


def test_few_heads_at_the_end_are_medians_over_seeds():
    keys, last = ["case", "K", "H", "seed"], find("yang2024/fig4-stall").full.steps
    runs = [("from zero", 200, 2, seed) for seed in (0, 1, 2)]
    curves = [(*run, step, step + run[-1], 0.1 * run[-1]) for run in runs for step in (0, last)]
    signs = [(*run, step, 0.9 + 0.01 * run[-1]) for run in runs for step in (100, last)]
    tables = {
        "curves": pd.DataFrame(curves, columns=[*keys, "step", "excess_loss", "both_signs"]),
        "signs": pd.DataFrame(signs, columns=[*keys, "step", "kept"]),
        "frozen": pd.DataFrame(runs, columns=keys).assign(excess_loss=[0.0, 1.0, 2.0]),
    }
    found = checks.few_at_end(Result(tables, find("yang2024/fig4-stall").full, "made up"))
    row = found.loc[200, 2, "from zero"]
    assert row.tolist() == pytest.approx([last + 1, 1, 0.1, 0.91])


def test_jitter_at_the_floor_is_no_instability():
    assert checks.instability(pd.Series([1.0, 1e-9, 9e-6], STEPS[:3])) == 1
    assert checks.instability(pd.Series([1.0, 1e-9, 1e-3], STEPS[:3])) == pytest.approx(100)
    falling = pd.Series([1.0, 1e-9, 9e-6], STEPS[:3])
    assert checks.instability(falling, floor=1e-7) == pytest.approx(90)


def test_fig4_gd_rate_times_heads():
    fates = {
        ("gd", 10, 1.0): falling(1e-3),
        ("gd", 400, 3.0): [10, 1e4, math.inf, math.inf, math.inf, math.inf],
        ("adam", 400, 3.0): falling(1e-3),
    }
    assert check("fig4-gd-rate-times-heads", grid(fates)) == ("reproduced", 1.0)
    assert check("fig4-gd-rate-times-heads", grid(fates, curvature=0.1)) == (
        "not reproduced",
        0.5,
    )


def few(zero, near, last=50):
    """Two seeds of the case that is solvable, from both starts, and one run that is not."""
    runs = [(case, 100, end) for case, end in ((ZERO, zero), (NEAR, near)) for _ in (0, 1)]
    rows = []
    for number, (case, K, end) in enumerate([*runs, (ZERO, 200, 1e-9)]):
        rows += [(case, K, 2, number % 2, step, v) for step, v in ((0, 10.0), (last, end))]
    columns = ["case", "K", "H", "seed", "step", "excess_loss"]
    return {"yang2024/fig4-stall": {"curves": pd.DataFrame(rows, columns=columns)}}


@pytest.mark.parametrize(
    "zero, near, verdict",
    [(1.0, 1e-3, "reproduced"), (1.0, 0.5, "not reproduced"), (1e-9, 1e-3, "not reproduced")],
)
def test_fig4_stall_is_optimisation(zero, near, verdict):
    tail = "fig4-stall-is-optimisation"
    assert check(tail, few(zero, near), steps=50).verdict == verdict
    assert check(tail, few(zero, near), steps=50, d=99).verdict == "not reproduced", (
        "for K > d nobody knows that two heads can"
    )
    assert check(tail, few(zero, near, last=40), steps=50).verdict == "not reproduced", (
        "a run that ended early is no run"
    )
