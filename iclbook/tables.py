"""Checks and compares an experiment's tables against their declarations."""

import numpy as np
import pandas as pd

from iclbook.errors import require
from iclbook.experiment import Experiment, Settings, Table


def arranged(
    experiment: Experiment, tables: dict[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """The tables in declared order, columns too. Raises InputError where names, columns or keys
    are not as declared."""
    unknown = sorted(tables.keys() - experiment.tables.keys())
    require(not unknown, f"{experiment.id} returns undeclared tables: {', '.join(unknown)}")
    found = {}
    for name, declared in experiment.tables.items():
        table = tables.get(name, pd.DataFrame(columns=declared.columns))
        label = f"table {name} of {experiment.id}"
        differ = sorted(set(table.columns) ^ set(declared.columns))
        require(
            not differ,
            f"{label}: columns that are declared or returned only: {', '.join(differ)}",
        )
        keys = list(declared.keys)
        require(
            not table[keys].isna().any(axis=None),
            f"{label}: a key is NaN; use a table of its own",
        )
        twice = table.duplicated(keys)
        first = int(twice.argmax()) if twice.any() else None
        require(first is None, f"{label}: the same key twice, first in row {first}")
        numbers = dict.fromkeys(declared.measures, float)
        found[name] = table[declared.columns].astype(numbers).reset_index(drop=True)
    return found


def faults(
    experiment: Experiment, settings: Settings, tables: dict[str, pd.DataFrame]
) -> list[str]:
    """What keeps tables from being a complete sweep of `settings`, one line each: points,
    levels, seeds or numbers that are missing. What a check judges must have none."""
    found = []
    points = settings.points()
    keys, wanted = list(points[0]), [tuple(point.values()) for point in points]
    for name, declared in experiment.tables.items():
        table, label = tables[name], f"{experiment.id}, table {name}"
        if table.empty:
            found.append(f"{label}: is empty")
            continue
        rest = [key for key in declared.keys if key not in keys]
        held = set(table[keys].drop_duplicates().itertuples(index=False, name=None))
        lacking = [point for point in wanted if point not in held]
        if lacking:
            point = ", ".join(f"{key} = {value}" for key, value in zip(keys, lacking[0]))
            found.append(f"{label}: no row for {point} ({len(lacking)} points)")
        groups = _numbered(table, keys)
        for key, levels in declared.levels.items():
            levels = getattr(settings, levels) if isinstance(levels, str) else levels
            if not _each_has(groups, table[key], levels):
                found.append(f"{label}: {key} does not take every declared level, and no other")
        others = [
            key for key in (*keys, *rest) if key != "seed" and key not in declared.decided
        ]
        same = declared.ragged or not others
        if not same and not _each_has(_numbered(table, others), table["seed"], settings.seeds):
            found.append(f"{label}: the seeds do not all have the same rows")
        for measure, about in declared.measures.items():
            if not about.missing and table[measure].isna().any():
                found.append(f"{label}: {measure} holds NaN")
    return found


def _numbered(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    """The number of each row's group, from 0 on."""
    return table.groupby(names, sort=False, dropna=False).ngroup().to_numpy()


def _each_has(groups: np.ndarray, column: pd.Series, values) -> bool:
    """Whether a column takes exactly `values` in each group of rows."""
    codes, found = pd.factorize(column, use_na_sentinel=False)
    pairs = np.unique(groups * len(found) + codes)
    return set(found) == set(values) and len(pairs) == (groups.max() + 1) * len(found)


def compare(
    declared: Table, fresh: pd.DataFrame, stored: pd.DataFrame, whole: bool = False, chosen=()
) -> tuple[int, float]:
    """(rows that one of the tables lacks, worst deviation in units of the declared tolerance).

    whole: `fresh` should hold every row of `stored`. Otherwise it is a part, which lacks a row
    only where it has one on either side, for a key whose values are none of those chosen.
    """
    both = _matched(declared, fresh, stored)
    matched = both["_merge"] == "both"
    missing = int((~matched).sum())
    if whole:
        missing += len(stored) - int(matched.sum())
    elif not declared.decided and not fresh.empty:
        keys, sets = list(declared.keys), [set(v) for v in chosen if isinstance(v, tuple)]
        free = [key for key in keys if key != "seed" and set(fresh[key]) not in sets]
        missing += _skipped(free, fresh[keys], stored[keys])
    both, worst = both[matched], 0.0
    for name, measure in declared.measures.items():
        if measure.clock:
            continue
        new, old = (both[f"{name}{side}"].to_numpy(float) for side in ("_new", "_old"))
        name_of_scale = (
            measure.scale if measure.scale in declared.keys else f"{measure.scale}_old"
        )
        scale = both[name_of_scale].abs().to_numpy(float) if measure.scale else 1.0
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.abs(new - old) / (measure.atol * scale + measure.rtol * np.abs(old))
        same = (new == old) | (np.isnan(new) & np.isnan(old))
        gap = np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
        worst = max(worst, float(gap.max(initial=0.0)))
    return missing, worst


def _skipped(keys: list[str], fresh: pd.DataFrame, stored: pd.DataFrame) -> int:
    """Rows of `stored` that `fresh` leaves out although it has a smaller and a larger value of
    one of `keys`, such as the step, with all others the same."""
    spare = stored.merge(fresh, how="left", indicator=True)
    spare = spare[spare.pop("_merge") == "left_only"]
    between = np.zeros(len(spare), bool)
    for key in fresh[keys].select_dtypes("number"):
        others = [other for other in stored if other != key]
        near = spare.join(fresh.groupby(others)[key].agg(["min", "max"]), on=others)
        between |= near[key].between(near["min"], near["max"]).to_numpy()
    return int(between.sum())


def _matched(declared: Table, fresh: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """`fresh` beside `stored`, measures with the suffixes _new and _old. Keys that data decide
    are matched in order, if they lie within their relative tolerance."""
    keys = list(declared.keys)
    firm = [key for key in keys if key not in declared.decided]
    new, old = (
        table.set_index(keys).add_suffix(side).reset_index().sort_values(keys)
        for table, side in ((fresh, "_new"), (stored, "_old"))
    )
    new, old = (table.assign(_rank=table.groupby(firm).cumcount()) for table in (new, old))
    on, sides = [*firm, "_rank"], ("", "_key")
    both = new.merge(old, on=on, how="left", suffixes=sides, indicator=True)
    close = both["_merge"] == "both"
    for key, rtol in declared.decided.items():
        close &= (both[key] - both[f"{key}_key"]).abs() <= rtol * both[f"{key}_key"].abs()
    return both.assign(_merge=np.where(close, "both", "left_only"))
