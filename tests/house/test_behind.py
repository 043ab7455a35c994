"""What stands below a figure and how a chapter opens, against the files and pages they name."""

import importlib
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from book import BOOK
from bs4 import BeautifulSoup
from docutils import nodes

from iclbook.catalogue import experiments

RESULTS = BOOK / "results"
PAGE = "chapters/ridge/many_heads"


@pytest.fixture(scope="module", autouse=True)
def extensions():
    sys.path.insert(0, str(BOOK / "_ext"))
    yield
    sys.path.remove(str(BOOK / "_ext"))


@pytest.fixture(scope="module")
def behind(extensions):
    return importlib.import_module("behind")


@pytest.fixture(scope="module")
def opening(extensions):
    return importlib.import_module("opening")


# --- below a figure


def test_the_stored_results_that_a_figure_names(behind):
    lines = [
        "loaded: yang2024/fig3 (full), computed 2026-11-27 in 3.8 h",
        "computed live in this cell",
        "loaded: yang2024/fig3 (full), computed 2026-11-27 in 3.8 h",
        "loaded: yang2024/fig3-trained (full), computed 2026-11-27",
        "computed live (quick profile) in 0.1 s",
    ]
    assert behind.ids_in(lines) == ["yang2024/fig3", "yang2024/fig3-trained"]
    assert behind.ids_in([]) == []


@pytest.mark.parametrize("name", ["yang2024/fig4", "ren2024/fig3-trained"])
def test_a_line_links_to_the_files_of_its_result(behind, name):
    found = BeautifulSoup(behind.line(name, PAGE), "html.parser")
    hrefs = [link["href"] for link in found.find_all("a")]
    code, *files = [href.removeprefix("../../") for href in hrefs]
    assert all(href.startswith("../../") for href in hrefs)
    module, anchor = code.split(".html#")
    assert (BOOK / f"{module}.py").is_file()
    assert f"{module.replace('/', '.')}:{anchor}" == experiments()[name].function
    stored = {path.name for path in (RESULTS / name).glob("full.*")}
    assert {Path(file).name for file in files} == {n for n in stored if ".npy" not in n}
    assert all((BOOK / file).is_file() for file in files)
    assert f"iclbook run {name} --force" in found.text
    assert len(found.select("details a")) in (0, len(stored) - 1)


def test_the_cost_is_the_stored_one(behind):
    name = "yang2024/fig4"
    meta = json.loads((RESULTS / name / "full.json").read_text(encoding="utf-8"))
    assert f"{meta['wall_seconds'] / 3600:.1f} h on one thread" in behind.line(name, PAGE)


def test_several_results_are_folded(behind):
    one, two = ["yang2024/fig3"], ["yang2024/fig3", "yang2024/fig3-trained"]
    assert behind.markup(one, PAGE).startswith("<ul")
    assert behind.markup(two, PAGE).startswith("<details")
    assert behind.markup(two, PAGE).count("<li>") == 2


def test_every_function_of_a_study_has_its_place(behind):
    for experiment in experiments().values():
        module, _, function = experiment.function.partition(":")
        text, places = behind.source(module)
        first = text.split("\n")[places[function]]
        assert first.startswith(("def ", "@"))


# --- how a chapter opens


def words(count: int) -> str:
    return " ".join(["word"] * count)


def test_minutes_are_words_outside_folds_and_equations(opening):
    read = nodes.paragraph("", words(360))
    equation = nodes.math_block("", "x = 1")
    fold = nodes.container("", nodes.paragraph("", words(900)), classes=["dropdown"])
    code = nodes.literal_block("", words(900))
    assert opening.minutes(nodes.section("", read, equation, fold, code)) == 2.5
    assert opening.minutes(nodes.section("", equation, equation.deepcopy())) == 1


def test_verdicts_are_the_ledgers(opening):
    shown = BeautifulSoup(opening.verdicts(PAGE), "html.parser")
    rows = [row for row in opening.ledger() if row["chapter"] == "ridge/many_heads"]
    wanted = Counter(row["verdict"] for row in rows)
    found = [re.search(r"(\d+) (.+)", badge.text).groups() for badge in shown.find_all("a")]
    assert {verdict: int(count) for count, verdict in found} == wanted
    ids = {f"#claim-{row['id'].replace('/', '-')}": row["verdict"] for row in rows}
    for badge in shown.find_all("a"):
        assert ids[badge["href"]] in badge.text


@pytest.fixture
def env():
    """Three chapters of a part and one of another: who names whom, and how often."""
    chapters = [f"chapters/{name}" for name in ("ridge/a", "ridge/b", "ridge/c", "dual/d")]
    a, b, c, d = chapters
    counted = {a: {}, b: {a: 1}, c: {a: 1, b: 4}, d: {a: 1, c: 2}}
    found = type("Env", (), {})()
    found.opening_order = chapters
    found.opening_references = {page: Counter(named) for page, named in counted.items()}
    return found


@pytest.mark.parametrize(
    ("page", "before", "after"),
    [("ridge/a", "", "bc"), ("ridge/b", "a", "c"), ("ridge/c", "ab", "d"), ("dual/d", "c", "")],
)
def test_neighbours_are_who_names_whom(opening, env, page, before, after):
    """Once suffices within a part; a chapter of another part is named twice or left out."""
    found = opening.neighbours(env, f"chapters/{page}")
    assert ["".join(name[-1] for name in names) for names in found] == [before, after]


def test_named_main_figures_exist(opening):
    for chapter, name in opening.MAIN.items():
        text = (BOOK / "chapters" / f"{chapter}.ipynb").read_text(encoding="utf-8")
        assert f'"name": "{name}"' in text


# --- where the book has been built

BUILT = BOOK / "_build" / "html"
SITE = pytest.mark.skipif(not (BUILT / "index.html").is_file(), reason="make book has not run")
CHAPTERS = sorted(experiment.chapter for experiment in experiments().values())


@SITE
@pytest.mark.parametrize("chapter", dict.fromkeys(CHAPTERS))
def test_a_built_chapter_opens_with_its_figure_and_has_links_below_figures(behind, chapter):
    text = (BUILT / "chapters" / f"{chapter}.html").read_text(encoding="utf-8")
    page = BeautifulSoup(text, "html.parser")
    assert page.select_one(".opening .opening-figure img")["alt"]
    assert page.select_one(".opening .opening-strip .verdict")
    shown = {code.text.split()[-2] for code in page.select(".behind li > code:last-of-type")}
    loaded = {e.id for e in experiments().values() if f'"{e.id}"' in page.text}
    assert shown and shown <= set(experiments())
    assert loaded & shown
