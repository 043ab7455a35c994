"""The six lessons of the teacher's guide, read from its page: what each shows, when, and what
the teacher says."""

import functools
import re
from dataclasses import dataclass

from editions.labels import BOOK
from iclbook.errors import require

PLANNED = re.compile(r"(?m)^\| \[(.+?)\]\(\.\./((?:ridge|dual)/\w+)\.ipynb#[^)]*\) \| (.+) \|$")
TIMED = re.compile(r"(?m)^\| (\d+) \| (\d+) \| (.+) \| ?(.*?) ?\|$")
LABEL = re.compile(r"\{(?:prf:ref|numref|ref|eq)\}`([^`<]+)`")
SECTION = re.compile(r"\[([^\]]+)\]\(\.\./((?:ridge|dual)/\w+)\.ipynb#[^)]*\)")
STEPS = re.compile(r"[Ss]teps? (\d)(?: (?:to|and) (\d))?")


@dataclass(frozen=True)
class Section:
    """A section of a chapter, and what the plan does with it, such as "show the figure"."""

    chapter: str
    heading: str
    do: str

    @property
    def is_shown(self) -> bool:
        """Whether it comes onto the slides: all but what is skipped altogether."""
        return re.match(r"show|board", self.do) is not None


@dataclass(frozen=True)
class Block:
    """A row of the table of minutes: what happens, and the labels, sections and other pages
    that it names."""

    start: int
    minutes: int
    what: str
    labels: tuple[str, ...]
    sections: tuple[tuple[str, str], ...]
    pages: tuple[str, ...]

    @property
    def steps(self) -> range:
        """The steps that go to the board."""
        found = STEPS.search(self.what)
        return range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)


@dataclass(frozen=True)
class Lesson:
    """A lesson: its parts as the guide has them, in MyST."""

    number: int
    title: str
    text: str
    goals: str
    sections: tuple[Section, ...]
    blocks: tuple[Block, ...]
    board: dict[int, str]
    demo: str
    misconceptions: tuple[tuple[str, str], ...]
    homework: str

    @property
    def chapters(self) -> tuple[str, ...]:
        """The chapters whose sections it plans."""
        return tuple(dict.fromkeys(section.chapter for section in self.sections))


@functools.cache
def lessons() -> tuple[Lesson, ...]:
    """The guide's lessons, in order."""
    page = (BOOK / "chapters" / "back" / "guide_lessons.md").read_text(encoding="utf-8")
    texts = re.split(r"(?m)^\(lesson-\d\)=\n", page)[1:]
    return tuple(_lesson(text.strip()) for text in texts)


def _lesson(text: str) -> Lesson:
    title = re.match(r"## Lesson (\d): (.+)", text)
    require(title is not None, f"a lesson begins with {text[:40]!r}")
    pieces = re.split(r"(?m)^### (.+)\n", text)
    part = dict(zip(pieces[1::2], pieces[2::2]))
    steps = re.split(r"(?m)^(?=\*\*Step (\d))", part["Board"])
    wrong = re.findall(r"(?m)^\* (\*\".+?\"\*)(.*)$", part["Misconceptions"])
    return Lesson(
        number=int(title[1]),
        title=title[2],
        text=text,
        goals=part["Goals"].strip(),
        sections=tuple(
            Section(c, h, do) for h, c, do in PLANNED.findall(part["Show and skip"])
        ),
        blocks=tuple(_block(*row) for row in TIMED.findall(part["Timing"])),
        board={int(n): body.strip() for n, body in zip(steps[1::2], steps[2::2])},
        demo=part["Live demo"].strip(),
        misconceptions=tuple((quote, answer.strip(" ,")) for quote, answer in wrong),
        homework=part["Homework"].strip(),
    )


def _block(start: str, minutes: str, what: str, where: str) -> Block:
    """A row of the table of minutes; labels may stand in either column."""
    sections = tuple((chapter, heading) for heading, chapter in SECTION.findall(where))
    labels = tuple(LABEL.findall(where))
    pages = tuple(f"back/{page}" for page in re.findall(r"\{doc\}`(\w+)`", where))
    return Block(int(start), int(minutes), what, labels, sections, pages)
