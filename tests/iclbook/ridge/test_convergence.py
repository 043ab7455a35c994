"""Theorem 1: derivatives against autograd, constants against brute force, claims against false
data."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from iclbook.experiments.ridge import convergence as experiments
from iclbook.experiments.ridge import convergence_checks as checks
from ridge_draws import generator
from scipy.linalg import sqrtm

from iclbook.claim import all_claims
from iclbook.errors import InputError
from iclbook.ridge import convergence as theory
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, covariance_root
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer, train
from studies.ridge.convergence.settings import Thm1Path, Thm1Rates


def start(N=3, K=5, d=4, m=3, H=6, tau=0.4, beta=1.0, seed=0):
    dictionary = sample_dictionary(N, K, d, m, tau, generator=generator(seed))
    return PopulationLoss.of(dictionary), MultiHeadAttention(
        dictionary, H, generator=generator(seed + 1), beta=beta
    )


def hessian_in_Q_and_alpha(loss, model, gamma):
    def value(Q, alpha):
        return loss(torch.func.functional_call(model, {"Q": Q, "w": gamma * alpha}))[0]

    Q, alpha = model.Q.detach(), model.w.detach() / gamma
    blocks = torch.autograd.functional.hessian(value, (Q, alpha))
    sizes = (Q.numel(), alpha.numel())
    return torch.cat(
        [
            torch.cat([blocks[i][j].reshape(sizes[i], sizes[j]) for j in (0, 1)], dim=1)
            for i in (0, 1)
        ]
    )


def test_covariance_root_is_scipys():
    loss, _ = start()
    expected = sqrtm(loss.covariance.numpy())
    np.testing.assert_allclose(
        covariance_root(loss.covariance), expected, rtol=1e-10, atol=1e-12
    )


def test_weighted_attention_and_conditioning_by_hand():
    loss, model = start()
    zeta, b = theory.conditioning(theory.weighted_attention(model, loss))
    root, extremes = sqrtm(loss.covariance.numpy()), []
    for k in range(5):
        columns = [
            (model.V.T @ model.Q[:, h] @ model.tokens[:, k]).softmax(0).detach()
            for h in range(6)
        ]
        B = root @ torch.stack(columns, dim=1).numpy()
        torch.testing.assert_close(
            theory.weighted_attention(model, loss)[k], torch.tensor(B), rtol=1e-10, atol=1e-12
        )
        extremes.append(np.linalg.eigvalsh(B @ B.T)[[0, -1]])
    assert zeta.item() == pytest.approx(min(e[0] for e in extremes), rel=1e-9)
    assert b.item() ** 2 == pytest.approx(max(e[1] for e in extremes), rel=1e-9)


def test_too_few_heads_have_zeta_zero_and_no_rule():
    loss, model = start(H=2)
    assert theory.conditioning(theory.weighted_attention(model, loss))[0] == 0
    with pytest.raises(InputError, match="H >= N"):
        theory.TheoryRule.at(model, loss)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_softmax_derivatives_are_those_of_autograd(seed, n):
    x, u = torch.randn(2, n, generator=generator(seed), dtype=torch.float64)
    first, second = theory.softmax_derivatives(x.softmax(0), u)
    path = lambda t: (x + t * u).softmax(0)  # noqa: E731
    slope = torch.func.jacfwd(path)
    zero = torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(first, slope(zero), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(second, torch.func.jacfwd(slope)(zero), rtol=1e-10, atol=1e-13)


def test_softmax_derivatives_refuse_another_shape():
    with pytest.raises(InputError, match="u must have shape"):
        theory.softmax_derivatives(torch.ones(3) / 3, torch.ones(4))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(-1, 2), st.floats(-2, 1), st.floats(-1, 1))
def test_curvature_bound_is_above_the_hessian(seed, gamma, size, beta):
    loss, model = start(seed=seed, beta=10**beta)
    model.w.data = 10**size * torch.randn(
        model.w.shape, generator=generator(seed), dtype=torch.float64
    )
    gamma = 10**gamma
    _, b = theory.conditioning(theory.weighted_attention(model, loss))
    bound = theory.curvature_bound(
        gamma=gamma, b=b.item(), sigma=torch.linalg.eigvalsh(loss.covariance)[-1].sqrt().item(), radius=1.0,
        w_norm=model.w.norm().item(), error_norm=math.sqrt(2 * 5 * loss(model())[0].item()), K=5)  # fmt: skip
    assert torch.linalg.eigvalsh(hessian_in_Q_and_alpha(loss, model, gamma))[-1] <= bound * (
        1 + 1e-9
    )


def test_curvature_bound_by_hand():
    bound = theory.curvature_bound(
        gamma=2.0, b=3.0, sigma=5.0, radius=2.0, w_norm=4.0, error_norm=6.0, K=7
    )
    slope, bend = 5 * 4 * 4 / 2**0.5, 5 * (2 * 2 * 4 / 2**0.5 / 2 + 2**0.5 * 16 * 4)
    assert bound == pytest.approx((36 + slope**2 + 6 * bend) / 7, rel=1e-12)


def test_curvature_bound_is_attained_where_only_w_curves():
    loss, model = start()
    model.w.data.zero_()
    values = torch.linalg.eigvalsh(hessian_in_Q_and_alpha(loss, model, 1e4))
    _, b = theory.conditioning(theory.weighted_attention(model, loss))
    bound = theory.curvature_bound(
        gamma=1e4, b=b.item(), sigma=1, radius=1, w_norm=0, error_norm=0, K=5
    )
    assert values[-1].item() == pytest.approx(bound, rel=1e-6)


def test_rule_against_its_formulas():
    loss, model = start()
    rule = theory.TheoryRule.at(model, loss)
    C0, sigma = rule.zeta, torch.linalg.matrix_norm(loss.covariance, 2).sqrt().item()
    assert rule.sigma == pytest.approx(sigma) and rule.radius == pytest.approx(1)
    assert rule.excess == pytest.approx(loss(0 * loss.target)[0].item()) and rule.K == 5
    # At the smallest gamma the ball's radius D = W / gamma moves B by just (1 - 1/sqrt 2)
    # sqrt(zeta_0).
    D = rule.w_bound / rule.gamma
    assert sigma * D / 2**0.5 == pytest.approx((1 - 0.5**0.5) * C0**0.5, rel=1e-12)
    # D = sqrt(8 (L - L*) / mu).
    mu = rule.gamma**2 * C0 / (2 * 5)
    assert pytest.approx(math.sqrt(8 * rule.excess / mu), rel=1e-12) == D
    assert rule.decrease == pytest.approx(rule.rate_Q * mu, rel=1e-12)
    # The chapter's corollary: M mu^-1 in terms of kappa alone, from above.
    kappa = rule.b**2 / rule.zeta
    ceiling = 2 * ((kappa**0.5 + 0.293) ** 2 + 0.19 + 0.086 * rule.zeta**0.5 / sigma)
    assert kappa < 1 / rule.decrease < ceiling * (1 + 1e-3)


def test_rule_does_not_depend_on_the_scale_of_the_labels():
    loss, model = start()
    rule = theory.TheoryRule.at(model, loss)
    scaled = theory.TheoryRule.at(model, PopulationLoss(loss.target, 9 * loss.covariance))
    assert scaled.gamma == pytest.approx(rule.gamma, rel=1e-9)
    assert scaled.decrease == pytest.approx(rule.decrease, rel=1e-9)
    assert scaled.rate_Q == pytest.approx(rule.rate_Q / 9, rel=1e-9)


def test_rule_refuses_zeta_zero_among_many_models():
    with pytest.raises(InputError, match="zeta_0 = 0"):
        theory.TheoryRule(
            torch.tensor([1.0, 0.0]),
            torch.ones(2),
            torch.ones(2),
            torch.ones(2),
            torch.ones(2),
            3,
        )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_theory_never_fails_along_a_path(seed):
    loss, model = start(seed=seed, H=8)
    rule = theory.TheoryRule.at(model, loss)
    Q, excess, inside = model.Q.detach().clone(), [], []

    def record(step, table):
        excess.append(loss(table)[0].item())
        zeta, _ = theory.conditioning(theory.weighted_attention(model, loss))
        drift = (model.Q.detach() - Q).norm().item()
        small = drift <= rule.w_bound / rule.gamma and model.w.norm() <= rule.w_bound
        inside.append(zeta.item() >= rule.zeta / 2 and small)

    train(
        model,
        loss,
        make_optimizer(model, "gd", rule.rate_Q, gamma=rule.gamma),
        100,
        record,
        range(101),
    )
    assert all(inside)
    ratios = np.array(excess[1:]) / np.array(excess[:-1])
    assert (ratios <= 1 - rule.decrease + 1e-12).all()


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_frozen_curve_is_gradient_descent_on_w(rate):
    loss, model = start()
    B = theory.weighted_attention(model, loss)
    steps = torch.tensor([0, 1, 2, 5, 40])
    error = -covariance_root(loss.covariance) @ loss.target
    curve = theory.frozen_curve(B, error, rate, steps)
    found = []
    optimizer = make_optimizer(model, "gd", rate, freeze_Q=True)
    train(
        model,
        loss,
        optimizer,
        40,
        lambda _, table: found.append(loss(table)[0]),
        steps.tolist(),
    )
    torch.testing.assert_close(curve, torch.stack(found), rtol=1e-10, atol=1e-14)


def test_batched_excess_and_attention_are_the_models():
    loss, model = start()
    model.w.data = torch.randn(model.w.shape, generator=generator(3), dtype=torch.float64)
    torch.testing.assert_close(
        checks.attention(model.Q, model.tokens, 3), model.attention(), rtol=1e-12, atol=1e-14
    )
    value = checks.excess(
        model.Q, model.w, model.tokens, covariance_root(loss.covariance), loss.target
    )
    torch.testing.assert_close(value, loss(model())[0], rtol=1e-10, atol=0)


def test_points_of_the_region_lie_in_it():
    found = dict(
        (name, (large, small))
        for name, large, small in checks.model_pairs(3, 4, 3, 2, 5, 50, generator())
    )
    assert set(found) == {"attention against Q", "zeta against B", "PL", "PL, w alone, worst error", "curvature",
                          "zeta in the ball", "descent", "length of a step", "contraction of a step"}  # fmt: skip
    for large, small in found.values():
        assert torch.isfinite(large).all() and torch.isfinite(small).all()
    large, small = found["PL, w alone, worst error"]
    torch.testing.assert_close(large, small, rtol=1e-6, atol=1e-12)


def test_sizes_are_nested_so_zeta_and_b_are_monotone():
    s = Thm1Rates()
    rules = [theory.TheoryRule.at(*experiments._start(s, K, 8, 1)[::-1]) for K in (6, 12, 24)]
    grows = lambda *values: all(np.diff(values) >= -1e-9)  # noqa: E731
    assert grows(*(-rule.zeta for rule in rules)) and grows(*(rule.b for rule in rules))
    few, many = (experiments._start(s, 8, H, 1)[1].Q for H in (8, 16))
    assert torch.equal(few, many[:, :8])
    rules = [theory.TheoryRule.at(*experiments._start(s, 8, H, 1)[::-1]) for H in (8, 16, 64)]
    assert grows(*(rule.zeta for rule in rules)) and grows(*(rule.b for rule in rules))


def test_a_family_has_its_limits():
    with pytest.raises(InputError, match="at most 128"):
        experiments._start(Thm1Rates(), 200, 8, 0)


def test_path_reaches_its_target_and_stops_there():
    table = experiments.thm1_path(
        Thm1Path(target=1e-6, steps=5_000), {"gamma_factor": 1.0, "seed": 0}
    )
    excess = table[table["quantity"] == "excess"]["value"]
    assert excess.iloc[-1] <= 1e-6 < excess.iloc[-2]


def test_descent_that_diverges_or_runs_out_gives_nan():
    loss, model = start()
    assert math.isnan(experiments._descend(model, loss, 1e3, 1.0, 1e-9, 500)[0])
    loss, model = start()
    steps, curve = experiments._descend(model, loss, 1e-3, 1.0, 1e-9, 30)
    assert math.isnan(steps) and len(curve) == 31


# -- claims on data that make them true and false
# ---------------------------------------------------------------------


def verdict(name, **tables):
    claim = all_claims()[f"yang2024/{name}"]
    tables = {f"yang2024/{key.replace('_', '-')}": value for key, value in tables.items()}
    return replace(claim, verdict="reproduced").check(tables)


def inequalities(**ratios):
    names = {"PL": 1.2, "PL, w alone, worst error": 1.0, "curvature": 1.01} | ratios
    rows = [(0, name, "tightest ratio", value) for name, value in names.items()]
    return pd.DataFrame(rows, columns=["seed", "inequality", "quantity", "value"])


def path(rate=0.03, decrease=0.007, zeta=1.0, bend=0.0, slowest=None, last=2_000):
    rows = [(1.0, 0, 0, "zeta_0", 2.0), (1.0, 0, 0, "decrease", decrease)]
    for step in [0, 1, 10, 100, *range(200, last, 100)]:
        excess = math.exp(-rate * step / (1 + bend * step / 2_000))
        rows += [(1.0, 0, step, "excess", excess), (1.0, 0, step, "zeta", 2.0 * zeta),
                 (1.0, 0, step, "slowest contraction", (slowest or math.exp(-rate)) if step else 0.0)]  # fmt: skip
    return pd.DataFrame(rows, columns=["gamma_factor", "seed", "step", "quantity", "value"])


def rates(sweep, **powers):
    rows = [(sweep, size, rule, seed, "steps", 100 * (1 + 0.01 * seed) * size**power)
            for rule, power in powers.items() for size in (6, 12, 24) for seed in (0, 1, 2)]  # fmt: skip
    return pd.DataFrame(rows, columns=["sweep", "size", "rule", "seed", "quantity", "value"])


def frozen(factor=1.0):
    rows = [("1/M", 0, step, name, value) for step in (0, 10) for name, value in
            (("excess", factor * math.exp(-step)), ("excess exact", math.exp(-step)))]  # fmt: skip
    return pd.DataFrame(rows, columns=["rule", "seed", "step", "quantity", "value"])


@pytest.mark.parametrize(
    "name, good, bad",
    [
        ("thm1-pl-inequality", {"thm1_inequalities": inequalities()}, {"thm1_inequalities": inequalities(PL=0.99)}),
        ("thm1-pl-inequality", {"thm1_inequalities": inequalities(curvature=0.5)},
         {"thm1_inequalities": inequalities(**{"PL, w alone, worst error": 0.9})}),
        ("thm1-proof-inequalities", {"thm1_inequalities": inequalities()},
         {"thm1_inequalities": inequalities(curvature=0.99)}),
        ("thm1-proof-inequalities", {"thm1_inequalities": inequalities()},
         {"thm1_inequalities": inequalities(curvature=math.nan)}),
        ("thm1-zeta-stays", {"thm1_path": path(zeta=0.6)}, {"thm1_path": path(zeta=0.4)}),
        ("thm1-linear-convergence", {"thm1_path": path()}, {"thm1_path": path(bend=1.0, last=10_000)}),
        ("thm1-linear-convergence", {"thm1_path": path()}, {"thm1_path": path(last=1_500)}),
        ("thm1-rate-bound-holds", {"thm1_path": path()}, {"thm1_path": path(decrease=0.04)}),
        ("thm1-rate-bound-holds", {"thm1_path": path()}, {"thm1_path": path(slowest=0.9999)}),
        ("thm1-rate-bound-holds", {"thm1_path": path()},
         {"thm1_path": path(rate=0.06, bend=1.0, decrease=0.0305, slowest=math.exp(-0.05))}),
        ("frozen-attention-rate", {"frozen_attention": frozen()}, {"frozen_attention": frozen(1.001)}),
        ("thm1-slower-with-k", {"thm1_rates": rates("K", theory=0.5, fixed=1, tuned=0.3)},
         {"thm1_rates": rates("K", theory=-0.5, fixed=0, tuned=0.05)}),
        ("thm1-slower-with-h", {"thm1_rates": rates("H", theory=0.5, fixed=1, tuned=0.3)},
         {"thm1_rates": rates("H", theory=-0.5, fixed=-1, tuned=0.05)}),
    ],
)  # fmt: skip
def test_claims_tell_true_from_false(name, good, bad):
    assert verdict(name, **good).verdict == "reproduced"
    assert verdict(name, **bad).verdict == "not reproduced"


@pytest.mark.parametrize("sweep", ["K", "H"])
def test_a_claim_on_slowing_is_partly_true_where_the_rules_disagree(sweep):
    outcome = verdict(
        f"thm1-slower-with-{sweep.lower()}",
        thm1_rates=rates(sweep, theory=0.05, fixed=1, tuned=0.3),
    )
    assert outcome.verdict == "partly" and outcome.measured == pytest.approx(0.05)
    steady = rates(sweep, theory=0.5, fixed=1, tuned=0.3)
    halved = steady.assign(
        value=steady["value"].where(steady["seed"] > 0, 100.0)
    )  # one seed of three never slows
    assert (
        verdict(f"thm1-slower-with-{sweep.lower()}", thm1_rates=steady).verdict == "reproduced"
    )
    assert verdict(
        f"thm1-slower-with-{sweep.lower()}", thm1_rates=halved
    ).measured == pytest.approx(0.15)
    unreached = rates(sweep, theory=0.5, fixed=1, tuned=math.nan)
    assert (
        verdict(f"thm1-slower-with-{sweep.lower()}", thm1_rates=unreached).verdict == "partly"
    )
