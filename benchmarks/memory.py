"""How much memory a process needs to compute one point of each experiment. Run: make bench.

A point is computed in a process of its own under the settings of `verify`, which shorten the
full profile but keep its sizes; where a full point takes no longer than SHORT seconds it is
computed itself. `iclbook run ID --dry-run` reads results/benchmarks/memory.json.
"""

import json
import subprocess
import sys

from summary import FILE

from iclbook.catalogue import experiments, find
from iclbook.errors import InputError
from iclbook.runner import compute_point
from iclbook.store import Store

SHORT = 10.0
PEAKS = FILE.with_name("memory.json")


def peak() -> float:
    """MiB that this process held at most."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (1024**2 if sys.platform == "darwin" else 1024))


def measure(name: str):
    """Print the peak after one point; of the imports alone for the name "imports"."""
    import sklearn  # noqa: F401
    import torch  # noqa: F401

    if name != "imports":
        experiment = find(name)
        short = max(Store().meta(experiment, "full")["point_seconds"]) <= SHORT
        settings = experiment.full.changed(**({} if short else experiment.verify))
        compute_point(experiment, settings, settings.points()[-1])
    print(peak())


def main():
    """Measure each experiment; one whose inputs are not the book's keeps what stands."""
    held, found = json.loads(PEAKS.read_text()) if PEAKS.exists() else {}, {}
    for name in ("imports", *experiments()):
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True)
        if done.returncode == 0:
            found[name] = float(done.stdout)
        elif InputError.__name__ in done.stderr and name in held:
            found[name] = held[name]
        else:
            print(f"  {name}: not measured ({done.stderr.strip().splitlines()[-1]})")
        print(f"  {name}: {found.get(name)} MiB")
    PEAKS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    measure(sys.argv[1]) if sys.argv[1:] else main()
