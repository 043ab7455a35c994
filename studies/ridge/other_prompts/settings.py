"""Settings of the chapter *Other prompts*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class OtherPrompts(Settings):
    """A model trained on its own prompt, at Figure 2a's size, then shown other prompts.

    changes: how many tokens are replaced by others of the dictionary, or dropped; N replaced is
    added. One dropped or repeated token is each of the N in turn; otherwise `draws` prompts are
    drawn for each number.
    """

    N: int = 30
    K: int = 200
    d: int = 100
    m: int = 20
    H: int = 64
    tau: float = 0.01
    rate: float = 1e-4
    steps: int = 20_000
    tokens: tuple[str, ...] = ("unit", "gaussian")
    changes: tuple[int, ...] = (1, 2, 5, 10, 15, 20, 25)
    draws: int = 20
    dtype: str = "float32"

    def points(self) -> list[dict]:
        return [
            {"tokens": tokens, "seed": seed}
            for tokens, seed in product(self.tokens, self.seeds)
        ]


@dataclass(frozen=True, kw_only=True)
class ManyPrompts(Settings):
    """Attention trained on fresh random sets of shown tokens, tested on sets never shown.

    sizes: (N, K, d, m, H). `batch` sets a step; the rate halves every `half_life` steps.
    lengths: how many tokens the tested prompts show, N of every size among them; `held_out`
    sets of each, those of N tokens kept out of training.
    """

    sizes: tuple[tuple[int, ...], ...] = ((6, 18, 20, 3, 12), (10, 40, 40, 8, 20))
    tau: float = 0.1
    tokens: tuple[str, ...] = ("unit", "gaussian")
    rate: float = 0.03
    half_life: float = 2_000.0
    steps: int = 10_000
    batch: int = 16
    lengths: tuple[int, ...] = (3, 6, 10, 14)
    held_out: int = 1_000

    def points(self) -> list[dict]:
        sweep = product(self.sizes, self.tokens, self.seeds)
        return [
            {"N": N, "K": K, "tokens": tokens, "seed": seed}
            for (N, K, *_), tokens, seed in sweep
        ]

    def size_of(self, point: dict) -> tuple[int, ...]:
        """(N, K, d, m, H) of a point."""
        return next(s for s in self.sizes if s[:2] == (point["N"], point["K"]))


ONE, MANY = ("tokens", "seed", "step"), ("N", "K", "tokens", "seed")
# Trained in float32, or by a noisy descent: other processors end a little elsewhere.
NEAR = dict(rtol=1e-3, atol=1e-6)
PREDICTORS = ("model", "fixed table", "best", "zero")
ADDITIVE = ("additive", "additive, copying")

EXPERIMENTS = (
    Experiment(
        id="yang2024/other-prompts",
        item="What is learned, at Figure 2a's size (ours)",
        chapter="ridge/other_prompts",
        function="studies.ridge.other_prompts.compute:other_prompts",
        tables={
            "prompts": Table(
                keys=(*ONE, "prompt", "changed", "predictor"),
                levels={"predictor": PREDICTORS},
                measures={
                    "loss": Measure("L on the whole dictionary, mean over the prompts", **NEAR),
                    "worst": Measure("the largest L of these prompts", **NEAR),
                },
            ),
            "heads": Table(
                keys=(*ONE, "head"),
                measures={
                    "weight": Measure("w of this head for the first token not shown", **NEAR),
                    "effective": Measure(
                        "effective number of tokens of its softmax for that token", **NEAR
                    ),
                },
            ),
            "opened": Table(
                keys=(*ONE, "shown"),
                measures={
                    "positive": Measure(
                        "what the heads with w > 0 give this shown token in the prediction of "
                        "the first token not shown",
                        **NEAR,
                    ),
                    "negative": Measure("what those with w < 0 take away", **NEAR),
                    "best": Measure("this entry of the best table A"),
                },
            ),
            "cancelling": Table(
                keys=ONE,
                measures={
                    "gross": Measure("sum_h |w|, mean over the tokens not shown", **NEAR),
                    "net": Measure("sum_n |a~|, mean over the tokens not shown", **NEAR),
                    "best": Measure("sum_n |A|, mean over the tokens not shown"),
                },
            ),
        },
        full=OtherPrompts(seeds=(0, 1, 2, 3, 4)),
        quick=OtherPrompts(
            N=9,
            K=30,
            d=20,
            m=6,
            H=18,
            rate=5e-3,
            steps=600,
            changes=(1, 3, 6),
            draws=5,
            seeds=(0,),
        ),
        verify=dict(steps=10, seeds=(0,), tokens=("unit",)),
    ),
    Experiment(
        id="yang2024/many-prompts",
        item="Trained over many prompts (ours)",
        chapter="ridge/other_prompts",
        function="studies.ridge.other_prompts.compute:many_prompts",
        tables={
            "curves": Table(
                keys=(*MANY, "step"),
                measures={"loss": Measure("on sets of N never shown, mean", **NEAR)},
            ),
            "sets": Table(
                keys=(*MANY, "step", "shown", "predictor"),
                levels={
                    "shown": "lengths",
                    "predictor": ("trained", *ADDITIVE, "best"),
                },
                measures={
                    "loss": Measure("L for sets of so many tokens, mean", **NEAR),
                    "error": Measure("standard error of that mean", **NEAR),
                },
            ),
            "expected": Table(
                keys=(*MANY, "shown", "predictor"),
                levels={"shown": "lengths", "predictor": (*ADDITIVE, "zero")},
                measures={"loss": Measure("L averaged over all sets, in closed form")},
            ),
        },
        full=ManyPrompts(seeds=tuple(range(10))),
        quick=ManyPrompts(
            sizes=((3, 8, 10, 2, 6), (4, 12, 10, 3, 8)),
            steps=400,
            half_life=500.0,
            lengths=(2, 3, 4, 6),
            held_out=20,
            seeds=(0,),
        ),
        # With Gaussian tokens last bits grow a thousandfold between steps 50 and 100.
        verify=dict(steps=10, seeds=(0,), tokens=("gaussian",)),
    ),
)
