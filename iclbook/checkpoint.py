"""Checkpoints inside a point of a sweep, so that an interrupted training goes on in the same
bits."""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from iclbook.files import read_hashed, write_hashed, writing_to
from iclbook.machine import processor


class Checkpoint:
    """The state of one unfinished point in one file, written at most every `seconds`; no file
    where path is None.

    earlier: seconds that went into the loaded state, over all attempts before this one.
    """

    def __init__(self, path: Path | None = None, seconds: float = 120.0):
        self.path, self.seconds, self.earlier = path, seconds, 0.0
        self._start = self._last = time.monotonic()

    def load(self) -> dict | None:
        """The state saved last, or None where there is none that is whole and was made on this
        kind of processor."""
        content = self.path and read_hashed(self.path, "the point starts anew")
        if content is None:
            return None
        state, earlier, where = torch.load(io.BytesIO(content), weights_only=True)
        if where != processor():
            print(
                f"{self.path.name} comes from another processor; the point starts anew",
                file=sys.stderr,
            )
            return None
        self.earlier = earlier
        return state

    def save(self, state: Callable[[], dict]) -> None:
        """Write `state()`, tensors and plain values, if it is time; whole or not at all."""
        if self.path is None or time.monotonic() - self._last < self.seconds:
            return
        content = io.BytesIO()
        torch.save(
            (state(), self.earlier + time.monotonic() - self._start, processor()), content
        )
        with writing_to(self.path.parent):  # no point of the sweep may be kept there yet
            write_hashed(self.path, content.getvalue())
        self._last = time.monotonic()
