"""The build executes every notebook each time, two at a time, and fails where a cell fails or
complains."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from checks import KERNEL
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

BOOK = Path(__file__).parents[2]
MEET = """import time, pathlib
pathlib.Path("{mine}").touch(exist_ok=False)  # fails where one build runs it twice
end = time.monotonic() + 60
while not pathlib.Path("{other}").exists():
    assert time.monotonic() < end, "the other notebook does not run"
    time.sleep(0.05)"""


@pytest.fixture
def build(tmp_path):
    """Build a book of the given notebooks (name -> code cells) with the book's own
    configuration and extensions."""
    for name in ("_ext", "assets"):
        shutil.copytree(BOOK / name, tmp_path / name)
    (tmp_path / "references.bib").touch()
    config = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["config"]["suppress_warnings"] = ["bibtex.empty_bibliography"]
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def run(**notebooks):
        for name, cells in notebooks.items():
            cells = [new_markdown_cell(f"# {name}"), *map(new_code_cell, cells)]
            nbformat.write(
                new_notebook(cells=cells, metadata={"kernelspec": KERNEL}),
                tmp_path / f"{name}.ipynb",
            )
        root, *others = notebooks
        toc = {
            "format": "jb-book",
            "root": root,
            "chapters": [{"file": name} for name in others],
        }
        (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
        command = [
            sys.executable,
            "-c",
            "from jupyter_book.cli.main import main; main()",
            "build",
            str(tmp_path),
        ]
        command += ["--all", "-n", "-W", "--keep-going"]
        return subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
        )

    return run


def test_two_notebooks_run_at_a_time_and_each_build_runs_them_again(build, tmp_path):
    first = [
        MEET.format(mine="a", other="b"),
        "print('answer', end=' ', flush=True)\ntime.sleep(0.3)\nprint(6 * 7)",
    ]
    second = [MEET.format(mine="b", other="a"), "print(pathlib.Path('data').read_text())"]
    for text in ("as it was", "as it is now"):
        (tmp_path / "data").write_text(text)
        done = build(first=first, second=second)
        assert done.returncode == 0, done.stdout + done.stderr
        page = (tmp_path / "_build/html/second.html").read_text(encoding="utf-8")
        assert [words in page for words in ("as it was", "as it is now")] == [
            text == "as it was",
            text != "as it was",
        ]
        assert "answer 42" in (tmp_path / "_build/html/first.html").read_text(encoding="utf-8")
        for file in "ab":
            (tmp_path / file).unlink()


def test_a_failing_cell_and_a_cell_that_writes_to_standard_error_fail_the_build(build):
    done = build(
        complains=["import sys", "print('look out', file=sys.stderr)"], fails=["x = 0", "1 / x"]
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "complains.ipynb" in said and "stderr was found in the cell outputs" in said
    assert "fails.ipynb" in said and "1 / x" in said and "ZeroDivisionError" in said


def test_standard_error_alone_fails_the_build(build):
    done = build(fine=["x = 1"], complains=["import sys", "print('look out', file=sys.stderr)"])
    said = done.stdout + done.stderr
    assert (
        done.returncode != 0 and "complains.ipynb" in said and "ZeroDivisionError" not in said
    )
