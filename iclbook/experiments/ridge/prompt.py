"""What the model knows: one dictionary and one set of shown tokens. Null models, and the price of another prompt."""

import pandas as pd
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.null_models import free_table_descent, frozen_attention_weights
from iclbook.ridge.population_loss import PopulationLoss, minimal_loss
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import log_steps, make_optimizer, train


def one_dictionary(settings, point) -> pd.DataFrame:
    """Columns: seed, part, predictor, prompt, index, quantity, value.

    Part "training": excess loss of the model, of frozen attention with trained w, and of a free table, each by gradient
    descent with the same rate, at step `index`; and of frozen attention with w solved for, at the last step.
    Part "other prompts": total loss on the dictionary when the prompt shows its own tokens, the same tokens permuted,
    all but one of them (another dictionary token in its place), or another set; `index` numbers the prompts.
    Predictors there: the trained "transformer", the "best" table for that prompt, "zero".
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator)
    loss, at = PopulationLoss.of(dictionary), log_steps(s.steps)
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    frozen = MultiHeadAttention(dictionary, s.H, generator=generator)
    rows = []

    def row(part, predictor, prompt, index, quantity, value):
        rows.append((part, predictor, prompt, index, quantity, float(value)))

    for step, table in free_table_descent(loss, (s.N, s.K), s.rate, s.steps):
        if step in at:
            row("training", "free table", "own", step, "excess loss", loss(table)[0])
    with torch.no_grad():
        S = frozen.attention()  # (N, H, K)
        solved = (S * frozen_attention_weights(S, loss.target, loss.covariance)).sum(dim=1)  # (N, K)
    row("training", "frozen attention, w solved", "own", s.steps, "excess loss", loss(solved)[0])
    for name, trained in {"transformer": model, "frozen attention": frozen}.items():
        record = lambda step, table, name=name: row("training", name, "own", step, "excess loss", loss(table)[0])  # noqa: E731
        optimizer = make_optimizer(trained, "gd", s.rate, freeze_Q=trained is frozen)
        train(trained, loss, optimizer, s.steps, record, at)

    prompts = {"own": [torch.arange(s.K)], "permuted": [], "one token swapped": [], "another set": []}
    for _ in range(s.prompt_sets):
        order = torch.randperm(s.N, generator=generator)
        prompts["permuted"].append(torch.cat([order, torch.arange(s.N, s.K)]))
        swapped, shown, unseen = torch.arange(s.K), *_pair(s.N, s.K, generator)
        swapped[[shown, unseen]] = swapped[[unseen, shown]]
        prompts["one token swapped"].append(swapped)
        prompts["another set"].append(torch.randperm(s.K, generator=generator))
    for prompt, orders in prompts.items():
        for index, order in enumerate(orders):
            other = dictionary.reordered(order)
            total = PopulationLoss.of(other)
            with torch.no_grad():
                table = model(other.V)[:, order]  # (N, K), columns in the new order
            for predictor, weights in {"transformer": table, "best": total.target, "zero": 0 * table}.items():
                value = minimal_loss(other) + total(weights)[0]
                row("other prompts", predictor, prompt, index, "loss", value)
    return pd.DataFrame(rows, columns=["part", "predictor", "prompt", "index", "quantity", "value"])


def _pair(N: int, K: int, generator: torch.Generator) -> tuple[int, int]:
    """A shown and an unseen token's index."""
    shown = torch.randint(0, N, (), generator=generator).item()
    return shown, torch.randint(N, K, (), generator=generator).item()
