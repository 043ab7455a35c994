"""Plain Markdown as HTML whose mathematics MathJax sets, and a slide made of it."""

import functools
import html
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin


@dataclass
class Slide:
    """A heading, blocks of HTML below it, and what the speaker says."""

    heading: str
    blocks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kind: str = "section"

    def as_html(self) -> str:
        """A section of reveal.js. The script splits it where it does not fit."""
        body = "\n".join(f'<div class="block">{block}</div>' for block in self.blocks)
        notes = markdown("\n\n".join(self.notes))
        return (
            f'<section class="{self.kind}"><h2>{inline(self.heading)}</h2>\n{body}\n'
            f'<aside class="notes">{notes}</aside></section>'
        )


@functools.cache
def _markdown_it() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": True}).enable("table")
    made.use(dollarmath_plugin, double_inline=True).use(amsmath_plugin)
    tex = {
        "math_inline": (r"\(", r"\)"),
        "math_inline_double": (r"\[", r"\]"),
        "math_block": (r"\[", r"\]"),
        "amsmath": ("", ""),
    }
    for rule, (start, end) in tex.items():
        made.add_render_rule(rule, _as_tex(start, end))
    return made


def _as_tex(start: str, end: str):
    def render(self, tokens, place, options, env):
        return f"{start}{html.escape(tokens[place].content.strip(), quote=False)}{end}"

    return render


def markdown(text: str) -> str:
    """Plain Markdown as HTML, its mathematics left to MathJax."""
    return _markdown_it().render(text)


def inline(text: str) -> str:
    """One line of plain Markdown as HTML."""
    return _markdown_it().renderInline(text)
