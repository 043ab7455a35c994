"""Checks of the chapter on signed heads on invented runs: true ones and false ones."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from claims import CLAIMS, outcome

from iclbook.catalogue import find
from iclbook.store import Result
from studies.bridge.signed import tables

HEADS = (1, 2, 4, 8, 16)
SETTINGS = dict(sizes=((100, HEADS),), seeds=(0, 1), steps=10)
KINDS = ("none", "all", "learned", "lowest")


def runs(loss, kinds=KINDS, tokens=("gaussian", "unit")):
    """Curves whose last loss is loss(kind, H); they start at ten times the largest."""
    rows = []
    for token, kind, H, seed in product(tokens, kinds, HEADS, (0, 1)):
        key = (token, 100, kind, H, seed)
        rows += [(*key, 0, 1e3), (*key, 10, loss(kind, H))]
    names = [*tables.RUN, "step", "excess_loss"]
    return pd.DataFrame(rows, columns=names).assign(largest=1.0)


def result(curves):
    settings = find("bridge/signed-trained").full.changed(kinds=KINDS, **SETTINGS)
    return Result({"curves": curves}, settings, "made up")


def power(gain):
    """Plain heads end at 1 / H^2; a head with negatives does what `gain` plain ones do."""
    return lambda kind, H: (H * (1 if kind == "none" else gain)) ** -2.0


@pytest.mark.parametrize("gain", [1.0, 1.5, 2.0])
def test_plain_heads_read_the_plain_curve(gain):
    made = result(runs(power(gain)))
    found = tables.plain_heads(made, "unit", "all")
    np.testing.assert_allclose(found[[1, 2, 4, 8]], gain * np.array([[1, 2, 4, 8]] * 2))
    np.testing.assert_allclose(found[16], 16)  # nothing is read beyond the most plain heads
    np.testing.assert_allclose(tables.factors(made, "unit", "all"), gain)


def test_plain_heads_need_a_falling_plain_curve_and_all_runs():
    rising = result(runs(lambda kind, H: 1 + (H == 16) if kind == "none" else 0.5))
    assert tables.factors(rising, "unit", "all").isna().all(axis=None)
    curves = runs(power(2.0))
    curves.loc[(curves["kind"] == "all") & (curves["H"] == 2), "excess_loss"] = np.nan
    assert tables.factors(result(curves), "unit", "all")[2].isna().all()
    for seed in (0, 1):  # the other one is read
        bent, plain = curves.copy(), (curves["kind"] == "none") & (curves["seed"] == seed)
        bent.loc[plain & (curves["step"] == 10), "excess_loss"] = 0.5
        found = tables.factors(result(bent), "unit", "learned")
        assert found.isna().all(axis=1).tolist() == [seed == 0, seed == 1]
        plain = (curves["kind"] == "none") & (curves["H"] == 8) & (curves["seed"] == seed)
        found = tables.factors(result(curves[~plain]), "unit", "learned")
        assert found.isna().all(axis=1).tolist() == [seed == 0, seed == 1]


@pytest.mark.parametrize(
    "claim",
    [
        "bridge/negatives-save-heads",
        "bridge/negatives-save-heads-unit",
        "bridge/learned-negatives-save-heads",
        "bridge/learned-negatives-save-heads-unit",
    ],
)
def test_heads_saved_against_the_line(claim):
    def judged(gain):
        made = {"bridge/signed-trained": {"curves": runs(power(gain))}}
        return outcome(claim, made, kinds=KINDS, **SETTINGS)

    assert judged(2.1).verdict == "reproduced"
    assert judged(1.9).verdict == "not reproduced"
    assert judged(1.9).measured == pytest.approx(1.9)


def test_lowest_hurts_where_it_ends_higher():
    def judged(higher):
        made = runs(lambda kind, H: 1 / H * (1.1 if kind == "lowest" and H in higher else 1))
        return outcome(
            "bridge/lowest-negatives-hurt",
            {"bridge/signed-trained": {"curves": made}},
            kinds=KINDS,
            **SETTINGS,
        )

    assert judged(HEADS).verdict == "reproduced"
    assert judged(HEADS[1:]).measured == pytest.approx(0.8)
    assert judged(HEADS[1:]).verdict == "not reproduced"


def test_centring_hurts_the_most_heads():
    def judged(ratio):
        made = runs(lambda kind, H: 1 / H * (ratio if kind == "all" and H == 16 else 1))
        made = {"bridge/signed-many": {"curves": made}}
        return outcome("bridge/centring-hurts-many-heads", made, kinds=KINDS, **SETTINGS)

    assert judged(2.5).verdict == "reproduced" and judged(2.5).measured == pytest.approx(2.5)
    assert judged(1.5).verdict == "not reproduced"


def floors(**columns):
    s = find("bridge/signed-floors").full
    rows = pd.DataFrame(product(s.K, s.seeds, s.tau), columns=["K", "seed", "tau"])
    base = dict(plain=1.0, centred=0.01, explicit=0.01, exact=0.0, zero=10.0, strength=0.99)
    return {"bridge/signed-floors": {"floors": rows.assign(**base | columns)}}


def test_claims_on_floors():
    ids = [
        "bridge/centring-lowers-one-head-floor",
        "bridge/free-strength-reaches-all",
        "bridge/centring-raises-floor-when-noisy",
    ]
    found = [outcome(name, floors()).verdict for name in ids]
    assert found == ["reproduced", "reproduced", "not reproduced"]
    assert outcome(ids[0], floors(explicit=0.2)).measured == pytest.approx(0.2)
    assert outcome(ids[0], floors(explicit=0.2)).verdict == "not reproduced"
    assert outcome(ids[1], floors(exact=1e-6)).verdict == "not reproduced"
    assert outcome(ids[1], floors(strength=1.0)).verdict == "not reproduced"
    assert outcome(ids[2], floors(centred=3.0)).measured == pytest.approx(3.0)
    one = floors()
    table = one["bridge/signed-floors"]["floors"]
    one["bridge/signed-floors"]["floors"] = table[table["seed"] != 4]
    assert math.isnan(outcome(ids[0], one).measured)


def test_the_floor_of_zero_sums_is_held_against_every_run():
    half = find("bridge/signed-floors-half").full
    rows = pd.DataFrame(product((100,), (0, 1), half.tau), columns=["K", "seed", "tau"])

    def judged(loss, drop=False):
        curves = runs(loss)
        if drop:
            curves = curves[~((curves["kind"] == "all") & (curves["H"] == 4))]
        made = {
            "bridge/signed-trained": {"curves": curves},
            "bridge/signed-floors-half": {"floors": rows.assign(centred=0.5)},
        }
        results = {
            name: Result(
                named,
                find(name).full.changed(kinds=KINDS, **SETTINGS)
                if name.endswith("trained")
                else find(name).full,
                "made up",
            )
            for name, named in made.items()
        }
        return CLAIMS["bridge/zero-sum-floor-holds"].outcome(results)

    assert judged(lambda kind, H: 0.6).measured == pytest.approx(1.2)
    assert judged(lambda kind, H: 0.1 if kind == "none" else 0.6).verdict == "reproduced"
    assert judged(lambda kind, H: 0.1 if kind == "lowest" else 0.6).verdict == "not reproduced"
    assert math.isnan(judged(lambda kind, H: 0.6, drop=True).measured)
