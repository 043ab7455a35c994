"""What the published pages call things: chapters by title, statements, exercises, figures and
equations by kind and number, sources by author and year.

A number is that of the chapter and a count of its kind in it, as Sphinx gives it to the page.
"""

import functools
import re
from pathlib import Path

import nbformat
import yaml
from pybtex.database import parse_file

from iclbook.errors import InputError, require

BOOK = Path(__file__).resolve().parents[1]
OPENS = re.compile(r"^(`{3,}|:{3,})\{([\w:-]+)\}[ \t]*(.*?)[ \t]*$")
FENCE = re.compile(r"^(`{3,}|~{3,}|:{3,})")
OPTION = re.compile(r"^:([\w-]+):[ \t]*(.*?)[ \t]*$")
TARGET = re.compile(r"^\(([\w-]+)\)=$")
EQUATION = re.compile(r"^\$\$ \(([\w-]+)\)$")
HEADING = re.compile(r"^(#+) (.+)$")
UNNUMBERED = "prf:proof"


@functools.cache
def pages() -> dict[str, str]:
    """{page: its number as a chapter, "" where it has none}, in the book's order."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    found, count = {toc["root"]: ""}, 0
    for part in toc["parts"]:
        for entry in part["chapters"]:
            count += bool(part.get("numbered"))
            found[entry["file"]] = str(count) if part.get("numbered") else ""
    return {page.removeprefix("chapters/"): number for page, number in found.items()}


def chapters() -> list[str]:
    """The numbered pages that are notebooks, such as ridge/heads."""
    numbered = [page for page, number in pages().items() if number]
    return [page for page in numbered if (BOOK / "chapters" / f"{page}.ipynb").is_file()]


def notebook(chapter: str) -> nbformat.NotebookNode:
    """A chapter's notebook, each time a new copy."""
    return nbformat.read(BOOK / "chapters" / f"{chapter}.ipynb", as_version=4)


@functools.cache
def parts(page: str) -> tuple[tuple[str, str, dict], ...]:
    """(kind of cell, source, metadata) of a notebook's cells; a Markdown page is one cell."""
    path = BOOK / "chapters" / f"{page}.md"
    if path.is_file():
        return (("markdown", path.read_text(encoding="utf-8"), {}),)
    return tuple((cell.cell_type, cell.source, cell.metadata) for cell in notebook(page).cells)


def figure_of(metadata: dict) -> dict:
    """Name and caption of the figure that a code cell draws, {} where it draws none."""
    return metadata.get("mystnb", {}).get("figure", {})


class _Counted:
    """The names of one page's labels, in the order of the page."""

    def __init__(self, number: str):
        self.number, self.counts, self.names = number, {}, {}

    def count(self, kind: str, label: str, form: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        chapter = f"{self.number}." if self.number else ""
        self.names[label] = form.format(f"{chapter}{self.counts[kind]}")

    def directive(self, kind: str, title: str, options: dict) -> str:
        label = options.get("label") or options.get("name") or f"{kind} {len(self.names)}"
        if kind.startswith("prf:") and kind != UNNUMBERED:
            self.count(kind, label, f"{kind[4:].capitalize()} {{}}")
        elif kind in ("exercise", "exercise-start"):
            self.count(
                "exercise", label, f"Exercise {{}} ({title})" if title else "Exercise {}"
            )
        elif kind in ("hand", "figure"):
            self.count("figure", label, "Fig. {}")
        elif title:
            self.names[label] = title
        return label

    def markdown(self, text: str) -> None:
        lines, target = text.splitlines(), ""
        for place, line in enumerate(lines):
            if found := OPENS.match(line):
                options = options_of(lines[place + 1 :])[0]
                label = self.directive(found[2], found[3], options)
                if target and label in self.names:
                    self.names[target] = self.names[label]
                target = ""
            elif found := EQUATION.match(line):
                self.count("equation", found[1], "({})")
            elif found := TARGET.match(line):
                target = found[1]
            elif target and line.strip():  # a heading's words; a paragraph has none
                found = HEADING.match(line)
                self.names[target], target = found[2] if found else "", ""


def options_of(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options at the head of a directive's lines, and the lines after them."""
    found = {}
    for place, line in enumerate(lines):
        if not (option := OPTION.match(line)):
            return found, lines[place:]
        found[option[1]] = option[2]
    return found, []


@functools.cache
def names() -> dict[str, str]:
    """{label: what the published page calls it}, such as thm-one-step: Theorem 12.1."""
    found = {}
    for page, number in pages().items():
        counted = _Counted(number)
        for kind, source, metadata in parts(page):
            if kind == "markdown":
                counted.markdown(source)
            elif name := figure_of(metadata).get("name"):
                counted.count("figure", name, "Fig. {}")
        found |= counted.names
    return found


def name_of(label: str) -> str:
    """The visible name of a label; raises InputError where no page has it."""
    require(label in names(), f"no page has the label {label!r}")
    return names()[label]


@functools.cache
def titles() -> dict[str, str]:
    """{page: its title}."""
    found = {}
    for page in pages():
        lines = "\n".join(text for kind, text, _ in parts(page) if kind == "markdown")
        found[page] = re.search(r"(?m)^# (.+)$", lines)[1]
    return found


def title_of(target: str, page: str) -> str:
    """The title of the page that a link on `page` names, such as ../dual/kernel."""
    target = target.partition("#")[0].removesuffix(".ipynb").removesuffix(".md")
    place = (BOOK / page).parent / target
    name = Path(*place.parts[len(BOOK.parts) :]).as_posix()
    while (shorter := re.sub(r"(^|/)[^/.]+/\.\./", r"\1", name)) != name:
        name = shorter
    require(name in titles(), f"{page}: no page {target!r}")
    return titles()[name]


@functools.cache
def sources() -> dict[str, str]:
    """{key of references.bib: authors and year, as in Ren and Liu, 2024}."""
    found = {}
    for key, entry in parse_file(BOOK / "references.bib").entries.items():
        last = [" ".join(person.last_names) for person in entry.persons["author"]]
        short = f"{last[0]} *et al.*" if len(last) > 2 else " and ".join(last)
        found[key] = f"{short}, {entry.fields['year']}"
    return found


def cited(keys: str) -> str:
    """A citation in brackets; raises InputError for a key that the bibliography lacks."""
    wanted = [key.strip() for key in keys.split(",")]
    if missing := set(wanted) - sources().keys():
        raise InputError(f"not in references.bib: {', '.join(sorted(missing))}")
    return f"[{'; '.join(sources()[key] for key in wanted)}]"


def up_to(fence: str, rest: list[str], page: str) -> list[str]:
    """Takes the lines before the one that closes a fence, and that line, from `rest`."""
    closing = re.compile(rf"{re.escape(fence[0])}{{{len(fence)},}}\s*")
    for place, line in enumerate(rest):
        if closing.fullmatch(line):
            inner = rest[:place]
            del rest[: place + 1]
            return inner
    raise InputError(f"{page}: a block that {fence} opens is not closed")
