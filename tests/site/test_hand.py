"""What the figures that a reader moves compute in the browser, against Python. Skipped where
there is no browser."""

import json
import re
import shutil
import sys
from functools import partial

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
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def script(browser):
    """script(name, code, **values): what the code returns, given the figure's `data`."""
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
    return run


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


# --- functions line by line

STEPPED = {"forward": "fig-hand-forward", "dual_step": "fig-hand-dual-step"}
TEMPLATE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="hand.css">
<body style="margin: 0"><p style="height: 1500px">Above.</p><figure id="{label}">{figure}
<figcaption>Words.</figcaption></figure><script defer src="hand.js"></script>
<script defer src="{name}.js"></script></body>"""


@pytest.fixture(scope="module")
def steps(browser, tmp_path_factory):
    """steps(name, fragment, **context): a page opened as a file, at an address."""
    folder, pages, faults = tmp_path_factory.mktemp("steps"), [], []
    for path in (*SCRIPTS, BOOK / "assets" / "hand.css"):
        shutil.copy(path, folder)
    for name, label in STEPPED.items():
        figure = hand.anchors(name, label) + hand.markup(name, "A still.")
        text = TEMPLATE.format(name=name, label=label, figure=figure)
        (folder / f"{name}.html").write_text(text, encoding="utf-8")

    def opened(name, fragment="", **context):
        context = {"viewport": {"width": 1280, "height": 800}} | context
        page = browser.new_page(**context)
        pages.append(page)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.goto((folder / f"{name}.html").as_uri() + fragment)
        return page

    yield opened
    assert faults == []
    for page in pages:
        page.close()


def at(page) -> tuple[int, int]:
    """The step that a page shows, and how many there are."""
    words = page.locator(".hand-say").inner_text()
    return tuple(map(int, re.match(r"Step (\d+) of (\d+)\.", words).groups()))


def press(page, words):
    """A click, also on a button that has nowhere to go."""
    page.get_by_role("button", name=words, exact=True).click(force=True)


@pytest.mark.parametrize("name", STEPPED)
def test_buttons_and_keys_move_through_the_code(steps, name):
    page, last = steps(name), len(hand.numbers(name)["steps"])
    assert at(page) == (1, last)
    moves = [("Forward ›", 2), ("Forward ›", 3), ("‹ Back", 2), ("Last »", last)]
    for words, step in [*moves, ("Forward ›", last), ("« First", 1), ("‹ Back", 1)]:
        press(page, words)
        assert at(page) == (step, last), words
    keys = [("ArrowRight", 2), ("End", last), ("ArrowRight", last), ("ArrowLeft", last - 1)]
    for where in (".hand-steps button >> nth=1", ".hand-code [aria-current]"):
        for key, step in [("Home", 1), *keys, ("Home", 1), ("ArrowLeft", 1)]:
            page.locator(where).press(key)
            assert at(page) == (step, last), key
    page.keyboard.press("Alt+ArrowRight")  # the browser's own
    assert at(page) == (1, last)


@pytest.mark.parametrize("name", STEPPED)
def test_each_step_shows_its_line_and_the_numbers_of_python(steps, name):
    page, data = steps(name), hand.numbers(name)
    for step in data["steps"]:
        line = page.locator(".hand-code [aria-current=step]")
        assert line.count() == 1
        assert line.inner_text() == data["code"][step["line"]].strip()
        assert page.locator(".hand-say").inner_text().endswith(step["say"])
        wanted = [part for part in step["reads"] + step["makes"] if "rows" in part]
        tables = page.locator(".hand-matrix")
        assert tables.count() == len(wanted)
        for table, part in zip(tables.all(), wanted):
            words = table.locator("caption").inner_text()
            assert words.startswith(part["name"])
            assert " × ".join(map(str, part["shape"])) in words
            cells = table.locator("td").evaluate_all(
                "(cells) => cells.map((cell) => [cell.textContent, cell.className])"
            )
            assert len(cells) == np.size(part["rows"])
            for (number, kind), value in zip(cells, np.ravel(part["rows"])):
                # Two digits; the sign stands in the number, not in the colour alone.
                digits = number.translate(str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789"))
                shown = float(digits.replace("·10", "e"))
                assert shown == pytest.approx(value, rel=0.05)
                assert (kind == "hand-minus") == ("−" in number) == (value < 0)
        press(page, "Forward ›")


@pytest.mark.parametrize("name", STEPPED)
def test_an_address_opens_at_its_step_and_follows_the_reader(steps, name):
    label, fragment = STEPPED[name], partial("#{}-step-{}".format, STEPPED[name])
    page = steps(name, fragment(4))
    assert at(page)[0] == 4
    # The figure is in view, though it stands below the first screen.
    assert 0 <= page.locator(".hand-stage").bounding_box()["y"] < 400
    assert page.locator(".hand-link").get_attribute("href") == fragment(4)
    before = page.evaluate("history.length")
    press(page, "Forward ›")
    assert page.evaluate("location.hash") == fragment(5)
    assert page.locator(".hand-link").get_attribute("href") == fragment(5)
    assert page.evaluate("history.length") == before  # back leads to the page before
    page.evaluate(f"location.hash = '{fragment(2)}'")
    page.wait_for_timeout(100)
    assert at(page)[0] == 2
    last = at(page)[1]
    for other, step in [("", 1), (f"#{label}", 1), (fragment(99), last), ("#other-step-3", 1)]:
        page = steps(name, other)
        assert at(page)[0] == step, other
        assert page.evaluate("location.hash") == other  # untouched until the reader moves


def test_a_line_that_runs_twice_leads_to_both_runs(steps):
    page, data = steps("forward"), hand.numbers("forward")
    line = next(i for i, code in enumerate(data["code"]) if "softmax" in code)
    runs = [i for i, step in enumerate(data["steps"], 1) if step["line"] == line]
    assert len(runs) == 2
    for step in [*runs, runs[0]]:
        page.locator(".hand-code button").nth(line).click()
        assert at(page)[0] == step


@pytest.mark.parametrize("name", STEPPED)
def test_a_phone_stacks_code_and_values(steps, name):
    page = steps(name, viewport={"width": 360, "height": 740}, has_touch=True)
    forward = page.get_by_role("button", name="Forward ›")
    for _ in range(at(page)[1] - 1):
        forward.tap()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        code, values = (
            page.locator(f".hand-{part}").bounding_box() for part in ("code", "room")
        )
        assert values["y"] > code["y"] + code["height"]
        # The current line is in sight within the list, which scrolls by itself.
        line = page.locator(".hand-code [aria-current]").bounding_box()
        assert (
            code["y"] <= line["y"] and line["y"] + line["height"] <= code["y"] + code["height"]
        )
    assert at(page)[0] == at(page)[1]
    assert forward.bounding_box()["height"] >= 32


def test_steps_are_heard_and_the_focus_stays(steps):
    page = steps("forward")
    assert page.locator(".hand-heard").inner_text() == ""  # not before the reader moves
    page.locator(".hand-steps button").nth(1).focus()
    page.keyboard.press("Enter")  # at the first step there is no way back
    assert page.evaluate("document.activeElement.textContent") == "‹ Back"
    assert page.locator(".hand-steps button").nth(1).get_attribute("aria-disabled") == "true"
    page.locator(".hand-code [aria-current]").press("End")
    assert page.evaluate("document.activeElement.ariaCurrent") == "step"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.wait_for_timeout(800)
    heard = page.locator(".hand-heard")
    assert heard.get_attribute("aria-live") == "polite"
    assert heard.inner_text() == page.locator(".hand-say").inner_text()


@pytest.mark.parametrize("name", STEPPED)
def test_without_a_script_the_still_picture_stands_where_the_link_leads(steps, name):
    page = steps(name, f"#{STEPPED[name]}-step-3", java_script_enabled=False)
    still = page.locator(".hand-still")
    assert still.is_visible() and still.get_attribute("alt") == "A still."
    assert 0 <= still.bounding_box()["y"] < 800 - still.bounding_box()["height"]
    assert page.locator(".hand-stage").count() == 0
