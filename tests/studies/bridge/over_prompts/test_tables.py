"""Each check says no where its claim is false, and where what it is read off is not sound;
measures are what they are called."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from claims import CLAIMS, altered, stored, verdict, verdict_after

from studies.bridge.over_prompts import tables

RULES, TRAINED = "bridge/prompt-rules", "bridge/trained-over-prompts"
STACKS, LIKE = "bridge/stacks", "bridge/errs-like-a-moving-stack"
NAMES = [name for name, claim in CLAIMS.items() if claim.chapter == "bridge/over_prompts"]
OF_TRAINED = [name for name in NAMES if CLAIMS[name].experiments == (TRAINED,)]


def made_up(steps, errors):
    """A result of one seed: the errors of steps, and of models of one and two layers."""
    curves = [{"layers": n, "seed": 0, "step": 9, "error": e} for n, e in enumerate(errors, 1)]
    taken = [
        {"layers": n, "seed": 0, "taken": k, "error": e}
        for n in range(1, len(errors) + 1)
        for k, e in steps.items()
    ]
    found = {"curves": pd.DataFrame(curves), "reference_steps": pd.DataFrame(taken)}

    class Result(dict):
        settings = SimpleNamespace(steps=9, layers=(1, 2), seeds=(0,))

    return Result(found)


def test_worth_counts_the_steps_that_err_as_much():
    steps = {1: 8.0, 2: 4.0, 4: 1.0}
    found = tables.worth(made_up(steps, [4.0, 2.0]))
    assert found[1, 0] == pytest.approx(2) and found[2, 0] == pytest.approx(3)
    found = tables.worth(made_up(steps, [9.0, 0.5]))
    assert found[1, 0] == 0 and found[2, 0] == math.inf
    assert tables.worth(made_up(steps, [8.0, 1.0])).tolist()[0] == 1
    assert math.isnan(tables.worth(made_up(steps, [math.nan, 2.0]))[1, 0])
    assert math.isnan(tables.worth(made_up(steps | {2: math.nan}, [2.0, 2.0]))[1, 0])


def test_the_chapter_has_its_claims():
    assert len(NAMES) == 10 and len(OF_TRAINED) == 8


@pytest.mark.parametrize("name", NAMES)
def test_the_recorded_verdict_is_returned(name):
    assert verdict(name, stored(name)) == CLAIMS[name].verdict


def test_measures_are_what_they_are_called():
    result = stored(OF_TRAINED[0])[TRAINED]
    rows = result["rules"].query("layers == 4 and seed == 1 and step == 20_000")
    near = rows.set_index("rule")["distance"]
    assert tables.distances(result).loc[(4, 1)].to_dict() == near.to_dict()
    taken = result["taken"].query("layers == 4 and seed == 1 and step == 20_000")
    one = taken.set_index("taken")["one_rate"][1]
    assert tables.one_pass(result)[4, 1] == min(one, near["additive"], near["softmax head"])
    decoded = result["decoded"].query("layers == 4 and seed == 2 and layer == 3")
    ridge = decoded.set_index("rule")["distance"]["ridge"]
    steps = result["decoded_steps"].query("layers == 4 and seed == 2 and layer == 3")
    ratio = ridge / steps.set_index("taken")["one_rate"][1]
    assert tables.layer_by_layer(result, 4).loc[2, 3] == pytest.approx(ratio)
    assert list(tables.layer_by_layer(result, 4)) == [1, 2, 3, 4]
    errors = result["curves"].query("layers == 2 and seed == 0 and step == 20_000")["error"]
    found = stored(LIKE)[STACKS]
    stack = found["errors"].query("layers == 2 and seed == 0")["error"].item()
    assert tables.over_stack(result, found)[2, 0] == pytest.approx(errors.item() / stack)
    best = result["references"].query("layers == 2 and seed == 0 and rule == 'ridge'")
    excess = [x - best["error"].item() for x in (errors.item(), stack)]
    assert tables.excess_over_stack(result, found)[2, 0] == pytest.approx(excess[0] / excess[1])
    assert tables.deepest(result) == max(result.settings.layers)
    floor = tables.ridge_needs_more(stored("bridge/rules-know-their-errors")[RULES])
    assert (floor.diff(axis=1).iloc[:, 1:] > 0).all(axis=None), "one pass falls behind"


def where(column, value, measure, factor):
    """A change that multiplies a measure in the rows where a column has a value."""

    def change(table):
        factors = np.where(table[column] == value, factor, 1.0)
        return table.assign(**{measure: table[measure] * factors})

    return change


def far_from_ridge(table):
    return where("rule", "ridge", "distance", 8.0)(table)


def near_one_pass(table):
    return where("rule", "additive", "distance", 1e-3)(table)


def few_gradients(table):
    return table.assign(free=table["free"].where(table["taken"] < 4, 0.0))


def never_fell(table):
    return table.assign(error=table.groupby(["layers", "seed"])["error"].transform("max"))


def below_ridge(table):
    return table.assign(error=table["error"] * 1e-3)


def backwards(table):
    return table.assign(layer=table["layers"] - table["layer"] + 1)


def bent(table):
    return table.assign(nonlinear_share=0.5)


@pytest.mark.parametrize(
    ("name", "table", "change"),
    [(name, "curves", change) for name in OF_TRAINED for change in (never_fell, below_ridge)]
    + [(name, "stacks", below_ridge) for name in OF_TRAINED]
    + [
        ("bridge/trained-over-prompts", "rules", far_from_ridge),
        ("bridge/trained-over-prompts", "rules", near_one_pass),
        ("bridge/one-layer-is-one-step", "taken", where("taken", 1, "one_rate", 5.0)),
        ("bridge/one-layer-beats-no-sum", "references", where("rule", "additive", "error", 3)),
        ("bridge/more-steps-than-layers", "taken", few_gradients),
        ("bridge/layers-go-from-one-step-to-ridge", "decoded", backwards),
        ("bridge/over-prompts-is-linear", "curves", bent),
        ("bridge/holds-at-twice-the-length", "lengths", where("N", 32, "error", 9.0)),
        ("bridge/large-labels-break-it", "factors", where("factor", 4.0, "distance", 0.1)),
    ],
)
def test_a_false_result_is_refused(name, table, change):
    assert verdict_after(name, TRAINED, **{table: change}) == "not reproduced"


def test_a_closed_form_that_is_off_is_seen():
    name = "bridge/rules-know-their-errors"
    off = where("rule", "additive", "exact", 1.2)
    assert verdict_after(name, RULES, errors=off) == "not reproduced"


@pytest.mark.parametrize(
    ("layers", "factor"), [(4, 2.0), (4, 0.7), (2, 1.5), (1, 1.3), (3, 0.5)]
)
def test_stacks_that_are_off_are_refused(layers, factor):
    off = where("layers", layers, "error", factor)
    assert verdict_after(LIKE, STACKS, errors=off) == "not reproduced"


def test_encoders_that_err_like_stacks_do_so_in_excess_too():
    """With the encoders' own errors in the stacks' place, but for one layer, the best step."""
    result = stored(LIKE)[TRAINED]
    ends = tables.errors(result)

    def same(factor):
        def change(table):
            keys = pd.MultiIndex.from_frame(table[["layers", "seed"]])
            excess = ends.loc[keys].to_numpy() - floor.loc[keys].to_numpy()
            error = floor.loc[keys].to_numpy() + factor * excess
            return table.assign(error=np.where(table["layers"] == 1, table["error"], error))

        return change

    floor = tables.reference_errors(result)["ridge"]

    def judged(factor):
        results = stored(LIKE)

        def poorer(table):  # stacks from one start are no better than those from many
            return table.assign(error=table["error"] * np.where(table["layers"] > 2, 1.2, 1.0))

        results[TRAINED] = altered(results[TRAINED], stacks=poorer)
        results[STACKS] = altered(results[STACKS], errors=same(factor))
        return verdict(LIKE, results)

    assert judged(0.99) == "reproduced" and judged(0.6) == "partly"


@pytest.mark.parametrize(("r2", "wanted"), [(0.9, "reproduced"), (0.7, "partly")])
def test_a_first_layer_in_which_nothing_can_be_read_is_not_at_one_step(r2, wanted):
    def read(table):
        first = (table["layers"] == 4) & (table["layer"] == 1) & (table["taken"] == 1)
        return table.assign(
            r2=table["r2"].mask(first, 0.9).mask(first & table["seed"].eq(2), r2)
        )

    name = "bridge/layers-go-from-one-step-to-ridge"
    assert verdict_after(name, TRAINED, probe_steps=read) == wanted
