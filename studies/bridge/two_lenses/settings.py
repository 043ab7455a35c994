"""Settings of the chapter *Two lenses on one layer*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class TwoLenses(Settings):
    """Figure 2a's model with unit tokens, trained at a larger rate that halves every
    `half_life` steps, and looked at in float64 at steps that are evenly spaced on a log scale.

    prompts: prompts on which the identity is tried. taken: how many gradient steps its map is
    compared with.
    """

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    H: int = 64
    tau: float = 0.01
    rate: float = 3e-3
    half_life: int = 1_500
    steps: int = 5_000
    dtype: str = "float32"
    prompts: int = 100
    taken: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 16, 20, 50, 100, 200, 500, 1_000)


@dataclass(frozen=True, kw_only=True)
class RelatedTokens(Settings):
    """Small models trained on tokens whose representation is related to them, or is not.

    m = d. The rate halves every `half_life` steps; beta scales the start of Q.
    """

    N: int = 12
    K: int = 60
    d: int = 8
    H: int = 24
    tau: float = 0.05
    rate: float = 1e-2
    half_life: int = 1_000
    steps: int = 8_000
    relations: tuple[str, ...] = ("independent", "linear", "cosine")
    betas: tuple[float, ...] = (1.0, 0.1)

    def points(self) -> list[dict]:
        sweep = product(self.relations, self.betas, self.seeds)
        return [{"relation": r, "beta": beta, "seed": seed} for r, beta, seed in sweep]


NEAR = dict(rtol=1e-3, atol=1e-5)  # trained in float32, or read off what is
LOOSE = dict(rtol=1e-2, atol=1e-4)
AT = ("seed", "step")
RULES = ("zero", "ridge, m tau", "ridge, N tau", "gradient flow")
HEADS = {
    "contribution": Measure(
        "share of w_hk softmax(V^T Q_h v_k), tokens not shown, that is a polynomial of the "
        "Gram matrix",
        **LOOSE,
    ),
    "softmax": Measure("the same share of the softmax vectors less their mean 1/N", **LOOSE),
}
WHOLE = {
    "excess_loss": Measure("L - L*", rtol=1e-2, atol=1e-6),
    "share": Measure(
        "share of the table on tokens not shown that is a polynomial of the Gram matrix",
        **NEAR,
    ),
    "gross": Measure("sum_h |w| over sum_n |a~|, means over tokens not shown", **LOOSE),
    "negative": Measure("share of rates w_hk below 0", rtol=0, atol=1e-2),
}

EXPERIMENTS = (
    Experiment(
        id="bridge/two-lenses",
        item="One layer, two lenses (ours)",
        chapter="bridge/two_lenses",
        function="studies.bridge.two_lenses.compute:two_lenses",
        tables={
            "identity": Table(
                keys=(*AT, "route"),
                levels={"route": ("head by head", "one matrix")},
                measures={
                    "residual": Measure(
                        "largest difference from the layer over its largest prediction",
                        atol=1e-12,
                    )
                },
            ),
            "whole": Table(
                keys=AT,
                measures=WHOLE
                | {
                    "copied": Measure(
                        "||a~ - I|| over ||I|| on the tokens that are shown", **NEAR
                    )
                },
            ),
            "rates": Table(
                keys=(*AT, "head"),
                measures={"rate": Measure("w_hk for the first token not shown", **NEAR)},
            ),
            "gains": Table(
                keys=(*AT, "direction"),
                measures={
                    "eigenvalue": Measure("s_j^2, of the Gram matrix", rtol=1e-6),
                    "gain": Measure("s_j^2 q(s_j^2) of the nearest filter", **NEAR),
                },
            ),
            "rules": Table(
                keys=(*AT, "rule"),
                levels={"rule": RULES},
                measures={"distance": Measure("of predictions, relative", **NEAR)},
            ),
            "steps": Table(
                keys=(*AT, "taken"),
                measures={
                    "one_rate": Measure("the least distance of steps at one rate", **NEAR),
                    "free": Measure("that of as many gradients with any weights", **NEAR),
                },
            ),
            "heads": Table(keys=(*AT, "head"), measures=HEADS),
            "random": Table(keys=("seed", "head"), measures=HEADS),
        },
        full=TwoLenses(seeds=(0, 1, 2, 3, 4)),
        quick=TwoLenses(
            N=8,
            K=30,
            d=20,
            m=5,
            H=16,
            rate=1e-2,
            half_life=300,
            steps=1_000,
            prompts=10,
            taken=(1, 2, 5, 8, 50),
        ),
        verify=dict(steps=10, seeds=(0,)),
    ),
    Experiment(
        id="bridge/related-tokens",
        item="Tokens related to their representation (ours)",
        chapter="bridge/two_lenses",
        function="studies.bridge.two_lenses.compute:related_tokens",
        tables={
            "whole": Table(keys=("relation", "beta", *AT), measures=WHOLE),
            "heads": Table(keys=("relation", "beta", *AT, "head"), measures=HEADS),
            "random": Table(keys=("relation", "beta", "seed", "head"), measures=HEADS),
        },
        full=RelatedTokens(seeds=(*range(5), *range(1_000, 1_015))),
        quick=RelatedTokens(N=6, K=20, d=4, H=12, steps=300, half_life=100),
        verify=dict(steps=10, seeds=(0,), relations=("linear",)),
    ),
)
