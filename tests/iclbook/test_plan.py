"""What a run would take: points, what is kept of them, time, memory."""

import json
import sys

import pytest

from iclbook import runner
from iclbook.catalogue import find
from iclbook.cli import main
from iclbook.plan import in_words, planned
from iclbook.store import Store
from iclbook.unfinished import keep


def test_a_dry_run_computes_nothing_and_foresees_points_and_time(tmp_path, monkeypatch, capsys):
    def says(*arguments):
        command = ["iclbook", "run", "yang2024/lemma5", "--dry-run", "--store", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", [*command, *arguments, "--json"])
        main()
        (row,) = json.loads(capsys.readouterr().out)
        return row["points"], row["kept"], row["seconds"]

    took = Store().meta(find("yang2024/lemma5"), "full")["point_seconds"]
    assert says() == (5, 0, pytest.approx(sum(took)))
    assert says("--seeds", "7-8") == (2, 0, pytest.approx(2 * sum(took) / 5))
    larger = says("--set", "draws=20000000", "--set", "K=18", "--set", "m=1")
    assert larger == (5, 0, pytest.approx(20 * sum(took)))
    d = find("yang2024/lemma5").full.d  # heads are d x d matrices
    assert says("--set", f"d={2 * d}") == (5, 0, pytest.approx(4 * sum(took)))
    assert says("--profile", "quick") == (2, 0, None)
    full = find("yang2024/lemma5").full
    endless = says("--profile", "quick", "--set", f"draws={10**6 * full.draws}")
    assert endless == (2, 0, pytest.approx(2 * 10**6 * sum(took) / 5))
    assert list(tmp_path.iterdir()) == []

    experiment = find("yang2024/lemma5")
    folder = runner.unfinished_of(experiment, "quick", Store(tmp_path), experiment.quick)
    folder.mkdir(parents=True)
    keep(folder, {"seed": 1}, {}, 3.5, {})
    assert says("--profile", "quick") == (2, 1, 3.5)
    monkeypatch.setattr(sys, "argv", ["iclbook", "status", "--store", str(tmp_path)])
    main()
    assert f"unfinished: {folder} (1 files); the same run goes on" in capsys.readouterr().out


def test_memory_grows_with_sizes_and_not_with_steps(tmp_path):
    peaks = json.loads((Store().root / "benchmarks" / "memory.json").read_text())
    empty, experiment = peaks["imports"], find("yang2024/fig2a")
    more = peaks[experiment.id] - empty
    assert 50 < empty < 1_000 and 0 < more < 4_000, "MiB"
    full = experiment.full

    def memory(**changes):
        return planned(experiment.variant("full", **changes), "full", Store(tmp_path))["memory"]

    assert memory(steps=7 * full.steps) == pytest.approx(empty + more)
    assert memory(H=3 * full.H) == pytest.approx(empty + 3 * more)
    assert memory(d=2 * full.d, steps=1) == pytest.approx(empty + 4 * more)
    assert memory(H=1) == pytest.approx(empty + more), "smaller is not promised to need less"


def test_a_plan_says_memory_where_it_was_measured():
    row = {"id": "a/b", "points": 2, "kept": 0, "seconds": 90.0, "memory": 1234.5}
    assert in_words(row).endswith("on one thread, at most 1,234 MiB a process")
    assert "MiB" not in in_words(row | {"memory": None})
