"""Checks of *What it learned* say no to stored results that were made false."""

import math

import pandas as pd
import pytest
from claims import CLAIMS, stored, verdict, verdict_after

from iclbook.catalogue import find
from iclbook.store import Result, Store
from studies.ridge.ridge_regression import tables as measures

THM2, BOUND = "yang2024/thm2", "yang2024/thm2-error-bound"
ITERATIONS, NOISELESS = "yang2024/thm2-iterations", "yang2024/thm2-noiseless"


def at(where, measure, value):
    def change(table):
        rows = table.query(where).index
        assert len(rows), where
        table.loc[rows, measure] = value
        return table

    return change


END = "step == 12_000 and "
COUNT, AFTER = "thm2-iteration-complexity", "group == 'after' and "


@pytest.mark.parametrize(
    ("claim", "experiment", "changes"),
    [
        (
            "thm2-ridge-limit",
            THM2,
            dict(ridge=at(f"{END}domain == 'in-domain'", "difference", 1)),
        ),
        ("thm2-unseen-tasks", THM2, dict(ridge=at(f"{END}domain == 'signs'", "difference", 1))),
        (
            "thm2-unseen-tasks",
            THM2,
            dict(ridge=at(f"{END}domain == 'out-of-domain' and seed == 1", "difference", 1)),
        ),
        ("thm2-error-bound", BOUND, dict(ratios=at("instance == 7", "tail", 1.001))),
        (
            "thm2-error-bound",
            THM2,
            dict(bounds=at("domain == 'signs' and seed == 1", "share_above", 0.6)),
        ),
        (COUNT, ITERATIONS, dict(counts=at("precision == 0.01 and seed == 1", "promised", 9))),
        (COUNT, ITERATIONS, dict(counts=at("precision == 0.1", "by_error", 1e9))),
        (COUNT, ITERATIONS, dict(facts=at("seed == 0", "smallest_zeta", 0))),
        (COUNT, ITERATIONS, dict(facts=at("seed == 0", "smallest", 0))),
        (
            "attention-converges-to-a",
            THM2,
            dict(columns=at(f"{END}group == 'shown' and seed == 1", "farthest", 0.2)),
        ),
        (
            "thm2-noiseless-template",
            NOISELESS,
            dict(errors=at(f"{AFTER}seed == 1", "task_error", 1e-3)),
        ),
        (
            "thm2-noiseless-template",
            NOISELESS,
            dict(errors=at(f"{AFTER}seed == 0", "table_error", 1e-9)),
        ),
    ],
)
def test_claims_say_no_to_false_data(claim, experiment, changes):
    claim = f"yang2024/{claim}"
    assert verdict(claim, stored(claim)) == CLAIMS[claim].verdict == "reproduced"
    assert verdict_after(claim, experiment, **changes) == "not reproduced"


def test_a_precision_that_was_promised_and_not_reached_counts_against_the_claim():
    claim = f"yang2024/{COUNT}"
    unreached = at("precision == 0.1 and seed == 0", "by_error", math.nan)
    within = at("precision == 0.1 and seed == 0", "promised", 11_000)
    counts = dict(counts=lambda table: within(unreached(table)))
    assert verdict_after(claim, ITERATIONS, **counts) == "not reproduced"


def invented(name, **tables):
    """A result of the full settings with tables that a test made up."""
    return Result(tables, find(name).full, "made up")


def test_the_overview_has_all_domains_and_the_farthest_of_both_groups():
    result = Store().read(find(THM2))
    found = measures.overview(result)
    ridge, columns = result["ridge"], result["columns"]
    step, seed = ridge[["step", "seed"]].iloc[-1]
    here = "step == @step and seed == @seed"
    row = found.loc[(step, seed)]
    assert row["farthest column from A's"] == columns.query(here)["farthest"].max()
    assert row["L − L*"] == result["training"].query(here)["excess_loss"].item()
    for domain in measures.DOMAINS:
        expected = ridge.query(f"{here} and domain == @domain")["difference"].item()
        assert row[f"difference from ridge, {domain}"] == expected
    assert len(found) == len(ridge) / len(measures.DOMAINS)
    assert not found.isna().any(axis=None)


def test_what_is_given_away_is_of_the_last_step_and_the_share_of_all():
    last, rows = find(THM2).full.steps, []
    for domain in reversed(measures.DOMAINS):
        for seed, error in enumerate((1.0, 2.0, 30.0)):
            rows += [(seed, 0, domain, 0.1, 1.0, 1.0, 1.0, 0.05 if seed == 2 else 0.0)]
            rows += [(seed, last, domain, 0.1, error, 4.0, 8.0, 0.01)]
    columns = ["seed", "step", "domain", "delta"]
    columns += ["error", "cauchy_schwarz", "bound", "share_above"]
    found = measures.given_away(invented(THM2, bounds=pd.DataFrame(rows, columns=columns)))
    assert found.index.get_level_values("domain").tolist() == list(measures.DOMAINS)
    for _, row in found.iterrows():
        assert (row["error"], row["first"], row["whole"]) == (2.0, 2.0, 4.0)
        assert row["share_above"] == 0.05


def test_a_promise_is_held_against_at_least_one_iteration():
    counts = pd.DataFrame(
        {"promised": [90.0, 90.0, 90.0], "by_loss": [20.0, 3.0, math.nan]}
        | {"by_error": [10.0, 0.0, math.nan]}
    )
    found = measures.promises(invented(ITERATIONS, counts=counts))
    assert found["kept"].tolist()[:2] == [9.0, 90.0]
    assert found["from_bound"].tolist()[:2] == [2.0, 3.0]
    assert found.loc[2, ["kept", "from_bound"]].isna().all(), "not reached is no number"


def test_the_premises_compare_with_the_start_and_with_the_promise():
    facts = {"zeta_start": 4.0, "smallest_zeta": 1.0, "promised": 0.1, "smallest": 0.3}
    found = measures.premises(invented(ITERATIONS, facts=pd.DataFrame([facts])))
    assert found["shrinks"].item() == 0.25
    assert found["contracts"].item() == pytest.approx(3)
