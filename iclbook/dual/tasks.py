"""The tasks on which part II trains: callables (x, w) -> y with a name. Ours: no source in our
hands defines theirs.

x is (..., N + 1, d) with variance 1/3 a coordinate and w is (..., d, 1), so z = w^T x / sqrt(d
/ 3) has mean 0 and variance 1, whatever d.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from iclbook.errors import InputError


@dataclass(frozen=True)
class Task:
    """y = label(x, w), shape (..., N + 1, 1)."""

    name: str
    label: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        return self.label(x, w)


def unit_variance(x: Tensor, w: Tensor) -> Tensor:
    """Return z = w^T x / sqrt(d / 3), shape (..., N + 1, 1)."""
    return x @ w * math.sqrt(3 / x.shape[-1])


LINEAR = Task("linear", lambda x, w: x @ w)
TRIGONOMETRIC = Task("trigonometric", lambda x, w: (1.5 * unit_variance(x, w)).sin())
EXPONENTIAL = Task("exponential", lambda x, w: (unit_variance(x, w) / 2).exp())
PREFERRED = Task(
    "preferred", lambda x, w: x @ (w + 1)
)  # linear, w of mean 1 a coordinate: prompts have a common part
TASKS = {task.name: task for task in (LINEAR, TRIGONOMETRIC, EXPONENTIAL, PREFERRED)}


def find_task(name: str) -> Task:
    """Return the task of this name; raises InputError for any other."""
    if name not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got {name!r}")
    return TASKS[name]
