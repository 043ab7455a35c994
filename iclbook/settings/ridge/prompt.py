"""Settings of the chapter *The prompt, the dictionary, the model*."""

from dataclasses import dataclass

from iclbook.settings.experiment import Experiment, Settings


@dataclass(frozen=True, kw_only=True)
class OneDictionary(Settings):
    """A small model trained to rounding, then shown other prompts; null models beside it."""

    N: int = 4
    K: int = 9
    d: int = 10
    m: int = 3
    H: int = 8
    tau: float = 0.1
    rate: float = 1.0
    steps: int = 10_000
    prompt_sets: int = 100


EXPERIMENTS = (
    Experiment(
        id="yang2024/one-dictionary",
        item="What is learned (ours)",
        chapter="ridge/prompt",
        full=OneDictionary(seeds=(0, 1, 2, 3, 4)),
        quick=OneDictionary(seeds=(0,), steps=1_000, prompt_sets=20),
        verify=dict(seeds=(0,)),
    ),
)
