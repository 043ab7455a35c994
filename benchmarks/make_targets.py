"""The README's two commands, installs aside. Run: make bench."""

import shutil
import subprocess
import time
from pathlib import Path

from summary import record

BOOK = Path(__file__).resolve().parents[1]


def seconds_of(target: str) -> float:
    """Seconds of `make TARGET`; an error if it fails."""
    start = time.perf_counter()
    subprocess.run(["make", target], cwd=BOOK, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    """Record the seconds of a build from nothing and of all tests."""
    shutil.rmtree(BOOK / "_build", ignore_errors=True)
    record(make_book_seconds=seconds_of("book"))
    record(make_test_seconds=seconds_of("test"))


if __name__ == "__main__":
    main()
