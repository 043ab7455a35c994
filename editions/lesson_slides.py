"""Which slides a lesson has, and in what order: that of its minutes.

A slide holds what is shown: statements, displayed equations, tables, figures; questions, demo
and misconceptions from the guide. What the teacher says, asks and writes on the board stands in
the speaker's notes.
"""

import functools
import html
import re
from typing import NamedTuple

from editions.contents import claims
from editions.labels import chapters, titles
from editions.lessons import Block, Lesson, Section
from editions.plain import page_source, plain, words
from editions.showing import Item, live, shown
from editions.to_html import Slide, inline, markdown

GUIDE = "back/guide_lessons"
# The kinds that a word of the plan lets onto the slides.
BY_WORD = {
    "figure": {"figure", "hand"},
    "table": {"table"},
    "theorem": {"statement"},
    "proposition": {"statement"},
    "formula": {"equation", "note"},
    "task": {"equation", "table"},
}
ALL = {"statement", "equation", "table", "figure", "hand", "note"}
DRAWN = {"figure", "hand"}
QUESTION = re.compile(r"(Guess|guesses|Exit question)(?: and vote| in writing)?: (.+)")


class Placed(NamedTuple):
    """What comes up in one block of the minutes: items of one section, or of another page."""

    heading: str
    page: str
    do: str
    items: tuple[Item, ...]


def chosen(section: Section, named: set[str]) -> list[Item]:
    """What of a section comes onto the slides, by the words of the plan; what the table of
    minutes names always does."""
    items = shown(section.chapter)[section.heading]
    plan = re.split(r"[;,] skip", section.do)[0]
    in_time = {item for item in items if item.label in named}
    kinds = set().union(*(kinds for word, kinds in BY_WORD.items() if word in plan))
    kinds |= ALL if plan == "show" else set()
    if plan.startswith("board"):
        kinds |= {"statement"} if not _any(in_time, {"statement"}) else {"definition"}
    if "figure" in plan and _any(in_time, DRAWN):
        kinds -= DRAWN
    if "one proposition" in plan and _any(in_time, {"statement"}):
        kinds -= {"statement"}
    found = [item for item in items if item in in_time or {item.kind, item.narrow} & kinds]
    return found or sorted(items, key=lambda item: item.kind not in ("equation", "table"))[:1]


def _any(items: set[Item], kinds: set[str]) -> bool:
    return any(item.kind in kinds for item in items)


@functools.cache
def place_of(label: str) -> tuple[str, Item] | None:
    """The page and the item that has a label, if it is one that can be shown."""
    for page in ("preface", *chapters()):
        source = [Item("hand", "fig-hand-opener", "")] if page == "preface" else []
        for item in source or [i for part in shown(page).values() for i in part]:
            if item.label == label:
                return page, item
    return None


def order(lesson: Lesson) -> list[tuple[Block, list[Placed]]]:
    """The blocks of the minutes, each with what comes up in it. An item comes where a block
    names it, the rest of its section where the section is first touched, or after the section
    before it."""
    named = {label for block in lesson.blocks for label in block.labels}
    slots: list[list[Placed]] = [[] for _ in lesson.blocks]
    seen, last = set(), 0
    for section in lesson.sections:
        items = chosen(section, named) if section.is_shown else []
        places = {item: _first(lesson, item.label) for item in items}
        own = [n for n, b in enumerate(lesson.blocks) if _names(b, section)]
        own += [place for place in places.values() if place is not None]
        last = min(own) if own else last
        seen |= {item.label for item in items}
        for slot in sorted({last if p is None else p for p in places.values()}):
            here = [i for i in items if (last if places[i] is None else places[i]) == slot]
            heading = section.heading if slot == last else _later(lesson.blocks[slot], section)
            slots[slot].append(Placed(heading, section.chapter, section.do, tuple(here)))
    for slot, block in zip(slots, lesson.blocks):
        for label in block.labels:
            if label not in seen and (found := place_of(label)):
                page, item = found
                slot.insert(0, Placed(_recalled(block), page, "recall", (item,)))
    return list(zip(lesson.blocks, slots))


def _first(lesson: Lesson, label: str) -> int | None:
    """The first block that names a label."""
    found = [n for n, block in enumerate(lesson.blocks) if label and label in block.labels]
    return found[0] if found else None


def _names(block: Block, section: Section) -> bool:
    return (section.chapter, section.heading) in block.sections


def _later(block: Block, section: Section) -> str:
    """A heading for what comes up in another block than the rest of its section: what the
    block says after the steps of the board, or else the section's."""
    words_there = re.fullmatch(r"Board, steps? [^:]+: (\w)(.+)", block.what)
    return words_there[1].upper() + words_there[2] if words_there else section.heading


def _recalled(block: Block) -> str:
    """A heading for what stands on another page: the block's first words."""
    return re.split(r"[.:;] ", block.what)[0]


def slides_of(lesson: Lesson, pictures: dict) -> list[Slide]:
    """A lesson's slides, in order. pictures: {figure: (PNG in base64, profile)}; a figure that
    is not among them stays empty."""
    made = [Slide(f"Lesson {lesson.number}: {lesson.title}", kind="title")]
    read = "; ".join(f"*{titles()[chapter]}*" for chapter in lesson.chapters)
    made[0].blocks = [markdown(plain(lesson.goals, GUIDE)), markdown(f"To read: {read}")]
    made[0].notes = ["Before the class comes in, run the cell of imports."]
    *blocks, (end, _) = order(lesson)
    for block, placed in blocks:
        added = _asked(block) + [placed_slide(each, pictures) for each in placed]
        added += [_demo(lesson, block)] if "Live demo" in block.what else []
        added = added or [_otherwise(block)]
        added[0].notes[:0] = said(lesson, block)
        made += added
    finish = closing(lesson)
    finish[0].notes[:0] = said(lesson, end)
    return made + finish


def said(lesson: Lesson, block: Block) -> list[str]:
    """The notes of a block: its minute, its words, the steps that go to the board."""
    first = f"**Minute {block.start}, {block.minutes} min.** {words(block.what, GUIDE)}"
    return [first, *(plain(lesson.board[step], GUIDE) for step in block.steps)]


def placed_slide(placed: Placed, pictures: dict) -> Slide:
    """The slide of what comes up in a block, before the script splits it."""
    slide = Slide(words(placed.heading, placed.page))
    plan = words(placed.do, GUIDE)
    slide.notes.append(f"From *{titles()[placed.page]}*; plan: {plan}.")
    for item in placed.items:
        block, note = block_of(item, placed.page, pictures)
        slide.blocks.append(block)
        slide.notes += [note] if note else []
    return slide


def block_of(item: Item, page: str, pictures: dict) -> tuple[str, str]:
    """An item's HTML and what it adds to the notes."""
    if item.kind == "figure":
        picture, profile = pictures.get(item.label, ("", "full"))
        first, *rest = re.split(r"(?<=[.?!]) (?=[A-Z$])", words(item.source, page), maxsplit=1)
        small = "" if profile == "full" else " <em>(quick profile: a smaller version)</em>"
        image = f'<img alt="{html.escape(first)}" src="data:image/png;base64,{picture}">'
        return f"{image}<p class='caption'>{inline(first)}{small}</p>", "".join(rest)
    if item.kind == "hand":
        pattern = rf"(?ms)^```\{{hand\}} (\w+)\n:name: {item.label}\n:alt: ([^\n]+)\n(.*?)^```$"
        found = re.search(pattern, page_source(page))
        return live(found[1], found[2]), plain(found[3], page)
    return markdown(plain(item.source, page)), ""


def _asked(block: Block) -> list[Slide]:
    """The question that a block puts to the class, on a slide of its own."""
    if not (found := QUESTION.search(block.what)):
        return []
    heading = "Exit question" if found[1] == "Exit question" else "Your guess"
    question = re.sub(r"(?<=\?)[^?]*$", "", words(found[2], GUIDE))
    return [
        Slide(heading, [f"<p>{inline(question[0].upper() + question[1:])}</p>"], [], "question")
    ]


def _otherwise(block: Block) -> Slide:
    """The slide of a block that shows nothing of a chapter: headings of the page it names."""
    text = "\n\n".join(map(page_source, block.pages))
    headings = re.findall(r"(?m)^## (.+)$", text)
    blocks = [markdown(f"* {words(heading, block.pages[0])}") for heading in headings]
    return Slide(words(block.what, GUIDE), blocks, kind="section" if blocks else "question")


def _demo(lesson: Lesson, block: Block) -> Slide:
    """What the teacher asks, and the line that changes, which comes up one key later."""
    blocks = []
    for before, change in re.findall(r"(?ms)(.*?)^```diff\n(.*?)^```$", lesson.demo):
        asked = re.findall(r"\bAsk w(.+?)\.(?=\s)", before)
        blocks += [f"<p>{inline(words(f'W{question}?', GUIDE))}</p>" for question in asked]
        later = ' class="fragment"' if asked else ""
        blocks.append(f"<pre{later}>{html.escape(change)}</pre>")
    return Slide(words(block.what, GUIDE), blocks, [plain(lesson.demo, GUIDE)], "demo")


def closing(lesson: Lesson) -> list[Slide]:
    """Misconceptions, summaries with verdicts, and homework."""
    wrong = [f"<p>{inline(words(quote, GUIDE))}</p>" for quote, _ in lesson.misconceptions]
    answers = [f"* {words(f'{q} {a}', GUIDE)}" for q, a in lesson.misconceptions]
    made = [Slide("True or false?", wrong, ["\n".join(answers)], "question")]
    for chapter in lesson.chapters:
        source = re.search(r"(?ms)^## Summary\n(.*?)(?=^## |\Z)", page_source(chapter))[1]
        heading = f"Summary: {titles()[chapter]}"
        blocks = [markdown(part) for part in points(plain(source, chapter))]
        made.append(Slide(heading, [*blocks, *verdicts(chapter)]))
    made.append(Slide("Homework", [markdown(plain(lesson.homework, GUIDE))]))
    return made


def points(text: str) -> list[str]:
    """The points of a list, each alone, so that a long list can be split."""
    return [part for part in re.split(r"(?m)^(?=\* )", text.strip()) if part]


def verdicts(chapter: str) -> list[str]:
    """How many claims of a chapter are recorded as reproduced, and which are not."""
    own = [claim for claim in claims() if claim.chapter == chapter]
    good = sum(claim.verdict == "reproduced" for claim in own)
    others: dict[str, list[str]] = {}
    for claim in own:
        others.setdefault(claim.verdict, []).append(claim.id.split("/")[1])
    others.pop("reproduced", None)
    text = f"**Claims.** {good} of {len(own)} reproduced."
    text += "".join(f" *{verdict}*: {', '.join(ids)}." for verdict, ids in others.items())
    return [markdown(text)]


def wanted_figures(lesson: Lesson) -> dict[str, set[str]]:
    """{chapter: names of the figures that its code draws for the lesson}."""
    found = {}
    for _, slots in order(lesson):
        for placed in slots:
            names = {item.label for item in placed.items if item.kind == "figure"}
            found[placed.page] = found.get(placed.page, set()) | names
    return {chapter: names for chapter, names in found.items() if names}
