"""Every chapter is stored in canonical form and describes its figures; the checks see each kind
of fault."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from book import BOOK
from checks import KERNEL, figure_faults, notebook_faults
from folding import folding_faults, wanted_tag
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

CHAPTERS = sorted((BOOK / "chapters").rglob("*.ipynb"))
CHAPTERS = [path for path in CHAPTERS if ".ipynb_checkpoints" not in path.parts]
FIGURE = {
    "mystnb": {
        "figure": {"caption": "Loss against step.", "name": "fig-loss"},
        "image": {"alt": "A curve that falls from one to zero."},
    }
}


def test_there_are_chapters():
    assert CHAPTERS


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_is_canonical(path):
    assert notebook_faults(path) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_figures_are_described(path):
    assert figure_faults(path) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_what_carries_no_idea_is_folded(path):
    assert folding_faults(path) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_opens_with_its_question_and_the_answer(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    question, answer = (
        re.search(rf"^\*\*{word}\.\*\* (.+)$", first, re.M) for word in ("Question", "Answer")
    )
    assert question and answer and question.start() < answer.start()
    read = re.sub(r"\{\w+\}`[^`]*`", "number", answer[1])  # roles are words of the source only
    assert 15 <= len(read.split()) <= 80  # three lines


@pytest.fixture
def notebook():
    drawing = new_code_cell(
        "fig, ax = plots.figure()\nplots.finish(fig, fig2a)", metadata=FIGURE
    )
    cells = [new_markdown_cell("# Title"), new_code_cell("x = 1  # plt.show() later"), drawing]
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL}, nbformat_minor=5)


@pytest.fixture
def saved(notebook, tmp_path):
    def save():
        nbformat.write(notebook, tmp_path / "chapter.ipynb")
        return tmp_path / "chapter.ipynb"

    return save


def test_sound_notebook_passes(saved):
    assert notebook_faults(saved()) + figure_faults(saved()) == []


def keep_output(notebook):
    notebook.cells[1].outputs = [new_output("stream", text="1")]


def keep_count(notebook):
    notebook.cells[1].execution_count = 3


def name_other_kernel(notebook):
    notebook.metadata.kernelspec.name = "my-env"


def age_format(notebook):
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        del cell["id"]


def repeat_id(notebook):
    notebook.cells[1].id = notebook.cells[2].id


def empty_cell(notebook):
    notebook.cells[0].source = " \n"


@pytest.mark.filterwarnings("ignore:Non-unique cell id")
@pytest.mark.parametrize(
    "damage", [keep_output, keep_count, name_other_kernel, age_format, repeat_id, empty_cell]
)
def test_damaged_notebook_is_seen(notebook, tmp_path, damage):
    damage(notebook)
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps(notebook))
    assert len(notebook_faults(path)) == 1


def test_file_that_is_no_notebook_is_seen(tmp_path):
    (tmp_path / "chapter.ipynb").write_text("{}")
    assert "not a valid notebook" in notebook_faults(tmp_path / "chapter.ipynb")[0]


@pytest.mark.parametrize(
    ("part", "key", "value", "fault"),
    [
        ("figure", "caption", " ", "caption"),
        ("figure", "name", "loss", "name"),
        ("image", "alt", "", "alt"),
        ("image", "alt", "a plot", "alt"),
    ],
)
def test_poor_description_is_seen(notebook, saved, part, key, value, fault):
    notebook.cells[2].metadata.mystnb[part][key] = value
    assert [fault in line for line in figure_faults(saved())] == [True]


@pytest.mark.parametrize(
    "source",
    ["plots.finish(fig, r)", "plt.subplots()", "sns.lineplot(t)", "x = plots.bands(ax, t)"],
)
def test_drawing_without_description_is_seen(notebook, saved, source):
    notebook.cells[1].source = source
    assert len(figure_faults(saved())) == 3


def test_repeated_figure_name_is_seen(notebook, saved):
    notebook.cells.append(new_code_cell("plt.plot([1])", metadata=FIGURE))
    assert ["repeats" in line for line in figure_faults(saved())] == [True]


def test_a_table_in_a_figures_cell_is_seen(notebook, saved):
    notebook.cells[2].source += "\ntable(frame)"
    assert ["prints a table" in line for line in figure_faults(saved())] == [True]
    notebook.cells[2].source = "fig, ax = plots.figure()\nax.table(cells)"
    assert figure_faults(saved()) == []


@pytest.mark.parametrize(
    ("source", "tag"),
    [
        ("import torch\n\nfrom iclbook import plots", "hide-input"),
        ("from a import (\n    b, c,\n)\n# set up\nclose = partial(b)", "hide-input"),
        ("from a import b\nx = b(1)\ny = b(x)", ""),
        ('claims_of("ridge/heads")', "remove-input"),
        ('deviations("a")\nclaims_of("b")', "remove-input"),
        ('fig2a = load("a")\ndeviations("a")', ""),
        ("assert x == 1\ntorch.testing.assert_close(x, y)", "hide-input"),
        ("x = 1\nassert x", ""),
        ("fig, ax = plots.figure()\nax.plot(x)", ""),
    ],
)
def test_the_rule_of_folding(source, tag):
    assert wanted_tag(source, figure=False) == tag


def test_drawing_is_folded_and_the_idea_beside_it_is_not():
    drawing = "fig, ax = plots.figure()\nfor name in names:\n    ax.plot(name)\nplt.show()"
    assert wanted_tag(drawing, figure=True) == "hide-input"
    idea = "\n".join(f"x{i} = A @ x{i - 1}  # not fig" for i in range(1, 6))
    assert wanted_tag(f"{idea}\n{drawing}", figure=True) == ""


def test_a_cell_that_should_be_folded_is_seen(notebook, saved):
    notebook.cells[1].source = "import torch"
    assert ["'hide-input'" in line for line in folding_faults(saved())] == [True, True]
    for cell in notebook.cells[1:]:
        cell.metadata.tags = ["hide-input"]
    assert folding_faults(saved()) == []


LAB = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": "3.11.7",
    },
}


def strip_command():
    """The command of `make strip`, without the part that finds the notebooks."""
    makefile = (BOOK / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    command = re.search(r"xargs -0 \$\(BIN\)/(.*)$", makefile, re.M).group(1)
    lists = re.findall(r"(?m)^(\w+_KEYS) := \$\(addprefix (\S+?),(.*)\)$", makefile)
    assert len(lists) == 2
    for name, start, rest in lists:
        keys = " ".join(start + key for key in rest.split())
        command = command.replace(f"$({name})", keys)
    return shlex.split(command)


def strip(path):
    name, *options = strip_command()
    subprocess.run([Path(sys.executable).with_name(name), *options, path], check=True)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_stripping_a_clean_chapter_changes_nothing(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path))
    strip(copy)
    assert copy.read_bytes() == path.read_bytes()


def test_a_chapter_saved_by_jupyterlab_is_canonical_once_stripped(tmp_path):
    before = nbformat.read(CHAPTERS[0], as_version=4)
    saved = nbformat.read(CHAPTERS[0], as_version=4)
    saved.metadata.update(LAB)
    for number, cell in enumerate(cell for cell in saved.cells if cell.cell_type == "code"):
        cell.execution_count = number + 1
        cell.outputs = [new_output("stream", text="1")]
    path = tmp_path / CHAPTERS[0].name
    nbformat.write(saved, path)
    assert notebook_faults(path)
    strip(path)
    assert notebook_faults(path) == []
    after = nbformat.read(path, as_version=4)
    assert after.cells == before.cells
    assert after.metadata.language_info == {"name": "python"}
