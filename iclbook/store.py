"""Stored results: `results/<id>/<profile>.csv` and `.json`, plain text, checked on every read, never overwritten silently.

Only `read` and `write` import pandas, so that the states of all results can be listed in no time.
"""

import hashlib
import json
import os
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from iclbook.errors import InputError, require
from iclbook.settings.experiment import Experiment, Settings

BOOK = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas")
FLOAT_FORMAT = "%.10g"


@dataclass(frozen=True)
class Result:
    """A table with where it came from. `settings` are the profile's; `provenance` is one line for a figure."""

    table: "pandas.DataFrame"  # noqa: F821
    settings: Settings
    provenance: str


class Store:
    """The results under one folder: the book's own unless another is named (`--store`, `ICLBOOK_STORE`)."""

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root or os.environ.get("ICLBOOK_STORE") or BOOK / "results").absolute()
        self.is_books_own = self.root == BOOK / "results"

    def path(self, experiment: Experiment, profile: str, suffix: str) -> Path:
        """Where a result's file lies."""
        return self.root / experiment.id / f"{profile}{suffix}"

    def named(self, path: Path) -> str:
        """The path as a reader would type it in the book's folder."""
        return str(path.relative_to(BOOK) if path.is_relative_to(BOOK) else path)

    def mend(self, experiment: Experiment, profile: str) -> str:
        """The command that computes a result anew."""
        place = "" if self.is_books_own else f" --store {self.named(self.root)}"
        return f"iclbook run {experiment.id} --profile {profile} --force{place}"

    def meta(self, experiment: Experiment, profile: str) -> dict:
        """The JSON beside a stored table. Raises InputError where it is missing, damaged or for other settings."""
        csv, sidecar = (self.path(experiment, profile, suffix) for suffix in (".csv", ".json"))
        mend = f"compute it with `{self.mend(experiment, profile)}`"
        for path in (csv, sidecar):
            require(path.is_file(), f"{self.named(path)} is missing; {mend}")
        try:
            meta = json.loads(sidecar.read_text())
            expected, settings, seeds = meta["sha256"], meta["settings"], meta["seeds"]
            _ = meta["wall_seconds"], meta["created"], meta["machine"], meta["rows"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self.named(sidecar)} is not a result's JSON; restore both files, or {mend}") from None
        found = hashlib.sha256(csv.read_bytes()).hexdigest()
        require(found == expected, f"{self.named(csv)} is damaged (SHA-256 differs from its JSON); restore it, or {mend}")
        ours = experiment.settings(profile)
        differ = sorted(
            name for name in ours.as_json().keys() | settings.keys() if ours.as_json().get(name) != settings.get(name)
        )
        require(not differ, f"{self.named(csv)} was computed with other settings ({', '.join(differ)}); {mend}")
        enough = len(seeds) >= len(ours.seeds)
        require(enough, f"{self.named(csv)} holds {len(seeds)} seeds, {len(ours.seeds)} are wanted; {mend}")
        return meta

    def is_stored(self, experiment: Experiment, profile: str = "full") -> bool:
        """Whether a valid result stands in the store."""
        try:
            self.meta(experiment, profile)
        except InputError:
            return False
        return True

    def read(self, experiment: Experiment, profile: str = "full") -> Result:
        """A stored result. Raises InputError, with the command that mends it, where it is not valid."""
        import pandas as pd

        meta = self.meta(experiment, profile)
        table = pd.read_csv(self.path(experiment, profile, ".csv"))
        settings = experiment.settings(profile, seeds=tuple(meta["seeds"]))
        place = self.named(self.path(experiment, profile, ".csv")).split("results/")[-1]
        when, seconds, machine = meta["created"][:10], meta["wall_seconds"], meta["machine"]
        line = f"loaded: {place}, computed {when} in {duration(seconds)} of one-thread time on {machine}"
        return Result(table, settings, line)

    def write(self, experiment: Experiment, profile: str, settings: Settings, table, seconds: list[float], force=False):
        """Store a table: the CSV first, then the JSON that vouches for it, each by an atomic rename.

        seconds: wall seconds of each point. table.attrs["machine"]: where it was computed, if not here. Raises InputError
        where a file stands already, unless `force`.
        """
        csv, sidecar = (self.path(experiment, profile, suffix) for suffix in (".csv", ".json"))
        for path in (csv, sidecar):
            require(force or not path.exists(), f"{self.named(path)} exists; add --force to replace it, or --store DIR")
        check_table(experiment, table)
        text = table.to_csv(index=False, float_format=FLOAT_FORMAT, lineterminator="\n").encode()
        meta = {
            "id": experiment.id,
            "profile": profile,
            "settings": settings.as_json(),
            "seeds": list(settings.seeds),
            "rows": len(table),
            "columns": list(table.columns),
            "sha256": hashlib.sha256(text).hexdigest(),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "wall_seconds": round(sum(seconds), 2),
            "point_seconds": [round(s, 2) for s in seconds],
            "threads": 1,
            "machine": table.attrs.get("machine") or machine(),
            "versions": versions(),
        }
        with writing_to(csv.parent):
            atomic_write(csv, text)
            atomic_write(sidecar, (json.dumps(meta, indent=1) + "\n").encode())


def check_table(experiment: Experiment, table) -> None:
    """Raise InputError unless a table is tidy: `seed` among its keys, `value` last, no key twice."""
    columns = list(table.columns)
    tidy = columns[-1:] == ["value"] and "seed" in columns
    require(tidy, f"{experiment.id} must return a column seed and, last, a column value; it has {', '.join(columns)}")
    twice = table.duplicated(columns[:-1])
    require(not twice.any(), f"{experiment.id} returns the same key twice, first in row {int(twice.argmax())}")


@contextmanager
def writing_to(folder: Path):
    """Make `folder`; turn a refusal of the file system into one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}); free or allow it, or add --store DIR") from None


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_bytes(content)
    os.replace(partial, path)


def machine() -> str:
    """The machine in words: processor architecture, cores, system. No host name."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose change can change a number."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def duration(seconds: float) -> str:
    """Seconds as a reader would say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
