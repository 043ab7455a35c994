"""Finds the book's studies: experiments and claims, through the entry point `iclbook.studies`.
Light.

The entry point names a module with CHAPTERS (names in the book's order), EXPERIMENTS (id ->
Experiment) and FOLDER (where `<chapter>/claims.toml` stands).
"""

import difflib
import functools
from importlib.metadata import entry_points
from types import ModuleType

from iclbook.errors import InputError, require
from iclbook.experiment import Experiment


@functools.cache
def studies() -> ModuleType:
    """The module behind the entry point. Raises InputError where none is installed."""
    found = list(entry_points(group="iclbook.studies"))
    require(
        bool(found),
        "no studies are installed, only the helper package; get the whole book and run "
        "`pip install -e .` in its folder",
    )
    try:
        return found[0].load()
    except ModuleNotFoundError as error:
        package = found[0].module.partition(".")[0]
        require(
            not error.name.startswith(f"{package}."),
            f"there is no {error.name}: make the chapter's folder, or leave it out of CHAPTERS",
        )
        require(
            error.name != package,
            f"the studies are not where they were installed ({error}); get the whole book and "
            "run `pip install -e .` in its folder",
        )
        raise


def experiments() -> dict[str, Experiment]:
    """Every experiment, by id, in the order of the chapters."""
    return studies().EXPERIMENTS


def find(wanted: str) -> Experiment:
    """The experiment with this id; raises InputError that names close matches."""
    known = experiments()
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else "see `iclbook list`"
    raise InputError(f"unknown experiment {wanted!r}; {hint}")
