"""What is typed on the command line, as values."""

import json
import re

from iclbook.errors import require


def seeds_of(text: str) -> tuple[int, ...]:
    """(0, 1, 2) from "0,1,2" or "0-2"."""
    seeds = []
    for part in filter(None, text.split(",")):
        ends = part.split("-")
        require(
            len(ends) <= 2 and all(re.fullmatch(r"[0-9]{1,9}", end) for end in ends),
            f"--seeds must look like 0,1,2 or 10-14, got {text!r}",
        )
        seeds += range(int(ends[0]), int(ends[-1]) + 1)
    require(len(set(seeds)) == len(seeds), f"--seeds names a seed twice: {text!r}")
    require(bool(seeds) or not text, f"--seeds holds no seed: {text!r}")
    return tuple(seeds)


def change_of(text: str) -> tuple[str, object]:
    """("H", 8) from "H=8"; a value is read as JSON, else as text."""
    name, equals, value = text.partition("=")
    require(bool(equals), f"--set must look like NAME=VALUE, got {text!r}")
    require(name != "seeds", "name seeds with --seeds, not with --set")
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        read = value
    return name, _tuples(read)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
