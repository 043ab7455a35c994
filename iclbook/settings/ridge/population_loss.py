"""Settings of the chapter *Training without sampling*."""

from dataclasses import dataclass

from iclbook.settings.experiment import Experiment, Settings


@dataclass(frozen=True, kw_only=True)
class Lemma5(Settings):
    """Loss of random tables: closed form against Monte Carlo."""

    N: int = 4
    K: int = 9
    d: int = 5
    m: int = 3
    tau: float = 0.3
    draws: int = 2_000_000


EXPERIMENTS = (
    Experiment(
        id="yang2024/lemma5",
        item="Lemma 5",
        chapter="ridge/population_loss",
        full=Lemma5(seeds=(0, 1, 2, 3, 4)),
        quick=Lemma5(seeds=(0, 1), draws=100_000),
        verify=dict(seeds=(0,)),
        rtol=1e-9,
    ),
)
