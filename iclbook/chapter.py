"""What a chapter calls: results, differences from the paper, verdicts, source code, and whether
an answer is right."""

import dataclasses
import hashlib
import inspect
import math
import os
import re
import tomllib

import pandas as pd
from IPython.display import Code, Markdown, display

from iclbook import runner
from iclbook.card import agreeing, card, number
from iclbook.catalogue import find, studies
from iclbook.errors import require
from iclbook.experiment import PROFILES
from iclbook.store import Result, Store

LONG = 12  # rows that a table shows unfolded
FOLD = '\n\n<details class="all-rows"><summary>All {} rows</summary>\n\n{}\n\n</details>'
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
    folder that ICLBOOK_STORE names. Its provenance says when the code has changed since.
    """
    book = find(experiment_id)
    experiment = book.variant(profile(), **changes)
    if profile() == "quick":
        return runner.live(experiment, "quick")
    store = Store()
    if not experiment.changes:
        return store.read(experiment)
    # Standard error is no place for a bar on a built page, so only long runs show one.
    long = not store.is_stored(book) or store.meta(book, "full")["wall_seconds"] > 60
    store = Store(store.book / VARIANTS) if store.is_books_own else store
    runner.run(experiment, "full", store, progress=long)
    found, made = store.read(experiment), store.meta(experiment, "full").get("code")
    if made == runner.fingerprint(experiment, found.settings):
        return found
    told = f"; the code has changed since: delete {store.named(store.root / experiment.id)}"
    return dataclasses.replace(found, provenance=found.provenance + told)


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
            head = "| setting | paper | this book |\n|---|---|---|"
            text = f"**{experiment.id}**, setting by setting:\n\n{head}"
            for row in rows:
                paper = "not stated" if row["paper"] is None else _plain(row["paper"])
                text += f"\n| `{row['setting']}` | {paper} | {_plain(row['full'])} |"
        display(Markdown(text))


def claims_of(chapter: str) -> None:
    """Show a chapter's claims with the verdict that the stored tables give.

    Raises InputError where a returned verdict differs from the recorded one, or the chapter has
    no claim.
    """
    rows = agreeing(chapter)
    require(bool(rows), f"no claim belongs to the chapter {chapter!r}; see its claims.toml")
    display(Markdown("\n\n".join(map(card, rows))))


def table(
    frame: pd.DataFrame, digits: int = 3, *, telling=None, missing: str = "no value"
) -> None:
    """Show a table with a few significant digits, no index, and words in place of a program's
    names and values. Where there is no value stands a dash, which `missing` explains.

    A long table shows only the rows of the mask `telling`, its first twelve by default, and
    folds the whole.
    """
    plain = frame.rename(columns=lambda name: _plain(str(name), digits))
    plain = plain.astype(object).map(lambda value: _plain(value, digits))
    sides = ["left" if text else "right" for text in frame.map(type).eq(str).any()]
    shown = plain.head(LONG) if telling is None else plain[telling]
    how = {"index": False, "disable_numparse": True, "colalign": sides}
    text = whole = plain.to_markdown(**how)
    if len(plain) > LONG:
        text = shown.to_markdown(**how) + FOLD.format(len(plain), whole)
    note = f"\n\n–: {missing}" if frame.isna().any(axis=None) else ""
    display(Markdown(text + note))


def show_source(*things) -> None:
    """Show the package's source of functions or classes, so that a chapter need not repeat
    it."""
    for thing in things:
        display(Code(inspect.getsource(thing), language="python"))


def check(label: str, answer: float | str) -> bool:
    """Whether the answer to the exercise with this label is right. Says so in one line, or that
    there is no answer yet where it is `...`. What is no number and no text is only not right.

    The right answer is known by its hashes alone, in `<chapter>/exercises.toml` of the studies.
    Raises InputError where no exercise with this label has a check, or without the book.
    """
    files = [file.read_text("utf-8") for file in studies().FOLDER.glob("*/*/exercises.toml")]
    entry = {name: e for text in files for name, e in tomllib.loads(text).items()}.get(label)
    require(entry is not None, f"no exercise {label!r} has a check; labels look like ex-gap")
    try:
        right = fingerprint(answer, entry["salt"], entry["tolerance"]) in entry["hashes"]
    except (TypeError, ValueError, OverflowError):
        right = False
    verdict = "right" if right else "not right yet; the hint may help, then try again"
    print(f"{label}: {'no answer yet' if answer is ... else verdict}")
    return right


def fingerprint(answer: float | str, salt: str, tolerance: float, aside: int = 0) -> str:
    """The salted hash of an answer, or of what lies `aside` cells of the grid from it.

    A number is known by its sign and by the cell of log|x|, which is as wide as the tolerance;
    with tolerance 0, and for 0 itself, by nine digits. A text is known in lower case. Raises
    TypeError, ValueError or OverflowError for what is neither a finite number nor a text.
    """
    if not isinstance(answer, str):
        x, exact = float(answer), tolerance == 0 or answer == 0
        cell = "" if exact else round(math.log(abs(x)) / tolerance) + aside
        answer = f"{x + 0.0:.9g}" if exact else f"{x > 0} {cell}"  # + 0.0: no -0
    return hashlib.sha256(f"{salt} {answer.strip().lower()}".encode()).hexdigest()[:16]


def _plain(value, digits: int = 6) -> str:
    """A value in a table as a reader wants to see it; mathematics and code stay as they are."""
    if isinstance(value, tuple):
        return ", ".join(_plain(part) for part in value)
    if isinstance(value, str):
        if "$" in value or "`" in value:
            return value
        words = re.sub(r"_(?=[^\W\d_]{2})", " ", value).replace("|", r"\|")
        return re.sub(r"(?<!\w)-(?=\d)", "−", words)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if pd.isna(value):
        return "–"
    rounded = value if isinstance(value, int) else float(f"{value:.{digits}g}")
    if isinstance(value, int) or (1_000 <= abs(rounded) < 1e6 and rounded.is_integer()):
        return f"{rounded:,.0f}".replace("-", "−")
    return number(value, digits).replace("inf", "∞")
