"""Heads against scipy, numpy and autograd; Proposition 1's cases."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from iclbook.errors import InputError
from iclbook.ridge import heads
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary
from studies.ridge.heads.compute import altered


def dictionary(N=4, K=7, d=7, m=3, tau=0.3, seed=0, **options):
    return sample_dictionary(
        N, K, d, m, tau, generator=torch.Generator().manual_seed(seed), **options
    )


def model(D, H=1, seed=1, beta=1.0):
    generator = torch.Generator().manual_seed(seed)
    drawn = MultiHeadAttention(D, H, generator=generator, beta=beta)
    with torch.no_grad():
        drawn.w.normal_(generator=generator)
    return drawn


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 5), st.floats(0.01, 2.0))
def test_one_signed_fits_agree_with_bounded_least_squares(seed, N, m, tau):
    loss = PopulationLoss.of(dictionary(N=N, K=8, m=m, tau=tau, seed=seed))
    fits, losses = heads.one_signed_fits(loss)
    root = scipy.linalg.sqrtm(loss.covariance.numpy()).real
    for index, bounds in enumerate([(0, np.inf), (-np.inf, 0)]):
        for k in range(8):
            solved = lsq_linear(
                root, root @ loss.target[:, k].numpy(), bounds, method="bvls", tol=1e-14
            )
            assert losses[index, k].item() == pytest.approx(solved.cost, rel=1e-8, abs=1e-10)
    assert (fits[0] >= 0).all() and (fits[1] <= 0).all()
    torch.testing.assert_close(8 * loss(fits[0])[0], losses[0].sum(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(8 * loss(fits[1])[0], losses[1].sum(), rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.0, 30.0))
def test_no_single_head_falls_below_the_bound(seed, N, beta):
    D = dictionary(N=N, seed=seed)
    loss = PopulationLoss.of(D)
    excess = loss(model(D, seed=seed, beta=beta)().detach())[0]
    assert excess >= heads.one_signed_fits(loss)[1].min(dim=0).values.mean() * (1 - 1e-10)


@pytest.mark.parametrize("K", [4, 6, 7])
def test_an_explicit_head_attains_the_bound_and_two_attain_the_minimum(K):
    D = dictionary(K=K)
    loss = PopulationLoss.of(D)
    bound = heads.one_signed_fits(loss)[1].min(dim=0).values.mean().item()
    with torch.no_grad():
        one, two = (
            loss(build(D)())[0].item()
            for build in (heads.best_one_head_model, heads.exact_two_head_model)
        )
    assert one == pytest.approx(bound, rel=1e-10, abs=1e-20)
    assert (bound > 0.01) == (K > D.N) and two < 1e-20


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 7), st.integers(1, 3))
def test_a_model_of_pieces_has_the_table_of_its_pieces(seed, N, K, H):
    assume(N <= K)
    D, generator = dictionary(N=N, K=K, d=9, seed=seed), torch.Generator().manual_seed(seed)
    pieces = torch.rand(H, N, K, generator=generator, dtype=torch.float64) + 0.01
    signs = torch.randn(H, K, generator=generator, dtype=torch.float64).sign()
    built = heads.model_of_pieces(D, pieces, signs)
    torch.testing.assert_close(
        built().detach(), (signs[:, None] * pieces).sum(dim=0), rtol=1e-8, atol=1e-8
    )


def test_pieces_that_no_head_can_hold_are_refused():
    D, ones = dictionary(), torch.ones(1, 4, 7, dtype=torch.float64)
    with pytest.raises(InputError, match="must be positive"):
        heads.model_of_pieces(D, 0 * ones, ones[:, 0])
    with pytest.raises(InputError, match="take K <= d"):
        heads.exact_two_head_model(dictionary(K=8))
    twins = type(D)(altered(D.tokens, "equal"), D.features, D.N, D.tau)
    with pytest.raises(InputError, match="are dependent"):
        heads.exact_two_head_model(twins)
    for pieces, signs in [
        (ones[:, :3], ones[:, 0]),
        (ones, ones[:, 0, :3]),
        (ones * torch.nan, ones[:, 0]),
    ]:
        with pytest.raises(InputError):
            heads.model_of_pieces(D, pieces, signs)
    with pytest.raises(InputError, match="N <= d"):
        heads.effective_parameters(5, 6, 4, 1)
    with pytest.raises(InputError, match="tokens must be one of"):
        altered(D.tokens, "sphere")


@pytest.mark.parametrize(("K", "H"), [(5, 1), (9, 2), (14, 3)])
def test_the_tables_derivative_agrees_with_autograd(K, H):
    D = dictionary(K=K, d=6)
    start = model(D, H)

    def table(U, w):
        return (torch.einsum("hnd,dk->nhk", U, D.tokens).softmax(dim=0) * w).sum(
            dim=1
        )  # (N, K)

    U = torch.einsum("dn,dhe->hne", D.V, start.Q.detach())  # (H, N, d)
    in_U, in_w = torch.autograd.functional.jacobian(table, (U, start.w.detach()))
    expected = torch.cat([in_U.reshape(D.N * K, -1), in_w.reshape(D.N * K, -1)], dim=1)
    torch.testing.assert_close(heads.table_jacobian(start), expected, rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(0, 2),
    st.integers(1, 4),
)
def test_the_count_of_parameters_is_the_rank_of_the_derivative_in_Q_and_w(seed, N, K, extra, H):
    assume(N <= K)
    D = dictionary(N=N, K=K, d=N + extra, seed=seed)
    drawn = model(D, H, seed=seed)

    def table(Q, w):
        return torch.func.functional_call(drawn, {"Q": Q, "w": w}, ())

    parts = torch.autograd.functional.jacobian(table, (drawn.Q.detach(), drawn.w.detach()))
    J = torch.cat([part.reshape(N * K, -1) for part in parts], dim=1)
    count = heads.effective_parameters(N, K, N + extra, H)
    rank = torch.linalg.matrix_rank(J, rtol=1e-11).item()
    assert rank == min(N * K, count)
    assert count == H * N * K or N + extra < K  # for K <= d every logit is free


def test_head_matrices_use_the_symmetric_root():
    D = dictionary()
    loss, S = PopulationLoss.of(D), model(D, 3).attention().detach()
    B = heads.head_matrices(S, loss.covariance)
    root = scipy.linalg.sqrtm(loss.covariance.numpy()).real
    np.testing.assert_allclose(B[2].numpy(), root @ S[:, :, 2].numpy(), rtol=1e-10, atol=1e-12)
    table = (S * model(D, 3).w.detach()).sum(dim=1)
    offsets = (
        torch.einsum("knh,hk->kn", B, model(D, 3).w.detach())
        - torch.from_numpy(root @ loss.target.numpy()).T
    )
    torch.testing.assert_close(
        offsets.square().sum() / (2 * D.K), loss(table)[0], rtol=1e-10, atol=0
    )  # Lemma 5


def test_numerical_rank_is_numpys():
    generator = np.random.default_rng(0)
    for shape in [(5, 9), (9, 5), (4, 4)]:
        for rank in range(1, 5):
            M = generator.normal(size=(shape[0], rank)) @ generator.normal(
                size=(rank, shape[1])
            )
            ours = heads.numerical_rank(torch.linalg.svdvals(torch.from_numpy(M)), shape)
            assert ours.item() == np.linalg.matrix_rank(M) == rank
    edge = 9 * torch.finfo(torch.float64).eps
    near = torch.tensor(
        [[1.0, 1.1 * edge, 0.9 * edge], [1e6, 1.0, 1.1 * edge]], dtype=torch.float64
    )
    assert heads.numerical_rank(near, (3, 9)).tolist() == [2, 2]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 7), st.sampled_from(["unit", "signs"]))
def test_distinct_tokens_give_full_rank_and_equal_ones_cost_one(seed, N, kind):
    D = dictionary(N=N, K=N + 3, d=24, seed=seed)
    for tokens, rank in (
        (altered(D.tokens, kind), N),
        (altered(altered(D.tokens, kind), "equal"), N - 1),
    ):
        assert (tokens.norm(dim=0) - 1).abs().max() < 1e-12
        changed = type(D)(tokens, D.features, D.N, D.tau)
        B = heads.head_matrices(
            model(changed, N, seed=seed).attention().detach(), PopulationLoss.of(D).covariance
        )
        assert (heads.numerical_rank(torch.linalg.svdvals(B), (N, N)) == rank).all()
