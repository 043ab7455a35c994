"""Settings of the chapter *What it learned: ridge regression*."""

from dataclasses import dataclass
from functools import partial

from iclbook.experiment import Experiment, Measure, Settings, Table

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Theorem2(Settings):
    """One-layer model trained at the paper's size: against ridge, against the bound, column by
    column."""

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    H: int = 64
    tau: float = 0.01
    rate: float = 2e-3
    half_life: int = 3_000  # of the rate, in steps
    steps: int = 12_000
    dtype: str = "float32"
    test_tasks: int = 1_000
    draws: int = 20_000
    deltas: tuple[float, ...] = (0.5, 0.1, 0.01, 0.001)


@dataclass(frozen=True, kw_only=True)
class Iterations(Settings):
    """A small model under gradient descent: iterations to a precision, promised and
    measured."""

    N: int = 4
    K: int = 8
    d: int = 6
    m: int = 3
    H: int = 8
    tau: float = 0.1
    rate: float = 1 / 32
    gamma: float = 4.0
    steps: int = 12_000
    delta: float = 0.01
    draws: int = 10_000
    precisions: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True, kw_only=True)
class ErrorBound(Settings):
    """Random instances of every inequality behind Theorem 2's error bound."""

    instances: int = 500
    largest: int = 12

    @property
    def numbers(self) -> range:
        """The instances' numbers."""
        return range(self.instances)


@dataclass(frozen=True, kw_only=True)
class Noiseless(Settings):
    """No label noise and at least as many labels as basis functions: is the template
    identified?"""

    N: int = 6
    K: int = 12
    d: int = 8
    m: int = 3
    H: int = 12
    rate: float = 1.0
    steps: int = 10_000
    test_tasks: int = 1_000


DOMAINS = ("in-domain", "out-of-domain", "signs", "one basis function")
trained = partial(Measure, rtol=1e-3, atol=1e-6)

# Measures of three tables in the words in which the chapter shows them.
HEADS = {
    "focused": "tokens attended, most focused (head, token)",  # exp(entropy)
    "attended": "tokens attended, median (head, token)",
    "spread": "tokens attended, most spread (head, token)",
    "largest_median": "largest singular value of B_k, median over k",
    "smallest_median": "smallest singular value of B_k, median over k",
    "largest_least": "largest singular value of B_k, smallest over k",
    "smallest_least": "smallest singular value of B_k, smallest over k",
}
RATIOS = {
    "random_label": "error bound, labels of a random task",
    "worst_label": "error bound, worst label",
    "signal": "‖Z̄⁻¹Zᵀλ‖ ≤ ‖λ‖",
    "log_moment": "log moment of the tail lemma",
    "tail": "P(χ² > bound) ≤ δ, exact tail",
}
ERRORS = {
    "error": "error on tokens not shown, relative",
    "task_error": "error of the template λ read off the predictions",
    "table_error": "‖ã − A‖ / ‖A‖",
    "lost_part": "share of ã − A outside the row space of Z",
}

EXPERIMENTS = (
    Experiment(
        id="yang2024/thm2",
        item="Theorem 2",
        chapter="ridge/ridge_regression",
        function="studies.ridge.ridge_regression.compute:thm2",
        tables={
            "training": Table(
                keys=("seed", "step"),
                measures={
                    "excess_loss": trained("L - L*"),
                    "row_space": trained("||P (a~ - A)|| / ||A||, P onto the row space of Z"),
                    "complement": trained("the same, P onto its complement"),
                },
            ),
            "columns": Table(
                keys=("seed", "step", "group"),
                levels={"group": ("shown", "not shown")},
                measures={
                    "nearest": trained("smallest relative distance of a~_k from A_k"),
                    "median": trained("median"),
                    "farthest": trained("largest"),
                },
            ),
            "best_spectrum": Table(
                keys=("seed", "index"), measures={"singular_value": Measure("of A")}
            ),
            "spectrum": Table(
                keys=("seed", "step", "index"), measures={"singular_value": trained("of a~")}
            ),
            "heads": Table(
                keys=("seed", "step"),
                measures={name: trained(meaning) for name, meaning in HEADS.items()},
            ),
            "ridge": Table(
                keys=("seed", "step", "domain"),
                levels={"domain": DOMAINS},
                measures={
                    "difference": trained(
                        "from scikit-learn's ridge, tokens not shown, relative"
                    )
                },
            ),
            "bounds": Table(
                keys=("seed", "step", "domain", "delta"),
                levels={"domain": DOMAINS, "delta": "deltas"},
                measures={
                    "error": trained("1 - delta quantile of (1/2K) ||y^ - y*^||^2"),
                    "cauchy_schwarz": trained("that of (L - L*) ||Zbar^{-1} y||^2"),
                    "bound": trained("with probability at least 1 - delta"),
                    "share_above": Measure("share of draws above the bound", atol=1e-3),
                },
            ),
        },
        full=Theorem2(seeds=SEEDS),
        quick=Theorem2(
            N=6,
            K=24,
            d=20,
            m=4,
            H=24,
            rate=1e-2,
            steps=800,
            test_tasks=100,
            draws=2_000,
            seeds=(0,),
        ),
        verify=dict(steps=100, seeds=(0,)),
    ),
    Experiment(
        id="yang2024/thm2-iterations",
        item="Theorem 2, iteration count",
        chapter="ridge/ridge_regression",
        function="studies.ridge.ridge_regression.compute:thm2_iterations",
        tables={
            "facts": Table(
                keys=("seed",),
                measures={
                    "gamma_theory": Measure("gamma that the theory asks for"),
                    "difference": Measure("from ridge at the end, relative", atol=1e-9),
                    "steps": Measure("taken"),
                    "zeta_start": Measure("zeta at the start"),
                    "smallest_zeta": Measure("along the path"),
                    "promised": Measure("contraction a step by Theorem 1"),
                    "smallest": Measure("smallest measured contraction a step", rtol=1e-4),
                },
            ),
            "counts": Table(
                keys=("seed", "precision"),
                levels={"precision": "precisions"},
                measures={
                    "promised": Measure("iterations, by the rates of this run", atol=1),
                    "promised_own": Measure("by the theory's own step; not run", atol=1),
                    "by_loss": Measure(
                        "first step at which the bound with the measured loss does; NaN: none",
                        atol=2,
                        missing=True,
                    ),
                    "by_error": Measure(
                        "first at which the measured error does; NaN: none",
                        atol=2,
                        missing=True,
                    ),
                },
            ),
        },
        full=Iterations(seeds=SEEDS),
        quick=Iterations(seeds=(0,), steps=1_000, draws=1_000, precisions=(1.0, 0.3, 0.1)),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/thm2-error-bound",
        item="Theorem 2, error bound",
        chapter="ridge/ridge_regression",
        function="studies.ridge.ridge_regression.compute:thm2_error_bound",
        tables={
            "ratios": Table(
                keys=("seed", "instance"),
                levels={"instance": "numbers"},
                measures={
                    name: Measure(f"left over right side of: {meaning}")
                    for name, meaning in RATIOS.items()
                },
            ),
        },
        full=ErrorBound(seeds=(0, 1, 2)),
        quick=ErrorBound(seeds=(0,), instances=200),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/thm2-noiseless",
        item="Theorem 2 at tau = 0 (ours)",
        chapter="ridge/ridge_regression",
        function="studies.ridge.ridge_regression.compute:thm2_noiseless",
        tables={
            "errors": Table(
                keys=("seed", "group"),
                levels={"group": ("before", "after")},
                # All relative; atol where a number may be rounding.
                measures={"excess_loss": Measure("L - L*")}
                | {name: Measure(meaning, atol=1e-9) for name, meaning in ERRORS.items()},
            ),
        },
        full=Noiseless(seeds=SEEDS),
        quick=Noiseless(seeds=(0,), steps=1_500),
        verify=dict(seeds=(0,)),
    ),
)
