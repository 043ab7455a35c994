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
    def trial_numbers(self) -> tuple[int, ...]:
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
    def dual_steps(self) -> tuple[int, ...]:
        """The dual model's own steps: 0 to N."""
        return tuple(range(self.N + 1))

    def points(self) -> list[dict]:
        return [
            {"weights": weights, "seed": seed}
            for weights, seed in product(self.weights, self.seeds)
        ]


def curves(**meanings: str) -> dict[str, Measure]:
    """Two measures a curve: its mean over prompts and, with the ending _se, its standard error.

    The layer's weights are float32: their last bit, 6e-8, is the processor's. At the last step
    nothing but rounding of numbers of order 1, squared, is left: 1e-32 to 1e-29. A difference
    of two curves of order 1 carries the rounding of both.
    """
    found = {}
    for name, meaning in meanings.items():
        atol = 1e-7 if name == "difference" else 1e-12
        found[name] = Measure(f"{meaning}, mean over prompts", rtol=1e-5, atol=atol)
        found[f"{name}_se"] = Measure(f"standard error of {name}", rtol=1e-5, atol=atol)
    return found


EXPERIMENTS = (
    Experiment(
        id="ren2024/thm31",
        item="One step (our Theorem 3.1)",
        chapter="dual/one_step",
        function="studies.dual.one_step.compute:thm31",
        tables={
            "residuals": Table(
                keys=("seed", "trial", "kernel"),
                levels={"trial": "trial_numbers", "kernel": ("random features", "exact")},
                measures={
                    "one_step": Measure(
                        "rounding left after one full step: the largest difference from "
                        "attention, relative to the weighted absolute values",
                        atol=1e-12,
                    ),
                    "single_steps": Measure(
                        "the same after N single-demonstration steps in random order",
                        atol=1e-12,
                    ),
                },
            ),
            "prompts": Table(
                keys=("seed", "trial"),
                levels={"trial": "trial_numbers"},
                measures={"largest_score": Measure("max |q^T k_i|")},
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
                keys=("weights", "seed", "step"),
                levels={"step": "dual_steps"},
                measures=curves(
                    single="squared error after single-demonstration steps, exact kernel",
                    small="the same after full steps of rate eta / N",
                    closed="its closed form over orders",
                    difference="single less closed, prompt by prompt",
                    label="squared error of the last entry against the query's y",
                ),
            ),
            "features": Table(
                keys=("weights", "seed", "d_r", "step"),
                levels={"d_r": "d_r", "step": "dual_steps"},
                measures=curves(
                    single="squared error against attention by the same features, single steps",
                    small="the same after full steps of rate eta / N",
                    to_exact="squared error against exact attention, single steps",
                ),
            ),
        },
        full=Fig3Left(seeds=(0, 1, 2, 3, 4)),
        quick=Fig3Left(steps=100, prompts=60, d_r=(10, 100)),
        paper=Fig3Left(),
        unstated=(
            "seeds",
            "N",
            "d",
            "d_o",
            "steps",
            "batch",
            "rate",
            "prompts",
            "d_r",
            "weights",
        ),
        verify=dict(weights=("random",), seeds=(0,)),
    ),
)
