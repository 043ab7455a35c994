"""Settings of the chapter *One attention layer is one gradient step*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Settings


@dataclass(frozen=True, kw_only=True)
class Thm31(Settings):
    """Random prompts: sizes up to these, norms of keys and query uniform up to norm_max, eta
    from 1e-3 to 1e3."""

    trials: int = 200
    N_max: int = 40
    width_max: int = 12
    d_r_max: int = 40
    norm_max: float = 20.0


@dataclass(frozen=True, kw_only=True)
class Fig3Left(Settings):
    """One softmax attention layer on in-context linear regression, as drawn and after training
    by Adam."""

    N: int = 15
    d: int = 10
    d_o: int = 11
    steps: int = 3_000
    batch: int = 256
    rate: float = 3e-3
    prompts: int = 200
    d_r: tuple[int, ...] = (10, 100, 1_000, 10_000)
    weights: tuple[str, ...] = ("random", "trained")

    def points(self) -> list[dict]:
        return [
            {"weights": weights, "seed": seed}
            for weights, seed in product(self.weights, self.seeds)
        ]


EXPERIMENTS = (
    Experiment(
        id="ren2024/thm31",
        item="Theorem 3.1",
        chapter="dual/one_step",
        function="studies.dual.one_step.compute:thm31",
        tables={},
        full=Thm31(seeds=(0, 1, 2, 3, 4)),
        quick=Thm31(trials=40),
        verify=dict(trials=20, seeds=(0,)),
        # TO CONVERT, was atol=1e-10,
    ),
    Experiment(
        id="ren2024/fig3-left",
        item="Figure 3, left",
        chapter="dual/one_step",
        function="studies.dual.one_step.compute:fig3_left",
        tables={},
        full=Fig3Left(seeds=(0, 1, 2, 3, 4)),
        quick=Fig3Left(steps=100, prompts=60, d_r=(10, 100)),
        paper=Fig3Left(),
        unstated=("seeds", "d", "d_o", "steps", "batch", "rate", "prompts", "d_r", "weights"),
        verify=dict(weights=("random",), seeds=(0,)),
        # TO CONVERT, was atol=1e-20,
    ),
)
