"""How many heads: Figure 4, where training diverges, and what holds few heads back."""

import contextlib
import math

import pandas as pd
import torch

from iclbook.errors import InputError
from iclbook.ridge.heads import exact_two_head_model, head_matrices
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.null_models import frozen_attention_weights
from iclbook.ridge.population_loss import BatchLoss, PopulationLoss, label_covariance
from iclbook.ridge.prompt import dtype_named, sample_dictionary, sample_labels, sample_tasks
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import log_steps


def fig4(settings, point) -> dict[str, pd.DataFrame]:
    """Train one head count on the population loss or on batches; see `Fig4` for its steps."""
    s, steps = settings, settings.steps_of(point["H"], point["loss"])
    exact, model, loss = start(s, point, s.dtype, point["tokens"])
    population = PopulationLoss.of(exact)
    run = train(model, loss, make_optimizer(model, "adam", s.rate), steps, at=log_steps(steps))
    rows = [(step, population(table.double())[0].item()) for step, table in run]
    return {"curves": pd.DataFrame(rows, columns=["step", "excess_loss"])}


def fig4_map(settings, point) -> dict[str, pd.DataFrame]:
    """Train one cell of the map; the loss is infinite from the first step at which it is not
    finite.

    The curvature is the largest eigenvalue of the loss's second derivative in w.
    """
    s = settings
    exact, model, loss = start(s, point, point["dtype"])
    population, looks = PopulationLoss.of(exact), log_steps(s.steps)
    with torch.no_grad():
        B = head_matrices(model.attention().double(), label_covariance(exact))  # (K, N, H)
    curvature = torch.linalg.matrix_norm(B, ord=2).square().max().item() / s.K

    excess = dict.fromkeys(looks, math.inf)
    optimizer = make_optimizer(model, point["optimizer"], point["rate"])
    # That the loss leaves the floating-point range is what the map is about.
    with contextlib.suppress(InputError):
        for step, table in train(model, loss, optimizer, s.steps, at=looks):
            value = population(table.double())[0].item()
            excess[step] = value if math.isfinite(value) else math.inf
    return {
        "curves": pd.DataFrame(list(excess.items()), columns=["step", "excess_loss"]),
        "curvatures": pd.DataFrame([{"curvature": curvature}]),
    }


def fig4_stall(settings, point) -> dict[str, pd.DataFrame]:
    """Train few heads from the start that the case names; count the signs of w."""
    s, case = settings, point["case"]
    exact, model, loss = start(s, point, s.dtype)
    population = PopulationLoss.of(exact)
    with torch.no_grad():
        attention = model.attention().double()  # (N, H, K)
        fit = population.target, population.covariance
        best = frozen_attention_weights(attention, *fit)  # (H, K)
        frozen = population((attention * best).sum(dim=1))[0].item()
        generator = torch.Generator().manual_seed(1000 + point["seed"])
        if case == "random signs":
            model.w.normal_(std=s.w_spread, generator=generator)
        if case == "near the solution":
            solution = exact_two_head_model(exact).parameters()
            for own, solved in zip(model.parameters(), solution):
                noise = torch.randn(own.shape, generator=generator, dtype=torch.float64)
                own.copy_(solved + s.blur * solved.square().mean().sqrt() * noise)

    curves, signs, first = [], [], None
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    for step, table in train(model, loss, optimizer, s.steps, at=log_steps(s.steps)):
        positive = model.w > 0  # (H, K)
        both = positive.any(dim=0) & ~positive.all(dim=0)  # (K,)
        value = population(table.double())[0].item()
        curves.append((step, value, both.double().mean().item()))
        if step >= 100:
            first = positive.clone() if first is None else first
            signs.append((step, (positive == first).double().mean().item()))
    return {
        "curves": pd.DataFrame(curves, columns=["step", "excess_loss", "both_signs"]),
        "signs": pd.DataFrame(signs, columns=["step", "kept"]),
        "frozen": pd.DataFrame([{"excess_loss": frozen}]),
    }


def start(settings, point, dtype: str, tokens: str = "unit"):
    """(dictionary in float64, model, loss to train on) of a point; all draws come from the
    point's seed.

    One seed has one dictionary, whatever the head count; both readings of the tokens share
    their directions.
    """
    s, K = settings, point.get("K") or settings.K
    generator = torch.Generator().manual_seed(point["seed"])
    exact = sample_dictionary(s.N, K, s.d, s.m, s.tau, generator=generator, tokens=tokens)
    dictionary = exact.to(dtype_named(dtype))
    if point.get("loss", "population") == "population":
        loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    else:
        pool = sample_tasks(s.pool, s.m, generator=generator)  # (pool, m)
        labels = sample_labels(exact, pool, generator=generator)  # (pool, K)
        loss = BatchLoss(labels.to(dictionary.tokens.dtype), s.batch, generator=generator)
    return exact, MultiHeadAttention(dictionary, point["H"], generator=generator), loss
