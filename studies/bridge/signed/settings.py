"""Settings of the chapter *Do negative samples replace heads?*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table, chooses, loose

# How a head subtracts: from which tokens, at which beta, and whether beta learns.
KINDS = ("none", "all", "learned", "lowest", "learned from 1")


@dataclass(frozen=True, kw_only=True)
class Floors(Settings):
    """The least loss of one head of each kind, at several sizes of the dictionary and noises.

    r: the number of lowest-scored negatives; 0 leaves their floor out, since it is found by
    going through all sets of r tokens. `stated` is the noise that claims are decided at.
    """

    N: int = 30
    K: tuple[int, ...] = (100, 200)
    d: int = 100
    m: int = 20
    tau: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    stated: float = 1e-2
    r: int = loose(0, least=0)

    def points(self) -> list[dict]:
        return [dict(zip(("K", "seed"), point)) for point in product(self.K, self.seeds)]


@dataclass(frozen=True, kw_only=True)
class Trained(Settings):
    """Heads with negatives, trained on the population loss; every size of Figure 4 halved.

    sizes: (K, head counts). The r lowest-scored tokens are the negatives of kind "lowest", with
    beta = 1; all N those of the others: "all" keeps beta = 1, "learned" starts at 0, "learned
    from 1" at 1, one beta a head. The stop rule: Adam's rate starts at `rate`, for w at
    `faster_w` times that, halves every `half_life` steps, and training ends after `steps`.
    """

    N: int = 15
    d: int = 50
    m: int = 10
    tau: float = 0.01
    r: int = 5
    sizes: tuple[tuple[int, tuple[int, ...]], ...] = chooses(
        ((100, (1, 2, 4, 8, 16, 30, 64)), (50, (1, 2)))
    )
    kinds: tuple[str, ...] = chooses(KINDS)
    tokens: tuple[str, ...] = chooses(("gaussian", "unit"))
    rate: float = 3e-2
    faster_w: float = 10.0
    half_life: float = 120.0
    steps: int = 1_200

    @property
    def many(self) -> tuple[int, tuple[int, ...]]:
        """(K, head counts) of the size with the most head counts."""
        return max(self.sizes, key=lambda size: len(size[1]))

    def points(self) -> list[dict]:
        return [
            {"tokens": tokens, "K": K, "kind": kind, "H": H, "seed": seed}
            for kind, tokens, (K, heads) in product(self.kinds, self.tokens, self.sizes)
            for H, seed in product(heads, self.seeds)
        ]


FLOORS = {
    "plain": Measure("one head, no negatives: one-signed least squares, L - L*"),
    "centred": Measure("columns of sum zero, any number of heads: L - L*"),
    "lowest": Measure(
        "one head, the r lowest as negatives, beta = 1; NaN where not computed", missing=True
    ),
    "linear": Measure("linear attention, one centred head with small logits: L - L*"),
    "explicit": Measure(
        "the explicit centred heads, ceil(K / d) of them: L - L*", rtol=1e-6, atol=1e-9
    ),
    "exact": Measure(
        "the explicit heads with one free beta: L - L*", rtol=1.0, atol=1e-9, scale="zero"
    ),
    "strength": Measure("their beta", rtol=1e-6),
    "zero": Measure("what predicting zero costs: L - L*"),
}
CELL = ("tokens", "K", "kind", "H", "seed")
CURVES = Table(
    keys=(*CELL, "step"),
    measures={
        "excess_loss": Measure("L - L*", rtol=1e-3, atol=1e-6),
        "largest": Measure("mean largest attention weight", rtol=1e-2),
        "beta_low": Measure("least beta of the heads", atol=1e-3),
        "beta_mean": Measure("mean beta of the heads", atol=1e-3),
        "beta_high": Measure("largest beta of the heads", atol=1e-3),
    },
)
QUICK = Trained(
    N=6, d=12, m=4, r=2, sizes=((24, (1, 2, 8)), (12, (1,))), steps=50, half_life=20.0
)
MANY = dict(kinds=("none", "all"), tokens=("unit",))

EXPERIMENTS = (
    Experiment(
        id="bridge/signed-floors",
        item="Signed heads (ours: floors)",
        chapter="bridge/signed",
        function="studies.bridge.signed.compute:floors",
        tables={"floors": Table(keys=("K", "seed", "tau"), measures=FLOORS)},
        full=Floors(seeds=(0, 1, 2, 3, 4)),
        quick=Floors(N=5, K=(10, 20), d=10, m=3, r=2, tau=(1e-2, 100.0)),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="bridge/signed-floors-half",
        item="Signed heads (ours: floors)",
        chapter="bridge/signed",
        function="studies.bridge.signed.compute:floors",
        tables={"floors": Table(keys=("K", "seed", "tau"), measures=FLOORS)},
        full=Floors(N=15, K=(50, 100), d=50, m=10, tau=(1e-2,), r=5, seeds=(0, 1, 2)),
        quick=Floors(N=6, K=(12, 24), d=12, m=4, tau=(1e-2,), r=2),
        verify=dict(K=(50,), seeds=(0,)),
    ),
    Experiment(
        id="bridge/signed-trained",
        item="Signed heads (ours: trained)",
        chapter="bridge/signed",
        function="studies.bridge.signed.compute:trained",
        tables={"curves": CURVES},
        full=Trained(seeds=(0, 1, 2)),
        quick=QUICK,
        verify=dict(steps=32, seeds=(0,), sizes=((100, (1, 4, 64)),)),
    ),
    Experiment(
        id="bridge/signed-many",
        item="Signed heads (ours: trained, 64 heads)",
        chapter="bridge/signed",
        function="studies.bridge.signed.compute:trained",
        tables={"curves": CURVES},
        # Sets of three seeds did not agree on what centring costs 64 heads.
        full=Trained(seeds=(0, 1, 2, *range(1_000, 1_017)), sizes=((100, (64,)),), **MANY),
        quick=QUICK.changed(sizes=((24, (8,)),), **MANY),
        verify=dict(steps=32, seeds=(0,)),
    ),
)
