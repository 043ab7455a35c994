"""What a chapter has to show in a room: statements, displayed equations, tables and figures, by
section. Prose stays in the book; the teacher says it."""

import functools
import os
import re
from dataclasses import dataclass

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from editions.contents import extensions, quiet_kernels
from editions.convert import needed, without_solutions
from editions.labels import BOOK, FENCE, OPENS, figure_of, notebook, options_of, up_to
from iclbook.catalogue import find
from iclbook.errors import InputError
from iclbook.store import Store

OPENING = ""  # the section before the first heading of a chapter
SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z$*])")
BACK = re.compile(
    r"(Its?|There|They|That|This|These|So|Then|Hence|Thus|Both|And|But|Because|Here|Write"
    r"|In the first)\b"
)
STATED = re.compile(r"prf:(?!proof)")
CELL_SECONDS = 240
# Sharp pictures, and letters that a room can read: the book's style asks seaborn for its size.
FOR_A_ROOM = """%config InlineBackend.figure_formats = ['retina']
import seaborn as _seaborn
_theme, _larger = _seaborn.set_theme, 1.0
_seaborn.set_theme = lambda *a, font_scale=1, **k: _theme(
    *a, font_scale=_larger * font_scale, **k
)
"""
# A drawing has no axes, and its letters have their places.
LARGER = {True: "_larger = 1.15\n", False: "_larger = 1.0\n"}

# Figures that step through code are for a screen of one's own: no room could read the letters.
STEPPED = ("forward", "dual_step")


@dataclass(frozen=True)
class Item:
    """Something to show: its kind (statement, equation, table, figure, hand, note, words), its
    label or "", and its MyST; of a figure the caption."""

    kind: str
    label: str
    source: str

    @property
    def narrow(self) -> str:
        """Of a statement the kind that stands in its source, such as definition."""
        found = re.match(r"`+\{prf:(\w+)\}", self.source)
        return found[1] if found else self.kind


@functools.cache
def shown(chapter: str) -> dict[str, tuple[Item, ...]]:
    """{heading of second level: its items}, in the order of the page."""
    found, section = {OPENING: []}, OPENING
    for cell in without_solutions(notebook(chapter).cells):
        if cell.cell_type == "code":
            figure = figure_of(cell.metadata)
            found[section] += (
                [Item("figure", figure["name"], figure["caption"])] if figure else []
            )
            continue
        for part in _split(cell.source.splitlines(), chapter):
            if isinstance(part, Item):
                found[section].append(part)
            else:
                section = part
                found.setdefault(section, [])
    return {heading: tuple(items) for heading, items in found.items()}


def _split(lines: list[str], chapter: str) -> list:
    """The items of a cell; a plain string is the heading of a new section."""
    rest, done, paragraph = list(lines), [], ""
    while rest:
        line = rest.pop(0)
        if opened := OPENS.match(line):
            inner = up_to(opened[1], rest, chapter)
            done += _directive(opened, inner)
        elif fence := FENCE.match(line):
            up_to(fence[1], rest, chapter)
        elif line.startswith("## "):
            done.append(line[3:])
        elif line.strip() == "$$":
            formula = [line, rest.pop(0)]
            while not formula[-1].startswith("$$"):
                formula.append(rest.pop(0))
            label = re.match(r"\$\$ \((.+)\)", formula[-1])
            text, paragraph = "\n".join([_lead(paragraph), "", *formula]), ""
            done.append(Item("equation", label[1] if label else "", text))
        elif line.startswith("|"):
            table = [line]
            while rest and rest[0].startswith("|"):
                table.append(rest.pop(0))
            done.append(Item("table", "", "\n".join(table)))
        elif line.strip() and not line.startswith(("#", "(", ">")):
            paragraph = line
            done.append(Item("words", "", line))
    return done


def _lead(paragraph: str) -> str:
    """What leads to a displayed equation: the last sentence, and those before it that it
    refers back to."""
    sentences = SENTENCE.split(paragraph.strip())
    lead = [sentences.pop()]
    while sentences and BACK.match(lead[0]):
        lead.insert(0, sentences.pop())
    return " ".join(lead)


def _directive(opened: re.Match, inner: list[str]) -> list[Item]:
    kind, (options, _) = opened[2], options_of(inner)
    whole = "\n".join([opened[0], *inner, opened[1]])
    label = options.get("label") or options.get("name") or ""
    if STATED.match(kind):
        return [Item("statement", label, whole)]
    if kind == "hand" and opened[3].strip() not in STEPPED:
        return [Item("hand", label, whole)]
    if kind in ("warning", "admonition") and options.get("class") in ("important", "warning"):
        return [Item("note", label, whole)]
    return []


def drawn(chapter: str, wanted: set[str]) -> dict[str, tuple[str, str]]:
    """{name: (PNG in base64, profile)} of a chapter's figures, drawn by its own cells: from the
    stored results, or in the quick profile where one of them is not stored."""
    cells = [c for c in without_solutions(notebook(chapter).cells) if c.cell_type == "code"]
    last = max(i for i, c in enumerate(cells) if figure_of(c.metadata).get("name") in wanted)
    ids, store = needed(chapter, cells), Store(BOOK / "results")
    profile = "full" if all(store.is_stored(find(each)) for each in ids) else "quick"
    run = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(FOR_A_ROOM)])
    for cell in cells:
        cell.source = LARGER["xlabel" in cell.source] + cell.source
    run.cells += [
        c for c in cells[: last + 1] if "remove-input" not in c.metadata.get("tags", [])
    ]
    place = {"metadata": {"path": str((BOOK / "chapters" / chapter).parent)}}
    quiet_kernels()
    client = NotebookClient(run, timeout=CELL_SECONDS, resources=place, kernel_name="python3")
    try:
        client.execute(env=os.environ | _drawing(profile))
    except CellExecutionError as error:
        raise InputError(
            f"{chapter}, {profile} profile: {error.ename}: {error.evalue}"
        ) from None
    found = {}
    for cell in run.cells:
        if (name := figure_of(cell.metadata).get("name")) in wanted:
            (picture,) = [
                o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})
            ]
            found[name] = (picture.replace("\n", ""), profile)
    return found


def _drawing(profile: str) -> dict[str, str]:
    """What a kernel that draws inherits."""
    inline = "module://matplotlib_inline.backend_inline"
    return {"ICLBOOK_PROFILE": profile, "MPLBACKEND": inline, "PYTHONPATH": str(BOOK)}


def live(name: str, alt: str) -> str:
    """The markup of a figure that a reader moves, as the published page has it."""
    extensions()
    from hand import markup

    return markup(name, alt)
