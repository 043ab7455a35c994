"""Figure 2a: training and inference losses of the one-layer model, in and out of domain."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import BatchLoss, PopulationLoss, optimal_weights
from iclbook.ridge.prompt import (
    Dictionary,
    dtype_named,
    sample_dictionary,
    sample_labels,
    sample_tasks,
)
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


def start(s, tokens: str, generator: torch.Generator) -> tuple[Dictionary, MultiHeadAttention]:
    """The dictionary, in float64, and the untrained model, in the settings' precision."""
    exact = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator, tokens=tokens)
    return exact, MultiHeadAttention(exact.to(dtype_named(s.dtype)), s.H, generator=generator)


def steps_of(s, model: MultiHeadAttention, loss) -> Iterator[tuple[int, torch.Tensor]]:
    """Train the model; (step, table) at every recorded step, the table being (N, K)."""
    optimizer = make_optimizer(model, "adam", s.rate)
    return train(model, loss, optimizer, s.steps, at=log_steps(s.steps))


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
    exact, model = start(s, point["tokens"], generator)
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
        loss = PopulationLoss.of(exact, model.w.dtype)
    else:
        tasks = sample_tasks(s.pool, s.m, generator=generator)
        labels = sample_labels(exact, tasks, generator=generator)  # (pool, K)
        shown = labels[:, : s.N]  # (pool, N)
        references["pool optimum"] = torch.linalg.lstsq(shown, labels, driver="gelsd").solution
        loss = BatchLoss(labels.to(model.w.dtype), s.batch, generator=generator)
    linear = {name: best_linear(exact, domain) for name, domain in DOMAINS.items()}

    of_step = {step: measured(table) for step, table in steps_of(s, model, loss)}
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


def fig2a_weights(settings, point) -> dict[str, pd.DataFrame | np.ndarray]:
    """Train the model of Figure 2a's seed, unit tokens and population loss; its excess loss at
    the recorded steps, and its weights Q (d, H, d) and w (H, K) at the end."""
    exact, model = start(settings, "unit", torch.Generator().manual_seed(point["seed"]))
    population, loss = PopulationLoss.of(exact), PopulationLoss.of(exact, model.w.dtype)
    rows = [
        {"step": step, "excess_loss": population(table.double())[0].item()}
        for step, table in steps_of(settings, model, loss)
    ]
    weights = {"Q": model.Q.detach().numpy(), "w": model.w.detach().numpy()}
    return {"curves": pd.DataFrame(rows)} | weights
