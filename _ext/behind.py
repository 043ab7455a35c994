"""What lies behind a figure, linked below it: the function that computed each of its stored
results, the tables, the settings, the command that computes them anew, and what that cost.

Which results a figure shows is read off the line that it prints below itself (on_start.py), so
nothing is typed. The files are copied into the site, the code is shown on pages of its own.
"""

import ast
import functools
import re
import shutil
from html import escape
from importlib.util import find_spec
from pathlib import Path
from posixpath import relpath

from docutils import nodes

from iclbook.catalogue import experiments, find
from iclbook.store import Store, duration

STORED = re.compile(r"loaded: (\S+) \(full\)")
OPEN = 6  # tables whose links stand in the line; more are folded
FOLDER = "results"


def ids_in(lines) -> list[str]:
    """The stored results that a figure's lines name, each once."""
    return list(dict.fromkeys(match[1] for match in map(STORED.match, lines) if match))


def code_page(experiment) -> tuple[str, str]:
    """(page, anchor) where the function of an experiment is shown."""
    module, _, function = experiment.function.partition(":")
    return module.replace(".", "/"), function


def link(address: str, words: str) -> str:
    return f'<a href="{escape(address)}">{words}</a>'


def line(experiment_id: str, page: str) -> str:
    """The links of one result, for a figure on this page."""
    experiment, here = find(experiment_id), f"{page}/.."

    def at(address: str) -> str:
        return relpath(address, here)

    folder = f"{FOLDER}/{experiment_id}"
    code, function = code_page(experiment)
    tables = [
        link(at(f"{folder}/full.{name}"), name) for name in experiment.files if ".csv" in name
    ]
    listed = ", ".join(tables)
    if len(tables) > OPEN:
        listed = f"<details><summary>{len(tables)} tables</summary> {listed}</details>"
    seconds = Store().meta(experiment, "full")["wall_seconds"]
    parts = (
        f"<code>{experiment_id}</code>, {duration(seconds)} on one thread",
        link(at(f"{code}.html#{function}"), f"code of <code>{function}</code>"),
        link(at(f"{folder}/full.json"), "settings and machine"),
        listed,
        f"again: <code>iclbook run {experiment_id} --force</code>",
    )
    return f"<li>{' · '.join(parts)}</li>"


def markup(ids: list[str], page: str) -> str:
    lines = "".join(line(each, page) for each in ids)
    listed = f'<ul class="behind">{lines}</ul>'
    if len(ids) == 1:
        return listed
    return (
        f'<details class="behind"><summary>Code, data and cost of {len(ids)} results'
        f"</summary>{listed}</details>"
    )


def add_lines(app, doctree):
    """Each figure of stored results gets its links (event doctree-read)."""
    page = app.env.docname
    figures = app.env.metadata[page].get("figures", {})
    used = app.env.metadata[page].setdefault("results", [])
    for figure in doctree.findall(nodes.figure):
        found = (figures[name] for name in figure["names"] if name in figures)
        if ids := ids_in(next(found, ())):
            used += ids
            figure.parent.insert(
                figure.parent.index(figure) + 1,
                nodes.raw("", markup(ids, page), format="html"),
            )


def used(env) -> list[str]:
    """Every result that some figure shows."""
    return list(
        dict.fromkeys(
            each for about in env.metadata.values() for each in about.get("results", ())
        )
    )


@functools.cache
def source(module: str) -> tuple[str, dict[str, int]]:
    """(text of a module, {function: its line, from 0})"""
    text = Path(find_spec(module).origin).read_text(encoding="utf-8")
    places = {
        part.name: part.lineno - 1 - len(part.decorator_list)
        for part in ast.parse(text).body
        if isinstance(part, ast.FunctionDef)
    }
    return text, places


def code_pages(app):
    """A page a file of code that a figure names, with its functions to link to (event
    html-collect-pages)."""
    modules = dict.fromkeys(find(each).function.partition(":")[0] for each in used(app.env))
    for module in modules:
        text, places = source(module)
        shown = app.builder.highlighter.highlight_block(text, "python").split("\n")
        for name, number in places.items():
            shown[number] = f'<span id="{name}"></span>{shown[number]}'
        name = f"{module.replace('.', '/')}.py"
        chapter = {e.chapter for e in experiments().values() if e.function.startswith(module)}
        pages = ", ".join(
            link(relpath(f"chapters/{each}.html", f"{module.replace('.', '/')}/.."), each)
            for each in sorted(chapter)
        )
        body = (
            f"<h1>{name}</h1><p>Computes results of {pages}.</p>"
            f'<div class="code-behind">{chr(10).join(shown)}</div>'
        )
        yield (
            module.replace(".", "/"),
            {"title": name, "parents": [], "body": body},
            "page.html",
        )


def copy_results(app, exception):
    """The files that the lines link to (event build-finished)."""
    if exception is not None or app.builder.format != "html":
        return
    for each in used(app.env):
        experiment = find(each)
        target = Path(app.outdir) / FOLDER / each
        target.mkdir(parents=True, exist_ok=True)
        names = [name for name in experiment.files if ".csv" in name]
        for name in ("full.json", *(f"full.{name}" for name in names)):
            shutil.copy(Store().root / each / name, target)


def setup(app):
    app.connect("doctree-read", add_lines)
    app.connect("html-collect-pages", code_pages)
    app.connect("build-finished", copy_results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
