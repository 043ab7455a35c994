"""What the model knows: one dictionary, one set of shown tokens. Null models; the price of
another prompt."""

import pandas as pd
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.null_models import free_table_descent, frozen_attention_weights
from iclbook.ridge.population_loss import PopulationLoss, minimal_loss
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import log_steps


def one_dictionary(settings, point) -> dict[str, pd.DataFrame]:
    """Gradient descent with one rate on the transformer, on frozen attention (only w trained)
    and on a free table of weights; then the trained models on other prompts.

    Beside them stand frozen attention with w solved, the best table for each prompt, and zero.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator)
    loss, at = PopulationLoss.of(dictionary), log_steps(s.steps)
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    frozen = MultiHeadAttention(dictionary, s.H, generator=generator)
    parameters = torch.nn.Parameter(torch.zeros_like(loss.target))  # (N, K), the free table
    training = []

    def follow(predictor: str, run) -> None:
        for step, table in run:
            training.append((predictor, step, loss(table)[0].item()))

    follow("free table", free_table_descent(loss, parameters, s.rate, s.steps, at=at))
    run = train(model, loss, make_optimizer(model, "gd", s.rate), s.steps, at=at)
    follow("transformer", run)
    only_w = make_optimizer(frozen, "gd", s.rate, freeze_Q=True)
    follow("frozen attention", train(frozen, loss, only_w, s.steps, at=at))
    with torch.no_grad():
        attention = frozen.attention()  # (N, H, K)
        frozen.w.copy_(frozen_attention_weights(attention, loss.target, loss.covariance))
        solved = loss(frozen())[0].item()

    prompts = []
    free = parameters.detach()
    for prompt, replaced, draw, order in other_prompts(s.N, s.K, s.prompts, generator):
        other = dictionary.reordered(order)
        L = PopulationLoss.of(other)
        with torch.no_grad():
            tables = {  # (N, K) each, columns in the new order
                "transformer": model(other.V)[:, order],
                "frozen attention, w solved": frozen(other.V)[:, order],
                "free table": free[:, order],
                "best": L.target,
                "zero": torch.zeros_like(L.target),
            }
        for predictor, table in tables.items():
            value = (minimal_loss(other) + L(table)[0]).item()
            prompts.append((predictor, prompt, replaced, draw, value))
    columns = ["predictor", "prompt", "replaced", "draw", "loss"]
    return {
        "training": pd.DataFrame(training, columns=["predictor", "step", "excess_loss"]),
        "solved": pd.DataFrame([{"excess_loss": solved}]),
        "prompts": pd.DataFrame(prompts, columns=columns),
    }


def other_prompts(N: int, K: int, count: int, generator: torch.Generator):
    """Yield (prompt, replaced, draw, order): the own prompt, `count` permuted ones, and `count`
    for each number of replaced tokens up to N (or to K - N, if fewer are left). order: (K,)
    indices, the prompt's first.
    """
    yield "own", 0, 0, torch.arange(K)
    for draw in range(count):
        order = torch.randperm(N, generator=generator)  # (N,)
        yield "permuted", 0, draw, torch.cat([order, torch.arange(N, K)])
    for replaced in range(1, min(N, K - N) + 1):
        for draw in range(count):
            out = torch.randperm(N, generator=generator)[:replaced]  # (replaced,)
            into = N + torch.randperm(K - N, generator=generator)[:replaced]  # (replaced,)
            order = torch.arange(K)
            order[out], order[into] = into, out
            yield "replaced", replaced, draw, order
