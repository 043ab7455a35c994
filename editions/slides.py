"""Slides of the six lessons, from the teacher's guide and the chapters that it plans.

    python -m editions.slides        # _build/slides/lesson1.html to lesson6.html
    python -m editions.slides 3      # one of them

A lesson's slides come in the order of its minutes. They hold what is shown: statements,
displayed equations, tables, figures; questions, demo and misconceptions from the guide. What
the teacher says, asks and writes on the board stands in the speaker's notes.
"""

import html
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

from editions.labels import BOOK, titles
from editions.lessons import Block, Lesson, Section, lessons
from editions.plain import page_source, plain, words
from editions.showing import Item, drawn, live, shown
from iclbook.claim import all_claims
from iclbook.errors import InputError

GUIDE = "back/guide_lessons"
HERE = Path(__file__).parent
ASSETS = (
    *("vendor/reveal.js", "vendor/reveal.css", "vendor/reveal-notes.js"),
    *("vendor/reveal-LICENSE", "vendor/mathjax-LICENSE", "vendor/mathjax-tex-svg-full.js"),
    *("hand.css", "hand.js", "hand"),
)
# The kinds that a word of the plan lets onto the slides; any other plan shows them all.
SHOWN = {
    "figure": {"figure", "hand"},
    "table": {"table"},
    "theorem": {"statement"},
    "proposition": {"statement"},
    "formula": {"equation", "note"},
    "task": {"equation", "table"},
}
ALL = {"statement", "equation", "table", "figure", "hand", "note"}
ON_BOARD = {"statement"}
ASKS = re.compile(r"[Gg]uess|Exit question|vote")


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


def chosen(section: Section, named: set[str]) -> list[Item]:
    """What of a section comes onto the slides, by the words of the plan; what the table of
    minutes names always does."""
    items = shown(section.chapter)[section.heading]
    plan = re.split(r"; skip|, skip|skip", section.do)[0]
    kinds = set().union(*(kinds for word, kinds in SHOWN.items() if word in plan))
    kinds |= ALL if plan.strip(" ;,.") == "show" else set()
    kinds |= ON_BOARD if plan.startswith("board") else set()
    in_time = [item for item in items if item.label in named]
    drawn_kinds = {"figure", "hand"}
    if "figure" in plan and any(item.kind in drawn_kinds for item in in_time):
        kinds -= drawn_kinds
    if "one proposition" in plan and any(item.kind == "statement" for item in in_time):
        kinds -= {"statement"}
    found = [item for item in items if item.kind in kinds or item in in_time]
    return found or [item for item in items if item.kind == "words"][:1]


def block_of(item: Item, chapter: str, pictures: dict) -> tuple[str, str]:
    """An item's HTML and what it adds to the notes."""
    if item.kind == "figure":
        picture, profile = pictures.get(item.label, ("", "full"))
        caption = words(item.source, chapter)
        first, *rest = re.split(r"(?<=[.?!]) (?=[A-Z$])", caption, maxsplit=1)
        small = "" if profile == "full" else " <em>(quick profile: a smaller version)</em>"
        image = f'<img alt="{html.escape(first)}" src="data:image/png;base64,{picture}">'
        return f"{image}<p class='caption'>{inline(first)}{small}</p>", "".join(rest)
    if item.kind == "hand":
        name = re.match(r"`+\{hand\} (\S+)", item.source)[1]
        alt = re.search(r"(?m)^:alt: (.+)$", item.source)[1]
        caption = plain(item.source, chapter).split("\n")[-1]
        return live(name, alt), caption
    return markdown(plain(item.source, chapter)), ""


def order(lesson: Lesson) -> list[tuple[Block, list[Section]]]:
    """The blocks of the minutes, each with the sections that come up in it: those it names
    something of, and after each the planned sections that no block names."""
    places, last = {}, 0
    for section in lesson.sections:
        labels = {item.label for item in shown(section.chapter)[section.heading]} - {""}
        here = [
            number
            for number, block in enumerate(lesson.blocks)
            if labels & set(block.labels)
            or (section.chapter, section.heading) in block.sections
        ]
        last = places[section] = here[0] if here else last
    planned = [section for section in lesson.sections if section.is_shown]
    return [
        (block, [section for section in planned if places[section] == number])
        for number, block in enumerate(lesson.blocks)
    ]


def slides_of(lesson: Lesson, pictures: dict) -> list[Slide]:
    """A lesson's slides, in order."""
    named = {label for block in lesson.blocks for label in block.labels}
    made = [Slide(f"Lesson {lesson.number}: {lesson.title}", kind="title")]
    made[0].blocks = [markdown(plain(lesson.goals, GUIDE))]
    made[0].notes = ["Before the class comes in: run the first cell of the notebook."]
    for block, sections in order(lesson):
        said = f"**Minute {block.start}, {block.minutes} min.** {words(block.what, GUIDE)}"
        said = [said, *(plain(lesson.board[step], GUIDE) for step in block.steps)]
        made += closing(lesson) if block is lesson.blocks[-1] else []
        added = extra(lesson, block)
        for section in sections:
            added.append(section_slide(section, named, pictures))
        added = added or [Slide(words(block.what, GUIDE), kind="question")]
        added[0].notes[:0] = said
        made += added
    return made


def section_slide(section: Section, named: set[str], pictures: dict) -> Slide:
    """The slide of a planned section, before the script splits it."""
    slide = Slide(words(section.heading, section.chapter))
    slide.notes.append(f"*{titles()[section.chapter]}*. Plan: {words(section.do, GUIDE)}.")
    for item in chosen(section, named):
        block, note = block_of(item, section.chapter, pictures)
        slide.blocks.append(block)
        slide.notes += [note] if note else []
    return slide


def extra(lesson: Lesson, block: Block) -> list[Slide]:
    """What a block brings beside sections: a question, the demo, figures of other pages."""
    found = []
    if ASKS.search(block.what):
        found.append(Slide("Your guess", [f"<p>{inline(words(block.what, GUIDE))}</p>"]))
        found[-1].kind = "question"
    if "fig-hand-opener" in block.labels:
        source = re.search(r"(?ms)^```\{hand\} opener.*?^```$", page_source("preface"))[0]
        picture, note = block_of(Item("hand", "fig-hand-opener", source), "preface", {})
        found.append(Slide(words(block.what.split(".")[0], GUIDE), [picture], [note]))
    if "Live demo" in block.what:
        changes = re.findall(r"(?ms)^```diff\n(.*?)^```$", lesson.demo)
        blocks = [f"<pre>{html.escape(change)}</pre>" for change in changes]
        found.append(Slide("Live demo", blocks, [plain(lesson.demo, GUIDE)], "demo"))
    return found


def closing(lesson: Lesson) -> list[Slide]:
    """Summaries, verdicts, misconceptions and homework."""
    made = []
    for chapter in lesson.chapters:
        source = re.search(r"(?ms)^## Summary\n(.*?)(?=^## |\Z)", page_source(chapter))[1]
        heading = f"Summary: {titles()[chapter]}"
        made.append(
            Slide(heading, [markdown(part) for part in bullets(plain(source, chapter))])
        )
        made.append(Slide(f"Claims: {titles()[chapter]}", [verdicts(chapter)]))
    wrong = [f"<p>{inline(words(quote, GUIDE))}</p>" for quote, _ in lesson.misconceptions]
    answers = [f"* {words(f'{q} {a}', GUIDE)}" for q, a in lesson.misconceptions]
    made.append(Slide("True or false?", wrong, ["\n".join(answers)], "question"))
    made.append(Slide("Homework", [markdown(plain(lesson.homework, GUIDE))]))
    return made


def bullets(text: str) -> list[str]:
    """The points of a list, each alone, so that a long list can be split."""
    return [part for part in re.split(r"(?m)^(?=\* )", text.strip()) if part]


def verdicts(chapter: str) -> str:
    """How many claims of a chapter are recorded as reproduced, and which are not."""
    claims = [claim for claim in all_claims().values() if claim.chapter == chapter]
    good = sum(claim.verdict == "reproduced" for claim in claims)
    lines = [f"* **{good} of {len(claims)}** claims reproduced"]
    lines += [f"* {c.item}: **{c.verdict}**" for c in claims if c.verdict != "reproduced"]
    return markdown("\n".join(lines))


def wanted_figures(lesson: Lesson) -> dict[str, set[str]]:
    """{chapter: names of the figures that its code draws for the lesson}."""
    named = {label for block in lesson.blocks for label in block.labels}
    found = {}
    for section in lesson.sections:
        items = chosen(section, named) if section.is_shown else []
        names = {item.label for item in items if item.kind == "figure"}
        found[section.chapter] = found.get(section.chapter, set()) | names
    return {chapter: names for chapter, names in found.items() if names}


def page(lesson: Lesson, pictures: dict) -> str:
    """The HTML page of a lesson."""
    made = "\n".join(slide.as_html() for slide in slides_of(lesson, pictures))
    hands = dict.fromkeys(re.findall(r'data-hand="(\w+)"', made))
    scripts = "\n".join(f'<script defer src="assets/hand/{h}.js"></script>' for h in hands)
    title = html.escape(f"Lesson {lesson.number}: {lesson.title}")
    text = (HERE / "slides.html").read_text(encoding="utf-8")
    return Template(text).substitute(title=title, slides=made, hands=scripts)


def write(lesson: Lesson, pictures: dict, folder: Path = BOOK / "_build" / "slides") -> Path:
    """Writes a lesson's page and what it needs; returns its path."""
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    for name in ASSETS:
        source, target = BOOK / "assets" / name, folder / "assets" / Path(name).name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
    for name in ("slides.css", "slides.js"):
        shutil.copy(HERE / name, folder / "assets")
    path = folder / f"lesson{lesson.number}.html"
    path.write_text(page(lesson, pictures), encoding="utf-8")
    return path


def main() -> None:
    """Makes the slides of the lessons named on the command line, or of all."""
    wanted = set(map(int, sys.argv[1:])) or {lesson.number for lesson in lessons()}
    drawings: dict[str, dict] = {}
    chosen_lessons = [lesson for lesson in lessons() if lesson.number in wanted]
    try:
        for lesson in chosen_lessons:
            for chapter, names in wanted_figures(lesson).items():
                drawings |= drawn(chapter, names)
            print(write(lesson, drawings).relative_to(BOOK), flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
