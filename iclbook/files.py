"""Writes files whole or not at all, and several files as one."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from iclbook.errors import InputError


@contextmanager
def writing_to(folder: Path):
    """Make `folder`; turn a refusal of the file system into one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}); free or allow it, or add --store DIR"
        ) from None


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    _write_synced(partial, content)
    os.replace(partial, path)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def publish(folder: Path, profile: str, files: dict[str, bytes]) -> None:
    """Replace the files of a profile by others, all at once.

    They are written into a folder of their own, whose rename is the moment from which readers
    see them; then they are copied into place. A publication that was stopped in between is
    finished by the next one, and read until then.
    """
    ready = ready_folder(folder, profile)
    _settle(folder, profile)
    partial = folder / f".{profile}.{os.getpid()}.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name, content in files.items():
        _write_synced(partial / name, content)
    os.replace(partial, ready)
    _settle(folder, profile)


def _settle(folder: Path, profile: str) -> None:
    ready = ready_folder(folder, profile)
    if not ready.is_dir():
        return
    names = sorted(path.name for path in ready.iterdir())
    for name in names:
        atomic_write(folder / name, (ready / name).read_bytes())
    for stale in folder.glob(f"{profile}.*.csv"):
        if stale.name not in names:
            stale.unlink()
    done = folder / f".{profile}.{os.getpid()}.done"
    os.replace(ready, done)
    shutil.rmtree(done, ignore_errors=True)


def ready_folder(folder: Path, profile: str) -> Path:
    return folder / f".{profile}.ready"
