"""The list of mutants and the summary hold what was measured; every survivor has a reason."""

import csv
import json
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TRUST = HERE.parents[1] / "results" / "trust"
sys.path.append(str(HERE))


@pytest.fixture(scope="module")
def rows():
    with (TRUST / "mutants.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_most_mistakes_are_noticed_and_every_kind_of_module_was_asked(rows):
    kinds = Counter(row["kind"] for row in rows)
    assert set(kinds) == {"science", "tables", "computing", "machinery"}
    assert min(kinds.values()) >= 50
    noticed = sum(bool(row["noticed_by"]) for row in rows)
    assert noticed >= 0.85 * len(rows)


def test_every_survivor_has_a_reason_and_no_other_mutant(rows):
    reasons = tomllib.loads((HERE / "reasons.toml").read_text(encoding="utf-8"))
    survivors = {row["key"] for row in rows if not row["noticed_by"]}
    assert reasons.keys() == survivors
    assert all(len(reason.split()) >= 4 for reason in reasons.values())


def test_the_summary_counts_what_the_list_holds(rows):
    held = json.loads((TRUST / "summary.json").read_text(encoding="utf-8"))
    noticed = sum(bool(row["noticed_by"]) for row in rows)
    assert (held["mutants_total"], held["mutants_noticed"]) == (len(rows), noticed)
    assert held["kill_resume_equal"] == held["kill_resume_runs"] >= 30
    assert held["processors_verified"] == len(held["instruction_sets"])


def test_a_sample_has_as_many_of_each_mistake_and_each_is_one_line():
    pytest.importorskip("cosmic_ray")
    import mutants

    every = mutants.modules()
    assert all("settings.py" not in name for names in every.values() for name in names)
    drawn = mutants.sample("science", every["science"], 14)
    assert sorted(m["mistake"] for m in drawn) == sorted(2 * list(mutants.MISTAKES))
    for mutant in drawn:
        compile(mutant["text"], mutant["module"], "exec")
        right = (mutants.BOOK / mutant["module"]).read_text(encoding="utf-8").splitlines()
        wrong = mutant["text"].splitlines()
        assert [a != b for a, b in zip(right, wrong)].count(True) == 1, mutant
    assert drawn == mutants.sample("science", every["science"], 14)


def test_each_module_has_tests_that_can_be_run():
    pytest.importorskip("cosmic_ray")
    import mutants

    for names in mutants.modules().values():
        for name in names:
            for arguments in mutants.tests_of(name).values():
                assert (mutants.BOOK / arguments[0]).exists(), name
