"""Settings of the chapter *How many heads?*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table, loose


@dataclass(frozen=True, kw_only=True)
class Fig4(Settings):
    """One-layer models of many head counts, all trained for equally many steps.

    Up to `few` heads a step is cheap, so these go on to `steps_of_few` on the population loss.
    On batches only the head counts `on_batches` are trained; `Fig2a` has one more. The largest
    head count is the one said to be unstable.
    """

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    tau: float = 0.01
    H: tuple[int, ...] = (2, 5, 10, 20, 30, 64, 128, 400)
    on_batches: tuple[int, ...] = loose((10, 30), empty=True)
    rate: float = 1e-4
    steps: int = 20_000
    few: int = 10
    steps_of_few: int = 100_000
    tokens: tuple[str, ...] = ("unit", "gaussian")
    pool: int = 10_000
    batch: int = 256
    dtype: str = "float32"

    def steps_of(self, H: int, loss: str = "population") -> int:
        """The steps that a model of H heads takes."""
        longer = loss == "population" and self.few >= H
        return self.steps_of_few if longer else self.steps

    def points(self) -> list[dict]:
        names, heads = ("tokens", "loss", "seed", "H"), (self.H, self.on_batches)
        grids = (
            product(self.tokens, (loss,), self.seeds, H)
            for loss, H in zip(("population", "batch"), heads)
        )
        return [dict(zip(names, point)) for grid in grids for point in grid]


@dataclass(frozen=True, kw_only=True)
class Fig4Map(Settings):
    """Where training converges, crawls or diverges: H against the rate, unit tokens.

    cases: (optimizer, loss, dtype, head counts, rates), each a grid. "gd" has one rate for Q
    and w.
    """

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    tau: float = 0.01
    cases: tuple[tuple[str, str, str, tuple[int, ...], tuple[float, ...]], ...] = (
        (
            "adam",
            "population",
            "float32",
            (10, 30, 64, 128, 400),
            (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
        ),
        ("adam", "batch", "float32", (30, 64, 400), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
        ("adam", "population", "float64", (400,), (1e-2,)),
        ("gd", "population", "float32", (10, 30, 64, 400), (1.0, 3.0, 10.0, 30.0)),
    )
    steps: int = 2_000
    pool: int = 10_000
    batch: int = 256

    def points(self) -> list[dict]:
        names = ("optimizer", "loss", "dtype", "H", "rate", "seed")
        grids = (
            product((o,), (loss,), (dtype,), H, rates, self.seeds)
            for o, loss, dtype, H, rates in self.cases
        )
        return [dict(zip(names, point)) for grid in grids for point in grid]


@dataclass(frozen=True, kw_only=True)
class Fig4Stall(Settings):
    """Few heads, given every chance: is a stall a matter of capacity or of optimisation?

    cases: (name, K, head counts). "from zero" starts at w = 0, "random signs" at w ~ N(0,
    w_spread^2), "near the solution" at the explicit two heads (K <= d), Q and w blurred by
    relative Gaussian noise of size `blur`. The rate starts at `rate` and halves every
    `half_life` steps.
    """

    N: int = 30
    d: int = 100
    m: int = 20
    tau: float = 0.01
    cases: tuple[tuple[str, int, tuple[int, ...]], ...] = (
        ("from zero", 200, (2, 5, 10, 20)),
        ("random signs", 200, (2, 5, 10, 20)),
        ("from zero", 100, (2, 5)),
        ("random signs", 100, (2, 5)),
        ("near the solution", 100, (2,)),
    )
    rate: float = 1e-2
    half_life: float = 2_000.0
    w_spread: float = 1.0
    blur: float = 0.01
    steps: int = 20_000
    dtype: str = "float32"

    @property
    def solvable(self) -> tuple[int, int]:
        """(K, H) of the case that starts near a solution, so that capacity is no question."""
        ((K, (H,)),) = (sizes for name, *sizes in self.cases if name == "near the solution")
        return K, H

    def points(self) -> list[dict]:
        grids = (product((case,), (K,), H, self.seeds) for case, K, H in self.cases)
        return [
            dict(zip(("case", "K", "H", "seed"), point)) for grid in grids for point in grid
        ]


LOSS = {"excess_loss": Measure("L - L*; inf once it is not finite", rtol=1e-3, atol=1e-6)}
CELL = ("optimizer", "loss", "dtype", "H", "rate", "seed")
FEW = ("case", "K", "H", "seed")

EXPERIMENTS = (
    Experiment(
        id="yang2024/fig4",
        item="Figure 4",
        chapter="ridge/many_heads",
        function="studies.ridge.many_heads.compute:fig4",
        tables={
            "curves": Table(keys=("tokens", "loss", "seed", "H", "step"), measures=LOSS),
        },
        full=Fig4(seeds=(0, 1, 2)),
        quick=Fig4(
            N=6,
            K=24,
            d=12,
            m=4,
            H=(2, 6, 24),
            rate=2e-3,
            steps=500,
            few=2,
            steps_of_few=1_000,
            on_batches=(6,),
            pool=500,
            batch=64,
        ),
        paper=Fig4(seeds=(0, 1, 2), tokens=("gaussian",)),
        unstated=("tau", "H", "on_batches", "steps", "few", "steps_of_few", "seeds", "dtype"),
        verify=dict(H=(2, 30), on_batches=(10,), steps=100, steps_of_few=100, seeds=(0,)),
    ),
    Experiment(
        id="yang2024/fig4-map",
        item="Figure 4 (ours: rates)",
        chapter="ridge/many_heads",
        function="studies.ridge.many_heads.compute:fig4_map",
        tables={
            "curves": Table(keys=(*CELL, "step"), measures=LOSS),
            "curvatures": Table(
                keys=CELL,
                measures={"curvature": Measure("max_k lambda_max(B_k B_k^T) / K at the start")},
            ),
        },
        full=Fig4Map(),
        quick=Fig4Map(
            N=6,
            K=24,
            d=12,
            m=4,
            steps=300,
            pool=500,
            batch=64,
            cases=(
                ("adam", "population", "float32", (6, 24), (1e-3, 1e-2, 1e-1)),
                ("gd", "population", "float32", (6, 24), (0.3, 3.0, 30.0)),
            ),
        ),
        verify=dict(
            steps=32,
            cases=(
                ("adam", "batch", "float32", (30,), (1e-3,)),
                ("gd", "population", "float32", (64,), (1.0,)),
            ),
        ),
    ),
    Experiment(
        id="yang2024/fig4-stall",
        item="Figure 4 (ours: few heads)",
        chapter="ridge/many_heads",
        function="studies.ridge.many_heads.compute:fig4_stall",
        tables={
            "curves": Table(
                keys=(*FEW, "step"),
                measures=LOSS
                | {
                    "both_signs": Measure(
                        "share of tokens k whose w[:, k] holds both", atol=0.02
                    )
                },
            ),
            "signs": Table(
                keys=(*FEW, "step"),
                measures={"kept": Measure("share of w with the sign of step 100", atol=0.02)},
            ),
            "frozen": Table(
                keys=FEW,
                measures={"excess_loss": Measure("best w, Q as drawn", rtol=1e-3, atol=1e-6)},
            ),
        },
        full=Fig4Stall(seeds=(0, 1, 2)),
        quick=Fig4Stall(
            N=6,
            d=12,
            m=4,
            steps=400,
            half_life=60.0,
            cases=(
                ("from zero", 24, (2, 4)),
                ("random signs", 24, (2, 4)),
                ("from zero", 12, (2,)),
                ("near the solution", 12, (2,)),
            ),
        ),
        verify=dict(
            steps=32,
            seeds=(0,),
            cases=(("from zero", 200, (5,)), ("near the solution", 100, (2,))),
        ),
    ),
)
