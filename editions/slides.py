"""Slides of the six lessons, from the teacher's guide and the chapters that it plans.

    python -m editions.slides        # _build/slides/lesson1.html to lesson6.html
    python -m editions.slides 3      # one of them

They ask no other host: reveal.js and MathJax lie beside them.
"""

import html
import re
import shutil
import sys
from pathlib import Path
from string import Template

from editions.labels import BOOK
from editions.lesson_slides import slides_of, wanted_figures
from editions.lessons import Lesson, lessons
from editions.showing import drawn
from iclbook.errors import InputError

HERE = Path(__file__).parent
ASSETS = (
    *("vendor/reveal.js", "vendor/reveal.css", "vendor/reveal-notes.js"),
    *("vendor/reveal-LICENSE", "vendor/mathjax-LICENSE", "vendor/mathjax-tex-svg-full.js"),
    *("hand.css", "hand.js", "hand"),
)


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
