"""Checks of the chapter *Modified attention*, and the families' tables under each other."""

import pandas as pd

from iclbook.claim import Outcome
from iclbook.errors import require

# A wrong form must miss by this many thresholds, or the comparison shows nothing.
TOLD_APART = 1e5
SYMBOLS = {"alpha": "α", "r": "r", "beta": "β", "c": "c"}
KEYS = ["seed", "norm", "modification"]


def label(family: str, strengths: dict) -> str:
    """What a family's setting is called in figures and printed tables."""
    parts = [f"{SYMBOLS[name]} = {x:g}" for name, x in strengths.items() if name in SYMBOLS]
    if family == "learned":
        parts.append("β learned")
    if "view" in strengths:
        parts.append(strengths["view"])
    return ", ".join(parts) or family.replace("_", " ")


def layers(result, grain: str = "") -> pd.DataFrame:
    """The tables of one grain of all families under each other; strengths that a family has not
    are NaN. Columns family and setting, its label, come first; rows in the order of the grid.

    Raises InputError where a table does not hold the settings' grid and no more.
    """
    parts = []
    for family, grid in result.settings.grid().items():
        name = "_".join(part for part in (family, grain) if part)
        if not grid or name not in result.tables:
            continue
        table = result[name]
        strengths = list(grid[0])
        rows = list(zip(*(table[name] for name in strengths))) or [()] * len(table)
        wanted = {tuple(row.values()): label(family, row) for row in grid}
        require(set(rows) == set(wanted), f"{name} does not hold the settings' {family} grid")
        table = table.copy()
        table.insert(0, "setting", [wanted[row] for row in rows])
        table.insert(0, "family", family)
        place = {name: index for index, name in enumerate(wanted.values())}
        parts.append(table.sort_values("setting", kind="stable", key=lambda x: x.map(place)))
    return pd.concat(parts, ignore_index=True)


def farthest(tables: list[pd.DataFrame]) -> float:
    """The largest number in the tables' measures; NaN where one is NaN or there is none."""
    values = [table.drop(columns=KEYS, errors="ignore").stack() for table in tables]
    return pd.concat(values).max(skipna=False)


def form(results, threshold, modification: str) -> Outcome:
    """Largest distance of a closed form from its steps; its rivals must miss at the norms at
    which autograd's step was taken too."""
    result = results["ren2024/modified-forms"]
    norms, small = result.settings.norms, result.settings.autograd_norm
    named = {
        name: table
        for name, table in result.tables.items()
        if name in ("steps", "autograd") or name.split("_")[0] == modification
    }
    tables = {
        name: table[table["modification"] == modification] if "modification" in table else table
        for name, table in named.items()
    }
    rivals = tables.pop(f"{modification}_rivals")
    complete = all(
        set(table["norm"]) == {norm for norm in norms if norm <= small or name != "autograd"}
        for name, table in (tables | {"rivals": rivals}).items()
    )
    largest = farthest(list(tables.values()))
    misses = rivals[rivals["norm"] <= small].drop(columns=["seed", "norm"])
    told_apart = len(misses) > 0 and (misses >= TOLD_APART * threshold).all(axis=None)
    holds = complete and told_apart and largest <= threshold
    return Outcome("reproduced" if holds else "not reproduced", float(largest))


def beside_plain(result) -> pd.DataFrame:
    """The modified settings' means; those of plain attention, by seed, in columns _plain."""
    every = layers(result)
    plain = result["plain"]
    modified = every[every["family"] != "plain"]
    return modified.merge(plain, on="seed", how="left", suffixes=("", "_plain"))


def negatives_spread_outputs(results, threshold) -> Outcome:
    """Smallest gain of the outputs' effective rank over plain attention, in standard errors.

    Partly where only the mean share of the outputs falls, for every seed and strength.
    """
    every = beside_plain(results["ren2024/modified-weights"])
    negative = every[every["family"] == "negative"]
    gain = (negative["gain"] / negative["gain_error"]).min(skipna=False)
    share, plain = negative["mean_share_of_outputs"], negative["mean_share_of_outputs_plain"]
    falls = len(negative) > 0 and (share < plain).all() and pd.notna(gain)
    if not falls:
        return Outcome("not reproduced", float(gain))
    return Outcome("reproduced" if gain >= threshold else "partly", float(gain))
