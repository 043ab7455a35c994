import math
from itertools import pairwise

import pytest
import torch
from dual_draws import EXAMPLES, SEEDS, gen, vectors
from hypothesis import given
from hypothesis import strategies as st

from iclbook.dual.kernel import draw_directions, log_positive_features, softmax_kernel
from iclbook.errors import InputError
from studies.dual.generalisation import bounds as G


def pool(seed, size=60, d=3, d_v=2):
    """Keys through explicit features, so that a Gram-free answer exists: phi (P, d_r), kernel,
    values."""
    g = gen(seed)
    keys = vectors((size, d), 0.8, g) * torch.rand(size, 1, generator=g, dtype=torch.float64)
    phi = log_positive_features(keys, draw_directions(7, d, generator=g)).exp()
    values = torch.randn(size, d_v, generator=g, dtype=torch.float64)
    return phi, phi @ phi.mT, values, g


@EXAMPLES
@given(SEEDS, st.integers(1, 40), st.floats(0.1, 5.0))
def test_the_supremum_is_attained_and_no_model_exceeds_it(seed, n, w):
    phi, kernel, values, g = pool(seed)
    sample = torch.randint(0, len(values), (n,), generator=g)
    found = G.gap_supremum(G.centred(G.pair_gram(kernel, values)), sample, w)
    pairs = values[:, :, None] * phi[:, None, :]  # (P, d_v, d_r): the v phi^T
    difference = pairs.mean(0) - pairs[sample].mean(0)

    def gap(W):
        losses = -(values * (phi @ W.mT)).sum(-1)
        return (losses.mean() - losses[sample].mean()).abs()

    torch.testing.assert_close(
        found, gap(w * difference / difference.norm()), rtol=1e-6, atol=1e-9
    )
    for _ in range(5):
        W = torch.randn(difference.shape, generator=g, dtype=torch.float64)
        assert gap(w * W / W.norm()) <= found * (1 + 1e-9) + 1e-9


def test_root_mean_square_of_the_supremum_is_exact():
    _, kernel, values, g = pool(1)
    centred = G.centred(G.pair_gram(kernel, values))
    squares = torch.stack(
        [
            G.gap_supremum(centred, torch.randint(0, 60, (20,), generator=g), 1.5).square()
            for _ in range(4000)
        ]
    )
    wanted = G.bound_steps(kernel, values, 1.5, 20, 0.05)["rms"] ** 2
    assert (squares.mean() - wanted).abs() < 4 * squares.std() / math.sqrt(4000)


@EXAMPLES
@given(SEEDS, st.integers(1, 300), st.floats(0.1, 5.0), st.floats(0.001, 0.9))
def test_each_step_of_the_proof_only_loosens(seed, n, w, delta):
    _, kernel, values, _ = pool(seed)
    steps = G.bound_steps(kernel, values, w, n, delta)
    order = [steps[name] for name in ("rms", "second_moment", "symmetrised", "radius", "bound")]
    assert all(a <= b * (1 + 1e-12) for a, b in pairwise(order))
    quarter = G.bound_steps(kernel, values, w, 4 * n, delta)
    assert all(
        math.isclose(quarter[name], value / 2, rel_tol=1e-12) for name, value in steps.items()
    )


def test_bound_holds_for_a_bounded_softmax_pool():
    g = gen(2)
    keys, values = vectors((300, 4), 1.0, g), vectors((300, 3), 1.0, g)
    kernel = softmax_kernel(keys, keys)
    centred = G.centred(G.pair_gram(kernel, values))
    for n in (2, 30):
        bound = G.bound_steps(kernel, values, 1.0, n, 0.05)
        gaps = torch.stack(
            [
                G.gap_supremum(centred, torch.randint(0, 300, (n,), generator=g), 1.0)
                for _ in range(500)
            ]
        )
        assert (gaps > bound["bound"]).double().mean() <= 0.05
        assert gaps.mean() <= bound["rms"] * (1 + 4 * gaps.std() / gaps.mean() / math.sqrt(500))
    # unit vectors and values: rho = 1, kappa^2 = e, so the bound is a formula anyone can
    # evaluate
    wanted = 2 * math.sqrt(math.e / 30) * (1 + math.sqrt(math.log(20) / 2))
    assert math.isclose(bound["bound"], wanted, rel_tol=1e-12)


def test_one_pair_moves_the_gap_by_at_most_mcdiarmids_constant():
    _, kernel, values, g = pool(3)
    centred = G.centred(G.pair_gram(kernel, values))
    steps = G.bound_steps(
        kernel, values, 1.0, 5, math.exp(-2.0)
    )  # log(1 / delta) = 2: deviation = M / sqrt(n)
    largest = 0.0
    for _ in range(2000):
        sample = torch.randint(0, 60, (5,), generator=g)
        other = sample.clone()
        other[0] = torch.randint(0, 60, (1,), generator=g)
        moved = (
            (G.gap_supremum(centred, sample, 1.0) - G.gap_supremum(centred, other, 1.0))
            .abs()
            .item()
        )
        largest = max(largest, moved)
    limit = steps["deviation"] / math.sqrt(5)  # M / n
    assert 0.1 * limit < largest <= limit


def test_symmetrisation_between_the_mean_gap_and_the_radius():
    _, kernel, values, g = pool(4)
    gram = G.pair_gram(kernel, values)
    gaps, complexities = [], []
    for _ in range(300):
        sample = torch.randint(0, 60, (15,), generator=g)
        gaps.append(G.gap_supremum(G.centred(gram), sample, 1.0))
        complexities.append(
            G.rademacher_complexity(gram[sample][:, sample], 1.0, draws=20, generator=g).mean()
        )
    mean_gap, twice = torch.stack(gaps).mean(), 2 * torch.stack(complexities).mean()
    assert mean_gap < twice < G.bound_steps(kernel, values, 1.0, 15, 0.05)["symmetrised"]


def test_rademacher_complexity_against_all_signs():
    phi, kernel, values, g = pool(5, size=6)
    pairs = values[:, :, None] * phi[:, None, :]
    every = torch.cartesian_prod(
        *[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 6
    )  # (64, 6)
    exact = (2.0 / 6 * torch.einsum("sn,nvr->svr", every, pairs).flatten(1).norm(dim=1)).mean()
    draws = G.rademacher_complexity(G.pair_gram(kernel, values), 2.0, draws=20_000, generator=g)
    assert (draws.mean() - exact).abs() < 4 * draws.std() / math.sqrt(20_000)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: G.pair_gram(torch.ones(3, 3), torch.ones(4, 2)), "kernel must have shape"),
        (
            lambda: G.gap_supremum(torch.ones(3, 3), torch.tensor([], dtype=torch.long), 1.0),
            "at least one index",
        ),
        (lambda: G.gap_supremum(torch.ones(3, 3), torch.tensor([0]), -1.0), "w must be"),
        (lambda: G.bound_steps(torch.ones(3, 3), torch.ones(3, 2), 1.0, 0, 0.1), "n must be"),
        (
            lambda: G.bound_steps(torch.ones(3, 3), torch.ones(3, 2), 1.0, 5, 1.0),
            "delta must lie",
        ),
        (
            lambda: G.rademacher_complexity(torch.ones(3, 3), 1.0, draws=0, generator=gen(0)),
            "draws must be",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
