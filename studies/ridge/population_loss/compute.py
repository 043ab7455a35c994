"""Lemma 5 measured: the population loss of a table of weights, in closed form and by Monte
Carlo."""

import pandas as pd
import torch

from iclbook.ridge.population_loss import PopulationLoss, minimal_loss
from iclbook.ridge.prompt import sample_dictionary, sample_labels, sample_tasks

CHUNK = 100_000  # tasks held in memory at once


def lemma5(settings, point) -> dict[str, pd.DataFrame]:
    """The loss of three tables of weights on one dictionary."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator)
    loss = PopulationLoss.of(dictionary)
    shift = torch.randn(s.N, s.K, generator=generator, dtype=torch.float64)  # (N, K)
    weights = {
        "best": loss.target,
        "random": loss.target + shift,
        "zero": torch.zeros_like(shift),
    }
    dropped = s.m * s.tau * (s.K - s.N) / (2 * s.K)

    # Sums of the loss and of its square, a chunk of tasks at a time.
    total = {name: torch.zeros(2, dtype=torch.float64) for name in weights}
    for start in range(0, s.draws, CHUNK):
        count = min(CHUNK, s.draws - start)
        tasks = sample_tasks(count, s.m, generator=generator)  # (count, m)
        labels = sample_labels(dictionary, tasks, generator=generator)  # (count, K)
        for name, table in weights.items():
            squares = (labels[:, : s.N] @ table - labels).square()  # (count, K)
            each = squares.sum(dim=1) / (2 * s.K)  # (count,)
            total[name] += torch.stack([each.sum(), each.square().sum()])

    rows = []
    for name, table in weights.items():
        closed = (minimal_loss(dictionary) + loss(table)[0]).item()
        mean, square = (total[name] / s.draws).tolist()
        error = ((square - mean**2) / (s.draws - 1)) ** 0.5
        rows.append((name, closed, closed - dropped, mean, error))
    columns = ["weights", "closed_form", "without_m_tau", "simulated", "standard_error"]
    return {"losses": pd.DataFrame(rows, columns=columns)}
