"""Settings of the chapter *How many demonstrations?*"""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class Thm32Gap(Settings):
    """Supremum of the gap over ||W||_F <= w, for samples of N pairs, beside every step of the
    bound."""

    pools: tuple[str, ...] = ("unit", "uniform", "prompt")
    size: int = 1_000
    N: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256, 512)
    samples: int = 400
    signs: int = 20
    w: float = 1.0
    delta: float = 0.05

    def points(self) -> list[dict]:
        return [{"pool": pool, "seed": seed} for pool, seed in product(self.pools, self.seeds)]


GAP = {
    "mean": Measure("mean gap over the samples"),
    "mean_error": Measure("its standard error"),
    "mean_square": Measure("mean square of the gap"),
    "mean_square_error": Measure("its standard error"),
    "largest": Measure("largest gap"),
    "quantile": Measure("1 - delta quantile of the gap"),
    "share_above": Measure("share of gaps above the bound"),
    "twice_Rademacher": Measure("twice the mean Rademacher complexity of the samples"),
    "Rademacher_error": Measure("its standard error"),
    "rms": Measure("root mean square of the gap, exact"),
    "second_moment": Measure("second step of the bound"),
    "symmetrised": Measure("third step"),
    "radius": Measure("fourth step"),
    "deviation": Measure("the bound's deviation term"),
    "bound": Measure("the bound"),
}

EXPERIMENTS = (
    Experiment(
        id="ren2024/thm32-gap",
        item="The generalisation bound",
        chapter="dual/generalisation",
        function="studies.dual.generalisation.compute:thm32_gap",
        tables={
            "pools": Table(
                keys=("pool", "seed"),
                measures={
                    "rho": Measure("longest value"),
                    "kappa": Measure("largest feature norm"),
                    "mean_kernel": Measure("E k(x, x)"),
                },
            ),
            "gaps": Table(keys=("pool", "seed", "N"), levels={"N": "N"}, measures=GAP),
        },
        full=Thm32Gap(seeds=(0, 1, 2, 3, 4)),
        quick=Thm32Gap(size=300, samples=100, N=(2, 8, 32, 128, 512)),
        verify=dict(seeds=(0,), N=(2, 4, 8)),
    ),
)
