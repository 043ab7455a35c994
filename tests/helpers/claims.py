"""Stored results that a test may make false, and what a claim's check says of them."""

import dataclasses
from collections.abc import Callable

import pandas as pd

from iclbook.catalogue import find
from iclbook.claim import Outcome, all_claims
from iclbook.errors import InputError
from iclbook.store import Result, Store

CLAIMS = all_claims()


def stored(claim_id: str) -> dict[str, Result]:
    """The stored full results that a claim reads, as copies."""
    results = {name: Store().read(find(name)) for name in CLAIMS[claim_id].experiments}
    return {name: altered(result) for name, result in results.items()}


def altered(result: Result, **changes: Callable[[pd.DataFrame], pd.DataFrame]) -> Result:
    """A copy of a result in which `changes[name]` was applied to a copy of the table `name`."""
    tables = {name: table.copy() for name, table in result.tables.items()}
    for name, change in changes.items():
        tables[name] = change(tables[name])
    return dataclasses.replace(result, tables=tables)


def verdict(claim_id: str, results: dict[str, Result]) -> str:
    """What the claim's check returns, or "refused" where it takes the results for no complete
    sweep."""
    try:
        return CLAIMS[claim_id].judge(results).verdict
    except InputError:
        return "refused"


def outcome(claim_id: str, tables: dict[str, dict[str, pd.DataFrame]], **settings) -> Outcome:
    """What the claim's check itself says of tables that a test made up: id -> name -> table.

    settings: changes to the full settings that the check may read.
    """
    results = {
        name: Result(named, dataclasses.replace(find(name).full, **settings), "made up")
        for name, named in tables.items()
    }
    return CLAIMS[claim_id].outcome(results)


def verdict_in(claim_id: str, results: dict[str, Result], tokens: str, loss: str) -> str:
    """What the claim's check says of results under one of its readings."""
    rows = CLAIMS[claim_id].by_reading(results)
    (found,) = (row for row in rows if (row["tokens"], row["loss"]) == (tokens, loss))
    return found["verdict"]


def verdict_after(claim_id: str, experiment: str, **changes) -> str:
    """The verdict on the stored results after `changes[table]` was applied to tables of one
    experiment."""
    results = stored(claim_id)
    results[experiment] = altered(results[experiment], **changes)
    return verdict(claim_id, results)
