"""Worlds in which a trained table is used, and its expected error there (ours).

A world is the second moments of all K labels and of the truths behind them. Whatever the world,
the error of a table of weights is one quadratic form in these. Labels that change (noise, other
templates, more basis functions) change the moments; prompts that change pick other rows.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iclbook.errors import require, require_nonnegative, require_shape
from iclbook.ridge.prompt import Dictionary, sample_tasks


@dataclass(frozen=True)
class World:
    """labels: E[y y^T], (K, K); cross: E[y_n t_k], (K, K), row n, column k; power: E[t_k^2],
    (K,). y are the labels that a prompt may show, t the noise-free truths."""

    labels: Tensor
    cross: Tensor
    power: Tensor


def trained_world(dictionary: Dictionary) -> World:
    """Tasks with mean 0 and variance 1, labels y_k = lambda^T (z_k + eps_k): that of
    training."""
    C = dictionary.features.T @ dictionary.features  # (K, K)
    noise = dictionary.m * dictionary.tau * torch.eye(len(C), dtype=C.dtype)
    return World(C + noise, C, C.diag())


def noisy(world: World, variance: float) -> World:
    """Every shown label has more noise, of this variance."""
    require_nonnegative(variance=variance)
    eye = torch.eye(len(world.labels), dtype=world.labels.dtype)
    return replace(world, labels=world.labels + variance * eye)


def scaled(world: World, factor: float) -> World:
    """Every task is multiplied by a factor, and its noise with it."""
    return World(*(factor**2 * x for x in (world.labels, world.cross, world.power)))


def complement(dictionary: Dictionary) -> Tensor:
    """The projector onto what no template reaches on the K tokens, I - Z^^+ Z^, (K, K)."""
    F = dictionary.features  # (m, K)
    require(dictionary.m < dictionary.K, "templates reach everything unless K > m")
    return torch.eye(dictionary.K, dtype=F.dtype) - torch.linalg.pinv(F) @ F


def tilted(dictionary: Dictionary, degrees: float) -> World:
    """Truths cos(angle) f + sin(angle) g: f a template, g of the same length in a random
    direction of the `complement`. The noise stays that of training."""
    world, turn = trained_world(dictionary), math.radians(degrees)
    outside = complement(dictionary)  # (K, K)
    outside = outside * world.power.sum() / outside.trace()  # E[g g^T]
    truth = math.cos(turn) ** 2 * world.cross + math.sin(turn) ** 2 * outside
    return World(world.labels - world.cross + truth, truth, truth.diag())


def lacking(dictionary: Dictionary, extra: Tensor) -> World:
    """Tasks have more entries than the model has basis functions: extra, (q, K), is what it
    lacks. The noise inside a representation grows with it."""
    require_shape("extra", extra, (None, dictionary.K))
    whole = torch.cat([dictionary.features, extra])  # (m + q, K)
    return trained_world(replace(dictionary, features=whole))


def errors_of(world: World, tables: Tensor, sets: Tensor) -> Tensor:
    """E (y^_k - t_k)^2 for each prompt and token, (count, K).

    tables: (count, n, K), or one (n, K) for all; sets: (count, n) token indices.
    """
    require_shape("sets", sets, (None, tables.shape[-2]))
    inner = world.labels[sets[:, :, None], sets[:, None, :]]  # (count, n, n)
    return (tables * (inner @ tables - 2 * world.cross[sets])).sum(dim=-2) + world.power


def best_tables(world: World, sets: Tensor) -> Tensor:
    """The tables of least error, (count, n, K); labels must have a covariance of full rank."""
    inner = world.labels[sets[:, :, None], sets[:, None, :]]  # (count, n, n)
    return torch.linalg.solve(inner, world.cross[sets])


def quadratic(table: Tensor, S: Tensor, c: Tensor, power: Tensor) -> Tensor:
    """a_k^T S a_k - 2 a_k^T c_k + power_k for each token, (K,); S: (N, N), c: (N, K)."""
    return (table * (S @ table - 2 * c)).sum(dim=0) + power


def kept_pairs(N: int, changed: int) -> tuple[float, float]:
    """(p, p2): the chances that one place, and that two places, are among the N - changed that
    a random choice leaves alone."""
    left = N - changed
    return left / N, left * (left - 1) / (N * (N - 1)) if N > 1 else 0.0


def dropped_error(world: World, table: Tensor, dropped: int) -> Tensor:
    """Error of a fixed table, (N, K), without the rows of randomly chosen tokens, averaged over
    the choice, (K,)."""
    N = len(table)
    p, p2 = kept_pairs(N, dropped)
    S = world.labels[:N, :N]
    mean = p2 * S + (p - p2) * S.diag().diag()
    return quadratic(table, mean, p * world.cross[:N], world.power)


def replaced_error(world: World, table: Tensor, spare: Tensor, changed: int) -> Tensor:
    """Error of a fixed table used place by place where random places show random different
    tokens of `spare`, averaged over the choice, (K,)."""
    N, J = len(table), len(spare)
    require(max(changed, 2) <= J, f"{changed} tokens cannot be replaced out of {J}")
    p, p2 = kept_pairs(N, changed)
    S, new = world.labels[:N, :N], world.labels[spare][:, spare]  # (N, N), (J, J)
    mixed = world.labels[:N][:, spare].mean(dim=1)  # (N,), a kept label with a new one
    power = new.diag().mean()
    two = (new.sum() - new.diag().sum()) / (J * (J - 1))
    mean = p2 * S + (p - p2) * (mixed[:, None] + mixed) + (1 - 2 * p + p2) * two
    mean = mean - mean.diag().diag() + (p * S.diag() + (1 - p) * power).diag()
    cross = p * world.cross[:N] + (1 - p) * world.cross[spare].mean(dim=0)
    return quadratic(table, mean, cross, world.power)


def repeated_table(attention: Tensor, w: Tensor, place: int, times: int) -> Tensor:
    """The model's table when one token of its prompt is shown several times: its exponential
    counts so often in every softmax, (N, K). attention: (N, H, K); w: (H, K)."""
    require_shape("w", w, tuple(attention.shape[1:]))
    count = torch.ones(len(attention), 1, 1, dtype=attention.dtype)
    count[place] = times
    attention = count * attention
    return (attention / attention.sum(dim=0) * w).sum(dim=1)


def draw(
    dictionary: Dictionary,
    shift: str,
    size: float,
    count: int,
    extra: Tensor,
    *,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """(labels, truths), both (count, K), of sampled tasks in a world whose labels are shifted.

    By the definitions, not by the moments: shift "noise" (variance size times m), "angle",
    "missing" (the first `size` rows of extra), "scale"; any other leaves the labels alone.
    """
    functions = dictionary.features
    if shift == "missing":
        functions = torch.cat([functions, extra[: int(size)]])  # (m + q, K)
    tasks = sample_tasks(count, len(functions), generator=generator)  # (count, m + q)
    tasks = tasks * size if shift == "scale" else tasks
    truth = tasks @ functions  # (count, K)

    def normal() -> Tensor:
        return torch.randn(truth.shape, generator=generator, dtype=truth.dtype)

    noise = dictionary.tau**0.5 * tasks.norm(dim=1, keepdim=True) * normal()  # (count, K)
    if shift == "angle":
        g = normal() @ complement(dictionary)  # (count, K)
        g = g * truth.norm(dim=1, keepdim=True) / g.norm(dim=1, keepdim=True)
        turn = math.radians(size)
        truth = math.cos(turn) * truth + math.sin(turn) * g
    if shift == "noise":
        noise = noise + (size * dictionary.m) ** 0.5 * normal()
    return truth + noise, truth


def energies(dictionary: Dictionary, y: Tensor) -> tuple[Tensor, Tensor]:
    """(energy, misfit) of each prompt's labels, (count,) each; y: (count, N), N > m.

    energy |Zbar^{-1} y|^2 / N, 1 on average in training. misfit: its mean over the N - m
    directions that no template reaches, over its mean over the m that templates do.
    """
    N, m = dictionary.N, dictionary.m
    require(m < N, f"a prompt has a direction beyond the templates only if N > m, got N={N}")
    _, s, Wt = torch.linalg.svd(dictionary.Z)  # (m,), (N, N)
    variance = torch.full((N,), m * dictionary.tau, dtype=s.dtype)
    variance[:m] += s**2
    each = (y @ Wt.T).square() / variance  # (count, N)
    return each.mean(dim=1), each[:, m:].mean(dim=1) / each[:, :m].mean(dim=1)
