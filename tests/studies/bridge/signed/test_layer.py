"""Signed heads against autograd, a direct formula and Part II's modified attention."""

import pytest
import torch

from iclbook.dual.modified import lowest_scores, signed_weights
from iclbook.errors import InputError
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary
from studies.bridge.signed.layer import SignedAttention, lowest, train_signed

N, K, D, H = 6, 11, 8, 3


def drawn(seed=0, r=N, beta=0.7, dtype=torch.float64, tokens="unit", heads=H):
    """(dictionary, model with random w and betas) of one seed."""
    generator = torch.Generator().manual_seed(seed)
    dictionary = sample_dictionary(N, K, D, 4, 0.1, generator=generator, tokens=tokens)
    model = SignedAttention(dictionary.to(dtype), heads, generator=generator, r=r, beta=beta)
    with torch.no_grad():
        model.w.copy_(torch.randn(heads, K, generator=generator))
        if r:
            model.beta.copy_(2 * torch.rand(heads, generator=generator))
    return dictionary, model


def by_loops(model) -> torch.Tensor:
    """The table a~ as the formula is written, one token and head at a time."""
    table = torch.zeros(N, K, dtype=torch.float64)
    for h in range(model.w.shape[0]):
        logits = torch.einsum("dn,de,ek->nk", model.V, model.Q[:, h], model.tokens)
        for k in range(K):
            p = logits[:, k].exp() / logits[:, k].exp().sum()
            order = sorted(range(N), key=lambda n, k=k: logits[n, k].item())
            for n in order[: model.r]:
                p[n] = p[n] - model.beta[h] / model.r
            table[:, k] += model.w[h, k] * p
    return table


@pytest.mark.parametrize("r", [0, 1, 2, N])
def test_table_is_the_formula_as_written(r):
    _, model = drawn(r=r)
    with torch.no_grad():
        expected = by_loops(model)
        torch.testing.assert_close(model(), expected)
        torch.testing.assert_close(model.parts()[2], expected)


@pytest.mark.parametrize("r", [1, 2, N])
def test_weights_are_those_of_part_two(r):
    """Part II's signed weights with no key of the query's own."""
    _, model = drawn(r=r)
    own = torch.zeros(K, N, dtype=torch.bool)
    with torch.no_grad():
        scores, signed = model.scores(), model.signed()
        for h in range(H):
            strengths = dict(beta=model.beta[h].item(), r=r)
            theirs = signed_weights(scores[:, h].T.contiguous(), own=own, **strengths)
            torch.testing.assert_close(signed[:, h].T, theirs)


def test_without_negatives_it_is_part_one():
    dictionary, model = drawn(r=0)
    plain = MultiHeadAttention(dictionary, H, generator=torch.Generator())
    with torch.no_grad():
        plain.Q.copy_(model.Q)
        plain.w.copy_(model.w)
        torch.testing.assert_close(model(), plain())
        torch.testing.assert_close(model.scores().softmax(dim=0), plain.attention())
        torch.testing.assert_close(model.parts()[2], plain())


@pytest.mark.parametrize("r", [0, 2, N])
@pytest.mark.parametrize("tokens", ["unit", "gaussian"])
def test_gradient_is_that_of_autograd(r, tokens):
    dictionary, model = drawn(r=r, tokens=tokens)
    loss = PopulationLoss.of(dictionary)
    wanted = (model.Q, model.w, model.beta) if r else (model.Q, model.w)
    error = model() - loss.target
    value = (error * (loss.covariance @ error)).sum() / (2 * K)
    expected = torch.autograd.grad(value, wanted)
    attention, shares, table = model.parts()
    model.set_signed_gradient(attention, shares, loss(table)[1])
    for parameter, gradient in zip(wanted, expected):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("r", [1, 2, 5, N])
@pytest.mark.parametrize("ties", [False, True])
def test_lowest_is_the_stable_choice(r, ties):
    generator = torch.Generator().manual_seed(r)
    scores = torch.randn(N, H, K, generator=generator)
    if ties:
        scores = scores.round()
    rows = scores.permute(1, 2, 0)
    demos = torch.ones(1, dtype=torch.bool).expand_as(rows)
    expected = lowest_scores(rows, demos, r).permute(2, 0, 1)
    assert torch.equal(lowest(scores, r), expected)
    assert (lowest(scores, r).sum(dim=0) == r).all()


def test_centred_columns_sum_to_zero():
    _, model = drawn(r=N)
    with torch.no_grad():
        model.beta.fill_(1.0)
        assert model().sum(dim=0).abs().max() < 1e-12
        model.beta.fill_(0.25)
        torch.testing.assert_close(model().sum(dim=0), 0.75 * model.w.sum(dim=0))


@pytest.mark.parametrize("r", [0, 2, N])
def test_training_takes_autograd_steps(r):
    """Three steps of Adam by the closed form and three by autograd end at the same weights."""
    ends = []
    for by_hand in (True, False):
        dictionary, model = drawn(r=r)
        loss, learns = PopulationLoss.of(dictionary), [model.Q, model.w, model.beta]
        learns = learns if r else learns[:2]
        optimizer = torch.optim.Adam(learns, lr=1e-2)
        if by_hand:
            steps = [step for step, _ in train_signed(model, loss, optimizer, 3, at=(0, 3))]
            assert steps == [0, 3]
        else:
            for _ in range(3):
                optimizer.zero_grad()
                error = model() - loss.target
                ((error * (loss.covariance @ error)).sum() / (2 * K)).backward()
                optimizer.step()
        ends.append([parameter.detach().clone() for parameter in learns])
    for ours, theirs in zip(*ends):
        torch.testing.assert_close(ours, theirs)


def test_beta_stays_where_it_does_not_learn():
    dictionary, model = drawn(r=N)
    before = model.beta.detach().clone()
    optimizer = torch.optim.Adam([model.Q, model.w], lr=1e-2)
    for _ in train_signed(model, PopulationLoss.of(dictionary), optimizer, 2, at=(2,)):
        pass
    assert torch.equal(model.beta.detach(), before)


@pytest.mark.parametrize("wrong", [dict(r=-1), dict(r=N + 1), dict(beta=-0.5)])
def test_bad_strengths_are_refused(wrong):
    with pytest.raises(InputError):
        drawn(**wrong)


def test_other_prompts_are_refused():
    dictionary, model = drawn()
    with pytest.raises(InputError):
        model(dictionary.V)
