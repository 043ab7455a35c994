"""Settings of the chapter *The prompt, the dictionary, the model*."""

from dataclasses import dataclass

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class OneDictionary(Settings):
    """A small model trained to rounding, then shown other prompts; null models beside it.

    prompts: how many prompts are drawn for each number of replaced tokens, and how many
    permuted ones.
    """

    N: int = 6
    K: int = 18
    d: int = 20
    m: int = 3
    H: int = 12
    tau: float = 0.1
    rate: float = 1.0
    steps: int = 10_000
    prompts: int = 40


TRAINED = ("transformer", "frozen attention, w solved", "free table")
LOSS = Measure("L - L* on the model's own prompt", atol=1e-14)

EXPERIMENTS = (
    Experiment(
        id="yang2024/one-dictionary",
        item="What is learned (ours)",
        chapter="ridge/prompt",
        function="studies.ridge.prompt.compute:one_dictionary",
        tables={
            "training": Table(
                keys=("seed", "predictor", "step"),
                levels={"predictor": ("transformer", "frozen attention", "free table")},
                measures={"excess_loss": LOSS},
            ),
            "solved": Table(
                keys=("seed",),
                measures={
                    "excess_loss": Measure("the same, frozen attention, w solved", atol=1e-20)
                },
            ),
            "prompts": Table(
                keys=("seed", "predictor", "prompt", "replaced", "draw"),
                levels={
                    "predictor": (*TRAINED, "best", "zero"),
                    "prompt": ("own", "permuted", "replaced"),
                },
                measures={"loss": Measure("L on the whole dictionary for that prompt")},
            ),
        },
        full=OneDictionary(seeds=(0, 1, 2, 3, 4)),
        quick=OneDictionary(seeds=(0,), steps=2_000, prompts=20),
        verify=dict(seeds=(0,)),
    ),
)
