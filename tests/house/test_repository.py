"""The repository's own rules: layers of the package, pins, vendored files, nothing private in a file."""

import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from tooling.checks import LINE_LIMIT, package_faults, pin_faults, private_faults

BOOK = Path(__file__).parents[2]
NOT_OURS = {"_build", "vendor", "__pycache__"}
HIDDEN_BUT_OURS = {
    ".ci",
    ".github",
    ".gitignore",
}  # every other hidden file or folder is some tool's own
TEXT = {
    ".py",
    ".md",
    ".ipynb",
    ".toml",
    ".yml",
    ".txt",
    ".cff",
    ".bib",
    ".css",
    ".js",
    ".json",
    ".csv",
    "",
}


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


def test_package_keeps_its_layers():
    assert package_faults(BOOK / "iclbook") == []


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("ridge/heads.py", "from iclbook.experiments import ridge\n", "higher layer"),
        ("ridge/heads.py", "def f():\n    import iclbook.store\n", "higher layer"),
        ("claims/ridge.py", "from iclbook import cli\n", "higher layer"),
        ("ridge/heads.py", "from . import model\n", "relative import"),
        ("ridge/heads.py", "x = 1\n" * (LINE_LIMIT + 1), "lines"),
        ("ridge/utils.py", "x = 1\n", "does not say"),
        ("extra/heads.py", "x = 1\n", "no layer"),
    ],
)
def test_fault_in_a_package_is_seen(tmp_path, file, text, fault):
    path = tmp_path / "iclbook" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert [fault in line for line in package_faults(tmp_path / "iclbook")] == [True]


def test_sound_package_passes(tmp_path):
    for file, text in {
        "errors.py": "import math\n",
        "ridge/heads.py": "from iclbook.errors import InputError\n",
        "cli.py": "from iclbook import store\n",
    }.items():
        path = tmp_path / "iclbook" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert package_faults(tmp_path / "iclbook") == []


@pytest.mark.parametrize(
    ("package", "heavy"), [("settings", ["torch", "pandas", "numpy"]), ("claims", ["torch"])]
)
def test_light_packages_stay_light(package, heavy):
    """Importing every module of a light package pulls in none of the heavy ones."""
    folder = BOOK / "iclbook" / package
    names = [
        ".".join(path.relative_to(BOOK).with_suffix("").parts)
        for path in sorted(folder.rglob("*.py"))
    ]
    names = [name.removesuffix(".__init__") for name in names]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
    code += f"print(*set({heavy}) & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=BOOK)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stdout + run.stderr


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-lab.txt"])
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


def test_build_cannot_hide_a_failure():
    execute = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))["execute"]
    assert execute["execute_notebooks"] == "force"
    assert execute["raise_on_error"] is True
    assert execute["stderr_output"] == "error"
    makefile = (BOOK / "Makefile").read_text(encoding="utf-8")
    command = re.search(r"(?m)^\t.*jupyter-book build .*$", makefile).group()
    assert {"--all", "-n", "-W", "--keep-going"} <= set(command.split())
