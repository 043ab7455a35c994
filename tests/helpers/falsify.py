"""Results made false in general ways. No claim's check may call one reproduced, or better than
it is recorded.

A falsification that leaves a claim true is exempt: `exempt = {"groups swapped" = "why"}` in its
entry of claims.toml.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from claims import CLAIMS, altered, stored, verdict

from iclbook.catalogue import find
from iclbook.experiment import Table
from iclbook.store import Result

RANK = {"refused": 0, "untestable": 0, "not reproduced": 1, "partly": 2, "reproduced": 3}


def measures_of(declared: Table) -> list[str]:
    return list(declared.measures)


def by_time(table: pd.DataFrame, declared: Table):
    """The rows of each curve over `step`, in time order; nothing where the table has no
    step."""
    others = [key for key in declared.keys if key != "step"]
    if "step" in declared.keys:
        for _, curve in table.sort_values("step", kind="stable").groupby(others, sort=False):
            yield curve.index


def time_reversed(table, declared, random):
    for rows in by_time(table, declared):
        table.loc[rows, measures_of(declared)] = table.loc[
            rows[::-1], measures_of(declared)
        ].to_numpy()
    return table


def ends_high(table, declared, random):
    for rows in by_time(table, declared):
        for name in measures_of(declared):
            table.loc[rows[len(rows) // 2 :], name] = 1e3 * (
                1 + table.loc[rows, name].abs().max()
            )
    return table


def groups_swapped(table, declared, random):
    for key in declared.keys:
        levels = table[key].drop_duplicates().tolist()
        if (
            key not in ("seed", "step")
            and len(levels) > 1
            and isinstance(levels[0], str | bool | np.bool_)
        ):
            table[key] = table[key].map(dict(zip(levels, [*levels[1:], levels[0]])))
    return table


def a_group_missing(table, declared, random):
    for key in declared.keys:
        levels = table[key].drop_duplicates().tolist()
        if key not in ("seed", "step") and len(levels) > 1:
            return table[table[key] != levels[-1]].reset_index(drop=True)
    return table


def a_seed_missing(table, declared, random):
    return table[table["seed"] != table["seed"].max()].reset_index(drop=True)


def a_seed_bad(table, declared, random):
    rows = table["seed"] == table["seed"].min()
    return scaled(table, declared, random, rows)


def a_seed_nan(table, declared, random):
    table.loc[table["seed"] == table["seed"].min(), measures_of(declared)] = np.nan
    return table


def everything_nan(table, declared, random):
    table[measures_of(declared)] = np.nan
    return table


def empty(table, declared, random):
    return table.iloc[:0]


def values_scaled(table, declared, random):
    return scaled(table, declared, random, slice(None))


def scaled(table, declared, random, rows):
    """Every measure times a factor of its own in each row, from 1e-10 to 1e10."""
    columns = measures_of(declared)
    table[columns] = table[columns].astype(float)
    size = table.loc[rows, columns].shape
    table.loc[rows, columns] *= 10 ** random.uniform(-10, 10, size)
    return table


WAYS = {
    "time reversed": time_reversed,
    "curves end high": ends_high,
    "groups swapped": groups_swapped,
    "a group missing": a_group_missing,
    "a seed missing": a_seed_missing,
    "a seed bad": a_seed_bad,
    "a seed NaN": a_seed_nan,
    "values scaled": values_scaled,
    "everything NaN": everything_nan,
    "empty": empty,
}


def falsified(results: dict[str, Result], way: str) -> dict[str, Result] | None:
    """The results falsified in one way; None where that changes nothing."""
    random, changed, found = np.random.default_rng(0), False, {}
    for name, result in results.items():
        declared = find(name).tables
        change = {
            table: lambda frame, of=declared[table]: WAYS[way](frame, of, random)
            for table in result.tables
        }
        found[name] = altered(result, **change)
        changed |= any(not found[name][t].equals(result[t]) for t in result.tables)
    return found if changed else None


def survivors(claim_id: str) -> Iterator[tuple[str, str]]:
    """(way, verdict) of each falsification that a claim's check lets pass, exempt or not."""
    recorded, results = CLAIMS[claim_id].verdict, stored(claim_id)
    for way in WAYS:
        changed = falsified(results, way)
        if changed is None:
            continue
        returned = verdict(claim_id, changed)
        if returned == "reproduced" or RANK[returned] > RANK[recorded]:
            yield way, returned
