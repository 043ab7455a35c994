"""What one layer can reach: closed forms by Monte Carlo, features against attention, peers
against scikit-learn."""

import numpy as np
import pytest
import torch
from dual_draws import gen
from sklearn.linear_model import Ridge

from iclbook.dual import trained
from iclbook.dual.attention import SelfAttention
from iclbook.dual.further_tasks import TransformerLayer, TwoLayers
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.modified import Augment, dual_attention
from iclbook.dual.tasks import EXPONENTIAL, LINEAR, PREFERRED, TASKS, TRIGONOMETRIC, find_task
from iclbook.errors import InputError

FLOAT = torch.float64


def prompts(count=6, N=7, d=3, seed=0, **options):
    return sample_prompts(count, N, d, generator=gen(seed), dtype=FLOAT, **options)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_tasks_are_what_they_are_called(task):
    g = gen(1)
    x, w = (
        torch.rand(4, 5, 12, generator=g, dtype=FLOAT),
        torch.randn(4, 12, 1, generator=g, dtype=FLOAT),
    )
    z = (x * w.mT).sum(-1, keepdim=True)
    wanted = {LINEAR: z, TRIGONOMETRIC: (0.75 * z).sin(), EXPONENTIAL: (z / 4).exp()}
    wanted[PREFERRED] = z + x.sum(-1, keepdim=True)
    torch.testing.assert_close(task(x, w), wanted[task])
    assert find_task(task.name) is task


def test_odd_tasks_are_odd_in_w_and_the_exponential_is_not():
    x, w = torch.rand(4, 5, 3, generator=gen(2)), torch.randn(4, 3, 1, generator=gen(3))
    for task in (LINEAR, TRIGONOMETRIC):
        torch.testing.assert_close(task(x, -w), -task(x, w))
    assert (EXPONENTIAL(x, -w) > 0).all()
    for task in (
        LINEAR,
        TRIGONOMETRIC,
        EXPONENTIAL,
    ):  # what makes the query's own value useless
        torch.testing.assert_close(task(-x, -w), task(x, w))


def test_gaussian_inputs_have_the_uniform_ones_variance_and_noise_spares_the_querys_label():
    tokens, _ = sample_prompts(20_000, 3, 2, generator=gen(4), inputs="gaussian", noise=0.5)
    x = tokens[..., :-1].flatten()
    for power, wanted in ((2, 1 / 3), (4, 1 / 3)):
        draws = x**power
        assert (draws.mean() - wanted).abs() < 4.5 * draws.std() / len(draws) ** 0.5
    clean, labels = prompts(noise=0.0)
    noisy, same = prompts(noise=0.3)
    assert torch.equal(labels, same) and torch.equal(clean[..., :-1], noisy[..., :-1])
    assert (noisy[:, :-1, -1] != clean[:, :-1, -1]).all() and (noisy[:, -1, -1] == 0).all()


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(
    "N, d, inputs, noise",
    [
        (15, 10, "uniform", 0.0),
        (2, 2, "uniform", 0.0),
        (4, 3, "gaussian", 0.0),
        (6, 2, "uniform", 0.7),
    ],
)
def test_the_linear_steps_closed_form_against_monte_carlo(N, d, inputs, noise, centred):
    tokens, labels = sample_prompts(
        100_000, N, d, generator=gen(5), inputs=inputs, noise=noise, dtype=FLOAT
    )
    family = ("linear, centred",) if centred else ("linear",)
    c, loss = trained.best_scale(trained.linear_features(tokens)[family], labels)
    error = (c * trained.linear_features(tokens)[family] - labels).square()
    wanted = trained.linear_step_loss(N, d, inputs=inputs, noise=noise, centred=centred)
    assert abs(loss.item() - wanted) < 4.5 * error.std().item() / len(error) ** 0.5


@pytest.mark.parametrize("inputs", ["uniform", "gaussian"])
@pytest.mark.parametrize("N, d", [(15, 10), (2, 2), (6, 3)])
def test_the_best_additive_predictor_against_monte_carlo(N, d, inputs):
    """Its loss, and that its error has nothing in common with any additive function."""
    tokens, labels = sample_prompts(60_000, N, d, generator=gen(8), inputs=inputs, dtype=FLOAT)
    predicted = d / (N + d - 1) * trained.additive_feature(tokens)
    error = labels - predicted
    spread = error.square().std() / len(error) ** 0.5
    assert abs(error.square().mean() - trained.additive_loss(N, d)) < 4.5 * spread
    x, y = tokens[..., :-1], tokens[:, :-1, -1]
    scores = (x[:, :-1] @ x[:, -1:].mT).squeeze(-1)
    corner = x[:, :-1, 0] * x[:, -1:, 1]  # knows the axes, as the cube does
    additive = (
        scores * y,
        scores.sinh() * y,
        scores * y**3,
        corner * y,
        y.tanh() + x[:, -1:, 0],
    )
    for each in additive:
        product = error * each.sum(-1)
        assert abs(product.mean()) < 4.5 * product.std() / len(error) ** 0.5
    product = error * labels  # what is not additive may well help
    assert product.mean() > 4.5 * product.std() / len(error) ** 0.5


def test_inputs_of_equal_length_leave_the_linear_step_nothing_to_gain():
    tokens, labels = prompts(20_000, N=5)
    scale = tokens[..., :-1].norm(dim=-1, keepdim=True)
    tokens[:, :-1] /= scale[:, :-1]
    plain = trained.linear_features(tokens)["linear",]
    torch.testing.assert_close(trained.additive_feature(tokens), plain)
    error = (3 / 7 * plain - labels).square()
    assert abs(error.mean() - trained.additive_loss(5, 3)) < 4.5 * error.std() / 20_000**0.5
    assert trained.additive_loss(2, 1) == 0 < trained.linear_step_loss(2, 1)
    for N, d, inputs in ((15, 10, "uniform"), (2, 3, "gaussian")):
        assert trained.additive_loss(N, d) < trained.linear_step_loss(N, d, inputs=inputs)


def test_best_scale_is_least_squares():
    feature, labels = (
        torch.randn(50, generator=gen(6), dtype=FLOAT),
        torch.randn(50, generator=gen(7), dtype=FLOAT),
    )
    c, loss = trained.best_scale(feature, labels)
    peer = np.linalg.lstsq(feature[:, None].numpy(), labels.numpy(), rcond=None)
    assert c.item() == pytest.approx(peer[0][0]) and loss.item() == pytest.approx(
        peer[1][0] / 50
    )


@pytest.mark.parametrize("a", [0.7, -1.3])
def test_two_number_features_are_a_layers_predictions(a):
    """W_K^T W_Q = a sqrt(d_o) on x and 0 on y; the value is c y."""
    tokens, _ = prompts()
    pairs = [(1, 0.5), (3, 1.0), (7, 1.0)]
    found = trained.two_number_features(tokens, a, pairs)
    for key in (("plain",), *(("negative", *pair) for pair in pairs)):
        change = {} if key == ("plain",) else {"r": key[1], "beta": key[2]}
        layer = SelfAttention(4, 4, generator=gen(0), output=False, dtype=FLOAT, **change)
        with torch.no_grad():
            layer.W_Q.copy_(torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=FLOAT)))
            layer.W_K.copy_(
                torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=FLOAT)) * a * 2
            )  # sqrt(d_o) = 2
            layer.W_V.copy_(torch.eye(4))
            torch.testing.assert_close(
                found[key], layer(tokens, last_only=True)[:, 0, -1], rtol=1e-10, atol=1e-12
            )
    demos = a * (tokens[:, :-1, :-1] @ tokens[:, -1, :-1, None]).squeeze(-1)
    torch.testing.assert_close(
        found["own token hidden",], (demos.softmax(-1) * tokens[:, :-1, -1]).sum(-1)
    )
    p = (a * (tokens[..., :-1] @ tokens[:, -1, :-1, None]).squeeze(-1)).softmax(-1)[:, :-1]
    wanted = sum((p[:, i] - p.mean(-1)).clamp(min=0) * tokens[:, i, -1] for i in range(7))
    torch.testing.assert_close(found["positive part",], wanted)


@pytest.mark.parametrize("intercept", [False, True])
def test_ridge_against_scikit_learn(intercept):
    tokens, _ = prompts()
    found = trained.ridge(tokens, 0.3, intercept=intercept)
    for prompt, value in zip(tokens.numpy(), found):
        peer = Ridge(alpha=0.3, fit_intercept=intercept).fit(prompt[:-1, :-1], prompt[:-1, -1])
        assert value.item() == pytest.approx(peer.predict(prompt[-1:, :-1])[0])


def test_the_smoother_is_softmax_attention_for_inputs_of_equal_length():
    tokens, _ = prompts()
    tokens[..., :-1] /= tokens[..., :-1].norm(dim=-1, keepdim=True)
    found = trained.two_number_features(tokens, 1 / 0.6**2, [])["own token hidden",]
    torch.testing.assert_close(trained.smoother(tokens, 0.6), found)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"alpha": 0.4},
        {"beta": 1.0, "r": 7},
        {"beta": 0.5, "r": 2, "alpha": -0.5},
        {"g1": 1, "g2": 1},
    ],
)
def test_the_steps_end_at_the_layers_output(change):
    for name in {"g1", "g2"} & set(change):
        augment = Augment(4, 0.8, hidden=5, generator=gen(8), dtype=FLOAT)
        change = change | {name: augment}
    layer = SelfAttention(4, 4, generator=gen(9), output=False, dtype=FLOAT, **change)
    tokens, _ = prompts()
    with torch.no_grad():
        wanted = layer(tokens, last_only=True)[:, 0]
        singles, one = trained.step_outputs(layer, tokens)
        torch.testing.assert_close(
            wanted, layer(tokens, last_only=True, attend=dual_attention)[:, 0]
        )
    assert singles.shape == (8, 6, 4)
    torch.testing.assert_close(singles[-1], wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(one, wanted, rtol=1e-10, atol=1e-12)
    assert (singles[-2] - wanted).abs().max() > 1e-3


def test_the_steps_survive_scores_that_overflow():
    layer = SelfAttention(4, 4, generator=gen(9), output=False, dtype=FLOAT)
    with torch.no_grad():
        layer.W_K.mul_(1e4)
        tokens, _ = prompts()
        singles, one = trained.step_outputs(layer, tokens)
        for found in (singles[-1], one):
            torch.testing.assert_close(
                found, layer(tokens, last_only=True)[:, 0], rtol=1e-10, atol=1e-12
            )


def deep(kind, **change):
    maps = {}
    if change.pop("maps", False):
        pairs = {
            g: [Augment(4, 1.0, hidden=5, generator=gen(10), dtype=FLOAT) for _ in range(2)]
            for g in ("g1", "g2")
        }
        maps = pairs if kind is TwoLayers else {g: pair[0] for g, pair in pairs.items()}
    sizes = (4, 4) if kind is TwoLayers else (4, 4, 6)
    return kind(*sizes, generator=gen(11), **maps, **change).double()


@pytest.mark.parametrize("kind", [TransformerLayer, TwoLayers])
@pytest.mark.parametrize("change", [{}, {"alpha": 0.4}, {"beta": 1.0, "r": 7}, {"maps": True}])
def test_deeper_models_by_training(kind, change):
    model, (tokens, _) = deep(kind, **change), prompts()
    with torch.no_grad():
        wanted, steps = model(tokens), model.step_predictions(tokens)
        torch.testing.assert_close(
            model(tokens, attend=dual_attention), wanted, rtol=1e-10, atol=1e-12
        )
    assert wanted.shape == (6,) and steps.shape == (8, 6)
    torch.testing.assert_close(steps[-1], wanted, rtol=1e-10, atol=1e-12)
    assert (steps[-2] - wanted).abs().max() > 1e-4


def test_a_transformer_layer_is_its_formula():
    model, (tokens, _) = deep(TransformerLayer), prompts()
    with torch.no_grad():
        x = tokens[:, -1] + model.attention(tokens)[:, -1]
        wanted = (
            x
            + torch.relu(x @ model.first.weight.T + model.first.bias) @ model.second.weight.T
            + model.second.bias
        )
        torch.testing.assert_close(model(tokens), wanted[:, -1])
        one, two = deep(TwoLayers).layers
        x = tokens + one(tokens)
        torch.testing.assert_close(deep(TwoLayers)(tokens), (x + two(x))[:, -1, -1])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: find_task("cubic"), "task must be one of"),
        (lambda: sample_prompts(2, 3, 2, generator=gen(0), inputs="round"), "inputs must be"),
        (lambda: sample_prompts(2, 3, 2, generator=gen(0), noise=-1.0), "noise must be"),
        (lambda: trained.linear_step_loss(0, 2), "N must be"),
        (lambda: trained.linear_step_loss(3, 2, inputs="round"), "inputs must be"),
        (lambda: trained.additive_loss(3, 0), "d must be"),
        (lambda: trained.ridge(prompts()[0], 0.0), "penalty must be"),
        (lambda: trained.smoother(prompts()[0], 0.0), "bandwidth must be"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
