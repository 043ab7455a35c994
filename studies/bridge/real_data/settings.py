"""Settings of the chapter *Real data*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table

DATA = ("digits", "diabetes", "cancer", "wine", "xor", "moons")
FAMILIES = ("fourier", "pca", "network")
SEEDS = tuple(range(10))


@dataclass(frozen=True, kw_only=True)
class RealData(Settings):
    """A dictionary of K real samples, of which the prompt shows N; the rest of the data fixes
    scales and functions.

    d: coordinates kept, at most; width: of the random waves, in median distances;
    network_steps: of L-BFGS.
    """

    data: tuple[str, ...] = DATA
    K: int = 64
    d: int = 10
    width: float = 1.0
    network_steps: int = 50

    def points(self) -> list[dict]:
        return [{"data": data, "seed": seed} for data, seed in product(self.data, self.seeds)]


@dataclass(frozen=True, kw_only=True)
class Approximation(RealData):
    """The best combination of m functions for the data's own labels."""

    families: tuple[str, ...] = FAMILIES
    m: tuple[int, ...] = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, kw_only=True)
class Prompts(RealData):
    """One transformer a dictionary, trained on tasks lambda^T f, shown tasks and own labels."""

    families: tuple[str, ...] = FAMILIES
    N: int = 24
    m: int = 16
    H: int = 32
    tau: float = 0.1
    beta: float = 5.0
    rate: float = 0.1
    half_life: float = 120.0
    steps: int = 500
    dtype: str = "float32"

    def points(self) -> list[dict]:
        sweep = product(self.data, self.families, self.seeds)
        return [{"data": data, "family": f, "seed": seed} for data, f, seed in sweep]


@dataclass(frozen=True, kw_only=True)
class Standard(RealData):
    """Learners of scikit-learn fitted and tuned on the same prompt's labels."""

    N: int = 24
    m: int = 16  # hidden units of the network that sees the rest and no prompt
    folds: int = 5
    trees: int = 50


ONE = ("data", "family", "seed")
EXACT = dict(rtol=1e-3, atol=1e-4)  # a network's L-BFGS ends a little elsewhere
NEAR = dict(rtol=2e-3, atol=2e-4)  # trained in float32, at a high rate
WRONG = "share of the tokens not shown on the wrong side; none for diabetes"
LEARNERS = ("transformer", "ridge", "ridge, tuned", "zero")
STANDARD = ("kernel ridge", "neighbours", "boosting", "network alone", "zero")

EXPERIMENTS = (
    Experiment(
        id="real/approximation",
        item="How well m functions approximate real labels (ours)",
        chapter="bridge/real_data",
        function="studies.bridge.real_data.compute:approximation",
        tables={
            "labels": Table(
                keys=("data", "seed", "family", "m"),
                levels={"family": "families", "m": "m"},
                measures={
                    "functions": Measure("how many of the m there are"),
                    "left": Measure(
                        "share of sum y^2 that the best combination leaves", **EXACT
                    ),
                    "unseen": Measure("the same, each token left out of its own fit", **EXACT),
                },
            ),
        },
        full=Approximation(seeds=SEEDS),
        quick=Approximation(data=("wine", "xor"), m=(1, 4, 16), network_steps=20, seeds=(0,)),
        verify=dict(seeds=(0,), data=("wine", "xor")),
    ),
    Experiment(
        id="real/prompts",
        item="A transformer trained on tasks over real samples (ours)",
        chapter="bridge/real_data",
        function="studies.bridge.real_data.compute:prompts",
        tables={
            "limits": Table(
                keys=ONE,
                measures={
                    "functions": Measure("m, or as many as there are"),
                    "loss": Measure("L*", **EXACT),
                    "error": Measure("of ridge, tokens not shown, against the truth", **EXACT),
                    "zero": Measure("of predicting zero, tokens not shown", **EXACT),
                    "energy": Measure("of the own labels in the prompt; tasks have 1", **EXACT),
                },
            ),
            "curves": Table(
                keys=(*ONE, "step"),
                measures={
                    "excess": Measure("L - L*", **NEAR),
                    "shown": Measure("error against the truth, tokens shown", **NEAR),
                    "error": Measure("error against the truth, tokens not shown", **NEAR),
                },
            ),
            "learners": Table(
                keys=(*ONE, "learner"),
                levels={"learner": LEARNERS},
                measures={
                    "error": Measure("mean square on own labels, tokens not shown", **NEAR),
                    "wrong": Measure(WRONG, rtol=0.0, atol=0.06, missing=True),
                },
            ),
        },
        full=Prompts(seeds=SEEDS),
        quick=Prompts(
            data=("wine", "xor"),
            families=("fourier", "network"),
            K=32,
            N=12,
            m=6,
            H=16,
            half_life=60.0,
            steps=300,
            network_steps=20,
            seeds=(0,),
        ),
        verify=dict(seeds=(0,), data=("wine",), families=("fourier",)),
    ),
    Experiment(
        id="real/standard",
        item="Standard learners on the same prompts (ours)",
        chapter="bridge/real_data",
        function="studies.bridge.real_data.compute:standard",
        tables={
            "learners": Table(
                keys=("data", "seed", "learner"),
                levels={"learner": STANDARD},
                measures={
                    "error": Measure("mean square on own labels, tokens not shown", **EXACT),
                    "wrong": Measure(WRONG, rtol=0.0, atol=0.06, missing=True),
                },
            ),
        },
        full=Standard(seeds=SEEDS),
        quick=Standard(
            data=("wine", "xor"),
            K=32,
            N=12,
            m=6,
            network_steps=20,
            folds=3,
            trees=20,
            seeds=(0,),
        ),
        verify=dict(seeds=(0,), data=("wine", "xor")),
    ),
    Experiment(
        id="real/map",
        item="A map of XOR and two moons (ours)",
        chapter="bridge/real_data",
        function="studies.bridge.real_data.compute:plane",
        tables={
            "tokens": Table(
                keys=(*ONE, "token"),
                measures={
                    "x1": Measure("first coordinate", **EXACT),
                    "x2": Measure("second coordinate", **EXACT),
                    "label": Measure("own label, mean 0 and variance 1 on the rest"),
                    "transformer": Measure("the trained model's prediction", **NEAR),
                    "ridge": Measure("its limit's", **EXACT),
                },
            ),
        },
        full=Prompts(data=("xor", "moons"), families=("fourier",), seeds=(0,)),
        quick=Prompts(
            data=("xor", "moons"),
            families=("fourier",),
            K=32,
            N=12,
            m=6,
            H=16,
            half_life=60.0,
            steps=200,
            seeds=(0,),
        ),
        verify=dict(data=("xor",)),
    ),
)
