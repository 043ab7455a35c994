"""Settings of the chapter *Whole layers, many layers*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Settings


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


@dataclass(frozen=True, kw_only=True)
class AttentionStack(Settings):
    """Random prompts through stacks of attention layers of these depths."""

    trials: int = 10
    depths: tuple[int, ...] = (1, 2, 3, 4, 6)
    N_max: int = 40
    heads_max: int = 4
    width: int = 8
    norm_max: float = 20.0

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


EXPERIMENTS = (
    Experiment(
        id="ren2024/transformer-layer",
        item="One Transformer layer",
        chapter="dual/layers",
        function="studies.dual.layers.compute:transformer_layer",
        tables={},
        full=TransformerLayer(seeds=(0, 1, 2, 3, 4)),
        quick=TransformerLayer(trials=2, N_max=12),
        verify=dict(trials=2, seeds=(0,)),
        # TO CONVERT, was atol=1e-10,
    ),
    Experiment(
        id="ren2024/attention-stack",
        item="Several attention layers",
        chapter="dual/layers",
        function="studies.dual.layers.compute:attention_stack",
        tables={},
        full=AttentionStack(seeds=(0, 1, 2, 3, 4)),
        quick=AttentionStack(trials=2, depths=(1, 2, 3), N_max=12),
        verify=dict(trials=2, depths=(1, 2), seeds=(0,)),
        # TO CONVERT, was atol=1e-10,
    ),
    Experiment(
        id="ren2024/layer-steps",
        item="One Transformer layer, step by step",
        chapter="dual/layers",
        function="studies.dual.layers.compute:layer_steps",
        tables={},
        full=Steps(seeds=(0, 1, 2, 3, 4)),
        quick=Steps(prompts=30),
        verify=dict(seeds=(0,)),
        # TO CONVERT, was atol=1e-20,
    ),
    Experiment(
        id="ren2024/two-layers-steps",
        item="Two attention layers, step by step",
        chapter="dual/layers",
        function="studies.dual.layers.compute:two_layers_steps",
        tables={},
        full=Steps(seeds=(0, 1, 2, 3, 4)),
        quick=Steps(prompts=10),
        verify=dict(seeds=(0,)),
        # TO CONVERT, was atol=1e-20,
    ),
)
