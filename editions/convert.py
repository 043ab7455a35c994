"""Chapters as notebooks for a class, and the zips that hold them.

    python -m editions.convert student       # _build/student.zip, no solutions
    python -m editions.convert instructor    # _build/instructor.zip, solutions, teaching notes

Each notebook stands in a folder of its own with what it needs: stored results, the package, the
still pictures of figures that a reader moves. It says itself how to start.
"""

import ast
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from editions.contents import archive, claims, results, stills, wheel
from editions.labels import BOOK, chapters, figure_of, name_of, notebook, pages, titles
from editions.lessons import lessons
from editions.plain import page_text, plain, words
from iclbook.catalogue import experiments
from iclbook.errors import InputError, require

GATE = re.compile(r"(?ms)^(`{3,})\{solution-(start|end)\}(.*?)^\1[ \t]*$")
WHOLE = re.compile(r"(?ms)^(`{3,}|:{3,})\{solution\}.*?^\1[ \t]*$")
FOLDED = {"hide-input", "remove-input"}
GUIDE = ("guide", "guide_lessons", "guide_exam", "guide_projects", "cheat_sheet")
START = """**Before you start.** This folder holds all that the notebook needs:

| | |
|---|---|
| `{stem}.ipynb` | this notebook{whose} |
| `results/` | the stored results that it reads |
| `{wheel}` | the book's package `iclbook`, with the settings and checks of its studies |

Install once, in a terminal in this folder, with Python 3.11, 3.12 or 3.13:

```
python -m pip install jupyterlab {wheel}
```

Start `jupyter lab` there and choose *Run All*. The next cell tells `iclbook` where the results
are, by the variable `ICLBOOK_STORE`. Numbers of theorems, equations and figures are those of
the published book.
"""
STORE = """import os

os.environ["ICLBOOK_STORE"] = "results"  # the folder beside this notebook
# os.environ["ICLBOOK_PROFILE"] = "quick"  # compute small versions, read no result"""
README = """# {title}

One folder a chapter; each can be copied and handed out alone. The first cell of a notebook says
how to start it.

On Linux, pip fetches torch with its GPU libraries: several gigabytes, never used here. For the
small build open the "Get started" page of pytorch.org first, choose *Stable*, *Linux*, *Pip*,
*Python* and *CPU*, and run the command that it shows.

In a room without a network, install once on each machine beforehand; nothing is fetched later.

| folder | chapter |
|---|---|
{rows}
"""


def without_solutions(cells: list) -> list:
    """The cells outside of `solution-start` and `solution-end`, code cells included.

    Raises InputError where a gate opens twice, closes twice or stays open.
    """
    kept, inside = [], False
    for cell in cells:
        if cell.cell_type != "markdown":
            kept += [] if inside else [cell]
            continue
        text, place, source = "", 0, WHOLE.sub("", cell.source)
        for gate in GATE.finditer(source):
            opens = gate[2] == "start"
            require(opens != inside, f"a solution {gate[2]}s twice: {gate[3].strip()[:60]}")
            text += source[place : gate.start()] if opens else ""
            place, inside = gate.end(), opens
        text += "" if inside else source[place:]
        require("{solution" not in text, f"a solution's gate is not whole: {cell.source[:60]}")
        if text.strip():
            cell.source = text
            kept.append(cell)
    require(not inside, "the last solution is not closed")
    return kept


def edition(chapter: str, instructor: bool = False) -> nbformat.NotebookNode:
    """A chapter such as ridge/heads as plain Markdown and code, ready to run beside a folder of
    results: without solutions, or with them and with the lesson's notes.

    The downloads of a published page can be made with it. Raises InputError for unbalanced
    solutions and for what has no plain form.
    """
    made = notebook(chapter)
    cells = made.cells if instructor else without_solutions(made.cells)
    plain_cells = []
    for cell in cells:
        plain_cells += _plain_cells(cell, chapter)
    notes = _notes(chapter) if instructor else []
    made.cells = [*_start(chapter, instructor), plain_cells[0], *notes, *plain_cells[1:]]
    for place, cell in enumerate(made.cells):
        cell.id = cell.get("id") or f"edition-{place}"
    return made


def _plain_cells(cell, chapter: str) -> list:
    """A cell's plain form; a figure gets its caption as a cell of its own."""
    if cell.cell_type == "markdown":
        cell.source = plain(cell.source, chapter)
        return [cell] if cell.source.strip() else []
    figure, tags = figure_of(cell.metadata), cell.metadata.get("tags", [])
    if FOLDED & set(tags):
        cell.metadata["jupyter"] = {"source_hidden": True}
    cell.metadata.pop("mystnb", None)
    if not figure:
        return [cell]
    caption = f"*{name_of(figure['name'])}.* {words(figure['caption'], chapter)}"
    return [cell, new_markdown_cell(caption, id=f"{cell.id[:20]}-caption")]


def _start(chapter: str, instructor: bool) -> list:
    whose = ", with solutions and teaching notes" if instructor else ""
    stem = Path(chapter).name
    text = START.format(stem=stem, wheel=wheel_name(), whose=whose)
    return [
        new_markdown_cell(text, id="edition-start"),
        new_code_cell(STORE, id="edition-store"),
    ]


def _notes(chapter: str) -> list:
    """The plan of the lesson that a chapter belongs to, folded."""
    found = [lesson for lesson in lessons() if chapter in lesson.chapters]
    if not found:
        text = "**Teaching notes.** Not in the six lessons; it makes a good seminar talk."
        return [new_markdown_cell(text, id="edition-notes")]
    (lesson,) = found
    head = f"<details><summary><b>Teaching notes: lesson {lesson.number}</b></summary>"
    text = plain(lesson.text, "back/guide_lessons")
    return [new_markdown_cell(f"{head}\n\n{text}\n\n</details>", id="edition-notes")]


def wheel_name() -> str:
    """The file name of the package's wheel."""
    from iclbook import __version__

    return f"iclbook-{__version__}-py3-none-any.whl"


def needed(chapter: str, cells: list) -> list[str]:
    """Ids of the experiments that code cells name, in load(...) and elsewhere, and that the
    chapter's claims read."""
    named = set(_texts(cells))
    for claim in claims():
        named |= set(claim.experiments) if claim.chapter == chapter else set()
    return [experiment for experiment in experiments() if experiment in named]


def _texts(cells: list) -> list[str]:
    """Every string that stands in the code."""
    code = [ast.parse(_no_magics(cell.source)) for cell in cells if cell.cell_type == "code"]
    nodes = (node for tree in code for node in ast.walk(tree))
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _no_magics(source: str) -> str:
    return re.sub(r"(?m)^[%!].*$", "", source)


def folder_of(chapter: str) -> str:
    """The folder of a chapter in the zips, such as 04-heads."""
    return f"{int(pages()[chapter]):02d}-{Path(chapter).name}"


def files_of(chapter: str, instructor: bool = False) -> dict[str, bytes]:
    """{name in the chapter's folder: content}, the package aside."""
    made = edition(chapter, instructor)
    held = {f"{Path(chapter).name}.ipynb": nbformat.writes(made).encode("utf-8")}
    place = (BOOK / "chapters" / chapter).parent
    beside = [text for text in _texts(made.cells) if re.fullmatch(r"[\w-]+\.toml", text)]
    held |= {name: (place / name).read_bytes() for name in beside if (place / name).is_file()}
    held |= results(chapter, needed(chapter, made.cells))
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    return held | stills(re.findall(r"\]\(([\w-]+)\.svg\)", text))


def write(kind: str, folder: Path = BOOK / "_build") -> Path:
    """Writes student.zip or instructor.zip into the folder; returns its path."""
    require(kind in ("student", "instructor"), f"student or instructor, not {kind!r}")
    instructor, package = kind == "instructor", wheel()
    rows = [f"| `{folder_of(c)}` | {titles()[c]} |" for c in chapters()]
    title = "Notebooks with solutions and notes" if instructor else "Notebooks for students"
    held = {"README.md": README.format(title=title, rows="\n".join(rows)).encode("utf-8")}
    for chapter in chapters():
        inside = files_of(chapter, instructor) | {wheel_name(): package}
        held |= {f"{folder_of(chapter)}/{name}": data for name, data in inside.items()}
    for page in GUIDE if instructor else ():
        held[f"guide/{page}.md"] = page_text(f"back/{page}").encode("utf-8")
    return archive(folder / f"{kind}.zip", {f"{kind}/{n}": data for n, data in held.items()})


def main() -> None:
    """Makes the editions named on the command line."""
    try:
        for kind in sys.argv[1:]:
            path = write(kind)
            print(f"{path.relative_to(BOOK)}: {path.stat().st_size / 1e6:.1f} MB")
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
