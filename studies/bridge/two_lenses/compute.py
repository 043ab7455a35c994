"""A trained layer through both lenses, at Figure 2a's size and, small, with related tokens."""

import pandas as pd
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.null_models import frozen_attention_weights
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import (
    Dictionary,
    dtype_named,
    sample_dictionary,
    sample_labels,
    sample_tasks,
)
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import log_steps
from studies.bridge.two_lenses.lenses import (
    ROUTES,
    Spectrum,
    best_flow,
    best_polynomial,
    best_steps,
    related_dictionary,
    ridge,
)


def in_float64(model: MultiHeadAttention, exact: Dictionary) -> MultiHeadAttention:
    """The same parameters on the exact dictionary, in float64."""
    H = model.w.shape[0]
    looked = MultiHeadAttention(exact, H, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        looked.Q.copy_(model.Q)
        looked.w.copy_(model.w)
    return looked


def seen_heads(spectrum: Spectrum, attention: torch.Tensor, w: torch.Tensor) -> list[dict]:
    """The shares of each head; attention: (N, H, K - N), w: (H, K - N)."""
    centred = attention - attention.mean(dim=0)  # (N, H, K - N)
    return [
        {
            "head": h,
            "contribution": spectrum.share(attention[:, h] * w[h]),
            "softmax": spectrum.share(centred[:, h]),
        }
        for h in range(len(w))
    ]


def seen_whole(spectrum: Spectrum, table, w, loss: PopulationLoss) -> dict:
    """Measures of the whole layer: table (N, K), w (H, K)."""
    N = len(table)
    gross, net = w[:, N:].abs().sum(), table[:, N:].abs().sum()
    return {
        "excess_loss": loss(table)[0].item(),
        "share": spectrum.share(table[:, N:]),
        "gross": (gross / net).item(),
        "negative": (w < 0).double().mean().item(),
    }


def random_heads(spectrum, model: MultiHeadAttention, loss: PopulationLoss) -> list[dict]:
    """The shares of heads whose attention is as drawn, with the w of least norm."""
    attention, N = model.attention().detach(), model.V.shape[1]  # (N, H, K)
    w = frozen_attention_weights(attention, loss.target, loss.covariance)  # (H, K)
    return seen_heads(spectrum, attention[:, :, N:], w[:, N:])


def compared(s, spectrum: Spectrum, a: torch.Tensor) -> dict[str, list[dict]]:
    """Gains of the table a, (N, K - N), and its distances from rules and from steps."""
    rules = {
        "zero": spectrum.distance(a, 0 * a),
        "ridge, m tau": spectrum.distance(a, spectrum.table(ridge(s.m * s.tau))),
        "ridge, N tau": spectrum.distance(a, spectrum.table(ridge(s.N * s.tau))),
        "gradient flow": best_flow(spectrum, a),
    }
    gains = zip(spectrum.values.tolist(), spectrum.gains(a).tolist())
    return {
        "rules": [{"rule": rule, "distance": found} for rule, found in rules.items()],
        "gains": [
            {"direction": j, "eigenvalue": value, "gain": gain}
            for j, (value, gain) in enumerate(gains)
        ],
        "steps": [
            {
                "taken": count,
                "one_rate": best_steps(spectrum, a, count),
                "free": spectrum.distance(a, best_polynomial(spectrum, a, count)),
            }
            for count in s.taken
        ],
    }


def two_lenses(settings, point) -> dict[str, pd.DataFrame]:
    """Train Figure 2a's model; at some steps test the identity, read off filter and heads."""
    s, N = settings, settings.N
    generator = torch.Generator().manual_seed(point["seed"])
    exact = sample_dictionary(N, s.K, s.d, s.m, s.tau, generator=generator)
    model = MultiHeadAttention(exact.to(dtype_named(s.dtype)), s.H, generator=generator)
    loss, spectrum = PopulationLoss.of(exact), Spectrum.of(exact)
    tasks = sample_tasks(s.prompts, s.m, generator=generator)
    y = sample_labels(exact, tasks, generator=generator)[:, :N]  # (prompts, N)
    names = ("identity", "whole", "rates", "gains", "rules", "steps", "heads")
    found = {name: [] for name in names}
    trained_on = PopulationLoss.of(exact, model.w.dtype)
    start = random_heads(spectrum, in_float64(model, exact), loss)
    at = [step for step in log_steps(s.steps, per_decade=2) if step]  # at 0 all is zero
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    for step, _ in train(model, trained_on, optimizer, s.steps, at=at):
        looked = in_float64(model, exact)
        attention, w = looked.attention().detach(), looked.w.detach()  # (N, H, K), (H, K)
        table = looked().detach()  # (N, K)
        predicted, eye = y @ table, torch.eye(N, dtype=table.dtype)
        copied = {"copied": ((table[:, :N] - eye).norm() / eye.norm()).item()}
        rows = compared(s, spectrum, table[:, N:]) | {
            "identity": [
                {"route": name, "residual": _relative(route(looked, y, eta=0.7), predicted)}
                for name, route in ROUTES.items()
            ],
            "whole": [seen_whole(spectrum, table, w, loss) | copied],
            "rates": [{"head": h, "rate": rate} for h, rate in enumerate(w[:, N].tolist())],
            "heads": seen_heads(spectrum, attention[:, :, N:], w[:, N:]),
        }
        for name, some in rows.items():
            found[name] += [{"step": step} | row for row in some]
    return {name: pd.DataFrame(rows) for name, rows in (found | {"random": start}).items()}


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def related_tokens(settings, point) -> dict[str, pd.DataFrame]:
    """Train a small model on tokens of one relation; read off the whole and the heads."""
    s, N = settings, settings.N
    generator = torch.Generator().manual_seed(point["seed"])
    how = dict(generator=generator)
    dictionary = related_dictionary(point["relation"], N, s.K, s.d, s.tau, **how)
    model = MultiHeadAttention(dictionary, s.H, beta=point["beta"], **how)
    loss, spectrum = PopulationLoss.of(dictionary), Spectrum.of(dictionary)
    whole, heads = [], []
    start = random_heads(spectrum, model, loss)
    at = [step for step in log_steps(s.steps, per_decade=1) if step]
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    for step, table in train(model, loss, optimizer, s.steps, at=at):
        attention, w = model.attention()[:, :, N:], model.w.detach()
        whole.append({"step": step} | seen_whole(spectrum, table, w, loss))
        heads += [{"step": step} | row for row in seen_heads(spectrum, attention, w[:, N:])]
    tables = {"whole": whole, "heads": heads, "random": start}
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}
