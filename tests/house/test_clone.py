"""A clone as others make it: line ends of Windows, and a package installed elsewhere."""

import os
import subprocess
import sys

import pytest
from book import BOOK

from iclbook.catalogue import find
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
    for suffix in ("*.ipynb", "*.csv", "*.js"):
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
        assert "--store DIR or ICLBOOK_STORE" in done.stderr
    assert iclbook(*run, ICLBOOK_STORE=str(work / "mine")).returncode == 0
    assert (work / "mine/yang2024/lemma5/quick.losses.csv").is_file()
    assert sorted(site.rglob("*")) == before
