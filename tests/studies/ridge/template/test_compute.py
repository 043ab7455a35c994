"""The experiments of *Which template does it choose?* measure what their columns say."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from iclbook.catalogue import find
from iclbook.ridge.prompt import sample_dictionary, sample_labels, sample_tasks
from studies.ridge.template.compute import fig3, fig3_penalties, fig3_trained, lemma4

FIG3, LEMMA4, TRAINED = "yang2024/fig3", "yang2024/lemma4", "yang2024/fig3-trained"


def test_the_experiments_measure_what_their_columns_say():
    small = find(FIG3).settings("quick", N_first=18, N_last=22)
    tables = fig3(small, {"tau": 0.01, "seed": 4})
    copied = tables["gaps"].query("reading == 'copied'").set_index("N")["gap"]
    assert copied[20] < 1e-20 < copied.drop(20).min()
    behaviour = tables["behaviours"].set_index(["N", "predictor"])
    for N in (18, 22):
        model, best = behaviour.loc[(N, "transformer")], behaviour.loc[(N, "best")]
        assert model["error"] < best["error"]
        assert (model["norm"] < best["norm"]) == (N < 20)
    assert (tables["prompts"]["smallest_singular_value"] > 0).all()

    settings = find(TRAINED).quick
    trained = fig3_trained(settings, {"N": 6, "seed": 0})
    first, last = (trained["curves"].iloc[row] for row in (0, -1))
    limits = trained["limits"].iloc[0]
    assert last["step"] == settings.steps and last["excess_loss"] < 0.01 * first["excess_loss"]
    assert abs(last["gap"] - limits["gap"]) < 0.1 * first["gap"]
    assert limits["error"] < limits["best_error"]

    chosen = fig3_penalties(find("yang2024/fig3-penalties").quick, {"N": 10, "seed": 0})
    errors = chosen["errors"].set_index("rule")
    assert errors["error"].idxmin() == "oracle"
    assert errors.loc["transformer", "low"] == pytest.approx(20 * 0.01)
    assert errors.loc["best", "high"] == pytest.approx(10 * 0.01)
    assert 0.5 < chosen["tasks"]["transformer_errs_less"].item() <= 1


def test_lemma_4_is_least_squares_and_ratios_are_turned_to_at_least_one():
    settings = find(LEMMA4).settings("quick", instances=60, largest=3)
    tables = lemma4(settings, {"seed": 5})
    templates, ratios = tables["templates"], tables["ratios"]
    assert templates["instance"].tolist() == list(range(60))
    assert templates["difference"].max() < 1e-10
    assert 0 < len(ratios) < 60, "instances with N = m have no direction"
    assert (ratios[["norm", "residual"]] >= 1 - 1e-12).all(axis=None)
    assert (ratios["norm"] > 1).all()


def test_gaps_are_those_of_ridge_regressions_fitted_to_sampled_tasks():
    """scikit-learn's ridge, on labels that are drawn, against the exact expectations."""
    small = find(FIG3).settings("quick", N_first=18, N_last=18)
    found = fig3(small, {"tau": 0.3, "seed": 4})["gaps"].set_index("reading")["gap"]
    generator = torch.Generator().manual_seed(4)
    sizes = small.N_last, small.K, small.d, small.m
    dictionary = sample_dictionary(*sizes, 0.3, generator=generator)
    tasks = sample_tasks(4_000, small.m, generator=generator)
    labels = sample_labels(dictionary, tasks, generator=generator)[:, :18].numpy()
    Z, features = dictionary.features[:, :18].numpy(), dictionary.features.numpy()

    def template(penalty):
        ridge = Ridge(alpha=penalty, fit_intercept=False).fit(Z.T, labels.T)
        return ridge.coef_ @ features  # (4,000, K)

    difference = template(small.m * 0.3) - template(18 * 0.3)
    assert found["fitted"] == pytest.approx((difference**2).mean(), rel=0.05)
    unseen = (difference[:, 18:] ** 2).sum() / difference.size  # shown labels are copied
    assert found["copied"] == pytest.approx(unseen, rel=0.05)


def test_cross_validation_leaves_one_shown_label_out():
    """Every residual of a left-out label in closed form, r_i / (1 - h_ii)."""
    s = find("yang2024/fig3-penalties").settings("quick", test_tasks=40)
    found = fig3_penalties(s, {"N": 10, "seed": 2})["errors"].set_index("rule")
    generator = torch.Generator().manual_seed(2)
    dictionary = sample_dictionary(10, s.K, s.d, s.m, s.tau, generator=generator)
    tasks = sample_tasks(40, s.m, generator=generator)
    y = sample_labels(dictionary, tasks, generator=generator)[:, :10].numpy()
    X, penalties = dictionary.Z.T.numpy(), np.logspace(*s.log10_penalties, s.grid)
    squares, fits = [], []
    for penalty in penalties:
        inverse = np.linalg.inv(X.T @ X + penalty * np.eye(s.m)) @ X.T  # (m, N)
        hat = X @ inverse  # (N, N)
        squares.append((((y - y @ hat) / (1 - np.diag(hat))) ** 2).sum(1))
        fits.append(y @ inverse.T)  # (tasks, m)
    best = np.argmin(squares, axis=0)  # (tasks,)
    chosen = np.array(fits)[best, np.arange(40)]
    unseen = dictionary.features[:, 10:].numpy()
    error = (((chosen - tasks.numpy()) @ unseen) ** 2).mean()
    assert found.loc["cross-validated", "error"] == pytest.approx(error, rel=1e-6)
    assert found.loc["cross-validated", "median"] == pytest.approx(np.median(penalties[best]))
