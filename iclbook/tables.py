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


def compare(declared: Table, fresh: pd.DataFrame, stored: pd.DataFrame) -> tuple[int, float]:
    """(rows of `fresh` that `stored` lacks, worst deviation in units of the declared
    tolerance)."""
    both = _matched(declared, fresh, stored)
    missing = int((both["_merge"] != "both").sum())
    both, worst = both[both["_merge"] == "both"], 0.0
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


def _matched(declared: Table, fresh: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """`fresh` beside `stored`, measures with the suffixes _new and _old; keys that data decide
    are matched in order where they are not equal, if they lie within their relative
    tolerance."""
    keys = list(declared.keys)
    named = [
        table.set_index(keys).add_suffix(side).reset_index()
        for table, side in ((fresh, "_new"), (stored, "_old"))
    ]
    exact = named[0].merge(named[1], on=keys, how="left", indicator=True)
    left = exact["_merge"] != "both"
    if not declared.decided or not left.any():
        return exact
    firm = [key for key in keys if key not in declared.decided]
    spare = named[1].merge(named[0][keys], on=keys, how="left", indicator="_taken")
    spare = spare[spare["_taken"] != "both"].drop(columns="_taken")
    ours = exact.loc[left, named[0].columns].sort_values([*firm, *declared.decided])
    ranked = [
        t.assign(_rank=t.groupby(firm, sort=False).cumcount())
        for t in (ours, spare.sort_values([*firm, *declared.decided]))
    ]
    near = ranked[0].merge(
        ranked[1], on=[*firm, "_rank"], how="left", suffixes=("", "_key"), indicator=True
    )
    close = near["_merge"] == "both"
    for key, rtol in declared.decided.items():
        close &= (near[key] - near[f"{key}_key"]).abs() <= rtol * near[f"{key}_key"].abs()
    near["_merge"] = np.where(close, "both", "left_only")
    return pd.concat([exact[~left].astype({"_merge": object}), near[exact.columns]])
