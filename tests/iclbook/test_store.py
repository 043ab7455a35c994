"""The store refuses whatever it did not write itself, in one line that names the file and the mend."""

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from iclbook.errors import InputError
from iclbook.store import Store


@pytest.fixture
def stored(store, lemma5):
    rows = [("best", seed, "closed form", 1.0 + seed / 7) for seed in lemma5.full.seeds]
    table = pd.DataFrame(rows, columns=["table", "seed", "quantity", "value"])
    store.write(lemma5, "full", lemma5.full, table, [0.1] * 5)
    return table


def refused(store, experiment, *words):
    with pytest.raises(InputError) as caught:
        store.read(experiment)
    message = str(caught.value)
    assert (
        "\n" not in message and f"iclbook run {experiment.id} --profile full --force" in message
    )
    assert all(word in message for word in words), message
    assert not store.is_stored(experiment)


def test_what_was_written_is_read(store, lemma5, stored):
    result = store.read(lemma5)
    pd.testing.assert_frame_equal(result.table, stored, rtol=1e-9)
    assert result.settings == lemma5.full
    assert "yang2024/lemma5/full.csv" in result.provenance
    meta = json.loads(store.path(lemma5, "full", ".json").read_text())
    assert (
        meta["rows"] == len(stored)
        and meta["seeds"] == [0, 1, 2, 3, 4]
        and meta["threads"] == 1
    )
    assert (
        meta["settings"] == lemma5.full.as_json()
        and meta["versions"]["numpy"] == np.__version__
    )
    assert (
        meta["sha256"]
        == hashlib.sha256(store.path(lemma5, "full", ".csv").read_bytes()).hexdigest()
    )


def test_a_missing_result_is_refused(store, lemma5):
    refused(store, lemma5, "full.csv is missing")


def test_a_missing_sidecar_is_refused(store, lemma5, stored):
    store.path(lemma5, "full", ".json").unlink()
    refused(store, lemma5, "full.json is missing")


def test_one_altered_digit_is_refused(store, lemma5, stored):
    csv = store.path(lemma5, "full", ".csv")
    text = csv.read_text()
    assert text.count("1.428571429") == 1
    csv.write_text(text.replace("1.428571429", "1.428571428"))
    refused(store, lemma5, "damaged")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sha256": 1}', "null"])
def test_a_damaged_or_foreign_sidecar_is_refused(store, lemma5, stored, content):
    store.path(lemma5, "full", ".json").write_text(content)
    refused(store, lemma5, "is not a result's JSON")


def test_other_settings_are_refused_by_name(store, lemma5, stored):
    other = dataclasses.replace(lemma5, full=dataclasses.replace(lemma5.full, tau=0.5, m=2))
    refused(store, other, "other settings (m, tau)")


def test_fewer_seeds_than_wanted_are_refused_more_are_not(store, lemma5, stored):
    refused(
        store,
        dataclasses.replace(
            lemma5, full=dataclasses.replace(lemma5.full, seeds=tuple(range(6)))
        ),
        "5 seeds, 6",
    )
    fewer = dataclasses.replace(lemma5, full=dataclasses.replace(lemma5.full, seeds=(7,)))
    assert store.read(fewer).settings.seeds == (0, 1, 2, 3, 4)


def test_nothing_is_overwritten_unless_asked(store, lemma5, stored):
    before = store.path(lemma5, "full", ".csv").read_bytes()
    with pytest.raises(InputError, match="--force"):
        store.write(lemma5, "full", lemma5.full, stored * 1, [0.1])
    assert store.path(lemma5, "full", ".csv").read_bytes() == before
    store.write(lemma5, "full", lemma5.full, stored.assign(value=2.0), [0.1], force=True)
    assert (store.read(lemma5).table["value"] == 2.0).all()


def test_an_untidy_table_is_refused(store, lemma5, stored):
    for table in (
        stored.drop(columns="seed"),
        stored[["value", "table", "seed"]],
        pd.concat([stored, stored]),
    ):
        with pytest.raises(InputError, match="must return a column seed|same key twice"):
            store.write(lemma5, "quick", lemma5.quick, table, [0.1])
    assert not store.path(lemma5, "quick", ".csv").exists()


def test_a_folder_that_cannot_be_written_is_one_line(lemma5, stored, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write to .*--store DIR"):
        Store(tmp_path / "file").write(lemma5, "full", lemma5.full, stored, [0.1])
