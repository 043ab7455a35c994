"""Training the one-layer model: Adam as in the paper's experiments, two-rate gradient descent
as in its theory."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from iclbook.errors import require
from iclbook.ridge.model import MultiHeadAttention
from iclbook.training import descend

Loss = Callable[
    [Tensor], tuple[Tensor, Tensor]
]  # table (N, K) -> (loss, gradient in the table)


def make_optimizer(
    model: MultiHeadAttention,
    name: str,
    rate: float,
    *,
    gamma: float = 1.0,
    freeze_Q: bool = False,
    half_life: float = float("inf"),
) -> torch.optim.Optimizer:
    """ "adam" with one rate, or "gd": rate eta_Q for Q and eta_w = gamma^2 eta_Q for w
    (yang2024 eq. 10).

    freeze_Q leaves the attention as it was drawn, so that only w learns: a convex problem.
    half_life: the number of steps in which the rates halve; by default they stay constant.
    """
    require(
        rate > 0 and gamma > 0,
        f"rate and gamma must be positive, got rate={rate!r}, gamma={gamma!r}",
    )
    require(half_life > 0, f"half_life must be positive, got {half_life!r}")
    scale = gamma**2 if name == "gd" else 1.0
    groups = [{"params": [model.w], "lr": scale * rate}] + (
        [] if freeze_Q else [{"params": [model.Q]}]
    )
    require(name in ("adam", "gd"), f"optimizer must be 'adam' or 'gd', got {name!r}")
    optimizer = (
        torch.optim.Adam(groups, lr=rate, fused=True)
        if name == "adam"
        else torch.optim.SGD(groups, lr=rate)
    )
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
    *,
    at: Iterable[int],
) -> Iterator[tuple[int, Tensor]]:
    """Train by `descend`; yield (step, table) before the steps named in `at`, table a~ being
    (N, K).

    Gradients are the closed form of `MultiHeadAttention.set_gradient`: no graph is built.
    """
    # (attention, table) of a step that was looked at, so that it is not computed twice
    seen = []

    def forward() -> tuple[Tensor, Tensor]:
        attention = model.attention()  # (N, H, K)
        return attention, (attention * model.w).sum(dim=1)  # (N, K)

    def gradient() -> Tensor:
        attention, table = seen.pop() if seen else forward()
        value, G = loss(table)
        model.set_gradient(attention, G)
        return value

    for step in descend(gradient, optimizer, steps, at=at):
        seen[:] = [forward()]
        yield step, seen[0][1]
