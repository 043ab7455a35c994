"""Settings of the chapter *Whole layers, many layers*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class TransformerLayer(Settings):
    """Random prompts through a Transformer layer: sizes up to these, token norms uniform up to
    norm_max."""

    trials: int = 20
    N_max: int = 40
    heads_max: int = 4
    width_max: int = 8
    hidden_max: int = 24
    norm_max: float = 20.0

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(self.trials))


@dataclass(frozen=True, kw_only=True)
class AttentionStack(Settings):
    """Random prompts through stacks of attention layers of these depths."""

    trials: int = 10
    depths: tuple[int, ...] = (1, 2, 3, 4, 6)
    N_max: int = 40
    heads_max: int = 4
    width: int = 8
    norm_max: float = 20.0

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(self.trials))

    def points(self) -> list[dict]:
        return [
            {"depth": depth, "seed": seed} for depth, seed in product(self.depths, self.seeds)
        ]


@dataclass(frozen=True, kw_only=True)
class Steps(Settings):
    """Random layers on the tokens of in-context linear regression, trained one demonstration a
    step."""

    N: int = 15
    d: int = 10
    d_o: int = 11
    hidden: int = 44
    prompts: int = 100

    @property
    def shown(self) -> tuple[int, ...]:
        """Numbers of single-demonstration steps, from none to N."""
        return tuple(range(self.N + 1))


MASKS = ("full", "causal")


def squared(name: str, meaning: str) -> dict[str, Measure]:
    """A mean over prompts and its standard error; both fall to rounding, squared, in the
    end."""
    return {
        name: Measure(meaning, atol=1e-20),
        f"{name}_error": Measure("its standard error over the prompts", atol=1e-20),
    }


EXPERIMENTS = (
    Experiment(
        id="ren2024/transformer-layer",
        item="One Transformer layer",
        chapter="dual/layers",
        function="studies.dual.layers.compute:transformer_layer",
        tables={
            "residuals": Table(
                keys=("seed", "trial", "block", "activation", "mask"),
                levels={
                    "trial": "numbers",
                    "block": ("attention + feed-forward", "pre-norm", "post-norm"),
                    "activation": ("relu", "gelu"),
                    "mask": MASKS,
                },
                measures={"residual": Measure("largest, relative to the output", atol=1e-10)},
            )
        },
        full=TransformerLayer(seeds=(0, 1, 2, 3, 4)),
        quick=TransformerLayer(trials=2, N_max=12),
        verify=dict(trials=2, seeds=(0,)),
    ),
    Experiment(
        id="ren2024/attention-stack",
        item="Several attention layers",
        chapter="dual/layers",
        function="studies.dual.layers.compute:attention_stack",
        tables={
            "stacks": Table(
                keys=("depth", "seed", "trial", "connected", "mask"),
                levels={"trial": "numbers", "connected": (False, True), "mask": MASKS},
                measures={
                    "residual": Measure("of the trained models to the stack", atol=1e-10),
                    "rounding": Measure("effect of noise of rounding's size", atol=1e-10),
                    "largest_score": Measure("largest |q^T k| over the layers"),
                    "movement": Measure(
                        "of what enters the last layer when only the query's token changes"
                    ),
                },
            )
        },
        full=AttentionStack(seeds=(0, 1, 2, 3, 4)),
        quick=AttentionStack(trials=2, depths=(1, 2, 3), N_max=12),
        verify=dict(trials=2, depths=(1, 2), seeds=(0,)),
    ),
    Experiment(
        id="ren2024/layer-steps",
        item="One Transformer layer, step by step",
        chapter="dual/layers",
        function="studies.dual.layers.compute:layer_steps",
        tables={
            "errors": Table(
                keys=("seed", "block", "step"),
                levels={"block": ("relu", "gelu", "layer norm", "residual"), "step": "shown"},
                measures={
                    **squared("frozen", "squared error of the dual model, map frozen"),
                    **squared("partial", "of the block on partly trained attention"),
                    **squared("apart", "squared distance of the two"),
                },
            ),
            "gates": Table(
                keys=("seed", "step"),
                levels={"step": "shown"},
                measures={
                    "share": Measure("share of ReLU gates that are already the answer's"),
                    "share_error": Measure("its standard error over the prompts"),
                },
            ),
        },
        full=Steps(seeds=(0, 1, 2, 3, 4)),
        quick=Steps(prompts=30),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="ren2024/two-layers-steps",
        item="Two attention layers, step by step",
        chapter="dual/layers",
        function="studies.dual.layers.compute:two_layers_steps",
        tables={
            "errors": Table(
                keys=("seed", "mask", "first", "second"),
                levels={"mask": MASKS, "first": "shown", "second": "shown"},
                measures=squared("error", "squared error at the query, relative"),
            )
        },
        full=Steps(seeds=(0, 1, 2, 3, 4)),
        quick=Steps(prompts=10),
        verify=dict(seeds=(0,)),
    ),
)
