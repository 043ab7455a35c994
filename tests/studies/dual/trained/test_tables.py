"""The claims of *Does it help?* and *Further tasks* on tables where they hold, and on tables
where they do not."""

import numpy as np
import pandas as pd
import pytest
from iclbook.claim.dual import further_tasks, trained
from scipy.stats import ttest_rel

from studies.dual.trained.settings import EXPERIMENTS

COLUMNS = ["seed", "family", "setting", "start", "quantity", "step", "value"]
SETTINGS = [("plain", "plain"), ("regularised", "α = 0.5"), ("regularised", "α = 1"),
            ("augmented", "c = 1, g1 and g2"), ("negative", "r = 3, β = 0.5")]  # fmt: skip


def table(
    gain=None,
    spread=0.002,
    last=1e-31,
    before=0.1,
    one=1e-31,
    seeds=5,
    scales=(0.9, -1.6),
    losses=(2.3, 2.0),
):
    """Final losses with the given gains (5 % for all by default), and dual errors of 3
    steps."""
    rows, noise = [], np.random.default_rng(0)
    for seed in range(seeds):
        for family, setting in SETTINGS:
            mean = 0.05 if gain is None else gain.get(setting, 0.0)
            g = 0.0 if family == "plain" else mean + spread * noise.normal()
            for start, loss, scale in zip(("drawn", "mirrored"), losses, scales):
                rows.append((seed, family, setting, start, "final loss", 100, loss * (1 - g)))
                rows.append((seed, family, setting, start, "score scale", 100, scale))
                rows.append((seed, family, setting, start, "value scale", 100, 2.0))
            for step, value in enumerate((1.0, 0.5, before, last)):
                rows.append((seed, family, setting, "drawn", "dual error", step, value))
            rows.append((seed, family, setting, "drawn", "one step error", 1, one))
    return pd.DataFrame(rows, columns=COLUMNS)


IMPROVE = {
    "fig3-regularised": (trained.fig3_regularised, "ren2024/fig3-trained", "α = 1"),
    "fig3-augmented": (trained.fig3_augmented, "ren2024/fig3-trained", "c = 1, g1 and g2"),
    "fig3-negative": (trained.fig3_negative, "ren2024/fig3-trained", "r = 3, β = 0.5"),
    "regularised-with-a-common-part": (
        trained.regularised_with_a_common_part,
        "ren2024/preferred-trained",
        "α = 0.5",
    ),
}
PAIRS = {
    "appendix-trigonometric": (
        further_tasks.appendix_trigonometric,
        "ren2024/trigonometric-trained",
    ),
    "appendix-exponential": (further_tasks.appendix_exponential, "ren2024/exponential-trained"),
    "appendix-transformer-layer": (
        further_tasks.appendix_transformer_layer,
        "ren2024/transformer-trained",
    ),
    "appendix-two-layers": (further_tasks.appendix_two_layers, "ren2024/two-layers-trained"),
}


@pytest.mark.parametrize(
    ("gain", "spread", "verdict"),
    [(0.05, 0.002, "reproduced"), (0.005, 0.0002, "partly"), (-0.05, 0.002, "partly"), (0.0, 0.002, "not reproduced"),
     (0.05, 0.1, "not reproduced"), (float("nan"), 0.002, "not reproduced")],
)  # fmt: skip
def test_improvement_tells_five_cases_apart(gain, spread, verdict):
    for check, name, setting in IMPROVE.values():
        assert check({name: table({setting: gain}, spread)}, 0.01).verdict == verdict
    for check, name in PAIRS.values():
        assert check({name: table({"α = 1": gain}, spread)}, 0.01).verdict == verdict


def test_another_familys_gain_does_not_count():
    false = {"ren2024/fig3-trained": table({"r = 3, β = 0.5": 0.3})}
    for check in (trained.fig3_regularised, trained.fig3_augmented):
        assert check(false, 0.01).verdict == "not reproduced"


@pytest.mark.parametrize(
    "wrong", [dict(last=1e-10), dict(last=float("nan")), dict(one=1e-10), dict(before=1e-8)]
)
def test_a_dual_model_that_does_not_arrive_or_need_not_is_not_reproduced(wrong):
    check = trained.fig3_equivalence_linear  # fig3-equivalence-linear
    assert check({"ren2024/fig3-trained": table()}, 1e-20).verdict == "reproduced"
    assert check({"ren2024/fig3-trained": table(**wrong)}, 1e-20).verdict == "not reproduced"
    partial = table()
    assert (
        check({"ren2024/fig3-trained": partial[partial["family"] != "negative"]}, 1e-20).verdict
        == "not reproduced"
    )
    for pair, name in PAIRS.values():
        assert pair({name: table(**wrong)}, 0.01).verdict == "not reproduced"


def test_longer_prompts_speaks_of_the_worst_task():
    """appendix-longer-prompts"""
    good, bad = table(), table({})
    both = {
        "ren2024/longer-prompts": pd.concat(
            [good.assign(task="linear"), bad.assign(task="exponential")]
        )
    }
    assert further_tasks.appendix_longer_prompts(both, 0.01).verdict == "not reproduced"
    fine = {
        "ren2024/longer-prompts": pd.concat(
            [good.assign(task="linear"), good.assign(task="exponential")]
        )
    }
    assert further_tasks.appendix_longer_prompts(fine, 0.01).verdict == "reproduced"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [({}, "reproduced"), ({"losses": (2.3, 2.25)}, "not reproduced"), ({"scales": (0.9, 1.0)}, "not reproduced"),
     ({"losses": (2.3, float("nan"))}, "not reproduced")],
)  # fmt: skip
def test_two_solutions_need_both_signs_and_a_gap(change, verdict):
    """plain-has-two-solutions"""
    assert (
        trained.plain_has_two_solutions({"ren2024/fig3-trained": table(**change)}, 0.95).verdict
        == verdict
    )


def optimum(plain=2.3, negative=2.2):
    rows = [("linear", 15, "uniform", 0.0, seed, family, r, beta, sign, "loss", loss * factor)
            for seed in (0, 1) for sign, factor in (("+", 1.0), ("-", 2.0 / 2.3))
            for family, r, beta, loss in (("plain", 0, 0.0, plain), ("negative", 3, 0.5, negative))]  # fmt: skip
    columns = [
        "task",
        "N",
        "inputs",
        "noise",
        "seed",
        "family",
        "r",
        "beta",
        "sign",
        "quantity",
        "value",
    ]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, "reproduced"), ({"negative": 2.0}, "not reproduced"), ({"plain": 2.6}, "not reproduced"),
     ({"plain": np.nan}, "not reproduced")],
)  # fmt: skip
def test_two_numbers_are_compared_sign_by_sign(changes, verdict):
    """two-numbers-suffice"""
    tables = {
        "ren2024/fig3-trained": table({}, spread=0.0),
        "ren2024/two-numbers": optimum(**changes),
    }
    assert trained.two_numbers_suffice(tables, 0.05).verdict == verdict
    ratios = trained.two_number_ratios(*tables.values(), "linear")
    assert len(ratios) == 8 and set(ratios["family"]) == {"plain", "regularised", "negative"}


def test_intervals_are_scipys():
    found = trained.gains(table({"α = 1": 0.03}, spread=0.01)).set_index("setting")
    final = table({"α = 1": 0.03}, spread=0.01).query("quantity == 'final loss'")
    final = final.groupby(["setting", "seed"])["value"].mean()
    for setting in found.index:
        ratio = (final[setting] / final["plain"]).to_numpy()
        peer = ttest_rel(np.ones(5), ratio).confidence_interval(0.95)
        np.testing.assert_allclose(
            found.loc[setting, ["low", "high"]].astype(float), peer, rtol=1e-10
        )
    wide = trained.gains(table({"α = 1": 0.03}, spread=0.01), simultaneous=True).set_index(
        "setting"
    )
    peer = ttest_rel(
        np.ones(5), (final["α = 1"] / final["plain"]).to_numpy()
    ).confidence_interval(1 - 0.05 / 4)
    np.testing.assert_allclose(
        wide.loc["α = 1", ["low", "high"]].astype(float), peer, rtol=1e-10
    )


def test_todays_code_ends_at_the_layers_output_and_breaks_when_broken(monkeypatch):
    experiment = next(e for e in EXPERIMENTS if e.id == "ren2024/fig3-trained")
    settings = experiment.settings("quick", seeds=(7,), steps=3)

    def verdict():
        made = experiment.function()(settings, {"seed": 7})
        return trained.fig3_equivalence_linear(
            {experiment.id: made.assign(seed=7)}, 1e-20
        ).verdict

    assert verdict() == "reproduced"
    from iclbook.dual import trained as science

    monkeypatch.setattr(
        science, "values_less_negatives", lambda values, negatives, beta: values.unsqueeze(1)
    )
    assert verdict() == "not reproduced"
