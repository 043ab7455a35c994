"""Checkpoints inside a long point, so that an interrupted training goes on in the same bits."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch


class Checkpoint:
    """The state of one unfinished point in one file, written at most every `seconds`; no file where path is None.

    earlier: seconds that went into the loaded state, over all attempts before this one.
    """

    def __init__(self, path: Path | None = None, seconds: float = 120.0):
        self.path, self.seconds, self.earlier = path, seconds, 0.0
        self._start = self._last = time.monotonic()

    def load(self) -> dict | None:
        """The state saved last, or None where there is none."""
        if self.path is None or not self.path.exists():
            return None
        state, self.earlier = torch.load(self.path, weights_only=True)
        return state

    def save(self, state: Callable[[], dict]) -> None:
        """Write `state()`, tensors and plain values, if it is time; whole or not at all."""
        if self.path is None or time.monotonic() - self._last < self.seconds:
            return
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        torch.save((state(), self.earlier + time.monotonic() - self._start), partial)
        os.replace(partial, self.path)
        self._last = time.monotonic()
