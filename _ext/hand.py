"""Figures that a reader moves: the directive `hand`.

    ```{hand} penalties
    :name: fig-hand-penalties
    :alt: What the still picture shows.
    The caption.
    ```

The page gets the figure's numbers as JSON, a still picture of them for whoever has no script or
a sheet of paper, and the scripts of its own figures only. Nothing is typed in: the numbers are
those of hand_figures.py, computed once a build.
"""

import base64
import functools
import json
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from hand_figures import FIGURES
from hand_stills import picture
from sphinx.util.docutils import SphinxDirective

numbers = functools.cache(lambda name: FIGURES[name]())


def as_json(name: str) -> str:
    """A figure's numbers, fit to stand in a script element."""
    return json.dumps(numbers(name), separators=(",", ":"), allow_nan=False).replace(
        "<", "\\u003c"
    )


@functools.cache
def markup(name: str, alt: str) -> str:
    """The still picture, the numbers, and the line that says where they come from."""
    still = base64.b64encode(picture(name, numbers(name))).decode("ascii")
    return (
        f'<div class="hand" data-hand="{name}">'
        f'<img class="hand-still" alt="{escape(alt)}" src="data:image/svg+xml;base64,{still}">'
        f'<script type="application/json">{as_json(name)}</script></div>'
        f'<p class="hand-source">{escape(numbers(name)["provenance"])}</p>'
    )


def anchors(name: str, label: str) -> str:
    """Where the links to a figure's steps lead: to the figure, without a script too."""
    count = len(numbers(name)["steps"]) if "code" in numbers(name) else 0
    return "".join(f'<span id="{label}-step-{i}"></span>' for i in range(1, count + 1))


class Hand(SphinxDirective):
    """A numbered figure; its content is the caption."""

    required_arguments = 1
    has_content = True
    option_spec = {  # noqa: RUF012
        "name": directives.unchanged_required,
        "alt": directives.unchanged_required,
    }

    def run(self):
        name = self.arguments[0]
        if (
            name not in FIGURES
            or not {"name", "alt"} <= self.options.keys()
            or not self.content
        ):
            known = ", ".join(FIGURES)
            raise self.error(
                f"a hand figure is one of {known}, with :name:, :alt: and a caption"
            )
        alt = " ".join(self.options["alt"].split())
        figure = nodes.figure(classes=["hand-figure"])
        figure += nodes.raw("", anchors(name, self.options["name"]), format="html")
        figure += nodes.raw("", markup(name, alt), format="html")
        words, _ = self.state.inline_text(" ".join(self.content), self.lineno)
        figure += nodes.caption("", "", *words)
        self.set_source_info(figure)
        self.add_name(figure)
        self.env.metadata[self.env.docname].setdefault("hand", []).append(name)
        return [figure]


def add_files(app, pagename, templatename, context, doctree):
    """A page gets the scripts of its own figures (event html-page-context)."""
    names = app.env.metadata.get(pagename, {}).get("hand", [])
    if names:
        app.add_css_file("hand.css")
        app.add_js_file("hand.js", loading_method="defer")
    for name in dict.fromkeys(names):
        app.add_js_file(f"hand/{name}.js", loading_method="defer")


def setup(app):
    app.add_directive("hand", Hand)
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
