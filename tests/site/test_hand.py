"""What the figures that a reader moves compute in the browser, against Python. Skipped where
there is no browser."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from book import BOOK
from scipy.stats import kstest
from sklearn.linear_model import Ridge

from iclbook.dual.kernel import attention_variance, kernel_weights, softmax_kernel
from iclbook.dual.modified import signed_weights
from iclbook.dual.one_step import DualModel, expected_over_orders
from iclbook.ridge.prompt import Dictionary
from iclbook.ridge.template import ridge_behaviour

sys.path.append(str(BOOK / "_ext"))
import hand

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
SCRIPTS = [BOOK / "assets" / "hand.js", *sorted((BOOK / "assets" / "hand").glob("*.js"))]
CLOSE = dict(rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def script():
    """script(name, code, **values): what the code returns, given the figure's `data`."""
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        for path in SCRIPTS:
            page.add_script_tag(path=path)

        def run(name, code, **values):
            values["data"] = json.loads(hand.as_json(name))
            body = f"(values) => {{ with (values) {{ return {code} }} }}"
            return np.array(page.evaluate(f"({body})", values), dtype=float)

        def say(name, **state):
            """What a figure says in a state, changed from the one it opens in."""
            code = "([data, more]) => ((f) => f.say({ ...f.state, ...more }))"
            values = [json.loads(hand.as_json(name)), state]
            return page.evaluate(f"{code}(hand.figures.{name}(data))", values)

        run.say = say
        yield run
        browser.close()


def arrays(name, *keys):
    return [np.array(hand.numbers(name)[key], dtype=float) for key in keys]


@pytest.mark.parametrize(("N", "tau"), [(2, 1e-3), (8, 0.1), (23, 1.0), (40, 0.02)])
def test_ridge_regression(script, N, tau):
    data, (features, tasks, noise) = (
        hand.numbers("penalties"),
        arrays("penalties", "features", "tasks", "noise"),
    )
    m, order, task = len(features), data["order"], 3
    Z = features[:, order[:N]]
    y = tasks[task] @ Z + tau**0.5 * np.linalg.norm(tasks[task]) * noise[task, :N]
    whole = Dictionary(torch.zeros(1, len(order)), torch.tensor(features[:, order]), N, tau)
    for penalty in (m * tau, N * tau):
        code = "hand.penalties.fit(data, hand.penalties.prompt(data, task, N, tau), penalty)"
        found = script("penalties", code, task=task, N=N, tau=tau, penalty=penalty)
        ridge = Ridge(alpha=penalty, fit_intercept=False, solver="svd").fit(Z.T, y)
        np.testing.assert_allclose(found, ridge.predict(features.T), rtol=1e-7, atol=1e-9)
        error = script(
            "penalties",
            "hand.penalties.error(data, N, tau, penalty)",
            N=N,
            tau=tau,
            penalty=penalty,
        )
        np.testing.assert_allclose(error, ridge_behaviour(whole, penalty).error, rtol=1e-7)


def test_the_table_and_its_predictions(script):
    attention, w, labels = arrays("opener", "attention", "w", "labels")
    table = np.einsum("hk,hnk->nk", w, attention)
    np.testing.assert_allclose(script("opener", "hand.opener.table(data)"), table, **CLOSE)
    code = "hand.opener.predict(hand.opener.table(data), data.labels[2])"
    np.testing.assert_allclose(script("opener", code), labels[2] @ table, **CLOSE)
    parts = arrays("converge", "parts")[0]
    found = script("converge", "data.parts.map(hand.converge.table)")
    np.testing.assert_allclose(found, parts[:, 0] - parts[:, 1], **CLOSE)


@pytest.mark.parametrize("order", [list(range(10)), [9, 3, 5, 0, 1, 8, 7, 2, 6, 4]])
@pytest.mark.parametrize("t", [0, 1, 6, 10])
def test_the_dual_model(script, order, t):
    phi, query, values = map(torch.tensor, arrays("dual", "phi", "query", "values"))
    model = DualModel.start(phi[-1:], values[-1:], (phi @ query).sum())
    if t:
        model = model.step(phi[order[:t]], values[order[:t]])
    code = "hand.dual.trained(hand.dual.dual(data), order, t)"
    W = script("dual", code, order=order, t=t)
    np.testing.assert_allclose(W, model.W, **CLOSE)
    found = script("dual", f"hand.dual.output({code}, data.query)", order=order, t=t)
    np.testing.assert_allclose(found, model(query[None])[0], **CLOSE)


def test_the_mean_over_orders(script):
    phi, query, values = map(torch.tensor, arrays("dual", "phi", "query", "values"))
    weights = kernel_weights(query[None] @ phi.T)[0]
    mean = expected_over_orders((weights[:, None] * values)[:-1])
    parts = "hand.dual.dual(data).steps.map((W) => hand.dual.output(W, data.query))"
    np.testing.assert_allclose(script("dual", f"hand.dual.expected({parts})"), mean, **CLOSE)


@pytest.mark.parametrize("by", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("count", [4, 256])
def test_random_features(script, by, count):
    queries, keys, w = map(torch.tensor, arrays("features", "queries", "keys", "directions"))
    q, k, w = by * queries, by * keys, w[:count]
    phi_q, phi_k = ((x @ w.T - x.square().sum(1, keepdim=True) / 2).exp() for x in (q, k))
    values = dict(q=q.tolist(), k=k.tolist(), w=w.tolist())
    code = "hand.features.estimated(q, k, w)"
    found = script("features", code, **values)
    np.testing.assert_allclose(found, kernel_weights(phi_q @ phi_k.T), **CLOSE)
    exact = kernel_weights(softmax_kernel(q, k))
    found = script("features", "hand.features.exact(q, k)", **values)
    np.testing.assert_allclose(found, exact, **CLOSE)
    first_order = attention_variance(q, k, torch.eye(len(k), dtype=q.dtype), 1)
    found = script("features", "hand.features.variance(q, k)", **values)
    np.testing.assert_allclose(found, first_order, rtol=1e-8)


@pytest.mark.parametrize(
    ("alpha", "beta", "r"), [(0, 0, 1), (0.3, 0.5, 5), (1.5, 1.0, 15), (1, 1.5, 3)]
)
def test_signed_weights(script, alpha, beta, r):
    scores = 3 * arrays("signed", "scores")[0]
    code = "hand.signed.signed(scores, alpha, beta, r).changed"
    found = script("signed", code, scores=scores.tolist(), alpha=alpha, beta=beta, r=r)
    wanted = signed_weights(torch.tensor(scores)[None], alpha=alpha, beta=beta, r=r)[0]
    np.testing.assert_allclose(found, wanted, **CLOSE)


def test_drawn_directions_are_standard_normal_and_new(script):
    code = (
        "((random) => [1, 2].map(() => hand.features.drawn(1024, 6, random)))(hand.randoms(3))"
    )
    first, second = script("features", code)
    for draw in (first, second):
        assert kstest(draw.ravel(), "norm").pvalue > 1e-3
        off = np.corrcoef(draw.T) - np.eye(6)
        assert np.abs(off).max() < 5 / len(draw) ** 0.5
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / first.size**0.5
    # Not the same directions in another frame: their lengths are others.
    lengths = [np.sort(np.linalg.norm(draw, axis=1)) for draw in (first, second)]
    assert np.abs(lengths[0] - lengths[1]).max() > 1e-3


def test_the_opener_names_what_the_model_is_held_against(script):
    """A shown label is copied; ridge regression itself would give another number there."""
    data, (attention, w, labels, best) = (
        hand.numbers("opener"),
        arrays("opener", "attention", "w", "labels", "best"),
    )
    for task in range(len(labels)):
        predicted = labels[task] @ np.einsum("hk,hnk->nk", w, attention)
        for k in range(w.shape[1]):
            words = script.say("opener", task=task, before=task, k=k).replace("−", "-")
            here = words.split(". The truth")[0]
            said = float(re.search(r"the model predicts (-?[\d.]+)", here)[1])
            assert said == pytest.approx(predicted[k], rel=0.06, abs=0.005)
            assert ("ridge regression" in here) == (k not in data["shown"])
            if k in data["shown"]:
                label = float(re.search(r"shown with label (-?[\d.]+)", here)[1])
                wanted = labels[task, data["shown"].index(k)]
            else:
                label = float(re.search(r"ridge regression (-?[\d.]+)", here)[1])
                wanted = labels[task] @ best[:, k]
            assert label == pytest.approx(wanted, rel=0.06, abs=0.005)


@pytest.mark.parametrize("state", [(0, 0, 1), (0, 0.5, 4), (1.2, 0.75, 8), (1.5, 1.5, 8)])
def test_the_sum_of_signed_weights_can_be_done_by_hand(script, state):
    alpha, beta, scale = state
    words = script.say("signed", alpha=alpha, beta=beta, scale=scale).replace("−", "-")
    pattern = r"= 1 - ([\d.]+)·([\d.]+) - ([\d.]+)·([\d.]+) = (-?[\d.]+):"
    a, own, b, shown, total = map(float, re.search(pattern, words).groups())
    assert (a, b) == (alpha, beta)
    assert total == pytest.approx(1 - a * own - b * shown, abs=6e-4)


def test_the_error_of_the_dual_model_can_be_done_by_hand(script):
    for t in range(10):
        words = script.say("dual", t=t).replace("−", "-")
        output, goal = re.findall(r"\((-?[\d.]+), (-?[\d.]+)\)", words)
        error = float(re.search(r"squared error ([\d.]*\d)", words)[1])
        by_hand = sum((float(a) - float(b)) ** 2 for a, b in zip(output, goal))
        assert error == pytest.approx(by_hand, rel=0.02)


@pytest.mark.parametrize("scale", [0.5, 4, 8])
@pytest.mark.parametrize("beta", [0, 1.5])
def test_the_softmax_curve_stays_in_its_panel(script, scale, beta):
    code = """((f) => f.draw({ ...f.state, beta, scale }, 800).parts.flat(9)
        .filter((part) => part && part.classList.contains("hand-truth"))
        .flatMap((part) => part.getAttribute("d").split(/[MLC]/).filter(Boolean))
        .map((point) => point.split(",").map(Number)))(hand.figures.signed(data))"""
    x, y = script("signed", code, scale=scale, beta=beta).T
    assert len(x) > 50 and x.min() >= 47.9 and x.max() <= 784.1
    assert y.min() >= 45.9 and y.max() <= 46 + 280.1


def test_shuffled_orders_are_permutations_and_differ(script):
    code = "((random) => hand.range(500).map(() => hand.shuffled(10, random)))(hand.randoms(7))"
    orders = script("dual", code)
    assert (np.sort(orders, axis=1) == np.arange(10)).all()
    assert len(np.unique(orders, axis=0)) > 450
    # Every place is as likely for every number: chi-square of 9 x 9 degrees of freedom.
    counts = np.stack([(orders == i).sum(axis=0) for i in range(10)])
    assert np.square(counts - 50).sum() / 50 < 140


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (-0.5, "−0.5"),
        (12345, "12300"),
        (1e-4, "10⁻⁴"),
        (3e-4, "3·10⁻⁴"),
        (-4.24e5, "−4.2·10⁵"),
    ],
)
def test_numbers_in_words(script, value, words):
    code = "[...hand.number(value)].map((letter) => letter.codePointAt(0))"
    found = script("dual", code, value=value)
    assert "".join(map(chr, found.astype(int))) == words
