"""Runs an experiment's sweep: one thread a point, several points at a time, resumable after any
interruption."""

import dataclasses
import inspect
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import pandas as pd
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from iclbook.errors import InputError, require
from iclbook.experiment import Experiment, Settings
from iclbook.files import writing_to
from iclbook.machine import machine
from iclbook.store import Result, Store, duration
from iclbook.tables import arranged, compare, faults
from iclbook.unfinished import fingerprint, identity, keep, kept_point, point_name


@dataclass(frozen=True)
class Computed:
    """A sweep's tables by name, the seconds of each point, the machines that computed them,
    and SHA-256 of the inputs that are not the book's."""

    tables: dict[str, pd.DataFrame]
    seconds: list[float]
    machines: list[dict]
    inputs: dict[str, str] = field(default_factory=dict)


def compute_point(
    experiment: Experiment, settings: Settings, point: dict, checkpoint: Path | None = None
) -> tuple[dict[str, pd.DataFrame], float, dict]:
    """(tables with the point's keys in front, seconds, machine) of one point, on one thread
    whatever the caller has.

    checkpoint: where a function that takes a `checkpoint` may keep its state, so that an
    interrupted point goes on. The seconds are those of all attempts that the result rests on.
    """
    import torch

    from iclbook.checkpoint import Checkpoint

    device = settings.device_used
    there = device == "cpu" or (device.startswith("cuda") and torch.cuda.is_available())
    require(there, f"this machine has no device {device!r}; add --device cpu and time")
    threads, start = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            function, keeper = experiment.resolve(), Checkpoint(checkpoint)
            keeps = "checkpoint" in inspect.signature(function).parameters
            tables = function(settings, point, **({"checkpoint": keeper} if keeps else {}))
    finally:
        torch.set_num_threads(threads)
    for table in tables.values():
        for place, (name, value) in enumerate(point.items()):
            table.insert(place, name, value)
    return tables, keeper.earlier + time.perf_counter() - start, machine(device)


def compute(
    experiment: Experiment,
    settings: Settings,
    *,
    jobs: int = 1,
    scheduler: str = "",
    progress: bool = False,
    partial: Path | None = None,
) -> Computed:
    """Compute the whole sweep.

    scheduler: the address of a dask cluster that computes the points in place of this machine.
    partial: a folder in which each finished point is kept; points that stand there are not
    computed again. The tables are built from the kept text, so that an interrupted run ends in
    the same bits as an undisturbed one.
    """
    points, device = settings.points(), settings.device_used
    kept = {i: kept_point(partial, point, device) for i, point in enumerate(points)}
    done = {i: found for i, found in kept.items() if found}
    left = {i: point for i, point in enumerate(points) if i not in done}
    half_done = {i: f"{point_name(point)}.checkpoint" for i, point in left.items()}
    tasks = {
        i: (experiment, settings, point, partial and partial / half_done[i])
        for i, point in left.items()
    }
    results = _results(tasks, jobs, scheduler)  # a cluster that is not there is noticed first
    count = dict(total=len(points), initial=len(done), unit="point")
    with tqdm(**count, desc=experiment.id, disable=not progress) as bar:
        try:
            for i, found in results:
                if partial:
                    keep(partial, points[i], *found)
                done[i] = found
                bar.update()
        except TerminatedWorkerError:
            raise InputError(
                "a process that computed a point died, for lack of memory perhaps; finished "
                "points are kept, run again"
            ) from None
    every = [done[i] for i in range(len(points))]
    parts = {name: [t[name] for t, _, _ in every if name in t] for name in experiment.tables}
    tables = {name: pd.concat(part, ignore_index=True) for name, part in parts.items() if part}
    machines = list({json.dumps(where): where for _, _, where in every}.values())
    return Computed(
        arranged(experiment, tables),
        [seconds for _, seconds, _ in every],
        machines,
        experiment.inputs_of(settings),
    )


def _results(tasks: dict[int, tuple], jobs: int, scheduler: str) -> Iterator[tuple[int, tuple]]:
    """(number, what `compute_point` returns) of each task, as they finish."""
    if scheduler and tasks:
        from iclbook.cluster import completed

        experiment, settings, _, _ = next(iter(tasks.values()))
        return completed(scheduler, on_worker, identity(experiment, settings), tasks)
    parallel = joblib.Parallel(
        n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="all"
    )
    return parallel(joblib.delayed(_numbered)(i, *task) for i, task in tasks.items())


def _numbered(number: int, *task) -> tuple[int, tuple]:
    return number, compute_point(*task)


def on_worker(
    caller: tuple,
    experiment: Experiment,
    settings: Settings,
    point: dict,
    checkpoint: Path | None,
):
    """`compute_point` on a worker that computes what the caller would. A checkpoint needs the
    caller's folder."""
    from distributed import get_worker

    require(
        get_worker().state.nthreads == 1,
        "a worker has several threads; start workers with --nthreads 1",
    )
    require(
        caller == identity(experiment, settings),
        "a worker has other code or packages than this process; make them agree, then start "
        "the worker anew",
    )
    seen = checkpoint if checkpoint and checkpoint.parent.is_dir() else None
    return compute_point(experiment, settings, point, seen)


def run(
    experiment: Experiment,
    profile: str,
    store: Store,
    *,
    seeds: tuple[int, ...] = (),
    changes: dict | None = None,
    jobs: int = 1,
    scheduler: str = "",
    device: str = "",
    force: bool = False,
    progress: bool = True,
) -> str:
    """Compute a profile and store it; returns "stored" or "already stored".

    Raises InputError where another result stands in the way, and never replaces one unless
    `force`. A run that was stopped goes on where it stopped, unless the code behind it has
    changed.
    """
    settings = experiment.settings(
        profile, **(changes or {}), **({"seeds": seeds} if seeds else {})
    )
    if device:
        settings = settings.on_device(device)
    require(
        not ((changes or experiment.changes) and store.is_books_own),
        "changed settings do not go into the book's own store; add --store DIR, such as "
        "--store variants, where chapters look for them",
    )
    require(
        profile != "paper" or not store.is_books_own,
        "the paper profile is never stored here; add --store DIR",
    )
    sidecar = store.file(experiment, profile)
    if not force and sidecar.exists():
        meta = store.meta(experiment, profile, settings)
        require(
            meta["seeds"] == list(settings.seeds),
            f"{store.named(sidecar)} holds seeds {meta['seeds']}; name another --store DIR"
            + ", or replace it with --force" * store.is_books_own,
        )
        return "already stored"
    partial = (
        store.root
        / ".partial"
        / experiment.id
        / f"{profile}-{fingerprint(experiment, settings)}"
    )
    with writing_to(partial):
        where = {"jobs": jobs, "scheduler": scheduler}
        computed = compute(experiment, settings, **where, progress=progress, partial=partial)
    store.write(experiment, profile, settings, computed, force)
    shutil.rmtree(partial, ignore_errors=True)
    return "stored"


def live(experiment: Experiment, profile: str) -> Result:
    """Compute a profile now, without storing it: what chapters do in the quick profile."""
    settings = experiment.settings(profile)
    computed = compute(experiment, settings)
    line = f"computed live ({profile} profile) in {duration(sum(computed.seconds))}"
    return Result(computed.tables, settings, line)


def verify(experiment: Experiment, store: Store) -> dict:
    """Compute a cheap part of the stored full result with today's code and compare.

    Returns id, rows compared, rows that the store lacks, the worst deviation in units of the
    declared tolerances, ok, and the machines: where it was stored, where it was computed again.
    Raises InputError where an input that is not the book's is missing, or another one.
    """
    stored = store.read(experiment, "full")
    settings = experiment.settings("full", **experiment.verify)
    known = store.meta(experiment, "full").get("inputs", {})
    other = [name for name, x in experiment.inputs_of(settings).items() if known.get(name) != x]
    require(not other, f"not what the result was computed from: {', '.join(other)}")
    if "seeds" in experiment.verify:
        seeds = stored.settings.seeds[: len(settings.seeds)]
        settings = dataclasses.replace(settings, seeds=seeds)
    fresh = compute(experiment, settings)
    # A part may leave tables empty; what it fills, it must fill for each of its points.
    found = faults(experiment, settings, fresh.tables)
    gaps = [fault for fault in found if not fault.endswith("is empty")]
    gaps += found if all(table.empty for table in fresh.tables.values()) else []
    missing, worst = zip(
        *(
            compare(declared, fresh.tables[name], stored[name])
            for name, declared in experiment.tables.items()
        )
    )
    return {
        "id": experiment.id,
        "rows": sum(map(len, fresh.tables.values())),
        "missing": sum(missing),
        "worst": max(worst),
        "gaps": gaps,
        "ok": not gaps and sum(missing) == 0 and max(worst) <= 1,
        "stored_on": store.meta(experiment, "full")["machines"],
        "computed_on": fresh.machines,
    }
