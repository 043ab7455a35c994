"""Settings of the chapter *Further tasks*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Settings
from studies.dual.trained.settings import CHEAP, FIVE, QUICK, Trained

HANDFUL = dict(alphas=(-1.0, 0.5, 1.0), c=(1.0,), views=("g1 and g2",), crossed=())


@dataclass(frozen=True, kw_only=True)
class ManyTrained(Trained):
    """The panel of `Trained` for several tasks, or for several (inputs, noise); a point for
    each and each seed."""

    tasks: tuple[str, ...] = ("linear", "trigonometric", "exponential")
    conditions: tuple[tuple[str, float], ...] = (("uniform", 0.0),)

    def points(self) -> list[dict]:
        return [{"task": task, "inputs": inputs, "noise": noise, "seed": seed}
                for (inputs, noise), task, seed in product(self.conditions, self.tasks, self.seeds)]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DeepTrained(Settings):
    """A deeper model on the linear task: plain, with alpha, with (r, beta), with both maps at
    c; one start a seed."""

    N: int = 15
    d: int = 10
    d_o: int = 11
    hidden: int = 44
    map_hidden: int = 22
    alpha: float = 0.5
    r: int = 15
    beta: float = 1.0
    c: float = 1.0
    batch: int = 64
    steps: int = 3_000
    decay_from: float = 0.25
    stop: int = 0
    rate: float = 3e-3
    test: int = 2_048
    final: int = 8_192
    prompts: int = 500


QUICK_DEEP = dict(
    seeds=(0,), steps=8, batch=8, test=64, final=64, prompts=20, map_hidden=4, hidden=8
)

EXPERIMENTS = (
    Experiment(
        id="ren2024/trigonometric-trained",
        item="Figures of the appendix (ours: a trigonometric task)",
        chapter="dual/further_tasks",
        function="studies.dual.further_tasks.compute:trigonometric_trained",
        tables={},
        full=Trained(task="trigonometric", seeds=FIVE),
        quick=Trained(**QUICK, task="trigonometric", seeds=(0, 1)),
        verify=CHEAP,
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/exponential-trained",
        item="Figures of the appendix (ours: an exponential task)",
        chapter="dual/further_tasks",
        function="studies.dual.further_tasks.compute:exponential_trained",
        tables={},
        full=Trained(task="exponential", seeds=FIVE),
        quick=Trained(**QUICK, task="exponential", seeds=(0, 1)),
        verify=CHEAP,
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/longer-prompts",
        item="Figures of the appendix (ours: prompts of 40)",
        chapter="dual/further_tasks",
        function="studies.dual.further_tasks.compute:longer_prompts",
        tables={},
        full=ManyTrained(
            **HANDFUL,
            N=40,
            negatives=((3, 0.5), (10, 1.0), (40, 1.0)),
            learned=(40,),
            seeds=(0, 1, 2),
        ),
        quick=ManyTrained(
            **QUICK | dict(N=40, negatives=((3, 0.5), (40, 1.0))),
            tasks=("linear",),
            seeds=(0, 1),
        ),
        verify=dict(tasks=("linear",), stop=60, seeds=(0,)),
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/inputs-and-noise",
        item="Figures of the appendix (ours: Gaussian inputs, noisy labels)",
        chapter="dual/further_tasks",
        function="studies.dual.further_tasks.compute:inputs_and_noise",
        tables={},
        full=ManyTrained(
            **HANDFUL,
            negatives=((3, 0.5), (10, 1.0), (15, 1.0)),
            learned=(15,),
            steps=2_500,
            conditions=(("gaussian", 0.0), ("uniform", 0.1)),
            seeds=(0, 1, 2),
        ),  # fmt: skip
        quick=ManyTrained(
            **QUICK, tasks=("linear",), conditions=(("gaussian", 0.1),), seeds=(0, 1)
        ),
        verify=dict(tasks=("linear",), conditions=(("uniform", 0.1),), stop=25, seeds=(0,)),
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/transformer-trained",
        item="Figures of the appendix (ours: one Transformer layer)",
        chapter="dual/further_tasks",
        function="studies.dual.further_tasks.compute:transformer_trained",
        tables={},
        full=DeepTrained(seeds=FIVE),
        quick=DeepTrained(**QUICK_DEEP),
        verify=dict(stop=30, seeds=(0,)),
        # TO CONVERT, was rtol=1e-3,
    ),
    Experiment(
        id="ren2024/two-layers-trained",
        item="Figures of the appendix (ours: two attention layers)",
        chapter="dual/further_tasks",
        function="studies.dual.further_tasks.compute:two_layers_trained",
        tables={},
        full=DeepTrained(seeds=FIVE),
        quick=DeepTrained(**QUICK_DEEP),
        verify=dict(stop=30, seeds=(0,)),
        # TO CONVERT, was rtol=1e-3,
    ),
)
