"""Settings of the chapter *One attention layer is one gradient step*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class Thm31(Settings):
    """Random prompts: sizes up to these, norms of keys and query uniform up to norm_max, eta
    from 1e-3 to 1e3."""

    trials: int = 200
    N_max: int = 40
    width_max: int = 12
    d_r_max: int = 40
    norm_max: float = 20.0

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(self.trials))


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

    @property
    def shown(self) -> tuple[int, ...]:
        """Numbers of single-demonstration steps, from none to N."""
        return tuple(range(self.N + 1))

    def points(self) -> list[dict]:
        return [
            {"weights": weights, "seed": seed}
            for weights, seed in product(self.weights, self.seeds)
        ]


def squared(meaning: str, name: str) -> dict[str, Measure]:
    """A mean over prompts and its standard error; both fall to rounding, squared, in the
    end."""
    return {
        name: Measure(meaning, atol=1e-20),
        f"{name}_error": Measure("its standard error over the prompts", atol=1e-20),
    }


EXACT = {
    **squared("squared distance to attention, one demonstration a step", "single"),
    **squared("the same, all demonstrations at a rate of eta / N", "all_at_once"),
    **squared("the closed form of `single` over random orders", "closed_form"),
    "difference": Measure("mean of single less closed_form, prompt by prompt"),
    "difference_error": Measure("its standard error"),
    **squared("squared error of the query's label, one demonstration a step", "label"),
}
FEATURES = {
    **squared("squared distance to attention by the same features", "own"),
    **squared("squared distance to exact attention", "exact"),
    **squared("`own`, all demonstrations at a rate of eta / N", "own_all_at_once"),
}

EXPERIMENTS = (
    Experiment(
        id="ren2024/thm31",
        item="Theorem 3.1",
        chapter="dual/one_step",
        function="studies.dual.one_step.compute:thm31",
        tables={
            "residuals": Table(
                keys=("seed", "trial", "kernel"),
                levels={"trial": "numbers", "kernel": ("random features", "exact")},
                measures={
                    "one_step": Measure("relative residual after one full step", atol=1e-10),
                    "single_steps": Measure("after N single steps", atol=1e-10),
                },
            ),
            "scores": Table(
                keys=("seed", "trial"),
                levels={"trial": "numbers"},
                measures={"largest": Measure("largest score, max |q^T k_i|")},
            ),
        },
        full=Thm31(seeds=(0, 1, 2, 3, 4)),
        quick=Thm31(trials=40),
        verify=dict(trials=20, seeds=(0,)),
    ),
    Experiment(
        id="ren2024/fig3-left",
        item="Figure 3, left",
        chapter="dual/one_step",
        function="studies.dual.one_step.compute:fig3_left",
        tables={
            "exact": Table(
                keys=("weights", "seed", "step"), levels={"step": "shown"}, measures=EXACT
            ),
            "features": Table(
                keys=("weights", "seed", "d_r", "step"),
                levels={"step": "shown"},
                measures=FEATURES,
            ),
        },
        full=Fig3Left(seeds=(0, 1, 2, 3, 4)),
        quick=Fig3Left(steps=100, prompts=60, d_r=(10, 100)),
        paper=Fig3Left(),
        unstated=("seeds", "d", "d_o", "steps", "batch", "rate", "prompts", "d_r", "weights"),
        verify=dict(weights=("random",), seeds=(0,)),
    ),
)
