"""Settings of the chapter *Further tasks*."""

from dataclasses import dataclass, replace
from itertools import product

from iclbook.experiment import Experiment, Settings, Table, added, loose
from studies.dual.trained.settings import (
    CHEAP,
    EVERY,
    EVERY_QUICK,
    FINAL,
    FIVE,
    QUICK,
    SINGLE_STEPS,
    STARTS,
    STRENGTHS,
    Trained,
    tables,
)

HANDFUL = dict(alphas=(-1.0, 0.5, 1.0), c=(1.0,), views=("g1 and g2",), crossed=())
UNCROSSED = tuple(family for family in EVERY if family != "crossed")
CONDITION = ("task", "inputs", "noise", "seed")
FAMILIES = ("plain", "regularised", "augmented", "negative")


@dataclass(frozen=True, kw_only=True)
class ManyTrained(Trained):
    """The panel of `Trained` for several tasks, or for several (inputs, noise); a point for
    each and each seed."""

    tasks: tuple[str, ...] = ("linear", "trigonometric", "exponential")
    conditions: tuple[tuple[str, float], ...] = (("uniform", 0.0),)

    def points(self) -> list[dict]:
        """A point for each condition, task and seed."""
        points = product(self.conditions, self.tasks, self.seeds)
        return [
            {"task": task, "inputs": inputs, "noise": noise, "seed": seed}
            for (inputs, noise), task, seed in points
        ]


@dataclass(frozen=True, kw_only=True)
class DeepTrained(Settings):
    """A deeper model on the linear task: plain, with alpha, with (r, beta), with both maps at
    c; each from the same starts, on the same prompts. until: as in `Trained`."""

    N: int = 15
    d: int = 10
    d_o: int = 11
    hidden: int = 44
    map_hidden: int = 22
    alphas: tuple[float, ...] = loose((-0.5, 0.5, 1.0), least=-1e15)
    c: tuple[float, ...] = loose((0.1, 1.0))
    negatives: tuple[tuple[int, float], ...] = loose(((3, 0.5), (15, 0.5), (15, 1.0)))
    starts: tuple[str, ...] = added(STARTS)
    batch: int = 64
    steps: int = 6_000
    decay_from: float = 0.25
    until: float = 1.0
    rate: float = 3e-3
    test: int = 2_048
    final: int = 8_192
    prompts: int = 500

    def grid(self) -> dict[str, list[dict]]:
        """Family -> the settings of its models, as `STRENGTHS` names them."""
        rows = {
            "plain": [()],
            "regularised": [(alpha,) for alpha in self.alphas],
            "augmented": [("g1 and g2", c) for c in self.c],
            "negative": self.negatives,
        }
        return {
            family: [dict(zip(STRENGTHS[family], row)) for row in rows[family]]
            for family in FAMILIES
        }


def of_models() -> dict[str, Table]:
    """For each family F the tables F_curves, F_ends and F_steps (of drawn starts)."""
    every = tables(FAMILIES, ends={"final_loss": FINAL}, duals=False)
    found = {name: replace(table, levels={"start": "starts"}) for name, table in every.items()}
    for family in FAMILIES:
        keys = ("seed", *STRENGTHS[family], "step")
        found[f"{family}_steps"] = Table(keys=keys, measures=SINGLE_STEPS)
    return found


QUICK_DEEP = dict(
    alphas=(0.5,),
    c=(1.0,),
    negatives=((3, 0.5), (15, 1.0)),
    seeds=(0,),
    steps=8,
    batch=8,
    test=64,
    final=64,
    prompts=20,
    map_hidden=4,
    hidden=8,
)
QUICK_MANY = QUICK | HANDFUL | dict(alphas=(0.5,), tasks=("linear",), seeds=(0, 1))

# Five seeds are too few for a stack: of one start, most other sets of five deny what all say.
TEN = (*FIVE, *range(1_000, 1_005))

EXPERIMENTS = (
    Experiment(
        id="ren2024/trigonometric-trained",
        item="Figures of the appendix (ours: a trigonometric task)",
        chapter="dual/further_tasks",
        function="studies.dual.trained.compute:trained",
        full=Trained(task="trigonometric", seeds=FIVE),
        quick=Trained(**EVERY_QUICK, task="trigonometric", seeds=(0, 1)),
        verify=CHEAP,
        tables=tables(),
    ),
    Experiment(
        id="ren2024/exponential-trained",
        item="Figures of the appendix (ours: an exponential task)",
        chapter="dual/further_tasks",
        function="studies.dual.trained.compute:trained",
        full=Trained(task="exponential", seeds=FIVE),
        quick=Trained(**EVERY_QUICK, task="exponential", seeds=(0, 1)),
        verify=CHEAP,
        tables=tables(amplifies=True),
    ),
    Experiment(
        id="ren2024/longer-prompts",
        item="Figures of the appendix (ours: prompts of 40)",
        chapter="dual/further_tasks",
        function="studies.dual.trained.compute:trained",
        full=ManyTrained(
            **HANDFUL,
            N=40,
            negatives=((3, 0.5), (10, 1.0), (40, 1.0)),
            learned=(40,),
            seeds=(0, 1, 2),
        ),
        quick=ManyTrained(**QUICK_MANY, N=40, negatives=((3, 0.5), (40, 1.0)), learned=(40,)),
        verify=dict(tasks=("linear",), until=0.01, seeds=(0,)),
        tables=tables(UNCROSSED, CONDITION),
    ),
    Experiment(
        id="ren2024/inputs-and-noise",
        item="Figures of the appendix (ours: Gaussian inputs, noisy labels)",
        chapter="dual/further_tasks",
        function="studies.dual.trained.compute:trained",
        full=ManyTrained(
            **HANDFUL,
            negatives=((3, 0.5), (10, 1.0), (15, 1.0)),
            learned=(15,),
            conditions=(("gaussian", 0.0), ("uniform", 0.1)),
            seeds=(0, 1, 2),
        ),
        quick=ManyTrained(
            **QUICK_MANY,
            negatives=((3, 0.5), (15, 1.0)),
            learned=(15,),
            conditions=(("gaussian", 0.1),),
        ),
        verify=dict(tasks=("linear",), conditions=(("uniform", 0.1),), until=0.01, seeds=(0,)),
        tables=tables(UNCROSSED, CONDITION),
    ),
    Experiment(
        id="ren2024/transformer-trained",
        item="Figures of the appendix (ours: one Transformer layer)",
        chapter="dual/further_tasks",
        function="studies.dual.further_tasks.compute:transformer_trained",
        full=DeepTrained(seeds=FIVE),
        quick=DeepTrained(**QUICK_DEEP),
        verify=dict(until=0.01, seeds=(0,)),
        tables=of_models(),
    ),
    Experiment(
        id="ren2024/two-layers-trained",
        item="Figures of the appendix (ours: two attention layers)",
        chapter="dual/further_tasks",
        function="studies.dual.further_tasks.compute:two_layers_trained",
        full=DeepTrained(seeds=TEN),
        quick=DeepTrained(**QUICK_DEEP),
        verify=dict(until=0.01, seeds=(0,)),
        tables=of_models(),
    ),
)
