"""A chapter's text as a tree of nodes, without Sphinx: for what is counted on it."""

import re
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives, roles
from myst_parser.docutils_ import Parser
from sphinx_proof.directive import ProofDirective

EXTENSIONS = ["amsmath", "colon_fence", "deflist", "dollarmath", "tasklist"]
HELD = r"(?ms)^```\{(exercise|solution)-start\}.*?^```\{\1-end\}\n```$"
TWO_WORDS = ("numref", "prf:ref")  # "Fig. 1.2", "Lemma 3.4"


class Block(Directive):
    """Any directive: its title and what it holds, and its classes."""

    has_content, optional_arguments, final_argument_whitespace = True, 1, True
    option_spec = dict.fromkeys(("label", "name", "alt", "nonumber"), directives.unchanged)
    option_spec["class"] = directives.class_option

    def run(self):
        box = nodes.container(classes=[self.name, *self.options.get("class", ())])
        if self.name.startswith(("prf:", "admonition")):
            box += nodes.paragraph("", " ".join(self.arguments))
        self.state.nested_parse(self.content, self.content_offset, box)
        return [box]


def role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """Any role: its own words, or as many as the page shows in their place."""
    shown = text.partition("<")[0].strip() or "shown"
    shown = shown if "<" in text else "Name 1.1" if name in TWO_WORDS else "shown"
    return [nodes.Text(shown)], []


def tree(text: str) -> nodes.document:
    """MyST as nodes; exercises and solutions are left out."""
    text = re.sub(HELD, "", text)
    for name in {"admonition", *re.findall(r"(?m)^[`:]{3,}\{([\w:-]+)\}", text)}:
        directives.register_directive(name, ProofDirective if name == "prf:proof" else Block)
    for name in set(re.findall(r"\{([\w:-]+)\}`", text)):
        roles.register_local_role(name, role)
    quiet = {"report_level": 5, "halt_level": 5, "myst_enable_extensions": EXTENSIONS}
    return publish_doctree(text, parser=Parser(), settings_overrides=quiet)


def chapter_tree(path: Path) -> nodes.document:
    """The Markdown of a notebook, or of a page that is one text."""
    if path.suffix == ".md":
        return tree(path.read_text(encoding="utf-8"))
    cells = nbformat.read(path, as_version=4).cells
    return tree("\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))
