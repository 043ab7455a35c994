"""Every experiment of the book, by id, in the order of the chapters. Light: imports neither torch nor pandas."""

from iclbook.settings import experiment
from iclbook.settings.dual import (
    further_tasks,
    generalisation,
    kernel,
    layers,
    modified,
    one_step,
    representation,
    trained,
)
from iclbook.settings.ridge import (
    convergence,
    depth,
    heads,
    many_heads,
    population_loss,
    prompt,
    ridge_regression,
    template,
    unseen,
)

CHAPTERS = (
    *(prompt, population_loss, unseen, heads, convergence, ridge_regression, template, many_heads, depth),
    *(kernel, one_step, representation, generalisation, layers, modified, trained, further_tasks),
)
CATALOGUE = {e.id: e for chapter in CHAPTERS for e in chapter.EXPERIMENTS}


def find(wanted: str) -> experiment.Experiment:
    """The experiment with this id; raises InputError that names close matches."""
    return experiment.find(CATALOGUE, wanted)
