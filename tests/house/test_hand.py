"""The numbers behind the figures that a reader moves, against other ways to compute them."""

import ast
import inspect
import json
import re
import sys
import xml.etree.ElementTree as ET

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from book import BOOK
from sklearn.linear_model import Ridge
from torch.nn.functional import scaled_dot_product_attention

from iclbook.dual.kernel import softmax_kernel
from iclbook.dual.one_step import exact_start
from iclbook.ridge.population_loss import cross_covariance, optimal_weights

sys.path.append(str(BOOK / "_ext"))
import hand
import hand_figures
import hand_steps
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


# --- functions line by line

STEPPED = {"forward": hand_steps.forward, "dual_step": hand_steps.dual_step}


def given(name):
    """The arguments with which a page's function was run."""
    if name == "dual_step":
        return {**hand_figures.small_prompt(), "eta": 0.3}
    dictionary, model, y = hand_figures.small_model()
    parts = dict(tokens=dictionary.tokens, features=dictionary.features, y=y)
    return parts | dict(Q=model.Q.detach(), w=model.w.detach(), tau=dictionary.tau)


def packaged_forward():
    """What the package says of the variables of `forward`."""
    dictionary, model, y = hand_figures.small_model()
    with torch.no_grad():
        attention = model.attention()
        known = {"weights": attention[:, -1], "scores": attention[:, -1].log()}
        known |= {"table": model(), "y_hat": model.predict(y[None])[0]}
    R = cross_covariance(dictionary)
    known |= {"V": dictionary.V, "Z": dictionary.Z, "R": R}
    known["noise"] = R - dictionary.Z.T @ dictionary.features
    A = optimal_weights(dictionary)
    return known | {"A": A, "best": y @ A}


def packaged_dual_step():
    """What the package says of the variables of `dual_step`. Features may be turned, so that
    of them the kernel is compared; and of the model, its answers at all keys."""
    keys, values, query, eta = given("dual_step").values()
    q, x = query[None], torch.cat([keys, query[None]])
    start = exact_start(keys, values, q, eta)
    step = start.step(keys[:-1], values[:-1])
    shift = (keys @ query).max()  # the package divides kernel and D by one number
    known = {"p": (keys @ query).softmax(0), "D": start.D * shift.exp(), "x": x}
    known["h"] = scaled_dot_product_attention(q, keys, values, scale=1.0)[0]
    known |= {"f": step(q)[0], "kernel": softmax_kernel(x, x)}
    known |= {
        "phi @ phi.T": softmax_kernel(x, x),
        "phi_k @ phi_q": softmax_kernel(keys, q)[:, 0],
    }
    known["outputs"] = start(keys[:-1])
    known |= {"W_0 @ phi_k.T": start(keys).T, "W @ phi_k.T": start(keys).T}
    known["W_1 @ phi_k.T"] = step(keys).T
    known["eta * gradient @ phi_k.T"] = (start(keys) - step(keys)).T
    aligned = -start.loss(keys[:-1], values[:-1]) * eta * start.D
    return known | {"aligned": aligned, "loss": -aligned / (eta * known["D"])}


PACKAGED = {"forward": packaged_forward, "dual_step": packaged_dual_step}


def differing(name, function):
    """Names of variables, or of products of them, in which a function differs from the
    package."""
    try:
        *_, (_, _, found) = hand_steps.trace(function, given(name))
    except (AssertionError, RuntimeError) as error:
        return [repr(error)]
    faults = []
    for code, wanted in PACKAGED[name]().items():
        value = eval(code, found)
        if code == "scores":  # a softmax forgets a constant in each column
            value, wanted = (part - part.mean(0) for part in (value, wanted))
        same = value.shape == wanted.shape
        if not same or not torch.allclose(value, wanted, rtol=1e-11, atol=1e-11):
            faults.append(code)
    return faults


@pytest.mark.parametrize("name", STEPPED)
def test_stepped_functions_agree_with_the_package(name):
    assert differing(name, STEPPED[name]) == []
    # No matrix or vector that a line makes is left out.
    compared = set(re.findall(r"\w+", " ".join(PACKAGED[name]())))
    parts = [part for step in hand.numbers(name)["steps"][1:] for part in step["makes"]]
    assert {part["name"] for part in parts if "rows" in part} <= compared


WRONG = {
    "forward": [
        ("features[:, :N]", "features[:, -N:]"),
        ("tokens[:, :N], ", "tokens[:, -N:], "),
        ("torch.zeros(N, K)", "torch.ones(N, K)"),
        ("range(len(w))", "range(1)"),
        ("Q[:, h] @", "Q[:, h].T @"),
        ("softmax(dim=0)", "softmax(dim=1)"),
        ("+ w[h]", "+ w[0]"),
        ("table = table + w", "table = w"),
        ("y @ table", "y.abs() @ table"),
        ("m * tau", "N * tau"),
        ("Z.T @ features", "V.T @ features"),
        ("R[:, :N], R)", "R[:, :N] + noise[:, :N], R)"),
        ("y @ A", "y @ table"),
    ],
    "dual_step": [
        ("softmax(dim=0)", "sigmoid()"),
        ("p @ values", "p.flip(0) @ values"),
        ("[keys, query[None]]", "[query[None], keys]"),
        ("(x @ x.T).exp()", "(x @ x.T + 1).exp()"),
        ("torch.linalg.cholesky(kernel)", "kernel"),
        ("phi[:-1], phi[-1]", "phi[1:], phi[0]"),
        ("phi_q).sum()", "phi_q)[:-1].sum()"),
        ("torch.outer(values[-1], phi_k[-1])", "torch.outer(values[0], phi_k[0])"),
        ("W_0.clone()", "W_0.neg()"),
        ("phi_k[:-1] @ W.T", "phi_k[1:] @ W.T"),
        ("values[:-1] * outputs", "values[1:] * outputs"),
        ("-aligned / (eta * D)", "-aligned / D"),
        ("-aligned / (eta * D)", "aligned / (eta * D)"),
        ("W_0 - eta * gradient", "W_0 + eta * gradient"),
        ("W_0 - eta * gradient", "W_0 - gradient"),
        ("f = W_1", "f = W_0"),
    ],
}


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [(name, *change) for name, changes in WRONG.items() for change in changes],
)
def test_a_wrong_line_is_noticed(name, right, wrong):
    source = inspect.getsource(STEPPED[name])
    assert source.count(right) == 1
    space = {"torch": torch}
    exec(source.replace(right, wrong), space)
    assert differing(name, space[name])


@pytest.mark.parametrize("name", STEPPED)
def test_each_line_has_its_step_its_sentence_and_fits(name):
    data, function = hand.numbers(name), STEPPED[name]
    reached = [step["line"] for step in data["steps"]]
    assert reached[0] == 0 and set(reached) == set(range(len(data["code"])))
    for step in data["steps"]:
        assert 4 <= len(step["say"].split()) <= 40 and step["say"].endswith(".")
        assert step["reads"] or step["makes"]
    assert max(map(len, data["code"])) <= 50  # beside the values, at 1280 px
    # What is shown is the function: only comments and docstring are left out.
    shown = ast.parse("\n".join(data["code"])).body[0]
    whole = ast.parse(inspect.getsource(function)).body[0]
    whole.body = whole.body[1:]
    assert ast.dump(shown) == ast.dump(whole)
    # A statement fills one line, or the tracer would stop in its middle.
    parts = [part for part in ast.walk(whole) if isinstance(part, ast.stmt)]
    assert all(part.end_lineno == part.lineno for part in parts if not hasattr(part, "body"))


@pytest.mark.parametrize("name", STEPPED)
def test_sizes_are_what_the_comments_say(name):
    letters = {"forward": dict(N=3, K=5, d=3, m=2, H=2), "dual_step": dict(N=3, d=2, dᵥ=2)}
    found = 0
    for step in hand.numbers(name)["steps"]:
        for part in step["reads"] + step["makes"]:
            if part.get("sizes"):
                sizes = [eval(size, {}, letters[name]) for size in part["sizes"].split(", ")]
                assert part["shape"] == sizes, part["name"]
                found += 1
            if "rows" in part:
                rows, shape = np.array(part["rows"]), tuple(part["shape"])
                assert rows.shape == (shape if len(shape) == 2 else (1, *shape))
    assert found > 30


def test_a_page_shows_what_the_lines_computed():
    """Each number against the variables of the run, and those of the heads against the
    model."""
    for name, function in STEPPED.items():
        *_, (_, _, last) = hand_steps.trace(function, given(name))
        ends = {}
        for step in hand.numbers(name)["steps"]:
            for part in step["reads"]:  # read as it was made
                if part["name"] in ends:
                    assert part == ends[part["name"]]
            ends |= {part["name"]: part for part in step["makes"]}
        for key, part in ends.items():
            value = eval(key, last)  # "Q[:, 0]" too
            number = part["rows"] if "rows" in part else part["value"]
            number = np.array(number).reshape(np.shape(value))
            np.testing.assert_allclose(number, value, rtol=6e-4, atol=1e-12)
    _, model, _ = hand_figures.small_model()
    heads = hand_stills.made(hand.numbers("forward"), "weights")
    assert len(heads) == 2
    for h, weights in enumerate(heads):
        np.testing.assert_allclose(weights, model.attention()[:, h].detach(), rtol=6e-4)


def test_the_trained_heads_come_near_the_best_answer():
    data = hand.numbers("forward")
    (y_hat,), (best,) = (hand_stills.made(data, name)[0] for name in ("y_hat", "best"))
    (y,) = hand_stills.made(data, "y")[0]
    assert np.abs(y_hat - best).max() < 0.05 * np.abs(best).max()
    np.testing.assert_allclose(best[:3], y, rtol=1e-3)  # shown labels are copied
    dictionary = hand_figures.small_model()[0]
    ridge = Ridge(alpha=dictionary.m * dictionary.tau, fit_intercept=False, solver="svd")
    ridge.fit(dictionary.Z.T, y)
    np.testing.assert_allclose(best[3:], ridge.predict(dictionary.features.T)[3:], rtol=2e-3)


def test_a_trace_leaves_no_trace():
    before = sys.gettrace()

    def broken(x):
        y = x + 1
        raise ValueError(y)

    with pytest.raises(ValueError, match="2"):
        hand_steps.trace(broken, {"x": 1})
    assert sys.gettrace() is before


def test_steps_have_anchors_and_other_figures_none():
    steps = len(hand.numbers("forward")["steps"])
    found = re.findall(r'id="([^"]+)"', hand.anchors("forward", "fig-here"))
    assert found == [f"fig-here-step-{i}" for i in range(1, steps + 1)]
    assert hand.anchors("converge", "fig-there") == ""
