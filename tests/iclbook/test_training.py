"""The training loop against a hand-written one, and its contract: what it yields, when it
stops."""

import pytest
import torch

from iclbook.errors import InputError
from iclbook.training import by_autograd, descend, log_steps


def quadratic():
    x = torch.nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([x], lr=0.1)
    return x, optimizer, by_autograd(lambda: x.square().sum(), optimizer)


def test_it_takes_the_steps_of_a_loop_written_out():
    x, optimizer, gradient = quadratic()
    seen = {step: x.detach().clone() for step in descend(gradient, optimizer, 5, at=range(6))}
    by_hand = torch.tensor([3.0, -2.0], dtype=torch.float64)
    for step in range(6):
        torch.testing.assert_close(seen[step], by_hand)
        by_hand = by_hand - 0.1 * 2 * by_hand


def test_it_yields_before_the_named_steps_and_leaving_it_stops_the_training():
    x, optimizer, gradient = quadratic()
    assert list(descend(gradient, optimizer, 5, at=[0, 3, 5, 9])) == [0, 3, 5]
    after = x.detach().clone()
    for _ in descend(gradient, optimizer, 100, at=[2]):
        break
    torch.testing.assert_close(x.detach(), after * 0.8**2)


def test_two_halves_are_the_whole_with_a_schedule():
    def train(*spans):
        x, optimizer, gradient = quadratic()
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        for first, steps in spans:
            loop = descend(gradient, optimizer, steps, at=[], first=first, schedule=schedule)
            assert list(loop) == []
        return x.detach()

    assert torch.equal(train((0, 10)), train((0, 4), (4, 10)))
    assert optimizer_rate_after(10) == pytest.approx(0.1 * 0.9**10)


def optimizer_rate_after(steps):
    _, optimizer, gradient = quadratic()
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    list(descend(gradient, optimizer, steps, at=[], schedule=schedule))
    return optimizer.param_groups[0]["lr"]


def test_a_loss_that_is_not_finite_is_refused():
    x, optimizer, _ = quadratic()
    gradient = by_autograd(lambda: (x * torch.nan).sum(), optimizer)
    with pytest.raises(InputError, match="the loss is nan at step 0; lower the rate"):
        list(descend(gradient, optimizer, 5, at=[]))


def test_log_steps_of_a_shorter_run_are_a_prefix():
    long, short = log_steps(20_000), log_steps(700)
    assert short[:-1] == long[: len(short) - 1] and short[-1] == 700
    assert long[0] == 0 and long[-1] == 20_000 and long == sorted(set(long))
