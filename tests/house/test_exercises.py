"""Exercises of the chapters: five kinds, each with its line and a hint; checks know an answer
without showing it."""

import json
import re
import tomllib
from types import SimpleNamespace

import nbformat
import pytest
from book import BOOK
from exercise_entry import entry

from iclbook import chapter
from iclbook.errors import InputError

KINDS = ("Pen and paper", "Derivation", "Experiment", "Predict, then run", "Open")
LINE = re.compile(
    rf"\*({'|'.join(KINDS)})\. Difficulty ([123]) of 3, (\d+) minutes\.( Needs .+\.)?\*"
)
EXERCISE = re.compile(
    r"```\{exercise-start\}[^\n]*\n:label: (\S+)\n```\n+(.*?)```\{exercise-end\}\n```\n(.*?)"
    r"```\{solution-start\} (\S+)\n(.*?)```\{solution-end\}",
    re.S,
)
HINT = "```{admonition} Hint\n:class: dropdown\n"


def text_of(name: str) -> str:
    """A chapter's cells, one after the other; code stands between lines of its own."""
    cells = nbformat.read(BOOK / "chapters" / f"{name}.ipynb", as_version=4).cells
    return "\n".join(c.source if c.cell_type == "markdown" else f"{c.source}\n" for c in cells)


CHAPTERS = sorted(
    path.relative_to(BOOK / "chapters").with_suffix("").as_posix()
    for part in ("ridge", "dual", "bridge")
    for path in (BOOK / "chapters" / part).glob("*.ipynb")
    if "exercise-start" in path.read_text(encoding="utf-8")
)
FILES = sorted((BOOK / "studies").glob("*/*/exercises.toml"))
ENTRIES = [
    (path.parent.relative_to(BOOK / "studies").as_posix(), label, values)
    for path in FILES
    for label, values in tomllib.loads(path.read_text(encoding="utf-8")).items()
]


def exercise_faults(text: str) -> list[str]:
    """Five exercises of five kinds; each has its line and, unless it is open, a hint."""
    found, faults, kinds = EXERCISE.findall(text), [], []
    for label, body, between, solved, _ in found:
        line = LINE.fullmatch(body.split("\n")[0])
        kinds += [line[1]] if line else []
        faults += [f"{label}: no line of kind, difficulty and minutes"] * (not line)
        faults += [f"{label}: no hint"] * (HINT not in between and kinds[-1:] != ["Open"])
        faults += [f"{label}: the solution is that of {solved}"] * (label != solved)
    starts = text.count("```{exercise-start}")
    faults += [f"{starts} exercises, {len(found)} of them whole"] * (starts != len(found))
    return faults + [f"no exercise is {kind!r}" for kind in KINDS if kind not in kinds]


def test_every_chapter_has_exercises():
    notebooks = (BOOK / "chapters").glob("*/*.ipynb")
    assert set(CHAPTERS) == {f"{path.parent.name}/{path.stem}" for path in notebooks}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_its_exercises(name):
    assert exercise_faults(text_of(name)) == []
    assert name in {where for where, _, _ in ENTRIES}, "no check"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("*Pen and paper. ", "*Pen. ", "no line of kind"),
        (HINT, "", "no hint"),
        ("*Open. ", "*Derivation. ", "no exercise is 'Open'"),
        ("Difficulty 1", "Difficulty 4", "no line of kind"),
        ("```{solution-start} ex-", "```{solution-start} ex-other-", "the solution is that"),
        ("```{solution-end}", "", "of them whole"),
    ],
)
def test_a_poor_exercise_is_seen(old, new, fault):
    text = text_of("dual/one_step")
    assert old in text
    assert any(fault in line for line in exercise_faults(text.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("name", "label", "values"), ENTRIES, ids=[label for _, label, _ in ENTRIES]
)
def test_a_check_belongs_to_an_exercise_which_asserts_its_answer(name, label, values, capsys):
    (parts,) = [each for each in EXERCISE.findall(text_of(name)) if each[0] == label]
    _, _, between, _, solution = parts
    assert f'answer = ...  # your answer\ncheck("{label}", answer);' in between
    assert f'assert check("{label}", ' in solution
    assert set(values) == {"salt", "tolerance", "hashes", "wrong"}
    assert len(values["hashes"]) == (3 if values["tolerance"] else 1)
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in values["hashes"])
    assert len(set(values["wrong"])) >= 2
    assert not any(chapter.check(label, answer) for answer in values["wrong"])
    assert not chapter.check(label, ...)
    assert "no answer yet" in capsys.readouterr().out.splitlines()[-1]


def test_no_two_checks_share_a_label_or_a_salt():
    assert len({label for _, label, _ in ENTRIES}) == len(ENTRIES)
    assert len({values["salt"] for _, _, values in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_cell_checks_only_what_has_an_entry(name):
    used = set(re.findall(r'\bcheck\(\s*"(ex-[\w-]+)"', text_of(name)))
    assert used == {label for where, label, _ in ENTRIES if where == name}


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Puts entries into a book of one chapter, and makes `check` read it."""
    (tmp_path / "part" / "chapter").mkdir(parents=True)
    monkeypatch.setattr(chapter, "studies", lambda: SimpleNamespace(FOLDER=tmp_path))

    def put(*texts):
        (tmp_path / "part" / "chapter" / "exercises.toml").write_text("\n".join(texts))

    return put


@pytest.mark.parametrize("answer", [0.25, -0.25, 3.0e-9, 7.1e12])
def test_a_number_is_accepted_within_its_tolerance_and_refused_beyond_two(book, answer):
    for _ in range(20):
        book(entry("ex-gap", answer, 0.02, [1, 2]))
        for factor in (0.9805, 0.99, 1, 1.01, 1.0195):
            assert chapter.check("ex-gap", answer * factor)
        for factor in (0.95, 1.05, -1, 0):
            assert not chapter.check("ex-gap", answer * factor)


@pytest.mark.parametrize(
    ("answer", "tolerance", "right", "wrong"),
    [
        (0, 0.02, [0, 0.0, -0.0], [1e-9, -1e-9, 1]),
        (4, 0, [4, 4.0, 4 + 1e-12], [4.001, -4, 5]),
        ("b", 0, ["b", "B", " b "], ["a", "", 0]),
    ],
)
def test_zero_whole_numbers_and_words_are_exact(book, answer, tolerance, right, wrong):
    book(entry("ex-gap", answer, tolerance, [1, 2]))
    assert all(chapter.check("ex-gap", each) for each in right)
    assert not any(chapter.check("ex-gap", each) for each in wrong)


def test_nothing_that_a_student_writes_raises_but_an_unknown_label_does(book, capsys):
    book(entry("ex-gap", 4, 0, [1, 2]), entry("ex-other", 0.5, 0.1, [1, 2]))
    for answer in (None, [4], {}, "four", float("nan"), float("inf"), -float("inf"), 1j, max):
        assert chapter.check("ex-gap", answer) is chapter.check("ex-other", answer) is False
    assert "not right yet" in capsys.readouterr().out.splitlines()[-1]
    with pytest.raises(InputError, match="no exercise 'ex-gpa' has a check"):
        chapter.check("ex-gpa", ...)


def test_an_entry_does_not_show_its_answer_and_no_two_are_alike():
    one, two = (entry("ex-gap", 0.1234, 0.02, [0.5]) for _ in range(2))
    assert one != two and "1234" not in json.dumps(tomllib.loads(one)["ex-gap"]["wrong"])
    assert "0.1234" not in one
