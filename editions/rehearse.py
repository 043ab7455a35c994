"""Runs notebooks of the student edition as a student would: in a folder of their own, with the
package from the wheel beside them, in the quick profile.

    python -m editions.rehearse              # every chapter
    python -m editions.rehearse ridge/heads

The executed notebooks lie in _build/rehearsed. Ends with status 1 where a cell fails.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from editions.contents import quiet_kernels, wheel
from editions.convert import files_of, wheel_name
from editions.labels import BOOK, chapters

CELL_SECONDS = 240


def rehearse(chapter: str, package: bytes, kept: Path) -> str:
    """Runs one chapter; returns the error that stopped it, "" where none did."""
    name = Path(chapter).name
    with tempfile.TemporaryDirectory() as place:
        folder, site = Path(place) / "class" / name, Path(place) / "site"
        for file, data in (files_of(chapter) | {wheel_name(): package}).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*install, "--target", site, folder / wheel_name()], check=True)
        made = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        env = {k: v for k, v in os.environ.items() if k != "ICLBOOK_STORE"}
        env |= {"PYTHONPATH": str(site), "ICLBOOK_PROFILE": "quick"}
        env["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        quiet_kernels()
        client = NotebookClient(
            made, timeout=CELL_SECONDS, resources={"metadata": {"path": str(folder)}}
        )
        error = ""
        try:
            client.execute(env=env)
        except CellExecutionError as stopped:
            error = str(stopped)
        kept.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, kept / f"{name}.ipynb")
    return error


def main() -> None:
    """Runs the chapters named on the command line, or all."""
    package, failed = wheel(), 0
    for chapter in sys.argv[1:] or chapters():
        start = time.perf_counter()
        error = rehearse(chapter, package, BOOK / "_build" / "rehearsed")
        failed += bool(error)
        print(f"{chapter}: {time.perf_counter() - start:.0f} s, {error or 'runs'}", flush=True)
    sys.exit(min(failed, 1))


if __name__ == "__main__":
    main()
