"""Settings of the chapter *The softmax kernel and its random features*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table, loose


@dataclass(frozen=True, kw_only=True)
class KernelIdentity(Settings):
    """Identities of the kernel and of shifted features, for N tokens of several widths and
    norms."""

    N: int = 16
    widths: tuple[int, ...] = (1, 3, 11, 64)
    norms: tuple[float, ...] = (0.0, 1.0, 5.0, 20.0)
    d_r: int = 40


@dataclass(frozen=True, kw_only=True)
class FeaturesVariance(Settings):
    """Mean and variance of the estimated kernel at pairs of one norm and several angles, over
    many sets."""

    d: int = 4
    d_r: int = 8
    squared_norm: float = 0.25
    cosines: tuple[float, ...] = loose((-0.8, -0.4, 0.0, 0.4, 0.8), least=-1)
    sets: int = 200_000

    def points(self) -> list[dict]:
        return [
            {"cosine": cosine, "seed": seed}
            for cosine, seed in product(self.cosines, self.seeds)
        ]


@dataclass(frozen=True, kw_only=True)
class Attention(Settings):
    """A random layer on tokens [x; w^T x], scaled so that the mean of ||q + k||^2 is
    `squared_sum`."""

    N: int = 15
    d: int = 11
    squared_sums: tuple[float, ...] = (0.25, 1.0, 4.0, 16.0)
    d_r: tuple[int, ...] = (10, 22, 46, 100, 216, 464, 1_000, 2_154, 4_642, 10_000)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Places of the N demonstrations and the query."""
        return tuple(range(self.N + 1))

    def points(self) -> list[dict]:
        return [
            {"squared_sum": size, "seed": seed}
            for size, seed in product(self.squared_sums, self.seeds)
        ]


@dataclass(frozen=True, kw_only=True)
class Fig27Error(Attention):
    """Errors of the attention matrix and of the output, averaged over draws of the features."""

    features: tuple[str, ...] = ("iid", "orthogonal", "trigonometric")
    draws: int = 20


MEAN_AND_VARIANCE = {
    "mean": Measure("mean estimate of the kernel over the sets"),
    "mean_error": Measure("its standard error"),
    "mean_exact": Measure("the kernel"),
    "variance": Measure("mean square about the kernel"),
    "variance_error": Measure("its standard error"),
    "variance_exact": Measure("closed form of the variance"),
}
ERRORS = {
    "matrix_MSE": Measure("mean squared error of the attention matrix, over draws and entries"),
    "matrix_MAE": Measure("mean absolute error of the attention matrix"),
    "matrix_MSE_error": Measure("standard error of matrix_MSE over the draws"),
    "output_MSE": Measure("mean squared error of the output"),
    "output_MAE": Measure("mean absolute error of the output"),
    "output_MSE_error": Measure("standard error of output_MSE over the draws"),
    "kernel_MSE": Measure("mean squared error of the kernel, relative to itself"),
    "kernel_MSE_exact": Measure("closed form of kernel_MSE"),
    "share_negative": Measure("share of estimated weights below 0"),
}

EXPERIMENTS = (
    Experiment(
        id="ren2024/kernel-identity",
        item="Softmax kernel",
        chapter="dual/kernel",
        function="studies.dual.kernel.compute:kernel_identity",
        tables={
            "errors": Table(
                keys=("seed", "width", "norm"),
                levels={"width": "widths", "norm": "norms"},
                measures={
                    "kernel": Measure("largest relative error of the identity", atol=1e-11),
                    "shifted_features": Measure("largest relative error", atol=1e-11),
                },
            )
        },
        full=KernelIdentity(seeds=(0, 1, 2, 3, 4)),
        quick=KernelIdentity(),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="ren2024/features-variance",
        item="Random features",
        chapter="dual/kernel",
        function="studies.dual.kernel.compute:features_variance",
        tables={
            "moments": Table(
                keys=("cosine", "seed", "features"),
                levels={"features": ("iid", "orthogonal", "trigonometric")},
                measures=MEAN_AND_VARIANCE,
            )
        },
        full=FeaturesVariance(seeds=(0, 1, 2, 3, 4)),
        quick=FeaturesVariance(sets=20_000),
        verify=dict(seeds=(0,), cosines=(-0.8, 0.8)),
    ),
    Experiment(
        id="ren2024/fig26-heatmaps",
        item="Item 26_1",
        chapter="dual/kernel",
        function="studies.dual.kernel.compute:fig26_heatmaps",
        tables={
            "weights": Table(
                keys=("squared_sum", "seed", "d_r", "query", "key"),
                levels={"query": "tokens", "key": "tokens"},
                measures={"estimated": Measure("attention weight by d_r iid features")},
            ),
            "exact": Table(
                keys=("squared_sum", "seed", "query", "key"),
                levels={"query": "tokens", "key": "tokens"},
                measures={"weight": Measure("attention weight")},
            ),
        },
        full=Attention(seeds=(0, 1, 2), squared_sums=(1.0, 4.0), d_r=(10, 100, 1_000, 10_000)),
        quick=Attention(squared_sums=(1.0, 4.0), d_r=(10, 100, 1_000, 10_000)),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="ren2024/fig27-error",
        item="Items 27_1 and 27_2",
        chapter="dual/kernel",
        function="studies.dual.kernel.compute:fig27_error",
        tables={
            "errors": Table(keys=("squared_sum", "seed", "features", "d_r"), measures=ERRORS),
            "first_order": Table(
                keys=("squared_sum", "seed", "d_r"),
                measures={
                    "matrix_MSE": Measure("first-order matrix_MSE of iid features"),
                    "output_MSE": Measure("first-order output_MSE of iid features"),
                },
            ),
            "prompts": Table(
                keys=("squared_sum", "seed"),
                measures={"largest": Measure("largest ||q_i + k_j||^2")},
            ),
        },
        full=Fig27Error(seeds=(0, 1, 2, 3, 4)),
        quick=Fig27Error(seeds=(0, 1), d_r=(10, 46, 216, 1_000), draws=10),
        verify=dict(seeds=(0,), d_r=(10, 22, 46)),
    ),
)
