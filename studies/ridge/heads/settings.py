"""Settings of the chapter *What heads buy*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class OneHead(Settings):
    """One head, trained from several starts, beside the bound of two non-negative fits a token.

    w_start: "zero" is the paper's w^(0) = 0; "best fit" gives w the signs and sizes of the
    bound (ours). Adam starts at `rate`; the loss is looked at every `check` steps. The rate is
    halved when two looks in a row fail to improve on the best loss by a relative `improvement`;
    training stops once it is below `last_rate`, or at `max_steps`.
    """

    N: int = 30
    K: tuple[int, ...] = (100, 200)
    d: int = 100
    m: int = 20
    tau: float = 0.01
    w_start: tuple[str, ...] = ("zero", "best fit")
    starts: int = 8
    rate: float = 1e-2
    check: int = 250
    improvement: float = 1e-3
    last_rate: float = 1e-5
    max_steps: int = 60_000

    def points(self) -> list[dict]:
        sweep = product(self.K, self.w_start, self.seeds, range(self.starts))
        return [
            {"K": K, "w_start": w_start, "seed": seed, "start": start}
            for K, w_start, seed, start in sweep
        ]


@dataclass(frozen=True, kw_only=True)
class TwoHeads(Settings):
    """Explicit heads at N, d, m and the sizes K <= d.

    The rank of the table's derivative at the `count` sizes.
    """

    N: int = 30
    K: tuple[int, ...] = (30, 60, 90, 100)
    d: int = 100
    m: int = 20
    tau: float = 0.01
    count_N: int = 10
    count_d: int = 30
    count_K: tuple[int, ...] = (15, 30, 60, 120)
    count_heads: tuple[int, ...] = (1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Prop1(Settings):
    """Singular values of every B_k at random initialisation, for H = 1..2N and many draws of Q.

    tokens: "unit" Gaussian directions; "signs" entries +-1/sqrt(d); "equal" unit, the second a
    copy of the first; "gaussian" raw standard Gaussian. Every kind is drawn with beta = 1, unit
    tokens with all of `betas`.
    """

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    tau: float = 0.01
    tokens: tuple[str, ...] = ("unit", "signs", "equal", "gaussian")
    betas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    draws: int = 100

    @property
    def heads(self) -> range:
        """Every number of heads H."""
        return range(1, 2 * self.N + 1)

    @property
    def numbers(self) -> range:
        """The draws' numbers."""
        return range(self.draws)

    def points(self) -> list[dict]:
        return [
            {"tokens": tokens, "seed": seed}
            for tokens, seed in product(self.tokens, self.seeds)
        ]


RUN = ("K", "w_start", "seed")

EXPERIMENTS = (
    Experiment(
        id="yang2024/one-head",
        item="Section 3.3, one head",
        chapter="ridge/heads",
        function="studies.ridge.heads.compute:one_head",
        tables={
            "bounds": Table(
                keys=(*RUN, "start"),
                measures={
                    "bound": Measure("lower bound on L - L*, the better sign of every token"),
                    "explicit_Q": Measure(
                        "excess loss of the head that attains it; NaN for K > d",
                        rtol=1e-3,
                        missing=True,
                    ),
                },
            ),
            "curves": Table(
                keys=(*RUN, "start", "step"),
                measures={"excess_loss": Measure("L - L*", rtol=1e-3, atol=1e-9)},
                ragged=True,
            ),
            "signs": Table(
                keys=(*RUN, "start", "step"),
                measures={
                    "bound": Measure("lower bound for the signs that w has then", rtol=1e-3),
                    "best": Measure("share of tokens with the sign of the bound", atol=0.02),
                    "first": Measure("share with the sign of the first look", atol=0.02),
                },
                ragged=True,
            ),
        },
        full=OneHead(seeds=(0, 1, 2)),
        quick=OneHead(
            seeds=(0,), N=6, K=(12, 24), d=12, m=4, starts=2, check=50, max_steps=1_000
        ),
        verify=dict(seeds=(0,), starts=1, max_steps=1_000),
    ),
    Experiment(
        id="yang2024/two-heads",
        item="Section 3.3, two heads",
        chapter="ridge/heads",
        function="studies.ridge.heads.compute:two_heads",
        tables={
            "construction": Table(
                keys=("seed", "K"),
                levels={"K": "K"},
                measures={
                    "bound": Measure("lower bound on L - L* for one head", atol=1e-20),
                    "distance": Measure("of the explicit head from it; rounding"),
                    "excess_loss": Measure("of the explicit two heads; rounding", atol=1e-20),
                    "condition_number": Measure("of the tokens", rtol=1e-3),
                },
            ),
            "count": Table(
                keys=("seed", "K", "H"),
                levels={"K": "count_K", "H": "count_heads"},
                measures={
                    "rank": Measure("of the table's derivative at random Q and w"),
                    "predicted_rank": Measure("min(N K, effective parameters)"),
                    "smallest_kept": Measure("singular value over the largest", rtol=1e-3),
                },
            ),
        },
        full=TwoHeads(seeds=(0, 1, 2, 3, 4)),
        quick=TwoHeads(
            seeds=(0, 1), N=6, K=(6, 9, 12), d=12, count_N=4, count_d=6, count_K=(6, 12, 24)
        ),
        verify=dict(seeds=(0,), count_heads=(1,)),
    ),
    Experiment(
        id="yang2024/prop1",
        item="Proposition 1",
        chapter="ridge/heads",
        function="studies.ridge.heads.compute:prop1",
        tables={
            "spans": Table(
                keys=("tokens", "seed", "beta", "H", "draw"),
                levels={"H": "heads", "draw": "numbers"},
                measures={
                    # A singular value at the cut may fall on either side of it.
                    "rank": Measure("numerical rank of the worst B_k, float64", atol=1),
                    "smallest": Measure("min(N, H)-th singular value of the worst B_k"),
                },
            ),
        },
        full=Prop1(seeds=(0, 1, 2, 3, 4)),
        quick=Prop1(seeds=(0, 1), N=8, K=30, d=20, betas=(0.3, 1.0, 3.0), draws=10),
        verify=dict(seeds=(0,), tokens=("unit",)),
    ),
)
