"""Settings of the chapter *Does depth change the story?*."""

from dataclasses import dataclass

from iclbook.experiment import Experiment, Measure, Settings, Table, loose


@dataclass(frozen=True, kw_only=True)
class Deep(Settings):
    """The standard encoder on the prompts of Figure 2: sizes, optimiser and data that both
    figures share.

    device: as torch names it; the paper profile asks for "cuda".
    """

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    tau: float = 0.01
    tokens: str = "gaussian"
    layers: int = 4
    width: int = 256
    feedforward: int = 512
    rate: float = 1e-4
    pool: int = 10_000
    batch: int = 256
    test_tasks: int = 200
    dtype: str = "float32"
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Fig2b(Deep):
    """Training loss and inference losses of the deep model over training, then what is inside
    it.

    skip: with and without skip connections; without, training takes `steps_without_skip` steps.
    At the end linear maps are fitted on `probe_tasks` tasks (a third more are held out) and
    `probe_tokens` tokens not shown, and the test tasks' labels are multiplied by each of
    `factors`; none of this for 0 tasks.
    """

    H: int = 8
    steps: int = 10_000
    skip: tuple[bool, ...] = (True, False)
    steps_without_skip: int = 10_000
    probe_tasks: int = loose(900, least=0)
    probe_tokens: int = 5
    factors: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)

    @property
    def depths(self) -> tuple[int, ...]:
        """Where representations are probed: after the embedding, 0, and after each layer."""
        return tuple(range(self.layers + 1))

    def points(self) -> list[dict]:
        return [{"skip": skip, "seed": seed} for skip in self.skip for seed in self.seeds]


@dataclass(frozen=True, kw_only=True)
class Fig5(Deep):
    """Deep models of several head counts, one after another, each with the same time to train.

    Training stops after `budget` seconds of one thread's processor time (looks not counted),
    which is the wall clock of an idle machine, or after `max_steps`. A point is a whole race,
    so that its times are taken side by side.
    final_look: whether the test tasks are predicted when the time is up. Then those with fewer
    than `least_steps` train on to as many, so that head counts can be compared after equally
    many steps too.
    """

    H: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    budget: float = 100.0
    least_steps: int = 464
    max_steps: int = 100_000
    final_look: bool = True


@dataclass(frozen=True, kw_only=True)
class Longer(Deep):
    """Figure 5's head counts at half the size, each for as many steps, most of the way to ridge
    regression. A point is a whole seed, so that its times are taken side by side."""

    N: int = 15
    K: int = 100
    d: int = 50
    m: int = 10
    width: int = 128
    feedforward: int = 256
    rate: float = 1e-3
    batch: int = 8
    H: tuple[int, ...] = (1, 4, 8, 16, 32)
    steps: int = 2_000


RUN = ("skip", "seed")
TWO = ("in-domain", "out-of-domain")
# Float32 training of a deep model amplifies rounding: with the plainest instruction set the
# training loss is off by 3e-6 of itself at step 10 and by 4 % at step 464. So the tolerance
# grows with the step; beyond some hundred steps only the course of a curve can be compared.
TRAINED = {"rtol": 1e-4, "atol": 5e-4, "scale": "step"}
# What is measured after the last step is not compared at all.
LAST = {"clock": True}
ROUNDED = {"rtol": 1e-6, "atol": 1e-12}  # closed forms in float64


def training_loss(tolerance: dict) -> dict[str, Measure]:
    return {"training_loss": Measure("loss on 64 tasks of the pool", **tolerance)}


def distances(tolerance: dict) -> dict[str, Measure]:
    """Measures of a predictor on the test tasks of a domain."""
    hidden = "mean square over tokens not shown of"
    return {
        "loss": Measure("loss on the test tasks", **tolerance),
        "distance": Measure("mean square over all tokens of y^ - y*^", **tolerance),
        "distance_not_shown": Measure(f"{hidden} y^ - y*^", **tolerance),
        "distance_to_lemma4": Measure(f"{hidden} y^ minus Lemma 4's ridge", **tolerance),
        "error": Measure(f"{hidden} y^ minus the true label", **tolerance),
    }


# R^2 on held-out tasks.
PROBES = {
    "ridge_coefficients": Measure("of the ridge coefficients, from a token", **LAST),
    "ridge_prediction": Measure("of the token's y*^, from that token", **LAST),
    "rest_of_labels": Measure(
        "of the labels' part outside the row space of Z^, from a token", **LAST
    ),
    "features": Measure("of f(v), from all tokens", **LAST),
    "other_features": Measure("of features never seen, from all tokens", **LAST),
}
FIG2B = {
    "curves": Table(keys=(*RUN, "step"), measures=training_loss(TRAINED)),
    "domains": Table(
        keys=(*RUN, "step", "domain"), levels={"domain": TWO}, measures=distances(TRAINED)
    ),
    "references": Table(
        keys=(*RUN, "predictor"),
        levels={"predictor": ("ridge", "Lemma 4", "zero")},
        measures=training_loss(ROUNDED),
    ),
    "reference_domains": Table(
        keys=(*RUN, "predictor", "domain"),
        levels={"predictor": ("ridge", "Lemma 4", "zero"), "domain": TWO},
        measures=distances(ROUNDED),
    ),
    "best_linear": Table(
        keys=(*RUN, "fitted"), levels={"fitted": TWO}, measures=training_loss(ROUNDED)
    ),
    "best_linear_domains": Table(
        keys=(*RUN, "fitted", "domain"),
        levels={"fitted": TWO, "domain": TWO},
        measures=distances(ROUNDED),
    ),
    "linearity": Table(
        keys=RUN,
        measures={
            "nonlinear_share": Measure("what the closest table leaves of y^", **LAST),
            "linear_part_excess_loss": Measure("L - L* of the closest table", **LAST),
            "scaling_error": Measure("of labels twice as large", **LAST),
        },
    ),
    "label_sizes": Table(
        keys=(*RUN, "domain"),
        levels={"domain": TWO},
        measures={"label_size": Measure("root mean square of the labels shown", **ROUNDED)},
    ),
    "label_scaling": Table(
        keys=(*RUN, "domain", "factor"),
        levels={"domain": TWO, "factor": "factors"},
        measures={
            "relative_distance": Measure(
                "distance_not_shown over the mean square of y*^, labels times factor", **LAST
            )
        },
    ),
    "probes": Table(keys=(*RUN, "layer"), levels={"layer": "depths"}, measures=PROBES),
}

RUNNER = ("seed", "H")
# The clock decides where a race ends, so also which rows there are beyond `least_steps`.
FIG5 = {
    "costs": Table(
        keys=RUNNER,
        levels={"H": "H"},
        measures={
            "flops": Measure("of the matrix products of one step", rtol=1e-9),
            "exponentials": Measure("of the softmax of one step", rtol=1e-9),
        },
    ),
    "curves": Table(
        keys=(*RUNNER, "step"),
        levels={"H": "H"},
        ragged=True,
        measures={
            "training_loss": Measure("mean over the batches since the last look", **TRAINED),
            "seconds": Measure(
                "of processor time so far; NaN once the time is up",
                unit="s",
                missing=True,
                clock=True,
            ),
        },
    ),
    "ends": Table(
        keys=RUNNER,
        levels={"H": "H"},
        measures={
            "iterations": Measure("steps when the time is up", clock=True),
            "seconds": Measure("processor time then", unit="s", clock=True),
            "wall_seconds": Measure("wall clock then", unit="s", clock=True),
        },
    ),
    "final_losses": Table(
        keys=RUNNER,
        levels={"H": "H"},
        measures={"loss": Measure("on in-domain test tasks when time is up", clock=True)},
    ),
    "final_distances": Table(
        keys=(*RUNNER, "domain"),
        levels={"H": "H", "domain": TWO},
        measures={
            "distance": Measure(
                "mean square over all tokens of y^ - y*^ when time is up", clock=True
            )
        },
    ),
}

LONGER = {
    "curves": Table(
        keys=(*RUNNER, "step", "domain"),
        levels={"H": "H", "domain": TWO},
        measures={
            "loss": Measure("loss on the test tasks", **TRAINED),
            "seconds": Measure("of processor time so far", unit="s", clock=True),
        },
    ),
    "references": Table(
        keys=("seed", "predictor", "domain"),
        levels={"predictor": ("ridge", "Lemma 4", "zero"), "domain": TWO},
        measures={"loss": Measure("loss on the test tasks", **ROUNDED)},
    ),
}

SMALL = dict(
    N=6,
    K=16,
    d=8,
    m=3,
    layers=2,
    width=24,
    feedforward=32,
    rate=3e-3,
    pool=2_000,
    batch=32,
    test_tasks=50,
)
EXPERIMENTS = (
    Experiment(
        id="yang2024/fig2b",
        item="Figure 2b",
        chapter="ridge/depth",
        function="studies.ridge.depth.compute:fig2b",
        tables=FIG2B,
        full=Fig2b(seeds=(0, 1, 2), batch=8, steps=7_000, steps_without_skip=1_000),
        quick=Fig2b(
            **SMALL, H=2, steps=120, steps_without_skip=60, probe_tasks=60, probe_tokens=2
        ),
        paper=Fig2b(seeds=(0, 1, 2), skip=(True,), device="cuda"),
        unstated=(
            "tau",
            "steps",
            "steps_without_skip",
            "seeds",
            "dtype",
            "device",
            "probe_tasks",
            "probe_tokens",
            "factors",
        ),
        verify=dict(steps=10, steps_without_skip=10, skip=(True,), seeds=(0,), probe_tasks=0),
    ),
    Experiment(
        id="yang2024/fig5",
        item="Figure 5",
        chapter="ridge/depth",
        function="studies.ridge.depth.compute:fig5",
        tables=FIG5,
        full=Fig5(seeds=(0, 1, 2), rate=1e-3, batch=4),
        quick=Fig5(**SMALL, H=(1, 4, 8), budget=0.4, least_steps=100),
        paper=Fig5(seeds=(0, 1, 2), device="cuda"),
        unstated=("tau", "least_steps", "max_steps", "seeds", "dtype", "device"),
        verify=dict(max_steps=10, budget=1e9, final_look=False, H=(1, 8), seeds=(0,)),
    ),
    Experiment(
        id="yang2024/fig5-longer",
        item="Figure 5 (ours: half the size, most of the way to ridge)",
        chapter="ridge/depth",
        function="studies.ridge.depth.compute:fig5_longer",
        tables=LONGER,
        full=Longer(seeds=(0, 1, 2)),
        quick=Longer(**SMALL, H=(1, 4, 8), steps=100),
        verify=dict(steps=10, H=(1, 8), seeds=(0,)),
    ),
)
