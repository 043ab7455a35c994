"""The command line as a user meets it: a process, its output, its exit code."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from iclbook.catalogue import experiments, find
from iclbook.cli import main
from iclbook.errors import require
from iclbook.listing import state_of
from iclbook.machine import machine

IDS = list(experiments())
RUN = ["run", "yang2024/lemma5", "--profile", "quick", "--set", "draws=1000", "--seeds", "7"]
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


START = """import sys
sys.argv = ['iclbook', '{command}', '--json']
from iclbook.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, loaded
"""


def lightly(command: str, *heavy: str) -> list[dict]:
    """What `iclbook COMMAND --json` prints, in a process that must not load what is heavy."""
    code = START.format(command=command, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_claims_agree_and_give_the_contracts_fields():
    for row in lightly("claims", "torch"):
        assert set(row) >= set(f"{CLAIM_FIELDS} threshold reason readings margin fresh".split())
        assert row["returned"] == row["verdict"]
        assert list(row["seeds"]) == row["experiments"] and all(row["seeds"].values())


@pytest.mark.parametrize("command", ["list", "status"])
def test_start_up_is_light(command):
    assert lightly(command, "torch", "pandas", "numpy")


@pytest.fixture
def says(monkeypatch, capsys):
    """Run a command in this process: (exit code, standard output)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["iclbook", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr().out

    return run


TWO = ("yang2024/fig4-small-h-stalls", "yang2024/lemma5-constant")


def test_claims_in_every_format_hold_number_threshold_reading_seeds_and_experiment(says):
    code, text = says("claims", *TWO, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    claim, gaussian, unit, lemma5 = rows
    assert code == 0 and [row["claim"] for row in rows] == [TWO[0]] * 3 + [TWO[1]]
    assert [row["reading"] for row in rows[:3]] == [
        "",
        "gaussian tokens, population loss",
        "unit tokens, population loss",
    ]
    assert (claim["verdict"], unit["returned"]) == ("reproduced", "partly")
    assert gaussian["seeds"] == "0 1 2" and unit["experiments"] == "yang2024/fig4"
    assert float(lemma5["measured"]) == pytest.approx(289, abs=0.01)
    assert (lemma5["direction"], float(lemma5["threshold"])) == ("at_least", 4.5)

    _, text = says("claims", *TWO, "--format", "md")
    assert [line.count("|") for line in text.splitlines()] == [len(claim) + 1] * 6
    _, text = says("claims", *TWO, "--format", "tex")
    assert r"at\_least" in text and text.count("&") == 5 * (len(claim) - 1)
    _, text = says("claims", *TWO)
    assert text.splitlines()[1].split() == [
        *(TWO[1], "identity", "reproduced"),
        *["289,", "at", "least", "4.5", "is", "wanted"],
    ]
    assert says("claims", *TWO, "--format", "json") == says("claims", *TWO, "--json")


def test_list_and_status_tell_damaged_from_missing(says, lemma5, store):
    from iclbook import runner

    _, text = says("list", "--store", str(store.root))
    assert all(line.split()[2] == "missing" for line in text.splitlines())
    place = store.file(find("yang2024/lemma5"), "full", "losses")
    runner.run(lemma5, "full", store, progress=False)
    for damage, words in {
        "seed\n": "SHA-256 differs",
        None: "full.losses.csv is missing",
    }.items():
        place.write_text(damage) if damage else place.unlink()
        # Its settings are the small ones of this test, so look at the JSON of these.
        _, state, error = state_of(store, lemma5)
        assert state == "not valid" and words in error
    for command in ("list", "status"):
        rows = json.loads(says(command, "--json", "--store", str(store.root))[1])
        rows = rows if command == "list" else rows["results"]
        states = {row["id"]: row["state"] for row in rows}
        assert states.pop("yang2024/lemma5") == "not valid"
        assert set(states.values()) == {"missing"}
    _, text = says("list", "--store", str(store.root))
    (line,) = (line for line in text.splitlines() if " not valid " in line)
    assert "other settings (draws)" in line and "--force" not in line


def test_claims_without_tables_exit_with_1(tmp_path):
    assert iclbook("claims", "--store", str(tmp_path)).returncode == 1


def test_status_tells_stored_from_missing(tmp_path):
    here = json.loads(iclbook("status", "--json").stdout)
    there = json.loads(iclbook("status", "--json", ICLBOOK_STORE=str(tmp_path)).stdout)
    assert all(row["stored"] for row in here["results"])
    assert not any(row["stored"] for row in there["results"])
    assert all("is missing" in row["error"] for row in there["results"])
    assert sum(sum(verdicts.values()) for verdicts in here["claims"].values()) > 0


def test_run_stores_then_says_already_stored(tmp_path):
    arguments = [*RUN, "--store", str(tmp_path), "--json"]
    assert json.loads(iclbook(*arguments).stdout)[0]["state"] == "stored"
    (table,) = tmp_path.glob("yang2024/lemma5@draws=1000,seeds=7.*/quick.losses.csv")
    assert table.read_text().splitlines()[1].startswith("7,best,")
    meta = json.loads(table.with_name("quick.json").read_text())
    assert meta["seeds"] == [7] and meta["settings"]["draws"] == 1000


def test_several_variants_stand_in_one_store_and_none_replaces_another(says, tmp_path):
    paths, start = [], ["run", "yang2024/lemma5", "--profile", "quick", "--json"]
    for changes in (["draws=900"], ["draws=800"], ["draws=800", "N=3"], []):
        more = [word for change in changes for word in ("--set", change)]
        code, text = says(*start, *more, "--store", str(tmp_path))
        (row,) = json.loads(text)
        paths.append(row["path"])
        assert (code, row["state"]) == (0, "stored")
    assert len(set(paths)) == 4 and all(Path(path).is_file() for path in paths)
    _, text = says(*start, "--set", "draws=900", "--store", str(tmp_path))
    assert json.loads(text)[0] | {"state": ""} == {
        "id": "yang2024/lemma5",
        "profile": "quick",
        "state": "",
        "path": paths[0],
    }


def test_other_seeds_in_a_readers_store_are_no_reason_to_lose_what_is_there(
    says, refusal, tmp_path
):
    seeds = ["run", "yang2024/lemma5", "--profile", "quick", "--json", "--store", str(tmp_path)]
    assert says(*seeds, "--seeds", "5")[0] == 0
    error = refusal(*seeds, "--seeds", "6")
    assert "holds seeds [5]; name another --store DIR" in error and "--force" not in error


def test_all_of_a_profile_skips_what_has_none_and_says_so(says, monkeypatch, tmp_path):
    none, some = find("yang2024/lemma5"), find("yang2024/fig2a")
    assert none.paper is None and some.paper is not None
    monkeypatch.setattr("iclbook.cli.experiments", lambda: {e.id: e for e in (none, some)})
    monkeypatch.setattr("iclbook.runner.run", lambda e, *_, **how: f"computed {e.id}")
    code, text = says("run", "--all", "--profile", "paper", "--store", str(tmp_path))
    first, second = text.splitlines()
    assert code == 0 and first == "yang2024/lemma5: skipped, has no paper profile"
    assert second.startswith("yang2024/fig2a: computed yang2024/fig2a")


def test_verify_goes_on_behind_an_experiment_whose_inputs_are_not_here(says, monkeypatch):
    row = {"ok": True, "rows": 3, "worst": 0.1, "missing": 0, "gaps": []}
    row |= {"stored_on": [machine()], "computed_on": [machine()]}
    monkeypatch.setattr("iclbook.verify.verify", lambda e, store, **how: row | {"id": e.id})
    monkeypatch.delenv("ICLBOOK_GLUE", raising=False)
    code, text = says("verify", "ren2024/glue-cola", "yang2024/lemma5")
    first, _, last = text.splitlines()
    assert code == 0 and first.startswith("ren2024/glue-cola ") and "skipped: " in first
    assert last.startswith("yang2024/lemma5 ") and " agrees: 3 rows" in last


def test_one_that_differs_among_others_that_agree_ends_with_exit_code_1(says, monkeypatch):
    def verify(e, store, **how):
        return row | {"id": e.id, "ok": e.id != "yang2024/prop1"}

    row = {"rows": 3, "worst": 2.5, "missing": 0, "gaps": []}
    row |= {"stored_on": [machine()], "computed_on": [machine()]}
    monkeypatch.setattr("iclbook.verify.verify", verify)
    code, text = says("verify", "yang2024/lemma4", "yang2024/prop1", "yang2024/lemma5")
    assert code == 1 and text.count(" agrees: ") == 2 and text.count(" DIFFERS: ") == 1
    assert says("verify", "yang2024/lemma4", "yang2024/lemma5")[0] == 0


def test_verify_looks_at_the_others_where_one_is_damaged(monkeypatch, capsys):
    def verify(e, store, **how):
        require(e.id != "yang2024/lemma4", "full.json is damaged; restore it")
        return row | {"id": e.id}

    row = {"ok": True, "rows": 3, "worst": 0.1, "missing": 0, "gaps": []}
    row |= {"stored_on": [machine()], "computed_on": [machine()]}
    monkeypatch.setattr("iclbook.verify.verify", verify)
    monkeypatch.setattr(
        sys, "argv", ["iclbook", "verify", "yang2024/lemma4", "yang2024/lemma5"]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and err == "iclbook: full.json is damaged; restore it\n"
    assert "yang2024/lemma5" in out and "agrees" in out


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
        (["run", "yang2024/fig2a", "--seeds", "²"], ["--seeds must look like"]),
        (["run", "yang2024/fig2a", "--seeds", "[-1]"], ["--seeds must look like"]),
        (["run", "yang2024/fig2a", "--seeds", "-1"], ["--seeds must look like"]),
        (["run", "yang2024/fig2a", "--seeds", "0-1000000000"], ["--seeds must look like"]),
        (["run", "yang2024/fig2a", "--seeds", "0-999999999"], ["more than 10,000 seeds"]),
        (["run", "yang2024/fig2a", "--seeds", "0-9999,10000-10001"], ["more than 10,000"]),
        (["run", "yang2024/fig2a", "--seeds", "5-3"], ["--seeds must look like"]),
        (["run", "yang2024/fig2a", "--seeds", "5-3,7"], ["--seeds must look like"]),
        (["run", "yang2024/fig2a", "--seeds", "1,,2"], ["--seeds must look like"]),
        (["run", "yang2024/fig2a", "--seeds", ""], ["--seeds must look like"]),
        (["claims", TWO[0], "--seeds", "", "--store", "x"], ["--seeds must look like"]),
        ([*RUN, "--set", "draws=2000", "--store", "x"], ["--set names a setting twice"]),
        (["run", "yang2024/fig2a", "--store", ""], ["--store is empty"]),
        (["list", "--store", ""], ["--store is empty"]),
        (
            ["claims", TWO[0], "ren2024/glue-table", "--seeds", "7", "--store", "x"],
            ["glue-table reads no result"],
        ),
        (["claims", TWO[0], "--seeds", "²", "--store", "x"], ["--seeds must look like"]),
        (["claims", "--format", "xml"], ["unknown format 'xml'", "csv, md, tex, json"]),
        (["list", "--store", "a" * 300], ["File name too long"]),
        (["status", "--store", "a" * 300], ["File name too long"]),
        (["claims", TWO[1], "--store", "a" * 300], ["File name too long"]),
        (["verify", "yang2024/lemma5", "--store", "a" * 300], ["File name too long"]),
        ([*RUN, "--store", "a" * 300], ["File name too long"]),
        ([*RUN, "--store", "x", "--scheduler", "tcp://127.0.0.1:1"], ["no dask scheduler"]),
        ([*RUN, "--store", "x", "--scheduler", "here"], ["--scheduler must look like"]),
        (["run", "yang2024/fig2a", "--jobs", "0"], ["0"]),
        (["run", "yang2024/lemma5", "--profile", "paper"], ["no paper profile"]),
        (["verify", "nothing"], ["unknown experiment"]),
        (["list", "--yaml"], ["No such option"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    refusal, arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # a lock may be laid before the fault is seen
    error = refusal(*arguments)
    assert all(word in error for word in words), error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
@pytest.mark.parametrize(
    ("output", "words"),
    [
        (">/dev/full", "(No space left on device)"),
        ("| true", "(Broken pipe)"),
        (">&-", "standard output is closed"),
    ],
)
def test_an_output_that_takes_nothing_is_one_line_and_exit_code_2(output, words):
    shell = f'"{sys.executable}" -m iclbook list {output}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr


def test_help_is_help_and_no_refusal(says):
    code, text = says("run", "--help")
    assert code == 0 and "tokens=unit or N=[10,20]" in " ".join(text.split())
    code, text = says()
    assert code == 0 and text.startswith("Usage: iclbook") and text.count("\n") > 9


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
    folder = next(iter(find("yang2024/lemma5").variant("quick", draws=1000).id.split("/")))
    (tmp_path / folder).write_text("")
    error = refusal(*RUN, "--json", "--store", str(tmp_path))
    assert "cannot write" in error


def test_without_studies_the_message_says_where_to_get_them(refusal, monkeypatch):
    from iclbook import catalogue

    catalogue.studies.cache_clear()
    monkeypatch.setattr(catalogue, "entry_points", lambda group: ())
    assert "only the helper package; get the whole book" in refusal("list")
    catalogue.studies.cache_clear()


def test_a_chapter_without_its_folder_is_named(refusal, monkeypatch):
    from iclbook import catalogue

    def lacking():
        raise ModuleNotFoundError("no", name="studies.ridge.lengths")

    point = types.SimpleNamespace(module="studies.catalogue", load=lacking)
    catalogue.studies.cache_clear()
    monkeypatch.setattr(catalogue, "entry_points", lambda group: (point,))
    assert "there is no studies.ridge.lengths: make the chapter's folder" in refusal("list")
    catalogue.studies.cache_clear()
