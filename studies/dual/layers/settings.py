"""Settings of the chapter *Whole layers, many layers*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class TransformerLayer(Settings):
    """Random prompts through a Transformer layer: sizes and token norms up to these."""

    trials: int = 20
    N_max: int = 40
    heads_max: int = 4
    width_max: int = 8
    hidden_max: int = 24
    norm_max: float = 20.0

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the trials."""
        return tuple(range(self.trials))


@dataclass(frozen=True, kw_only=True)
class AttentionStack(Settings):
    """Random prompts through stacks of attention layers of these depths.

    disturbances: how often each stack is disturbed by noise of the size of rounding. One draw
    may be small in the direction that the stack amplifies; along one direction the largest in
    size of 32 normal draws is below one standard deviation with probability 0.683^32, 5e-6.
    """

    trials: int = 10
    disturbances: int = 32
    depths: tuple[int, ...] = (1, 2, 3, 4, 6)
    N_max: int = 40
    heads_max: int = 4
    width: int = 8
    norm_max: float = 20.0

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the trials."""
        return tuple(range(self.trials))

    def points(self) -> list[dict]:
        return [
            {"depth": depth, "seed": seed} for depth, seed in product(self.depths, self.seeds)
        ]


@dataclass(frozen=True, kw_only=True)
class Steps(Settings):
    """Random layers on the tokens of linear regression, trained one demonstration a step."""

    N: int = 15
    d: int = 10
    d_o: int = 11
    hidden: int = 44
    prompts: int = 100

    @property
    def taken(self) -> tuple[int, ...]:
        """Numbers of steps taken, from none to one for each demonstration."""
        return tuple(range(self.N + 1))


MASKS = ("full", "causal")
BLOCKS = ("relu", "gelu", "layer norm", "residual")
DISTANCES = ("frozen", "partial", "apart")


def over_prompts(meaning: str, atol: float = 1e-12) -> dict[str, Measure]:
    """A mean over the prompts and its standard error."""
    error = "its standard error over the prompts"
    return {"mean": Measure(meaning, atol=atol), "standard_error": Measure(error, atol=atol)}


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
                measures={
                    "residual": Measure(
                        "largest difference of one step from the layer, over its largest entry;"
                        " rounding, up to 4e-13",
                        atol=1e-12,
                    )
                },
            )
        },
        full=TransformerLayer(seeds=(0, 1, 2, 3, 4)),
        quick=TransformerLayer(trials=2, N_max=12),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="ren2024/attention-stack",
        item="Several attention layers",
        chapter="dual/layers",
        function="studies.dual.layers.compute:attention_stack",
        tables={
            "stacks": Table(
                keys=("depth", "seed", "trial", "residual_connections", "mask"),
                levels={
                    "trial": "numbers",
                    "residual_connections": (False, True),
                    "mask": MASKS,
                },
                measures={
                    "residual": Measure(
                        "largest difference of the trained models from the stack, over its"
                        " largest entry",
                        rtol=0.0,
                        atol=1.0,
                        scale="rounding",
                    ),
                    "rounding": Measure(
                        "the largest of the same over runs of the stack with noise of the size"
                        " of rounding in every layer; itself rounded, so only its size is sure",
                        rtol=0.9,
                    ),
                    "largest_score": Measure("largest |q^T k| over the layers"),
                    "movement": Measure(
                        "largest change of what enters the last layer when only the query's"
                        " token changes, over its largest entry",
                        atol=100.0,
                        scale="rounding",
                    ),
                },
            )
        },
        full=AttentionStack(seeds=(0, 1, 2, 3, 4)),
        quick=AttentionStack(trials=2, depths=(1, 2, 3), N_max=12),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="ren2024/layer-steps",
        item="One Transformer layer, step by step",
        chapter="dual/layers",
        function="studies.dual.layers.compute:layer_steps",
        tables={
            "distances": Table(
                keys=("seed", "block", "step", "distance"),
                levels={"block": BLOCKS, "step": "taken", "distance": DISTANCES},
                measures=over_prompts(
                    "squared distance at the query's token: frozen, of the dual model, whose"
                    " map belongs to the answer, from the answer; partial, of the block itself"
                    " on the partly trained attention; apart, of these two; each over the mean"
                    " of the first before any step",
                    atol=1e-24,
                ),
            ),
            "gates": Table(
                keys=("seed", "step"),
                levels={"step": "taken"},
                measures=over_prompts("share of ReLU's gates that are already the answer's"),
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
                levels={"mask": MASKS, "first": "taken", "second": "taken"},
                measures=over_prompts(
                    "squared error at the query, over the mean square of the output, after"
                    " `first` steps of the first layer's models and `second` of the second's",
                    atol=1e-24,
                ),
            )
        },
        full=Steps(seeds=(0, 1, 2, 3, 4)),
        quick=Steps(prompts=10),
        verify=dict(seeds=(0,)),
    ),
)
