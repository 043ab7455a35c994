"""What a run would take, before it is started."""

from contextlib import suppress

import psutil

from iclbook.catalogue import find
from iclbook.errors import InputError, require
from iclbook.experiment import Experiment
from iclbook.runner import unfinished_of, wanted
from iclbook.store import Store, duration
from iclbook.unfinished import kept_point

YEAR = 365 * 86_400  # seconds


def planned(experiment: Experiment, profile: str, store: Store, **how) -> dict:
    """What `run` would do, computing nothing: dict of id, profile, points, kept, seconds.

    seconds: what the points that are not kept take on one thread, by those that are, else by
    the book's full result, in proportion to each setting that is a larger whole number now (to
    its square for d); None where neither says. how: as for `wanted`.
    """
    settings = wanted(experiment, profile, store, **how)
    points, partial = settings.points(), unfinished_of(experiment, profile, store, settings)
    found = (kept_point(partial, point, settings.device_used) for point in points)
    took = [kept[1] for kept in found if kept]
    book = find(experiment.id.partition("@")[0]) if experiment.changes else experiment
    row = {"id": book.id, "profile": profile, "points": len(points), "kept": len(took)}
    left, full = len(points) - len(took), book.full.of_a_point()
    if profile != "quick" and not took:
        with suppress(InputError):
            took = Store().meta(book, "full")["point_seconds"]
        for name, size in settings.of_a_point().items():
            grown = max(1, size / max(1, full[name])) if type(size) is int else 1
            left *= grown**2 if name == "d" else grown  # a head's matrix is d x d
    return row | {"seconds": left * sum(took) / len(took) if took else None}


def in_words(plan: dict) -> str:
    """A plan as one line."""
    took = duration(plan["seconds"]) if plan["seconds"] else "an unknown time"
    words = f"{plan['id']}: {plan['points']} points, {plan['kept']} of them kept"
    return f"{words}; about {took} on one thread"


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
