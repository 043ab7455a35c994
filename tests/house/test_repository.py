"""The repository's own rules: layers of the package, pins, vendored files, nothing private in a
file."""

import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from checks import (
    CODE_LINES,
    LIGHT,
    code_lines,
    generators,
    idle_faults,
    package_faults,
    pin_faults,
    private_faults,
    study_faults,
)

BOOK = Path(__file__).parents[2]
NOT_OURS = {"_build", "vendor", "__pycache__"}
# Every other hidden file or folder is some tool's own.
HIDDEN_BUT_OURS = {".ci", ".github", ".gitignore", ".gitattributes"}
CODE = {".py", ".toml", ".yml", ".css", ".js", ""}
TEXT = CODE | {".md", ".ipynb", ".txt", ".cff", ".bib", ".json", ".csv"}


def published_files():
    for path in sorted(BOOK.rglob("*")):
        parts = path.relative_to(BOOK).parts
        foreign = any(
            part in NOT_OURS
            or part.endswith(".egg-info")
            or (part[0] == "." and part not in HIDDEN_BUT_OURS)
            for part in parts
        )
        if path.is_file() and not foreign and path.suffix in TEXT:
            yield path


def test_package_keeps_its_layers_and_its_size():
    assert package_faults(BOOK) == []


def test_studies_import_only_what_their_kind_may():
    assert study_faults(BOOK) == []


def test_the_helper_is_thin():
    lines = sum(len(code_lines(path)) for path in (BOOK / "iclbook").rglob("*.py"))
    assert lines <= CODE_LINES["iclbook"]


def test_code_lines_leave_out_blanks_comments_and_docstrings(tmp_path):
    text = '"""Module.\n\nMore."""\n\nx = 1  # why\n# comment\n\n\ndef f():\n    """Doc."""\n'
    (tmp_path / "a.py").write_text(text + '    return """\nkept\n"""\n')
    assert code_lines(tmp_path / "a.py") == [5, 9, 11, 12, 13]


LONG = CODE_LINES["module"] + 1


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("iclbook/ridge/heads.py", "from iclbook.experiment import x\n", "higher layer"),
        ("iclbook/ridge/heads.py", "def f():\n    import iclbook.store\n", "higher layer"),
        ("iclbook/store.py", "from iclbook.cli import main\n", "higher layer"),
        ("iclbook/runner.py", "from studies.ridge.heads import settings\n", "imports a study"),
        ("iclbook/ridge/heads.py", "from . import model\n", "relative import"),
        ("iclbook/ridge/heads.py", "x = 1\n" * LONG, "lines"),
        ("iclbook/ridge/heads.py", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
        ("iclbook/ridge/utils.py", "x = 1\n", "does not say"),
        ("iclbook/extra/heads.py", "x = 1\n", "no layer"),
        ("studies/ridge/heads/settings.py", "from iclbook import runner\n", "may not import"),
        (
            "studies/ridge/heads/tables.py",
            "from iclbook.ridge import heads\n",
            "may not import",
        ),
        (
            "studies/ridge/heads/tables.py",
            "from studies.ridge.heads import compute\n",
            "may not",
        ),
        (
            "studies/ridge/heads/compute.py",
            "from iclbook.store import Store\n",
            "may not import",
        ),
        ("studies/ridge/heads/compute.py", "x = 1\n" * 401, "401 lines"),
    ],
)
def test_fault_in_the_code_is_seen(tmp_path, file, text, fault):
    for folder in ("iclbook/ridge", "iclbook/extra", "studies/ridge/heads"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("runner", "store", "experiment", "cli", "ridge/heads"):
        (tmp_path / f"iclbook/{name}.py").write_text("")
    for name in ("settings", "tables", "compute"):
        (tmp_path / f"studies/ridge/heads/{name}.py").write_text("")
    assert package_faults(tmp_path) + study_faults(tmp_path) == []
    (tmp_path / file).write_text(text)
    found = package_faults(tmp_path) + study_faults(tmp_path)
    assert [fault in line for line in found] == [True]


@pytest.mark.parametrize("kind", LIGHT)
def test_light_files_of_studies_stay_light(kind):
    """Importing every file of a light kind pulls in none of the heavy packages."""
    files = sorted((BOOK / "studies").rglob(f"{kind}.py"))
    names = [".".join(path.relative_to(BOOK).with_suffix("").parts) for path in files]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
    code += f"print(*set({LIGHT[kind]}) & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=BOOK)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stdout + run.stderr


def test_no_training_loop_is_called_and_left_standing():
    names = generators(BOOK)
    assert {"train", "train_together", "descend", "free_table_descent"} <= names
    faults = []
    for path in published_files():
        name = str(path.relative_to(BOOK))
        if path.suffix == ".py":
            faults += idle_faults(path.read_text(encoding="utf-8"), name, names)
        elif path.suffix == ".ipynb":
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "code":
                    faults += idle_faults(cell.source, name, names)
    assert faults == []


def test_a_training_loop_that_is_left_standing_is_seen():
    code = (
        "train(model, loss)\nfor _ in train(model, loss):\n    pass\nfirst = next(m.train(1))\n"
    )
    found = idle_faults(code + "panel.train(2)\n", "a.py", {"train"})
    assert len(found) == 2


def test_python_files_are_formatted_and_lint_clean():
    places = ["iclbook", "studies", "editions", "tests", "benchmarks", "_ext"]
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *places], cwd=BOOK, capture_output=True
        )
        assert run.returncode == 0, (run.stdout + run.stderr).decode()


def test_no_python_file_escapes_the_formatter():
    mark = "# fmt" + ": "
    files = [path for path in published_files() if path.suffix == ".py"]
    assert [path.name for path in files if mark in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("name", sorted(path.name for path in BOOK.glob("requirements*.txt")))
def test_requirements_are_pinned(name):
    assert pin_faults((BOOK / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line", ["numpy", "numpy>=2", "numpy==2.*", "git+https://example.org/x.git", "-r other.txt"]
)
def test_loose_requirement_is_seen(line):
    assert len(pin_faults(f"click==8.1.0\n{line}\n")) == 1


def test_pins_cover_the_dependencies_of_the_package():
    pinned = set(
        re.findall(
            r"(?m)^([a-z0-9-]+)==", (BOOK / "requirements.txt").read_text(encoding="utf-8")
        )
    )
    project = tomllib.loads((BOOK / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {re.match(r"[a-z0-9-]+", line).group() for line in project["dependencies"]} <= pinned


def test_declared_lower_bounds_are_what_is_tested():
    """The lowest version that is declared is the pinned release, so it is tested each time."""
    pins = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\d+\.\d+)", requirements()))
    project = tomllib.loads((BOOK / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = dict(line.split(">=") for line in project["dependencies"])
    assert bounds == {name: pins[name] for name in bounds} and len(bounds) > 10


def requirements():
    return (BOOK / "requirements.txt").read_text(encoding="utf-8")


def test_installed_versions_are_the_pinned_ones():
    text = (BOOK / "requirements.txt").read_text(encoding="utf-8")
    pins = dict(
        re.findall(r"(?m)^(torch|numpy|scipy|jupyter-book|sphinx|myst-nb)==(\S+)$", text)
    )
    found = {name: importlib.metadata.version(name).partition("+")[0] for name in pins}
    assert len(pins) == 6 and found == pins


def test_vendored_files_are_unmodified():
    folder = BOOK / "assets" / "vendor"
    table = (folder / "README.md").read_text(encoding="utf-8")
    recorded = dict(re.findall(r"(?m)^\| `([^`]+)` .*\| `([0-9a-f]{64})` \|$", table))
    scripts = {path.name for path in folder.iterdir() if path.suffix in (".js", ".css")}
    assert scripts == set(recorded)
    for name, digest in recorded.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_published_files_hold_nothing_private():
    faults = []
    for path in published_files():
        faults += private_faults(path.read_text(encoding="utf-8"), str(path.relative_to(BOOK)))
    assert faults == []


def test_contents_list_every_chapter_once():
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    listed = [toc["root"]] + [
        chapter["file"] for part in toc["parts"] for chapter in part["chapters"]
    ]
    files = [*(BOOK / "chapters").rglob("*.md"), *(BOOK / "chapters").rglob("*.ipynb")]
    files = [path.relative_to(BOOK) for path in files]
    present = {
        path.with_suffix("").as_posix() for path in files if not NOT_OURS & set(path.parts)
    }
    assert len(listed) == len(set(listed))
    assert set(listed) == present


def test_every_statement_says_what_it_needs():
    kinds = "theorem|lemma|proposition|corollary|property|observation"
    statement = re.compile(rf"```+\{{prf:(?:{kinds})\}}[^\n]*\n:label: (\S+)")
    stated = set()
    for path in sorted((BOOK / "chapters").rglob("*.ipynb")):
        if not NOT_OURS & set(path.parts):
            cells = nbformat.read(path, as_version=4).cells
            stated |= {label for cell in cells for label in statement.findall(cell.source)}
    page = (BOOK / "chapters" / "back" / "assumptions.md").read_text(encoding="utf-8")
    listed = re.findall(r"(?m)\{prf:ref\}`([^`]+)`", page)
    assert len(stated) > 50
    assert stated - set(listed) == set()


def test_build_cannot_hide_a_failure():
    execute = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))["execute"]
    assert execute["execute_notebooks"] == "force"
    assert execute["raise_on_error"] is True
    assert execute["stderr_output"] == "error"
    makefile = (BOOK / "Makefile").read_text(encoding="utf-8")
    command = re.search(r"(?m)^\t.*jupyter-book build .*$", makefile).group()
    assert {"--all", "-n", "-W", "--keep-going"} <= set(command.split())
