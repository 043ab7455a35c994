"""Claims: what the papers say, in our words, and checks that return a verdict from the stored tables.

Statements, thresholds and recorded verdicts stand in `claims.toml`; the check of a claim is the function named after
the claim's tail in `iclbook.claims.<chapter>`. Light: imports neither torch nor pandas.
"""

import importlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from iclbook.errors import InputError, require

VERDICTS = ("reproduced", "partly", "not reproduced", "untestable")
KINDS = ("identity", "inequality", "empirical")


class Outcome(NamedTuple):
    """What a check returns: its verdict, and the measured number that it compared with the threshold."""

    verdict: str
    measured: float


def at_most(measured: float, threshold: float) -> Outcome:
    """Reproduced where measured <= threshold; NaN is not."""
    return Outcome("reproduced" if measured <= threshold else "not reproduced", float(measured))


def at_least(measured: float, threshold: float) -> Outcome:
    """Reproduced where measured >= threshold; NaN is not."""
    return Outcome("reproduced" if measured >= threshold else "not reproduced", float(measured))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim. source: whose statement it is, "paper" or "ours"; experiments: ids of the tables its check reads."""

    id: str
    item: str
    chapter: str
    kind: str
    statement: str
    experiments: tuple[str, ...]
    verdict: str
    source: str
    threshold: float = math.nan
    reason: str = ""

    def __post_init__(self):
        require(self.kind in KINDS, f"{self.id}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        require(self.verdict in VERDICTS, f"{self.id}: verdict must be one of {', '.join(VERDICTS)}, got {self.verdict!r}")
        require(self.source in ("paper", "ours"), f"{self.id}: source must be 'paper' or 'ours', got {self.source!r}")
        require(self.verdict == "reproduced" or self.reason, f"{self.id}: the verdict {self.verdict!r} needs a reason")

    def check(self, tables: Mapping) -> Outcome:
        """The verdict that the tables give. An untestable claim has no check and returns as recorded."""
        if self.verdict == "untestable":
            return Outcome("untestable", math.nan)
        module = importlib.import_module(f"iclbook.claims.{self.chapter.replace('/', '.')}")
        function = getattr(module, self.id.split("/")[1].replace("-", "_"))
        return function({name: tables[name] for name in self.experiments}, self.threshold)


def all_claims() -> dict[str, Claim]:
    """Every claim of the book, by id, in the order of `claims.toml`."""
    text = Path(__file__).with_name("claims.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)
    return {name: Claim(id=name, **entry | {"experiments": tuple(entry["experiments"])}) for name, entry in entries.items()}


class StoredTables(Mapping):
    """The full tables of a store by experiment id, each read once, when it is first asked for."""

    def __init__(self, store):
        self.store, self._read = store, {}

    def __getitem__(self, experiment_id: str):
        from iclbook.settings.catalogue import find

        if experiment_id not in self._read:
            self._read[experiment_id] = self.store.read(find(experiment_id), "full").table
        return self._read[experiment_id]

    def __iter__(self):
        return iter(self._read)

    def __len__(self):
        return len(self._read)


def report(store, chapter: str | None = None) -> list[dict]:
    """Every claim (of a chapter) as a dict: recorded verdict, returned verdict, measured number, threshold and so on.

    A claim whose table is missing or damaged gets returned = None and the error as its reason.
    """
    tables, rows = StoredTables(store), []
    for claim in all_claims().values():
        if chapter not in (None, claim.chapter):
            continue
        row = {name: getattr(claim, name) for name in ("id", "item", "chapter", "source", "kind", "statement", "verdict")}
        try:
            returned, measured = claim.check(tables)
            row |= {"returned": returned, "measured": _number(measured), "error": None}
        except InputError as error:
            row |= {"returned": None, "measured": None, "error": str(error)}
        rows.append(row | {"threshold": _number(claim.threshold), "reason": claim.reason})
    return rows


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
