"""Splits, tokens and functions of real samples against other computations of them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics.pairwise import rbf_kernel

from iclbook.errors import InputError
from studies.bridge.real_data import samples
from studies.bridge.real_data.samples import (
    dictionary_of,
    fourier,
    functions_of,
    network,
    raw_data,
    split_data,
    tokens_of,
    units,
)
from studies.bridge.real_data.settings import DATA, FAMILIES, Prompts
from studies.bridge.real_data.tables import COLUMNS

K, D = 64, 10


@pytest.mark.parametrize("name", DATA)
def test_a_split_shares_no_sample_and_takes_its_scales_from_the_rest(name):
    split = split_data(name, K, D, 3)
    inputs, labels = raw_data(name, 3)
    assert inputs.shape[1] == COLUMNS[name]
    assert len(split.members) == K and not set(split.members) & set(split.others)
    assert {*split.members, *split.others} == set(range(len(labels)))
    assert np.allclose([split.rest_labels.mean(), split.rest_labels.var()], [0, 1])
    assert np.allclose(split.rest_inputs.mean(axis=0), 0, atol=1e-12)
    assert np.isclose((split.rest_x**2).sum(axis=1).mean(), 1)
    assert split.x.shape == (K, min(D, inputs.shape[1]))
    # The label that a sign is read against is the raw label 0.
    back = labels[split.others].std() * split.labels + labels[split.others].mean()
    np.testing.assert_allclose(back, labels[split.members], atol=1e-9)
    rest = labels[split.others]
    assert np.isclose(rest.std() * split.level + rest.mean(), 0)
    if name != "diabetes":
        assert (np.sign(split.labels - split.level) == labels[split.members]).all()


def test_a_dictionary_that_shares_a_sample_with_the_rest_is_refused():
    split = split_data("wine", K, D, 0)
    with pytest.raises(InputError, match="share samples"):
        replace(split, others=np.append(split.others, split.members[0]))
    assert len(split_data("wine", 89, D, 0).others) == 89  # 178 wines, half of them
    with pytest.raises(InputError, match="fewer than 2 K"):
        split_data("wine", 100, D, 0)
    with pytest.raises(InputError, match="data must be one of"):
        split_data("iris", K, D, 0)


def test_labels_are_what_they_are_called():
    inputs, labels = raw_data("xor", 0)
    assert ((inputs[:, 0] * inputs[:, 1] > 0) == (labels > 0)).all()
    digits = samples.datasets.load_digits()
    assert (
        raw_data("digits", 0)[1] == np.where(np.isin(digits.target, range(1, 10, 2)), 1, -1)
    ).all()
    assert (raw_data("cancer", 0)[1] > 0).sum() == 357  # benign
    assert (raw_data("wine", 0)[1] > 0).sum() == 71  # the second grower
    assert raw_data("moons", 0)[1].sum() == 0


@pytest.mark.parametrize("name", DATA)
def test_no_label_of_the_dictionary_reaches_a_function(name):
    split = split_data(name, K, D, 1)
    other = replace(split, labels=-7 * split.labels[::-1])
    for family in FAMILIES:
        same = [
            functions_of(family, each, 3, 1, Prompts(network_steps=5))
            for each in (split, other)
        ]
        assert np.array_equal(*same)
    # The rest's labels do reach the learned ones, and only these.
    changed = replace(split, rest_labels=split.rest_labels[::-1])
    for family in FAMILIES:
        found = functions_of(family, changed, 3, 1, Prompts(network_steps=5))
        before = functions_of(family, split, 3, 1, Prompts(network_steps=5))
        assert np.array_equal(found, before) == (family != "network")


def test_tokens_have_norm_one_and_keep_the_sample():
    x = split_data("cancer", K, D, 0).x
    tokens = tokens_of(x).numpy()
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=0), 1)
    np.testing.assert_allclose(tokens[:-1] / tokens[-1], x.T, rtol=1e-12)


def test_many_waves_have_the_gaussian_kernel():
    split = split_data("wine", K, D, 0)
    here, _ = fourier(split, 40_000, 0, 0.7)
    near = 0.7 * np.median(squareform(pdist(split.rest_x[:400]))[np.triu_indices(114, 1)])
    kernel = rbf_kernel(split.x, gamma=1 / (2 * near**2))
    np.testing.assert_allclose(2 * here @ here.T / 40_000, kernel, atol=0.03)
    few, _ = fourier(split, 5, 0, 0.7)
    np.testing.assert_allclose(few, here[:, :5], atol=1e-12)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("family", FAMILIES)
def test_functions_share_one_factor(name, family):
    split = split_data(name, K, D, 2)
    swapped = replace(split, inputs=split.rest_inputs, x=split.rest_x, labels=split.rest_labels)
    rest = functions_of(family, swapped, 6, 2, Prompts())
    assert np.isclose((rest**2).mean(), 1)
    assert len(rest) == (min(6, COLUMNS[name]) if family == "pca" else 6)


def test_components_are_those_of_the_covariance():
    split = split_data("diabetes", K, D, 0)
    values, vectors = np.linalg.eigh(np.cov(split.rest_inputs.T))
    first = functions_of("pca", split, 3, 0, Prompts())
    expected = split.inputs @ vectors[:, ::-1][:, :3]
    factor = np.sqrt(values[::-1][:3].mean() * (1 - 1 / len(split.rest_x)))
    np.testing.assert_allclose(np.abs(first.T), np.abs(expected) / factor, rtol=1e-6, atol=1e-9)


def test_units_are_the_networks_own():
    split = split_data("moons", K, D, 0)
    learner = network(split, 5, 0, 30)
    whole = units(learner, split.x) @ learner.coefs_[1][:, 0] + learner.intercepts_[1]
    np.testing.assert_allclose(whole, learner.predict(samples.enlarged(split.x)), atol=1e-12)
    assert np.mean((whole - split.labels) ** 2) < 0.5


def test_an_unknown_family_is_refused_and_a_dictionary_has_its_parts():
    split = split_data("wine", K, D, 0)
    with pytest.raises(InputError, match="family must be"):
        functions_of("wavelets", split, 3, 0, Prompts())
    functions = functions_of("fourier", split, 3, 0, Prompts())
    found = dictionary_of(split, functions, 9, 0.2)
    assert (found.d, found.K, found.m, found.N, found.tau) == (11, 64, 3, 9, 0.2)
