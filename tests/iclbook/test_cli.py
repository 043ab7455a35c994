"""The command line as a user meets it: a process, its output, its exit code."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from iclbook.catalogue import experiments
from iclbook.cli import main
from iclbook.errors import require

IDS = list(experiments())
CLAIM_FIELDS = "id item chapter kind source statement direction verdict returned measured"


def iclbook(*arguments, **env):
    command = [sys.executable, "-m", "iclbook", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | env)


def test_list_gives_the_contracts_fields():
    rows = json.loads(iclbook("list", "--json").stdout)
    assert [row["id"] for row in rows] == IDS
    for row in rows:
        wanted = {"id", "item", "chapter", "profiles", "stored", "wall_seconds", "deviations"}
        assert set(row) >= wanted
        assert row["stored"] is True and row["wall_seconds"] > 0


def test_claims_agree_and_give_the_contracts_fields():
    done = iclbook("claims", "--json")
    assert done.returncode == 0, done.stdout
    for row in json.loads(done.stdout):
        assert set(row) >= set(f"{CLAIM_FIELDS} threshold reason".split())
        assert row["returned"] == row["verdict"]


def test_claims_without_tables_exit_with_1(tmp_path):
    assert iclbook("claims", "--store", str(tmp_path)).returncode == 1


def test_status_tells_stored_from_missing(tmp_path):
    here = json.loads(iclbook("status", "--json").stdout)
    there = json.loads(iclbook("status", "--json", ICLBOOK_STORE=str(tmp_path)).stdout)
    assert all(row["stored"] for row in here["results"])
    assert not any(row["stored"] for row in there["results"])
    assert all("is missing" in row["error"] for row in there["results"])
    assert sum(sum(verdicts.values()) for verdicts in here["claims"].values()) > 0


START = """import sys
sys.argv = ['iclbook', '{command}', '--json']
from iclbook.cli import main
try:
    main()
except SystemExit:
    pass
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, loaded
"""


@pytest.mark.parametrize(
    ("command", "heavy"),
    [("list", ("torch", "pandas")), ("status", ("torch", "pandas")), ("claims", ("torch",))],
)
def test_start_up_is_light(command, heavy):
    code = START.format(command=command, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


RUN = ["run", "yang2024/lemma5", "--profile", "quick", "--set", "draws=1000", "--seeds", "7"]


def test_run_stores_then_says_already_stored(tmp_path):
    arguments = [*RUN, "--store", str(tmp_path), "--json"]
    assert json.loads(iclbook(*arguments).stdout)[0]["state"] == "stored"
    csv = tmp_path / "yang2024/lemma5/quick.losses.csv"
    assert csv.read_text().splitlines()[1].startswith("7,best,")
    meta = json.loads(csv.with_name("quick.json").read_text())
    assert meta["seeds"] == [7] and meta["settings"]["draws"] == 1000


def test_run_computes_a_chapter(tmp_path):
    arguments = [
        "run",
        "--chapter",
        "ridge/population_loss",
        *RUN[2:],
        "--store",
        str(tmp_path),
    ]
    rows = json.loads(iclbook(*arguments, "--json").stdout)
    assert [row["id"] for row in rows] == ["yang2024/lemma5"]


def test_verify_prints_where_it_was_stored_and_where_it_is_computed_now(tmp_path):
    done = iclbook("verify", "yang2024/lemma5")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("computed on: ") and "instruction set torch" in first
    assert "agrees: 3 rows" in second and "stored on" in second


@pytest.fixture
def with_inputs(monkeypatch, lemma5, store):
    """yang2024/lemma5, stored, as if it needed a file that a reader gives."""
    from iclbook import runner

    module, held = "studies.ridge.population_loss.compute", {}

    def inputs(settings):
        require("a.tsv" in held, "a.tsv is not there")
        return dict(held)

    monkeypatch.setattr(f"{module}.inputs", inputs, raising=False)
    given = dataclasses.replace(lemma5, inputs=f"{module}:inputs", verify={})
    monkeypatch.setattr("iclbook.cli.find", lambda wanted: given)
    held["a.tsv"] = "1"
    runner.run(given, "full", store, progress=False)
    return held


def test_verify_skips_only_what_lacks_its_inputs(with_inputs, store, monkeypatch, capsys):
    command = ["iclbook", "verify", "yang2024/lemma5", "--store", str(store.root)]
    monkeypatch.setattr(sys, "argv", command)

    def says():
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, "".join(capsys.readouterr())

    code, words = says()
    assert code == 0 and "agrees" in words
    held = dict(with_inputs)
    with_inputs.clear()
    code, words = says()
    assert code == 0 and "skipped: a.tsv is not there" in words and words.count("\n") == 1
    with_inputs.update(held)
    next(store.root.rglob("full.losses.csv")).write_text("seed\n")
    code, words = says()
    assert code == 2 and "damaged" in words, "a damaged result is never skipped"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], ["No such command"]),
        (["run"], ["name one or more experiments"]),
        (["run", "yang2024/fig2a", "--all"], ["name one or more experiments"]),
        (["run", "--chapter", "ridge/nowhere"], ["no experiment belongs to chapter"]),
        (["run", "yang2024/fig2"], ["unknown experiment", "did you mean"]),
        (
            ["run", "yang2024/fig2a", "--profile", "fast"],
            ["unknown profile 'fast'", "quick, full, paper"],
        ),
        (
            ["run", "yang2024/fig2a", "--set", "heads=3", "--store", "x"],
            ["unknown setting 'heads'"],
        ),
        (
            ["run", "yang2024/fig2a", "--set", "H=eight", "--store", "x"],
            ["must be of type int"],
        ),
        (["run", "yang2024/fig2a", "--set", "H"], ["NAME=VALUE"]),
        (["run", "yang2024/fig2a", "--set", "H=2"], ["--store DIR"]),
        (["run", "yang2024/fig2a", "--seeds", "a"], ["--seeds must look like"]),
        (["run", "yang2024/fig2a", "--seeds", "1,1"], ["twice"]),
        (["run", "yang2024/fig2a", "--jobs", "0"], ["0"]),
        (["run", "yang2024/lemma5", "--profile", "paper"], ["no paper profile"]),
        (["verify", "nothing"], ["unknown experiment"]),
        (["list", "--yaml"], ["No such option"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(refusal, arguments, words):
    error = refusal(*arguments)
    assert all(word in error for word in words), error


def test_a_refusal_is_the_same_from_the_shell():
    done = iclbook("run", "yang2024/fig2")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("iclbook: unknown experiment")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("N=50", "exceeds the dictionary size"),
        ("H=0", "H must be"),
        ("m=0", "m must be"),
        ("d=-1", "d must be"),
        ("K=0", "K must be"),
        ("N=0", "N must be"),
        ("tau=-0.1", "tau must be"),
        ('tokens=["round"]', "tokens must be one of"),
        ('dtype="float16"', "dtype must be"),
        ("rate=-1", "rate must be from 0 to"),
        ("rate=1e999", "rate must be from 0 to"),
        ("N=1e3", "N must be of type int, like 30"),
        ("N=true", "N must be of type int"),
        ("N=[10]", "N must be of type int"),
        ("N=" + "[" * 100_000, "N must be of type int"),
        ("N=" + "9" * 400, "N must be from 1 to"),
        ("N=1000000000", "that is years; choose smaller"),
        ("tokens=[]", "tokens must not be empty"),
        ('tokens=["unit", "unit"]', "tokens names a value twice"),
        ('tokens=[["unit"]]', "tokens must be of type str"),
        ("tokens=[1]", 'tokens must be of type str, like ["unit", "gaussian"]'),
        ("tokens=1", "tokens must be of type str"),
        ("tokens=round", "tokens must be one of"),
    ],
)
def test_bad_settings_are_one_line_and_exit_code_2(refusal, tmp_path, setting, word):
    profile = "full" if setting == "N=1000000000" else "quick"
    arguments = ("--profile", profile, "--set", setting, "--store", str(tmp_path), "--json")
    assert word in refusal("run", "yang2024/fig2a", *arguments)


def test_no_write_permission_is_one_line_and_exit_code_2(refusal, tmp_path):
    (tmp_path / "file").write_text("")
    error = refusal(*RUN, "--json", "--store", str(tmp_path / "file"))
    assert "cannot write" in error


def test_without_studies_the_message_says_where_to_get_them(refusal, monkeypatch):
    from iclbook import catalogue

    catalogue.studies.cache_clear()
    monkeypatch.setattr(catalogue, "entry_points", lambda group: ())
    assert "only the helper package; get the whole book" in refusal("list")
    catalogue.studies.cache_clear()
