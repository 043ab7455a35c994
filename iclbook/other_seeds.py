"""Claims judged on seeds that nobody looked at: computed into a store of the reader's own."""

import dataclasses
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from iclbook import runner
from iclbook.catalogue import find
from iclbook.claim import Claim, fresh_shares, judged
from iclbook.errors import InputError, require
from iclbook.files import alone, atomic_write, writing_to
from iclbook.machine import commit, machine, versions
from iclbook.store import Result, Store


def results_on(
    claims: Iterable[Claim],
    seeds: tuple[int, ...],
    store: Store,
    with_stored: bool = False,
    **options,
) -> dict[str, Result]:
    """The full results that the claims read, by experiment, computed on `seeds` into `store`
    where they do not stand there.

    with_stored: joined with the book's own results. options: those of `runner.run`.
    Raises InputError for the book's own store, or seeds that the book's results hold too.
    """
    require(
        not store.is_books_own,
        "other seeds do not go into the book's own store; add --store DIR",
    )
    found, names = {}, dict.fromkeys(name for claim in claims for name in claim.experiments)
    for name in names if with_stored else ():  # before anything is computed
        _not_twice(Store().meta(find(name), "full")["seeds"], seeds)
    for name in names:
        experiment = find(name)
        runner.run(experiment, "full", store, seeds=seeds, **options)
        result = store.read(experiment)
        found[name] = joined(Store().read(experiment), result) if with_stored else result
    return found


def report_on(
    claims: list[Claim],
    seeds: tuple[int, ...],
    store: Store,
    with_stored: bool = False,
    sets: int = 0,
    **options,
) -> list[dict]:
    """`judged` on `results_on`; with `sets`, also the share of so many `subsets` that give the
    recorded verdict, and the sets themselves in `claims/fresh.csv` of the store, which keeps
    what it says of other claims; `claims/fresh.json` says where they were judged."""
    for claim in claims if sets else ():  # before anything is computed
        fresh_shares(store)
        own = find(claim.experiments[0]).full.seeds
        count = len(seeds) + with_stored * len(own)
        few = f"{claim.id}: {count} seeds leave no sets of {len(own)}"
        require(count > len(own), few)
    results = results_on(claims, seeds, store, with_stored, **options)
    rows = judged(claims, results)
    if not sets:
        return rows
    drawn = {claim.id: list(subsets(claim, results, sets)) for claim in claims}
    with alone(store.root / ".partial" / "claims.lock", "sets of fresh seeds"):
        _write_sets(store.root / "claims", drawn)
    for row in rows:
        same = [found["verdict"] == row["verdict"] for found in drawn[row["id"]]]
        row["fresh"] = {"sets": sets, "share": sum(same) / sets}
    return rows


def _write_sets(folder: Path, drawn: dict[str, list[dict]]) -> None:
    """fresh.csv holds the sets; fresh.json says for each claim where they were judged."""
    table, sidecar = folder / "fresh.csv", folder / "fresh.json"
    rows = pd.DataFrame([row for found in drawn.values() for row in found])
    try:
        if table.is_file():
            before = pd.read_csv(table)
            rows = pd.concat([before[~before["claim"].isin(list(drawn))], rows])
        origin = json.loads(sidecar.read_text()) if sidecar.is_file() else {}
    except (KeyError, ValueError):
        damaged = f"{table} or {sidecar.name} is damaged; restore both, or delete both"
        raise InputError(damaged) from None
    here = {"machine": machine(), "versions": versions(), "commit": commit()}
    origin = dict(sorted((origin | dict.fromkeys(drawn, here)).items()))
    rows = rows.sort_values(["claim", "set"], kind="stable")
    with writing_to(folder):
        atomic_write(table, rows.to_csv(index=False, lineterminator="\n").encode())
        atomic_write(sidecar, (json.dumps(origin, indent=1) + "\n").encode())


def joined(first: Result, second: Result) -> Result:
    """Both results' tables under each other. Raises InputError where they share a seed."""
    _not_twice(first.settings.seeds, second.settings.seeds)
    tables = {
        name: pd.concat([first[name], second[name]], ignore_index=True) for name in first.tables
    }
    seeds = (*first.settings.seeds, *second.settings.seeds)
    settings = dataclasses.replace(first.settings, seeds=seeds)
    return Result(tables, settings, f"{first.provenance}; {second.provenance}")


def _not_twice(seeds, others) -> None:
    shared = sorted({*seeds} & {*others})
    require(not shared, f"the book's result holds seeds {shared} already; name others")


def subsets(claim: Claim, results: Mapping[str, Result], sets: int) -> Iterator[dict]:
    """The claim on `sets` random sets of the results' seeds, each as large as the book's:
    dicts of claim, set, seeds, verdict, measured; the same sets for the same seeds."""
    first = results[claim.experiments[0]].settings.seeds
    size, generator = len(find(claim.experiments[0]).full.seeds), random.Random(0)
    require(len(first) > size, f"{claim.id}: {len(first)} seeds leave no sets of {size}")
    for number in range(sets):
        chosen = sorted(generator.sample(first, size))
        part = {name: _of_seeds(results[name], chosen) for name in claim.experiments}
        verdict, measured = claim.judge(part)
        yield {
            "claim": claim.id,
            "set": number,
            "seeds": " ".join(map(str, chosen)),
            "verdict": verdict,
            "measured": measured,
        }


def _of_seeds(result: Result, seeds: list[int]) -> Result:
    tables = {
        name: table[table["seed"].isin(seeds)].reset_index(drop=True)
        for name, table in result.tables.items()
    }
    settings = dataclasses.replace(result.settings, seeds=tuple(seeds))
    return dataclasses.replace(result, tables=tables, settings=settings, arrays={})
