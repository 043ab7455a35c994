"""Settings of the chapter *Unseen examples, unseen tasks*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class OneLayer(Settings):
    """One-layer model at the paper's size."""

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    H: int = 64
    tau: float = 0.01
    rate: float = 1e-4
    steps: int = 20_000
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True)
class Fig2a(OneLayer):
    """Training loss and inference losses over training, under each reading of the setting."""

    tokens: tuple[str, ...] = ("unit", "gaussian")
    losses: tuple[str, ...] = ("population", "batch")
    pool: int = 10_000
    batch: int = 256
    test_tasks: int = 200

    def points(self) -> list[dict]:
        sweep = product(self.losses, self.tokens, self.seeds)
        return [{"loss": loss, "tokens": tokens, "seed": seed} for loss, tokens, seed in sweep]


RUN = ("loss", "tokens", "seed")
TWO = ("in-domain", "out-of-domain")
BOTH = {"domain": TWO}
EXCESS = {"excess_loss": Measure("L - L*", rtol=1e-3, atol=1e-6)}
# "sampled": over the test tasks; "expected": in closed form.
ERRORS = {
    "distance_sampled": Measure("squared distance to ridge, y*^", rtol=1e-3, atol=1e-6),
    "distance_expected": Measure("squared distance to ridge, y*^", rtol=1e-3, atol=1e-6),
    "error_sampled": Measure(
        "squared error against the true labels of tokens not shown", rtol=1e-3, atol=1e-6
    ),
    "error_expected": Measure(
        "squared error against the true labels of tokens not shown", rtol=1e-3, atol=1e-6
    ),
}

QUICK = dict(N=10, K=40, d=30, m=8, H=24, rate=2e-3, steps=1_500)

EXPERIMENTS = (
    Experiment(
        id="yang2024/fig2a",
        item="Figure 2a",
        chapter="ridge/unseen",
        function="studies.ridge.unseen.compute:fig2a",
        tables={
            "curves": Table(keys=(*RUN, "step"), measures=EXCESS),
            "domains": Table(keys=(*RUN, "step", "domain"), levels=BOTH, measures=ERRORS),
            "references": Table(keys=(*RUN, "predictor"), measures=EXCESS),
            "reference_domains": Table(
                keys=(*RUN, "predictor", "domain"), levels=BOTH, measures=ERRORS
            ),
            "best_linear": Table(
                keys=(*RUN, "fitted"), levels={"fitted": TWO}, measures=EXCESS
            ),
            "best_linear_domains": Table(
                keys=(*RUN, "fitted", "domain"), levels=BOTH | {"fitted": TWO}, measures=ERRORS
            ),
        },
        full=Fig2a(seeds=(0, 1, 2, 3, 4)),
        quick=Fig2a(**QUICK, pool=2_000),
        paper=Fig2a(seeds=(0, 1, 2, 3, 4), tokens=("gaussian",)),
        unstated=("tau", "steps", "seeds", "dtype"),
        verify=dict(steps=100, seeds=(0,)),
    ),
    Experiment(
        id="yang2024/fig2a-weights",
        item="Figure 2a: the trained weights of seed 0, unit tokens, population loss",
        chapter="ridge/unseen",
        function="studies.ridge.unseen.compute:fig2a_weights",
        tables={"curves": Table(keys=("seed", "step"), measures=EXCESS)},
        arrays={
            "Q": "attention at the last step, head h is Q[:, h, :], (d, H, d), float32",
            "w": "weights of the heads at the last step, (H, K), float32",
        },
        full=OneLayer(),
        quick=OneLayer(**QUICK),
        verify=dict(steps=100),
    ),
)
