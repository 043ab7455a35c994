"""The numbers behind the figures that a reader moves, against other ways to compute them."""

import json
import re
import sys
import xml.etree.ElementTree as ET

import nbformat
import numpy as np
import pandas as pd
import pytest
from book import BOOK
from sklearn.linear_model import Ridge

sys.path.append(str(BOOK / "_ext"))
import hand
import hand_figures
import hand_stills

ASSETS = BOOK / "assets"
SCRIPTS = [ASSETS / "hand.js", *sorted((ASSETS / "hand").glob("*.js"))]
PAGES = [BOOK / "chapters" / "preface.md", *sorted((BOOK / "chapters").rglob("*.ipynb"))]
LIMIT = 400_000  # bytes of a page's figures


def arrays(name, *keys):
    return [np.array(hand.numbers(name)[key], dtype=float) for key in keys]


def directives():
    """(page, figure) of every directive in the book."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".ipynb":
            cells = nbformat.reads(text, as_version=4).cells
            text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        found += [(page, name) for name in re.findall(r"^```\{hand\} (\w+)$", text, re.M)]
    return found


def test_every_figure_stands_on_one_page_and_has_its_script():
    assert sorted(name for _, name in directives()) == sorted(hand_figures.FIGURES)
    assert sorted(path.stem for path in SCRIPTS[1:]) == sorted(hand_figures.FIGURES)


def test_the_figures_of_a_page_are_light():
    weights = {}
    for page, name in directives():
        weights[page] = weights.get(page, 0) + len(hand.markup(name, "x"))
        weights[page] += (ASSETS / "hand" / f"{name}.js").stat().st_size
    assert max(weights.values()) < LIMIT


def test_the_scripts_ask_no_server():
    asks = r"https?:(?!//www\.w3\.org/2000/svg)|fetch|XMLHttpRequest|WebSocket|sendBeacon"
    for script in SCRIPTS:
        assert re.findall(asks, script.read_text(encoding="utf-8")) == [], script.name


@pytest.mark.parametrize("name", hand_figures.FIGURES)
def test_numbers_are_json_and_say_where_they_come_from(name):
    numbers = json.loads(hand.as_json(name))
    assert numbers["provenance"].startswith(("loaded: ", "computed by iclbook"))
    assert "<" not in hand.as_json(name)


@pytest.mark.parametrize("name", hand_figures.FIGURES)
def test_a_still_is_the_same_picture_each_time(name):
    first = hand_stills.picture(name, hand.numbers(name))
    assert first == hand_stills.picture(name, hand.numbers(name))
    assert ET.fromstring(first).tag.endswith("svg")


def ridge_table(shown, K, m, tau):
    """The best table, (N, K), from scikit-learn: unit labels in, predictions out; shown labels
    are copied."""
    x = (np.arange(K) + 0.5) / K
    Z = np.stack([np.ones(K), *(2**0.5 * np.cos(np.pi * j * x) for j in range(1, m))])
    fit = Ridge(alpha=m * tau, fit_intercept=False, solver="svd")
    table = fit.fit(Z[:, shown].T, np.eye(len(shown))).predict(Z.T).T
    table[:, shown] = np.eye(len(shown))
    return table, Z


def test_the_opener_does_ridge_regression():
    data = hand.numbers("opener")
    attention, w, best, labels, truth = arrays(
        "opener", "attention", "w", "best", "labels", "truth"
    )
    exact, Z = ridge_table(data["shown"], w.shape[1], data["m"], data["tau"])
    np.testing.assert_allclose(best, exact, atol=1e-4)
    np.testing.assert_allclose(attention.sum(1), 1, atol=1e-3)  # softmax, rounded
    table = np.einsum("hk,hnk->nk", w, attention)
    assert np.abs(table - best).max() < 0.2 < np.abs(best).max()
    assert (w > 0).any() and (w < 0).any()
    # The truth is a curve of the basis; labels differ from it by noise of variance tau m.
    residual = truth.T - Z.T @ np.linalg.lstsq(Z.T, truth.T, rcond=None)[0]
    assert np.abs(residual).max() < 1e-2
    noise = labels - truth[:, data["shown"]]
    assert 0.3 < noise.std() / (data["m"] * data["tau"]) ** 0.5 < 2


def test_the_excess_loss_is_that_of_the_tables():
    data, opener = hand.numbers("converge"), hand.numbers("opener")
    parts, losses, best = arrays("converge", "parts", "losses", "best")
    shown, K = data["shown"], best.shape[1]
    exact, Z = ridge_table(shown, K, opener["m"], opener["tau"])
    noise = opener["m"] * opener["tau"]
    covariance = Z[:, shown].T @ Z[:, shown] + noise * np.eye(len(shown))
    error = parts[:, 0] - parts[:, 1] - exact
    excess = np.einsum("tnk,nl,tlk->t", error, covariance, error) / (2 * K)
    np.testing.assert_allclose(losses, excess, rtol=0.05)
    assert losses[-1] < 1e-3 * losses[0] and (parts >= 0).all()
    assert data["steps"][0] == 0 and losses[-1] == pytest.approx(opener["excess"], rel=1e-3)


def test_the_penalties_have_an_order_and_standard_tasks():
    features, tasks, noise = arrays("penalties", "features", "tasks", "noise")
    data, (m, K) = hand.numbers("penalties"), features.shape
    assert sorted(data["order"]) == list(range(K)) and data["longest"] < K
    np.testing.assert_allclose(features @ features.T / K, np.eye(m), atol=1e-3)
    assert tasks.shape[1] == m and noise.shape == (len(tasks), data["longest"])
    assert abs(noise.mean()) < 4 / noise.size**0.5 and 0.8 < noise.std() < 1.2


def test_the_rates_are_the_stored_runs():
    stored = pd.read_csv(BOOK / "results/yang2024/fig4-map/full.curves.csv")
    stored = stored[stored["dtype"] == "float32"]
    cells = hand.numbers("rates")["cells"]
    assert len(cells) == stored.groupby(["optimizer", "loss", "H", "rate"]).ngroups
    assert sum(len(cell["steps"]) for cell in cells) == len(stored)
    kinds = {"Adam": ("adam", "population"), "Adam, batches": ("adam", "batch")}
    for cell in cells:
        kind = (*kinds.get(cell["panel"], ("gd", "population")), cell["H"], cell["rate"])
        same = (stored[["optimizer", "loss", "H", "rate"]] == list(kind)).all(axis=1)
        run = stored[same].sort_values("step")
        assert run["step"].tolist() == cell["steps"]
        losses = np.array([np.inf if x is None else x for x in cell["losses"]])
        np.testing.assert_allclose(losses, run["excess_loss"].fillna(np.inf), rtol=1e-2)
        floored = np.maximum(losses, 1e-5)
        climbs = (floored / np.minimum.accumulate(np.minimum(floored, 1e300))).max() >= 10
        assert climbs == cell["unstable"], cell


def test_the_dual_features_estimate_the_softmax_kernel():
    """Against the exact kernel of the same draws: the features are right on average only."""
    import torch

    phi, query, values = arrays("dual", "phi", "query", "values")
    generator = torch.Generator().manual_seed(3)
    keys = 0.6 * torch.randn(11, 4, generator=generator, dtype=torch.float64).numpy()
    asked = 0.6 * torch.randn(1, 4, generator=generator, dtype=torch.float64).numpy()
    drawn = torch.randn(11, 2, generator=generator, dtype=torch.float64).numpy()
    np.testing.assert_allclose(values, drawn, atol=1e-4)
    assert (phi > 0).all() and (query > 0).all()
    exact, estimate = np.exp(keys @ asked[0]), phi @ query
    spread = np.sqrt(np.expm1(np.square(keys + asked).sum(1)) / phi.shape[1])
    assert (np.abs(estimate / exact - 1) < 5 * spread).all()


def test_the_features_have_unit_scale_and_gaussian_directions():
    queries, keys, w = arrays("features", "queries", "keys", "directions")
    sums = np.square(queries[:, None] + keys[None]).sum(-1)
    assert sums.mean() == pytest.approx(1, abs=1e-3)
    assert abs(w.mean()) < 5 / w.size**0.5 and abs(w.var() - 1) < 5 * (2 / w.size) ** 0.5


def test_the_scores_are_those_of_a_random_layer():
    """By hand from the layer's weights, drawn anew."""
    import torch

    generator = torch.Generator().manual_seed(4)
    W = [torch.randn(1, 11, 11, generator=generator, dtype=torch.float64) for _ in range(3)]
    x = 2 * torch.rand(1, 16, 10, generator=generator, dtype=torch.float64) - 1
    w = torch.randn(1, 10, 1, generator=generator, dtype=torch.float64)
    y = x @ w
    y[:, -1] = 0
    tokens = torch.cat([x, y], dim=-1)[0].numpy()
    W_Q, W_K = (part[0].numpy() / 11**0.5 for part in W[:2])
    scores = (W_Q @ tokens[-1]) @ (W_K @ tokens.T) / 11**0.5
    np.testing.assert_allclose(arrays("signed", "scores")[0], scores, atol=1e-4)
