"""What the model knows: one dictionary, one set of shown tokens. Null models; the price of
another prompt."""

import pandas as pd
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.null_models import free_table_descent, frozen_attention_weights
from iclbook.ridge.population_loss import PopulationLoss, minimal_loss
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import log_steps, make_optimizer, train


def one_dictionary(settings, point) -> pd.DataFrame:
    """Columns: seed, predictor, step, prompt, replaced, draw, quantity, value.

    Quantity "excess loss": L - L* on the model's own prompt along gradient descent with one
    rate, for the "transformer", "frozen attention" (only w trained) and the "free table"; and,
    at the last step, "frozen attention, w solved". Quantity "loss": L at the last step when the
    prompt shows its "own" tokens, the same "permuted", or has `replaced` of them exchanged for
    other dictionary tokens; `draw` numbers the prompts. Beside the predictors above stand the
    "best" table for that prompt and "zero".
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator)
    loss, at = PopulationLoss.of(dictionary), log_steps(s.steps)
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    frozen = MultiHeadAttention(dictionary, s.H, generator=generator)
    rows = []

    def recorder(predictor: str):
        def record(step: int, table: torch.Tensor) -> None:
            rows.append((predictor, step, "own", 0, 0, "excess loss", loss(table)[0].item()))

        return record

    for step, free in free_table_descent(loss, (s.N, s.K), s.rate, s.steps):
        if step in at:
            recorder("free table")(step, free)
    train(
        model, loss, make_optimizer(model, "gd", s.rate), s.steps, recorder("transformer"), at
    )
    only_w = make_optimizer(frozen, "gd", s.rate, freeze_Q=True)
    train(frozen, loss, only_w, s.steps, recorder("frozen attention"), at)
    with torch.no_grad():
        frozen.w.copy_(
            frozen_attention_weights(frozen.attention(), loss.target, loss.covariance)
        )
        recorder("frozen attention, w solved")(s.steps, frozen())

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
            rows.append((predictor, s.steps, prompt, replaced, draw, "loss", value))
    columns = ["predictor", "step", "prompt", "replaced", "draw", "quantity", "value"]
    return pd.DataFrame(rows, columns=columns)


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
