"""Table 1 as data: complete, cited, and every property linked to a chapter that exists."""

import re
import tomllib

import nbformat
from book import BOOK

DATA = tomllib.loads((BOOK / "chapters/ridge/related.toml").read_text(encoding="utf-8"))
PROPERTIES = [entry["name"] for entry in DATA["property"]]


def chapter_text():
    cells = nbformat.read(BOOK / "chapters/ridge/related.ipynb", as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_seven_papers_and_six_properties_with_known_marks():
    assert len(PROPERTIES) == len(set(PROPERTIES)) == 6
    assert len({paper["cite"] for paper in DATA["paper"]}) == len(DATA["paper"]) == 7
    for paper in DATA["paper"]:
        assert set(paper["has"]) <= set(PROPERTIES) and len(paper["has"]) == len(
            set(paper["has"])
        )


def test_the_marks_are_those_of_table_1():
    marks = [
        f"{paper['cite']} {''.join('ny'[name in paper['has']] for name in PROPERTIES)}"
        for paper in DATA["paper"]
    ]
    assert marks == [
        "wu2023 nnyyyn",
        "zhang2023 nnyyyn",
        "huang2023 ynyynn",
        "li2024 ynyyyn",
        "chen2024 yynnyn",
        "kim2024 nnynny",
        "yang2024 yyyyyy",
    ]


def test_every_paper_is_cited_and_in_the_bibliography():
    bibliography, text = (BOOK / "references.bib").read_text(encoding="utf-8"), chapter_text()
    for paper in DATA["paper"]:
        assert re.search(rf"^@\w+\{{{paper['cite']},", bibliography, re.M)
        assert f"{{cite}}`{paper['cite']}`" in text


def test_every_property_is_explained_and_linked_to_its_chapter():
    rows = [line for line in chapter_text().splitlines() if line.startswith("| ")]
    for entry in DATA["property"]:
        assert any(
            line.startswith(f"| {entry['name']} |") and f"({entry['chapter']}.ipynb)" in line
            for line in rows
        )
        assert (BOOK / "chapters/ridge" / f"{entry['chapter']}.ipynb").is_file()
