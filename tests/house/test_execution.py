"""The build executes every notebook each time, two at a time, and fails where a cell fails or
complains."""

import os
import re
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

    def run(env=None, **notebooks):
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
            command,
            capture_output=True,
            text=True,
            env={**os.environ, "NO_COLOR": "1", **(env or {})},
        )

    return run


def test_two_notebooks_run_at_a_time_and_each_build_runs_them_again(build, tmp_path):
    """Between the builds the book gets an address, by one line of _config.yml, and so its
    launch buttons; the address is made up."""
    first = [
        MEET.format(mine="a", other="b"),
        "print('answer', end=' ', flush=True)\ntime.sleep(0.3)\nprint(6 * 7)",
    ]
    second = [MEET.format(mine="b", other="a"), "print(pathlib.Path('data').read_text())"]
    config = tmp_path / "_config.yml"
    given = yaml.safe_load(config.read_text(encoding="utf-8"))
    for text, address in (
        ("as it was", ""),
        ("as it is now", "https://github.com/example/book"),
    ):
        (tmp_path / "data").write_text(text)
        given["repository"]["url"] = address
        config.write_text(yaml.safe_dump(given), encoding="utf-8")
        done = build(first=first, second=second)
        assert done.returncode == 0, done.stdout + done.stderr
        page = (tmp_path / "_build/html/second.html").read_text(encoding="utf-8")
        assert [words in page for words in ("as it was", "as it is now")] == [
            text == "as it was",
            text != "as it was",
        ]
        page = (tmp_path / "_build/html/first.html").read_text(encoding="utf-8")
        assert "answer 42" in page
        launch = "https://mybinder.org/v2/gh/example/book/main?urlpath="
        source = 'href="https://github.com/example/book"'
        assert [part in page for part in (launch, source)] == [bool(address)] * 2
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
    assert re.search(
        r"complains\.ipynb, cell 2 \(\w+\) writes to standard error: look out", said
    )


DRAWN = """import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.title({title!r})"""
WARNS = "import warnings; warnings.warn('old', DeprecationWarning, stacklevel=1)"


def test_a_readers_settings_reach_no_page_and_a_figure_that_fails_to_draw_is_named(
    build, tmp_path
):
    """A backend without figures, TeX for text, folders that cannot be written, warnings
    switched on, a start-up file that prints. The figure raises nothing in its cell: it is
    drawn after it, and only the output tells."""
    startup = tmp_path / "home/.ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "a.py").write_text("import sys; print('good morning', file=sys.stderr)")
    (tmp_path / "home/matplotlibrc").write_text("text.usetex: True\naxes.facecolor: red\n")
    (tmp_path / "home/blocked").write_text("")
    env = {
        "MPLBACKEND": "Agg",
        "MATPLOTLIBRC": "home/matplotlibrc",
        "MPLCONFIGDIR": "home/blocked/matplotlib",
        "IPYTHONDIR": "home/.ipython",
        "JUPYTER_RUNTIME_DIR": "home/blocked/runtime",
    }
    env = {name: value.replace("home", f"{tmp_path}/home") for name, value in env.items()}
    fine = [DRAWN.format(title="a_b 100 %"), f"exec({WARNS!r}, {{'__name__': 'x'}})"]
    slips = ["x = 1", DRAWN.format(title="$\\frac{1$")]
    done = build(env=env | {"PYTHONWARNINGS": "always"}, fine=fine, slips=slips)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "fine.ipynb, cell" not in said, said
    page = (tmp_path / "_build/html/fine.html").read_text(encoding="utf-8")
    assert 'src="_images/' in page and "good morning" not in page
    assert re.search(r"slips\.ipynb, cell 2 \(\w+\) shows an error: ValueError", said), said
