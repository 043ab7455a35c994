"""Tokens, functions and labels from data that scikit-learn brings with it: a dictionary of real
samples, and functions f that were fixed before the dictionary was seen.

Every draw splits a data set in two. The dictionary's K samples are the tokens; the rest is all
that scales, principal components, bandwidths and networks are fitted on.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from torch import Tensor

from iclbook.errors import require
from iclbook.ridge.prompt import Dictionary

BUNDLED = {
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
    "cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
}
COMMON_UNIT = (
    "digits",
    "xor",
    "moons",
)  # pixels, or two coordinates: one scale for all columns
PLANE = 600  # points of the two-dimensional data


def raw_data(name: str, seed: int) -> tuple[NDArray, NDArray]:
    """(inputs, labels), (n, p) and (n,): labels are +-1, or the progression for "diabetes".

    Digits: odd or even. Cancer: benign or malignant. Wine: the second of the three growers or
    not. XOR: the sign of the product of both coordinates, uniform on a square. The
    two-dimensional data are drawn anew for each seed. Raises InputError for an unknown name.
    """
    if name == "xor":
        inputs = np.random.default_rng(seed).uniform(-1, 1, (PLANE, 2))
        return inputs, np.sign(inputs.prod(axis=1))
    if name == "moons":
        inputs, target = datasets.make_moons(PLANE, noise=0.15, random_state=seed)
        return inputs, 2.0 * target - 1
    require(name in BUNDLED, f"data must be one of {', '.join(BUNDLED)}, xor, moons")
    data = BUNDLED[name]()
    if name == "diabetes":
        return data.data, data.target
    chosen = data.target % 2 == 1 if name == "digits" else data.target == 1
    return data.data, np.where(chosen, 1.0, -1.0)


@dataclass(frozen=True)
class Split:
    """A data set cut into the dictionary's samples and the rest.

    inputs, rest_inputs: (K, p), (R, p), centred and scaled by the rest. x, rest_x: (K, d),
    (R, d), their first principal components, or themselves where p <= d, with mean square
    norm 1 on the rest. labels,
    rest_labels: (K,), (R,), mean 0 and variance 1 on the rest; level: the label that a sign
    is read against. members, others: the rows of the data set that they are.
    """

    inputs: NDArray
    rest_inputs: NDArray
    x: NDArray
    rest_x: NDArray
    labels: NDArray
    rest_labels: NDArray
    level: float
    members: NDArray
    others: NDArray

    def __post_init__(self):
        shared = np.intersect1d(self.members, self.others)
        require(len(shared) == 0, "the dictionary and the rest share samples")


def split_data(name: str, K: int, d: int, seed: int) -> Split:
    """The data set cut at random: K samples for the dictionary; PCA, scales and the mean of the
    labels come from the rest. Raises InputError where K samples leave fewer than K."""
    inputs, labels = raw_data(name, seed)  # (n, p), (n,)
    require(len(labels) >= 2 * K, f"{name} has {len(labels)} samples, fewer than 2 K = {2 * K}")
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    members, others = order[:K], order[K:]
    rest = inputs[others]
    spread = rest.std() if name in COMMON_UNIT else rest.std(axis=0)
    inputs = (inputs - rest.mean(axis=0)) / spread  # (n, p)
    x = inputs
    if inputs.shape[1] > d:
        x = PCA(d, svd_solver="full").fit(inputs[others]).transform(inputs)  # (n, d)
    x = x / np.sqrt((x[others] ** 2).sum(axis=1).mean())
    mean, scale = labels[others].mean(), labels[others].std()
    y = (labels - mean) / scale  # (n,)
    parts = [part for each in (inputs, x, y) for part in (each[members], each[others])]
    return Split(*parts, level=-mean / scale, members=members, others=others)


def tokens_of(x: NDArray) -> Tensor:
    """Tokens of norm 1, (d + 1, K): a sample x, (K, d), with a constant beside it, (x, 1),
    divided by its length. On a sphere no token lies between others."""
    raised = np.concatenate([x, np.ones((len(x), 1))], axis=1)  # (K, d + 1)
    return torch.from_numpy(raised / np.linalg.norm(raised, axis=1, keepdims=True)).T


def fourier(split: Split, m: int, seed: int, width: float) -> tuple[NDArray, NDArray]:
    """m random waves cos(w^T x + b) on the dictionary and on the rest, (K, m) and (R, m).

    w ~ N(0, I / l^2), where l is `width` times the median distance of the rest; b uniform. The
    first functions of a larger m are those of a smaller one.
    """
    draw = np.random.default_rng([seed, 2])
    near = width * np.median(pdist(split.rest_x[:400]))
    waves = draw.standard_normal((m, split.x.shape[1])) / near  # (m, d)
    phases = np.random.default_rng([seed, 3]).uniform(0, 2 * np.pi, m)  # (m,)
    return np.cos(split.x @ waves.T + phases), np.cos(split.rest_x @ waves.T + phases)


def components(split: Split, m: int) -> tuple[NDArray, NDArray]:
    """The first m principal components, at most p, on the dictionary and on the rest."""
    pca = PCA(min(m, split.inputs.shape[1]), svd_solver="full").fit(split.rest_inputs)
    return pca.transform(split.inputs), pca.transform(split.rest_inputs)


def network(split: Split, m: int, seed: int, steps: int) -> MLPRegressor:
    """A network with m hidden units that predicts the rest's labels from x; the dictionary's
    samples and labels are never read. `steps` of L-BFGS; stopped early, it may not converge."""
    learner = MLPRegressor(
        hidden_layer_sizes=(m,),
        activation="tanh",
        solver="lbfgs",
        alpha=1.0,
        max_iter=steps,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return learner.fit(enlarged(split.rest_x), split.rest_labels)


def enlarged(x: NDArray) -> NDArray:
    """x times sqrt(d), (count, d): what a network reads, about one a coordinate."""
    return x * x.shape[1] ** 0.5


def units(learner: MLPRegressor, x: NDArray) -> NDArray:
    """The hidden units of a network for samples x: (count, d), as (count, m)."""
    return np.tanh(enlarged(x) @ learner.coefs_[0] + learner.intercepts_[0])


def functions_of(family: str, split: Split, m: int, seed: int, settings) -> NDArray:
    """m functions of a family on the dictionary, (m, K), fewer where it has no more. One factor
    makes their mean square on the rest 1. Raises InputError for an unknown family."""
    if family == "fourier":
        here, rest = fourier(split, m, seed, settings.width)
    elif family == "pca":
        here, rest = components(split, m)
    else:
        require(family == "network", f"family must be fourier, pca or network, got {family!r}")
        learner = network(split, m, seed, settings.network_steps)
        here, rest = units(learner, split.x), units(learner, split.rest_x)
    return here.T / np.sqrt((rest**2).mean())  # (m, K)


def dictionary_of(split: Split, functions: NDArray, N: int, tau: float) -> Dictionary:
    """The dictionary of these samples: its prompt shows the first N."""
    return Dictionary(tokens_of(split.x), torch.from_numpy(functions), N, tau)
