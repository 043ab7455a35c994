"""What the benchmarks measured: results/benchmarks/summary.json, one number a key.

Each benchmark records its own keys. Numbers of another machine are thrown away first, so that
all that stand side by side come from one.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import median

from iclbook.machine import machine

FILE = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "summary.json"


def record(**numbers: float) -> None:
    """Put measured numbers into the summary and print them."""
    held, here = json.loads(FILE.read_text()) if FILE.exists() else {}, machine()
    held = held if held.get("machine") == here else {}
    found = held | {name: float(f"{x:.3g}") for name, x in numbers.items()}
    found |= {"machine": here, "measured": str(date.today())}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
    for name in numbers:
        print(f"  {name}: {found[name]:g}")


def in_turn(ways: Sequence[Callable[[], float]], blocks: int) -> list[list[float]]:
    """Call each way once a block, in alternating order; returns the seconds of each, block by
    block.

    Neighbours are compared, so that a machine whose speed drifts slows all of them. A block for
    warming up is left out.
    """
    times = [[] for _ in ways]
    for block in range(blocks + 1):
        order = range(len(ways)) if block % 2 else reversed(range(len(ways)))
        for i in order:
            seconds = ways[i]()
            if block:
                times[i].append(seconds)
    return times


def ratio(above: list[float], below: list[float]) -> float:
    """The median over the blocks of one way's time over another's."""
    return median(a / b for a, b in zip(above, below))
