"""The claims of *Modified attention* on tables where they hold, and on tables where they do
not."""

import itertools

import pandas as pd
import pytest

from iclbook import runner
from iclbook.claim import all_claims
from iclbook.dual import modified
from studies.catalogue import find

FORMS = {
    "regularised": [
        "single steps, decay once",
        "rival: single steps, decay at each",
        "rival: the whole output scaled",
    ],
    "augmented": ["the formula as written", "rival: g2 after the scale"],
    "negative": ["rival: the query's own value changed too"],
}
STEPS = ["the kernel twin's step", "sum of weights", "autograd's step"]


def forms(changes=None, without=()):
    """Two seeds on which the forms hold; `changes`: {(modification, norm, quantity): value}."""
    rows = []
    for seed, norm, (modification, names) in itertools.product(
        (0, 1), (1.0, 20.0), FORMS.items()
    ):
        for name in names + STEPS:
            if name in without or (name == "autograd's step" and norm == 20.0):
                continue
            value = (1e-3 if norm == 1.0 else 0.0) if name.startswith("rival") else 1e-15
            value = (changes or {}).get((modification, norm, name), value)
            rows.append((seed, norm, modification, name, value))
    columns = ["seed", "norm", "modification", "quantity", "value"]
    return {"ren2024/modified-forms": pd.DataFrame(rows, columns=columns)}


@pytest.mark.parametrize("modification", FORMS)
def test_forms_say_no_to_false_data(modification):
    claim = all_claims()[
        f"ren2024/{modification}-form"
    ]  # regularised-form, augmented-form, negative-form
    assert claim.check(forms()).verdict == "reproduced"
    for norm, name in itertools.product((1.0, 20.0), STEPS + FORMS[modification]):
        if name.startswith("rival"):
            false = [
                {(modification, 1.0, name): 1e-12}
            ]  # a wrong form agrees: the comparison shows nothing
        elif name == "autograd's step" and norm == 20.0:
            continue
        else:
            false = [{(modification, norm, name): value} for value in (1e-9, float("nan"))]
        for change in false:
            assert claim.check(forms(change)).verdict == "not reproduced", (norm, name)


@pytest.mark.parametrize("missing", STEPS)
def test_a_comparison_that_was_not_made_is_not_reproduced(missing):
    for modification in FORMS:
        claim = all_claims()[f"ren2024/{modification}-form"]
        assert claim.check(forms(without=(missing,))).verdict == "not reproduced"


def test_another_modifications_error_does_not_count():
    wrong = forms({("negative", 1.0, "autograd's step"): 1.0})
    assert all_claims()["ren2024/regularised-form"].check(wrong).verdict == "reproduced"


def weights(gain=0.5, share=0.1):
    """Outputs of plain attention and of two negatives for two seeds; the second seed's last one
    is given."""
    rows = []
    for seed, (modification, strength, r) in itertools.product(
        (0, 1), (("plain", 0.0, 0), ("negative", 0.5, 3), ("negative", 1.0, 15))
    ):
        last = (seed, r) == (1, 15)
        found = {
            "gain over plain": (0.0 if r == 0 else gain if last else 0.5, 0.02),
            "mean share of outputs": (0.35 if r == 0 else share if last else 0.1, 0.01),
        }
        for name, (mean, error) in found.items():
            rows.append((seed, modification, strength, r, name, 0, "mean", mean))
            rows.append((seed, modification, strength, r, name, 0, "standard error", error))
    columns = [
        "seed",
        "modification",
        "strength",
        "r",
        "quantity",
        "index",
        "statistic",
        "value",
    ]
    return {"ren2024/modified-weights": pd.DataFrame(rows, columns=columns)}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "reproduced"),
        ({"gain": 0.05}, "partly"),
        ({"gain": -0.1}, "partly"),
        ({"gain": float("nan")}, "partly"),
        ({"share": 0.4}, "not reproduced"),
        ({"share": float("nan")}, "not reproduced"),
    ],
)
def test_negatives_spread_outputs_tells_three_cases_apart(change, verdict):
    assert (
        all_claims()["ren2024/negatives-spread-outputs"].check(weights(**change)).verdict
        == verdict
    )


def verdicts():
    """The three form claims on a small run of today's code."""
    experiment = find("ren2024/modified-forms")
    table, _ = runner.compute(experiment, experiment.settings("quick", seeds=(7,), prompts=5))
    tables = {experiment.id: table}
    return {name: all_claims()[f"ren2024/{name}-form"].check(tables).verdict for name in FORMS}


def test_todays_code_keeps_the_forms():
    assert set(verdicts().values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("function", "broken", "fails"),
    [
        ("regularise", lambda weights, own, alpha: weights * (1 - alpha), {"regularised"}),
        (
            "regularise",
            lambda weights, own, alpha: weights * (1 + alpha * own.double()),
            {"regularised"},
        ),
        ("subtract_negatives", lambda weights, demos, negatives, beta: weights, {"negative"}),
        (
            "subtract_negatives",
            lambda weights, demos, negatives, beta: (
                weights - beta * modified.negative_shares(negatives, weights.dtype)
            ),
            {"negative"},  # p_demo forgotten
        ),
    ],
)
def test_the_forms_fail_on_broken_code(monkeypatch, function, broken, fails):
    monkeypatch.setattr(modified, function, broken)
    assert {name for name, verdict in verdicts().items() if verdict != "reproduced"} == fails
