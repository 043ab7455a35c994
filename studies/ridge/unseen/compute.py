"""Figure 2a: training and inference losses of the one-layer model, in and out of domain."""

import pandas as pd
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import BatchLoss, PopulationLoss, optimal_weights
from iclbook.ridge.prompt import dtype_named, sample_dictionary, sample_labels, sample_tasks
from iclbook.ridge.training import make_optimizer, train
from iclbook.ridge.unseen import (
    DOMAINS,
    best_linear,
    expected_distance,
    expected_error,
    sampled_distance,
    sampled_error,
)
from iclbook.training import log_steps


def labels_of_domains(dictionary, count: int, generator) -> dict[str, tuple]:
    """(noisy labels, true labels), both (count, K), of new tasks of each domain."""
    found = {}
    for name, domain in DOMAINS.items():
        how = dict(generator=generator, mean=domain.mean, std=domain.std)
        tasks = sample_tasks(count, dictionary.m, **how)  # (count, m)
        labels = sample_labels(dictionary, tasks, generator=generator)
        found[name] = labels, tasks @ dictionary.features
    return found


def fig2a(settings, point) -> dict[str, pd.DataFrame]:
    """Train one model; measure it at every recorded step, and the fixed predictors once.

    references: ridge (the limit y*^ of Theorem 2), zero, and for the batch loss the pool
    optimum (least squares on the pool). best_linear: the best linear predictor of each domain.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    exact = sample_dictionary(
        s.N, s.K, s.d, s.m, s.tau, generator=generator, tokens=point["tokens"]
    )
    dictionary = exact.to(dtype_named(s.dtype))
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    A, population = optimal_weights(exact), PopulationLoss.of(exact)
    tests = labels_of_domains(exact, s.test_tasks, generator)

    def measured(table: torch.Tensor) -> tuple[dict, list[dict]]:
        """(the excess loss, distances and errors in each domain) of a table, (N, K)."""
        table, rows = table.double(), []  # (N, K)
        for name, domain in DOMAINS.items():
            labels, truth = tests[name]
            found = {
                "distance_sampled": sampled_distance(table, A, labels).mean(),
                "distance_expected": expected_distance(table, A, exact, domain),
                "error_sampled": sampled_error(table, labels, truth).mean(),
                "error_expected": expected_error(table, exact, domain)[s.N :].mean(),
            }
            rows.append({"domain": name} | {key: value.item() for key, value in found.items()})
        return {"excess_loss": population(table)[0].item()}, rows

    # The fixed predictors, and the loss that trains.
    references = {"ridge": A, "zero": torch.zeros_like(A)}
    if point["loss"] == "population":
        loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    else:
        tasks = sample_tasks(s.pool, s.m, generator=generator)
        labels = sample_labels(exact, tasks, generator=generator)  # (pool, K)
        shown = labels[:, : s.N]  # (pool, N)
        references["pool optimum"] = torch.linalg.lstsq(shown, labels, driver="gelsd").solution
        loss = BatchLoss(labels.to(dictionary.tokens.dtype), s.batch, generator=generator)
    linear = {name: best_linear(exact, domain) for name, domain in DOMAINS.items()}

    optimizer = make_optimizer(model, "adam", s.rate)
    run = train(model, loss, optimizer, s.steps, at=log_steps(s.steps))
    of_step = {step: measured(table) for step, table in run}
    of_reference = {name: measured(table) for name, table in references.items()}
    of_linear = {name: measured(table) for name, table in linear.items()}
    found = {
        ("curves", "domains"): ("step", of_step),
        ("references", "reference_domains"): ("predictor", of_reference),
        ("best_linear", "best_linear_domains"): ("fitted", of_linear),
    }
    tables = {}
    for (excess, domains), (key, each) in found.items():
        tables[excess] = pd.DataFrame([{key: at} | first for at, (first, _) in each.items()])
        rows = [{key: at} | row for at, (_, several) in each.items() for row in several]
        tables[domains] = pd.DataFrame(rows)
    return tables
