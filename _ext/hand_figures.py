"""The numbers behind the figures that a reader moves: one function a figure, without arguments.

Each returns a dict that goes into the page as JSON. It reads stored results, or calls the
package's science with a fixed seed, in about a second. Nothing is drawn here.
"""

import functools
import math

import hand_steps
import numpy as np
import torch
from torch import Tensor

from iclbook.catalogue import find
from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts
from iclbook.dual.kernel import draw_directions, log_positive_features
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import Dictionary, sample_dictionary, sample_labels, sample_tasks
from iclbook.ridge.training import make_optimizer, train
from iclbook.store import Store
from iclbook.training import log_steps
from studies.ridge.many_heads.tables import UNSTABLE, map_fates

LIVE = "computed by iclbook with a fixed seed while this page was built"
SHOWN = torch.tensor([1, 4, 6, 9, 13, 16, 19, 22])  # places of the tokens in the prompt
STEPS = 400


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rounded(values, digits: int = 4) -> list:
    """Nested lists of numbers with a few decimals."""
    return np.round(np.asarray(values, dtype=float), digits).tolist()


def cosines(K: int, m: int) -> Tensor:
    """Basis functions 1, sqrt(2) cos(pi x), ... at K places x of [0, 1], (m, K): their squares
    have mean 1 over the places, as those of the book's Gaussian features have."""
    place = (torch.arange(K, dtype=torch.float64) + 0.5) / K
    waves = torch.cos(math.pi * torch.arange(m, dtype=torch.float64)[:, None] * place)
    return waves * torch.tensor([1.0, *[2**0.5] * (m - 1)], dtype=torch.float64)[:, None]


def line_dictionary(K: int, m: int, tau: float, generator) -> tuple[Dictionary, Tensor]:
    """A dictionary whose tokens have places on a line, and the indices that order it by place.

    Features are `cosines`, so a task is a curve; tokens are random unit vectors with d = K.
    Those at the places SHOWN come first.
    """
    hidden = [k for k in range(K) if k not in SHOWN.tolist()]
    order = torch.cat([SHOWN, torch.tensor(hidden)])
    tokens = torch.randn(K, K, generator=generator, dtype=torch.float64)
    tokens = tokens / tokens.norm(dim=0)
    dictionary = Dictionary(tokens, cosines(K, m)[:, order], len(SHOWN), tau)
    return dictionary, order.argsort()


@functools.cache
def training() -> dict:
    """Four heads trained by Adam: (N, H, K) attention and (H, K) w at some steps, by place.

    Two heads start with w = 1, two with w = -1: from w = 0 four heads may agree in sign.
    """
    generator = seeded(0)
    dictionary, places = line_dictionary(K=24, m=5, tau=0.03, generator=generator)
    model = MultiHeadAttention(dictionary, H=4, generator=generator)
    with torch.no_grad():
        model.w.copy_(torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None].expand_as(model.w))
    loss = PopulationLoss.of(dictionary)
    optimizer, moments = make_optimizer(model, "adam", 0.1, half_life=100), {}
    for step, table in train(model, loss, optimizer, STEPS, at=log_steps(STEPS)):
        attention = model.attention().detach()[:, :, places]  # (N, H, K)
        w = model.w.detach()[:, places]  # (H, K), a copy
        moments[step] = attention, w, loss(table)[0].item()
    return {
        "dictionary": dictionary,
        "places": places,
        "moments": moments,
        "best": loss.target[:, places],
    }


def opener() -> dict:
    """The trained model, and five prompts."""
    run = training()
    dictionary, places = run["dictionary"], run["places"]
    generator = seeded(1)
    tasks = sample_tasks(5, dictionary.m, generator=generator)
    labels = sample_labels(dictionary, tasks, generator=generator)
    attention, w, excess = run["moments"][STEPS]
    return {
        "provenance": LIVE,
        "task": 4,  # the one shown first: little noise on its labels
        "shown": SHOWN.tolist(),
        "attention": rounded(attention.transpose(0, 1)),  # (H, N, K)
        "w": rounded(w),
        "best": rounded(run["best"]),
        "labels": rounded(labels[:, : dictionary.N], 3),
        "truth": rounded((tasks @ dictionary.features)[:, places], 3),
        "excess": excess,
        "m": dictionary.m,
        "tau": dictionary.tau,
    }


def converge() -> dict:
    """The same model along its training: heads with w > 0 and with w < 0, added up apart."""
    run, steps, parts, losses = training(), [], [], []
    for step, (attention, w, excess) in run["moments"].items():
        signs = [(attention * (sign * w).clamp_min(0)).sum(dim=1) for sign in (1, -1)]
        parts.append(rounded(torch.stack(signs), 3))  # (2, N, K)
        steps.append(step)
        losses.append(float(f"{excess:.4g}"))
    return {
        "provenance": LIVE,
        "shown": SHOWN.tolist(),
        "steps": steps,
        "parts": parts,
        "losses": losses,
        "best": rounded(run["best"], 3),
    }


def penalties() -> dict:
    """Tokens on a line, in a random order, and six tasks: the page fits them itself."""
    K, m, longest, generator = 60, 8, 40, seeded(27)
    order = torch.randperm(K, generator=generator)
    tasks = sample_tasks(6, m, generator=generator)
    noise = torch.randn(6, longest, generator=generator, dtype=torch.float64)
    return {
        "provenance": LIVE + ", fitted in your browser",
        "features": rounded(cosines(K, m)),  # (m, K)
        "order": order.tolist(),
        "longest": longest,
        "tasks": rounded(tasks),
        "noise": rounded(noise),
    }


def dual() -> dict:
    """Ten demonstrations and a query through one random layer, as random features and
    values."""
    N, d, d_r, generator = 10, 4, 24, seeded(3)
    keys, query = (
        0.6 * torch.randn(n, d, generator=generator, dtype=torch.float64) for n in (N + 1, 1)
    )
    values = torch.randn(N + 1, 2, generator=generator, dtype=torch.float64)
    w = draw_directions(d_r, d, generator=generator)
    phi_k, phi_q = (log_positive_features(x, w).exp() for x in (keys, query))
    return {
        "provenance": LIVE,
        "phi": rounded(phi_k),  # (N + 1, d_r), the query's own key last
        "query": rounded(phi_q[0]),
        "values": rounded(values),
    }


def features() -> dict:
    """Queries, keys and 1,024 directions: the page makes random features of them."""
    N, d, most, generator = 12, 6, 1_024, seeded(2)
    queries, keys = torch.randn(2, N, d, generator=generator, dtype=torch.float64)
    size = (queries[:, None] + keys).square().sum(-1).mean()
    return {
        "provenance": LIVE + ", features made in your browser",
        "queries": rounded(queries / size.sqrt()),  # mean ||q + k||^2 is 1
        "keys": rounded(keys / size.sqrt()),
        "directions": rounded(draw_directions(most, d, generator=generator), 3),
    }


def signed() -> dict:
    """Scores of one query in a random layer; its own is the last."""
    N, d, generator = 15, 10, seeded(4)
    layer = SelfAttention(d + 1, d + 1, output=False, generator=generator, dtype=torch.float64)
    prompts, _ = sample_prompts(1, N, d, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        queries, keys, _ = (x[0, 0] for x in layer.project(prompts))
    return {"provenance": LIVE, "scores": rounded(queries[-1] @ keys.mT)}


def rates() -> dict:
    """The stored map of head counts and rates: every curve, and what became of it."""
    stored = Store().read(find("yang2024/fig4-map"))
    panels = {("adam", "population"): "Adam", ("adam", "batch"): "Adam, batches"}
    panels[("gd", "population")] = "GD"
    found, curves = map_fates(stored).query("dtype == 'float32'"), stored["curves"]
    cells = []
    for row in found.to_dict("records"):
        same = " and ".join(f"{key} == {row[key]!r}" for key in ("optimizer", "loss", "dtype"))
        run = curves.query(f"{same} and H == {row['H']} and rate == {row['rate']}")
        run = run.sort_values("step")
        cells.append(
            {
                "panel": panels[row["optimizer"], row["loss"]],
                "H": row["H"],
                "rate": row["rate"],
                "steps": run["step"].tolist(),
                "losses": [
                    float(f"{x:.3g}") if math.isfinite(x) else None for x in run["excess_loss"]
                ],
                "unstable": bool(row["instability"] >= UNSTABLE),
                "curvature": float(f"{row['curvature']:.4g}"),
            }
        )
    return {"provenance": stored.provenance, "panels": list(panels.values()), "cells": cells}


@functools.cache
def small_model() -> tuple[Dictionary, MultiHeadAttention, Tensor]:
    """A model of two heads, trained to the end, and the labels of a prompt of three tokens."""
    generator = seeded(31)
    dictionary = sample_dictionary(N=3, K=5, d=3, m=2, tau=0.1, generator=generator)
    model = MultiHeadAttention(dictionary, H=2, generator=generator)
    with torch.no_grad():  # signs are hard to change, as the chapters on heads say
        model.w.copy_(torch.tensor([1.0, -1.0])[:, None].expand_as(model.w))
    optimizer = make_optimizer(model, "adam", 0.1, half_life=100)
    for _ in train(model, PopulationLoss.of(dictionary), optimizer, 600, at=[600]):
        pass
    task = sample_tasks(1, dictionary.m, generator=generator)
    labels = sample_labels(dictionary, task, generator=generator)
    return dictionary, model, labels[0, : dictionary.N]


def forward() -> dict:
    """One forward pass of the small model, a step a line."""
    dictionary, model, y = small_model()
    with torch.no_grad():
        steps = hand_steps.walk(
            hand_steps.forward,
            tokens=dictionary.tokens,
            features=dictionary.features,
            y=y,
            Q=model.Q,
            w=model.w,
            tau=dictionary.tau,
        )
    return {"provenance": LIVE, **steps}


def small_prompt() -> dict[str, Tensor]:
    """Keys and values of three demonstrations and of the query, and the query, at random."""
    generator = seeded(18)
    sizes = {"keys": (4, 2), "values": (4, 2), "query": (2,)}
    drawn = {
        name: torch.randn(size, generator=generator, dtype=torch.float64)
        for name, size in sizes.items()
    }
    return drawn | {name: 0.8 * drawn[name] for name in ("keys", "query")}


def dual_step() -> dict:
    """Attention and one step of the dual model on a small prompt, a step a line."""
    return {
        "provenance": LIVE,
        **hand_steps.walk(hand_steps.dual_step, **small_prompt(), eta=0.3),
    }


FIGURES = {
    "opener": opener,
    "penalties": penalties,
    "converge": converge,
    "rates": rates,
    "dual": dual,
    "features": features,
    "signed": signed,
    "forward": forward,
    "dual_step": dual_step,
}
