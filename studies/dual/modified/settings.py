"""Settings of the chapter *Modified attention*."""

from dataclasses import dataclass

from iclbook.experiment import Experiment, Settings


@dataclass(frozen=True, kw_only=True)
class ModifiedForms(Settings):
    """Each closed form against the gradient step of its loss, on random prompts.

    Each prompt draws N in 1..N_max, widths in 1..width_max, alpha in [-1, 2.5], beta in [0, 2],
    r in 1..N.
    norms: of keys and query; the explicit step by autograd runs at those up to `autograd_norm`.
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
    query.

    The other N tokens are its demonstrations. alphas, (r, beta) at equal places, and c are the
    strengths.
    """

    N: int = 15
    width: int = 11
    head_size: int = 11
    hidden: int = 44
    alphas: tuple[float, ...] = (-0.5, 0.5, 1.0, 1.5)
    r: tuple[int, ...] = (3, 7, 15)
    beta: tuple[float, ...] = (0.5, 1.0, 1.0)
    c: tuple[float, ...] = (0.1, 1.0)
    prompts: int = 400


EXPERIMENTS = (
    Experiment(
        id="ren2024/modified-forms",
        item="Modified attention (closed forms)",
        chapter="dual/modified",
        function="studies.dual.modified.compute:modified_forms",
        tables={},
        full=ModifiedForms(seeds=(0, 1, 2, 3, 4)),
        quick=ModifiedForms(seeds=(0, 1), prompts=15),
        verify=dict(seeds=(0,)),
        # TO CONVERT, was rtol=1e-6,
        # TO CONVERT, was atol=1e-10,  # rounding errors differ between machines
    ),
    Experiment(
        id="ren2024/modified-weights",
        item="Modified attention (ours: the weights)",
        chapter="dual/modified",
        function="studies.dual.modified.compute:modified_weights",
        tables={},
        full=ModifiedWeights(seeds=(0, 1, 2, 3, 4)),
        quick=ModifiedWeights(seeds=(0, 1), prompts=60),
        verify=dict(seeds=(0,)),
        # TO CONVERT, was rtol=1e-6,
    ),
)
