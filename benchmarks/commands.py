"""How long a command keeps its reader waiting. Run: make bench."""

import subprocess
import sys
import time

from summary import in_turn, record

COMMANDS = {
    "import": ["-c", "import iclbook.cli"],
    "list": ["-m", "iclbook", "list"],
    "claims": ["-m", "iclbook", "claims"],
    "python": ["-c", ""],
}


def seconds_of(arguments: list[str]) -> float:
    """Seconds of one call of Python."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    """Record medians; importing is what it takes beyond an empty Python."""
    ways = [lambda arguments=each: seconds_of(arguments) for each in COMMANDS.values()]
    times = dict(zip(COMMANDS, in_turn(ways, blocks=7)))
    middle = {name: sorted(seconds)[len(seconds) // 2] for name, seconds in times.items()}
    record(
        import_ms=1e3 * (middle["import"] - middle["python"]),
        list_seconds=middle["list"],
        claims_seconds=middle["claims"],
    )


if __name__ == "__main__":
    main()
