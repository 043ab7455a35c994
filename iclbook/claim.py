"""Claims: what the papers say, in our words, and checks that return a verdict from the stored
tables.

Statements, thresholds and recorded verdicts stand in `<chapter>/claims.toml` of the studies;
the check of a claim is a function of `<chapter>/tables.py` beside it: the one that its entry
names, or else the one named after the claim's tail.
Light: imports neither torch nor pandas.
"""

import csv
import importlib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from iclbook.catalogue import find, studies
from iclbook.errors import InputError, require
from iclbook.store import Result, Store

VERDICTS = ("reproduced", "partly", "not reproduced", "untestable")
KINDS = ("identity", "inequality", "empirical")
SOURCES = ("paper", "after-paper", "ours")
DIRECTIONS = ("at_most", "at_least")
FIELDS = ("id", "item", "chapter", "kind", "source", "statement", "direction", "verdict")
FIELDS += ("experiments",)
# What yang2024 says of the tokens of its experiments; its theory has tokens of norm 1.
STATED_TOKENS = "gaussian"


class Outcome(NamedTuple):
    """What a check returns: its verdict, and the measured number that it compared with the
    threshold."""

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
    """One claim of a chapter.

    source: "paper" where a source in our hands states it, "after-paper" where it is ours, after
    the paper's idea, or "ours". experiments: ids of the results its check reads. direction: on
    which side of the threshold the measured number must lie. check: name of the function, ""
    for the claim's own; arguments: what it is called with besides.
    readings: of an experiment of yang2024, {"tokens": .., "loss": ..} each: the check is called
    with every one. fixed: when threshold and rule were fixed, and what changed after a look.
    exempt: general falsifications that leave the claim true, each with the reason.
    """

    id: str
    item: str
    chapter: str
    kind: str
    statement: str
    experiments: tuple[str, ...]
    verdict: str
    source: str
    direction: str = ""
    threshold: float = math.nan
    reason: str = ""
    fixed: str = ""
    check: str = ""
    arguments: dict = field(default_factory=dict)
    readings: tuple[dict[str, str], ...] = ()
    exempt: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        choices = {"kind": KINDS, "verdict": VERDICTS, "source": SOURCES}
        if math.isfinite(self.threshold):
            choices["direction"] = DIRECTIONS
        for name, known in choices.items():
            value = getattr(self, name)
            require(
                value in known,
                f"{self.id}: {name} must be one of {', '.join(known)}, got {value!r}",
            )
        require(
            self.verdict == "reproduced" or self.reason,
            f"{self.id}: the verdict {self.verdict!r} needs a reason",
        )
        require(
            bool(self.fixed), f"{self.id}: fixed must say when threshold and rule were fixed"
        )
        require(
            self.verdict != "untestable" or not self.experiments,
            f"{self.id}: a claim that reads a result is not untestable",
        )

    def judge(self, results: Mapping[str, Result]) -> Outcome:
        """The verdict that complete results give; an untestable claim has no check and returns
        as recorded.

        Raises InputError where a result is not the whole sweep of its settings.
        """
        return self._judge(results)[0]

    def _judge(self, results: Mapping[str, Result]) -> tuple[Outcome, list[dict]]:
        """`judge`, and `by_reading` from which it follows."""
        if self.verdict == "untestable":
            return Outcome("untestable", math.nan), []
        read = {name: results[name] for name in self.experiments}
        for name, result in read.items():
            # Stored results were looked through when they were read.
            found = () if isinstance(results, StoredResults) else _faults(name, result)
            require(not found, f"{self.id}: its result is not complete: {'; '.join(found)}")
        try:
            rows = self.by_reading(read)
            found = self._outcome(read, rows)
        except (AttributeError, KeyError, ValueError, IndexError, TypeError) as error:
            raise InputError(
                f"{self.id}: its check does not run on these tables ({error})"
            ) from None
        above, threshold = self.direction == "at_least", self.threshold
        right = found.measured >= threshold if above else found.measured <= threshold
        require(
            found.verdict != "reproduced" or not math.isfinite(self.threshold) or right,
            f"{self.id}: reproduced, but {found.measured:g} is on the wrong side of the "
            f"threshold {self.threshold:g} ({self.direction})",
        )
        return found, rows

    def outcome(self, results: Mapping[str, Result]) -> Outcome:
        """What the check says of results, whether or not they are complete.

        With readings, the book's one rule: reproduced needs every reading that the paper
        states, partly needs any; the measured number is the worst of those stated. What is
        proved needs them all.
        """
        return self._outcome(results, self.by_reading(results))

    def _outcome(self, results: Mapping[str, Result], rows: list[dict]) -> Outcome:
        if not rows:
            return self._check(results)
        proved = self.kind != "empirical"
        stated = [row for row in rows if proved or row["tokens"] == STATED_TOKENS]
        numbers = [row["measured"] for row in stated or rows]
        worst = max(numbers) if self.direction == "at_most" else min(numbers)
        # max and min are blind to a NaN that comes later.
        measured = math.nan if any(map(math.isnan, numbers)) else worst
        if stated and all(row["verdict"] == "reproduced" for row in stated):
            return Outcome("reproduced", measured)
        some = any(row["verdict"] in ("reproduced", "partly") for row in rows)
        return Outcome("partly" if some else "not reproduced", measured)

    def by_reading(self, results: Mapping[str, Result]) -> list[dict]:
        """What the check says under each reading: dicts of tokens, loss, verdict, measured."""
        return [
            {**reading, **self._check(results, **reading)._asdict()}
            for reading in self.readings
        ]

    def _check(self, results: Mapping[str, Result], **reading) -> Outcome:
        module = importlib.import_module(
            f"{studies().__package__}.{self.chapter.replace('/', '.')}.tables"
        )
        function = getattr(module, self.check or self.id.split("/")[1].replace("-", "_"))
        return function(results, self.threshold, **self.arguments, **reading)

    def margin(self, measured: float) -> float:
        """The relative distance of a measured number from the threshold, positive where it is
        on the right side; NaN where there is none."""
        if not self.threshold:
            return math.nan
        above = (measured - self.threshold) / abs(self.threshold)
        return above if self.direction == "at_least" else -above


def all_claims() -> dict[str, Claim]:
    """Every claim of the book, by id, in the order of the chapters."""
    claims = {}
    for chapter in studies().CHAPTERS:
        file = f"studies/{chapter}/claims.toml"
        try:
            text = (studies().FOLDER / chapter / "claims.toml").read_text(encoding="utf-8")
            entries = tomllib.loads(text)
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{file} cannot be read: {error}; it may be empty") from None
        for name, entry in entries.items():
            require(name not in claims, f"{file}: {name} stands twice")
            try:
                lists = {key: tuple(entry.get(key, ())) for key in ("experiments", "readings")}
                claims[name] = Claim(id=name, chapter=chapter, **entry | lists)
            except (AttributeError, TypeError) as error:  # a field is missing or unknown
                raise InputError(f"{file}: {name} is no claim: {error}") from None
    return claims


class StoredResults(Mapping):
    """The full results of a store by experiment id, each read and looked through once, when it
    is first asked for.

    Raises InputError where one is missing, damaged or not the whole sweep of its settings.
    """

    def __init__(self, store: Store):
        self.store, self._read = store, {}

    def __getitem__(self, experiment_id: str) -> Result:
        if experiment_id not in self._read:
            result = self.store.read(find(experiment_id), "full")
            self._read[experiment_id] = result, _faults(experiment_id, result)
        result, found = self._read[experiment_id]
        require(not found, f"{experiment_id} is not complete: {'; '.join(found)}")
        return result

    def __iter__(self):
        return iter(self._read)

    def __len__(self):
        return len(self._read)


def report(
    store: Store, chapter: str | None = None, claims: dict[str, Claim] | None = None
) -> list[dict]:
    """`judged` on a store's results: all claims (of a chapter), unless some are given."""
    claims = all_claims() if claims is None else claims
    chosen = [claim for claim in claims.values() if chapter in (None, claim.chapter)]
    return judged(chosen, StoredResults(store), fresh_shares(store, claims))


def judged(
    claims: Iterable[Claim], results: Mapping[str, Result], fresh: Mapping | None = None
) -> list[dict]:
    """What each claim's check returns, as `iclbook claims --json` has it: recorded verdict,
    returned verdict, measured number, threshold, the seeds by experiment, and so on.

    fresh: what `fresh_shares` says. What a check cannot judge gets returned = None and the
    error.
    """
    rows = []
    for claim in claims:
        row = {name: getattr(claim, name) for name in FIELDS}
        row |= {"returned": None, "measured": None, "margin": None, "readings": [], "seeds": {}}
        try:
            (returned, measured), readings = claim._judge(results)
            row |= {"returned": returned, "measured": _number(measured), "error": None}
            row["margin"] = _number(claim.margin(measured))
            row["readings"] = [r | {"measured": _number(r["measured"])} for r in readings]
            row["seeds"] = {n: list(results[n].settings.seeds) for n in claim.experiments}
        except InputError as error:
            row["error"] = str(error)
        row |= {"threshold": _number(claim.threshold), "fresh": (fresh or {}).get(claim.id)}
        rows.append(row | {"reason": claim.reason, "fixed": claim.fixed})
    return rows


def fresh_shares(store: Store, claims: dict[str, Claim] | None = None) -> dict[str, dict]:
    """{claim: {"sets": how many sets of fresh seeds, "share": of those that give the recorded
    verdict}} for the claims that `claims/fresh.csv` of the store knows."""
    path, counts = store.root / "claims" / "fresh.csv", {}
    if not path.is_file():
        return {}
    claims = all_claims() if claims is None else claims
    recorded = {name: claim.verdict for name, claim in claims.items()}
    damaged = f"{store.named(path)} is damaged; restore it, or delete it and {path.stem}.json"
    try:
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            require(None not in row.values(), damaged)
            same = row["verdict"] == recorded.get(row["claim"])
            counts.setdefault(row["claim"], []).append(same)
    except (KeyError, ValueError, OSError, csv.Error):
        raise InputError(damaged) from None
    return {
        name: {"sets": len(found), "share": sum(found) / len(found)}
        for name, found in counts.items()
    }


def _faults(experiment_id: str, result: Result) -> list[str]:
    from iclbook.tables import faults

    return faults(find(experiment_id), result.settings, result.tables)


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
