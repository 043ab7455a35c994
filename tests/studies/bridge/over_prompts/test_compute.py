"""Runs that are interrupted, looks against other routes, tables that are complete."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from iclbook import runner
from iclbook.catalogue import find
from iclbook.checkpoint import Checkpoint
from iclbook.tables import faults
from studies.bridge.over_prompts import compute
from studies.bridge.over_prompts.rules import Filters
from studies.bridge.two_lenses.lenses import ridge

RULES, TRAINED = "bridge/prompt-rules", "bridge/trained-over-prompts"
SMALL = dict(steps=30, test_prompts=20, sets=2, set_labels=30, probe_prompts=24)
POINT = {"layers": 2, "seed": 3}


def tiny(**changes):
    return find(TRAINED).settings("quick", **SMALL | {"shift_prompts": 8} | changes)


@pytest.fixture(scope="module")
def quick():
    return {name: runner.live(find(name), "quick") for name in (RULES, TRAINED)}


class Echo:
    """A model that does as it is told."""

    def __init__(self, rule):
        self.rule = rule

    def predict(self, tokens, y):
        return self.rule(tokens, y)


def by_ridge(noise, scale=1.0):
    def rule(tokens, y):
        shown, asked = tokens[:, : y.shape[1]], tokens[:, y.shape[1] :]
        eye = torch.eye(tokens.shape[2], dtype=torch.float64)
        task = torch.linalg.solve(shown.mT @ shown + noise * eye, shown.mT @ y[..., None])
        return scale * (asked @ task)[..., 0]

    return rule


def test_an_interrupted_point_goes_on_in_the_same_bits(tmp_path, monkeypatch):
    settings, path = tiny(), tmp_path / "point.checkpoint"
    whole = compute.trained(settings, POINT)
    taken, draw = 0, compute.batch_loss

    def breaks(*args):
        nonlocal taken
        taken += 1
        if taken == 17:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(compute, "batch_loss", breaks)
    with pytest.raises(KeyboardInterrupt):
        compute.trained(settings, POINT, Checkpoint(path, seconds=0))
    again = compute.trained(settings, POINT, Checkpoint(path))
    assert again.keys() == whole.keys() and taken == 17 + 14
    for name, table in again.items():
        pd.testing.assert_frame_equal(table, whole[name], check_exact=True)


def test_every_table_of_a_sweep_is_complete(quick):
    for name, result in quick.items():
        assert not faults(find(name), result.settings, result.tables)


def test_models_learn_and_ridge_is_not_beaten(quick):
    result = quick[TRAINED]
    curves = result["curves"].pivot(index=["layers", "seed"], columns="step", values="error")
    references = result["references"].set_index(["layers", "seed", "rule"])["error"].unstack()
    end, stacks = curves[result.settings.steps], result["stacks"]
    assert (stacks["error"] <= 1.01 * stacks["steps_alone"]).all()
    assert (end < 0.7 * curves[0]).all() and (end > references["ridge"]).all()
    # Every number of layers is judged on the same prompts.
    assert references.groupby("seed").nunique().eq(1).all(axis=None)


def test_models_of_a_seed_share_their_first_layers_and_their_batches():
    s = tiny()
    one, two = (compute.start(s, {"layers": n, "seed": 3}) for n in (1, 2))
    for mine, theirs in zip(one.layers.parameters(), two.layers.parameters()):
        assert torch.equal(mine, theirs)
    assert torch.equal(one.embed.weight, two.embed.weight)
    losses = [
        compute.batch_loss(one, s, torch.Generator().manual_seed(9)).item() for _ in range(2)
    ]
    assert losses[0] == losses[1]


def test_the_rate_halves():
    rates, s = [], tiny(half_life=10.0)

    class Watched(torch.optim.Adam):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    adam, torch.optim.Adam = torch.optim.Adam, Watched
    try:
        compute.trained(s, POINT)
    finally:
        torch.optim.Adam = adam
    np.testing.assert_allclose(rates, s.rate * 0.5 ** (np.arange(30) / 10))


def test_a_look_at_ridge_itself_finds_ridge():
    s = tiny()
    setup = compute.Setup(s, 0, 1)
    found = compute.look(setup, Echo(by_ridge(setup.prompts.noise)), s.taken)
    (curve,) = found["curves"]
    assert curve["nonlinear_share"] < 1e-20 and curve["filter_share"] == pytest.approx(1)
    assert curve["stack"] == pytest.approx(setup.references(s.taken)["stacks"]["distance"][0])
    rules = {row["rule"]: row["distance"] for row in found["rules"]}
    assert rules["ridge"] < 1e-9 and rules["zero"] == pytest.approx(1)
    references = setup.references(s.taken)
    wanted = references["references"].set_index("rule")
    assert curve["error"] == pytest.approx(wanted["error"]["ridge"])
    assert rules == pytest.approx(wanted["distance"].to_dict(), abs=1e-9)
    weights = {row["rule"]: row for row in found["weights"]}
    assert weights["ridge"]["distance"] < 1e-9 and weights["ridge"]["cosine"] > 1 - 1e-12
    assert weights["one step"]["cosine"] < 0.999
    steps = pd.DataFrame(found["taken"]).set_index("taken")
    nearest = references["reference_steps"].set_index("taken")["distance"]
    pd.testing.assert_series_equal(steps["one_rate"], nearest, check_names=False)
    assert (steps["free"] <= steps["one_rate"] + 1e-9).all()


def test_the_closest_table_is_the_mean_jacobian():
    """Labels given tokens are Gaussian, so by Stein's identity both are the same; here for a
    function whose Jacobian is known."""
    s = tiny(set_labels=60_000, sets=1)
    setup = compute.Setup(s, 0, 1)
    A = Filters.of(setup.sets).tables(ridge(setup.prompts.noise))[0]

    def bent(tokens, y):
        x = y @ A
        return x + 0.05 * x**3

    tables, share = setup.fitted(Echo(bent))
    x = setup.y[0] @ A  # (count, K - N)
    jacobian = A * (1 + 0.15 * x.square().mean(0))
    assert_close(tables[0], jacobian, rtol=0.05, atol=0.02)
    assert 0 < share < 0.5


def test_shifts_change_what_they_are_called():
    s = tiny(shift_prompts=4_000)
    setup = compute.Setup(s, 0, 1)
    found = compute.shifts(setup, Echo(by_ridge(setup.prompts.noise)), s)
    base = {"lengths": 6, "noises": 0.05, "spreads": 1.0, "factors": 1.0}
    keys = {"lengths": "N", "noises": "tau", "spreads": "spread", "factors": "factor"}
    for name, rows in found.items():
        table = pd.DataFrame(rows).set_index(keys[name])
        # What is unchanged is ridge regression, whatever is changed else.
        assert table.loc[base[name], "distance"] < 1e-9
        assert (table["error"] > table["ridge"] * (1 - 1e-9)).all()
    lengths = pd.DataFrame(found["lengths"]).set_index("N")
    assert (lengths["distance"] < 1e-9).all() and lengths["ridge"].is_monotonic_decreasing
    factors = pd.DataFrame(found["factors"])
    assert (factors["distance"] < 1e-9).all(), "ridge is linear in the labels"
    noises = pd.DataFrame(found["noises"]).set_index("tau")
    assert noises.loc[0.2, "distance"] > 0.01, "another penalty"
    # The model here is ridge regression with the penalty of training.
    for rows in found.values():
        table = pd.DataFrame(rows)
        assert table["error"].to_numpy() == pytest.approx(table["same_ridge"].to_numpy())


def test_probes_read_what_is_there_and_nothing_else():
    """Hidden states that hold the ridge prediction, and then the one after one step."""
    s = tiny(probe_prompts=120)
    setup = compute.Setup(s, 0, 1)
    model = compute.start(s, POINT)

    def hidden(tokens, y):
        best = by_ridge(setup.prompts.noise)(tokens.double(), y.double())
        step = (y.double()[:, None] @ (tokens[:, : s.N] @ tokens[:, s.N :].mT).double())[:, 0]
        pad = torch.zeros(len(y), s.N, dtype=torch.float64)
        states = [torch.cat([pad, part], 1)[..., None] for part in (best, step)]
        return [torch.cat([x, 0 * x], -1).float() for x in states]

    model.hidden = hidden
    found = {name: pd.DataFrame(rows) for name, rows in compute.probes(setup, model, s).items()}
    ridge_read = found["probes"].set_index("layer")["ridge"]
    assert ridge_read[0] > 0.999 > ridge_read[1] + 0.05
    assert found["probes"]["control"].abs().max() < 0.2
    steps = found["probe_steps"].set_index(["layer", "taken"])["r2"]
    assert steps[1, 1] > 0.999 > steps[0, 1] + 0.05
    decoded = found["decoded"].set_index(["layer", "rule"])["distance"]
    assert decoded[0, "ridge"] < 0.1 < decoded[1, "ridge"]
    assert decoded[1, "one step"] < decoded[1, "ridge"]
    near = found["decoded_steps"].set_index(["layer", "taken"])["one_rate"]
    assert near[1, 1] < 0.02 + near[1].min() and near[0].idxmin() > 1


def test_the_rules_know_their_closed_forms(quick):
    errors = quick[RULES]["errors"].dropna()
    off = (errors["error"] - errors["exact"]).abs() / errors["standard_error"]
    assert off.max() < 4.5 and set(errors["rule"]) == {"one step", "additive", "zero"}
    one = quick[RULES]["steps"].query("taken == 1").set_index("N")
    s = quick[RULES].settings
    for N, rate in one["rate"].items():
        assert rate == pytest.approx(1 / (N + s.d + 1 + s.d * s.tau), rel=0.2)


def test_only_what_comes_after_the_last_step_is_never_compared():
    declared = find(TRAINED).tables
    loose = {t for t, d in declared.items() if all(m.clock for m in d.measures.values())}
    assert loose == {
        *("gains", "probes", "probe_steps", "decoded", "decoded_steps"),
        *("lengths", "noises", "spreads", "factors"),
    }


def test_stacks_are_judged_on_the_encoders_prompts_and_fitted_on_others():
    s, t = find("bridge/stacks").quick, find("bridge/trained-over-prompts").quick
    row = compute.stacks(s, {"layers": 1, "seed": 0})["errors"].iloc[0]
    setup = compute.Setup(t, 0, 1)
    least = setup.filters.nearest_rate(setup.prompts.asked, 1)[1]
    assert least <= row["error"] <= 1.3 * least and row["fitted"] != row["error"]
    two = compute.stacks(s, {"layers": 2, "seed": 0})["errors"].iloc[0]
    assert two["fitted"] < row["fitted"] and row["ridge_many"] < row["error_many"]
