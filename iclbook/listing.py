"""What the command line prints of claims and results: lines, or a table for a spreadsheet or a
paper."""

import json

from iclbook.card import telling_digits
from iclbook.errors import InputError
from iclbook.experiment import Experiment
from iclbook.store import Store

FORMATS = ("table", "csv", "md", "tex", "json")
COPIED = ("kind", "source", "verdict", "returned", "measured", "direction", "threshold")


def state_of(store: Store, experiment: Experiment) -> tuple[dict, str, str | None]:
    """(JSON of the full result, stored, missing or not valid, what is wrong with it)."""
    try:
        return store.meta(experiment, "full"), "stored", None
    except InputError as error:
        there = any(store.file(experiment, "full").parent.glob("full.*"))
        return {}, "not valid" if there else "missing", str(error)


def claims_in(form: str, rows: list[dict]) -> str:
    """Rows of `claim.judged` in one of FORMATS.

    csv, md and tex have a row a claim, and one more a reading of it, which `reading` names.
    """
    if form == "json":
        return json.dumps(rows, indent=1)
    if form == "table":
        return "\n".join(map(_line, rows))
    records = [record for row in rows for record in _records(row)]
    import pandas as pd

    if form == "csv":
        return pd.DataFrame(records).to_csv(index=False, lineterminator="\n").rstrip("\n")
    shown = pd.DataFrame([record | _rounded(record) for record in records])
    kind = {"md": "pipe", "tex": "latex_booktabs"}[form]
    return shown.to_markdown(index=False, tablefmt=kind, disable_numparse=True)


def _line(row: dict) -> str:
    says, verdict = row["error"] or row["returned"], row["verdict"]
    if says != verdict:
        verdict += f"  BUT THE CHECK SAYS {says}"
    measured, threshold = _rounded(row).values()
    if row["direction"]:
        measured += f", {row['direction'].replace('_', ' ')} {threshold} is wanted"
    if fresh := row["fresh"]:
        measured += f"  {fresh['share']:.0%} of {fresh['sets']} sets of fresh seeds"
    return f"{row['id']:44} {row['kind']:11} {verdict:15} {measured}".rstrip()


def _records(row: dict) -> list[dict]:
    """The row of a claim, and of each of its readings."""
    first = {"claim": row["id"], "reading": ""} | {name: row[name] for name in COPIED}
    first["returned"] = row["error"] or row["returned"]
    first["seeds"] = "; ".join(" ".join(map(str, seeds)) for seeds in row["seeds"].values())
    first["experiments"] = "; ".join(row["experiments"])
    others = []
    for reading in row["readings"]:
        name = f"{reading['tokens']} tokens, {reading['loss']} loss"
        found = {"returned": reading["verdict"], "measured": reading["measured"]}
        others.append(first | {"reading": name} | found)
    return [first, *others]


def _rounded(row: dict) -> dict[str, str]:
    """Measured number and threshold with as many digits as tell them apart; "" for none."""
    pair = {name: row[name] for name in ("measured", "threshold")}
    digits = 3 if None in pair.values() else telling_digits(*pair.values())
    return {name: "" if x is None else f"{x:.{digits}g}" for name, x in pair.items()}
