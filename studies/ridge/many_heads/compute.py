"""How many heads: Figure 4, where training diverges, and what holds few heads back."""

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


def fig4(settings, point) -> pd.DataFrame:
    """Columns: tokens, seed, H, step, quantity, value; the only quantity is "excess loss", L -
    L*."""
    s, H = settings, point["H"]
    steps = min(s.steps, max(s.min_steps, s.head_steps // H))
    exact, model, loss = start(s, point, s.dtype, point["tokens"])
    rows, population = [], PopulationLoss.of(exact)

    def record(step: int, table: torch.Tensor) -> None:
        rows.append((step, "excess loss", population(table.double())[0].item()))

    train(model, loss, make_optimizer(model, "adam", s.rate), steps, record, log_steps(steps))
    return pd.DataFrame(rows, columns=["step", "quantity", "value"])


def fig4_map(settings, point) -> pd.DataFrame:
    """Columns: optimizer, loss, dtype, H, rate, seed, step, quantity, value.

    Quantities: "excess loss", infinite from the first step at which it is not finite; at step 0
    also "largest curvature", the largest eigenvalue of the loss's second derivative in w, max_k
    lambda_max(B_k B_k^T) / K.
    """
    s = settings
    exact, model, loss = start(s, point, point["dtype"])
    population, excess = PopulationLoss.of(exact), {}
    with torch.no_grad():
        B = head_matrices(model.attention().double(), label_covariance(exact))  # (K, N, H)
    curvature = torch.linalg.matrix_norm(B, ord=2).square().max().item() / s.K

    def record(step: int, table: torch.Tensor) -> None:
        value = population(table.double())[0].item()
        excess[step] = value if math.isfinite(value) else math.inf

    optimizer = make_optimizer(model, point["optimizer"], point["rate"])
    try:
        train(model, loss, optimizer, s.steps, record, log_steps(s.steps))
    except InputError:  # the loss left the floating-point range: this is what the map is about
        pass
    rows = [(step, "excess loss", excess.get(step, math.inf)) for step in log_steps(s.steps)]
    rows.append((0, "largest curvature", curvature))
    return pd.DataFrame(rows, columns=["step", "quantity", "value"])


def fig4_stall(settings, point) -> pd.DataFrame:
    """Columns: case, K, H, seed, step, quantity, value.

    Quantities: "excess loss"; "tokens with both signs", the share of tokens k whose w[:, k]
    holds both signs; "signs kept", the share of entries of w with the sign they had at step
    100. At step 0 also "frozen Q", the excess loss of the best w while Q stays as drawn.
    """
    s, case, H = settings, point["case"], point["H"]
    exact, model, loss = start(s, point, s.dtype)
    population, rows, first = PopulationLoss.of(exact), [], []
    with torch.no_grad():
        attention = model.attention().double()  # (N, H, K)
        best = frozen_attention_weights(
            attention, population.target, population.covariance
        )  # (H, K)
        rows.append((0, "frozen Q", population((attention * best).sum(dim=1))[0].item()))
        generator = torch.Generator().manual_seed(1000 + point["seed"])
        if case == "random signs":
            model.w.normal_(std=s.w_spread, generator=generator)
        if case == "near the solution":
            for own, solved in zip(
                model.parameters(), exact_two_head_model(exact).parameters()
            ):
                noise = torch.randn(own.shape, generator=generator, dtype=torch.float64)
                own.copy_(solved + s.blur * solved.square().mean().sqrt() * noise)

    def record(step: int, table: torch.Tensor) -> None:
        rows.append((step, "excess loss", population(table.double())[0].item()))
        positive = model.w > 0  # (H, K)
        both = positive.any(dim=0) & ~positive.all(dim=0)  # (K,)
        rows.append((step, "tokens with both signs", both.double().mean().item()))
        if step >= 100:
            first.append(positive.clone())
            rows.append((step, "signs kept", (positive == first[0]).double().mean().item()))

    train(
        model,
        loss,
        make_optimizer(model, "adam", s.rate, half_life=s.half_life),
        s.steps,
        record,
        log_steps(s.steps),
    )
    return pd.DataFrame(rows, columns=["step", "quantity", "value"])


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
        labels = sample_labels(exact, pool, generator=generator).to(
            dictionary.tokens.dtype
        )  # (pool, K)
        loss = BatchLoss(labels, s.batch, generator=generator)
    return exact, MultiHeadAttention(dictionary, point["H"], generator=generator), loss
