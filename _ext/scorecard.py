"""What is written from the ledger and the store: the scorecard with its downloads, the strip of
verdicts on the home page, and the papers' items in the index, where search finds them.

A page that holds one of the MARKERS gets what it names in its place; nothing is typed in. The
build fails where a check no longer returns the recorded verdict.
"""

import csv
import functools
import json
import re
from collections import Counter
from itertools import groupby
from pathlib import Path
from urllib.parse import urlencode

from markers import filler
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

from iclbook.card import SIGNS, WHOSE, agreeing, anchor, badge, card, command
from iclbook.claim import KINDS, SOURCES, VERDICTS, all_claims

PAGE = "chapters/back/scorecard"
PARTS = {"ridge": "Part I", "dual": "Part II", "bridge": "Part III"}
ledger = functools.cache(agreeing)


def cards() -> str:
    """Every claim, in the chapters' order, under its part and its chapter."""
    blocks, part = [], ""
    for chapter, rows in groupby(ledger(), key=lambda row: row["chapter"]):
        if chapter.split("/")[0] != part:
            part = chapter.split("/")[0]
            blocks.append(f"## {PARTS[part]}")
        blocks.append(f"### {{doc}}`../{chapter}`")
        blocks += [card(row, page=f"../{chapter}.html") for row in rows]
    return "\n\n".join(blocks)


def counts() -> str:
    """A table of how many claims have which verdict: by kind, the empirical ones by whose
    statement it is, and all of them by that. A number shows its claims."""
    empirical = {"kind": "empirical"}
    lines = [f"| | {' | '.join(map(badge, VERDICTS))} | all |", "|---|" + "--:|" * 5]
    lines += [count_row(kind, kind=kind) for kind in KINDS]
    lines += [
        count_row(f"empirical, {WHOSE[whose]}", **empirical, source=whose) for whose in SOURCES
    ]
    lines += [count_row(f"all, {WHOSE[whose]}", source=whose) for whose in SOURCES]
    return "\n".join([*lines, count_row("all")])


def count_row(name: str, **wanted: str) -> str:
    """A line of `counts`: the claims whose row has the wanted values, by verdict."""
    cells = []
    for verdict in (*VERDICTS, "all"):
        query = wanted | ({} if verdict == "all" else {"verdict": verdict})
        found = sum(query.items() <= row.items() for row in ledger())
        cells.append(f'<a href="?{urlencode(query)}">{found}</a>' if found else "0")
    return f"| **{name}** | {' | '.join(cells)} |"


def filters() -> str:
    """The form that assets/scorecard.js shows and obeys."""
    choices = {"verdict": VERDICTS, "kind": KINDS, "source": SOURCES}
    choices |= {"paper": ("yang2024", "ren2024")}
    fields = [
        f'<label>{name.capitalize()} <select name="{name}"><option value="">all</option>'
        + "".join(
            f'<option value="{value}">{WHOSE.get(value, value)}</option>' for value in values
        )
        + "</select></label>"
        for name, values in choices.items()
    ]
    text = '<label>Text <input type="search" name="text"></label>'
    count = '<output aria-live="polite"></output>'
    return f'<form class="scorecard-filter" hidden>{"".join(fields)}{text}{count}</form>'


def strip() -> str:
    """How many claims have which verdict, each number a link to its claims; and whose they
    are, since most are the book's own."""
    found = Counter(row["verdict"] for row in ledger())
    links = [
        badge(
            verdict,
            f"<b>{found[verdict]}</b> {verdict}",
            tag="a",
            href=f"back/scorecard.html?verdict={verdict.replace(' ', '+')}",
        )
        for verdict in SIGNS
    ]
    papers = Counter(row["verdict"] for row in ledger() if row["source"] == "paper")
    counts = ", ".join(f"{papers[verdict]} {verdict}" for verdict in SIGNS)
    whose = (
        f"Statements of the papers are {papers.total()} of them: {counts}. The others are ours."
    )
    return f'<div class="verdict-strip">{" ".join(links)}</div>\n\n{whose}'


MARKERS = {
    "<!-- every claim -->": cards,
    "<!-- counts of claims -->": counts,
    "<!-- filters of claims -->": filters,
    "<!-- verdicts -->": strip,
}


def flat(row: dict) -> dict:
    """A row of the ledger with one value a column."""
    fresh = row["fresh"] or {"sets": None, "share": None}
    readings = [f"{r['tokens']}, {r['loss']}: {r['verdict']}" for r in row["readings"]]
    several = {"experiments": " ".join(row["experiments"]), "readings": "; ".join(readings)}
    return row | several | {"fresh": fresh["share"], "sets": fresh["sets"], "run": command(row)}


def write_downloads(folder: Path) -> None:
    """scorecard.json and scorecard.csv beside the page."""
    rows = [{k: v for k, v in row.items() if k != "error"} for row in ledger()]
    text = json.dumps(rows, indent=1, ensure_ascii=False)
    (folder / "scorecard.json").write_text(f"{text}\n", encoding="utf-8")
    table = list(map(flat, rows))
    with (folder / "scorecard.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, table[0])
        writer.writeheader()
        writer.writerows(table)


def finish(app, exception):
    """Once a site with the scorecard is built (event build-finished)."""
    if exception is None and app.builder.format == "html" and PAGE in app.env.found_docs:
        write_downloads((Path(app.outdir) / PAGE).parent)


def items_of(chapter: str) -> dict[str, str]:
    """What a chapter's claims are about, such as "Figure 4", with the id of the first card."""
    items = {}
    for claim in all_claims().values():
        if claim.chapter == chapter:
            item = re.split(r"[,:;(]", claim.item)[0].strip()
            items.setdefault(item[0].upper() + item[1:], anchor(claim.id))
    return items


class IndexItems(SphinxTransform):
    """Puts the items of a chapter into the index, before Sphinx collects it."""

    default_priority = 840

    def apply(self):
        items = items_of(self.env.docname.removeprefix("chapters/"))
        entries = [("single", item, target, "main", None) for item, target in items.items()]
        if entries:
            self.document.insert(0, addnodes.index(entries=entries))


def add_script(app, pagename, templatename, context, doctree):
    """Only the scorecard needs its script (event html-page-context)."""
    if pagename == PAGE:
        app.add_js_file("scorecard.js", loading_method="defer")


def setup(app):
    app.connect("source-read", filler(MARKERS))
    app.add_transform(IndexItems)
    app.connect("html-page-context", add_script)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
