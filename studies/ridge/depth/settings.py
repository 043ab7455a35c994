"""Settings of the chapter *Does depth change the story?*."""

from dataclasses import dataclass

from iclbook.experiment import Experiment, Settings


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
    `probe_tokens` tokens not shown; none for 0 tasks.
    """

    H: int = 8
    steps: int = 10_000
    skip: tuple[bool, ...] = (True, False)
    steps_without_skip: int = 10_000
    probe_tasks: int = 900
    probe_tokens: int = 5

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


EXPERIMENTS = (
    Experiment(
        id="yang2024/fig2b",
        item="Figure 2b",
        chapter="ridge/depth",
        function="studies.ridge.depth.compute:fig2b",
        tables={},
        full=Fig2b(seeds=(0, 1, 2), batch=8, steps=7_000, steps_without_skip=1_000),
        quick=Fig2b(N=6, K=16, d=8, m=3, H=2, layers=2, width=24, feedforward=32, rate=3e-3, pool=2_000, batch=32, steps=120,
                    steps_without_skip=60, test_tasks=50, probe_tasks=60, probe_tokens=2),
        paper=Fig2b(seeds=(0, 1, 2), skip=(True,), device="cuda"),
        unstated=("tau", "steps", "steps_without_skip", "seeds", "dtype", "device", "probe_tasks", "probe_tokens"),
        verify=dict(steps=10, skip=(True,), seeds=(0,), probe_tasks=0),
        # TO CONVERT, was rtol=1e-3,
        # TO CONVERT, was atol=1e-6,
    ),
    Experiment(
        id="yang2024/fig5",
        item="Figure 5",
        chapter="ridge/depth",
        function="studies.ridge.depth.compute:fig5",
        tables={},
        full=Fig5(seeds=(0, 1, 2), rate=1e-3, batch=4),
        quick=Fig5(N=6, K=16, d=8, m=3, H=(1, 4, 8), layers=2, width=24, feedforward=32, rate=3e-3, pool=2_000, batch=32,
                   test_tasks=50, budget=0.4, least_steps=100),
        paper=Fig5(seeds=(0, 1, 2), device="cuda"),
        unstated=("tau", "least_steps", "max_steps", "seeds", "dtype", "device"),
        verify=dict(max_steps=10, budget=1e9, final_look=False, H=(1, 8), seeds=(0,)),
        # TO CONVERT, was rtol=1e-3,
        # TO CONVERT, was atol=1e-6,
        # TO CONVERT, was timings=("seconds", "final seconds", "iterations", "wall seconds"),
    ),
)  # fmt: skip
