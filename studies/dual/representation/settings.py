"""Settings of the chapter *A representation-learning problem*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table, loose


@dataclass(frozen=True, kw_only=True)
class RandomLayer(Settings):
    """One head of a random layer on one prompt: N demonstrations and a query, tokens N(0,
    I_width)."""

    N: int = 15
    width: int = 11
    head_size: int = 11


@dataclass(frozen=True, kw_only=True)
class RepeatedSteps(RandomLayer):
    """The full step of the dual loss, repeated, at several alpha, without and with negatives.

    negatives: pairs (r, beta); the r lowest-scored demonstrations are the negatives.
    recorded: the steps whose W is looked at; the last one is the length of the run.
    """

    alphas: tuple[float, ...] = loose((-0.1, 0.0, 0.5, 1.0, 1.5, 2.0, 2.1), least=-1e15)
    negatives: tuple[tuple[int, float], ...] = ((3, 0.5), (7, 1.0), (15, 1.0))
    recorded: tuple[int, ...] = loose((*range(11), 20, 50, 100, 199, 200), least=0)

    @property
    def r(self) -> tuple[int, ...]:
        return tuple(r for r, _ in self.negatives)

    @property
    def beta(self) -> tuple[float, ...]:
        return tuple(beta for _, beta in self.negatives)


@dataclass(frozen=True, kw_only=True)
class NegativesGrowth(RandomLayer):
    """Size of one step's direction with negatives relative to that without, over `draws` of
    W_V."""

    r: tuple[int, ...] = (1, 3, 7, 11, 15)
    betas: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0)
    draws: int = 4_000


@dataclass(frozen=True, kw_only=True)
class LearnedTargets(RandomLayer):
    """Ascent on the alignment over W alone, or over W and W_V, Frobenius norms kept at 1.

    rate: in units of 1 / (largest singular value of sum_i h_i phi_i^T).
    centred: whether all demonstrations are negatives with beta = 1, which centres the targets.
    """

    targets: tuple[str, ...] = ("fixed", "learned")
    centred: tuple[bool, ...] = (False, True)
    rate: float = 1.0
    recorded: tuple[int, ...] = loose(
        (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000), least=0
    )

    def points(self) -> list[dict]:
        sweep = product(self.targets, self.centred, self.seeds)
        return [
            {"targets": targets, "centred": centred, "seed": seed}
            for targets, centred, seed in sweep
        ]


SPREAD = {
    "effective_rank": Measure("of the directions of the outputs f(k_i), i <= N", atol=1e-9),
    "mean_share": Measure("||mean||^2 / mean ||.||^2 of those directions", atol=1e-9),
}
PATH = {
    "norm": Measure("||W_t||", unit="||G|| of the plain loss"),
    "closed_form_distance": Measure(
        "rounding: distance from the closed form, relative to the larger of ||W_t||, ||G||",
        atol=1e-12,
    ),
    "limit_distance": Measure(
        "distance from G / alpha; NaN at alpha = 0, which has no limit",
        unit="||G|| of the plain loss",
        missing=True,
    ),
    "cosine": Measure("between W_t and G", atol=1e-9),
    "loss": Measure("eta times the loss", unit="||G||^2 of the plain loss", atol=1e-9),
} | SPREAD

EXPERIMENTS = (
    Experiment(
        id="ren2024/repeated-steps",
        item="the dual loss (ours: the step repeated)",
        chapter="dual/representation",
        function="studies.dual.representation.compute:repeated_steps",
        tables={
            "plain": Table(
                keys=("seed", "alpha", "step"),
                levels={"alpha": "alphas", "step": "recorded"},
                measures=PATH,
            ),
            "negatives": Table(
                keys=("seed", "r", "beta", "alpha", "step"),
                levels={"r": "r", "beta": "beta", "alpha": "alphas", "step": "recorded"},
                measures=PATH,
            ),
        },
        # Five seeds were too few: they decided a claim that half of other sets deny.
        full=RepeatedSteps(seeds=tuple(range(20))),
        quick=RepeatedSteps(seeds=(0, 1), recorded=(*range(11), 20, 49, 50)),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="ren2024/negatives-growth",
        item="negative samples (ours: how fast W grows)",
        chapter="dual/representation",
        function="studies.dual.representation.compute:negatives_growth",
        tables={
            "growth": Table(
                keys=("seed", "r", "beta"),
                levels={"r": "r", "beta": "betas"},
                measures={
                    "measured": Measure(
                        "mean of ||G_beta||^2 over that of ||G||^2, over draws of W_V"
                    ),
                    "standard_error": Measure("of measured, by linearisation"),
                    "predicted": Measure("1 - (2 beta b - beta^2 c) / a"),
                },
            ),
            "break_even": Table(
                keys=("seed", "r"),
                levels={"r": "r"},
                measures={"break_even_beta": Measure("2 b / c: the beta that changes nothing")},
            ),
        },
        full=NegativesGrowth(seeds=(0, 1, 2, 3, 4)),
        quick=NegativesGrowth(seeds=(0, 1), draws=1_000),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="ren2024/learned-targets",
        item="the dual loss (ours: targets that learn)",
        chapter="dual/representation",
        function="studies.dual.representation.compute:learned_targets",
        tables={
            "paths": Table(
                keys=("targets", "centred", "seed", "step"),
                levels={"step": "recorded"},
                measures={
                    "alignment": Measure(
                        "tr(U M W^T) over the largest singular value of M, at most 1", atol=1e-9
                    ),
                }
                | SPREAD,
            )
        },
        full=LearnedTargets(seeds=(0, 1, 2, 3, 4)),
        quick=LearnedTargets(seeds=(0, 1)),
        verify=dict(seeds=(0,)),
    ),
)
