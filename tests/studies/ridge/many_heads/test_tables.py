"""The checks of *How many heads?* on invented curves: true ones and ones that make each claim
false."""

import math

import pandas as pd
import pytest
from claims import outcome

from studies.ridge.many_heads import tables as checks

STEPS = (0, 10, 100, 1_000, 2_000, 4_000)


def check(tail, tables):
    """The outcome of a claim, with its recorded threshold, on invented tables."""
    return outcome(f"yang2024/{tail}", tables, **({"steps": 50} if "optimis" in tail else {}))


def falling(rate):
    return [10 * math.exp(-rate * step) for step in STEPS]


STILL = [10, 5, 1, 0.5, 0.5, 0.5]
WILD = [10, 5, 1e-2, 1e-3, 1e-1, 1e-2]


def fig4(**curves):
    """A table with the same curve for both readings and two seeds: fig4(h5=..., h400=...)."""
    rows = []
    for name, values in curves.items():
        for tokens in ("unit", "gaussian"):
            for seed in (0, 1):
                rows += [
                    (tokens, seed, int(name[1:]), step, v) for step, v in zip(STEPS, values)
                ]
    columns = ["tokens", "seed", "H", "step", "excess_loss"]
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
        check(tail, fig4(h30=STILL, h64=falling(1e-2), h400=falling(2e-2))).verdict == "partly"
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


def test_jitter_at_the_floor_is_no_instability():
    assert checks.instability(pd.Series([1.0, 1e-9, 9e-6], STEPS[:3])) == 1
    assert checks.instability(pd.Series([1.0, 1e-9, 1e-3], STEPS[:3])) == pytest.approx(100)


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


@pytest.mark.parametrize(
    "zero, near, verdict",
    [(1.0, 1e-3, "reproduced"), (1.0, 0.5, "not reproduced"), (1e-9, 1e-3, "not reproduced")],
)
def test_fig4_stall_is_optimisation(zero, near, verdict):
    rows = []
    for case, end in (("from zero", zero), ("near the solution", near)):
        for seed in (0, 1):
            rows += [(case, 100, 2, seed, step, v) for step, v in ((0, 10.0), (50, end))]
    rows += [("from zero", 200, 2, 0, step, v) for step, v in ((0, 10.0), (50, 1e-9))]
    table = pd.DataFrame(rows, columns=["case", "K", "H", "seed", "step", "excess_loss"])
    assert (
        check("fig4-stall-is-optimisation", {"yang2024/fig4-stall": {"curves": table}}).verdict
        == verdict
    )
