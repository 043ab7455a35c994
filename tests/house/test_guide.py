"""The instructor's guide against the chapters: what a plan names exists, minutes and marks add
up, demos do what the plan says, and reading times follow from the words."""

import contextlib
import functools
import io
import json
import math
import re

import matplotlib
import pytest
import torch
from book import BOOK

CHAPTERS = BOOK / "chapters"
GUIDE = CHAPTERS / "back"
PARTS = ["Goals", "Show and skip", "Timing", "Board", "Live demo", "Misconceptions", "Homework"]
CLOSING = {"What differs from the paper", "Claims", "Summary", "Exercises"}
LINK = re.compile(r"\[([^\]]+)\]\(\.\./((?:ridge|dual)/\w+)\.ipynb#[^)]*\)")
ROLE = re.compile(r"\{(?:prf:ref|numref|ref|eq)\}`([^`<]+)`")


def page(name: str) -> str:
    return (GUIDE / f"{name}.md").read_text(encoding="utf-8")


@functools.cache
def cells(chapter: str, kind: str) -> list[str]:
    """The sources of a chapter's cells of one kind."""
    notebook = json.loads((CHAPTERS / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == kind]


@functools.cache
def sections(chapter: str) -> dict[str, str]:
    """{heading of second level: its text}; the opening has the name ""."""
    parts = re.split(r"(?m)^## (.+)$", "\n\n".join(cells(chapter, "markdown")))
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2]))}


def known_labels() -> set[str]:
    """Whatever a chapter or the home page lets others refer to."""
    label = r"(?m)^:(?:label|name): (\S+)$|^\((\S+)\)=$|^\$\$ \((\S+)\)$"
    texts = [(CHAPTERS / "preface.md").read_text(encoding="utf-8")]
    figures = []
    for path in CHAPTERS.glob("*/*.ipynb"):
        chapter = path.relative_to(CHAPTERS).with_suffix("").as_posix()
        texts += cells(chapter, "markdown")
        figures += re.findall(r'"name": "(fig-[\w-]+)"', path.read_text(encoding="utf-8"))
    found = [group for text in texts for groups in re.findall(label, text) for group in groups]
    return {*found, *figures} - {""}


def lessons(text: str) -> list[str]:
    return re.split(r"(?m)^\(lesson-\d\)=\n", text)[1:]


def timing_faults(text: str) -> list[str]:
    """A table of minutes begins at 0, has no gap and ends at 90."""
    rows = [tuple(map(int, row)) for row in re.findall(r"(?m)^\| (\d+) \| (\d+) \|", text)]
    clock, faults = 0, []
    for start, minutes in rows:
        if start != clock:
            faults.append(f"a block starts at {start}, the one before ends at {clock}")
        clock = start + minutes
    return faults + [f"ends at {clock}, not 90"] * (clock != 90)


def lesson_faults(text: str, known: set[str]) -> list[str]:
    """A lesson has its parts, its minutes, and names only what the chapters have."""
    found = re.findall(r"(?m)^### (.+)$", text)
    faults = [f"parts are {found}"] * (found != PARTS)
    faults += timing_faults(text)
    faults += [f"no label {name}" for name in ROLE.findall(text) if name not in known]
    plan = text.partition("### Show and skip")[2].partition("### Timing")[0]
    planned = [(chapter, heading) for heading, chapter in LINK.findall(plan)]
    for chapter in dict.fromkeys(chapter for chapter, _ in planned):
        here = {heading for name, heading in planned if name == chapter}
        wanted = set(sections(chapter)) - CLOSING - {""}
        faults += [f"{chapter}: {heading!r} is not planned" for heading in wanted - here]
        faults += [f"{chapter}: no section {heading!r}" for heading in here - wanted]
    code = "\n".join(cell for chapter, _ in planned for cell in cells(chapter, "code"))
    old = re.findall(r"(?m)^-(\S.*)$", "".join(re.findall(r"(?s)```diff\n(.*?)```", text)))
    faults += [f"no line {line!r} to change" for line in old if line not in code]
    homework = text.partition("### Homework")[2]
    return faults + ["no exercise"] * ("{ref}`ex-" not in homework) + ["no demo"] * (not old)


def mark_faults(text: str) -> list[str]:
    """The marks of each scheme add up to its question's, those of all questions to 100."""
    parts = re.split(r"(?m)^### \d+\. .+\((\d+) marks\)$", text)
    marks, faults = [int(m) for m in parts[1::2]], []
    for number, (mark, body) in enumerate(zip(marks, parts[2::2]), start=1):
        given = sum(map(int, re.findall(r"(?m)^\| [^|\n]+ \| (\d+) \|$", body)))
        faults += [f"question {number}: {given} of {mark} marks"] * (given != mark)
        faults += [f"question {number}: no answer"] * ("{dropdown} Model answer" not in body)
    return faults + [f"{sum(marks)} marks in all"] * (sum(marks) != 100 or len(marks) < 8)


def minutes(text: str) -> float:
    """Reading time: 180 words a minute, half a minute an equation; no folds but proofs."""
    text = re.sub(r"(?ms)^```\{admonition\}[^\n]*\n:class: dropdown.*?^```$", "", text)
    equations = len(re.findall(r"(?m)^\$\$", text)) / 2
    return len(re.sub(r"(?s)\$\$.*?\$\$", "", text).split()) / 180 + equations / 2


def route_faults(text: str) -> list[str]:
    """Each row's minutes are those of its sections, up to a fifth or two; sums are right."""
    faults, total = [], 0
    for row, claimed in re.findall(r"(?m)^\| (.*) \| (\d+) \|$", text):
        if row == "**together**":
            faults += [f"together {claimed}, not {total}"] * (int(claimed) != total)
            total = 0
            continue
        read = [sections(chapter)[heading] for heading, chapter in LINK.findall(row)]
        opening = re.search(r"\{doc\}`\.\./(\S+)`: opening", row)
        read += [sections(opening[1])[""]] if opening else []
        real, total = sum(map(minutes, read)), total + int(claimed)
        wrong = abs(real - int(claimed)) > max(2, real / 5)
        faults += [f"{claimed} min, not {real:.1f}: {row[:60]}"] * wrong
    return faults


@pytest.fixture(scope="module")
def known():
    return known_labels()


@pytest.mark.parametrize("number", range(1, 7))
def test_a_lesson_has_its_parts_and_names_what_exists(number, known):
    plans = lessons(page("guide_lessons"))
    assert len(plans) == 6
    assert lesson_faults(plans[number - 1], known) == []


@pytest.mark.parametrize(
    "old, new, fault",
    [
        ("| 0 | 8 |", "| 0 | 9 |", "a block starts at 8, the one before ends at 9"),
        ("| 87 | 3 |", "| 87 | 5 |", "ends at 92, not 90"),
        ("### Board", "### Blackboard", "parts are"),
        ("{prf:ref}`lemma-5`", "{prf:ref}`lemma-55`", "no label lemma-55"),
        ("{ref}`ex-price`", "{ref}`ex-prize`", "no label ex-prize"),
        ("{numref}`fig-lemma5`", "{numref}`fig-lemma`", "no label fig-lemma"),
        ("[The model]", "[The modal]", "no section 'The modal'"),
        ("-tasks = sample_tasks(", "-tasks = sampled_tasks(", "no line 'tasks = sampled"),
    ],
)
def test_a_broken_lesson_is_seen(known, old, new, fault):
    plan = lessons(page("guide_lessons"))[0]
    assert old in plan
    faults = lesson_faults(plan.replace(old, new, 1), known)
    assert any(fault in each for each in faults), faults


def test_a_forgotten_section_is_seen(known):
    plan = re.sub(r"(?m)^\| \[The data\].*\n", "", lessons(page("guide_lessons"))[0])
    assert lesson_faults(plan, known) == ["ridge/prompt: 'The data' is not planned"]


def test_the_one_lesson_version_and_all_references_hold(known):
    text = page("guide")
    one = text.partition("(one-lesson)=")[2].partition("(reading-routes)=")[0]
    assert timing_faults(one) == []
    for name in ("guide", "guide_exam", "guide_projects", "cheat_sheet"):
        assert [label for label in ROLE.findall(page(name)) if label not in known] == []
    questions = re.findall(r"(?m)^\| (\d+) \| .+ \| lesson \d \|$", text)
    answers = re.findall(r"(?m)^(\d+)\. ", text.partition("{dropdown} Answers")[2])
    assert questions == [str(n) for n in range(1, 11)]
    assert answers[:10] == questions


def test_reading_times_follow_from_the_words():
    routes = page("guide").partition("(reading-routes)=")[2]
    assert routes.count("**together**") == 3
    assert route_faults(routes) == []
    assert len(route_faults(routes.replace("| 37 |", "| 38 |"))) == 1
    slower = re.sub(r"(?m)^(\| .*Theorem 1.* \| )\d+ \|$", r"\g<1>9 |", routes)
    assert len(route_faults(slower)) == 2  # the row, and the sum


def test_marks_add_up():
    text = page("guide_exam")
    assert mark_faults(text) == []
    more = text.replace("| PL | 2 |", "| PL | 3 |")
    assert mark_faults(more) == ["question 6: 13 of 12 marks"]
    assert "90 marks in all" in mark_faults(text.replace("(10 marks)", "(0 marks)", 1))
    rubric = page("guide_projects").partition("## Rubric")[2].partition("## The list")[0]
    *parts, total = map(int, re.findall(r"(?m)^\| [^|]+ \| (\d+) \|", rubric))
    assert sum(parts) == total == 100


def test_projects_quote_what_the_book_says():
    sources = {f"../{c}": c for c in ("ridge/many_heads", "ridge/depth", "ridge/unseen")}
    quoted = re.findall(r"(?ms)^> (.+?)\n\n\{doc\}`([^`]+)`", page("guide_projects"))
    assert len(quoted) >= 6 and set(sources) <= {where for _, where in quoted}
    for sentence, where in quoted:
        if where.startswith("../"):
            text = "\n".join(cells(where[3:], "markdown"))
        else:
            text = page(where)
        assert sentence in text, sentence


# --- the demos, run


def run(chapter: str, starts: list[str], old: str = "", new: str = "") -> tuple[str, str]:
    """What the cells that hold these words print with one line changed, and the name of the
    error that stops them."""
    assert old in page("guide_lessons")
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        for words in starts:
            (source,) = [cell for cell in cells(chapter, "code") if words in cell]
            try:
                exec(source.replace(old, new) if old else source, names)
            except AssertionError as error:
                return printed.getvalue(), type(error).__name__
    return printed.getvalue(), ""


@pytest.fixture
def quick(monkeypatch):
    """The quick profile, no window, and gradients on afterwards."""
    monkeypatch.setenv("ICLBOOK_PROFILE", "quick")
    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    matplotlib.use(backend)
    torch.set_grad_enabled(True)


def number_after(words: str, text: str) -> float:
    return float(re.search(re.escape(words) + r"\s*(-?[\d.]+(?:e[+-]\d+)?)", text)[1])


def test_demo_of_lesson_1(quick):
    cells_run = ["import matplotlib.pyplot", "z_scores ="]
    old = "tasks = sample_tasks(count, m, generator=generator)  # (count, m)"
    signs = old.replace("  #", ".sign()  #")
    printed, error = run("ridge/population_loss", cells_run, old, signs)
    assert number_after("36 moments:", printed) < 5 and error == ""
    mean = old.replace("generator)", "generator, mean=1.0)")
    printed, error = run("ridge/population_loss", cells_run, old, mean)
    assert number_after("36 moments:", printed) > 200 and error == "AssertionError"
    for new in (signs, mean):
        assert f"+{new}" in page("guide_lessons")


def test_demo_of_lesson_2(quick):
    cells_run = ["import matplotlib.pyplot", "def picture(", "moments = dict(run)"]
    cells_run += ["def prompts(", "minimize_scalar"]
    assert "moments = dict(run)" in "".join(cells("ridge/ridge_regression", "code"))
    old = "small = sample_dictionary(N=8, K=28, d=20, m=5, tau=0.05, generator=generator)"
    for new, penalty in ((old, 0.25), (old.replace("0.05", "0.2"), 1.0)):
        printed, error = run("ridge/ridge_regression", cells_run, old, new)
        found = number_after("penalty that fits best:", printed)
        assert math.isclose(found, penalty, rel_tol=1e-3) and error == ""


def test_demo_of_lesson_3(quick):
    cells_run = ["import matplotlib.pyplot", "def over_bound(", "exact = exact_two_head_model"]
    old = "exact = exact_two_head_model(small)"
    printed, error = run("ridge/heads", cells_run, old, f"{old}; exact.w.abs_()")
    excess, bound = number_after("excess loss", printed), number_after("against", printed)
    assert bound < 0.2 and 10 < excess < 20 and error == "AssertionError"


def test_demo_of_lesson_4(quick):
    old = "model = MultiHeadAttention(dictionary, H=12, generator=generator)"
    kappa = {}
    for H in (3, 12, 48):
        changed = old.replace("H=12", f"H={H}")
        cells_run = ["import matplotlib.pyplot", "kappa = {b**2 / zeta"]
        printed, error = run("ridge/convergence", cells_run, old, changed)
        kappa[H] = number_after("kappa =", printed)
        assert error == ""
    assert kappa[3] > 1_000 and 60 < kappa[12] < 80 and 4 < kappa[48] < 6


def test_demo_of_lesson_5(quick):
    cells_run = ["import matplotlib.pyplot", "eta = 0.3\n"]
    (cell,) = [c for c in cells("dual/one_step", "code") if "W_1 = {W_1.tolist()}" in c]
    cells_run[1] = "W_1 = {W_1.tolist()}"
    printed, error = run("dual/one_step", cells_run, "eta = 0.3", "eta = 1000.0")
    assert number_after("tested on the query", printed) == pytest.approx(1) and error == ""
    old = "W = (v[-1] * k[-1] / score.sum()).requires_grad_()  # W_0, (2,)"
    new = "W = torch.zeros(2, requires_grad=True)  # W_0, (2,)"
    printed, error = run("dual/one_step", cells_run, old, new)
    assert number_after("tested on the query", printed) == pytest.approx(2)
    assert error == "AssertionError" and old in cell


def test_demo_of_lesson_6(quick):
    cells_run = ["import matplotlib.pyplot", "hand_keys ="]
    old = '"r = 1, β = 1": (dict(beta=1.0, r=1), -2)}'
    new = '"r = 1, β = 2": (dict(beta=2.0, r=1), -9)}'
    printed, error = run("dual/modified", cells_run, old, new)
    assert "[4.0, 2.0, -13.0, 1.0]" in printed and error == ""
    assert run("dual/modified", cells_run, old, new.replace("-9", "-8"))[1] == "AssertionError"
    centred = new.replace("beta=2.0, r=1", "beta=1.0, r=3").replace("-9", "11 / 12")
    assert run("dual/modified", cells_run, old, centred)[1] == ""
