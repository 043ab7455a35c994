"""Chapters run as tests by nbval, two at a time."""

import tempfile
from pathlib import Path

import nbval.kernel
from filelock import FileLock

start = nbval.kernel.start_new_kernel


def one_after_another(*arguments, **keywords):
    """Start a kernel while no other one starts: two that look for free ports at once can draw
    the same one, and then one of them never answers."""
    with FileLock(Path(tempfile.gettempdir()) / "iclbook-kernel.lock"):
        return start(*arguments, **keywords)


nbval.kernel.start_new_kernel = one_after_another
