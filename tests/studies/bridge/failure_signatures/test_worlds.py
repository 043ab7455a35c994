"""Worlds against sampling by their definitions, against other routes to the same numbers, and
against models run on the prompts themselves."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from iclbook.errors import InputError
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.other_prompts import tables_of
from iclbook.ridge.population_loss import label_covariance, optimal_weights
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.unseen import IN_DOMAIN, best_linear, expected_error
from studies.bridge.failure_signatures import worlds

N, K, M, TAU = 6, 15, 4, 0.2


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def exact():
    return sample_dictionary(N, K, 7, M, TAU, generator=seeded(0))


@pytest.fixture
def table(exact):
    noise = torch.randn(N, K, generator=seeded(1), dtype=torch.float64)
    return optimal_weights(exact) + 0.3 * noise


@pytest.fixture
def extra():
    return torch.randn(3, K, generator=seeded(2), dtype=torch.float64)


def world_of(exact, shift, size, extra):
    own = worlds.trained_world(exact)
    return {
        "": lambda: own,
        "noise": lambda: worlds.noisy(own, size * exact.m),
        "angle": lambda: worlds.tilted(exact, size),
        "missing": lambda: worlds.lacking(exact, extra[: int(size)]),
        "scale": lambda: worlds.scaled(own, size),
    }[shift]()


@pytest.mark.parametrize(
    ("shift", "size"),
    [("", 0.0), ("noise", 0.4), ("angle", 30.0), ("angle", 80.0), ("missing", 3), ("scale", 2)],
)
def test_errors_are_those_of_sampled_tasks(exact, table, extra, shift, size):
    world, own = world_of(exact, shift, size, extra), torch.arange(N)[None]
    y, t = worlds.draw(exact, shift, size, 200_000, extra, generator=seeded(3))
    squares = (y[:, :N] @ table - t).square()  # (count, K)
    off = squares.mean(dim=0) - worlds.errors_of(world, table, own)[0]
    assert (off.abs() <= 5 * squares.std(dim=0) / len(y) ** 0.5).all()
    for moment, sampled in ((world.labels, y.T @ y), (world.cross, y.T @ t)):
        np.testing.assert_allclose(sampled / len(y), moment, atol=0.03 * moment.abs().max())
    np.testing.assert_allclose(t.square().mean(dim=0), world.power, rtol=0.03)


def test_the_world_of_training_is_that_of_the_unseen_chapter(exact, table):
    world, own = worlds.trained_world(exact), torch.arange(N)[None]
    found = worlds.errors_of(world, table, own)[0]
    torch.testing.assert_close(found, expected_error(table, exact, IN_DOMAIN))
    best = worlds.best_tables(world, own)[0]
    torch.testing.assert_close(best, best_linear(exact, IN_DOMAIN))


def test_noise_adds_a_line_and_moves_the_penalty(exact, table):
    own, variance = torch.arange(N)[None], 0.7
    world = worlds.trained_world(exact)
    added = worlds.errors_of(worlds.noisy(world, variance), table, own)
    added = added - worlds.errors_of(world, table, own)
    torch.testing.assert_close(added[0], variance * table.square().sum(dim=0))
    best = worlds.best_tables(worlds.noisy(world, variance), own)[0]  # (N, K)
    ridge = Ridge(alpha=M * TAU + variance, fit_intercept=False)
    y = torch.randn(N, generator=seeded(4), dtype=torch.float64)
    fit = ridge.fit(exact.Z.T.numpy(), y.numpy()).coef_
    np.testing.assert_allclose(y @ best, fit @ exact.features.numpy(), rtol=1e-8)


def test_a_tilted_template_has_its_angle_and_its_power(exact):
    _, t = worlds.draw(exact, "angle", 30.0, 50, exact.features[:0], generator=seeded(5))
    F = exact.features
    inside = t @ torch.linalg.pinv(F) @ F  # (count, K), the part in the span
    np.testing.assert_allclose(inside.norm(dim=1) / t.norm(dim=1), math.cos(math.pi / 6))
    powers = [worlds.tilted(exact, angle).power.sum() for angle in (0, 30, 90)]
    np.testing.assert_allclose(powers, powers[0])


@pytest.mark.parametrize("changed", [0, 1, 3, N])
def test_averages_over_random_places_are_those_of_drawn_prompts(exact, table, changed):
    world, spare, count = worlds.trained_world(exact), torch.arange(N, 2 * N), 20_000
    generator, own = seeded(6), torch.arange(N)
    out = torch.rand(count, N, generator=generator).argsort(dim=1)[:, :changed]
    into = torch.rand(count, N, generator=generator).argsort(dim=1)[:, :changed] + N
    sets = own.expand(count, N).clone().scatter(1, out, into)
    each = worlds.errors_of(world, table, sets)  # (count, K)
    form = worlds.replaced_error(world, table, spare, changed)
    margin = 5 * each.std(dim=0) / count**0.5 + 1e-9
    assert ((each.mean(dim=0) - form).abs() <= margin).all()

    kept = torch.ones(count, N, dtype=torch.bool).scatter(1, out, False)
    left = own.expand(count, N)[kept].view(count, -1)
    each = worlds.errors_of(world, table[left], left)
    form = worlds.dropped_error(world, table, changed)
    margin = 5 * each.std(dim=0) / count**0.5 + 1e-9
    assert ((each.mean(dim=0) - form).abs() <= margin).all()


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_repeated_token_is_one_that_the_model_is_shown_again(exact, times):
    model = MultiHeadAttention(exact, 5, generator=seeded(7))
    with torch.no_grad():
        model.w.normal_(generator=seeded(8))
        sets = torch.cat([torch.arange(N), torch.full((times - 1,), 2)])[None]
        shown = tables_of(model, sets)[0]  # (N + times - 1, K)
        folded = shown[:N].clone()
        folded[2] += shown[N:].sum(dim=0)
        formed = worlds.repeated_table(model.attention(), model.w, 2, times)
        torch.testing.assert_close(formed, folded)
        world = worlds.trained_world(exact)
        torch.testing.assert_close(
            worlds.errors_of(world, shown, sets),
            worlds.errors_of(world, folded, torch.arange(N)[None]),
        )


def test_energies_are_those_of_the_whitened_labels(exact):
    y, _ = worlds.draw(exact, "", 0.0, 100_000, exact.features[:0], generator=seeded(9))
    y = y[:, :N]
    energy, misfit = worlds.energies(exact, y)
    inverse = torch.linalg.inv(label_covariance(exact))
    torch.testing.assert_close(energy, (y * (y @ inverse)).sum(dim=1) / N)
    assert energy.mean() == pytest.approx(1, abs=0.02)
    # The labels' residual to the row space of Z has variance m tau in each direction.
    beyond = torch.eye(N, dtype=y.dtype) - torch.linalg.pinv(exact.Z) @ exact.Z
    residual = (y @ beyond).square().sum(dim=1) / ((N - M) * M * TAU)
    inside = (N * energy - (N - M) * residual) / M
    torch.testing.assert_close(misfit, residual / inside)
    torch.testing.assert_close(worlds.energies(exact, 3 * y)[1], misfit)


def test_sizes_that_make_no_sense_are_refused(exact):
    with pytest.raises(InputError, match="beyond the templates"):
        worlds.energies(replace(exact, N=M), torch.zeros(1, M, dtype=torch.float64))
    world = worlds.trained_world(exact)
    with pytest.raises(InputError, match="cannot be replaced"):
        worlds.replaced_error(world, optimal_weights(exact), torch.arange(2), 3)
    with pytest.raises(InputError, match="K > m"):
        worlds.complement(sample_dictionary(2, 3, 4, 5, 0.1, generator=seeded(0)))
