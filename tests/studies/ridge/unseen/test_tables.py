"""Figure 2a's checks say no to stored results that were made false."""

import pandas as pd
import pytest
from claims import altered, stored, verdict, verdict_in

from studies.ridge.unseen.tables import final_errors

ID = "yang2024/fig2a"
OWN = "loss == 'population' and tokens == 'unit'"
END = f"{OWN} and step == 20_000"


def own_verdict(claim, **changes):
    """The verdict under the theory's reading after `changes[table]`."""
    results = stored(f"yang2024/{claim}")
    results[ID] = altered(results[ID], **changes)
    return verdict_in(f"yang2024/{claim}", results, "unit", "population")


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
    assert own_verdict(claim, **changes) == "not reproduced"


def test_one_seed_above_the_threshold_makes_the_claim_partly_true():
    assert own_verdict("fig2a-unseen-tasks") == "partly"
    mended = times(f"{END} and domain == 'out-of-domain'", "error_sampled", 0.9)
    assert own_verdict("fig2a-unseen-tasks", domains=mended) == "reproduced"


def test_what_the_paper_states_decides_and_other_readings_make_it_partly_true():
    claim = "yang2024/fig2a-reaches-the-ridge-limit"
    results = stored(claim)
    assert verdict(claim, results) == "partly"
    assert verdict_in(claim, results, "gaussian", "population") == "not reproduced"
    gaussian = times("tokens == 'gaussian' and step == 20_000", "excess_loss", 1e-9)
    reached = {ID: altered(results[ID], curves=gaussian)}
    assert verdict(claim, reached) == "reproduced"
    lost = {ID: altered(results[ID], curves=times(END, "excess_loss", 1e9))}
    assert verdict(claim, lost) == "not reproduced"


def test_losses_must_fall_together_under_both_stated_readings(monkeypatch):
    claim = "yang2024/fig2a-losses-fall-together"
    results = stored(claim)
    assert verdict(claim, results) == "partly"
    monkeypatch.setattr("studies.ridge.unseen.tables.FALLS", 0.1)
    assert verdict(claim, results) == "reproduced"
    gaussian = "tokens == 'gaussian' and loss == 'batch' and step == 20000"
    wrong = {ID: altered(results[ID], curves=times(gaussian, "excess_loss", 2))}
    assert verdict(claim, wrong) == "partly"


def test_batches_do_as_well_only_where_both_losses_fall_to_the_same_place():
    claim = "yang2024/fig2a-batches-do-as-well"
    results = stored(claim)
    assert verdict(claim, results) == "not reproduced"

    def equal(table, factor=1.0):
        ends = table.set_index(["tokens", "seed", "step", "loss"])["excess_loss"]
        same = ends.unstack("loss")["population"]
        batch = table["loss"] == "batch"
        keys = pd.MultiIndex.from_frame(table.loc[batch, ["tokens", "seed", "step"]])
        table.loc[batch, "excess_loss"] = factor * same.reindex(keys).to_numpy()
        return table

    for factor, says in ((1.0, "reproduced"), (1.2, "not reproduced"), (0.8, "not reproduced")):
        changed = altered(results[ID], curves=lambda t, f=factor: equal(t, f))
        assert verdict(claim, {ID: changed}) == says
    flat = altered(results[ID], curves=lambda t: t.assign(excess_loss=1.0))
    assert verdict(claim, {ID: flat}) == "not reproduced"


def test_final_errors_are_those_of_the_last_step_and_of_the_domains_own_predictor():
    result = stored("yang2024/fig2a-unseen-tasks")[ID]
    errors = final_errors(result)
    assert errors.shape == (10, 4)
    row = result["domains"].query(f"{END} and seed == 2 and domain == 'in-domain'")
    assert errors.loc[(2, "in-domain"), "transformer"] == row["error_sampled"].item()
    assert (errors["best linear"] < errors["zero"]).all()
