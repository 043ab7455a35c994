import math

import pytest
import torch
from dual_draws import EXAMPLES, gap, gen, prompts, vectors
from hypothesis import given
from hypothesis import strategies as st
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics.pairwise import rbf_kernel

from iclbook.dual import kernel as K
from iclbook.errors import InputError


def pair(norm, seed=0, d=4):
    """Two tokens (1, d) of the given norm, at a right angle when d > 1."""
    x = torch.zeros(1, d, dtype=torch.float64)
    y = x.clone()
    x[0, 0], y[0, 1] = norm, norm
    return x, y


def z_score(draws, wanted):
    """How many standard errors the mean of draws lies from wanted."""
    return ((draws.mean() - wanted) / (draws.std() / math.sqrt(len(draws)))).abs().item()


@EXAMPLES
@given(prompts())
def test_softmax_kernel_is_the_gaussian_kernel_times_two_norms(prompt):
    keys, _, query, _ = prompt
    half = keys.square().sum(-1, keepdim=True) / 2, query.square().sum(-1).unsqueeze(-1) / 2
    log_kernel = K.log_gaussian_kernel(keys, query) + half[0] + half[1]
    exact = K.softmax_kernel(keys, query)
    assert gap(log_kernel.exp(), exact, exact) < 1e-10


def test_gaussian_kernel_agrees_with_sklearn():
    x, y = vectors((7, 3), 1.5, gen(1)), vectors((5, 3), 0.5, gen(2))
    peer = torch.from_numpy(rbf_kernel(x.numpy(), y.numpy(), gamma=0.5))
    torch.testing.assert_close(K.log_gaussian_kernel(x, y).exp(), peer, rtol=1e-12, atol=0)


@EXAMPLES
@given(prompts(), st.integers(1, 40), st.booleans())
def test_shifted_features_give_the_attention_of_the_log_domain(prompt, d_r, orthogonal):
    keys, _, query, g = prompt
    w = K.draw_directions(d_r, keys.shape[-1], generator=g, orthogonal=orthogonal)
    log_k, log_q = K.log_positive_features(keys, w), K.log_positive_features(query, w)
    phi_k, phi_q = K.exp_shifted(log_k), K.exp_shifted(log_q, dim=-1)
    weights = K.kernel_weights(phi_q @ phi_k.mT)
    log_scores = (log_q.unsqueeze(-2) + log_k.unsqueeze(-3)).logsumexp(-1)  # (..., 1, N)
    exact = log_scores.softmax(-1)
    assert gap(weights, exact, exact.clamp(min=1e-200)) < 1e-10


def test_features_are_exact_at_zero_vectors():
    x, w = torch.zeros(3, 4, dtype=torch.float64), K.draw_directions(5, 4, generator=gen(0))
    phi = K.log_positive_features(x, w).exp()
    torch.testing.assert_close(
        phi @ phi.mT, torch.ones(3, 3, dtype=torch.float64), rtol=1e-14, atol=0
    )


@pytest.mark.parametrize("orthogonal", [False, True])
def test_positive_features_are_unbiased(orthogonal):
    x, y = vectors((1, 4), 0.7, gen(3)), vectors((1, 4), 0.6, gen(4))
    g, draws = gen(5), []
    for _ in range(2000):
        w = K.draw_directions(8, 4, generator=g, orthogonal=orthogonal)
        phi_x, phi_y = (K.log_positive_features(t, w).exp() for t in (x, y))
        draws.append((phi_x @ phi_y.mT).item())
    assert z_score(torch.tensor(draws, dtype=torch.float64), (x @ y.mT).exp().item()) < 4


def test_variance_of_positive_features_is_the_closed_form():
    x, y = vectors((1, 3), 0.6, gen(6)), vectors((1, 3), 0.5, gen(7))
    w = K.draw_directions(10 * 200_000, 3, generator=gen(8))
    phi_x, phi_y = (K.log_positive_features(t, w).exp() for t in (x, y))
    draws = (phi_x * phi_y).reshape(200_000, 10).sum(
        -1
    ) * 200_000  # each row: one set of 10 features
    squares = (draws - (x @ y.mT).exp().item()).square()
    wanted = K.positive_variance(x, y, 10).item()
    assert z_score(squares, wanted) < 4
    assert (
        4 * squares.std().item() / math.sqrt(200_000) < 0.05 * wanted
    )  # the test could see an error of 5 %


def test_variance_of_trigonometric_features_is_the_closed_form():
    x, y = vectors((1, 3), 0.9, gen(9)), vectors((1, 3), 1.1, gen(10))
    w = K.draw_directions(4 * 100_000, 3, generator=gen(11))
    terms = (K.trigonometric_features(x, w) * K.trigonometric_features(y, w)).reshape(
        2, 100_000, 4
    )
    draws = terms.sum((0, 2)) * 100_000
    exact = (x @ y.mT).exp().item()
    assert z_score(draws, exact) < 4
    assert z_score((draws - exact).square(), K.trigonometric_variance(x, y, 4).item()) < 4


def test_orthogonal_directions_lower_the_error():
    x, y = (
        torch.full((1, 4), 0.25, dtype=torch.float64),
        torch.full((1, 4), 0.25, dtype=torch.float64),
    )
    exact, g, sets, errors = (x @ y.mT).exp().item(), gen(14), 100_000, {}
    for orthogonal in (False, True):
        w = K.draw_directions(4 * sets, 4, generator=g, orthogonal=orthogonal)
        products = (
            K.log_positive_features(x, w).exp() * K.log_positive_features(y, w).exp() * sets
        )
        errors[orthogonal] = (
            products.reshape(sets, 4).sum(-1) - exact
        ).square()  # one set of 4 features each
    difference = errors[False].mean() - errors[True].mean()
    standard_error = ((errors[False].var() + errors[True].var()) / sets).sqrt()
    assert difference > 4 * standard_error
    for orthogonal, squares in errors.items():
        assert z_score(squares, K.positive_variance(x, y, 4, orthogonal=orthogonal).item()) < 4


@pytest.mark.parametrize("d_r", [1, 2, 5, 8])
def test_orthogonal_variance_counts_pairs_within_blocks(d_r):
    x, y, sets, d = vectors((1, 3), 0.6, gen(26)), vectors((1, 3), 0.6, gen(27)), 40_000, 3
    rows = -(-d_r // d) * d  # whole blocks are drawn, then each set keeps its first d_r rows
    w = K.draw_directions(rows * sets, d, generator=gen(28), orthogonal=True)
    products = (K.log_positive_features(x, w) + K.log_positive_features(y, w)).exp() * (
        rows * sets
    )
    draws = products.reshape(sets, rows)[:, :d_r].mean(-1)
    squares = (draws - (x @ y.mT).exp().item()).square()
    assert z_score(squares, K.positive_variance(x, y, d_r, orthogonal=True).item()) < 4


def test_orthogonal_variance_at_the_ends():
    x, y = vectors((5, 3), 2.5, gen(29)), vectors((4, 3), 2.5, gen(30))
    iid, orthogonal = (K.positive_variance(x, y, 6, orthogonal=o) for o in (False, True))
    assert (orthogonal < iid).all() and (orthogonal > 0).all()
    torch.testing.assert_close(
        K.positive_variance(x, y, 1, orthogonal=True), K.positive_variance(x, y, 1)
    )
    zero = torch.zeros(1, 3, dtype=torch.float64)
    assert K.positive_variance(zero, zero, 6, orthogonal=True) == 0
    x, y = x / 3, y / 3
    # d_r^2 Var - d_r Var_1 counts the ordered pairs of rows that share a block of d = 3.
    excess = [
        (
            d_r**2 * K.positive_variance(x, y, d_r, orthogonal=True)
            - d_r * K.positive_variance(x, y, 1)
        ).sum()
        for d_r in range(1, 9)
    ]
    counted = [(e / excess[2] * 6).item() for e in excess]
    assert counted == pytest.approx([0, 2, 6, 6, 8, 12, 12, 14], abs=1e-6)
    small = vectors((1, 3), 0.05, gen(31))  # leading order: c = -(2 / (d + 2)) (||s||^2 / 2)^2
    a = (2 * small).square().sum() / 2
    c = K._orthogonal_covariance(a.reshape(1, 1), 3)
    torch.testing.assert_close(c, (-2 / 5 * a**2).reshape(1, 1), rtol=0.02, atol=0)


def test_orthogonal_directions_are_orthogonal_in_blocks_and_gaussian():
    w = K.draw_directions(20_003, 5, generator=gen(15), orthogonal=True)
    block = w[:5] @ w[:5].T
    assert (block - block.diagonal().diag()).abs().max() < 1e-12
    assert w.shape == (20_003, 5)
    for moment in (w.mean(0), w.square().mean(0) - 1, w.pow(3).mean(0), w.pow(4).mean(0) - 3):
        assert moment.abs().max() < 5 * math.sqrt(96 / 20_003)  # Var w^4 = 96


def test_trigonometric_features_agree_with_sklearn():
    """A cosine sampler, averaged over the phases b and b + pi/2, is the cosine-sine pair
    without a phase."""
    x, y = vectors((6, 3), 0.8, gen(16)), vectors((4, 3), 1.3, gen(17))
    sampler = RBFSampler(gamma=0.5, n_components=25, random_state=0).fit(x.numpy())
    grams = []
    for phase in (0, math.pi / 2):
        sampler.random_offset_ = sampler.random_offset_ + phase
        grams.append(
            torch.from_numpy(sampler.transform(x.numpy()) @ sampler.transform(y.numpy()).T)
        )
    w = torch.from_numpy(sampler.random_weights_.T).contiguous()
    ours = K.trigonometric_features(x, w) @ K.trigonometric_features(y, w).mT
    norms = (x.square().sum(-1, keepdim=True) / 2 + y.square().sum(-1) / 2).exp()
    torch.testing.assert_close(ours, norms * (grams[0] + grams[1]) / 2, rtol=1e-10, atol=1e-12)


def test_trigonometric_features_fail_where_the_kernel_is_small():
    x = vectors((1, 4), 2.0, gen(18))
    assert K.trigonometric_variance(x, -x, 50) > 1e6 * K.positive_variance(
        x, -x, 100
    )  # x^T y = -4
    assert (
        K.trigonometric_variance(x, x, 50) < 1e-12 < K.positive_variance(x, x, 100)
    )  # and the reverse at x = y
    w = K.draw_directions(50, 4, generator=gen(19))
    keys = vectors((40, 4), 2.0, gen(20))
    phi = K.trigonometric_features(keys, w)
    assert (K.kernel_weights(phi @ phi.mT) < 0).any()
    positive = K.exp_shifted(K.log_positive_features(keys, w))
    assert (K.kernel_weights(positive @ positive.mT) > 0).all()


def test_kernel_weights_are_the_softmax():
    keys, queries = vectors((2, 9, 3), 2.0, gen(21)), vectors((2, 4, 3), 2.0, gen(22))
    mask = torch.rand(2, 4, 9, generator=gen(23)) < 0.7
    mask[..., 0] = True
    peer = (queries @ keys.mT).masked_fill(~mask, -torch.inf).softmax(-1)
    torch.testing.assert_close(
        K.kernel_weights(K.softmax_kernel(queries, keys), mask), peer, rtol=1e-12, atol=0
    )


def test_attention_variance_is_the_jacobian_around_the_exact_covariance():
    queries, keys, values = (
        vectors((2, 3), 0.8, gen(32)),
        vectors((5, 3), 1.2, gen(33)),
        vectors((5, 2), 1.0, gen(34)),
    )
    found = K.attention_variance(queries, keys, values, 7)
    for query, row in zip(queries, found):
        kernel = K.softmax_kernel(query[None], keys)
        J = torch.autograd.functional.jacobian(
            lambda k: (K.kernel_weights(k) @ values)[0], kernel
        )[:, 0]
        sums = query + keys
        covariance = kernel.mT * kernel * torch.expm1(sums @ sums.mT) / 7
        torch.testing.assert_close(row, (J @ covariance @ J.mT).diagonal(), rtol=1e-10, atol=0)
        variance = K.positive_variance(query[None], keys, 7)[0]
        torch.testing.assert_close(covariance.diagonal(), variance, rtol=1e-10, atol=0)


def test_attention_variance_is_what_many_features_show():
    queries, keys, d_r, draws = (
        vectors((2, 3), 0.4, gen(35)),
        vectors((5, 3), 0.4, gen(36)),
        500,
        [],
    )
    g, exact = gen(37), (queries @ keys.mT).softmax(-1)
    for _ in range(1500):
        w = K.draw_directions(d_r, 3, generator=g)
        phi_q, phi_k = (K.log_positive_features(t, w).exp() for t in (queries, keys))
        draws.append((K.kernel_weights(phi_q @ phi_k.mT) - exact).square())
    wanted = K.attention_variance(queries, keys, torch.eye(5, dtype=torch.float64), d_r)
    ratio = torch.stack(draws) / wanted
    assert (
        (ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 1500**0.5 + 0.02
    ).all()  # 0.02: orders beyond the first


def test_float32_stays_float32_and_close():
    keys, w = vectors((6, 4), 5.0, gen(24)), K.draw_directions(50, 4, generator=gen(25))
    results = []
    for dtype in (torch.float32, torch.float64):
        log = K.log_positive_features(keys.to(dtype), w.to(dtype))
        results.append(K.kernel_weights(K.exp_shifted(log, dim=-1) @ K.exp_shifted(log).mT))
    assert results[0].dtype == torch.float32
    torch.testing.assert_close(results[0].double(), results[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: K.draw_directions(0, 3, generator=gen(0)), "d_r must be a whole number"),
        (lambda: K.positive_variance(torch.ones(1, 2), torch.ones(1, 2), 0), "d_r must be"),
        (lambda: K.softmax_kernel(torch.ones(0, 3), torch.ones(1, 3)), "no tokens"),
        (lambda: K.softmax_kernel(torch.ones(2, 3), torch.ones(1, 4)), "must have shape"),
        (lambda: K.softmax_kernel(torch.full((2, 3), torch.nan), torch.ones(1, 3)), "NaN"),
        (
            lambda: K.log_positive_features(torch.ones(2, 3), torch.ones(5, 2)),
            "w must have shape",
        ),
        (lambda: K.log_gaussian_kernel(torch.ones(3), torch.ones(1, 3)), "must have shape"),
        (lambda: K.softmax_kernel(torch.ones(2, 0), torch.ones(1, 0)), "width 0"),
        (
            lambda: K.attention_variance(
                torch.ones(1, 2), torch.ones(3, 2), torch.ones(3, 1), 0
            ),
            "d_r must be",
        ),
        (
            lambda: K.attention_variance(
                torch.ones(1, 2), torch.ones(3, 2), torch.ones(2, 1), 5
            ),
            "one value",
        ),
        (
            lambda: K.kernel_weights(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)),
            "show it a key",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
