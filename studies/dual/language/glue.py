"""GLUE's tasks as a reader gives them: a folder of TSVs, or the library `datasets`."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from iclbook.errors import InputError, require

LIBRARY = "datasets"  # in place of a folder: ask the library of this name, which downloads
HELP = (
    f"name a folder of GLUE's TSVs with --glue-dir or ICLBOOK_GLUE, or {LIBRARY!r} to download"
)


@dataclass(frozen=True)
class Task:
    """A task: its folder, its columns and its files.

    columns: how many a line has; first, second, label: which of them hold the sentences and the
    label. classes: names of the label's values, () for a score, which `scale` divides.
    """

    folder: str
    columns: int
    first: int
    label: int
    second: int | None = None
    header: str = ""  # its first line, "" for none
    classes: tuple[str, ...] = ("0", "1")
    scale: float = 1.0
    test: str = ""  # its file, where a test set with labels is given

    @property
    def files(self) -> dict[str, str]:
        """Split -> name of its file."""
        files = {"train": "train.tsv", "dev": "dev.tsv"}
        return files | ({"test": self.test} if self.test else {})


TASKS = {
    "cola": Task("CoLA", 4, first=3, label=1),
    "mrpc": Task(
        "MRPC",
        5,
        first=3,
        second=4,
        label=0,
        header="Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        test="test.tsv",
    ),
    "stsb": Task(
        "STS-B",
        10,
        first=7,
        second=8,
        label=9,
        header="index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
        "\tscore",
        classes=(),
        scale=5.0,
        test="test_scored.tsv",
    ),
    "rte": Task(
        "RTE",
        4,
        first=1,
        second=2,
        label=3,
        header="index\tsentence1\tsentence2\tlabel",
        classes=("not_entailment", "entailment"),
    ),
}

Sentences = tuple[list[str], list[str] | None, list]  # first, second, labels


def source() -> str:
    """The folder or library that the reader named."""
    named = os.environ.get("ICLBOOK_GLUE", "")
    require(bool(named), f"the language table needs GLUE's sentences: {HELP}")
    return named


def read(task: str, split: str) -> Sentences:
    """One split of a task. Raises InputError for what is missing or not as GLUE has it."""
    where = source()
    if where == LIBRARY:
        return _from_library(task, split)
    about = TASKS[task]
    path = Path(where) / about.folder / about.files[split]
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"cannot read {about.folder}/{path.name} ({why}); {HELP}") from None
    lines = [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    skipped = int(bool(about.header))
    require(
        not lines or not skipped or lines[0] == about.header,
        f"{about.folder}/{path.name}, line 1: not GLUE's names of the columns; mend the file",
    )
    require(len(lines) > skipped, f"{about.folder}/{path.name} holds no sentences; {HELP}")
    rows = []
    for number, line in enumerate(lines[skipped:], skipped + 1):
        cells = line.split("\t")
        place = f"{about.folder}/{path.name}, line {number}"
        require(
            len(cells) == about.columns,
            f"{place}: {len(cells)} columns, not {about.columns}; mend or remove the line",
        )
        texts = [cells[i].strip() for i in (about.first, about.second) if i is not None]
        require(all(texts), f"{place}: an empty sentence; mend or remove the line")
        rows.append((*texts, _label(about, cells[about.label], place)))
    return _columns(rows)


def _label(about: Task, text: str, place: str):
    if about.classes:
        known = " or ".join(about.classes)
        require(text in about.classes, f"{place}: the label is {text!r}, not {known}")
        return about.classes.index(text)
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    require(
        0 <= score <= about.scale, f"{place}: the score is {text!r}, not 0 to {about.scale:g}"
    )
    return score / about.scale


def _columns(rows: list[tuple]) -> Sentences:
    *texts, labels = map(list, zip(*rows))
    return texts[0], texts[1] if len(texts) > 1 else None, labels


def _from_library(task: str, split: str) -> Sentences:
    try:
        from datasets import load_dataset
    except ImportError:
        raise InputError(
            "the library datasets is not installed; pip install datasets, or give a folder"
        ) from None
    about, names = TASKS[task], {"train": "train", "dev": "validation", "test": "test"}
    try:
        found = load_dataset("nyu-mll/glue", task, split=names[split])
    except Exception as error:  # no network, no such dataset, errors of the library's own
        why = " ".join(str(error).split())
        raise InputError(f"datasets cannot load GLUE's {task} ({why}); {HELP}") from None
    # RTE's classes are numbered the other way round there.
    flip = task == "rte"
    labels = [1 - x if flip else x / about.scale for x in found["label"]]
    require(min(labels) >= 0, f"GLUE's {task} has no labels for {split} there; give a folder")
    if about.classes:
        labels = [int(label) for label in labels]
    names = ("sentence",) if about.second is None else ("sentence1", "sentence2")
    return _columns(list(zip(*(list(found[name]) for name in names), labels)))


def digests(task: str) -> dict[str, str]:
    """SHA-256 of each file of a task, by the name that GLUE gives it; no folder of the
    reader's."""
    about, where, found = TASKS[task], source(), {}
    for split, name in about.files.items():
        if where == LIBRARY:
            content = repr(read(task, split)).encode()
        else:
            path = Path(where) / about.folder / name
            require(path.is_file(), f"{about.folder}/{name} is not in the folder given; {HELP}")
            content = path.read_bytes()
        found[f"{about.folder}/{name}"] = hashlib.sha256(content).hexdigest()
    return found
