"""Unfinished work: the kept points of a sweep, and the fingerprint of all they depend on."""

import ast
import functools
import importlib.util
import json
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from iclbook.contents import as_file, from_file
from iclbook.errors import require
from iclbook.experiment import Experiment, Settings
from iclbook.files import read_hashed, sha256, write_hashed
from iclbook.machine import machine, versions

MACHINERY = ("iclbook.runner", "iclbook.unfinished", "iclbook.checkpoint")
CLOCK_SLACK = 2.0  # seconds by which a process's start is known


def point_name(point: dict) -> str:
    return sha256(json.dumps(point).encode())[:16]


def keep(
    folder: Path, point: dict, found: dict[str, pd.DataFrame | np.ndarray], seconds, where
) -> None:
    files = dict(as_file(*each) for each in found.items())
    texts = {name: content.decode("latin-1") for name, content in files.items()}
    about = {"run": folder.name, "point": point, "seconds": seconds, "machine": where}
    content = json.dumps(about | {"files": texts}).encode()
    write_hashed(folder / f"{point_name(point)}.point", content)
    checkpoint_of(folder, point).unlink(missing_ok=True)


def checkpoint_of(folder: Path, point: dict) -> Path:
    return folder / f"{point_name(point)}.checkpoint"


def forget(folder: Path, points: list[dict]) -> None:
    """Remove what is kept of these points, and the folder once it holds no others."""
    for point in points:
        for path in folder.glob(f"{point_name(point)}.*"):
            path.unlink()
    with suppress(OSError):
        folder.rmdir()


def kept_point(
    folder: Path | None, point: dict, device: str = "cpu"
) -> tuple[dict[str, pd.DataFrame | np.ndarray], float, dict] | None:
    """What `keep` kept of a point; None where there is none, or where it is not whole."""
    path = folder and folder / f"{point_name(point)}.point"
    content = path and read_hashed(path, "it is computed again")
    if content is None:
        return None
    found = json.loads(content)
    if (found["run"], found["point"]) != (folder.name, json.loads(json.dumps(point))):
        print(f"{path.name} is of another point or run; it is computed again", file=sys.stderr)
        return None
    if found["machine"] != machine(device):
        print(
            f"the kept point {path.name} comes from another machine; the result will name both",
            file=sys.stderr,
        )
    files = {name: text.encode("latin-1") for name, text in found["files"].items()}
    kept = dict(from_file(*file) for file in files.items())
    return kept, found["seconds"], found["machine"]


def identity(experiment: Experiment, settings: Settings) -> tuple:
    """What two processes must share to compute the same."""
    return fingerprint(experiment, settings), versions()


def fingerprint(experiment: Experiment, settings: Settings) -> str:
    """Names a run by its settings (those apart that only choose points), the packages, the
    inputs, and the code behind it, so that no stale point is used."""
    module = experiment.function.partition(":")[0]
    known = [settings.of_a_point(), versions(), experiment.inputs_of(settings)]
    content = json.dumps(known).encode() + code_behind(module)
    return sha256(content)[:12]


@functools.cache
def code_behind(module: str) -> bytes:
    """The source of a module, of the machinery, and of every module of the project that they
    import, directly or not; as it was when this process first asked."""
    files, todo = {}, [module, *MACHINERY]
    while todo:
        name = todo.pop()
        if name in files or name.partition(".")[0] not in ("iclbook", module.partition(".")[0]):
            continue
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            spec = None
        if spec is None or spec.origin is None:  # a name that is imported, not a module
            continue
        path = Path(spec.origin)
        require(
            path.stat().st_mtime <= psutil.Process().create_time() + CLOCK_SLACK,
            f"{path.name} was changed after this process had started; start it anew",
        )
        files[name] = path.read_bytes()
        # A package's own file runs whenever a module of it is imported.
        todo += [name.rpartition(".")[0]] if "." in name else []
        for node in ast.walk(ast.parse(files[name])):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return b"".join(files[name] for name in sorted(files))
