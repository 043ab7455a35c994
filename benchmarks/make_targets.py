"""The README's two commands, installs aside, and each chapter as a test. Run: make bench."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from summary import record

BOOK = Path(__file__).resolve().parents[1]


def seconds_of(target: str) -> float:
    """Seconds of `make TARGET`; an error if it fails."""
    start = time.perf_counter()
    subprocess.run(["make", target], cwd=BOOK, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def of_chapter(notebook: Path) -> float:
    """Seconds of one chapter as a test in the quick profile, its kernel's start included."""
    flags = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "120")
    command = [sys.executable, "-m", "pytest", str(notebook), *flags]
    quick = os.environ | {"ICLBOOK_PROFILE": "quick"}
    start = time.perf_counter()
    subprocess.run(command, cwd=BOOK, env=quick, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    """Record the seconds of a build from nothing, of all tests, of the slowest chapter."""
    shutil.rmtree(BOOK / "_build", ignore_errors=True)
    record(make_book_seconds=seconds_of("book"))
    record(make_test_seconds=seconds_of("test"))
    took = {path.stem: of_chapter(path) for path in sorted(BOOK.glob("chapters/*/*.ipynb"))}
    print("  slowest:", *sorted(took, key=took.get)[-3:])
    record(slowest_chapter_seconds=max(took.values()))


if __name__ == "__main__":
    main()
