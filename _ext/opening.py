"""How a chapter opens: beside its question and answer a small copy of its main figure, and
below them its verdicts, the minutes that it takes, what it builds on and what builds on it.

All of it is read off the book: figures and references from the pages, verdicts from the ledger.
"""

import re
from collections import Counter
from posixpath import dirname, relpath

from docutils import nodes
from scorecard import ledger
from sphinx.util import logging

from iclbook.card import SIGNS, anchor, badge
from iclbook.catalogue import studies

# A chapter's main figure, where it is not the first whose numbers are stored.
MAIN = {
    "bridge/over_prompts": "fig-over-training",
    "dual/trained": "fig-trained-panels",
    "ridge/heads": "fig-heads-count",
    "ridge/related": "fig-related",
}
WORDS, EQUATION, LONGEST = 180, 0.5, 25  # words a minute, minutes an equation, minutes at most
NEIGHBOURS = 3  # chapters named in a line
logger = logging.getLogger(__name__)
FAR = 2  # references that make a chapter of another part a neighbour


def chapter_of(docname: str) -> str:
    return docname.removeprefix("chapters/")


def is_chapter(docname: str) -> bool:
    return chapter_of(docname) in studies().CHAPTERS


# --- minutes


def folded(node: nodes.Node) -> bool:
    """Whether a reader sees this part only on demand: a fold, an exercise, code, a table of
    numbers, the claims."""
    classes = set(node.get("classes", ())) if isinstance(node, nodes.Element) else set()
    kinds = {"dropdown", "solution", "exercise", "cell_input", "cell_output"}
    return bool(classes & kinds) or isinstance(node, nodes.literal_block | nodes.raw)


def minutes(node: nodes.Node) -> float:
    """What reading takes: the words outside folds, and half a minute a displayed equation."""
    if folded(node):
        return 0
    if isinstance(node, nodes.math_block):
        return EQUATION
    if isinstance(node, nodes.math):  # one formula in a line is read as one word
        return 1 / WORDS
    if isinstance(node, nodes.Text):
        return len(node.split()) / WORDS
    return sum(map(minutes, node.children))


# --- references


def targets(doctree: nodes.document) -> list[str]:
    """Labels and pages that a page's text, outside exercises, refers to."""
    found = []
    for node in doctree.findall(lambda part: part.tagname == "pending_xref"):
        up = node.parent
        while up is not None and not folded(up):
            up = up.parent
        if up is None:
            found.append(node["reftarget"])
    return found


def places(env) -> dict[str, str]:
    """{label or page: the page that it stands on}"""
    standard, found = env.get_domain("std"), {name: name for name in env.found_docs}
    for labels in (standard.labels, standard.anonlabels):
        found |= {label: place[0] for label, place in labels.items()}
    found |= {label: place[0] for label, place in env.get_domain("math").equations.items()}
    proofs = getattr(env, "proof_list", {})
    return found | {label: about["docname"] for label, about in proofs.items()}


def references(env) -> dict[str, Counter]:
    """{a chapter: how often it refers to each other chapter}"""
    known, found = places(env), {}
    for page in filter(is_chapter, env.found_docs):
        named = env.metadata[page].get("targets", ())
        pages = (known.get(name, known.get(f"chapters/{name}", "")) for name in named)
        found[page] = Counter(other for other in pages if other != page and is_chapter(other))
    return found


def neighbours(env, page: str) -> tuple[list[str], list[str]]:
    """(chapters that a chapter builds on, chapters that build on it), the most often named few
    of each, in the book's order."""
    found, order = env.opening_references, env.opening_order

    def close(other: str, times: int) -> bool:
        return times >= (1 if dirname(other) == dirname(page) else FAR)

    def chosen(counted: Counter, before: bool) -> list[str]:
        kept = [
            other
            for other, times in counted.most_common()
            if close(other, times) and (order.index(other) < order.index(page)) == before
        ]
        return sorted(kept[:NEIGHBOURS], key=order.index)

    users = Counter({other: counted[page] for other, counted in found.items()})
    return chosen(found[page], True), chosen(users, False)


# --- what is shown


def verdicts(page: str) -> str:
    """How many of the chapter's claims have which verdict, each badge a link to the first."""
    rows = [row for row in ledger() if row["chapter"] == chapter_of(page)]
    badges = []
    for verdict in SIGNS:
        ids = [row["id"] for row in rows if row["verdict"] == verdict]
        if ids:
            words = f"{len(ids)} {verdict}"
            badges.append(badge(verdict, words, tag="a", href=f"#{anchor(ids[0])}"))
    return " ".join(badges)


def lines(app, page: str, read: float) -> str:
    """The strip below the answer."""
    before, after = neighbours(app.env, page)

    def linked(pages: list[str]) -> str:
        return " · ".join(  # titles have commas
            f'<a href="{relpath(f"{other}.html", dirname(page))}">'
            f"{app.env.titles[other].astext()}</a>"
            for other in pages
        )

    parts = [verdicts(page), f"{max(1, round(read))} minutes to read"]
    parts += [f"builds on {linked(before)}"] if before else []
    parts += [f"used in {linked(after)}"] if after else []
    spans = "".join(f"<span>{part}</span>" for part in parts)
    return f'<div class="opening-strip">{spans}</div>'


def main_figure(page: str, doctree: nodes.document, stored) -> nodes.figure | None:
    """The figure named in MAIN, or the first whose numbers are stored, or the first."""
    figures = [f for f in doctree.findall(nodes.figure) if list(f.findall(nodes.image))]
    wanted = MAIN.get(chapter_of(page))
    named = [f for f in figures if wanted in f["names"]]
    kept = [f for f in figures if set(f["names"]) & set(stored)]
    return next(iter([*named, *kept, *figures]), None)


def picture(figure: nodes.figure, page: str, number: str) -> nodes.reference:
    """A small copy of a figure, a link to it."""
    image = next(figure.findall(nodes.image)).deepcopy()
    image.attributes.pop("width", None)
    image["alt"] = f"{number}, the chapter's main figure, made small"
    image["classes"] = ["opening-picture"]
    link = nodes.reference("", "", image, refid=figure["ids"][0], internal=True)
    link["classes"] = ["opening-figure"]
    return link


def keep_targets(app, doctree):
    """Note what a page refers to, before Sphinx resolves it (event doctree-read)."""
    page = app.env.docname
    if is_chapter(page):
        app.env.metadata[page]["targets"] = targets(doctree)


def count_references(app, env):
    """Who refers to whom, once all pages are read (event env-updated)."""
    env.opening_references = references(env)
    env.opening_order = [*env.toctree_includes.get(env.config.root_doc, ())]
    env.opening_order += [page for page in env.found_docs if page not in env.opening_order]


def open_chapter(app, doctree, page):
    """Put question, answer and figure side by side (event doctree-resolved)."""
    if app.builder.format != "html" or not is_chapter(page):
        return
    section = next(doctree.findall(nodes.section))
    paragraphs = [p for p in section.children if isinstance(p, nodes.paragraph)]
    starts = ("Question.", "Answer.")
    first = next((p for p in paragraphs if p.astext().startswith(starts[0])), None)
    last = next((p for p in paragraphs if p.astext().startswith(starts[1])), None)
    if first is None or last is None:
        return
    begin, end = section.index(first), section.index(last) + 1
    said = nodes.container(classes=["opening-words"])
    said += section.children[begin:end]
    if (read := minutes(doctree)) > LONGEST:
        logger.warning(f"{read:.1f} minutes to read, more than {LONGEST}", location=page)
    box = nodes.container("", said, classes=["opening"])
    figures = app.env.metadata[page].get("figures", {})
    stored = [name for name, shown in figures.items() if re.match("loaded:", shown[0])]
    if (figure := main_figure(page, doctree, stored)) is not None:
        numbers = app.env.toc_fignumbers.get(page, {}).get("figure", {})
        number = ".".join(map(str, numbers.get(figure["ids"][0], ())))
        box += picture(figure, page, f"Fig. {number}" if number else "Figure")
    box += nodes.raw("", lines(app, page, read), format="html")
    section.children[begin:end] = []
    section.insert(begin, box)


def setup(app):
    app.connect("doctree-read", keep_targets)
    app.connect("env-updated", count_references)
    app.connect("doctree-resolved", open_chapter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
