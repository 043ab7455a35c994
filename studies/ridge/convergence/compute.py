"""Theorem 1 measured: its inequalities on random instances, its path, and how its rate moves
with K and H."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import torch

from iclbook.errors import require
from iclbook.ridge.convergence import TheoryRule, conditioning, frozen_curve, weighted_attention
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, covariance_root
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import log_steps
from studies.ridge.convergence.inequalities import model_pairs, softmax_pairs

FAMILY = 128  # tokens and heads drawn for each seed, of which a size takes the first


def thm1_inequalities(settings, point) -> dict[str, pd.DataFrame]:
    """Every inequality of the proof on random instances.

    The ratio is the larger side over the smaller side as the proof states them, so that 1 or
    more means it holds; a violation is a ratio below 1 by more than rounding (1e-6). Instances
    whose smaller side is below 1e-10 are left out.
    """
    generator = torch.Generator().manual_seed(point["seed"])
    found: dict[str, list[float]] = {}
    count = math.ceil(settings.instances / len(settings.sizes))
    for size in settings.sizes:
        of_softmax = softmax_pairs(2 * count, generator)
        for name, large, small in (*of_softmax, *model_pairs(*size, count, generator)):
            told = small > 1e-10  # below, rounding decides
            found.setdefault(name, []).extend((large[told] / small[told]).tolist())
    rows = []
    for name, ratios in found.items():
        violations = sum(not ratio >= 1 - 1e-6 for ratio in ratios)
        rows.append((name, len(ratios), violations, min(ratios)))
    columns = ["inequality", "instances", "violations", "tightest_ratio"]
    return {"inequalities": pd.DataFrame(rows, columns=columns)}


def frozen_attention(settings, point) -> dict[str, pd.DataFrame]:
    """Gradient descent on w alone, beside the closed form of its curve.

    Rates are -log of the contraction of the excess a step: measured between relative excess
    1e-16 and 1e-22, and predicted from kappa alone.
    """
    s = settings
    loss, model = _start(s, s.K, s.H, point["seed"])
    B, rule = weighted_attention(model, loss), TheoryRule.at(model, loss)
    M, mu = rule.b**2 / s.K, rule.zeta / s.K
    rate = 1 / M if point["rule"] == "1/M" else 2 / (M + mu)
    curve = list(_descend(model, loss, rate, 1.0, s.target, s.steps, freeze_Q=True))
    end = len(curve) - 1
    steps = [step for step in log_steps(s.steps) if step < end] + [end]
    error = -covariance_root(loss.covariance) @ loss.target  # (N, K)
    exact = frozen_curve(B, error, rate, torch.tensor(steps)).tolist()
    first, last = (
        next(t for t, value in enumerate(curve) if value <= level * curve[0])
        for level in (1e-16, 1e-22)
    )
    measured = math.log(curve[first] / curve[last]) / (last - first)
    predicted = -2 * math.log(max(1 - rate * mu, rate * M - 1))
    rates = {"kappa": M / mu, "measured": measured, "predicted": predicted}
    columns = {"step": steps, "excess": [curve[step] for step in steps], "exact": exact}
    return {"rates": pd.DataFrame([rates]), "curves": pd.DataFrame(columns)}


def thm1_path(settings, point) -> dict[str, pd.DataFrame]:
    """Two-rate gradient descent along which the proof is checked.

    eta_w is the theory's in every run; gamma is gamma_factor times the theory's, and eta_Q =
    eta_w / gamma^2. The largest contraction is over steps with an excess above 1e-20. A run
    that diverges ends where it does.
    """
    s = settings
    loss, model = _start(s, s.K, s.H, point["seed"])
    rule = TheoryRule.at(model, loss)
    gamma = point["gamma_factor"] * rule.gamma
    rate_Q = rule.rate_w / gamma**2
    constants = {
        "zeta_0": rule.zeta,
        "b_0": rule.b,
        "gamma": gamma,
        "rate_Q": rate_Q,
        "rate_w": rule.rate_w,
        "decrease": rule.decrease,
        "w_bound": rule.w_bound,
    }
    start, last, previous = model.Q.detach().clone(), None, None
    wanted, length, slowest, curves = set(log_steps(s.steps)), 0.0, 0.0, []
    run = _descend(model, loss, rate_Q, gamma, s.target, s.steps)
    for step, value in enumerate(run):
        here = torch.cat([model.Q.detach().flatten(), model.w.detach().flatten() / gamma])
        if last is not None:
            length += (here - last).norm().item()
            slowest = max(slowest, value / previous) if previous > 1e-20 else slowest
        last, previous = here, value
        if (step in wanted or value <= s.target) and math.isfinite(value):
            zeta, b = (x.item() for x in conditioning(weighted_attention(model, loss)))
            curves.append(
                {
                    "step": step,
                    "excess": value,
                    "bound": rule.excess * (1 - rule.decrease) ** step,
                    "zeta": zeta,
                    "b": b,
                    "w_norm": model.w.norm().item(),
                    "Q_drift": (model.Q.detach() - start).norm().item(),
                    "path_length": length,
                    "slowest": slowest,
                }
            )
    return {"constants": pd.DataFrame([constants]), "curves": pd.DataFrame(curves)}


def thm1_rates(settings, point) -> dict[str, pd.DataFrame]:
    """Steps to the target at one size of a sweep over K or H, by one rule.

    Dictionaries and heads are nested: a larger size keeps the smaller one's tokens, features
    and heads. Rules: "theory" (gamma and step sizes of the proof), "fixed" (one rate for Q and
    w, the same at every size of the sweep: the smallest eta_w that the theory gives there),
    "tuned" (the fewest steps over `gammas` x `multiples`).
    """
    s = settings
    K, H = (point["size"], s.H) if point["sweep"] == "K" else (s.K, point["size"])
    loss, model = _start(s, K, H, point["seed"])
    start = {name: value.clone() for name, value in model.state_dict().items()}
    rule = TheoryRule.at(model, loss)
    target = s.target * rule.excess

    def steps_with(rate_w: float, gamma: float, most: int) -> float:
        model.load_state_dict(start)
        return _steps(
            list(_descend(model, loss, rate_w / gamma**2, gamma, target, most)), target
        )

    if point["rule"] == "theory":
        best = (steps_with(rule.rate_w, rule.gamma, s.steps), rule.rate_w, rule.gamma)
    elif point["rule"] == "fixed":
        over_K = [(k, s.H) for k in s.dictionary_sizes]
        sizes = over_K if point["sweep"] == "K" else [(s.K, h) for h in s.heads]
        starts = [_start(s, *size, point["seed"]) for size in sizes]
        rate = min(TheoryRule.at(other, its_loss).rate_w for its_loss, other in starts)
        best = (steps_with(rate, 1.0, s.steps), rate, 1.0)
    else:
        best = (math.nan, math.nan, math.nan)
        for gamma, multiple in itertools.product(s.gammas, s.multiples):
            rate = multiple * K / rule.b**2
            most = s.steps if math.isnan(best[0]) else int(best[0]) - 1
            steps = steps_with(rate, gamma, most)
            best = best if math.isnan(steps) else (steps, rate, gamma)
    steps, rate_w, gamma = best
    found = {
        "steps": steps,
        "bound": math.log(s.target) / math.log1p(-rule.decrease),
        "rate_w": rate_w,
        "rate_Q": rate_w / gamma**2,
        "zeta_0": rule.zeta,
        "b_0": rule.b,
        "sigma": rule.sigma,
    }
    return {"steps": pd.DataFrame([found])}


def thm1_constants(settings, point) -> dict[str, pd.DataFrame]:
    """The constants of the theory before any training.

    Singular values are known to about 1e-16 b_0. Where sqrt(zeta_0) is below 1e-14 b_0,
    rounding decides it, and what is divided by it is NaN.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    sizes = s.N, s.K, s.d, s.m, s.tau
    dictionary = sample_dictionary(*sizes, generator=generator, tokens=point["tokens"])
    loss = PopulationLoss.of(dictionary)
    rule = TheoryRule.at(MultiHeadAttention(dictionary, point["H"], generator=generator), loss)
    told = rule.zeta**0.5 > 1e-14 * rule.b
    found = {
        "zeta_0": rule.zeta,
        "b_0": rule.b,
        "kappa": rule.b**2 / rule.zeta if told else math.nan,
        "gamma": rule.gamma if told else math.nan,
        "rate_Q": rule.rate_Q if told else math.nan,
        "rate_w": rule.rate_w,
        "decrease": rule.decrease if told else math.nan,
    }
    return {"constants": pd.DataFrame([found])}


def _start(s, K: int, H: int, seed: int) -> tuple[PopulationLoss, MultiHeadAttention]:
    """The loss and the model for tokens 1..K and heads 1..H of one larger draw, so that sizes
    are nested."""
    require(max(K, H) <= FAMILY, f"K and H may be at most {FAMILY} here, got K={K}, H={H}")
    generator = torch.Generator().manual_seed(seed)
    family = sample_dictionary(s.N, FAMILY, s.d, s.m, s.tau, generator=generator)
    heads = MultiHeadAttention(family, FAMILY, generator=generator).Q.detach()  # (d, FAMILY, d)
    dictionary = replace(family, tokens=family.tokens[:, :K], features=family.features[:, :K])
    model = MultiHeadAttention(dictionary, H, generator=generator)
    model.Q.data = heads[:, :H].contiguous()
    return PopulationLoss.of(dictionary), model


def _descend(model, loss, rate, gamma, target, most, *, freeze_Q=False) -> Iterator[float]:
    """Gradient descent; yields the excess before each step, until it is at most `target`, has
    grown a thousandfold, or `most` steps are taken."""
    optimizer, first = make_optimizer(model, "gd", rate, gamma=gamma, freeze_Q=freeze_Q), None
    for _, table in train(model, loss, optimizer, most, at=range(most + 1)):
        value = loss(table)[0].item()
        first = value if first is None else first
        yield value
        if not target < value < 1e3 * first:
            return


def _steps(curve: list[float], target: float) -> float:
    """Steps to the target along a curve; NaN where it does not end there."""
    return len(curve) - 1 if curve[-1] <= target else math.nan
