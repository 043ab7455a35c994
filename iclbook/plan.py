"""What a run would take, before it is started."""

import json
import math
from contextlib import suppress

import psutil

from iclbook.catalogue import find
from iclbook.errors import InputError, require
from iclbook.experiment import Experiment
from iclbook.runner import unfinished_of, wanted
from iclbook.store import Store, duration
from iclbook.unfinished import kept_point

YEAR = 365 * 86_400  # seconds
REPEATS = ("steps", "epochs", "trials", "instances", "starts")  # more of them need no room


def planned(experiment: Experiment, profile: str, store: Store, **how) -> dict:
    """What `run` would do, computing nothing: dict of id, profile, points, kept, seconds,
    memory.

    seconds: what the points that are not kept take on one thread, by those that are, else by
    the book's full result, in proportion to each setting that is a larger whole number now (to
    its square for d); of the quick profile only where one is larger than in full. memory: MiB
    of a process at its peak, by `make bench`, in proportion to the same but for what repeats
    the same work. Both are rather too large, and None where nothing says. how: as for `wanted`.
    """
    settings = wanted(experiment, profile, store, **how)
    points, partial = settings.points(), unfinished_of(experiment, profile, store, settings)
    found = (kept_point(partial, point, settings.device_used) for point in points)
    took = [kept[1] for kept in found if kept]
    book = find(experiment.id.partition("@")[0]) if experiment.changes else experiment
    row = {"id": book.id, "profile": profile, "points": len(points), "kept": len(took)}
    left, full = len(points) - len(took), book.full.of_a_point()
    sizes = {n: size for n, size in settings.of_a_point().items() if type(size) is int}
    grown = {n: max(1, x / max(1, full[n])) ** (1 + (n == "d")) for n, x in sizes.items()}
    if not took and (profile != "quick" or max(grown.values(), default=1) > 1):
        with suppress(InputError):
            took = Store().meta(book, "full")["point_seconds"]
        left *= math.prod(grown.values())
    row |= {"seconds": left * sum(took) / len(took) if took else None, "memory": None}
    with suppress(OSError, KeyError):  # not measured
        peaks = json.loads((Store().root / "benchmarks" / "memory.json").read_text())
        room = math.prod(x for n, x in grown.items() if not n.endswith(REPEATS))
        row["memory"] = peaks["imports"] + (peaks[book.id] - peaks["imports"]) * room
    return row


def in_words(plan: dict) -> str:
    """A plan as one line."""
    took = duration(plan["seconds"]) if plan["seconds"] else "an unknown time"
    words = f"{plan['id']}: {plan['points']} points, {plan['kept']} of them kept"
    room = f", at most {plan['memory']:,.0f} MiB a process" if plan["memory"] else ""
    return f"{words}; about {took} on one thread{room}"


def stay_within_means(plans: list[dict]) -> None:
    """Refuse what would take years; let what needs more memory than there is fail in this
    process, rather than by the system's hand."""
    for plan in plans:
        endless = (plan["seconds"] or 0) > 10 * YEAR
        require(not endless, f"{in_words(plan)}: that is years; choose smaller settings")
    with suppress(ImportError, ValueError):  # not on Windows; not where less is allowed
        import resource

        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (psutil.virtual_memory().total, most))
