"""What is typed on the command line: options that commands share, and values."""

import json
import os
import re
import signal
import threading
from contextlib import suppress

import click

from iclbook.errors import require
from iclbook.store import Store

MOST_SEEDS = 10_000


def _store(context, parameter, value: str | None) -> Store:
    require(value != "", "--store is empty; name a folder, or leave it out")
    with suppress(FileNotFoundError):  # what no folder can be ends here, in one line
        os.stat(value or os.curdir)
    return Store(value)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
in_store = click.option(
    "--store", metavar="DIR", callback=_store, help="Another folder of results."
)
AT_ONCE = "Points at a time, at most one a core; by default 1."
at_once = click.option("--jobs", default=1, type=click.IntRange(1), help=AT_ONCE)
SET = (
    "Another setting, such as H=8, tokens=unit or N=[10,20]; needs --store DIR, where a "
    "variant has a folder of its own."
)
ROTATE = "Move the part on by K seeds and branches. By default the day of the result says it."
SCHEDULER = (
    "Compute the points on the dask cluster whose scheduler listens there, such as "
    "tcp://127.0.0.1:8786. Its workers need one thread each: dask worker ADDRESS --nthreads 1."
)
settings_changed = click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE", help=SET
)
rotated = click.option("--rotate", type=int, metavar="K", help=ROTATE)
schedulers = click.option("--scheduler", metavar="ADDRESS", default="", help=SCHEDULER)


def seeds_of(text: str) -> tuple[int, ...]:
    """(0, 1, 2) from "0,1,2" or "0-2"."""
    seeds = []
    for part in text.split(","):
        ends = part.split("-")
        whole = len(ends) <= 2 and all(re.fullmatch(r"[0-9]{1,9}", end) for end in ends)
        first, last = map(int, (ends[0], ends[-1]) if whole else (1, 0))
        require(first <= last, f"--seeds must look like 0,1,2 or 10-14, got {text!r}")
        require(
            len(seeds) + last - first < MOST_SEEDS,
            f"--seeds names more than {MOST_SEEDS:,} seeds: {text!r}",
        )
        seeds += range(first, last + 1)
    require(len(set(seeds)) == len(seeds), f"--seeds names a seed twice: {text!r}")
    return tuple(seeds)


def change_of(text: str) -> tuple[str, object]:
    """("H", 8) from "H=8"; a value is read as JSON, else as text."""
    name, equals, value = text.partition("=")
    require(bool(equals), f"--set must look like NAME=VALUE, got {text!r}")
    require(name != "seeds", "name seeds with --seeds, not with --set")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def on_stop(do) -> None:
    """What SIGINT and SIGTERM do from here on."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, do)


def interrupted(*_) -> None:
    """End in KeyboardInterrupt, once and with no word of joblib's."""
    on_stop(signal.SIG_IGN)
    threading.excepthook = lambda _: None  # its thread stumbles over points taken from it
    raise KeyboardInterrupt
