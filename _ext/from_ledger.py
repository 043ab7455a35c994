"""Roles for numbers in the text, read from the ledger and the store while the book is built.

{verdict}`yang2024/lemma5-constant` shows the recorded verdict with the number that the check
returned, and leads to the claim's card. {measured}`yang2024/fig2a-batches-do-as-well` shows the
number alone; tokens and loss after the id, such as `unit batch`, pick one reading.
{stored}`yang2024/fig3 gaps.gap median where N == 50` takes a number from a stored table.
A last word `%` shows either in percent.

What does not exist, and a check that no longer returns its verdict, ends the build.
"""

import difflib
import functools
import re

from docutils import nodes
from scorecard import PAGE, ledger
from sphinx.util.docutils import SphinxRole

from iclbook.card import anchor, badge, number, telling_digits
from iclbook.catalogue import find
from iclbook.errors import require
from iclbook.store import Store

STORED = re.compile(r"(\S+)\s+(\w+)\.(\w+)\s+(min|median|mean|max)(?:\s+where\s+(.+))?")
read = functools.cache(lambda experiment_id: Store().read(find(experiment_id)))


def row_of(claim_id: str) -> dict:
    """The claim's row of the ledger; raises InputError that names close matches."""
    rows = {row["id"]: row for row in ledger()}
    close = difflib.get_close_matches(claim_id, rows, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    require(claim_id in rows, f"unknown claim {claim_id!r}{hint}")
    return rows[claim_id]


def verdict(text: str, page: str) -> str:
    """The badge of a claim with its number, a link to its card on the scorecard `page`."""
    row = row_of(text)
    words, value, threshold = f"claim {row['verdict']}", row["measured"], row["threshold"]
    if value is not None and threshold is not None:
        digits = telling_digits(value, threshold)
        side = f"{row['direction'].replace('_', ' ')} {number(threshold, digits)}"
        words += f": {number(value, digits)} ({side})"
    elif value is not None:
        words += f": {number(value)}"
    address = f"{page}#{anchor(text)}"
    return badge(row["verdict"], words, tag="a", href=address, title=f"claim {text}")


def measured(text: str, page: str = "") -> str:
    """What the check of a claim returned, or what it returned under one reading."""
    claim_id, *reading = text.removesuffix(" %").split()
    row = row_of(claim_id)
    if reading:
        found = [r for r in row["readings"] if [r["tokens"], r["loss"]] == reading]
        known = "; ".join(f"{r['tokens']} {r['loss']}" for r in row["readings"]) or "none"
        require(len(found) == 1, f"{claim_id} has no reading {reading}; its readings: {known}")
        row = found[0]
    require(row["measured"] is not None, f"{text}: nothing was measured")
    return shown(row["measured"], text)


def shown(value: float, text: str) -> str:
    """A number with three digits, in percent where the text ends in %."""
    return f"{number(100 * value)}&nbsp;%" if text.endswith(" %") else number(value)


def stored(text: str, page: str = "") -> str:
    """A number from a column of a stored table: all of its rows, or those of a pandas query."""
    match = STORED.fullmatch(text.removesuffix(" %"))
    require(match is not None, f"{text!r} is not 'experiment table.column how [where query]'")
    experiment, name, column, how, query = match.groups()
    table = read(experiment)[name]
    require(column in table, f"{text!r}: no column {column!r}; there are {', '.join(table)}")
    values = (table.query(query) if query else table)[column]
    require(len(values) > 0, f"{text!r}: no row fits")
    return shown(values.agg(how, skipna=False), text)


class FromLedger(SphinxRole):
    """A role whose HTML a function of its text and of the scorecard's address returns."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def run(self):
        page = self.env.app.builder.get_relative_uri(self.env.docname, PAGE)
        return [nodes.raw("", self.function(self.text, page), format="html")], []


def setup(app):
    for function in (verdict, measured, stored):
        app.add_role(function.__name__, FromLedger(function))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
