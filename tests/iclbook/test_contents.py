"""Arrays beside tables: stored and kept in the same bits, refused where they are not declared,
not finite, too large, damaged or a pickle."""

import dataclasses
import io
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from vouch import vouched

from iclbook import runner
from iclbook.contents import LIMIT, as_file
from iclbook.errors import InputError
from iclbook.experiment import Experiment, Measure, Settings, Table
from iclbook.files import sha256
from iclbook.store import Store
from iclbook.verify import verify


@dataclass(frozen=True, kw_only=True)
class Steps(Settings):
    steps: int = 4


TOY = Experiment(
    id="toy/weights",
    item="",
    chapter="",
    function="toy.compute:weights",
    quick=Steps(seeds=(0, 1)),
    full=Steps(seeds=(0, 1, 5)),
    tables={"losses": Table(keys=("seed",), measures={"loss": Measure("")})},
    verify={"seeds": (0,)},
    arrays={"Q": "(3, 2), float32, in any order in memory", "w": "(2,), float64"},
)
PLAIN = dataclasses.replace(TOY, arrays={})


def weights(settings, point):
    """Weights that follow from seed and steps, a loss that follows from the seed."""
    generator = np.random.default_rng(point["seed"])
    Q = generator.standard_normal((2, 3)).astype(np.float32).T * settings.steps
    return {"losses": pd.DataFrame([{"loss": 0.5}]), "Q": Q, "w": generator.random(2)}


@pytest.fixture
def returns(monkeypatch):
    """Let a point return these; by default what `weights` returns."""

    def let(**found):
        monkeypatch.setattr(
            Experiment, "resolve", lambda self: lambda *task: weights(*task) | found
        )

    let()
    return let


@pytest.fixture
def stored(store, returns):
    assert runner.run(TOY, "full", store, progress=False) == "stored"
    return store.file(TOY, "full")


def content(sidecar):
    return {path.name: path.read_bytes() for path in sidecar.parent.glob("full.*.*")}


def test_arrays_of_all_points_are_stored_in_their_order_and_read(store, stored):
    arrays = store.read(TOY).arrays
    assert {n: (x.shape, x.dtype) for n, x in arrays.items()} == {
        "Q": ((3, 3, 2), np.dtype("float32")),
        "w": ((3, 2), np.dtype("float64")),
    }
    for index, seed in enumerate((0, 1, 5)):
        wanted = weights(TOY.full, {"seed": seed})
        for name, array in arrays.items():
            np.testing.assert_array_equal(array[index], wanted[name])
    assert set(content(stored)) == {"full.losses.csv", "full.Q.npy", "full.w.npy"}
    assert json.loads(stored.read_text())["arrays"]["Q"] == {
        "shape": [3, 3, 2],
        "dtype": "float32",
        "sha256": sha256(stored.with_name("full.Q.npy").read_bytes()),
    }
    np.testing.assert_array_equal(runner.live(TOY, "quick").arrays["w"], arrays["w"][:2])


def test_a_run_that_was_stopped_ends_in_the_same_bits(store, stored, tmp_path, monkeypatch):
    compute_point, computed = runner.compute_point, []

    def stop(experiment, settings, point, *rest):
        if point["seed"] == 5:
            raise KeyboardInterrupt
        computed.append(point["seed"])
        return compute_point(experiment, settings, point, *rest)

    again = Store(tmp_path / "again")
    with monkeypatch.context() as patch:
        patch.setattr(runner, "compute_point", stop)
        with pytest.raises(KeyboardInterrupt):
            runner.run(TOY, "full", again, progress=False)
    kept = sorted(again.root.glob(".partial/**/*.point"))
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:-9])  # a damaged one is computed again
    with monkeypatch.context() as patch:
        note = compute_point
        patch.setattr(
            runner, "compute_point", lambda *task: computed.append(task[2]) or note(*task)
        )
        runner.run(TOY, "full", again, progress=False)
    assert computed[:2] == [0, 1] and len(computed) == 4
    assert content(again.file(TOY, "full")) == content(stored)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"Q": np.full((3, 2), np.nan)}, "Q is no numpy array of finite numbers"),
        ({"Q": np.array([[1.0, np.inf]])}, "Q is no numpy array of finite numbers"),
        ({"Q": np.array([{}, None])}, "Q is no numpy array of finite numbers"),
        ({"w": [0.5, 0.5]}, "w is no numpy array of finite numbers"),
        ({"Q": np.array(["a"])}, "Q is no numpy array of finite numbers"),
        ({"V": np.ones(2)}, "declared or returned only: V"),
        ({"Q": pd.DataFrame([{"loss": 0.5}])}, "declared or returned only: Q"),
        ({"Q": np.zeros(LIMIT // 8 // 3 + 1)}, f"bytes of arrays, more than {LIMIT:,}"),
    ],
)
def test_what_cannot_be_stored_is_one_line_at_the_first_point(store, returns, found, words):
    returns(**found)
    with pytest.raises(InputError, match=words) as caught:
        runner.run(TOY, "full", store, progress=False)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("toy/weights: ")
    assert not list(store.root.rglob("*.point")) and not store.is_stored(TOY)


def test_declared_and_not_returned_is_one_line_and_so_is_the_store_itself(store, returns):
    more = dataclasses.replace(TOY, arrays=TOY.arrays | {"V": ""})
    with pytest.raises(InputError, match="declared or returned only: V"):
        runner.compute(more, more.full)
    computed = runner.compute(TOY, TOY.full)
    computed.arrays["w"][1] = np.nan
    with pytest.raises(InputError, match="w is no numpy array"):
        store.write(TOY, "full", TOY.full, computed)
    assert not store.file(TOY, "full").exists()


def test_as_much_as_allowed_is_stored(store, returns):
    returns(Q=np.zeros((LIMIT - 3 * 16) // 3, np.uint8))
    assert runner.run(TOY, "full", store, progress=False) == "stored"
    assert store.read(TOY).arrays["Q"].nbytes == LIMIT - 48


def vouch(sidecar, name, data, **about):
    """Replace an array's file, and let the JSON vouch for it."""
    sidecar.with_name(f"full.{name}.npy").write_bytes(data)
    meta = json.loads(sidecar.read_text())
    meta["arrays"][name] |= {"sha256": sha256(data)} | about
    sidecar.write_text(vouched(meta))


def refused(store, words):
    with pytest.raises(InputError, match=words) as caught:
        store.read(TOY)
    message = str(caught.value)
    assert "\n" not in message and "iclbook run toy/weights" in message, message


def test_a_missing_or_damaged_array_is_refused(store, stored):
    path = stored.with_name("full.Q.npy")
    sound = path.read_bytes()
    for spoilt in (sound[:-1] + b"\0", sound[:-4], sound + b"\0", b""):
        assert spoilt != sound
        path.write_bytes(spoilt)
        refused(store, r"full\.Q\.npy is damaged \(SHA-256 differs from its JSON\)")
        assert not store.is_stored(TOY)
    path.unlink()
    refused(store, r"full\.Q\.npy is missing")
    assert not store.is_stored(TOY)


def pickled():
    np.save(data := io.BytesIO(), np.array([[None, {}]]), allow_pickle=True)
    return data.getvalue()


HEAD = b"\x93NUMPY\x01\x00"


@pytest.mark.parametrize(
    "data",
    [
        *(pickled(), b"", b"seed,loss\n0,0.5\n", b"PK\x03\x04", b"\x80\x04N."),
        *(HEAD, HEAD + b"\x01\x00{", HEAD + b"\x0b\x00{'descr': ("),
        as_file("Q", np.full((3, 3, 2), np.nan, np.float32))[1],
    ],
)
def test_what_is_no_array_of_numbers_is_refused_though_its_hash_fits(store, stored, data):
    vouch(stored, "Q", data)
    refused(store, "full.json: not what is declared")


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({}, None),
        ({"shape": [3, 2, 3]}, "other shapes or dtypes than the JSON's: Q"),
        ({"shape": [18]}, "other shapes or dtypes"),
        ({"dtype": "float64"}, "other shapes or dtypes"),
        ({"shape": "(3, 3, 2)"}, "is not a result's JSON"),
        ({"dtype": None}, "is not a result's JSON"),
    ],
)
def test_a_json_that_does_not_tell_the_truth_about_an_array_is_refused(
    store, stored, about, words
):
    vouch(stored, "Q", stored.with_name("full.Q.npy").read_bytes(), **about)
    if words:
        refused(store, words)
    else:
        assert store.read(TOY).arrays["Q"].shape == (3, 3, 2)


def test_other_arrays_than_declared_are_refused_and_replaced(store, stored):
    message = r"names the files losses\.csv, Q\.npy, w\.npy, not those declared"
    with pytest.raises(InputError, match=message):
        store.read(PLAIN)
    computed = dataclasses.replace(runner.compute(TOY, TOY.full), arrays={})
    store.write(PLAIN, "full", PLAIN.full, computed, force=True)
    assert set(content(stored)) == {"full.losses.csv"}
    refused(store, r"names the files losses\.csv, not those declared")


def test_a_result_from_before_there_were_arrays_is_valid(store, stored):
    computed = dataclasses.replace(runner.compute(TOY, TOY.full), arrays={})
    store.write(PLAIN, "full", PLAIN.full, computed, force=True)
    meta = json.loads(stored.read_text())
    assert meta.pop("arrays") == {}
    stored.write_text(vouched(meta))
    assert store.read(PLAIN).arrays == {}


def test_verify_compares_weights_only_where_no_setting_but_seeds_differs(store, stored):
    def bent(by):
        computed = runner.compute(TOY, TOY.full)
        computed.arrays["Q"][1] *= 1 + by  # of seed 1
        store.write(TOY, "full", TOY.full, computed, force=True)

    shorter = dataclasses.replace(TOY, verify={"steps": 2})
    for by, seed_1 in ((0, True), (1e-5, True), (1e-2, False)):
        bent(by)
        assert [verify(TOY, store, rotate=k)["ok"] for k in range(3)] == [True, seed_1, True]
        assert verify(TOY, store, deep=True)["ok"] is seed_1
        assert verify(shorter, store)["ok"]
    assert verify(TOY, store, rotate=1)["gaps"] == ["toy/weights, array Q: other weights"]
