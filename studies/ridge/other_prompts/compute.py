"""Architecture against training: a trained model on other prompts, and one trained on many."""

from collections.abc import Iterator

import pandas as pd
import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.other_prompts import (
    additive_loss,
    additive_tables,
    additive_weights,
    all_label_covariance,
    best_tables,
    draw_sets,
    losses_of,
    signed_parts,
    tables_of,
)
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import dtype_named, sample_dictionary
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import by_autograd, descend, log_steps

CHUNK = 20  # prompts whose attention is held in memory at once


def changed_prompts(
    N: int, K: int, changes: tuple[int, ...], draws: int, generator: torch.Generator
) -> Iterator[tuple[str, int, torch.Tensor, torch.Tensor]]:
    """Yield (prompt, changed, slots, sets), both (count, n): which tokens are shown, and which
    of the own prompt's N places each stands in for.

    own; permuted; all twice and one twice, tokens that stand twice in the prompt; dropped;
    replaced, by tokens that the own prompt does not show.
    """
    own = torch.arange(N)[None]  # (1, N)
    yield "own", 0, own, own
    order = torch.argsort(torch.rand(draws, N, generator=generator), dim=1)  # (draws, N)
    yield "permuted", 0, order, order
    twice = torch.cat([own, own], dim=1)  # (1, 2 N)
    yield "all twice", N, twice, twice
    once_more = torch.cat([own.expand(N, N), own.T], dim=1)  # (N, N + 1)
    yield "one twice", 1, once_more, once_more
    for changed in (*changes, N):
        places = torch.arange(N).expand(draws, N).clone()  # (draws, N)
        out = draw_sets(draws, changed, N, generator=generator)  # (draws, changed)
        new = N + draw_sets(draws, changed, K - N, generator=generator)  # (draws, changed)
        yield "replaced", changed, own.expand(draws, N), places.scatter(1, out, new)
        if changed == 1:
            out = own.T  # (N, 1), each in turn
        if changed < N:
            held = torch.ones(len(out), N, dtype=torch.bool).scatter(1, out, False)
            kept = torch.arange(N).expand(len(out), N)[held].view(len(out), -1)
            yield "dropped", changed, kept, kept


def prices(model, prompts: list[tuple], C: torch.Tensor) -> list[dict]:
    """The losses of every predictor on every kind of prompt; the model in float64."""
    rows = []
    own = tables_of(model, torch.arange(model.V.shape[1])[None])[0]  # (N, K), used as it stands
    for prompt, changed, slots, sets in prompts:
        places = sets if "twice" not in prompt else sets[:, : len(own)]  # each token once
        tables = [tables_of(model, some) for some in sets.split(CHUNK)]  # (<= CHUNK, n, K) each
        fixed = own[slots[:, : places.shape[1]]]  # (count, n, K)
        losses = {
            "model": losses_of(torch.cat(tables), sets, C),
            "fixed table": losses_of(fixed, places, C),
            "best": losses_of(best_tables(places, C), places, C),
            "zero": C.trace()[None] / (2 * len(C)),
        }
        about = {"prompt": prompt, "changed": changed}
        rows += [
            about | {"predictor": name, "loss": each.mean().item(), "worst": each.max().item()}
            for name, each in losses.items()
        ]
    return rows


def other_prompts(settings, point) -> dict[str, pd.DataFrame]:
    """Train one model on its own prompt; at some steps show it other prompts, and open it.

    Beside the model stand its own table, used place by place as if it did not depend on the
    prompt, the best table for each prompt, and zero.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    draw = dict(generator=generator, tokens=point["tokens"])
    exact = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, **draw)
    dictionary = exact.to(dtype_named(s.dtype))
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    looked = MultiHeadAttention(exact, s.H, generator=generator)  # in float64
    C, A = all_label_covariance(exact), PopulationLoss.of(exact).target
    prompts = list(changed_prompts(s.N, s.K, s.changes, s.draws, generator))
    loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    found = {"prompts": [], "heads": [], "opened": [], "cancelling": []}
    at = log_steps(s.steps, per_decade=1)
    for step, _ in train(model, loss, make_optimizer(model, "adam", s.rate), s.steps, at=at):
        looked.load_state_dict(
            {name: value.double() for name, value in model.state_dict().items()}
            | {"tokens": looked.tokens, "V": looked.V}
        )
        rows = {"prompts": prices(looked, prompts, C)} | opened(looked, A)
        for name, some in rows.items():
            found[name] += [{"step": step} | row for row in some]
    return {name: pd.DataFrame(rows) for name, rows in found.items()}


def opened(model: MultiHeadAttention, A: torch.Tensor) -> dict[str, list[dict]]:
    """The heads of the first token not shown, and how much the heads of all such cancel."""
    N, attention, w = len(A), model.attention(), model.w
    positive, negative = signed_parts(attention, w)  # (N, K) each
    effective = torch.special.entr(attention[:, :, N]).sum(dim=0).exp()  # (H,)
    heads = zip(w[:, N].tolist(), effective.tolist())
    columns = zip(positive[:, N].tolist(), negative[:, N].tolist(), A[:, N].tolist())
    sums = {"gross": w.abs(), "net": positive - negative, "best": A}  # (H or N, K) each
    return {
        "heads": [
            {"head": h, "weight": weight, "effective": e} for h, (weight, e) in enumerate(heads)
        ],
        "opened": [
            {"shown": n, "positive": p, "negative": q, "best": a}
            for n, (p, q, a) in enumerate(columns)
        ],
        "cancelling": [
            {name: x.abs().sum(dim=0)[N:].mean().item() for name, x in sums.items()}
        ],
    }


def code_of(sets: torch.Tensor) -> torch.Tensor:
    """A number that names each set of tokens, (count,), for K up to 62."""
    return (2**sets).sum(dim=1)


def many_prompts(settings, point) -> dict[str, pd.DataFrame]:
    """Train attention on a fresh batch of random sets at each step; test it on sets that were
    never shown, of the trained length and of others, beside additive weights and the best
    tables."""
    s, (N, K, d, m, H) = settings, settings.size_of(point)
    generator = torch.Generator().manual_seed(point["seed"])
    draw = dict(generator=generator, tokens=point["tokens"])
    dictionary = sample_dictionary(N, K, d, m, s.tau, **draw)
    C = all_label_covariance(dictionary)
    tested = {n: draw_sets(s.held_out, n, K, generator=generator) for n in s.lengths}
    model = MultiHeadAttention(dictionary, H, generator=generator)
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    kept_out = code_of(tested[N])

    def batch_loss() -> torch.Tensor:
        sets = draw_sets(s.batch, N, K, generator=generator)  # (batch, N)
        sets = sets[~torch.isin(code_of(sets), kept_out)]
        return losses_of(tables_of(model, sets), sets, C).mean()

    @torch.no_grad()
    def losses_on(sets: torch.Tensor) -> torch.Tensor:
        return torch.cat(
            [losses_of(tables_of(model, some), some, C) for some in sets.split(50)]
        )

    curves, rows, expected = [], [], []
    for step in descend(
        by_autograd(batch_loss, optimizer), optimizer, s.steps, at=log_steps(s.steps, 4)
    ):
        curves.append({"step": step, "loss": losses_on(tested[N]).mean().item()})
        if step in log_steps(s.steps, 1):
            for shown, sets in tested.items():
                rows += [
                    {"step": step, "shown": shown} | row
                    for row in compared(sets, C, losses_on(sets))
                ]
    for shown in s.lengths:
        forms = {
            "additive": additive_loss(C, shown),
            "additive, copying": additive_loss(C, shown, copying=True),
            "zero": C.trace() / (2 * K),
        }
        expected += [
            {"shown": shown, "predictor": name, "loss": value.item()}
            for name, value in forms.items()
        ]
    tables = {"curves": curves, "sets": rows, "expected": expected}
    return {name: pd.DataFrame(each) for name, each in tables.items()}


def compared(sets: torch.Tensor, C: torch.Tensor, trained: torch.Tensor) -> list[dict]:
    """Mean losses, with standard errors, on these sets of the trained model and of what it is
    compared with; additive weights are the best for sets of this length."""
    losses = {"trained": trained, "best": losses_of(best_tables(sets, C), sets, C)}
    for name, copying in (("additive", False), ("additive, copying", True)):
        W = additive_weights(C, sets.shape[1], copying=copying)
        losses[name] = losses_of(additive_tables(W, sets, copying=copying), sets, C)
    return [
        {
            "predictor": name,
            "loss": each.mean().item(),
            "error": each.std().item() / len(each) ** 0.5,
        }
        for name, each in losses.items()
    ]
