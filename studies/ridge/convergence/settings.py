"""Settings of the chapter *Linear convergence*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class Thm1Inequalities(Settings):
    """Every inequality of the proof on random instances."""

    instances: int = 2_000
    sizes: tuple[tuple[int, int, int, int, int], ...] = (
        (2, 3, 2, 2, 3),
        (3, 5, 2, 4, 4),
        (4, 6, 3, 3, 8),
    )  # N, K, d, m, H


@dataclass(frozen=True, kw_only=True)
class Small(Settings):
    """A small problem on which float64 shows the linear rate over 25 orders of magnitude."""

    N: int = 4
    K: int = 8
    d: int = 6
    m: int = 3
    H: int = 32
    tau: float = 0.5
    steps: int = 40_000
    target: float = 1e-25


@dataclass(frozen=True, kw_only=True)
class FrozenAttention(Small):
    """Gradient descent on w alone, with the two classical step sizes."""

    steps: int = 20_000

    def points(self) -> list[dict]:
        return [
            {"rule": rule, "seed": seed}
            for rule, seed in product(("1/M", "2/(M + mu)"), self.seeds)
        ]


@dataclass(frozen=True, kw_only=True)
class Thm1Path(Small):
    """Two-rate gradient descent along which the proof is checked; gamma as the theory has it,
    and smaller."""

    gamma_factors: tuple[float, ...] = (1.0, 0.1, 0.01, 0.003, 0.001, 0.0003)

    def points(self) -> list[dict]:
        return [
            {"gamma_factor": factor, "seed": seed}
            for factor, seed in product(self.gamma_factors, self.seeds)
        ]


@dataclass(frozen=True, kw_only=True)
class Thm1Rates(Settings):
    """Steps to a relative excess of `target`, against K at H = `H`, and against H at K = `K`,
    for three rules."""

    N: int = 4
    d: int = 6
    m: int = 3
    tau: float = 0.5
    K: int = 8
    H: int = 32
    dictionary_sizes: tuple[int, ...] = (6, 12, 24, 48, 96)
    heads: tuple[int, ...] = (8, 16, 32, 64, 128)
    rules: tuple[str, ...] = ("theory", "fixed", "tuned")
    target: float = 1e-6
    steps: int = 200_000
    gammas: tuple[float, ...] = (0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.5, 1.0)
    # of K / b^2, for eta_w
    multiples: tuple[float, ...] = (2.0, 1.0, 1.4, 1.7, 2.4, 2.8, 3.4, 4.0)

    def points(self) -> list[dict]:
        sizes = [("K", size) for size in self.dictionary_sizes]
        sizes += [("H", size) for size in self.heads]
        return [
            {"sweep": sweep, "size": size, "rule": rule, "seed": seed}
            for rule, (sweep, size), seed in product(self.rules, sizes, self.seeds)
        ]


@dataclass(frozen=True, kw_only=True)
class Thm1Constants(Settings):
    """What the theory says at the size of Figure 2a, before any training."""

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    tau: float = 0.01
    heads: tuple[int, ...] = (30, 64, 400)
    tokens: tuple[str, ...] = ("unit", "gaussian")

    def points(self) -> list[dict]:
        return [
            {"tokens": tokens, "H": H, "seed": s}
            for tokens, H, s in product(self.tokens, self.heads, self.seeds)
        ]


CHAPTER = "ridge/convergence"
FIVE, TEN = tuple(range(5)), tuple(range(10))
VAIN = "NaN where float64 does not tell zeta_0 from 0"

INEQUALITIES = (
    *("zero-sum vectors", "softmax, first derivative", "softmax, second derivative"),
    *("attention against Q", "zeta against B", "PL", "PL, w alone, worst error"),
    *("curvature", "zeta in the ball", "descent", "length of a step", "contraction of a step"),
)

EXPERIMENTS = (
    Experiment(
        id="yang2024/thm1-inequalities",
        item="Theorem 1, its inequalities",
        chapter=CHAPTER,
        function="studies.ridge.convergence.compute:thm1_inequalities",
        tables={
            "inequalities": Table(
                keys=("seed", "inequality"),
                levels={"inequality": INEQUALITIES},
                measures={
                    "instances": Measure("random instances, tiny ones left out", atol=5),
                    "violations": Measure("ratios below 1 by more than rounding"),
                    "tightest_ratio": Measure("larger side over smaller", rtol=1e-4),
                },
            ),
        },
        full=Thm1Inequalities(seeds=FIVE),
        quick=Thm1Inequalities(instances=1_050),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/frozen-attention",
        item="Theorem 1, frozen attention (ours)",
        chapter=CHAPTER,
        function="studies.ridge.convergence.compute:frozen_attention",
        tables={
            "rates": Table(
                keys=("rule", "seed"),
                measures={
                    "kappa": Measure("b^2 / zeta", rtol=1e-4),
                    "measured": Measure("-log of the contraction a step", rtol=1e-2),
                    "predicted": Measure("the same from kappa alone", rtol=1e-4),
                },
            ),
            "curves": Table(
                keys=("rule", "seed", "step"),
                measures={
                    "excess": Measure("L - L*", rtol=1e-2, atol=1e-24),
                    "exact": Measure(
                        "the closed form of the whole curve", rtol=1e-2, atol=1e-24
                    ),
                },
                # The last step is where the excess passes the target: a few steps' tolerance.
                decided={"step": 0.01},
                ragged=True,
            ),
        },
        full=FrozenAttention(seeds=FIVE),
        quick=FrozenAttention(seeds=(0,)),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/thm1-path",
        item="Theorem 1, along a path",
        chapter=CHAPTER,
        function="studies.ridge.convergence.compute:thm1_path",
        tables={
            "constants": Table(
                keys=("gamma_factor", "seed"),
                measures={
                    "zeta_0": Measure("of the start", rtol=1e-2),
                    "b_0": Measure("of the start", rtol=1e-2),
                    "gamma": Measure("gamma_factor times the theory's", rtol=1e-2),
                    "rate_Q": Measure("eta_Q", rtol=1e-2),
                    "rate_w": Measure("eta_w", rtol=1e-2),
                    "decrease": Measure("eta mu", rtol=1e-2),
                    "w_bound": Measure("of ||w||_F", rtol=1e-2),
                },
            ),
            "curves": Table(
                keys=("gamma_factor", "seed", "step"),
                measures={
                    "excess": Measure("L - L*", rtol=1e-2, atol=1e-24),
                    "bound": Measure("(1 - eta mu)^t (L - L*)_0", rtol=1e-2, atol=1e-24),
                    "zeta": Measure("zeta at this step", rtol=1e-2),
                    "b": Measure("b at this step", rtol=1e-2),
                    "w_norm": Measure("||w||_F", rtol=1e-2),
                    "Q_drift": Measure("||Q - Q_0||_F", rtol=1e-2),
                    "path_length": Measure("so far, in (Q, alpha)", rtol=1e-2),
                    "slowest": Measure("largest contraction of a step so far", rtol=1e-2),
                },
                # The last step is where the excess passes the target: a few steps' tolerance.
                decided={"step": 0.01},
                ragged=True,
            ),
        },
        full=Thm1Path(seeds=FIVE),
        quick=Thm1Path(seeds=(0,), gamma_factors=(1.0, 0.01)),
        verify=dict(seeds=(0,), gamma_factors=(1.0,)),
    ),
    Experiment(
        id="yang2024/thm1-rates",
        item="Theorem 1, rate against K and H",
        chapter=CHAPTER,
        function="studies.ridge.convergence.compute:thm1_rates",
        tables={
            "steps": Table(
                keys=("sweep", "size", "rule", "seed"),
                measures={
                    "steps": Measure("to the target; NaN: not reached", atol=2, missing=True),
                    "bound": Measure("on the steps, by the theory", rtol=1e-2),
                    "rate_w": Measure("eta_w; NaN: not reached", rtol=1e-2, missing=True),
                    "rate_Q": Measure("eta_Q; NaN: not reached", rtol=1e-2, missing=True),
                    "zeta_0": Measure("of the start", rtol=1e-2),
                    "b_0": Measure("of the start", rtol=1e-2),
                    "sigma": Measure("||Zbar||", rtol=1e-2),
                },
            ),
        },
        full=Thm1Rates(seeds=TEN),
        quick=Thm1Rates(
            dictionary_sizes=(6, 24),
            heads=(16, 32),
            multiples=(2.0, 1.4, 2.8),
            gammas=(0.5, 0.125),
        ),
        verify=dict(seeds=(0,), rules=("theory",)),
    ),
    Experiment(
        id="yang2024/thm1-constants",
        item="Theorem 1, constants at Figure 2a's size",
        chapter=CHAPTER,
        function="studies.ridge.convergence.compute:thm1_constants",
        tables={
            "constants": Table(
                keys=("tokens", "H", "seed"),
                measures={
                    # From singular values, each known to about 1e-16 b_0.
                    "zeta_0": Measure("of the start", rtol=1e-4, atol=1e-26, scale="b_0"),
                    "b_0": Measure("of the start", rtol=1e-4),
                    "kappa": Measure(f"b_0^2 / zeta_0; {VAIN}", rtol=1e-4, missing=True),
                    "gamma": Measure(f"the smallest allowed; {VAIN}", rtol=1e-4, missing=True),
                    "rate_Q": Measure(f"eta_Q; {VAIN}", rtol=1e-4, atol=0, missing=True),
                    "rate_w": Measure("eta_w", rtol=1e-4),
                    "decrease": Measure(f"eta mu; {VAIN}", rtol=1e-4, atol=0, missing=True),
                },
            ),
        },
        full=Thm1Constants(seeds=FIVE),
        quick=Thm1Constants(N=10, K=40, d=30, m=8, heads=(10, 24, 100)),
        verify=dict(seeds=(0,)),
    ),
)
