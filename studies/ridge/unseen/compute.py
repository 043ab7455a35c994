"""Figure 2a: training and inference losses of the one-layer model, in and out of domain."""

import pandas as pd
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import BatchLoss, PopulationLoss, optimal_weights
from iclbook.ridge.prompt import dtype_named, sample_dictionary, sample_labels, sample_tasks
from iclbook.ridge.training import log_steps, make_optimizer, train
from iclbook.ridge.unseen import (
    IN_DOMAIN,
    OUT_OF_DOMAIN,
    best_linear,
    expected_distance,
    expected_error,
    sampled_distance,
    sampled_error,
)

DOMAINS = {"in-domain": IN_DOMAIN, "out-of-domain": OUT_OF_DOMAIN}


def fig2a(settings, point) -> pd.DataFrame:
    """Columns: loss, tokens, seed, step, predictor, domain, quantity, value.

    Predictor "transformer" at every recorded step; at step 0 also the fixed ones: "ridge" (the
    limit y*^ of Theorem 2), "best linear" (of each domain), "zero", and for the batch loss
    "pool optimum" (least squares on the pool).
    Quantities: "excess loss" (L - L*, domain "training"), "distance" to y*^ and "error" against
    the true labels of the tokens not shown, each as "... sampled" over the test tasks and "...
    expected" in closed form.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    exact = sample_dictionary(
        s.N, s.K, s.d, s.m, s.tau, generator=generator, tokens=point["tokens"]
    )
    dictionary = exact.to(dtype_named(s.dtype))
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    A, population = optimal_weights(exact), PopulationLoss.of(exact)
    tests = {}
    for name, domain in DOMAINS.items():
        tasks = sample_tasks(
            s.test_tasks, s.m, generator=generator, mean=domain.mean, std=domain.std
        )
        tests[name] = (sample_labels(exact, tasks, generator=generator), tasks @ exact.features)

    rows = []

    def record(step: int, table: torch.Tensor, predictor: str = "transformer") -> None:
        table = table.double()  # (N, K)
        row = lambda domain, quantity, value: rows.append(
            (step, predictor, domain, quantity, value.item())
        )
        row("training", "excess loss", population(table)[0])
        for name, domain in DOMAINS.items():
            labels, truth = tests[name]
            row(name, "distance sampled", sampled_distance(table, A, labels).mean())
            row(name, "distance expected", expected_distance(table, A, exact, domain))
            row(name, "error sampled", sampled_error(table, labels, truth).mean())
            row(name, "error expected", expected_error(table, exact, domain)[s.N :].mean())

    record(0, A, "ridge")
    record(0, torch.zeros_like(A), "zero")
    for name, domain in DOMAINS.items():
        record(0, best_linear(exact, domain), f"best linear, {name}")
    if point["loss"] == "population":
        loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    else:
        tasks = sample_tasks(s.pool, s.m, generator=generator)
        labels = sample_labels(exact, tasks, generator=generator)  # (pool, K)
        record(
            0,
            torch.linalg.lstsq(labels[:, : s.N], labels, driver="gelsd").solution,
            "pool optimum",
        )
        loss = BatchLoss(labels.to(dictionary.tokens.dtype), s.batch, generator=generator)
    train(
        model, loss, make_optimizer(model, "adam", s.rate), s.steps, record, log_steps(s.steps)
    )
    return pd.DataFrame(rows, columns=["step", "predictor", "domain", "quantity", "value"])
