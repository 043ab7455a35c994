"""Runs an experiment's sweep: one thread a point, several points at a time, resumable after any
interruption."""

import functools
import inspect
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import psutil
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from iclbook.contents import described
from iclbook.errors import InputError, require
from iclbook.experiment import Experiment, Settings
from iclbook.files import alone, writing_to
from iclbook.machine import machine
from iclbook.store import Result, Store, duration
from iclbook.tables import arranged, faults
from iclbook.unfinished import checkpoint_of, fingerprint, forget, identity, keep, kept_point


@dataclass(frozen=True)
class Computed:
    """A sweep's tables by name, the seconds of each point, the machines that computed them,
    SHA-256 of the inputs that are not the book's, arrays by name, (points, ...), and the
    fingerprint of the code."""

    tables: dict[str, pd.DataFrame]
    seconds: list[float]
    machines: list[dict]
    inputs: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    code: str = ""


def compute_point(
    experiment: Experiment, settings: Settings, point: dict, checkpoint: Path | None = None
) -> tuple[dict[str, pd.DataFrame | np.ndarray], float, dict]:
    """(tables with the point's keys in front and arrays, seconds, machine) of one point, on one
    thread whatever the caller has.

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
            found = function(settings, point, **({"checkpoint": keeper} if keeps else {}))
    finally:
        torch.set_num_threads(threads)
    tables = {name: x for name, x in found.items() if isinstance(x, pd.DataFrame)}
    arrays = {name: x for name, x in found.items() if name not in tables}
    described(experiment, arrays, len(settings.points()))  # what is refused is refused early
    for table in tables.values():
        for place, (name, value) in enumerate(point.items()):
            table.insert(place, name, value)
    return found, keeper.earlier + time.perf_counter() - start, machine(device)


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
    the same bits as an undisturbed one. Arrays of the points are stacked in their order.
    """
    points, device = settings.points(), settings.device_used
    kept = {i: kept_point(partial, point, device) for i, point in enumerate(points)}
    done = {i: found for i, found in kept.items() if found}
    tasks = {
        i: (experiment, settings, point, partial and checkpoint_of(partial, point))
        for i, point in enumerate(points)
        if i not in done
    }
    results = _results(tasks, jobs, scheduler)  # a cluster that is not there is noticed first
    count = dict(total=len(points), initial=len(done), unit="point")
    with tqdm(**count, desc=experiment.id, disable=not progress) as bar:
        try:
            for i, found in results:
                if partial:
                    with writing_to(partial):
                        keep(partial, points[i], *found)
                done[i] = found
                bar.update()
        except TerminatedWorkerError:
            died = "a process that computed a point died, for lack of memory perhaps"
            raise InputError(f"{died}; finished points are kept, run again") from None
    every = [done[i] for i in range(len(points))]
    parts = {name: [t[name] for t, _, _ in every if name in t] for name in experiment.tables}
    tables = {name: pd.concat(part, ignore_index=True) for name, part in parts.items() if part}
    machines = list({json.dumps(where): where for _, _, where in every}.values())
    tables, seconds = arranged(experiment, tables), [took for _, took, _ in every]
    arrays = {n: np.stack([found[n] for found, *_ in every]) for n in experiment.arrays}
    inputs, code = experiment.inputs_of(settings), fingerprint(experiment, settings)
    return Computed(tables, seconds, machines, inputs, arrays, code)


def _results(tasks: dict[int, tuple], jobs: int, scheduler: str) -> Iterator[tuple[int, tuple]]:
    """(number, what `compute_point` returns) of each task, as they finish."""
    if scheduler and tasks:
        from iclbook.cluster import completed

        experiment, settings, _, _ = next(iter(tasks.values()))
        return completed(scheduler, on_worker, identity(experiment, settings), tasks)
    jobs = max(1, min(jobs, len(tasks), joblib.cpu_count()))
    how = dict(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
    parallel = joblib.Parallel(n_jobs=jobs, **how)
    numbered = joblib.delayed(_numbered)
    return parallel(numbered(os.getpid(), i, *task) for i, task in tasks.items())


def _numbered(caller: int, number: int, *task) -> tuple[int, tuple]:
    if caller != os.getpid():
        _end_with(caller)
    return number, compute_point(*task)


@functools.cache
def _end_with(caller: int) -> None:
    """Let this worker end when its caller does, however that is; Ctrl-C is the caller's."""

    def watch() -> None:  # a dead parent gives its children away; on Windows its id is gone
        while os.getppid() == caller and psutil.pid_exists(caller):
            time.sleep(0.5)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


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
    seen = checkpoint if checkpoint and checkpoint.parents[1].is_dir() else None
    return compute_point(experiment, settings, point, seen)


def run(
    experiment: Experiment, profile: str, store: Store, *, force=False, progress=True, **how
) -> str:
    """Compute a profile and store it; returns "stored" or "already stored".

    how: as for `compute` (jobs, scheduler) and `wanted`. Raises InputError where another result
    stands in the way, and never replaces one unless `force`. A run that was stopped goes on
    where it stopped, unless the code behind it has changed. One process at a time computes a
    profile into a store.
    """
    where = {name: how.pop(name) for name in ("jobs", "scheduler") if name in how}
    settings = wanted(experiment, profile, store, **how)
    if not force and _stands(experiment, profile, store, settings):
        return "already stored"
    partial = unfinished_of(experiment, profile, store, settings)
    with alone(partial.with_name(f"{profile}.lock"), f"{experiment.id} ({profile})"):
        if not force and _stands(experiment, profile, store, settings):
            return "already stored"
        try:
            found = compute(experiment, settings, **where, progress=progress, partial=partial)
        except Exception as error:
            # What fails under other settings than the book's fails by them.
            ours = not experiment.changes and not isinstance(error, OSError | MemoryError)
            if ours or isinstance(error, InputError):
                raise
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise InputError(f"{experiment.id} cannot be computed so ({why})") from error
        if unfinished_of(experiment, profile, store, settings) != partial:
            forget(partial, settings.points())
            raise InputError("the data changed during the run; its points are gone, run again")
        store.write(experiment, profile, settings, found, force)
        for fault in faults(experiment, settings, found.tables):
            print(f"stored, but {fault}; no claim will accept it", file=sys.stderr)
        forget(partial, settings.points())
    return "stored"


def wanted(
    experiment: Experiment, profile: str, store: Store, *, seeds=(), device=""
) -> Settings:
    """The settings of a run into `store`: a profile with other seeds, on another device. Raises
    InputError where the store does not take them."""
    settings = experiment.settings(profile, **({"seeds": seeds} if seeds else {}))
    refused = experiment.changes and (
        "changed settings do not go into the book's own store; add --store DIR, such as "
        "--store variants, where chapters look for them"
    )
    if profile == "paper":
        refused = "the paper profile is never stored here; add --store DIR"
    lacking = set(getattr(experiment, profile).seeds) - set(settings.seeds)
    if profile == "full" and lacking:
        refused = f"the book's own store wants seeds {sorted(lacking)} too; add --store DIR"
    require(not (refused and store.is_books_own), refused)
    place = store.file(experiment, profile).resolve()
    links = not store.is_books_own and store.book and store.book / "results" in place.parents
    require(not links, f"{place} is the book's own, by a link; name another --store DIR")
    return settings.on_device(device) if device else settings


def _stands(experiment: Experiment, profile: str, store: Store, settings: Settings) -> bool:
    sidecar = store.file(experiment, profile)
    if not os.path.exists(sidecar):
        return False
    meta, other = store.meta(experiment, profile, settings), []
    with suppress(InputError):  # who has no data keeps what was computed from others' data
        other = experiment.other_inputs(settings, meta)
    held = f"seeds {meta['seeds']}" + (" of another " + ", ".join(other)) * bool(other)
    require(
        meta["seeds"] == list(settings.seeds) and not other,
        f"{store.named(sidecar)} holds {held}; name another --store DIR"
        + ", or replace it with --force" * store.is_books_own,
    )
    return True


def unfinished_of(
    experiment: Experiment, profile: str, store: Store, settings: Settings
) -> Path:
    name = f"{profile}-{fingerprint(experiment, settings)}"
    return store.root / ".partial" / experiment.id / name


def live(experiment: Experiment, profile: str) -> Result:
    """Compute a profile now, without storing it: what chapters do in the quick profile."""
    settings = experiment.settings(profile)
    computed = compute(experiment, settings)
    line = f"computed live ({profile} profile) in {duration(sum(computed.seconds))}"
    return Result(computed.tables, settings, line, computed.arrays)
