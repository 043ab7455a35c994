"""Long proofs: folded on the page, behind an idea that a reader sees first.

    *Idea.* At most 50 words: the key step.

    ```{prf:proof}
    :class: dropdown
    All of it.
    ```

The length is counted as the minutes of a chapter are (_ext/opening.py): a formula in a line is
one word, a displayed equation 90. A window of 1280 x 800 pixels shows 736 pixels of the text. A
proof of up to 150 words takes at most half of them, so it is seen together with its statement.
"""

from docutils import nodes
from opening import WORDS, minutes
from sphinx.util import logging

PROOF, IDEA = 150, 50  # words of a proof that stays open, and of an idea, at most
logger = logging.getLogger(__name__)


def proofs(doctree: nodes.document) -> list[nodes.admonition]:
    return [box for box in doctree.findall(nodes.admonition) if "proof" in box["classes"]]


def words(box: nodes.Element) -> int:
    """Words of a proof or of an idea, whether folded or not."""
    return round(WORDS * sum(map(minutes, box.children)))


def idea(box: nodes.admonition) -> nodes.paragraph | None:
    """The paragraph directly before a proof, if it is its idea."""
    around = box.parent.parent  # a proof stands in a node of its own
    before = around.index(box.parent) - 1
    found = around[before] if before >= 0 else None
    if not isinstance(found, nodes.paragraph) or not isinstance(found[0], nodes.emphasis):
        return None
    return found if found[0].astext() == "Idea." else None


def faults(doctree: nodes.document) -> list[str]:
    """Proofs that are not folded and long, or folded and short, or folded without an idea."""
    found = []
    for box in proofs(doctree):
        first, long, folds = box.astext()[:60], words(box) > PROOF, "dropdown" in box["classes"]
        if long != folds:
            wanted = "needs" if long else "is short and needs no"
            found.append(f"{words(box)} words, {wanted} ':class: dropdown': {first}")
        if folds and (said := idea(box)) is None:
            found.append(f"no '*Idea.*' before the folded proof: {first}")
        elif folds and words(said) > IDEA:
            found.append(f"an idea of {words(said)} words: {said.astext()[:60]}")
    return found


def fold(app, doctree):
    """Give folded proofs a title to open them by, and say what breaks the rule (event
    doctree-read)."""
    for fault in faults(doctree):
        logger.warning(fault, location=app.env.docname)
    for box in proofs(doctree):
        if "dropdown" in box["classes"]:
            start = next(box.findall(nodes.Text))
            start.parent.replace(start, nodes.Text(start.removeprefix("Proof. ")))
            box.insert(0, nodes.title("", "Proof"))
            box["ids"] = []
            box["classes"].append("unnumbered")
            if (said := idea(box)) is not None:
                said["classes"].append("proof-idea")


def setup(app):
    app.connect("doctree-read", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
