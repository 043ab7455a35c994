"""Editions for a class: no solution leaks, nothing of MyST's own is left, results and numbers
are there, and slides show what the teacher's guide plans. Nothing is executed here."""

import ast
import builtins
import csv
import functools
import html
import io
import json
import re
import zipfile

import nbformat
import pytest
from book import BOOK
from checks import COLUMNS, length_faults, link_faults, outside_faults
from nbformat.v4 import new_code_cell, new_markdown_cell

from editions import contents, convert, lesson_slides, showing, slides
from editions.convert import files_of, without_solutions
from editions.labels import chapters, name_of, names, notebook, title_of
from editions.lessons import lessons
from editions.plain import page_text, plain, words
from iclbook.card import agreeing
from iclbook.catalogue import experiments, find
from iclbook.errors import InputError
from iclbook.store import Store

GUIDE = BOOK / "chapters" / "back" / "guide_lessons.md"
# Signs of MyST that JupyterLab would show as they are.
RAW = re.compile(
    r"^\s*>?\s*(?:`{3,}|:{3,})\{.*|\{[a-z][\w:-]*\}`.*|^\([\w-]+\)=.*|^\$\$ \(.*"
    r"|^:(?:label|name|class|alt):.*|<!--.*|\]\([^)]*\.(?:ipynb|md)[^)]*\)|(?<=\w)\]\([a-z][\w-]*\)|^(?:---|\+\+\+)$",
    re.M,
)
START, END = "```{solution-start} ex-a\n:class: dropdown\n```\n", "```{solution-end}\n```\n"


@functools.cache
def some_ledger():
    """A row for each claim, with numbers that were not measured: fast."""
    readings = [
        {"tokens": tokens, "loss": loss, "measured": 0.25}
        for tokens in ("unit", "gaussian")
        for loss in ("population", "batch")
    ]
    kept = ("id", "verdict", "threshold", "direction")
    rows = [{key: getattr(claim, key) for key in kept} for claim in contents.claims()]
    return [row | {"measured": 0.125, "readings": readings} for row in rows]


@functools.cache
def edition(chapter, instructor=False):
    """An edition, made once for all tests; none changes it."""
    return convert.edition(chapter, instructor)


@pytest.fixture(scope="module")
def roles():
    contents.extensions()
    import from_ledger

    return from_ledger


@pytest.fixture(autouse=True)
def fast(monkeypatch, roles):
    """Roles without a look at the results, figures that are not computed, no wheel."""
    monkeypatch.setattr(roles, "ledger", some_ledger)
    monkeypatch.setattr(roles, "stored", lambda text, page="": "0.5")
    monkeypatch.setattr(lesson_slides, "live", lambda name, alt: f'<p id="{name}">{alt}</p>')
    monkeypatch.setattr(convert, "stills", lambda names: {f"{n}.svg": b"<svg/>" for n in names})
    monkeypatch.setattr(convert, "wheel", lambda: b"a wheel")


@functools.cache
def split_by_gates(chapter):
    """(lines outside, lines inside) of solutions, read line by line, code included."""
    outside, inside, lines = [], [], None
    for cell in notebook(chapter).cells:
        for line in cell.source.splitlines():
            if re.match(r"`+\{solution-start\}", line):
                lines = inside
            (outside if lines is None else inside).append(line.strip())
            if re.match(r"`+\{solution-end\}", line):
                lines = None
    return outside, inside


def markdown_of(made):
    return [cell.source for cell in made.cells if cell.cell_type == "markdown"]


# --- solutions


@pytest.mark.parametrize("chapter", chapters())
def test_no_solution_leaks(chapter):
    outside, inside = split_by_gates(chapter)
    secret = {line for line in set(inside) - set(outside) if len(line) > 12}
    secret -= {line for line in secret if line.startswith(("```", ":"))}
    secret -= {line for line in secret if line in "\n".join(outside)}
    text = "\n".join(cell.source for cell in edition(chapter).cells)
    leaked = [line for line in secret if line in text or words(line, chapter) in text]
    assert leaked == []
    assert "Solution" not in text
    held = "\n".join(cell.source for cell in edition(chapter, instructor=True).cells)
    assert all(
        line in held or words(line, chapter) in held for line in secret if "$$" not in line
    )


def test_most_chapters_have_solutions_to_leave_out():
    counts = {chapter: len(split_by_gates(chapter)[1]) for chapter in chapters()}
    assert sum(count > 20 for count in counts.values()) >= 15


@pytest.mark.parametrize(
    "texts",
    [
        [START, "The answer."],
        ["The answer.\n" + END],
        [START + "One.\n", START + "Two.\n" + END],
        [START + "One.\n" + END + END],
        ["```{solution-start} ex-a\n"],
    ],
)
def test_unbalanced_gates_are_refused(texts):
    with pytest.raises(InputError):
        without_solutions([new_markdown_cell(text) for text in texts])


def test_cells_between_the_gates_go_and_a_check_cell_stays():
    cells = [
        new_markdown_cell("Before.\n\n" + START + "Secret one."),
        new_code_cell("secret = 2"),
        new_markdown_cell("Secret three.\n" + END + "\nAfter."),
        new_code_cell('check("ex-a", answer)'),
        new_markdown_cell("```{solution} ex-b\nSecret four.\n```\nLast."),
    ]
    kept = "\n".join(cell.source for cell in without_solutions(cells))
    assert "ecret" not in kept
    assert all(word in kept for word in ("Before.", "After.", "check(", "Last."))


def bound_and_used(cells):
    """(names that the cells bind, names that they read and that nothing binds)."""
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {a.asname or a.name.split(".")[0] for a in _imported(nodes)}
    return bound, {node.id for node in names} - bound - set(dir(builtins))


def _imported(nodes):
    return [a for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names]


@pytest.mark.parametrize("chapter", chapters())
def test_nothing_outside_a_solution_needs_what_it_defines(chapter):
    assert bound_and_used(edition(chapter).cells)[1] - {"check"} == set()


def test_a_name_that_only_a_solution_defines_is_seen():
    cells = [new_code_cell("a = 1\nprint(a + b)\n"), new_markdown_cell("b")]
    assert bound_and_used(cells)[1] == {"b"}


# --- plain Markdown


@pytest.mark.parametrize("chapter", chapters())
def test_nothing_of_myst_is_left_in_a_notebook(chapter):
    for made in (edition(chapter), edition(chapter, instructor=True)):
        nbformat.validate(made)
        assert [RAW.findall(text) for text in markdown_of(made) if RAW.search(text)] == []
        assert len({cell.id for cell in made.cells}) == len(made.cells)


@pytest.mark.parametrize("page", convert.GUIDE)
def test_nothing_of_myst_is_left_on_a_page_of_the_guide(page):
    assert RAW.findall(page_text(f"back/{page}")) == []


@pytest.mark.parametrize(
    "raw",
    [
        "```{prf:lemma} A",
        "> :::{note}",
        "see {eq}`a`",
        "(sec-a)=",
        "$$ (eq-a)",
        ":label: a",
        "[b](../c/d.ipynb#e)",
        "[b](sec-a)",
    ],
)
def test_raw_myst_is_seen(raw):
    assert RAW.search(f"Text.\n\n{raw}\n")


def test_blocks_become_headings_quotes_and_folds():
    text = """(sec-x)=
## A section

$$
a = b
$$ (eq-one-step-attention)

```{prf:theorem} One step
:label: thm-one-step
Let

$$
c = d
$$

hold by {eq}`eq-one-step-attention`.
```

```{prf:proof}
$a$ is clear.
```

```{exercise-start} Softmax, by hand
:label: ex-one-step-hand
```
Do it.
```{exercise-end}
```

:::{dropdown} Answers
It is {term}`a head <head>`, as [said](../dual/kernel.ipynb#why-features).
:::
"""
    assert (
        plain(text, "dual/one_step")
        == r"""## A section

$$
a = b
\tag{12.1}
$$

> **Theorem 12.1: One step**
>
> Let
>
> $$ c = d $$
>
> hold by (12.1).

**Proof.** $a$ is clear. ∎

### Exercise 12.1 (Softmax, by hand)

Label: `ex-one-step-hand`

Do it.

<details><summary>Answers</summary>

It is a head, as said.

</details>"""
    )


@pytest.mark.parametrize("text", ["exercise", "An exercise", "the exercise"])
def test_a_link_that_says_exercise_gives_way_to_its_name(text):
    assert re.fullmatch(r"Exercise [\d.]+", words(f"[{text}](ex-heads-exact)", "ridge/heads"))
    other = words("[the bound](ex-heads-exact)", "ridge/heads")
    assert re.fullmatch(r"the bound \(Exercise [\d.]+\)", other)


@pytest.mark.parametrize(
    "text",
    [
        "```{mermaid}\na\n```",
        "{abbr}`x`",
        "{eq}`eq-nowhere`",
        "{doc}`nowhere`",
        "{cite}`nobody1900`",
        "```{prf:lemma} Open",
        "$$\na = b",
    ],
)
def test_what_has_no_plain_form_is_refused(text):
    with pytest.raises(InputError):
        plain(text, "dual/one_step")


def test_visible_names_count_as_the_published_page_does():
    found = names()
    assert found["thm-one-step"] == "Theorem 12.1"
    assert found["eq-one-step-bracket"] == "(12.2)"
    assert found["ex-one-step-halves"] == "Exercise 12.2 (Two halves)"
    assert found["fig-hand-dual-step"] == "Fig. 12.2"
    assert found["fig-one-step-rounding"] == "Fig. 12.3"
    assert found["fig-hand-opener"] == "Fig. 1"
    assert found["sec-trained-valley"] == ""  # above a paragraph
    assert title_of("../dual/kernel.ipynb", "ridge/heads").startswith("The softmax kernel")
    with pytest.raises(InputError, match="no page"):
        name_of("thm-nowhere")


def test_a_number_is_the_one_that_the_site_shows(monkeypatch, roles):
    rows = agreeing("dual/one_step")
    monkeypatch.setattr(roles, "ledger", lambda: rows)
    made = convert.edition("dual/one_step")
    site = roles.measured("ren2024/thm31-exact-kernel")
    (power,) = re.findall(r"<sup>−(\d+)</sup>", site)
    shown = words("{measured}`ren2024/thm31-exact-kernel`", "dual/one_step")
    digits = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))
    assert shown.partition("10⁻")[0] == html.unescape(site).partition("10<sup>")[0]
    assert "".join(digits[c] for c in shown.partition("10⁻")[2]) == power
    assert f"agree within {shown}." in "\n".join(markdown_of(made))


def test_a_stored_number_comes_from_its_table(monkeypatch, roles):
    monkeypatch.undo()
    with (BOOK / "results/yang2024/lemma4/full.ratios.csv").open(encoding="utf-8") as rows:
        largest = max(float(row["norm"]) for row in csv.DictReader(rows))
    shown = words("{stored}`yang2024/lemma4 ratios.norm max`", "ridge/template")
    assert shown == f"{largest:.3g}"


# --- what lies beside a notebook


@pytest.mark.parametrize("chapter", ["dual/one_step", "ridge/heads", "ridge/related"])
def test_results_are_copied(chapter, tmp_path):
    code = "\n".join(c.source for c in edition(chapter).cells if c.cell_type == "code")
    wanted = set(re.findall(r'load\("([\w/-]+)"', code))
    wanted |= {e for c in contents.claims() if c.chapter == chapter for e in c.experiments}
    held = files_of(chapter)
    for name, data in held.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for each in wanted:
        assert Store(tmp_path / "results").is_stored(find(each)), each
    copied = [name for name in held if name.startswith("results/") and "claims/" not in name]
    assert all(held[name] == (BOOK / name).read_bytes() for name in copied)
    assert {"/".join(name.split("/")[1:3]) for name in copied} >= wanted
    assert ("related.toml" in held) == (chapter == "ridge/related")


@pytest.mark.parametrize("chapter", chapters())
def test_every_load_is_known_to_be_needed(chapter):
    code = [c for c in notebook(chapter).cells if c.cell_type == "code"]
    loaded = set(re.findall(r'load\("([\w/-]+)"', "\n".join(c.source for c in code)))
    assert loaded <= set(convert.needed(chapter, code)) <= set(experiments())


def test_pictures_lie_beside_the_notebook():
    for chapter in chapters():
        named = set(
            re.findall(r"!\[[^\]]*\]\((.+?)\)", "\n".join(markdown_of(edition(chapter))))
        )
        if named:
            assert named <= set(files_of(chapter)), chapter


def test_a_zip_holds_a_folder_a_chapter(monkeypatch, tmp_path):
    two = ["ridge/heads", "dual/one_step"]
    monkeypatch.setattr(convert, "chapters", lambda: two)
    path = convert.write("instructor", tmp_path)
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as file:
        inside = set(file.namelist())
        made = json.loads(file.read("instructor/04-heads/heads.ipynb"))
    package = convert.wheel_name()
    for name in ("04-heads/heads.ipynb", f"12-one_step/{package}", "guide/guide_exam.md"):
        assert f"instructor/{name}" in inside
    sources = ["".join(cell["source"]) for cell in made["cells"]]
    assert package in sources[0] and "ICLBOOK_STORE" in sources[1]
    assert "Teaching notes: lesson 3" in sources[3]
    monkeypatch.setattr(convert, "chapters", lambda: ["ridge/related"])
    student, again = (convert.write("student", tmp_path / name) for name in "ab")
    assert student.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(student) as file:
        assert not [name for name in file.namelist() if "guide" in name]


def test_the_wheel_has_the_version_that_the_notebook_names():
    assert convert.wheel_name().split("-")[1] == __import__("iclbook").__version__


# --- slides


@pytest.fixture(scope="module")
def planned():
    """{lesson: [(heading, what to do with it)]}, read from the guide's table here."""
    text = GUIDE.read_text(encoding="utf-8")
    parts = re.split(r"(?m)^\(lesson-(\d)\)=$", text)
    row = re.compile(r"(?m)^\| \[(.+)\]\(\.\./\w+/\w+\.ipynb#.*?\) \| (.+) \|$")
    return {int(n): row.findall(body) for n, body in zip(parts[1::2], parts[2::2])}


@pytest.mark.parametrize("number", range(1, 7))
def test_slides_show_every_planned_section(planned, number):
    assert len(lessons()) == 6
    text = slides.page(lessons()[number - 1], {})
    headings = {html.unescape(h) for h in re.findall(r"<h2>(.*?)</h2>", text)}
    headings = {re.sub(r"\\\((.*?)\\\)", r"$\1$", h) for h in headings}
    shown = [h for h, do in planned[number] if do.startswith(("show", "board"))]
    skipped = [h for h, do in planned[number] if do.startswith("skip")]
    assert len(shown) >= 6 and set(shown) - headings == set()
    assert headings & set(skipped) == set()
    assert RAW.findall(text) == []
    assert text.count('<aside class="notes">') == text.count("<section")


@pytest.mark.parametrize("number", range(1, 7))
def test_speaker_notes_hold_every_block_and_every_step(number):
    lesson = lessons()[number - 1]
    made = slides.slides_of(lesson, {})
    notes = "\n".join(note for slide in made for note in slide.notes)
    minutes = re.findall(r"\*\*Minute (\d+), (\d+) min\.\*\*", notes)
    assert minutes == [(str(b.start), str(b.minutes)) for b in lesson.blocks]
    assert all(f"**Step {step}" in notes for step in lesson.board)
    assert "What happens" in notes and len(lesson.misconceptions) >= 4
    assert sum(b.minutes for b in lesson.blocks) == 90


@pytest.mark.parametrize("number", range(1, 7))
def test_a_demo_asks_before_it_shows_the_change(number):
    lesson = lessons()[number - 1]
    (demo,) = [each for each in slides.slides_of(lesson, {}) if each.kind == "demo"]
    changes = [block for block in demo.blocks if block.startswith("<pre")]
    assert len(changes) == lesson.demo.count("```diff")
    assert re.fullmatch(r"<p>W.+\?</p>", demo.blocks[0])
    assert 'class="fragment"' in demo.blocks[1]


def test_what_comes_later_in_a_section_has_the_heading_of_its_block():
    headings = [each.heading for each in slides.slides_of(lessons()[2], {})]
    cannot, vote = "Representation: one head cannot", "A vote by accident"
    assert headings.index(cannot) < headings.index(vote)
    assert headings.count(vote) == 1


def test_claims_that_are_not_reproduced_have_their_names():
    (text,) = lesson_slides.verdicts("ridge/heads")
    assert re.search(r"(\d+) of \1 reproduced\.</p>", text)
    (text,) = lesson_slides.verdicts("ridge/many_heads")
    others = re.findall(r"<em>([^<]+)</em>: ([^.]+)\.", text)
    own = [c for c in contents.claims() if c.chapter == "ridge/many_heads"]
    wanted = {c.id.split("/")[1]: c.verdict for c in own if c.verdict != "reproduced"}
    found = {name: verdict for verdict, names in others for name in names.split(", ")}
    assert found == wanted != {}


def test_figures_of_the_minutes_come_onto_the_slides():
    for lesson in lessons():
        drawn = set().union(*lesson_slides.wanted_figures(lesson).values())
        named = {label for block in lesson.blocks for label in block.labels}
        figures = {label for label in named if label.startswith("fig-")}
        hands = {label for label in figures if label.startswith("fig-hand-")}
        assert figures - hands - drawn == set(), lesson.number


def test_code_line_by_line_comes_onto_no_slide():
    """Its letters would be smaller than 24 pixels."""
    scripts = (BOOK / "assets" / "hand").glob("*.js")
    stepped = {path.stem for path in scripts if "hand.walk(" in path.read_text("utf-8")}
    assert stepped == set(showing.STEPPED)
    labels = {item.label for items in showing.shown("ridge/prompt").values() for item in items}
    assert "fig-architecture" in labels and "fig-hand-forward" not in labels


def test_slides_ask_no_other_host_and_find_their_files(tmp_path):
    for lesson in lessons():
        slides.write(lesson, {}, tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*.html")) == [
        f"lesson{n}.html" for n in range(1, 7)
    ]
    assert outside_faults(tmp_path) + link_faults(tmp_path) == []
    own = [tmp_path / "assets" / name for name in ("slides.js", "slides.css")]
    for path in [*tmp_path.glob("*.html"), *own]:
        assert not re.search(r"https?://", path.read_text(encoding="utf-8")), path.name


def test_letters_are_large_enough_for_a_room():
    text = (BOOK / "editions" / "slides.css").read_text(encoding="utf-8")
    slide = text.partition("/* Key N")[0].partition("/* Figures that a reader moves")[0]
    sizes = [int(n) for n in re.findall(r"font(?:-size)?: (\d+)px", slide)]
    assert len(sizes) >= 7 and min(sizes) >= 24


# --- the folder itself


def test_files_keep_their_limits():
    for path in sorted((BOOK / "editions").glob("*.py")):
        assert length_faults(path, path.name, 300) == []
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if len(line) > COLUMNS] == []


@pytest.mark.parametrize("target", ["student", "instructor", "slides", "rehearse"])
def test_targets_and_their_plain_commands(target):
    makefile = (BOOK / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(rf"(?m)^{target}: .*##.*\n\t\$\(BIN\)/python (-m .+)$", makefile)
    page = (BOOK / "chapters" / "back" / "without_make.md").read_text(encoding="utf-8")
    assert f"`make {target}` | `.venv/Scripts/python {recipe[1]}`" in page
