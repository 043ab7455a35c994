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


def curves_of(table: pd.DataFrame, declared: Table) -> np.ndarray:
    """The number of each row's curve: what all keys but `step` name."""
    others = [key for key in declared.keys if key != "step"]
    return table.groupby(others, sort=False).ngroup().to_numpy()


def time_reversed(table, declared, random):
    if "step" in declared.keys:
        curve, step = curves_of(table, declared), table["step"]
        onward, back = np.lexsort((step, curve)), np.lexsort((-step, curve))
        for name in measures_of(declared):
            table.loc[onward, name] = table[name].to_numpy()[back]
    return table


def ends_high(table, declared, random):
    if "step" in declared.keys:
        curve = curves_of(table, declared)
        steps = table["step"].groupby(curve)
        late = steps.rank(method="first") > steps.transform("size") // 2
        for name in measures_of(declared):
            high = 1e3 * (1 + table[name].abs().groupby(curve).transform("max"))
            table[name] = table[name].where(~late, high)
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


def a_seed_high(table, declared, random):
    return scaled(
        table, declared, table["seed"] == table["seed"].min(), 10 ** random.uniform(6, 10)
    )


def a_seed_low(table, declared, random):
    return scaled(
        table, declared, table["seed"] == table["seed"].min(), 10 ** random.uniform(-10, -6)
    )


def a_seed_nan(table, declared, random):
    table.loc[table["seed"] == table["seed"].min(), measures_of(declared)] = np.nan
    return table


def everything_nan(table, declared, random):
    table[measures_of(declared)] = np.nan
    return table


def empty(table, declared, random):
    return table.iloc[:0]


def values_scaled(table, declared, random):
    """Every measure times a factor of its own in each row, from 1e-10 to 1e10."""
    size = len(table), len(measures_of(declared))
    return scaled(table, declared, slice(None), 10 ** random.uniform(-10, 10, size))


def scaled(table, declared, rows, factors):
    columns = measures_of(declared)
    table.loc[rows, columns] *= factors
    return table


WAYS = {
    "time reversed": time_reversed,
    "curves end high": ends_high,
    "groups swapped": groups_swapped,
    "a group missing": a_group_missing,
    "a seed missing": a_seed_missing,
    "a seed bad": (a_seed_high, a_seed_low),
    "a seed NaN": a_seed_nan,
    "values scaled": values_scaled,
    "everything NaN": everything_nan,
    "empty": empty,
}


def falsified(results: dict[str, Result], change_table) -> dict[str, Result] | None:
    """The results with every table changed by one function; None where that changes nothing."""
    random, changed, found = np.random.default_rng(0), False, {}
    for name, result in results.items():
        declared = find(name).tables
        change = {
            table: lambda frame, of=declared[table]: change_table(frame, of, random)
            for table in result.tables
        }
        found[name] = altered(result, **change)
        changed |= any(not found[name][t].equals(result[t]) for t in result.tables)
    return found if changed else None


def survivors(claim_id: str) -> Iterator[tuple[str, str]]:
    """(way, verdict) of each falsification that a claim's check lets pass, exempt or not.

    Of two directions, such as a seed too high or too low, a one-sided claim must notice one.
    """
    recorded, results = CLAIMS[claim_id].verdict, stored(claim_id)
    for way, changes in WAYS.items():
        variants = changes if isinstance(changes, tuple) else (changes,)
        changed = [found for change in variants if (found := falsified(results, change))]
        returned = [verdict(claim_id, each) for each in changed]
        passed = [v for v in returned if v == "reproduced" or RANK[v] > RANK[recorded]]
        if returned and len(passed) == len(returned):
            yield way, passed[0]
