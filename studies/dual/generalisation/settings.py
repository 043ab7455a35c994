"""Settings of the chapter *How many demonstrations?*"""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Settings


@dataclass(frozen=True, kw_only=True)
class Thm32Gap(Settings):
    """Supremum of the gap over ||W||_F <= w, for samples of N pairs, beside every step of the bound."""

    pools: tuple[str, ...] = ("unit", "uniform", "prompt")
    size: int = 1_000
    N: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256, 512)
    samples: int = 400
    signs: int = 20
    w: float = 1.0
    delta: float = 0.05

    def points(self) -> list[dict]:
        return [{"pool": pool, "seed": seed} for pool, seed in product(self.pools, self.seeds)]


EXPERIMENTS = (
    Experiment(
        id="ren2024/thm32-gap",
        item="Theorem 3.2",
        chapter="dual/generalisation",
        function="studies.dual.generalisation.compute:thm32_gap",
        tables={},
        full=Thm32Gap(seeds=(0, 1, 2, 3, 4)),
        quick=Thm32Gap(size=300, samples=100, N=(2, 8, 32, 128, 512)),
        verify=dict(seeds=(0,), N=(2, 4, 8)),
    ),
)
