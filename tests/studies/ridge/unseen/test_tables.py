"""Figure 2a's checks say no to stored results that were made false."""

import pytest
from claims import stored, verdict, verdict_after

from studies.ridge.unseen.tables import final_errors

ID = "yang2024/fig2a"
OWN = "loss == 'population' and tokens == 'unit'"
END = f"{OWN} and step == 20_000"


def times(where, measure, factor):
    """A change of a table: one measure times a factor, where a query holds."""

    def change(table):
        table.loc[table.query(where).index, measure] *= factor
        return table

    return change


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        (
            "fig2a-losses-fall-together",
            dict(domains=times(f"{END} and domain == 'in-domain'", "distance_sampled", 2)),
        ),
        (
            "fig2a-losses-fall-together",
            dict(
                domains=times(
                    f"{END} and domain == 'out-of-domain'",
                    ["distance_sampled", "distance_expected"],
                    0.1,
                )
            ),
        ),
        ("fig2a-losses-fall-together", dict(curves=times(END, "excess_loss", 2))),
        (
            "fig2a-losses-fall-together",
            dict(
                curves=times(END, "excess_loss", 1e9),
                domains=times(END, ["distance_sampled", "distance_expected"], 1e9),
            ),
        ),
        ("fig2a-unseen-tasks", dict(domains=times(END, "error_sampled", 1.2))),
        (
            "fig2a-unseen-tasks",
            dict(domains=times(f"{END} and seed == 3", "error_sampled", 100)),
        ),
        ("fig2a-reaches-the-ridge-limit", dict(curves=times(END, "excess_loss", 1e3))),
        (
            "fig2a-reaches-the-ridge-limit",
            dict(curves=times(f"{END} and seed == 4", "excess_loss", 1e3)),
        ),
    ],
)
def test_claims_say_no_to_false_data(claim, changes):
    assert verdict_after(f"yang2024/{claim}", ID, **changes) == "not reproduced"


def test_one_seed_above_the_threshold_makes_the_claim_partly_true():
    claim = "yang2024/fig2a-unseen-tasks"
    assert verdict(claim, stored(claim)) == "partly"
    mended = times(f"{END} and domain == 'out-of-domain'", "error_sampled", 0.9)
    assert verdict_after(claim, ID, domains=mended) == "reproduced"


def test_final_errors_are_those_of_the_last_step_and_of_the_domains_own_predictor():
    result = stored("yang2024/fig2a-unseen-tasks")[ID]
    errors = final_errors(result)
    assert errors.shape == (10, 4)
    row = result["domains"].query(f"{END} and seed == 2 and domain == 'in-domain'")
    assert errors.loc[(2, "in-domain"), "transformer"] == row["error_sampled"].item()
    assert (errors["best linear"] < errors["zero"]).all()
