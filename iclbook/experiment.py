"""What an experiment is: an id, settings for three profiles, declared tables, and the function
that fills them.

Light: imports neither torch nor pandas.
"""

import dataclasses
import hashlib
import importlib
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import get_args

from iclbook.errors import require
from iclbook.values import fault_of, tuples

PROFILES = ("quick", "full", "paper")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def added(default, *, neutral=None):
    """A dataclass field for a setting that came after results were stored without it.

    neutral: the value under which the code does what it did before (by default, `default`).
    Stored results that do not name the setting count as computed with that value, so they stay
    valid.
    """
    return field(default=default, metadata={"neutral": default if neutral is None else neutral})


def loose(default, **about):
    """A dataclass field whose numbers may be as low as `least=`, not only 1 (whole numbers) or
    0, or whose list may be empty (`empty=True`)."""
    return field(default=default, metadata=about)


def chooses(default, **about):
    """A dataclass field that only says which points there are: what a point computes does not
    depend on it, so finished points stay good when it changes. about: as for `loose`."""
    return field(default=default, metadata={"chooses": True} | about)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of every experiment's settings: plain values only, so that they can be written as
    JSON.

    They validate themselves by their annotations. Whole numbers start at 1, others at 0, and
    lists hold a value, each once; `loose` declares what differs. InputError otherwise.
    """

    seeds: tuple[int, ...] = loose((0,), least=0)

    def __post_init__(self):
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            fault = fault_of(value, f.type, f.metadata.get("least"), f.metadata.get("empty"))
            if not fault and get_args(f.type)[-1:] == (...,):
                fault = "names a value twice" if len(set(value)) < len(value) else ""
            like = "" if f.default is dataclasses.MISSING else json.dumps(f.default)
            require(not fault, f"setting {f.name} {fault}, like {like:.80}; got {value!r:.80}")
        require(bool(self.points()), "these settings leave no point to compute; name values")

    def points(self) -> list[dict]:
        """The sweep: one dict a point, computed apart from the others; its keys lead every
        table's columns."""
        return [{"seed": seed} for seed in self.seeds]

    def as_json(self) -> dict:
        """The settings as JSON would give them back, seeds left out (they are stored
        beside)."""
        values = {
            name: value for name, value in dataclasses.asdict(self).items() if name != "seeds"
        }
        return json.loads(json.dumps(values))

    def of_a_point(self) -> dict:
        """`as_json` without those fields that only choose points."""
        chosen = {f.name for f in dataclasses.fields(self) if "chooses" in f.metadata}
        return {name: value for name, value in self.as_json().items() if name not in chosen}

    @property
    def device_used(self) -> str:
        """Where points are computed: the setting `device`, for those that have one."""
        return getattr(self, "device", "cpu")

    def on_device(self, device: str) -> "Settings":
        """The same settings on another device. Raises InputError where there is no choice."""
        require(
            device == "cpu" or hasattr(self, "device"),
            f"this experiment computes on the processor, not on {device!r}; leave --device",
        )
        return self.changed(device=device) if hasattr(self, "device") else self

    def changed(self, /, **changes) -> "Settings":
        """The same settings with some changed; one value stands for a list of one. Raises
        InputError for a name they do not have, or a value that does not do."""
        names = [f.name for f in dataclasses.fields(self)]
        for name, value in changes.items():
            require(
                name in names,
                f"unknown setting {name!r}; this experiment has {', '.join(names)}",
            )
            lacks_list = isinstance(getattr(self, name), tuple)
            lacks_list &= not isinstance(value, list | tuple)
            changes[name] = (value,) if lacks_list else tuples(value)
        return dataclasses.replace(self, **changes)

    def differing(self, stored: dict) -> list[str]:
        """Names of settings in which a stored JSON differs, the device apart; see `added` for
        those that it does not hold."""
        ours = self.as_json()
        neutral = {
            f.name: json.loads(json.dumps(f.metadata["neutral"]))
            for f in dataclasses.fields(self)
            if "neutral" in f.metadata
        }
        theirs = neutral | stored
        return sorted(
            name
            for name in (ours.keys() | theirs.keys()) - {"device"}
            if (name in ours, ours.get(name)) != (name in theirs, theirs.get(name))
        )


@dataclass(frozen=True)
class Measure:
    """One measured column of a table: what it means, its unit, and how far a recomputation may
    lie from it.

    A recomputed value agrees where |new - stored| <= atol |scale| + rtol |stored|. scale: the
    column of the same table from whose rounding this number comes ("" for 1): a residual is
    compared on the scale of what was subtracted, a run that amplifies rounding on its step.
    missing: NaN is a legal value (say in `meaning` when). clock: a clock decides it, or on
    another processor the last bit, so it is never compared.
    """

    meaning: str
    _: KW_ONLY
    unit: str = ""
    rtol: float = 1e-6
    atol: float = 1e-12
    scale: str = ""
    missing: bool = False
    clock: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of an experiment: a row for each combination of `keys`, a column for each
    measure.

    keys: the columns that name a row, `seed` among them; the keys of the sweep's points lead by
    themselves.
    measures: column name -> Measure. levels: key -> every value that it takes in each point, or
    the name of the setting that holds them,
    for keys that the settings do not list. decided: key -> relative tolerance, for a number
    that the data decide, such as the step at which a curve crosses a line: rows are matched in
    order where no equal key is found. ragged: seeds may have different rows (such as trials
    that end at different steps).
    """

    keys: tuple[str, ...]
    measures: dict[str, Measure]
    levels: dict[str, tuple | str] = field(default_factory=dict)
    decided: dict[str, float] = field(default_factory=dict)
    ragged: bool = False

    def __post_init__(self):
        require("seed" in self.keys, f"its keys must hold seed; got {', '.join(self.keys)}")
        require(bool(self.measures), "a table needs a measure")
        for name in (*self.keys, *self.measures):
            require(
                bool(_NAME.fullmatch(name)), f"a column is named like a variable, got {name!r}"
            )
        known = {measure.scale for measure in self.measures.values()} - {""}
        require(
            known <= set(self.columns),
            f"scale names no column of the table: {', '.join(known)}",
        )
        named = {*self.levels, *self.decided}
        require(named <= set(self.keys), f"levels and decided name keys: {', '.join(named)}")

    @property
    def columns(self) -> list[str]:
        """Keys, then measures."""
        return [*self.keys, *self.measures]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment of the book.

    id: such as "yang2024/fig2a"; item: what it reproduces; chapter: such as "ridge/unseen".
    function: where (settings, point) -> {table name: table} stands, such as
    "studies.ridge.unseen.compute:fig2a". quick, full, paper: settings of the profiles; paper is
    None where the paper states no setting.
    unstated: settings that the paper leaves open. tables: declarations by name. verify: changes
    to `full` that make it cheap to compute a part again. inputs: where settings ->
    {name: SHA-256} of what is not the book's stands, such as data that a reader names; "" where
    everything is. changes: how a `variant` differs from the book's experiment. arrays: name ->
    meaning, shape and dtype of a numpy array that the function returns beside the tables, such
    as trained weights; stored for all points, (points, ...), at most 3 MB in all.
    """

    id: str
    item: str
    chapter: str
    function: str
    quick: Settings
    full: Settings
    tables: dict[str, Table]
    paper: Settings | None = None
    unstated: tuple[str, ...] = ()
    verify: dict = field(default_factory=dict)
    inputs: str = ""
    changes: dict = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """Names of a result's files beside the JSON, without the profile in front."""
        return [*(f"{name}.csv" for name in self.tables), *(f"{x}.npy" for x in self.arrays)]

    def settings(self, profile: str, /, **changes) -> Settings:
        """The settings of a profile, with changes. Raises InputError for an unknown profile or
        setting."""
        require(
            profile in PROFILES,
            f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}",
        )
        settings = getattr(self, profile)
        require(
            settings is not None,
            f"{self.id} has no paper profile: the paper states no setting; use full",
        )
        return settings.changed(**changes)

    def variant(self, profile: str, /, **changes) -> "Experiment":
        """The experiment with a profile's settings changed, under an id of its own, so that
        several stand beside each other in a store; itself where nothing changes."""
        settings, book = self.settings(profile, **changes), getattr(self, profile)
        values = {name: getattr(settings, name) for name in sorted(changes)}
        changed = {name: x for name, x in values.items() if x != getattr(book, name)}
        if not changed:
            return self
        text = json.dumps(changed)
        readable = re.sub(r"[^A-Za-z0-9_=.,-]", "", text.replace(":", "="))[:60]
        name = f"{readable}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        about = {"id": f"{self.id}@{name}", "changes": changed, profile: settings}
        return dataclasses.replace(self, **about)

    @property
    def typed(self) -> str:
        """What names it after `iclbook run`."""
        words = [self.id.partition("@")[0]]
        for name, x in self.changes.items():
            setting = f"--set {shlex.quote(f'{name}={json.dumps(x)}')}"
            words.append(f"--seeds {','.join(map(str, x))}" if name == "seeds" else setting)
        return " ".join(words)

    def resolve(self) -> Callable:
        """The function that computes one point; imports what it needs."""
        return _resolve(self.function)

    def inputs_of(self, settings: Settings) -> dict[str, str]:
        """SHA-256 of each input that is not the book's. Raises InputError where one is
        missing."""
        return _resolve(self.inputs)(settings) if self.inputs else {}

    def other_inputs(self, settings: Settings, meta: dict) -> list[str]:
        """Names of the inputs that are not those of a stored result. InputError as there."""
        known = meta.get("inputs", {})
        return [name for name, x in self.inputs_of(settings).items() if known.get(name) != x]

    def deviations(self) -> list[dict]:
        """Where `full` differs from the paper: dicts of setting, paper, full; empty where it
        does not.

        A setting that the paper leaves open is listed with paper = None.
        """
        if self.paper is None:
            return []
        rows = []
        for f in dataclasses.fields(self.full):
            ours, theirs = getattr(self.full, f.name), getattr(self.paper, f.name)
            if f.name in self.unstated:
                rows.append({"setting": f.name, "paper": None, "full": ours})
            elif ours != theirs:
                rows.append({"setting": f.name, "paper": theirs, "full": ours})
        return rows


def _resolve(place: str) -> Callable:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
