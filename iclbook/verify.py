"""Compares stored results with what today's code computes."""

from datetime import date

import numpy as np
import pandas as pd

from iclbook import runner
from iclbook.errors import require
from iclbook.experiment import Experiment, Settings
from iclbook.store import Store
from iclbook.tables import compare, faults


def verify(
    experiment: Experiment, store: Store, *, rotate: int | None = None, deep=False, jobs=1
) -> dict:
    """Compute a cheap part of the stored full result with today's code and compare, either way.

    rotate: how far the part's seeds and branches are moved on from those declared; by default
    the day on which the result was stored says it. deep: every point as it was stored.
    Arrays are compared only where nothing but seeds and points differs from the stored
    settings, as with `deep`, since a short run's weights are other weights. They agree within
    rtol 1e-3 and atol 1e-4, or are named among the gaps.
    Returns id, rows compared, rows that either side lacks, the worst deviation in units of the
    declared tolerances, ok, and the machines: where it was stored, where it was computed again.
    Raises InputError where an input that is not the book's is missing, or another one.
    """
    stored, meta = store.read(experiment, "full"), store.meta(experiment, "full")
    full = stored.settings
    rotate = date.fromisoformat(meta["created"][:10]).toordinal() if rotate is None else rotate
    changes = {} if deep else _turned(experiment.verify, full, rotate)
    settings = full.changed(**changes)
    other = experiment.other_inputs(settings, meta)
    require(not other, f"not what the result was computed from: {', '.join(other)}")
    fresh = runner.compute(experiment, settings, jobs=jobs)
    # A part may leave tables empty; what it fills, it must fill for each of its points.
    found = faults(experiment, settings, fresh.tables)
    gaps = [fault for fault in found if not fault.endswith("is empty")]
    gaps += found if all(table.empty for table in fresh.tables.values()) else []
    for name, new in fresh.arrays.items() if settings.of_a_point() == full.of_a_point() else ():
        old = stored.arrays[name][[full.points().index(point) for point in settings.points()]]
        close = new.shape == old.shape and np.allclose(new, old, rtol=1e-3, atol=1e-4)
        gaps += [f"{experiment.id}, array {name}: other weights"] * (not close)
    points = pd.DataFrame(settings.points())
    held = {n: table.merge(points, on=list(points)) for n, table in stored.tables.items()}
    how = all(_chooses(full, *change) for change in changes.items()), changes.values()
    pairs = {name: (fresh.tables[name], held[name], *how) for name in fresh.tables}
    missing, worst = zip(*(compare(experiment.tables[n], *pair) for n, pair in pairs.items()))
    return {
        "id": experiment.id,
        "rows": sum(map(len, fresh.tables.values())),
        "missing": sum(missing),
        "worst": max(worst),
        "gaps": gaps,
        "ok": not gaps and sum(missing) == 0 and max(worst) <= 1,
        "stored_on": meta["machines"],
        "computed_on": fresh.machines,
    }


def _chooses(full: Settings, name: str, value) -> bool:
    """Whether a change only leaves out points, as far as their number tells."""
    return name == "seeds" or len(full.changed(**{name: value}).points()) < len(full.points())


def _turned(changes: dict, full: Settings, rotate: int) -> dict:
    """`changes` with seeds, and values that choose points, moved on by `rotate` places among
    those of `full`; seeds that it does not hold count from its first."""
    found = dict(changes)
    for name, values in changes.items():
        every = getattr(full, name)
        known = isinstance(values, tuple) and (name == "seeds" or set(values) <= set(every))
        if known and _chooses(full, name, values):
            at = [every.index(v) if v in every else i for i, v in enumerate(values)]
            found[name] = tuple(every[(i + rotate) % len(every)] for i in at)
    return found
