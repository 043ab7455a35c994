"""What was done so that the numbers can be trusted: results/trust/summary.json, a number a key.

Run: make trust, or this file with the parts that are wanted: kills, verify, counts. It kills
runs at random moments and lets them go on, verifies every stored result, and counts what the
ledger and the list of mutants say.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tqdm import tqdm

from iclbook.claim import all_claims, fresh_shares
from iclbook.machine import machine
from iclbook.store import Store

BOOK = Path(__file__).resolve().parents[2]
FOLDER = BOOK / "results" / "trust"
FILE = FOLDER / "summary.json"
SEED, RUNS, KILLS, LONGEST = 0, 20, 3, 6.0  # LONGEST: seconds until a run is killed
STABLE = 0.9  # of the sets of fresh seeds give the recorded verdict
# Points of a sweep, two at a time; and one training whose state is kept at every step.
POINTS = ["-m", "iclbook", "run", "stress/shifts", "--seeds", "0-19", "--jobs", "2"]
OFTEN = (
    "from iclbook.checkpoint import Checkpoint; Checkpoint.__init__.__defaults__ = (None, 0.0)"
)
STATES = ["-c", f"{OFTEN}; from iclbook.cli import main; main()", "run", "yang2024/fig2b"]


def tables(store: Path) -> dict[str, bytes]:
    """Every stored table of a folder of results."""
    found = store.glob("*/*/quick.*.csv")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in found}


def start(arguments: list[str], store: Path) -> subprocess.Popen:
    """A run in the quick profile, in a process group of its own."""
    more = ["--profile", "quick", "--store", str(store)]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return subprocess.Popen(
        [sys.executable, *arguments, *more], start_new_session=True, cwd=BOOK, **quiet
    )


def killed(arguments: list[str], draw: random.Random) -> tuple[dict[str, bytes], int]:
    """(the tables of a run that was killed up to KILLS times before it could end, how often it
    was)."""
    with tempfile.TemporaryDirectory() as folder:
        store, times = Path(folder), 0
        for _ in range(KILLS):
            run, wait = start(arguments, store), draw.uniform(1.0, LONGEST)
            try:
                run.wait(wait)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                times += 1
            run.wait()
        start(arguments, store).wait()
        return tables(store), times


def kill_and_resume() -> dict[str, int]:
    """RUNS runs of each kind, how many were killed at least once, and how many of those hold
    what an undisturbed run holds."""
    draw, every, equal = random.Random(SEED), 0, 0
    for arguments in (POINTS, STATES):
        with tempfile.TemporaryDirectory() as folder:
            start(arguments, Path(folder)).wait()
            undisturbed = tables(Path(folder))
        assert undisturbed, f"no result of {arguments}"
        for _ in tqdm(range(RUNS), desc="killed runs"):
            found, times = killed(arguments, draw)
            every, equal = every + bool(times), equal + (bool(times) and found == undisturbed)
    return {"kill_resume_runs": every, "kill_resume_equal": equal}


def counted() -> dict[str, int]:
    """Mutants and claims, by the list and by the ledger."""
    with (FOLDER / "mutants.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    claims, shares = all_claims(), fresh_shares(Store())
    judged = [claim for claim in claims.values() if claim.verdict != "untestable"]
    stable = [claim for claim in shares.values() if claim["share"] >= STABLE]
    return {
        "mutants_total": len(rows),
        "mutants_noticed": sum(bool(row["noticed_by"]) for row in rows),
        "claims_total": len(claims),
        "claims_testable": len(judged),
        "claims_on_fresh_seeds": len(shares),
        "claims_stable_on_fresh_seeds": len(stable),
    }


def verified() -> dict:
    """Seconds of `verify`, and the instruction sets on which it has agreed: this one besides
    those that the file names."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "iclbook", "verify"], check=True, cwd=BOOK)
    held = json.loads(FILE.read_text()) if FILE.exists() else {}
    sets = sorted({*held.get("instruction_sets", []), machine()["instruction_set"]})
    took = {"verify_seconds": round(time.perf_counter() - began, 1)}
    # A plain set is slower and is asked second: the seconds are those of the machine's own.
    took = {} if os.environ.get("ICLBOOK_PLAIN") else took
    return took | {"instruction_sets": sets, "processors_verified": len(sets)}


def main(parts: list[str]):
    """Write the summary: the named parts of it, or all."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in parts or PARTS:
        found |= PARTS[name]()
    if not os.environ.get("ICLBOOK_PLAIN"):
        found |= {"machine": machine(), "measured": str(date.today())}
    FILE.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


PARTS = {"kills": kill_and_resume, "verify": verified, "counts": counted}

if __name__ == "__main__":
    main(sys.argv[1:])
