"""Prices of heads against the loss itself and against drawn choices; signs that are held."""

from itertools import combinations

import pytest
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.null_models import frozen_attention_weights
from iclbook.ridge.population_loss import PopulationLoss, label_covariance
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer, train
from iclbook.ridge.unseen import IN_DOMAIN, expected_error
from studies.bridge.failure_signatures.heads import (
    contributions,
    hold_signs,
    price,
    random_sum_price,
)

N, K, H = 5, 14, 9


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def exact():
    return sample_dictionary(N, K, 8, 3, 0.1, generator=seeded(0))


@pytest.fixture
def model(exact):
    """A model whose table is the best one, by solving for w."""
    found, loss = MultiHeadAttention(exact, H, generator=seeded(1)), PopulationLoss.of(exact)
    with torch.no_grad():
        fit = frozen_attention_weights(found.attention(), loss.target, loss.covariance)
        found.w.copy_(fit)
    return found


@torch.no_grad()
def test_the_price_of_a_head_is_the_error_that_it_adds(exact, model):
    parts, S = contributions(model), label_covariance(exact)
    torch.testing.assert_close(parts.sum(dim=0), model())

    def error(table):
        return expected_error(table, exact, IN_DOMAIN)[N:]

    for part in parts:
        for factor in (1.0, 2.0):  # removed, turned
            added = error(model() - factor * part) - error(model())
            torch.testing.assert_close(added, factor**2 * price(part, S)[N:])


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 4, H])
def test_the_price_of_random_heads_is_the_mean_over_choices(exact, model, count):
    parts, S = contributions(model), label_covariance(exact)
    chosen = torch.tensor(list(combinations(range(H), count)))  # every choice
    each = price(parts[chosen].sum(dim=1), S)  # (choices, K)
    torch.testing.assert_close(each.mean(dim=0), random_sum_price(parts, S, count))


@torch.no_grad()
def test_signs_that_are_held_do_not_change_and_the_others_do(exact):
    wanted = torch.randn(H, K, generator=seeded(2)).sign()
    changed = []
    for held in (True, False):
        model = MultiHeadAttention(exact.to(torch.float32), H, generator=seeded(3))
        optimizer = make_optimizer(model, "adam", 0.03)
        if held:
            hold_signs(optimizer, model, wanted)
        loss = PopulationLoss.of(exact, torch.float32)
        start, *_, last = (loss(t)[0] for _, t in train(model, loss, optimizer, 50, at=[0, 50]))
        assert last < start / 2
        changed.append((model.w * wanted < 0).double().mean().item())
    assert changed[0] == 0 and changed[1] > 0.2
