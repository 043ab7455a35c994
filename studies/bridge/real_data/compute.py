"""Real samples as a dictionary: approximation, a transformer trained on tasks, own labels."""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, label_covariance, minimal_loss
from iclbook.ridge.prompt import Dictionary, dtype_named
from iclbook.ridge.ridge_regression import label_energy
from iclbook.ridge.training import make_optimizer, train
from iclbook.ridge.unseen import IN_DOMAIN, expected_error
from iclbook.training import log_steps
from studies.bridge.real_data.samples import (
    Split,
    dictionary_of,
    enlarged,
    functions_of,
    network,
    split_data,
)

PENALTIES = np.logspace(-3, 3, 25)  # relative to the mean of z^2


def left_over(functions: NDArray, y: NDArray) -> tuple[float, float]:
    """What the best combination of functions, (m, K), leaves of labels y, (K,): the share of
    sum y^2, and the same where each token is left out of the fit that predicts it.

    Least squares; a token left out has the residual r_k / (1 - h_k), h the leverages.
    """
    basis, sizes, _ = np.linalg.svd(functions.T, full_matrices=False)  # (K, r)
    basis = basis[:, sizes > 1e-10 * sizes[0]]
    residual = y - basis @ (basis.T @ y)  # (K,)
    leverage = np.minimum((basis**2).sum(axis=1), 1 - 1e-9)  # (K,)
    total = (y**2).sum()
    return (residual**2).sum() / total, ((residual / (1 - leverage)) ** 2).sum() / total


def approximation(settings, point) -> dict[str, pd.DataFrame]:
    """What the best combination of m functions of each family leaves of the own labels, over
    the whole dictionary."""
    s, rows = settings, []
    split = split_data(point["data"], s.K, s.d, point["seed"])
    for family in s.families:
        for m in s.m:
            functions = functions_of(family, split, m, point["seed"], s)
            rows.append((family, m, len(functions), *left_over(functions, split.labels)))
    columns = ["family", "m", "functions", "left", "unseen"]
    return {"labels": pd.DataFrame(rows, columns=columns)}


def scores(predicted: NDArray, split: Split, N: int, data: str) -> dict[str, float]:
    """Mean squared error and share on the wrong side, over the tokens not shown."""
    y, found = split.labels[N:], predicted[N:]
    wrong = np.mean((found > split.level) != (y > split.level))
    return {
        "error": np.mean((found - y) ** 2),
        "wrong": np.nan if data == "diabetes" else wrong,
    }


def energy_of(dictionary: Dictionary, y: torch.Tensor) -> float:
    """||Zbar^{-1} y||^2 / N of labels y, (N,), on the scale at which a task's labels have the
    same mean square. Tasks have 1 on average; what the functions do not know has more."""
    scale = label_covariance(dictionary).diag().mean() / y.square().mean()
    return (scale * label_energy(dictionary, y[None])[0] / dictionary.N).item()


def trained_table(settings, exact: Dictionary, seed: int, look) -> torch.Tensor:
    """Train the one-layer model on the population loss and return its table, (N, K), float64;
    `look(step, table)` is called along the way."""
    s, dictionary = settings, exact.to(dtype_named(settings.dtype))
    generator = torch.Generator().manual_seed(seed)
    model = MultiHeadAttention(dictionary, s.H, generator=generator, beta=s.beta)
    loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    for step, table in train(model, loss, optimizer, s.steps, at=log_steps(s.steps, 2)):
        table = table.double()  # (N, K)
        look(step, table)
    return table


def prompts(settings, point) -> dict[str, pd.DataFrame]:
    """Train on tasks lambda^T f over one dictionary; measure tasks exactly, and the own labels
    beside ridge with the limit's penalty and with one chosen by leaving labels out."""
    s, data, seed = settings, point["data"], point["seed"]
    split = split_data(data, s.K, s.d, seed)
    functions = functions_of(point["family"], split, s.m, seed, s)  # (m, K)
    exact = dictionary_of(split, functions, s.N, s.tau)
    population, curves = PopulationLoss.of(exact), []

    def look(step: int, table: torch.Tensor) -> None:
        error = expected_error(table, exact, IN_DOMAIN)  # (K,)
        shown, unseen = error[: s.N].mean().item(), error[s.N :].mean().item()
        curves.append((step, population(table)[0].item(), shown, unseen))

    table = trained_table(s, exact, seed, look)
    y = torch.from_numpy(split.labels[: s.N])  # (N,)
    tuned = RidgeCV(PENALTIES * (functions**2).mean(), fit_intercept=False)
    tuned.fit(functions.T[: s.N], y.numpy())
    found = {
        "transformer": (y @ table).numpy(),
        "ridge": (y @ population.target).numpy(),
        "ridge, tuned": tuned.predict(functions.T),
        "zero": np.zeros(s.K),
    }
    limit = expected_error(population.target, exact, IN_DOMAIN)[s.N :].mean().item()
    limits = {
        "functions": len(functions),
        "loss": minimal_loss(exact).item(),
        "error": limit,
        "zero": exact.features[:, s.N :].square().sum(dim=0).mean().item(),
        "energy": energy_of(exact, y),
    }
    rows = [{"learner": name} | scores(x, split, s.N, data) for name, x in found.items()]
    return {
        "limits": pd.DataFrame([limits]),
        "curves": pd.DataFrame(curves, columns=["step", "excess", "shown", "error"]),
        "learners": pd.DataFrame(rows),
    }


def standard(settings, point) -> dict[str, pd.DataFrame]:
    """Kernel ridge, nearest neighbours and gradient boosting on the prompt's N labels, each
    tuned on them; and a network that saw the rest's labels and no prompt."""
    s, data, seed = settings, point["data"], point["seed"]
    split = split_data(data, s.K, s.d, seed)
    x, y = split.x[: s.N], split.labels[: s.N]  # (N, d), (N,)
    near = s.width * np.median(pdist(split.rest_x[:400]))
    neighbours = [KNeighborsRegressor(k).fit(x, y) for k in (1, 2, 3, 5, 8)]
    folds = KFold(s.folds, shuffle=True, random_state=seed)
    boosters = [
        GradientBoostingRegressor(
            n_estimators=s.trees, learning_rate=0.2, max_depth=depth, random_state=seed
        )
        for depth in (1, 3)
    ]
    # What each setting says of labels that it was not fitted to.
    alone = [
        learner.predict(None) for learner in neighbours
    ]  # a token is not its own neighbour
    apart = [cross_val_predict(learner, x, y, cv=folds) for learner in boosters]
    found = {
        "network alone": network(split, s.m, seed, s.network_steps).predict(enlarged(split.x)),
        "kernel ridge": tuned_kernel_ridge(x, y, 1 / (2 * near**2)).predict(split.x),
        "neighbours": neighbours[nearest(alone, y)].predict(split.x),
        "boosting": boosters[nearest(apart, y)].fit(x, y).predict(split.x),
        "zero": np.zeros(s.K),
    }
    rows = [{"learner": name} | scores(x, split, s.N, data) for name, x in found.items()]
    return {"learners": pd.DataFrame(rows)}


def nearest(guesses: list[NDArray], y: NDArray) -> int:
    """Which of the guesses, (N,) each, has the least mean squared error on y, (N,)."""
    return int(np.argmin([np.mean((guess - y) ** 2) for guess in guesses]))


def tuned_kernel_ridge(x: NDArray, y: NDArray, gamma: float) -> KernelRidge:
    """Kernel ridge regression fitted to (x, y), (N, d) and (N,), with the penalty and the width
    (gamma times 1/4 to 16) that err least on labels left out.

    With G = (k(x, x) + penalty I)^{-1} the error on a label left out is (G y)_i / G_ii.
    """
    best, least = None, np.inf
    for factor in (0.25, 1.0, 4.0, 16.0):
        kernel = rbf_kernel(x, gamma=factor * gamma)  # (N, N)
        for penalty in np.logspace(-3, 1, 9):
            G = np.linalg.inv(kernel + penalty * np.eye(len(y)))  # (N, N)
            error = np.mean((G @ y / np.diag(G)) ** 2)
            if error < least:
                best, least = (factor * gamma, penalty), error
    return KernelRidge(kernel="rbf", gamma=best[0], alpha=best[1]).fit(x, y)


def plane(settings, point) -> dict[str, pd.DataFrame]:
    """Every token of a two-dimensional dictionary with its own label and two predictions."""
    s, seed = settings, point["seed"]
    split = split_data(point["data"], s.K, s.d, seed)
    functions = functions_of(point["family"], split, s.m, seed, s)
    exact = dictionary_of(split, functions, s.N, s.tau)
    y = torch.from_numpy(split.labels[: s.N])  # (N,)
    table = trained_table(s, exact, seed, lambda step, table: None)
    columns = {
        "token": np.arange(s.K),
        "x1": split.x[:, 0],
        "x2": split.x[:, 1],
        "label": split.labels,
        "transformer": (y @ table).numpy(),
        "ridge": (y @ PopulationLoss.of(exact).target).numpy(),
    }
    return {"tokens": pd.DataFrame(columns)}
