"""What is computed over real samples, against scikit-learn, refits and Monte Carlo."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, LeaveOneOut, cross_val_predict

from iclbook.catalogue import find
from iclbook.ridge.prompt import sample_labels, sample_tasks
from studies.bridge.real_data.compute import (
    energy_of,
    left_over,
    nearest,
    plane,
    prompts,
    scores,
    standard,
    tuned_kernel_ridge,
)
from studies.bridge.real_data.samples import dictionary_of, functions_of, split_data

QUICK = find("real/prompts").quick


def test_what_is_left_agrees_with_refits():
    draw = np.random.default_rng(0)
    functions, y = draw.standard_normal((5, 20)), draw.standard_normal(20)
    left, unseen = left_over(functions, y)
    learner = LinearRegression(fit_intercept=False)
    fitted = learner.fit(functions.T, y).predict(functions.T)
    apart = cross_val_predict(learner, functions.T, y, cv=LeaveOneOut())
    assert np.isclose(left, ((y - fitted) ** 2).sum() / (y**2).sum())
    assert np.isclose(unseen, ((y - apart) ** 2).sum() / (y**2).sum())
    assert left_over(functions, functions.T @ draw.standard_normal(5))[0] < 1e-20
    twice = np.concatenate([functions, functions])  # no new function
    assert np.isclose(left_over(twice, y)[0], left)


def test_functions_with_nothing_to_say_leave_chance():
    draw = np.random.default_rng(1)
    functions = functions_of("fourier", split_data("wine", 64, 10, 0), 16, 0, QUICK)
    shares = [left_over(functions, draw.standard_normal(64))[0] for _ in range(2000)]
    error = np.std(shares) / len(shares) ** 0.5
    assert abs(np.mean(shares) - (1 - 16 / 64)) < 4 * error < 0.01


def test_tasks_have_energy_one_and_scale_does_not_matter():
    split = split_data("wine", 32, 10, 0)
    exact = dictionary_of(split, functions_of("fourier", split, 6, 0, QUICK), 12, 0.1)
    generator = torch.Generator().manual_seed(0)
    tasks = sample_tasks(4000, 6, generator=generator)
    labels = sample_labels(exact, tasks, generator=generator)[:, :12]
    root = torch.linalg.cholesky(exact.Z.T @ exact.Z + 0.6 * torch.eye(12).double())
    plain = torch.linalg.solve(root, labels.T).square().sum(dim=0).mean() / 12
    assert abs(plain - 1) < 0.05
    y = labels[0]
    assert np.isclose(energy_of(exact, y), energy_of(exact, 5 * y))
    scale = (root @ root.T).diag().mean() / y.square().mean()
    expected = scale * torch.linalg.solve(root, y[:, None]).square().sum() / 12
    assert np.isclose(energy_of(exact, y), expected.item())


def test_scores_are_of_the_tokens_not_shown():
    split = split_data("wine", 32, 10, 0)
    right = split.labels.copy()
    right[:12] = 99.0
    assert scores(right, split, 12, "wine") == {"error": 0, "wrong": 0}
    found = scores(2 * split.level - right, split, 12, "wine")
    assert found["wrong"] == 1 and np.isclose(
        found["error"], 4 * np.mean((split.labels[12:] - split.level) ** 2)
    )
    assert np.isnan(scores(right, split, 12, "diabetes")["wrong"])


@pytest.fixture(scope="module")
def found():
    return prompts(QUICK, {"data": "wine", "family": "fourier", "seed": 0})


def test_the_limit_is_scikit_learns_ridge(found):
    s, split = QUICK, split_data("wine", QUICK.K, QUICK.d, 0)
    f = functions_of("fourier", split, s.m, 0, s)
    ridge = Ridge(alpha=s.m * s.tau, fit_intercept=False).fit(f.T[: s.N], split.labels[: s.N])
    expected = np.mean((ridge.predict(f.T[s.N :]) - split.labels[s.N :]) ** 2)
    errors = found["learners"].set_index("learner")["error"]
    assert np.isclose(errors["ridge"], expected)
    # Expected error on tasks, by drawing them.
    draw = np.random.default_rng(0)
    tasks = draw.standard_normal((4000, s.m))
    noise = (s.tau**0.5) * np.linalg.norm(tasks, axis=1)[:, None]
    shown = tasks @ f[:, : s.N] + noise * draw.standard_normal((4000, s.N))
    ridge.fit(f.T[: s.N], shown.T)
    sampled = np.mean((ridge.predict(f.T[s.N :]).T - tasks @ f[:, s.N :]) ** 2)
    assert abs(found["limits"]["error"][0] / sampled - 1) < 0.05


def test_training_comes_near_and_never_below(found):
    curves, limit = found["curves"], found["limits"].iloc[0]
    assert curves["step"].tolist() == sorted(curves["step"])
    assert curves["excess"].iloc[-1] < 0.1 * curves["excess"].iloc[0]
    assert (curves["error"] >= limit["error"] * (1 - 1e-9)).all()
    assert np.isclose(curves["error"][0], limit["zero"])  # w = 0 at the start
    errors = found["learners"].set_index("learner")["error"]
    assert abs(errors["transformer"] - errors["ridge"]) < 0.1


def test_standard_learners_learn_only_where_labels_say_something(monkeypatch):
    settings = find("real/standard").quick
    rows = standard(settings, {"data": "wine", "seed": 0})["learners"].set_index("learner")
    informed = rows["error"][["network alone", "kernel ridge"]]
    assert (informed < 0.5 * rows["error"]["zero"]).all()

    def shuffled(name, K, d, seed):
        split = split_data(name, K, d, seed)
        draw = np.random.default_rng(0)
        split.labels[:] = draw.permutation(split.labels)
        split.rest_labels[:] = draw.permutation(split.rest_labels)
        return split

    monkeypatch.setattr("studies.bridge.real_data.compute.split_data", shuffled)
    rows = standard(settings, {"data": "wine", "seed": 0})["learners"].set_index("learner")
    assert (rows["error"].drop("zero") > 0.7 * rows["error"]["zero"]).all()  # nothing to learn


def test_kernel_ridge_is_tuned_as_a_grid_search_would():
    split = split_data("moons", 32, 10, 0)
    x, y, gamma = split.x[:12], split.labels[:12], 0.7
    found = tuned_kernel_ridge(x, y, gamma)
    grid = {"gamma": [0.25 * gamma, gamma, 4 * gamma, 16 * gamma]}
    grid["alpha"] = np.logspace(-3, 1, 9)
    search = GridSearchCV(
        KernelRidge(kernel="rbf"), grid, scoring="neg_mean_squared_error", cv=LeaveOneOut()
    ).fit(x, y)
    assert search.best_params_ == {"gamma": found.gamma, "alpha": found.alpha}
    np.testing.assert_allclose(search.predict(split.x), found.predict(split.x))


def test_the_nearest_guess_has_the_least_square():
    y = np.array([1.0, -1.0, 0.5])
    assert nearest([y + 1, y - 0.2, y + 0.3], y) == 1


def test_the_map_holds_every_token(found):
    settings = find("real/map").quick
    tokens = plane(settings, {"data": "xor", "family": "fourier", "seed": 0})["tokens"]
    assert len(tokens) == settings.K and isinstance(tokens, pd.DataFrame)
    sides = np.sign(tokens["x1"] * tokens["x2"]) == np.sign(tokens["label"])
    assert sides.mean() > 0.9  # up to where the rest's mean lies
    shown = tokens[: settings.N]
    np.testing.assert_allclose(shown["ridge"], shown["label"], atol=1e-9)  # copied
