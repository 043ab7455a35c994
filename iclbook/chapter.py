"""What a chapter calls: results, differences from the paper, verdicts, source code."""

import inspect
import os

import pandas as pd
from IPython.display import Code, Markdown, display

from iclbook import runner
from iclbook.card import agreeing, card
from iclbook.catalogue import find
from iclbook.errors import require
from iclbook.experiment import PROFILES
from iclbook.store import Result, Store

VARIANTS = "variants"


def profile() -> str:
    """The profile named by ICLBOOK_PROFILE, "full" where it is not set."""
    name = os.environ.get("ICLBOOK_PROFILE", "full")
    require(name in PROFILES[:2], f"ICLBOOK_PROFILE must be quick or full, got {name!r}")
    return name


def load(experiment_id: str, **changes) -> Result:
    """The result of an experiment: read from the store in the full profile, computed live in
    the quick one.

    changes: settings in place of the profile's, such as H=8. The full profile computes such a
    variant once, and reads it from then on: in `variants` in the book's folder, or in the
    folder that ICLBOOK_STORE names. Delete it there after a change of the code.
    """
    book = find(experiment_id)
    experiment = book.variant(profile(), **changes)
    if profile() == "quick":
        return runner.live(experiment, "quick")
    store = Store()
    if experiment.changes:
        # Standard error is no place for a bar on a built page, so only long runs show one.
        long = not store.is_stored(book) or store.meta(book, "full")["wall_seconds"] > 60
        store = Store(store.book / VARIANTS) if store.is_books_own else store
        runner.run(experiment, "full", store, progress=long)
    return store.read(experiment)


def deviations(*experiment_ids: str) -> None:
    """Show how the full profile differs from the paper's stated settings, and what the paper
    leaves open."""
    for experiment in map(find, experiment_ids):
        rows = experiment.deviations()
        if experiment.paper is None:
            text = f"**{experiment.id}**: the paper states no setting; all of it is our choice."
        elif not rows:
            text = f"**{experiment.id}**: differences from the paper: none."
        else:
            cells = [
                (
                    r["setting"],
                    "not stated" if r["paper"] is None else _plain(r["paper"]),
                    _plain(r["full"]),
                )
                for r in rows
            ]
            body = "\n".join(f"| `{name}` | {paper} | {full} |" for name, paper, full in cells)
            head = "| setting | paper | this book |\n|---|---|---|"
            text = f"**{experiment.id}**, setting by setting:\n\n{head}\n{body}"
        display(Markdown(text))


def claims_of(chapter: str) -> None:
    """Show a chapter's claims with the verdict that the stored tables give.

    Raises InputError where a returned verdict differs from the recorded one, or the chapter has
    no claim.
    """
    rows = agreeing(chapter)
    require(bool(rows), f"no claim belongs to the chapter {chapter!r}; see its claims.toml")
    display(Markdown("\n\n".join(map(card, rows))))


def table(frame: pd.DataFrame, digits: int = 3) -> None:
    """Show a small table with a few significant digits and no index. A bar in a name or text
    stays a bar; where there is no value stands a dash."""
    plain = frame.rename(columns=lambda name: str(name).replace("|", "\\|"))
    text = plain.select_dtypes(exclude="number").columns
    plain[text] = plain[text].astype(str).replace(r"\|", r"\\|", regex=True)
    plain = plain.astype(object).where(frame.notna().to_numpy(), None)
    how = {"index": False, "floatfmt": f".{digits}g", "missingval": "–"}
    display(Markdown(plain.to_markdown(**how)))


def show_source(*things) -> None:
    """Show the package's source of functions or classes, so that a chapter need not repeat
    it."""
    for thing in things:
        display(Code(inspect.getsource(thing), language="python"))


def _plain(value) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value}"
    )
