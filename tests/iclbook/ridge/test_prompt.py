"""Dictionaries, tasks, labels: bad input is refused, moments match Monte Carlo, token readings
agree."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ridge_draws import dictionary, generator

from iclbook.errors import InputError
from iclbook.ridge.population_loss import label_covariance
from iclbook.ridge.prompt import (
    TOKENS,
    Dictionary,
    dtype_named,
    sample_labels,
    sample_tasks,
)
from studies.ridge.prompt.compute import other_prompts


def z_scores(samples, expected):
    """(mean of the samples - expected) in standard errors, samples along the first axis."""
    return (samples.mean(dim=0) - expected) / (samples.std(dim=0) / math.sqrt(len(samples)))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"N": 10}, "N=10 exceeds the dictionary size K=9"),
        ({"N": 0}, "N must be"),
        ({"K": 0}, "K must be"),
        ({"d": 0}, "d must be"),
        ({"m": -1}, "m must be"),
        ({"N": 2.0}, "N must be"),
        ({"tau": -0.1}, "tau must be"),
        ({"tau": math.nan}, "tau must be"),
        ({"tau": math.inf}, "tau must be"),
        ({"tokens": "normal"}, "tokens must be one of unit, gaussian"),
    ],
)
def test_sampling_refuses_bad_settings_in_one_line(change, message):
    with pytest.raises(InputError, match=message) as error:
        dictionary(**change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "tokens, features", [((5, 9), (3, 8)), ((5,), (3, 9)), ((5, 9), (3, 9, 1))]
)
def test_a_dictionary_refuses_shapes_that_do_not_match(tokens, features):
    with pytest.raises(InputError, match="must have shape"):
        Dictionary(torch.zeros(tokens), torch.zeros(features), N=4, tau=0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["tokens", "features"])
def test_a_dictionary_refuses_entries_that_are_not_finite(name, bad):
    good = {"tokens": torch.ones(5, 9), "features": torch.ones(3, 9)}
    good[name][1, 2] = bad
    with pytest.raises(InputError, match=f"{name} holds NaN or infinity"):
        Dictionary(**good, N=4, tau=0.1)


@pytest.mark.parametrize(
    "tasks", [torch.ones(7, 4), torch.ones(3), torch.full((7, 3), math.nan)]
)
def test_labels_refuse_a_task_matrix_of_the_wrong_shape_or_with_nan(tasks):
    with pytest.raises(InputError, match="tasks"):
        sample_labels(dictionary(), tasks, generator=generator())


def test_task_sampling_and_dtype_names_refuse_bad_input():
    with pytest.raises(InputError, match="count"):
        sample_tasks(0, 3, generator=generator())
    with pytest.raises(InputError, match="std"):
        sample_tasks(5, 3, generator=generator(), std=-1.0)
    with pytest.raises(InputError, match="float16"):
        dtype_named("float16")
    assert dtype_named("float32") is torch.float32


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 6),
    st.integers(0, 6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 999),
)
def test_shapes_follow_the_sizes(N, extra, d, m, seed):
    D = dictionary(N=N, K=N + extra, d=d, m=m, seed=seed)
    assert (D.d, D.K, D.m) == (d, N + extra, m)
    assert D.V.shape == (d, N) and D.Z.shape == (m, N)
    assert torch.equal(D.V, D.tokens[:, :N]) and torch.equal(D.Z, D.features[:, :N])


def test_unit_tokens_have_norm_one_and_share_directions_and_features_with_gaussian_ones():
    unit, gaussian = (dictionary(K=400, d=100, tokens=name) for name in TOKENS)
    ones = torch.ones(400, dtype=torch.float64)
    torch.testing.assert_close(unit.tokens.norm(dim=0), ones, rtol=1e-14, atol=0)
    scaled = unit.tokens * gaussian.tokens.norm(dim=0)
    torch.testing.assert_close(scaled, gaussian.tokens, rtol=1e-13, atol=1e-14)
    assert torch.equal(unit.features, gaussian.features)
    assert abs(gaussian.tokens.square().sum(dim=0).mean().item() - 100) < 5 * math.sqrt(
        2 * 100 / 400
    )


def test_one_seed_is_one_dictionary_and_float32_is_its_rounding():
    first, again, other = dictionary(), dictionary(), dictionary(seed=1)
    assert torch.equal(first.tokens, again.tokens) and torch.equal(
        first.features, again.features
    )
    assert not torch.equal(first.features, other.features)
    single = dictionary(dtype=torch.float32)
    assert torch.equal(single.tokens, first.tokens.float())
    assert torch.equal(single.features, first.features.float())


def test_features_are_standard_gaussian():
    Z = dictionary(N=1, K=20_000, m=3).features.T  # (K, m)
    assert z_scores(Z, 0).abs().max() < 5
    assert z_scores(Z.square(), 1).abs().max() < 5
    assert abs(z_scores(Z[:, 0] * Z[:, 1], 0)) < 5
    assert z_scores(Z.pow(4), 3).abs().max() < 5


@pytest.mark.parametrize("mean, std", [(0.0, 1.0), (1.0, 2.0)])
def test_task_moments_in_and_out_of_domain(mean, std):
    tasks = sample_tasks(50_000, 3, generator=generator(), mean=mean, std=std)
    assert z_scores(tasks, mean).abs().max() < 5
    assert z_scores((tasks - mean).square(), std**2).abs().max() < 5
    assert abs(z_scores((tasks[:, 0] - mean) * (tasks[:, 1] - mean), 0)) < 5


def test_label_noise_has_variance_tau_times_the_squared_task():
    D = dictionary()
    task = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    labels = sample_labels(D, task.expand(50_000, 3), generator=generator(3))
    noise = labels - task @ D.features  # (count, K)
    variance = D.tau * task.square().sum()
    assert z_scores(noise, 0).abs().max() < 5
    assert z_scores(noise.square(), variance).abs().max() < 5
    assert z_scores(noise.pow(4), 3 * variance**2).abs().max() < 5
    assert abs(z_scores(noise[:, 0] * noise[:, 5], 0)) < 5


def test_one_number_a_label_is_the_noise_inside_the_representation():
    """The short cut against eq. (1) word for word: draw eps_k in R^m for every token."""
    D, count = dictionary(), 50_000
    tasks = sample_tasks(count, D.m, generator=generator(4))
    eps = D.tau**0.5 * torch.randn(count, D.m, D.K, generator=generator(5), dtype=torch.float64)
    literal = torch.einsum("cm,cmk->ck", tasks, D.features + eps)
    short = sample_labels(D, tasks, generator=generator(6))
    for power in (2, 4):
        a, b = literal.pow(power), short.pow(power)
        error = ((a.var(dim=0) + b.var(dim=0)) / count).sqrt()
        assert ((a.mean(dim=0) - b.mean(dim=0)) / error).abs().max() < 5


def test_label_covariance_matches_samples():
    D = dictionary()
    y = sample_labels(
        D, sample_tasks(100_000, D.m, generator=generator(7)), generator=generator(8)
    )[:, : D.N]
    products = y[:, :, None] * y[:, None, :]  # (count, N, N)
    assert z_scores(products, label_covariance(D)).abs().max() < 5


def test_without_noise_labels_are_linear_in_the_task():
    D = dictionary(tau=0.0)
    tasks = sample_tasks(5, D.m, generator=generator())
    assert torch.equal(sample_labels(D, tasks, generator=generator()), tasks @ D.features)


def test_reordering_moves_tokens_and_features_together():
    D, order = dictionary(), torch.tensor([8, 1, 2, 3, 4, 5, 6, 7, 0])
    other = D.reordered(order)
    assert torch.equal(other.V[:, 0], D.tokens[:, 8]) and torch.equal(
        other.Z[:, 0], D.features[:, 8]
    )
    assert (other.N, other.tau) == (D.N, D.tau)


@pytest.mark.parametrize("N, K, most", [(4, 9, 4), (6, 9, 3), (3, 3, 0)])
def test_other_prompts_replace_exactly_as_many_tokens_as_they_say(N, K, most):
    seen = set()
    for prompt, replaced, _, order in other_prompts(N, K, 5, generator()):
        assert sorted(order.tolist()) == list(range(K))
        kept = set(order[:N].tolist()) & set(range(N))
        assert len(kept) == N - replaced
        seen.add((prompt, replaced))
    assert seen == {("own", 0), ("permuted", 0)} | {("replaced", r) for r in range(1, most + 1)}
