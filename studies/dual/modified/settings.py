"""Settings of the chapter *Modified attention*."""

from dataclasses import dataclass

from iclbook.experiment import Experiment, Measure, Settings, Table, loose

MODIFICATIONS = ("regularised", "augmented", "negative")
STRENGTHS = {  # family -> the columns that name its settings
    "plain": (),
    "regularised": ("alpha",),
    "augmented": ("c",),
    "negative": ("r", "beta"),
}


@dataclass(frozen=True, kw_only=True)
class ModifiedForms(Settings):
    """Each closed form against the gradient step of its loss, on random prompts.

    Each prompt draws N in 1..N_max, widths in 1..width_max, alpha in [-1, 2.5], beta in [0, 2],
    r in 1..N. norms: of keys and query; the explicit step by autograd runs at those up to
    `autograd_norm`.
    """

    N_max: int = 40
    width_max: int = 12
    norms: tuple[float, ...] = (1.0, 20.0)
    autograd_norm: float = 2.0
    c: float = 1.0
    hidden: int = 16
    prompts: int = 60


@dataclass(frozen=True, kw_only=True)
class ModifiedWeights(Settings):
    """What each modification does to the attention matrix of a random head; every token is a
    query, and the other N tokens are its demonstrations.

    alphas, negatives (pairs r, beta) and c are the strengths.
    """

    N: int = 15
    width: int = 11
    head_size: int = 11
    hidden: int = 44
    alphas: tuple[float, ...] = loose((-0.5, 0.5, 1.0, 1.5), least=-1e15)
    negatives: tuple[tuple[int, float], ...] = ((3, 0.5), (7, 1.0), (15, 1.0))
    c: tuple[float, ...] = (0.1, 1.0)
    prompts: int = 400

    def grid(self) -> dict[str, list[dict]]:
        """Family -> its settings, as `STRENGTHS` names them."""
        rows = {
            "plain": [()],
            "regularised": [(alpha,) for alpha in self.alphas],
            "augmented": [(c,) for c in self.c],
            "negative": self.negatives,
        }
        return {
            family: [dict(zip(names, row)) for row in rows[family]]
            for family, names in STRENGTHS.items()
        }


def agrees(meaning: str) -> Measure:
    """A distance of two forms that are the same: rounding, which differs between machines."""
    return Measure(f"largest distance from {meaning}; rounding", unit="max |v|", atol=1e-11)


def differs(meaning: str) -> Measure:
    """A distance from a wrong form; at large norms, with one-hot attention, rounding too."""
    return Measure(f"median distance from {meaning}, a wrong form", unit="max |v|", atol=1e-11)


FORMS = {  # measures of the closed forms' distances, table by table
    "steps": {
        "twin": agrees("the kernel twin's step"),
        "sum_of_weights": agrees("1 - alpha p_own - beta p_demo, of the sum of weights"),
    },
    "autograd": {"distance": agrees("a step of autograd, norms up to autograd_norm")},
    "regularised": {"decay_once": agrees("single steps, decay once")},
    "regularised_rivals": {
        "decay_at_each": differs("single steps, decay at each"),
        "output_scaled": differs("the whole output scaled"),
    },
    "augmented": {"as_written": agrees("the formula as written")},
    "augmented_rivals": {"g2_after_scale": differs("g2 after the scale")},
    "negative_rivals": {"own_changed": differs("the query's own value changed too")},
}


def forms() -> dict[str, Table]:
    """The tables of modified-forms; in each, a norm is a row, and often a modification."""
    tables = {}
    for name, measures in FORMS.items():
        shared = name in ("steps", "autograd")
        keys = ("seed", "norm", *(["modification"] if shared else []))
        levels = {"modification": MODIFICATIONS} if shared else {}
        tables[name] = Table(keys=keys, levels=levels, measures=measures)
    return tables


MATRIX = {  # of a modified attention matrix and its outputs: measure -> meaning
    "sum_of_weights": "of a row",
    "share_of_negative_weights": "of all weights",
    "spectral_radius": "of the matrix",
    "rank_of_weights": "effective rank of the matrix",
    "rank_of_outputs": "effective rank of the N + 1 outputs",
    "mean_share_of_outputs": "share of the outputs' common mean",
}
GAIN = {"gain": "rank_of_outputs less that of plain attention, prompt by prompt"}


def matrices() -> dict[str, Table]:
    """The tables of modified-weights: of each family one of means, one of singular values."""
    tables = {}
    for family, strengths in STRENGTHS.items():
        measures = {}
        for name, meaning in (MATRIX if family == "plain" else MATRIX | GAIN).items():
            measures[name] = Measure(f"mean over prompts: {meaning}", atol=1e-11)
            measures[f"{name}_error"] = Measure("standard error of that mean", atol=1e-11)
        tables[family] = Table(keys=("seed", *strengths), measures=measures)
        values = {
            "singular_value": Measure("mean over prompts of the i-th largest, i = index"),
            "singular_value_error": Measure("standard error of that mean"),
        }
        tables[f"{family}_spectrum"] = Table(
            keys=("seed", *strengths, "index"),
            levels={"index": tuple(range(1, ModifiedWeights().N + 2))},
            measures=values,
        )
    return tables


EXPERIMENTS = (
    Experiment(
        id="ren2024/modified-forms",
        item="Modified attention (closed forms)",
        chapter="dual/modified",
        function="studies.dual.modified.compute:modified_forms",
        full=ModifiedForms(seeds=(0, 1, 2, 3, 4)),
        quick=ModifiedForms(seeds=(0, 1), prompts=15),
        verify=dict(seeds=(0,)),
        tables=forms(),
    ),
    Experiment(
        id="ren2024/modified-weights",
        item="Modified attention (ours: the weights)",
        chapter="dual/modified",
        function="studies.dual.modified.compute:modified_weights",
        full=ModifiedWeights(seeds=(0, 1, 2, 3, 4)),
        quick=ModifiedWeights(seeds=(0, 1), prompts=60),
        verify=dict(seeds=(0,)),
        tables=matrices(),
    ),
)
