"""The one training loop of the book: a generator of step numbers, so that whoever trains
decides what to look at."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from iclbook.errors import InputError


def descend(
    gradient: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    at: Iterable[int],
    first: int = 0,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> Iterator[int]:
    """Take the steps first .. steps - 1; yield each step number in `at` before that step,
    `steps` at the end.

    gradient: writes every parameter's gradient and returns the loss; see `by_autograd`. Leaving
    the loop stops the training. Raises InputError when the loss is no longer finite (looked at
    every 100 steps).
    """
    wanted = set(at)
    for step in range(first, steps + 1):
        if step in wanted:
            yield step
        if step == steps:
            return
        value = gradient()
        if step % 100 == 0 and not torch.isfinite(value):
            raise InputError(f"the loss is {value.item()} at step {step}; lower the rate")
        optimizer.step()
        if schedule is not None:
            schedule.step()


def by_autograd(
    loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer
) -> Callable[[], Tensor]:
    """A `gradient` for `descend`: evaluate `loss()`, a scalar on a fresh batch, and
    differentiate it."""

    def gradient() -> Tensor:
        value = loss()
        optimizer.zero_grad()
        value.backward()
        return value.detach()

    return gradient


def log_steps(steps: int, per_decade: int = 12) -> list[int]:
    """Step numbers 0, 1, 2, ... up to `steps`, about evenly spaced on a log scale; `steps`
    itself is included.

    The grid does not depend on `steps`, so that a shorter run records a prefix of a longer one.
    """
    grid = {round(10 ** (i / per_decade)) for i in range(per_decade * len(str(steps)))}
    return sorted({0, steps} | {step for step in grid if step <= steps})
