"""Rules against other routes: scikit-learn's ridge, descent by autograd, Monte Carlo,
two_lenses' spectrum of one prompt."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from studies.bridge.over_prompts import rules
from studies.bridge.over_prompts.encoder import sample_prompts
from studies.bridge.over_prompts.rules import Filters
from studies.bridge.two_lenses.lenses import Spectrum, ridge, steps


def drawn(count=40, N=7, K=10, d=4, tau=0.1, seed=0):
    return sample_prompts(count, N, K, d, tau, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("N", [2, 7])
def test_ridge_is_scikit_learns(N):
    prompts = drawn(N=N)
    found = Filters.of(prompts).ridge()
    for i in (0, 11):
        tokens = prompts.tokens[i].numpy()
        fit = Ridge(alpha=prompts.noise, fit_intercept=False)
        fit.fit(tokens[:N], prompts.y[i].numpy())
        np.testing.assert_allclose(found[i], fit.predict(tokens[N:]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("N", [2, 7])
def test_steps_are_those_of_autograd(N):
    prompts, rate = drawn(N=N), 0.03
    found = Filters.of(prompts).predictions(steps(3, rate))
    task = torch.zeros(40, 4, 1, dtype=torch.float64)
    for _ in range(3):
        task = task.detach().requires_grad_()
        off = (prompts.tokens[:, :N] @ task)[..., 0] - prompts.y
        (off.square().sum() / 2).backward()
        task = task - rate * task.grad
    assert_close(found, (prompts.tokens[:, N:] @ task.detach())[..., 0], rtol=1e-6, atol=1e-8)


def test_tables_are_those_of_one_prompts_spectrum():
    prompts = drawn()
    filters = Filters.of(prompts)
    tables = filters.tables(ridge(prompts.noise))
    assert_close(rules.applied(tables, prompts), filters.ridge())
    view = Spectrum.of(prompts.dictionary(3))
    assert_close(tables[3], view.table(ridge(prompts.noise)))
    assert_close(view.values, filters.values[3].flip(0))
    assert view.noise == pytest.approx(prompts.noise)


def test_the_nearest_rate_cannot_be_beaten():
    prompts = drawn()
    filters = Filters.of(prompts)
    for taken in (1, 3):
        rate, least = filters.nearest_rate(prompts.asked, taken)
        tried = [
            (filters.predictions(steps(taken, x)) - prompts.asked).square().mean().item()
            for x in np.geomspace(1e-4, 0.5, 3_000)
        ]
        assert least <= min(tried) + 1e-12 and least == pytest.approx(min(tried), rel=1e-4)
        said = filters.predictions(steps(taken, rate))
        assert least == pytest.approx((said - prompts.asked).square().mean().item())


def test_free_gradients_are_least_squares_in_powers():
    prompts = drawn()
    filters = Filters.of(prompts)
    found = [filters.free(prompts.asked, taken) for taken in (1, 2, 4)]
    powers = [filters.predictions(lambda s, p=p: s**p).flatten().numpy() for p in range(4)]
    target = prompts.asked.flatten().numpy()
    for taken, off in zip((1, 2, 4), found):
        X = np.stack(powers[:taken], axis=1)
        fit = np.linalg.lstsq(X / X.std(0), target, rcond=None)[0]
        assert off == pytest.approx(np.mean((X / X.std(0) @ fit - target) ** 2), rel=1e-6)
    assert found[0] == pytest.approx(filters.nearest_rate(prompts.asked, 1)[1], rel=1e-6)
    assert found == sorted(found, reverse=True)
    one = filters.predictions(steps(3, 0.02))
    assert filters.free(one, 3) < 1e-20 < 1e-6 < filters.free(one, 2)


@pytest.mark.parametrize("noise", [0.0, 0.4, 5.0])
def test_what_one_label_tells(noise):
    d, draws = 5, np.random.default_rng(0).chisquare(5, 1_000_000)
    shares = draws / (draws + noise)
    assert rules.seen_share(d, noise) == pytest.approx(shares.mean(), rel=2e-3)
    quantiles = chi2(d).ppf((np.arange(100_000) + 0.5) / 100_000)
    assert rules.seen_share(d, noise) == pytest.approx(
        (quantiles / (quantiles + noise)).mean(), rel=1e-5
    )


@pytest.mark.parametrize("sizes", [(7, 4, 0.1), (3, 5, 0.3), (1, 4, 0.2)])
def test_closed_forms_are_the_sampled_errors_and_cannot_be_beaten(sizes):
    N, d, tau = sizes
    prompts = drawn(60_000, N, N + 2, d, tau)
    noise = prompts.noise
    for weights, exact in (
        (rules.one_step(prompts), rules.one_step_error(N, d, noise)),
        (rules.additive(prompts), rules.additive_error(N, d, noise)),
    ):
        said = rules.applied(weights, prompts)
        off = (said - prompts.asked).square().mean(1)
        assert abs(off.mean() - exact) < 4.5 * off.std() / math.sqrt(len(off))
        for factor in (0.9, 1.1):
            assert (factor * said - prompts.asked).square().mean() > off.mean()


def test_the_best_sums_error_has_nothing_in_common_with_other_sums():
    prompts = drawn(100_000, 5, 6, 3, 0.2)
    missed = (rules.applied(rules.additive(prompts), prompts) - prompts.asked)[:, 0]
    v, q, y = prompts.tokens[:, :5], prompts.tokens[:, 5], prompts.y
    scores = (v @ q[..., None])[..., 0]
    for terms in (y * scores, y * scores.sinh(), y**3 * scores, y * v[..., 0] * q[:, 1:2]):
        product = missed * terms.sum(1)
        assert abs(product.mean()) < 4.5 * product.std() / math.sqrt(len(product))


def test_without_noise_the_best_sum_is_that_of_part_two():
    from iclbook.dual.trained import additive_loss

    assert rules.additive_error(15, 10, 0.0) == pytest.approx(3 * additive_loss(15, 10))


def test_one_shown_token_leaves_ridge_and_the_best_sum_the_same():
    prompts = drawn(N=1, K=4)
    said = rules.predictions(prompts, Filters.of(prompts))
    assert_close(said["ridge"], said["additive"], rtol=1e-6, atol=1e-9)


def test_the_softmax_head_is_the_best_of_those_tried():
    prompts = drawn(400)
    said = rules.softmax_head(prompts, prompts.asked)
    least = (said - prompts.asked).square().mean()
    assert least < prompts.asked.square().mean()
    scores = prompts.tokens[:, :7] @ prompts.tokens[:, 7:].mT
    for b in (0.05, 0.3, 1.0, 3.0):
        one = (prompts.y[:, None] @ (b * scores).softmax(1))[:, 0]
        for w in (0.5, 1.0, 2.0, 4.0):
            assert (w * one - prompts.asked).square().mean() > 0.999 * least


def test_no_rule_errs_less_than_ridge():
    prompts = drawn(5_000)
    said = rules.predictions(prompts, Filters.of(prompts))
    errors = {
        name: (each - prompts.asked).square().mean().item() for name, each in said.items()
    }
    assert list(errors) == ["ridge", "one step", "additive", "softmax head", "zero"]
    assert errors["ridge"] < errors["additive"] < errors["one step"] < errors["softmax head"]
    assert errors["softmax head"] < errors["zero"]


def test_a_stack_that_does_not_move_takes_gradient_steps():
    prompts = drawn()
    rates, none = torch.full((3,), 0.02).double(), torch.zeros(3).double()
    wanted = Filters.of(prompts).predictions(steps(3, 0.02))
    assert_close(rules.moving_stack(prompts, rates, none), wanted)


def test_layers_that_move_are_worth_one_four_and_thirteen_gradients():
    prompts = drawn()
    filters = Filters.of(prompts)
    for layers, worth in ((1, 1), (2, 4), (3, 13)):
        rates = torch.tensor([0.08, 0.08, 0.08][:layers]).double()
        said = rules.moving_stack(prompts, rates, 0.8 * rates)
        size = said.square().mean().item()
        assert filters.free(said, worth) < 1e-16 * size
        assert worth == 1 or filters.free(said, worth - 1) > 1e-12 * size


def test_the_best_stack_cannot_be_improved_and_moving_helps():
    prompts = drawn(300, 9, 11, 3, 0.1)
    errors = []
    for layers in (1, 2, 3):
        numbers = rules.best_stack(prompts, layers)
        assert numbers.shape == (2, layers)
        said = rules.moving_stack(prompts, *numbers)
        errors.append((said - prompts.asked).square().mean().item())
        for seed in range(5):
            near = torch.randn(2, layers, generator=torch.Generator().manual_seed(seed))
            other = rules.moving_stack(prompts, *(numbers * (1 + 0.02 * near.double())))
            assert (other - prompts.asked).square().mean() >= errors[-1] * (1 - 1e-7)
    assert errors[0] == pytest.approx(Filters.of(prompts).nearest_rate(prompts.asked, 1)[1])
    assert errors == sorted(errors, reverse=True)
    still = rules.best_stack(prompts, 2, moving=False)
    said = rules.moving_stack(prompts, still[0], 0 * still[0])
    assert (said - prompts.asked).square().mean() > 1.05 * errors[1]


def test_more_starts_find_a_stack_that_one_start_misses():
    sizes = (16, 32, 8, 0.05)
    prompts = sample_prompts(300, *sizes, generator=torch.Generator().manual_seed(0))

    def error(numbers):
        said = rules.moving_stack(prompts, *numbers)
        return (said - prompts.asked).square().mean().item()

    one = error(rules.best_stack(prompts, 2))
    generator = torch.Generator().manual_seed(1)
    more = error(rules.better_stack(prompts, 2, 4, generator=generator))
    assert more < 0.9 * one
    step = rules.better_stack(prompts, 1, 2, generator=generator)
    grid = torch.linspace(0, 0.1, 1_001, dtype=torch.float64)
    none = torch.zeros(1, dtype=torch.float64)
    least = min(error(torch.stack([rate[None], none])) for rate in grid)
    assert error(step) == pytest.approx(least, rel=1e-3)
