"""Settings of the chapter *What it learned: ridge regression*."""

from dataclasses import dataclass

from iclbook.experiment import Experiment, Settings

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


EXPERIMENTS = (
    Experiment(
        id="yang2024/thm2",
        item="Theorem 2",
        chapter="ridge/ridge_regression",
        function="studies.ridge.ridge_regression.compute:thm2",
        tables={},
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
        # TO CONVERT, was rtol=1e-3,
        # TO CONVERT, was atol=1e-6,
    ),
    Experiment(
        id="yang2024/thm2-iterations",
        item="Theorem 2, iteration count",
        chapter="ridge/ridge_regression",
        function="studies.ridge.ridge_regression.compute:thm2_iterations",
        tables={},
        full=Iterations(seeds=SEEDS),
        quick=Iterations(seeds=(0,), steps=1_000, draws=1_000, precisions=(1.0, 0.3, 0.1)),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/thm2-error-bound",
        item="Theorem 2, error bound",
        chapter="ridge/ridge_regression",
        function="studies.ridge.ridge_regression.compute:thm2_error_bound",
        tables={},
        full=ErrorBound(seeds=(0, 1, 2)),
        quick=ErrorBound(seeds=(0,), instances=200),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/thm2-noiseless",
        item="Theorem 2 at tau = 0 (ours)",
        chapter="ridge/ridge_regression",
        function="studies.ridge.ridge_regression.compute:thm2_noiseless",
        tables={},
        full=Noiseless(seeds=SEEDS),
        quick=Noiseless(seeds=(0,), steps=1_500),
        verify=dict(seeds=(0,)),
    ),
)
