"""Checks of *What it learned* say no to stored results that were made false."""

import math

import pytest
from claims import CLAIMS, stored, verdict, verdict_after

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
