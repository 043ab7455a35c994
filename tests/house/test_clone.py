"""A clone as others make it: line ends of Windows, and a package installed elsewhere."""

import os
import subprocess
import sys

import pytest
from book import BOOK

from iclbook.catalogue import find
from iclbook.errors import InputError
from iclbook.store import Store


def git(*arguments, cwd=BOOK):
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def windows_clone(tmp_path_factory):
    """The published files, committed and checked out as git for Windows does by default."""
    if not (BOOK / ".git").exists():
        pytest.skip("needs git's own record of the files")
    source, clone = (tmp_path_factory.mktemp(name) for name in ("source", "clone"))
    tracked = [name for name in git("ls-files", "-z").split("\0") if (BOOK / name).is_file()]
    for name in filter(None, tracked):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((BOOK / name).read_bytes())
    git("init", "-q", cwd=source)
    git("add", "-A", cwd=source)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    git(*who, "commit", "-qm", "as published", cwd=source)
    git("clone", "-q", "--config", "core.autocrlf=true", str(source), str(clone / "book"))
    return clone / "book"


def test_a_windows_clone_holds_every_result_and_the_same_bytes(windows_clone):
    assert git("config", "core.autocrlf", cwd=windows_clone).strip() == "true"
    store = Store(windows_clone / "results")
    for path in sorted((BOOK / "results").glob("*/*/full.json")):
        name = path.parent.relative_to(BOOK / "results").as_posix()
        assert store.is_stored(find(name)), name
    for suffix in ("*.ipynb", "*.csv", "*.npy", "*.js"):
        for path in windows_clone.rglob(suffix):
            inside = path.relative_to(windows_clone)
            assert path.read_bytes() == (BOOK / inside).read_bytes(), inside


def test_without_the_attributes_file_such_a_clone_would_differ(windows_clone, tmp_path):
    """The test above can fail: git does turn line ends where nothing forbids it."""
    git("init", "-q", cwd=tmp_path)
    (tmp_path / "a.csv").write_bytes(b"x\n1\n")
    git("add", "-A", cwd=tmp_path)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    git(*who, "commit", "-qm", "a", cwd=tmp_path)
    clone = str(tmp_path / "clone")
    git("clone", "-q", "--config", "core.autocrlf=true", str(tmp_path), clone)
    assert (tmp_path / "clone/a.csv").read_bytes() == b"x\r\n1\r\n"


def test_an_installed_package_never_writes_beside_itself(tmp_path):
    """As after `pip install .`: the modules stand elsewhere, the working folder is no book."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    for package in ("iclbook", "studies"):
        for path in (BOOK / package).rglob("*"):
            if path.suffix in (".py", ".toml"):
                target = site / path.relative_to(BOOK)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    env = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("ICLBOOK_STORE", None)

    def iclbook(*arguments, **more):
        command = [sys.executable, "-m", "iclbook", *arguments]
        return subprocess.run(command, cwd=work, env=env | more, capture_output=True, text=True)

    before = sorted(site.rglob("*"))
    run = ["run", "yang2024/lemma5", "--profile", "quick", "--set", "draws=1000", "--json"]
    for arguments in (["list"], run):
        done = iclbook(*arguments)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "they come with the book's folder, not with the package" in done.stderr
        assert "--store DIR or ICLBOOK_STORE" in done.stderr
    assert iclbook(*run, ICLBOOK_STORE=str(work / "mine")).returncode == 0
    assert len([*work.glob("mine/yang2024/lemma5@draws=1000.*/quick.losses.csv")]) == 1
    assert sorted(site.rglob("*")) == before


def test_a_copied_book_does_not_show_the_originals_results(tmp_path, monkeypatch):
    """A copied .venv still imports the package of the original, and with it the results."""
    (tmp_path / "copy/iclbook").mkdir(parents=True)
    (tmp_path / "copy/chapters").mkdir()
    monkeypatch.chdir(tmp_path / "copy/chapters")
    assert Store().is_books_own
    (tmp_path / "copy/iclbook/store.py").touch()
    with pytest.raises(InputError, match=r"another book than .* run `make book`"):
        Store()


@pytest.fixture
def set_up(tmp_path):
    """Run the Makefile's set-up in a folder of its own, with a shell script for Python."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((BOOK / name).read_bytes())

    def run(python, in_venv=True):
        place = tmp_path / (".venv/bin/python" if in_venv else "python")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"#!/bin/bash\n{python}\n")
        place.chmod(0o755)
        command = ["make", ".venv/.iclbook-installed", f"PYTHON={tmp_path}/python"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_venv_made_elsewhere_is_named(set_up, tmp_path):
    assert set_up("exit 0")[0] == 0
    stamp = tmp_path / ".venv/.iclbook-installed"
    assert stamp.read_text().strip() == str(tmp_path.resolve())
    assert set_up("exit 0")[0] == 0
    stamp.write_text("/elsewhere\n")
    code, words = set_up("exit 0")
    assert code != 0 and ".venv was made in /elsewhere" in words and "delete .venv" in words


def test_a_venv_without_pip_is_named(set_up):
    code, words = set_up('[ "$2" != pip ]')
    assert code != 0 and ".venv is not whole" in words


def test_a_python_without_venv_leaves_no_half_behind(set_up, tmp_path):
    """As Debian's python3 does without python3-venv: a folder with a python and no pip."""
    half = '[ "$2" != venv ] || { mkdir -p .venv/bin; ln -s "$0" .venv/bin/python; exit 1; }'
    code, words = set_up(half, in_venv=False)
    assert code != 0 and "install python3-venv" in words and not (tmp_path / ".venv").exists()
