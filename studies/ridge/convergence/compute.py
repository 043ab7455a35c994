"""Theorem 1 measured: its inequalities on random instances, its path, and how its rate moves
with K and H."""

import itertools
import math
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from iclbook.errors import require
from iclbook.ridge.convergence import TheoryRule, conditioning, frozen_curve, weighted_attention
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, covariance_root
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import log_steps
from studies.ridge.convergence.inequalities import model_pairs, softmax_pairs

CHUNK = 50  # steps between two looks at the stop rule
FAMILY = 128  # tokens and heads drawn for each seed, of which a size takes the first


def thm1_inequalities(settings, point) -> pd.DataFrame:
    """Columns: seed, inequality, quantity ("instances", "violations", "tightest ratio"), value.

    The ratio is the larger side over the smaller side as the proof states them, so that 1 or
    more means it holds; a violation is a ratio below 1 by more than rounding (1e-6). Instances
    whose smaller side is below 1e-10 are left out.
    """
    generator = torch.Generator().manual_seed(point["seed"])
    found: dict[str, list[float]] = {}
    for size in settings.sizes:
        count = math.ceil(settings.instances / len(settings.sizes))
        for name, large, small in (
            *softmax_pairs(2 * count, generator),
            *model_pairs(*size, count, generator),
        ):
            told = small > 1e-10  # below, rounding decides
            found.setdefault(name, []).extend((large[told] / small[told]).tolist())
    rows = []
    for name, ratios in found.items():
        rows += [
            (name, "instances", len(ratios)),
            (name, "violations", sum(not ratio >= 1 - 1e-6 for ratio in ratios)),
            (name, "tightest ratio", min(ratios)),
        ]
    return pd.DataFrame(rows, columns=["inequality", "quantity", "value"])


def frozen_attention(settings, point) -> pd.DataFrame:
    """Columns: rule, seed, step, quantity, value. At step 0 also kappa, the step size and the
    two asymptotic rates.

    Rates are -log of the contraction of the excess a step: measured between relative excess
    1e-16 and 1e-22, and predicted from kappa alone. "excess exact" is the closed form of the
    whole curve.
    """
    s = settings
    loss, model = _start(s, s.K, s.H, point["seed"])
    B, rule = weighted_attention(model, loss), TheoryRule.at(model, loss)
    M, mu = rule.b**2 / s.K, rule.zeta / s.K
    rate = 1 / M if point["rule"] == "1/M" else 2 / (M + mu)
    curve = _descend(model, loss, rate, 1.0, s.target, s.steps, freeze_Q=True)[1]
    steps = [step for step in log_steps(s.steps) if step < len(curve) - 1] + [len(curve) - 1]
    exact = frozen_curve(
        B, -covariance_root(loss.covariance) @ loss.target, rate, torch.tensor(steps)
    )
    first, last = (
        next(t for t, value in enumerate(curve) if value <= level * curve[0])
        for level in (1e-16, 1e-22)
    )
    rows = [
        (0, "kappa", M / mu),
        (0, "rate measured", math.log(curve[first] / curve[last]) / (last - first)),
        (0, "rate predicted", -2 * math.log(max(1 - rate * mu, rate * M - 1))),
    ]
    for step, closed in zip(steps, exact.tolist()):
        rows += [(step, "excess", curve[step]), (step, "excess exact", closed)]
    return pd.DataFrame(rows, columns=["step", "quantity", "value"])


def thm1_path(settings, point) -> pd.DataFrame:
    """Columns: gamma_factor, seed, step, quantity, value.

    eta_w is the theory's in every run; gamma is gamma_factor times the theory's, and eta_Q =
    eta_w / gamma^2. At step 0 the constants of the rule. At recorded steps: excess, its bound
    (1 - eta mu)^t (L - L*)_0, zeta, b, ||w||_F, the drift ||Q - Q_0||_F and the path length in
    (Q, alpha), and the largest contraction of one step so far (over steps with an excess above
    1e-20). A run that diverges ends where it does.
    """
    s = settings
    loss, model = _start(s, s.K, s.H, point["seed"])
    rule = TheoryRule.at(model, loss)
    gamma = point["gamma_factor"] * rule.gamma
    start, last = model.Q.detach().clone(), None
    wanted, length, slowest, previous, rows = set(log_steps(s.steps)), 0.0, 0.0, None, []
    constants = {"zeta_0": rule.zeta, "b_0": rule.b, "gamma": gamma, "rate Q": rule.rate_w / gamma**2,
                 "rate w": rule.rate_w, "decrease": rule.decrease, "w bound": rule.w_bound}  # fmt: skip
    rows += [(0, name, value) for name, value in constants.items()]

    def record(step: int, value: float) -> None:
        nonlocal last, length, slowest, previous
        here = torch.cat([model.Q.detach().flatten(), model.w.detach().flatten() / gamma])
        if last is not None:
            length += (here - last).norm().item()
            slowest = max(slowest, value / previous) if previous > 1e-20 else slowest
        last, previous = here, value
        if (step in wanted or value <= s.target) and math.isfinite(value):
            zeta, b = (
                number.item() for number in conditioning(weighted_attention(model, loss))
            )
            measured = {"excess": value, "bound": rule.excess * (1 - rule.decrease) ** step, "zeta": zeta, "b": b,
                        "w norm": model.w.norm().item(), "Q drift": (model.Q.detach() - start).norm().item(),
                        "path length": length, "slowest contraction": slowest}  # fmt: skip
            rows.extend((step, name, number) for name, number in measured.items())

    _descend(model, loss, rule.rate_w / gamma**2, gamma, s.target, s.steps, record)
    return pd.DataFrame(rows, columns=["step", "quantity", "value"])


def thm1_rates(settings, point) -> pd.DataFrame:
    """Columns: sweep ("K", "H"), size, rule, seed, quantity, value.

    Dictionaries and heads are nested: a larger size keeps the smaller one's tokens, features
    and heads. Rules: "theory" (gamma and step sizes of the proof), "fixed" (one rate for Q and
    w, the same at every size of the sweep: the smallest eta_w that the theory gives there),
    "tuned" (the fewest steps over `gammas` x `multiples`).
    Quantities: steps to the target (NaN where not reached), their bound by the theory, the
    rates used, zeta_0, b_0.
    """
    s = settings
    K, H = (point["size"], s.H) if point["sweep"] == "K" else (s.K, point["size"])
    loss, model = _start(s, K, H, point["seed"])
    start, rule = (
        {name: value.clone() for name, value in model.state_dict().items()},
        TheoryRule.at(model, loss),
    )
    target = s.target * rule.excess

    def steps_with(rate_w: float, gamma: float, most: int) -> float:
        model.load_state_dict(start)
        return _descend(model, loss, rate_w / gamma**2, gamma, target, most)[0]

    if point["rule"] == "theory":
        best = (steps_with(rule.rate_w, rule.gamma, s.steps), rule.rate_w, rule.gamma)
    elif point["rule"] == "fixed":
        sizes = (
            [(k, s.H) for k in s.dictionary_sizes]
            if point["sweep"] == "K"
            else [(s.K, h) for h in s.heads]
        )
        rate = min(
            TheoryRule.at(*_start(s, *size, point["seed"])[::-1]).rate_w for size in sizes
        )
        best = (steps_with(rate, 1.0, s.steps), rate, 1.0)
    else:
        best = (math.nan, math.nan, math.nan)
        for gamma, multiple in itertools.product(s.gammas, s.multiples):
            rate = multiple * K / rule.b**2
            most = s.steps if math.isnan(best[0]) else int(best[0]) - 1
            steps = steps_with(rate, gamma, most)
            best = best if math.isnan(steps) else (steps, rate, gamma)
    steps, rate_w, gamma = best
    bound = math.log(s.target) / math.log1p(-rule.decrease)
    values = {"steps": steps, "steps, bound": bound, "rate w": rate_w, "rate Q": rate_w / gamma**2,
              "zeta_0": rule.zeta, "b_0": rule.b, "sigma": rule.sigma}  # fmt: skip
    return pd.DataFrame(list(values.items()), columns=["quantity", "value"])


def thm1_constants(settings, point) -> pd.DataFrame:
    """Columns: tokens, H, seed, quantity, value: the constants of the theory before any
    training."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(
        s.N, s.K, s.d, s.m, s.tau, generator=generator, tokens=point["tokens"]
    )
    loss = PopulationLoss.of(dictionary)
    rule = TheoryRule.at(MultiHeadAttention(dictionary, point["H"], generator=generator), loss)
    values = {"zeta_0": rule.zeta, "b_0": rule.b, "kappa": rule.b**2 / rule.zeta, "gamma": rule.gamma,
              "rate Q": rule.rate_Q, "rate w": rule.rate_w, "decrease": rule.decrease}  # fmt: skip
    return pd.DataFrame(list(values.items()), columns=["quantity", "value"])


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


def _descend(
    model, loss, rate, gamma, target, most, record=None, *, freeze_Q=False
) -> tuple[float, list[float]]:
    """Gradient descent until the excess is at most `target`: (steps, excess at each step).

    Steps are NaN where the target is not reached within `most` steps, or the run diverges.
    """
    optimizer = make_optimizer(model, "gd", rate, gamma=gamma, freeze_Q=freeze_Q)
    curve, ended = [], False

    def look(_, table: Tensor) -> None:
        nonlocal ended
        if not ended:
            curve.append(loss(table)[0].item())
            ended = not target < curve[-1] < 1e3 * curve[0] or len(curve) > most
            if record:
                record(len(curve) - 1, curve[-1])

    while not ended:
        train(model, loss, optimizer, CHUNK, look, range(CHUNK))
    return (len(curve) - 1 if curve[-1] <= target else math.nan), curve
