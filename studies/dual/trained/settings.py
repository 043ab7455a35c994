"""Settings of the chapter *Does it help?*"""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Settings

FIVE = (0, 1, 2, 3, 4)
ALPHAS = (-1.0, -0.5, -0.1, 0.1, 0.5, 1.0)
EVERY_NEGATIVE = tuple(product((1, 3, 5, 10, 15), (0.1, 0.2, 0.5, 1.0)))


@dataclass(frozen=True, kw_only=True)
class Trained(Settings):
    """A panel of attention layers on one task, each setting from two mirrored starts, all on
    the same prompts.

    negatives: pairs (r, beta). learned: the r with which beta is learned. views: which maps an
    augmented layer has.
    crossed: (r, beta, c) with both maps. Losses are measured on `test` prompts while training,
    on `final` at the end; `prompts` are for the dual models. stop: leave off after so many
    steps, with losses only; 0 for never.
    """

    task: str = "linear"
    N: int = 15
    d: int = 10
    d_o: int = 11
    hidden: int = 22
    inputs: str = "uniform"
    noise: float = 0.0
    alphas: tuple[float, ...] = ALPHAS
    c: tuple[float, ...] = (0.05, 0.1, 0.5, 1.0)
    views: tuple[str, ...] = ("g1", "g2", "g1 and g2")
    negatives: tuple[tuple[int, float], ...] = EVERY_NEGATIVE
    learned: tuple[int, ...] = (1, 3, 5, 10, 15)
    crossed: tuple[tuple[int, float, float], ...] = ((15, 1.0, 0.5),)
    batch: int = 64
    steps: int = 6_000
    decay_from: float = 0.25
    stop: int = 0
    rate: float = 1e-2
    test: int = 4_096
    final: int = 16_384
    prompts: int = 500


@dataclass(frozen=True, kw_only=True)
class Rates(Trained):
    """The same panel at several rates; its seeds are used nowhere else."""

    seeds: tuple[int, ...] = (900,)
    tasks: tuple[str, ...] = ("linear", "exponential")
    rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)

    def points(self) -> list[dict]:
        return [{"task": task, "tried": rate, "seed": seed}
                for task, rate, seed in product(self.tasks, self.rates, self.seeds)]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Conditions(Settings):
    """Tasks under conditions (N, inputs, noise), on `prompts` fresh prompts a point; `tuning`
    more to tune on."""

    tasks: tuple[str, ...] = ("linear", "trigonometric", "exponential")
    conditions: tuple[tuple[int, str, float], ...] = (
        (15, "uniform", 0.0), (40, "uniform", 0.0), (15, "gaussian", 0.0), (15, "uniform", 0.1),
    )  # fmt: skip
    d: int = 10
    prompts: int = 16_384
    tuning: int = 4_096

    def points(self) -> list[dict]:
        return [{"task": task, "N": N, "inputs": inputs, "noise": noise, "seed": seed}
                for task, (N, inputs, noise), seed in product(self.tasks, self.conditions, self.seeds)]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TwoNumbers(Conditions):
    """The best score scale a, on a grid of either sign, for each family of weights; betas: for
    r = N."""

    scales: tuple[float, float, int] = (0.02, 6.0, 40)  # smallest, largest, how many
    r: tuple[int, ...] = (1, 3, 5, 10, 15, 40)  # those up to N
    betas: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0)
    fine_betas: tuple[float, ...] = tuple(i / 10 for i in range(1, 16))


FEW = dict(
    alphas=(0.5,),
    c=(1.0,),
    views=("g1 and g2",),
    negatives=((3, 0.5), (15, 1.0)),
    learned=(),
    crossed=(),
)
LONG = FEW | dict(learned=(15,), crossed=((15, 1.0, 0.5),))
CHEAP = FEW | dict(
    views=("g1", "g1 and g2"), learned=(15,), stop=60, seeds=(0,)
)  # a beginning of a part of the grid
QUICK = FEW | dict(steps=40, batch=16, test=256, final=256, prompts=30, hidden=4)
NOTHING = dict(c=(), views=(), negatives=(), learned=(), crossed=())
PREFERRED = NOTHING | dict(task="preferred", alphas=(*ALPHAS, 1.5, 2.0, 3.0))

EXPERIMENTS = (
    Experiment(
        id="ren2024/rates",
        item="Figure 3 (ours: choice of the rates)",
        chapter="dual/trained",
        function="studies.dual.trained.compute:rates",
        tables={},
        full=Rates(**FEW),
        quick=Rates(**QUICK, tasks=("linear",), rates=(3e-3, 1e-2), seeds=(900,)),
        verify=dict(tasks=("linear",), rates=(1e-2,), stop=60, seeds=(900,)),
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/fig3-trained",
        item="Figure 3, right",
        chapter="dual/trained",
        function="studies.dual.trained.compute:fig3_trained",
        tables={},
        full=Trained(seeds=FIVE),
        quick=Trained(**QUICK, seeds=(0, 1)),
        verify=CHEAP,
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/long-trained",
        item="Figure 3, right (ours: three times as long)",
        chapter="dual/trained",
        function="studies.dual.trained.compute:long_trained",
        tables={},
        full=Trained(**LONG, steps=18_000, seeds=(0, 1, 2)),
        quick=Trained(**QUICK | dict(crossed=((15, 1.0, 0.5),)), seeds=(0, 1)),
        verify=dict(stop=180, seeds=(0,)),
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/preferred-trained",
        item="Figure 3, right (ours: a control for regularisation)",
        chapter="dual/trained",
        function="studies.dual.trained.compute:preferred_trained",
        tables={},
        full=Trained(**PREFERRED, seeds=FIVE),
        quick=Trained(**QUICK | PREFERRED, seeds=(0, 1)),
        verify=dict(stop=60, seeds=(0,)),
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/two-numbers",
        item="Figure 3, right (ours: the optimum by symmetry)",
        chapter="dual/trained",
        function="studies.dual.trained.compute:two_numbers",
        tables={},
        full=TwoNumbers(seeds=FIVE),
        quick=TwoNumbers(
            seeds=(0, 1), prompts=400, scales=(0.1, 4.0, 8), conditions=((15, "uniform", 0.0),)
        ),
        verify=dict(tasks=("linear",), conditions=((15, "uniform", 0.0),), seeds=(0,)),
    ),
    Experiment(
        id="ren2024/baselines",
        item="Figure 3, right (ours: peers outside attention)",
        chapter="dual/trained",
        function="studies.dual.trained.compute:baselines",
        tables={},
        full=Conditions(seeds=FIVE),
        quick=Conditions(
            seeds=(0, 1), prompts=400, tuning=200, conditions=((15, "uniform", 0.0),)
        ),
        verify=dict(tasks=("linear",), conditions=((15, "uniform", 0.0),), seeds=(0,)),
    ),
)
