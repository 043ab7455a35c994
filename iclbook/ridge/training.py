"""Training the one-layer model: Adam as in the paper's experiments, two-rate gradient descent as in its theory."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from iclbook.errors import InputError, require
from iclbook.ridge.model import MultiHeadAttention

Loss = Callable[[Tensor], tuple[Tensor, Tensor]]  # table (N, K) -> (loss, gradient in the table)


def make_optimizer(
    model: MultiHeadAttention,
    name: str,
    rate: float,
    *,
    gamma: float = 1.0,
    freeze_Q: bool = False,
    half_life: float = float("inf"),
) -> torch.optim.Optimizer:
    """"adam" with one rate, or "gd": rate eta_Q for Q and eta_w = gamma^2 eta_Q for w (yang2024 eq. 10).

    freeze_Q leaves the attention as it was drawn, so that only w learns: a convex problem. half_life: the number of
    steps in which the rates halve; by default they stay constant.
    """
    require(rate > 0 and gamma > 0, f"rate and gamma must be positive, got rate={rate!r}, gamma={gamma!r}")
    require(half_life > 0, f"half_life must be positive, got {half_life!r}")
    scale = gamma**2 if name == "gd" else 1.0
    groups = [{"params": [model.w], "lr": scale * rate}] + ([] if freeze_Q else [{"params": [model.Q]}])
    require(name in ("adam", "gd"), f"optimizer must be 'adam' or 'gd', got {name!r}")
    optimizer = torch.optim.Adam(groups, lr=rate, fused=True) if name == "adam" else torch.optim.SGD(groups, lr=rate)
    if half_life < float("inf"):
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5 ** (1 / half_life))
        optimizer.register_step_post_hook(lambda *_: schedule.step())
    return optimizer


@torch.no_grad()
def train(
    model: MultiHeadAttention,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    steps: int,
    record: Callable[[int, Tensor], None],
    at: Iterable[int],
) -> None:
    """Take `steps` steps on `loss`; call `record(step, table)` before the steps named in `at`.

    The table is a~, (N, K), after `step` steps; `step = steps` records the end. Gradients are the closed form of
    `MultiHeadAttention.set_gradient`: no graph is built. Raises InputError when the loss is no longer finite.
    """
    wanted = set(at)
    for step in range(steps + 1):
        attention = model.attention()  # (N, H, K)
        table = (attention * model.w).sum(dim=1)  # (N, K)
        if step in wanted:
            record(step, table)
        if step == steps:
            break
        value, G = loss(table)
        if step % 100 == 0 and not torch.isfinite(value):
            raise InputError(f"the loss is {value.item()} at step {step}; lower the rate")
        model.set_gradient(attention, G)
        optimizer.step()


def log_steps(steps: int, per_decade: int = 12) -> list[int]:
    """Step numbers 0, 1, 2, ... up to `steps`, about evenly spaced on a log scale; `steps` itself is included.

    The grid does not depend on `steps`, so that a shorter run records a prefix of a longer one.
    """
    grid = {round(10 ** (i / per_decade)) for i in range(per_decade * len(str(steps)))}
    return sorted({0, steps} | {step for step in grid if step <= steps})
