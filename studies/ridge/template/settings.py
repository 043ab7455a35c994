"""Settings of the chapter *Which template does it choose?*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table, loose

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Lemma4(Settings):
    """Random instances: the noise-averaged criterion minimised without its closed form."""

    instances: int = 500
    largest: int = 12

    @property
    def numbers(self) -> range:
        """The instances' numbers."""
        return range(self.instances)


@dataclass(frozen=True, kw_only=True)
class Fig3(Settings):
    """The two ridge predictors at every prompt length, in closed form; prompts are nested."""

    K: int = 200
    d: int = 100
    m: int = 100
    taus: tuple[float, ...] = (0.01,)
    N_first: int = 50
    N_last: int = 150
    N_step: int = 1

    @property
    def lengths(self) -> range:
        """Every prompt length N."""
        return range(self.N_first, self.N_last + 1, self.N_step)

    def points(self) -> list[dict]:
        return [{"tau": tau, "seed": seed} for tau, seed in product(self.taus, self.seeds)]


@dataclass(frozen=True, kw_only=True)
class Fig3Trained(Settings):
    """One-layer models trained at a few prompt lengths, beside both predictors."""

    K: int = 200
    d: int = 100
    m: int = 100
    H: int = 160
    tau: float = 0.01
    prompts: tuple[int, ...] = (50, 100, 150)
    rate: float = 2e-2
    half_life: int = 600  # of the rate, in steps
    steps: int = 3_000
    dtype: str = "float32"

    def points(self) -> list[dict]:
        return [{"N": N, "seed": seed} for N, seed in product(self.prompts, self.seeds)]


@dataclass(frozen=True, kw_only=True)
class Fig3Penalties(Settings):
    """Penalties chosen task by task, by the truth or from data; beside m tau and N tau."""

    K: int = 200
    d: int = 100
    m: int = 100
    tau: float = 0.01
    prompts: tuple[int, ...] = (50, 75, 90, 100, 110, 125, 150)
    test_tasks: int = 500
    log10_penalties: tuple[float, float] = loose((-3.0, 3.0), least=-1e15)
    grid: int = 61

    def points(self) -> list[dict]:
        return [{"N": N, "seed": seed} for N, seed in product(self.prompts, self.seeds)]


READINGS = ("copied", "fitted", "mixed")
FIG3 = {
    "gaps": Table(
        keys=("tau", "seed", "N", "reading"),
        levels={"N": "lengths", "reading": READINGS},
        measures={"gap": Measure("(1/K) E ||y*^ - y^best||^2", atol=1e-15)},
    ),
    "behaviours": Table(
        keys=("tau", "seed", "N", "predictor"),
        levels={"N": "lengths", "predictor": ("transformer", "best")},
        measures={
            "norm": Measure("E ||lambda^||^2"),
            "residual": Measure("E (1/N) ||y - Z^T lambda^||^2"),
            "error": Measure("E of the squared error, tokens not shown"),
        },
    ),
    "prompts": Table(
        keys=("tau", "seed", "N"),
        levels={"N": "lengths"},
        measures={"smallest_singular_value": Measure("of Z", atol=1e-9)},
    ),
}

EXPERIMENTS = (
    Experiment(
        id="yang2024/lemma4",
        item="Lemma 4",
        chapter="ridge/template",
        function="studies.ridge.template.compute:lemma4",
        tables={
            "templates": Table(
                keys=("seed", "instance"),
                levels={"instance": "numbers"},
                measures={"difference": Measure("relative, from least squares", atol=1e-9)},
            ),
            "ratios": Table(
                keys=("seed", "instance"),
                measures={
                    "norm": Measure("of norms, in the paper's direction", atol=1e-9),
                    "residual": Measure("of residuals, in the paper's direction", atol=1e-9),
                },
                ragged=True,  # instances with N = m have no direction
            ),
        },
        full=Lemma4(seeds=(0, 1, 2)),
        quick=Lemma4(instances=100, seeds=(0,)),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/fig3",
        item="Figure 3",
        chapter="ridge/template",
        function="studies.ridge.template.compute:fig3",
        tables=FIG3,
        full=Fig3(seeds=SEEDS),
        quick=Fig3(K=40, d=20, m=20, N_first=10, N_last=30, seeds=(0, 1, 2)),
        paper=Fig3(seeds=SEEDS),
        unstated=("d", "seeds"),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/fig3-tau",
        item="Figure 3 over tau (ours)",
        chapter="ridge/template",
        function="studies.ridge.template.compute:fig3",
        tables=FIG3,
        full=Fig3(seeds=SEEDS, taus=(1e-4, 1e-3, 1e-2, 1e-1, 1.0), N_step=5),
        quick=Fig3(
            K=40, d=20, m=20, N_first=10, N_last=30, taus=(1e-3, 1e-2, 1e-1), seeds=(0, 1, 2)
        ),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="yang2024/fig3-trained",
        item="Figure 3, trained models (ours)",
        chapter="ridge/template",
        function="studies.ridge.template.compute:fig3_trained",
        tables={
            "limits": Table(
                keys=("N", "seed"),
                measures={
                    "gap": Measure("of the limit y*^ to Lemma 4's template"),
                    "error": Measure("of the limit, tokens not shown"),
                    "best_error": Measure("of Lemma 4's template, tokens not shown"),
                },
            ),
            "curves": Table(
                keys=("N", "seed", "step"),
                measures={
                    "excess_loss": Measure("L - L*", rtol=1e-3, atol=1e-5),
                    "gap": Measure("to Lemma 4's template", rtol=1e-3, atol=1e-5),
                    "error": Measure("tokens not shown", rtol=1e-3, atol=1e-5),
                },
            ),
        },
        full=Fig3Trained(seeds=(0, 1, 2)),
        quick=Fig3Trained(
            K=24,
            d=20,
            m=10,
            H=20,
            prompts=(6, 10, 14),
            tau=0.1,
            half_life=200,
            steps=600,
            seeds=(0,),
        ),
        verify=dict(prompts=(50,), seeds=(0,), steps=32),
    ),
    Experiment(
        id="yang2024/fig3-penalties",
        item="Penalties chosen by data (ours)",
        chapter="ridge/template",
        function="studies.ridge.template.compute:fig3_penalties",
        tables={
            "errors": Table(
                keys=("N", "seed", "rule"),
                levels={"rule": ("transformer", "best", "oracle", "cross-validated")},
                measures={
                    "error": Measure("mean over tasks, tokens not shown"),
                    "standard_error": Measure("of that mean"),
                    "low": Measure("5 % quantile over tasks of the penalty"),
                    "median": Measure("median penalty"),
                    "high": Measure("95 % quantile"),
                },
            ),
            "tasks": Table(
                keys=("N", "seed"),
                measures={"transformer_errs_less": Measure("share of tasks, against best")},
            ),
        },
        full=Fig3Penalties(seeds=SEEDS),
        quick=Fig3Penalties(K=40, d=20, m=20, prompts=(10, 20, 30), test_tasks=200, seeds=(0,)),
        verify=dict(seeds=(0,)),
    ),
)
