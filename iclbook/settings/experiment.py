"""What an experiment is: an id, settings for three profiles, and a function from settings to a tidy table."""

import dataclasses
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from iclbook.errors import InputError, require

PROFILES = ("quick", "full", "paper")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of every experiment's settings: plain values only, so that they can be written as JSON."""

    seeds: tuple[int, ...] = (0,)

    def points(self) -> list[dict]:
        """The sweep: one dict a point, computed apart from the others; its keys lead the table's columns."""
        return [{"seed": seed} for seed in self.seeds]

    def as_json(self) -> dict:
        """The settings as JSON would give them back, seeds left out (they are stored beside)."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if name != "seeds"}
        return json.loads(json.dumps(values))

    def changed(self, **changes) -> "Settings":
        """The same settings with some changed. Raises InputError for a name they do not have, or another type."""
        names = [f.name for f in dataclasses.fields(self)]
        for name, value in changes.items():
            require(name in names, f"unknown setting {name!r}; this experiment has {', '.join(names)}")
            old = getattr(self, name)
            same_type = isinstance(value, type(old)) or (isinstance(old, float) and isinstance(value, int))
            require(same_type and not (isinstance(value, bool) and not isinstance(old, bool)),
                    f"setting {name} must be of type {type(old).__name__}, like {old!r}; got {value!r}")  # fmt: skip
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment of the book.

    id: such as "yang2024/fig2a"; item: what it reproduces; chapter: such as "ridge/unseen". The function that computes
    one point stands in `iclbook.experiments.<chapter>` and is named after the id's tail.
    quick, full, paper: settings of the profiles; paper is None where the paper states no setting.
    unstated: settings that the paper leaves open. verify: changes to `full` that make it cheap to compute again;
    rtol, atol: how far such a recomputation may lie from the stored values, across machines; timings: quantities that a
    clock decides, which no recomputation can meet.
    """

    id: str
    item: str
    chapter: str
    quick: Settings
    full: Settings
    paper: Settings | None = None
    unstated: tuple[str, ...] = ()
    verify: dict = field(default_factory=dict)
    rtol: float = 1e-6
    atol: float = 1e-12
    timings: tuple[str, ...] = ()

    def settings(self, profile: str, **changes) -> Settings:
        """The settings of a profile, with changes. Raises InputError for an unknown profile or setting."""
        require(profile in PROFILES, f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
        settings = getattr(self, profile)
        require(settings is not None, f"{self.id} has no paper profile: the paper states no setting; use full")
        return settings.changed(**changes)

    def function(self) -> Callable:
        """The function (settings, point) -> table that computes one point; imports what it needs."""
        module = importlib.import_module(f"iclbook.experiments.{self.chapter.replace('/', '.')}")
        return getattr(module, self.id.split("/")[1].replace("-", "_"))

    def deviations(self) -> list[dict]:
        """Where `full` differs from the paper: dicts of setting, paper, full; empty where it does not.

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


def find(experiments: dict[str, Experiment], wanted: str) -> Experiment:
    """The experiment called `wanted`; raises InputError that names close matches."""
    if wanted in experiments:
        return experiments[wanted]
    import difflib

    close = difflib.get_close_matches(wanted, experiments, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else "see `iclbook list`"
    raise InputError(f"unknown experiment {wanted!r}; {hint}")
