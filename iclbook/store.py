"""Stored results: `results/<id>/<profile>.<table>.csv` and `<profile>.json`, plain text, and
arrays such as trained weights, `<profile>.<array>.npy`; checked on every read.

Only `read` and `write` import pandas and numpy, so that the states of all results can be listed
in no time.
"""

import functools
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import jsonschema

from iclbook.errors import InputError, require
from iclbook.experiment import Experiment, Settings
from iclbook.files import publish, ready_folder, sha256, writing_to
from iclbook.machine import in_words, versions


def _object(**properties) -> dict:
    return {"type": "object", "required": list(properties), "properties": properties}


_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_MACHINE = _object(
    processor=_TEXT, instruction_set=_TEXT, architecture=_TEXT, cores=_WHOLE, system=_TEXT
)
_TABLE = _object(rows=_WHOLE, columns={"type": "array"}, sha256=_TEXT)
_ARRAY = _object(shape={"type": "array", "items": _WHOLE}, dtype=_TEXT, sha256=_TEXT)
SIDECAR = _object(
    id=_TEXT,
    profile=_TEXT,
    settings={"type": "object"},
    seeds={"type": "array", "items": _WHOLE, "minItems": 1, "uniqueItems": True},
    tables={"type": "object", "additionalProperties": _TABLE, "minProperties": 1},
    created={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT"},
    wall_seconds=_NUMBER,
    point_seconds={"type": "array", "items": _NUMBER},
    machines={"type": "array", "items": _MACHINE, "minItems": 1},
    versions={"type": "object"},
    sha256=_TEXT,
)
# Not required: results were stored without it.
SIDECAR["properties"]["arrays"] = {"type": "object", "additionalProperties": _ARRAY}


@dataclass(frozen=True)
class Result:
    """The tables of an experiment, `result["name"]`, with the settings behind them and one line
    of provenance. arrays: by name, (points, ...) in the order of `settings.points()`."""

    tables: "dict[str, pandas.DataFrame]"  # noqa: F821
    settings: Settings
    provenance: str
    arrays: "dict[str, numpy.ndarray]" = field(default_factory=dict)  # noqa: F821

    def __getitem__(self, name: str) -> "pandas.DataFrame":  # noqa: F821
        """The table of this name; raises InputError that lists the names there are."""
        require(name in self.tables, f"no table {name!r}; there are {', '.join(self.tables)}")
        return self.tables[name]


def book_folder() -> Path | None:
    """The book's folder: the one this package stands in or, where it is installed elsewhere,
    one around the working folder; None where there is none.

    Raises InputError in a copy of the book, whose .venv still has the original's package.
    """
    own, here = Path(__file__).resolve().parents[1], (Path.cwd(), *Path.cwd().parents)
    found = next((place for place in (own, *here) if (place / "_toc.yml").is_file()), None)
    copy = next((place for place in here if (place / "iclbook" / "store.py").is_file()), own)
    require(
        found != own or copy.samefile(own),
        f"this folder is another book than {own}, from where iclbook is installed; delete "
        f"{copy / '.venv'} and run `make book`, or leave the folder",
    )
    return found


class Store:
    """The results under one folder: the book's own unless another is named (`--store`,
    `ICLBOOK_STORE`)."""

    def __init__(self, root: Path | str | None = None):
        book = book_folder()
        named = root or os.environ.get("ICLBOOK_STORE") or (book and book / "results")
        require(
            bool(named),
            "no book around this folder, so no results: they come with the book's folder, not "
            "with the package. Get the whole book and run inside it, or name a folder of "
            "results with --store DIR or ICLBOOK_STORE",
        )
        self.book, self.root = book, Path(named).resolve()
        require(not os.path.isfile(self.root), f"{self.root} is a file; name a folder instead")
        own = book and (book / "results").resolve()
        self.is_books_own = self.root == own
        inside = bool(own) and own in self.root.parents
        require(not inside, f"{self.root} lies in the book's own results; name another folder")

    def file(self, experiment: Experiment, profile: str, table: str | None = None) -> Path:
        """Where a table's CSV lies, or the JSON beside the tables."""
        name = f"{profile}.{table}.csv" if table else f"{profile}.json"
        return self.root / experiment.id / name

    def named(self, path: Path) -> str:
        """The path as a reader would type it in the book's folder."""
        inside = self.book and path.is_relative_to(self.book)
        return path.relative_to(self.book).as_posix() if inside else str(path)

    def mend(self, experiment: Experiment, profile: str) -> str:
        """The command that computes a result anew."""
        place = "" if self.is_books_own else f" --store {self.named(self.root)}"
        return f"iclbook run {experiment.typed} --profile {profile} --force{place}"

    def meta(
        self, experiment: Experiment, profile: str, settings: Settings | None = None
    ) -> dict:
        """The JSON of a stored result. Raises InputError where it is missing, damaged or for
        other settings than these, by default the profile's."""
        return self._open(experiment, profile, settings)[0]

    def is_stored(self, experiment: Experiment, profile: str = "full") -> bool:
        """Whether a valid result stands in the store."""
        try:
            self.meta(experiment, profile)
        except InputError:
            return False
        return True

    def read(self, experiment: Experiment, profile: str = "full") -> Result:
        """A stored result. Raises InputError, with the command that mends it, where it is not
        valid."""
        from iclbook.contents import described, from_file
        from iclbook.tables import arranged

        meta, contents = self._open(experiment, profile)
        try:
            found = dict(from_file(*file) for file in contents.items())
            arrays = {name: found.pop(name) for name in experiment.arrays}
            tables, about = arranged(experiment, found), described(experiment, arrays)
            other = [n for n in about if not about[n].items() <= meta["arrays"][n].items()]
            require(not other, f"other shapes or dtypes than the JSON's: {', '.join(other)}")
            held = set().union(*(table["seed"] for table in tables.values()))
            strange = sorted(held ^ set(meta["seeds"]))
            require(not strange, f"seeds in the JSON only, or in the tables only: {strange}")
        except Exception as error:  # numpy's parser of headers raises a dozen kinds
            where = self.named(self.file(experiment, profile))
            fault = f"{where}: not what is declared ({' '.join(str(error).split())})"
            mend = self.mend(experiment, profile)
            raise InputError(f"{fault}; compute them with `{mend}`") from None
        settings = experiment.settings(profile, seeds=tuple(meta["seeds"]))
        when, seconds = meta["created"][:10], meta["wall_seconds"]
        where = "; ".join(dict.fromkeys(in_words(machine) for machine in meta["machines"]))
        took = f"in {duration(seconds)} of one-thread time on {where}"
        line = f"loaded: {experiment.id} ({profile}), computed {when} {took}"
        return Result(tables, settings, line, arrays)

    def _open(
        self, experiment: Experiment, profile: str, settings: Settings | None = None
    ) -> tuple[dict, dict[str, bytes]]:
        """(JSON, content of each file beside it) of a valid result. A publication under way is
        read from its own folder, or once more when it changed the files in between: a fault
        counts when it is met twice in a row on the same JSON."""
        folder, met = self.root / experiment.id, None
        for _ in range(20):
            ready = ready_folder(folder, profile)
            place = ready if os.path.isdir(ready) else folder
            before = _bytes(place / f"{profile}.json")
            try:
                return self._checked(experiment, profile, place, settings)
            except InputError as error:
                if place == folder and met == (before, str(error)):
                    raise
                met = before, str(error)
        raise InputError(
            f"{self.named(folder)} is being replaced all the time; try again, or delete "
            f"{ready_folder(folder, profile).name} in it if nothing runs"
        )

    def _checked(
        self, experiment: Experiment, profile: str, place: Path, wanted: Settings | None
    ) -> tuple[dict, dict[str, bytes]]:
        sidecar = self.file(experiment, profile)
        mend = f"compute it with `{self.mend(experiment, profile)}`"
        text = _bytes(place / sidecar.name)
        require(text is not None, f"{self.named(sidecar)} is missing; {mend}")
        try:
            meta = json.loads(text)
            _sidecar().validate(meta)
        except (ValueError, RecursionError, jsonschema.ValidationError):
            fault = f"{self.named(sidecar)} is not a result's JSON"
            raise InputError(f"{fault}; restore the result's files, or {mend}") from None
        said, damaged = meta.pop("sha256"), f"{self.named(sidecar)} is damaged"
        fault = f"{damaged} (its SHA-256 differs); restore it, or {mend}"
        require(said == _own_hash(meta), fault)
        whose, ours = ((meta["id"], meta["profile"]), (experiment.id, profile))
        strange = f"{self.named(sidecar)} is the result of {' '.join(whose)}"
        require(whose == ours, f"{strange}; {mend}")
        settings, seeds = meta["settings"], meta["seeds"]
        wanted = wanted or experiment.settings(profile)
        differ = wanted.differing(settings)
        other = f"{self.named(sidecar)} was computed with other settings"
        # What a reader computed is never theirs to lose.
        keep = mend if self.is_books_own else "keep it, and name another --store DIR"
        require(not differ, f"{other} ({', '.join(differ)}); {keep}")
        # In a store of one's own any seeds will do.
        least = len(wanted.seeds) if self.is_books_own else 1
        few = f"{self.named(sidecar)} holds {len(seeds)} seeds, {least} are wanted"
        require(len(seeds) >= least, f"{few}; {mend}")
        known = {f"{name}.csv": about for name, about in meta["tables"].items()}
        known |= {f"{name}.npy": about for name, about in meta.get("arrays", {}).items()}
        held = f"{self.named(sidecar)} names the files {', '.join(known)}"
        require(known.keys() == {*experiment.files}, f"{held}, not those declared; {mend}")
        contents = {}
        for name, about in known.items():
            path = sidecar.with_name(f"{profile}.{name}")
            content = contents[name] = _bytes(place / path.name)
            require(content is not None, f"{self.named(path)} is missing; {mend}")
            damaged = f"{self.named(path)} is damaged (SHA-256 differs from its JSON)"
            require(sha256(content) == about["sha256"], f"{damaged}; restore it, or {mend}")
            rows, said = content.count(b"\n") - 1, about.get("rows")  # an array has none
            wrong = f"{self.named(path)} has {rows} rows, not the {said} that its JSON says"
            require(said in (None, rows), f"{wrong}; {mend}")
        return meta, contents

    def write(self, experiment, profile: str, settings, computed, force: bool = False) -> None:
        """Store a `runner.Computed`; one rename publishes all its files. Raises InputError
        where a result stands already, unless `force`."""
        from iclbook.contents import as_file, described
        from iclbook.tables import arranged

        sidecar = self.file(experiment, profile)
        other = f"{self.named(sidecar)} exists by now; name another --store DIR"
        other += ", or replace it with --force" * self.is_books_own
        require(force or not os.path.exists(sidecar), other)
        tables = arranged(experiment, computed.tables)
        arrays = described(experiment, computed.arrays)
        files = dict(as_file(*found) for found in (tables | computed.arrays).items())
        about = {
            n: {"rows": len(x), "columns": list(x), "sha256": sha256(files[f"{n}.csv"])}
            for n, x in tables.items()
        }
        meta = {
            "id": experiment.id,
            "profile": profile,
            "settings": settings.as_json(),
            "seeds": list(settings.seeds),
            "tables": about,
            "arrays": {n: x | {"sha256": sha256(files[f"{n}.npy"])} for n, x in arrays.items()},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(sum(computed.seconds), 2),
            "point_seconds": [round(s, 2) for s in computed.seconds],
            "threads": 1,
            "device": settings.device_used,
            "machines": computed.machines,
            "inputs": computed.inputs,
            "code": computed.code,
            "versions": versions(),
        }
        files = {f"{profile}.{name}": content for name, content in files.items()}
        meta["sha256"] = _own_hash(meta)
        files[sidecar.name] = (json.dumps(meta, indent=1) + "\n").encode()
        with writing_to(sidecar.parent):
            publish(sidecar.parent, profile, files)


def _own_hash(meta: dict) -> str:
    return sha256(json.dumps(meta).encode())


@functools.cache
def _sidecar() -> jsonschema.protocols.Validator:
    return jsonschema.Draft202012Validator(SIDECAR)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def duration(seconds: float) -> str:
    """Seconds as a reader would say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
