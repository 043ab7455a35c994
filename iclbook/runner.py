"""Runs an experiment's sweep: one thread a point, several points at a time, resumable after any interruption."""

import dataclasses
import functools
import hashlib
import inspect
import json
import time
from contextlib import nullcontext
from pathlib import Path

import joblib
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from iclbook.errors import InputError, require
from iclbook.settings.catalogue import find
from iclbook.settings.experiment import Experiment, Settings
from iclbook.store import (
    BOOK, FLOAT_FORMAT, Result, Store, atomic_write, check_table, duration, machine, versions, writing_to,
)  # fmt: skip


def compute_point(
    experiment_id: str, settings: Settings, point: dict, checkpoint: Path | None = None
) -> tuple[pd.DataFrame, float]:
    """(table with the point's keys in front, seconds) of one point, on one thread whatever the caller has.

    checkpoint: where a function that takes a `checkpoint` may keep its state, so that an interrupted point goes on. The
    seconds are those of all attempts that the result rests on.
    """
    import torch

    from iclbook.experiments.checkpoint import Checkpoint

    threads, start = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            function = find(experiment_id).function()
            keeper = Checkpoint(checkpoint)
            keeps = "checkpoint" in inspect.signature(function).parameters
            table = function(settings, point, **({"checkpoint": keeper} if keeps else {}))
    finally:
        torch.set_num_threads(threads)
    for place, (name, value) in enumerate(point.items()):
        table.insert(place, name, value)
    return table, keeper.earlier + time.perf_counter() - start


def compute(
    experiment: Experiment, settings: Settings, *, jobs: int = 1, scheduler: str = "", progress: bool = False,
    partial: Path | None = None,
) -> tuple[pd.DataFrame, list[float]]:
    """(table of the whole sweep, seconds of each point).

    scheduler: the address of a dask cluster that computes the points in place of this machine. table.attrs["machine"]
    says where they were computed.
    partial: a folder in which each finished point is kept; points that stand there are not computed again. The
    table is built from the kept text, so that an interrupted run ends in the same bits as an undisturbed one.
    """
    points = settings.points()
    done = {index: found for index, point in enumerate(points) if (found := _kept(partial, point))}
    todo = [index for index in range(len(points)) if index not in done]
    if scheduler:
        from iclbook.cluster import cluster
    task = functools.partial(_on_worker, _identity(experiment, settings)) if scheduler else _indexed
    tasks = (
        joblib.delayed(task)(index, experiment.id, settings, point, partial and partial / f"{_name(point)}.checkpoint")
        for index, point in enumerate(points)
        if index in todo
    )
    bar = functools.partial(tqdm, total=len(points), initial=len(done), desc=experiment.id, unit="point")
    with cluster(scheduler) if scheduler and todo else nullcontext(), bar(disable=not progress) as finished:
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="all")
        for index, *found in parallel(tasks):
            if partial:
                _keep(partial, points[index], *found)
            done[index] = found
            finished.update()
    table = pd.concat([done[index][0] for index in range(len(points))], ignore_index=True)
    check_table(experiment, table)
    table.attrs["machine"] = "; ".join(sorted({where for _, _, where in done.values()}))
    return table, [done[index][1] for index in range(len(points))]


def run(
    experiment: Experiment,
    profile: str,
    store: Store,
    *,
    seeds: tuple[int, ...] = (),
    changes: dict | None = None,
    jobs: int = 1,
    scheduler: str = "",
    force: bool = False,
    progress: bool = True,
) -> str:
    """Compute a profile and store it; returns "stored" or "already stored".

    Raises InputError where another result stands in the way, and never replaces one unless `force`. A run that was
    stopped goes on where it stopped, unless the code behind it has changed.
    """
    settings = experiment.settings(profile, **(changes or {}), **({"seeds": seeds} if seeds else {}))
    require(not (changes and store.is_books_own), "changed settings do not go into the book's own store; add --store DIR")
    require(profile != "paper" or not store.is_books_own, "the paper profile is never stored here; add --store DIR")
    if not force and store.path(experiment, profile, ".csv").exists():
        meta = store.meta(experiment, profile)
        same = meta["seeds"] == list(settings.seeds) and meta["settings"] == settings.as_json()
        require(same, f"{store.named(store.path(experiment, profile, '.csv'))} holds seeds {meta['seeds']}; add --force "
                      "to replace it, or --store DIR")  # fmt: skip
        return "already stored"
    partial = store.root / ".partial" / experiment.id / f"{profile}-{_fingerprint(experiment, settings)}"
    with writing_to(partial):
        where = {"jobs": jobs, "scheduler": scheduler}
        table, seconds = compute(experiment, settings, **where, progress=progress, partial=partial)
    store.write(experiment, profile, settings, table, seconds, force)
    for path in (*partial.iterdir(), partial):
        path.rmdir() if path.is_dir() else path.unlink()
    return "stored"


def live(experiment: Experiment, profile: str) -> Result:
    """Compute a profile now, without storing it: what chapters do in the quick profile."""
    settings = experiment.settings(profile)
    table, seconds = compute(experiment, settings)
    return Result(table, settings, f"computed live ({profile} profile) in {duration(sum(seconds))}")


def verify(experiment: Experiment, store: Store) -> dict:
    """Compute a cheap part of the stored full result with today's code and compare.

    Returns id, rows compared, the worst deviation in units of the tolerance (atol + rtol |stored|), and ok.
    """
    stored = store.read(experiment, "full")
    settings = experiment.settings("full", **experiment.verify)
    if "seeds" in experiment.verify:
        settings = dataclasses.replace(settings, seeds=stored.settings.seeds[: len(settings.seeds)])
    fresh, _ = compute(experiment, settings)
    if experiment.timings:
        fresh = fresh[~fresh["quantity"].isin(experiment.timings)]
    keys = list(fresh.columns[:-1])
    both = fresh.merge(stored.table, on=keys, how="left", suffixes=("", "_stored"), indicator=True)
    missing = int((both["_merge"] != "both").sum())
    gap = (both["value"] - both["value_stored"]).abs() / (experiment.atol + experiment.rtol * both["value_stored"].abs())
    same = (both["value"] == both["value_stored"]) | (both["value"].isna() & both["value_stored"].isna())
    worst = float(gap.mask(same, 0.0).fillna(float("inf")).max())
    return {"id": experiment.id, "rows": len(both), "missing": missing, "worst": worst, "ok": missing == 0 and worst <= 1}


def _indexed(index: int, *arguments) -> tuple[int, pd.DataFrame, float, str]:
    return index, *compute_point(*arguments), machine()


def _on_worker(
    identity: tuple, index: int, experiment_id: str, settings: Settings, point: dict, checkpoint: Path | None
) -> tuple[int, pd.DataFrame, float, str]:
    """`_indexed`, on a worker that computes what the caller would. A checkpoint needs the caller's folder."""
    from distributed import get_worker

    require(get_worker().state.nthreads == 1, "a worker has several threads; start workers with --nthreads 1")
    same = identity == _identity(find(experiment_id), settings)
    require(same, "a worker has other code or packages than this process; make them agree, then start the worker anew")
    seen = checkpoint if checkpoint and checkpoint.parent.is_dir() else None
    return _indexed(index, experiment_id, settings, point, seen)


def _name(point: dict) -> str:
    return hashlib.sha256(json.dumps(point).encode()).hexdigest()[:16]


def _keep(folder: Path, point: dict, table: pd.DataFrame, seconds: float, where: str) -> None:
    text = table.to_csv(index=False, float_format=FLOAT_FORMAT, lineterminator="\n")
    atomic_write(folder / f"{_name(point)}.csv", f"# {seconds!r} {where}\n{text}".encode())
    (folder / f"{_name(point)}.checkpoint").unlink(missing_ok=True)


def _kept(folder: Path | None, point: dict) -> tuple[pd.DataFrame, float, str] | None:
    path = folder and folder / f"{_name(point)}.csv"
    if not path or not path.exists():
        return None
    try:
        with path.open() as lines:
            seconds, _, where = next(lines, "").strip("# \n").partition(" ")
            return pd.read_csv(lines), float(seconds), where or machine()
    except ValueError:
        raise InputError(f"the unfinished run's {path} is damaged; delete it and run again") from None


def _fingerprint(experiment: Experiment, settings: Settings) -> str:
    """Names a run by its settings (seeds apart) and by the code of its part, so that no stale point is taken up."""
    content = json.dumps(settings.as_json()).encode() + _code(experiment.chapter.split("/")[0])
    return hashlib.sha256(content).hexdigest()[:12]


@functools.cache
def _code(part: str) -> bytes:
    """The code of a part, as it was when this process first ran it."""
    package = BOOK / "iclbook"
    files = sorted([*(package / part).glob("*.py"), *(package / "experiments" / part).glob("*.py")])
    return b"".join(path.read_bytes() for path in files)


def _identity(experiment: Experiment, settings: Settings) -> tuple:
    """What two processes must share to compute the same."""
    return _fingerprint(experiment, settings), versions()
