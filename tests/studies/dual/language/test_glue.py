"""GLUE as a reader gives it: files made up here, whole and broken."""

import sys
import types

import pytest

from iclbook.errors import InputError
from studies.dual.language import glue

GOOD = {
    "cola": "gj04\t1\t\tA bird sings.\ngj04\t0\t*\tA bird sing.\n",
    "mrpc": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    '1\t2\t3\tHe "ran.\tHe ran, he said.\n',
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
    "\tscore\n0\tnews\tx\t2012\t1\tnone\tnone\tA plane.\tA train.\t1.250\n",
    "rte": "index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt pours.\tnot_entailment\n"
    "1\tIt pours.\tIt rains.\tentailment\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ICLBOOK_GLUE", str(tmp_path))
    for task, text in GOOD.items():
        place = tmp_path / glue.TASKS[task].folder
        place.mkdir()
        for name in glue.TASKS[task].files.values():
            (place / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_each_task_is_read_as_it_stands(folder):
    assert glue.read("cola", "dev") == (["A bird sings.", "A bird sing."], None, [1, 0])
    assert glue.read("mrpc", "test") == (['He "ran.'], ["He ran, he said."], [1])
    assert glue.read("stsb", "test") == (["A plane."], ["A train."], [0.25])
    assert glue.read("rte", "train") == (
        ["It rains.", "It pours."],
        ["It pours.", "It rains."],
        [0, 1],
    )


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(folder):
    wanted = glue.read("rte", "dev")
    text = "\ufeff" + GOOD["rte"].replace("\n", "\r\n")
    (folder / "RTE" / "dev.tsv").write_bytes(text.encode("utf-8"))
    assert glue.read("rte", "dev") == wanted


@pytest.mark.parametrize("task", ["mrpc", "stsb", "rte"])
def test_a_file_without_glues_first_line_is_refused(folder, task):
    """Else its first pair would be lost, or sentences that were swapped be taken."""
    place = folder / glue.TASKS[task].folder / "train.tsv"
    first, _, rest = GOOD[task].partition("\n")
    names = first.split("\t")
    names[glue.TASKS[task].first], names[glue.TASKS[task].second] = "sentence2", "sentence1"
    for text in (rest, "\t".join(names) + "\n" + rest):
        place.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"train\.tsv, line 1: not GLUE's names"):
            glue.read(task, "train")


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "holds no sentences"),
        ("index\tsentence1\tsentence2\tlabel\n", "holds no sentences"),
        (GOOD["rte"] + "\n", "line 4: 1 columns, not 4"),
        (GOOD["rte"].replace("\tIt pours.\tnot", "\tnot"), "line 2: 3 columns, not 4"),
        (
            GOOD["rte"].replace("It rains.\tIt pours.", "\tIt pours."),
            "line 2: an empty sentence",
        ),
        (GOOD["rte"].replace("\tentailment", "\tmaybe"), "line 3: the label is 'maybe'"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(folder, text, says):
    (folder / "RTE" / "dev.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"RTE/dev.tsv.*{says}") as caught:
        glue.read("rte", "dev")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("score", ["5.5", "-1", "nan", "high", ""])
def test_a_score_outside_0_to_5_is_refused(folder, score):
    (folder / "STS-B" / "dev.tsv").write_text(GOOD["stsb"].replace("1.250", score))
    with pytest.raises(InputError, match="line 2: the score is"):
        glue.read("stsb", "dev")


def test_what_is_missing_is_named_and_how_to_give_it(folder, monkeypatch):
    (folder / "MRPC" / "test.tsv").unlink()
    for look in (lambda: glue.read("mrpc", "test"), lambda: glue.digests("mrpc")):
        with pytest.raises(InputError, match=r"MRPC/test\.tsv.*--glue-dir"):
            look()
    (folder / "CoLA" / "dev.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"CoLA/dev\.tsv.*UTF-8"):
        glue.read("cola", "dev")
    monkeypatch.delenv("ICLBOOK_GLUE")
    with pytest.raises(InputError, match="ICLBOOK_GLUE"):
        glue.read("cola", "dev")


def test_digests_change_with_a_byte_and_name_no_folder(folder):
    before = glue.digests("cola")
    assert set(before) == {"CoLA/train.tsv", "CoLA/dev.tsv"}
    with (folder / "CoLA" / "dev.tsv").open("a") as file:
        file.write("x\t1\t\tMore.\n")
    after = glue.digests("cola")
    assert before["CoLA/train.tsv"] == after["CoLA/train.tsv"]
    assert before["CoLA/dev.tsv"] != after["CoLA/dev.tsv"]


def library(monkeypatch, load):
    monkeypatch.setenv("ICLBOOK_GLUE", "datasets")
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))


def test_the_librarys_classes_and_scores_become_ours(monkeypatch):
    rows = {
        "rte": {"sentence1": ["a"], "sentence2": ["b"], "label": [0]},  # 0 is entailment there
        "stsb": {"sentence1": ["a"], "sentence2": ["b"], "label": [2.5]},
        "cola": {"sentence": ["a"], "label": [1]},
    }
    asked = []

    def load(name, task, split):
        asked.append((name, task, split))
        return rows[task]

    library(monkeypatch, load)
    assert glue.read("rte", "dev") == (["a"], ["b"], [1])
    assert glue.read("stsb", "dev") == (["a"], ["b"], [0.5])
    assert glue.read("cola", "train") == (["a"], None, [1])
    assert asked[0] == ("nyu-mll/glue", "rte", "validation")
    rows["mrpc"] = {"sentence1": ["a"], "sentence2": ["b"], "label": [-1]}
    with pytest.raises(InputError, match="no labels for test"):
        glue.read("mrpc", "test")


def test_no_library_and_no_network_are_one_line(monkeypatch):
    def load(*_, **__):
        raise ConnectionError("cannot reach\nthe hub")

    library(monkeypatch, load)
    with pytest.raises(
        InputError, match=r"cannot load GLUE's cola \(cannot reach the hub\)"
    ) as found:
        glue.read("cola", "dev")
    assert "\n" not in str(found.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install datasets"):
        glue.read("cola", "dev")
