"""Writes files whole or not at all, and several files as one."""

import hashlib
import os
import platform
import shutil
import sys
from contextlib import contextmanager, suppress
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


@contextmanager
def alone(path: Path, what: str):
    """Hold the lock `path` over a block, and say beside it who does. Raises InputError where
    another process holds it; the system frees the lock of a process that died."""
    from filelock import FileLock, Timeout

    lock, holder = FileLock(path, timeout=0), path.with_suffix(".holder")
    with writing_to(path.parent):
        try:
            lock.acquire()
        except Timeout:
            who = f"{_text(holder) or 'another process'} is at work on {what}"
            raise InputError(f"{who}; wait for it, or add another --store DIR") from None
        if ended := _text(holder):
            print(f"{ended} was stopped at work on {what}; taken over", file=sys.stderr)
        holder.write_text(f"process {os.getpid()} on {platform.node()}")
    try:
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _text(path: Path) -> str:
    with suppress(OSError):
        return " ".join(path.read_text(errors="replace").split())
    return ""


def write_hashed(path: Path, content: bytes) -> None:
    """`atomic_write` with the content's own hash in front."""
    atomic_write(path, f"{sha256(content)}\n".encode() + content)


def read_hashed(path: Path, instead: str) -> bytes | None:
    """What `write_hashed` wrote; None where there is nothing, or, said in one line, damage."""
    if not path.is_file():
        return None
    said, _, content = path.read_bytes().partition(b"\n")
    if said == sha256(content).encode():
        return content
    print(f"{path.name} is damaged; {instead}", file=sys.stderr)
    return None


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
    for pattern in (f"*{profile}.*.part", f".{profile}.*.done"):  # of writers that were killed
        for stale in folder.glob(pattern):
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
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
    for stale in (*folder.glob(f"{profile}.*.csv"), *folder.glob(f"{profile}.*.npy")):
        if stale.name not in names:
            stale.unlink()
    done = folder / f".{profile}.{os.getpid()}.done"
    os.replace(ready, done)
    shutil.rmtree(done, ignore_errors=True)


def ready_folder(folder: Path, profile: str) -> Path:
    return folder / f".{profile}.ready"
