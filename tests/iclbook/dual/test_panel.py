"""A panel of layers against the layers one by one: predictions, gradients, training."""

import pytest
import torch
from dual_draws import gen

from iclbook.dual import panel as panel_module
from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.modified import Augment
from iclbook.dual.panel import Panel, losses, train_together
from iclbook.errors import InputError

FLOAT = torch.float64
NEGATIVE = [{"beta": 1.0, "r": 6}, {"beta": 0.5, "r": 3}, {"beta": 0.2, "r": 1, "alpha": 0.3}]
PLAIN = [{}, {"alpha": 0.5}, {"alpha": -1.0}, *NEGATIVE]
VIEWS = {"none": (), "g1": ("g1",), "g2": ("g2",), "both": ("g1", "g2")}


def layers(views=(), options=PLAIN, dtype=FLOAT):
    """Layers for prompts with d = 3 and N = 6, each with weights and maps of its own."""
    made = []
    for seed, option in enumerate(options):
        maps = {
            g: Augment(4, 0.3 + seed, hidden=5, generator=gen(50 + seed), dtype=dtype)
            for g in views
        }
        made.append(
            SelfAttention(
                4, 4, generator=gen(seed), output=False, dtype=dtype, **maps, **option
            )
        )
        for g in views:  # biases start at 0; give them something to do
            torch.nn.init.normal_(getattr(made[-1], g).mlp[0].bias, generator=gen(70 + seed))
            torch.nn.init.normal_(getattr(made[-1], g).mlp[2].bias, generator=gen(80 + seed))
    return made


def small(count, seed):
    """Prompts with d = 3 and N = 6, drawn by a number or by a generator."""
    generator = seed if isinstance(seed, torch.Generator) else gen(seed)
    return sample_prompts(count, 6, 3, generator=generator, dtype=FLOAT)


def train_all(panels, seed, steps, rate=1e-2, **options):
    """Train panels on prompts of a seed, whose steps nobody looks at."""
    g, rates = gen(seed), [rate] * len(panels)
    looked = train_together(
        panels, lambda: small(16, g), steps, rates=rates, at=[steps], **options
    )
    for _ in looked:
        pass


def one_by_one(made, tokens):
    """(S, B), by the module that the chapters use."""
    return torch.stack([layer(tokens, last_only=True)[:, 0, -1] for layer in made])


@pytest.mark.parametrize("views", VIEWS)
def test_predictions_and_gradients_are_those_of_the_layers(views):
    made = layers(VIEWS[views])
    tokens, labels = small(20, 9)
    panel, wanted = Panel(made), one_by_one(made, tokens)
    torch.testing.assert_close(panel(tokens), wanted, rtol=1e-10, atol=1e-12)
    (panel(tokens) - labels).square().mean(-1).sum().backward()
    (wanted - labels).square().mean(-1).sum().backward()
    for s, layer in enumerate(made):
        for name, p in layer.named_parameters():
            torch.testing.assert_close(
                panel.parameters[name].grad[s], p.grad, rtol=1e-9, atol=1e-11
            )


@pytest.mark.parametrize("views", VIEWS)
def test_training_a_panel_is_training_its_layers_apart(views):
    """Each layer alone, by torch's own Adam, on the same prompts."""
    made, alone = layers(VIEWS[views]), layers(VIEWS[views])
    before = [p.clone() for p in made[0].parameters()]
    panel = Panel(made)
    train_all([panel], 3, 12, decay_from=1.0)
    for trained, layer in zip(panel.unstack(), alone):
        optimizer, g = torch.optim.Adam(layer.parameters(), lr=1e-2), gen(3)
        for _ in range(12):
            tokens, labels = small(16, g)
            loss = (layer(tokens, last_only=True)[:, 0, -1] - labels).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(trained(tokens), layer(tokens), rtol=1e-8, atol=1e-9)
        for name, p in layer.named_parameters():
            if (
                name != "g2.mlp.2.bias"
            ):  # shifts all scores alike: its gradient is rounding, which Adam makes a step of
                torch.testing.assert_close(
                    dict(trained.named_parameters())[name], p, rtol=1e-7, atol=1e-9, msg=name
                )
    assert max((p - q).abs().max() for p, q in zip(made[0].parameters(), before)) > 0.05


def test_panels_side_by_side_see_the_same_prompts_and_do_not_disturb_each_other():
    def after(*shapes):
        panels = [Panel(layers(VIEWS[shape])) for shape in shapes]
        train_all(panels, 4, 5)
        return losses(panels, *small(50, 5), chunk=20)

    torch.testing.assert_close(
        after("none", "both"), torch.cat([after("none"), after("both")]), rtol=1e-9, atol=1e-12
    )


def test_losses_are_means_over_all_prompts():
    made = layers()
    tokens, labels = small(50, 6)
    wanted = (one_by_one(made, tokens) - labels).square().mean(-1)
    torch.testing.assert_close(
        losses([Panel(made)], tokens, labels, chunk=20), wanted.detach(), rtol=1e-10, atol=1e-12
    )


def test_a_learned_beta_moves_and_the_others_do_not():
    made = layers(options=[{"beta": 0.5, "r": 3}, {"beta": 0.5, "r": 3}, {}])
    panel = Panel(made, learn_beta=[True, False, False])
    tokens, labels = small(200, 8)
    (panel(tokens) - labels).square().mean(-1).sum().backward()
    with torch.no_grad():  # the gradient in beta by a central difference
        around = [Panel(layers(options=[{"beta": 0.5 + h, "r": 3}])) for h in (1e-5, -1e-5)]
        up, down = ((p(tokens) - labels).square().mean() for p in around)
    beta = panel.parameters["beta"]
    torch.testing.assert_close(beta.grad.flatten()[0], (up - down) / 2e-5, rtol=1e-5, atol=1e-8)
    train_all([panel], 7, 5)
    first, *others = beta.flatten().tolist()
    assert abs(first - 0.5) > 1e-3 and others == [0.5, 0.0]
    layer = panel.unstack()[0]
    assert float(layer.modification.beta) == first
    torch.testing.assert_close(panel(tokens)[0], layer(tokens, last_only=True)[:, 0, -1])


def test_a_learned_beta_may_fall_below_zero():
    panel = Panel(layers(options=[{"beta": 0.001, "r": 3}]), learn_beta=[True])
    with torch.no_grad():
        panel.parameters["beta"].fill_(-0.2)
    tokens, _ = small(20, 8)
    (layer,) = panel.unstack()
    torch.testing.assert_close(panel(tokens)[0], layer(tokens, last_only=True)[:, 0, -1])


def test_weights_are_those_of_the_one_place(monkeypatch):
    """The panel knows no modification itself: what the one place makes of scores is used."""
    monkeypatch.setattr(
        panel_module, "signed_weights", lambda scores, **change: scores * 0 + change["alpha"]
    )
    tokens, _ = small(20, 8)
    found = Panel(layers()).weights(tokens)
    wanted = torch.tensor([option.get("alpha", 0.0) for option in PLAIN], dtype=FLOAT)
    torch.testing.assert_close(found, wanted[:, None, None].expand_as(found))


def test_without_softmax_it_is_linear_attention():
    made = layers(options=[{}, {}])
    tokens, _ = small(20, 10)
    for found, layer in zip(Panel(made, softmax=False)(tokens), made):
        queries, keys, values = (x[:, 0] for x in layer.project(tokens))
        wanted = ((queries[:, -1:] @ keys[:, :-1].mT / 6) @ values[:, :-1])[:, 0, -1]
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_rates_fall_linearly_and_leaving_the_loop_is_a_beginning():
    def seen(until):
        panel, g, found = Panel(layers()), gen(11), {}
        steps = train_together([panel], lambda: small(16, g), 20, rates=[1e-2], at=range(21))
        for step in steps:
            found[step] = panel.parameters["W_Q"].detach().clone()
            if step == until:
                break
        return found

    whole, beginning = seen(20), seen(8)
    assert sorted(beginning) == list(range(9)) and sorted(whole) == list(range(21))
    assert all(torch.equal(whole[step], beginning[step]) for step in beginning)
    moves = [(whole[step + 1] - whole[step]).abs().max().item() for step in range(20)]
    assert moves[-1] < 0.2 * moves[5] and moves[0] == pytest.approx(1e-2, rel=1e-3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Panel([]), "needs a layer"),
        (lambda: Panel([SelfAttention(4, 4, generator=gen(0))]), "output=False"),
        (lambda: Panel([SelfAttention(4, 4, 2, generator=gen(0), output=False)]), "one head"),
        (lambda: Panel([*layers(), *layers(("g1",))]), "one shape"),
        (lambda: Panel(layers(), learn_beta=[True]), "6 layers, 1 bools"),
        (
            lambda: Panel(layers(options=[{"beta": 1.0, "r": 9}]))(
                torch.ones(1, 7, 4, dtype=FLOAT)
            ),
            "r must be at most",
        ),
        (lambda: next(train_together([], None, 5, rates=[1e-2], at=[5])), "one rate a panel"),
        (lambda: next(train_together([], None, 0, rates=[], at=[0])), "steps must be"),
        (lambda: train_all([Panel(layers())], 0, 5, rate=-1.0), "rate must be"),
        (lambda: train_all([Panel(layers())], 0, 200, rate=1e200), "lower the rate"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
