"""A trained model in worlds for which it was not trained, and trained in other ways."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import torch

from iclbook.ridge.heads import one_signed_fits
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.null_models import frozen_attention_weights
from iclbook.ridge.other_prompts import draw_sets, tables_of
from iclbook.ridge.population_loss import PopulationLoss, label_covariance
from iclbook.ridge.prompt import Dictionary, dtype_named, sample_dictionary
from iclbook.ridge.training import make_optimizer, train
from iclbook.ridge.unseen import IN_DOMAIN, best_linear, expected_error
from studies.bridge.failure_signatures.heads import (
    contributions,
    hold_signs,
    price,
    random_sum_price,
)
from studies.bridge.failure_signatures.worlds import (
    World,
    best_tables,
    draw,
    dropped_error,
    energies,
    errors_of,
    lacking,
    noisy,
    repeated_table,
    replaced_error,
    scaled,
    tilted,
    trained_world,
)

CHUNK = 5  # prompts whose attention is held in memory at once
RINGS = 0.95  # an alarm rings above this quantile of its value in training


def generator_of(seed: int, stream: int) -> torch.Generator:
    """A generator of its own for each use, so that draws do not depend on each other."""
    return torch.Generator().manual_seed(1_000 * (seed + 1) + stream)


def label_worlds(
    s, exact: Dictionary, extra: torch.Tensor
) -> Iterator[tuple[str, float, World]]:
    """(shift, size, world) of every shift of the labels; the first of each is no shift."""
    own = trained_world(exact)
    for size in (0.0, *s.noises):
        yield "noise", size, noisy(own, size * exact.m)
    for size in (0.0, *s.angles):
        yield "angle", size, tilted(exact, size)
    for size in (0, *s.missing):
        yield "missing", float(size), lacking(exact, extra[:size])
    for size in (1.0, *s.scales):
        yield "scale", size, scaled(own, size)


def prompts_of(s, generator: torch.Generator) -> Iterator[tuple[str, float, torch.Tensor]]:
    """(shift, size, sets) of every shift of the prompt, sets: (count, n); new tokens are the N
    that follow the own prompt."""
    own = torch.arange(s.N)
    order = torch.rand(s.draws, s.N, generator=generator).argsort(dim=1)
    yield "permuted", 1.0, order
    for size in (0, *s.dropped):
        yield "dropped", float(size), draw_sets(s.draws, s.N - size, s.N, generator=generator)
    for size in (0, *s.replaced):
        sets = own.expand(s.draws, s.N).clone()
        if size:
            out = draw_sets(s.draws, size, s.N, generator=generator)
            into = torch.rand(s.draws, s.N, generator=generator).argsort(dim=1)[:, :size]
            sets = sets.scatter(1, out, s.N + into)
        yield "replaced", float(size), sets
    for size in (1, *s.repeated):
        again = own[:, None].expand(s.N, size - 1)  # (N, size - 1)
        yield "repeated", float(size), torch.cat([own.expand(s.N, s.N), again], dim=1)


def prompt_theory(
    world: World, shift: str, size: float, A: torch.Tensor, looked: MultiHeadAttention
) -> torch.Tensor:
    """The closed form for a shift of the prompt, (K,) or (N, K): the table A held fixed; for a
    repeated token, the model's own softmax with a count in it."""
    N = len(A)
    if shift == "dropped":
        return dropped_error(world, A, int(size))
    if shift == "replaced":
        return replaced_error(world, A, torch.arange(N, 2 * N), int(size))
    own = torch.arange(N)[None]
    if shift == "permuted":
        return errors_of(world, A, own)
    attention = looked.attention()  # (N, H, K)
    tables = [repeated_table(attention, looked.w, n, int(size)) for n in range(N)]
    tables = torch.stack(tables)  # (N, N, K)
    return errors_of(world, tables, own)


def of_labels(s, exact, extra, A, table, at: slice, seed: int) -> list[dict]:
    """Rows of the shifts of the labels: the table stays, the world changes."""
    own, rows = torch.arange(s.N)[None], []
    for number, (shift, size, world) in enumerate(label_worlds(s, exact, extra)):
        generator = generator_of(seed, number)
        y, t = draw(exact, shift, size, s.tasks, extra, generator=generator)  # (tasks, K)
        squares = (y[:, : s.N] @ table - t)[:, at].square().mean(dim=1)  # (tasks,)
        means = {
            "theory": errors_of(world, A, own),
            "model": errors_of(world, table, own),
            "best": errors_of(world, best_tables(world, own), own),
            "zero": world.power[None],
        }
        row = {name: x[:, at].mean().item() for name, x in means.items()}
        row |= {"shift": shift, "size": size, "sampled": squares.mean().item()}
        rows.append(row | {"deviation": (squares.std() / s.tasks**0.5).item()})
    return rows


def of_prompts(s, exact, A, looked, at: slice, seed: int) -> list[dict]:
    """Rows of the shifts of the prompt: the world stays, the model makes a table for each."""
    world, rows = trained_world(exact), []
    for number, (shift, size, sets) in enumerate(prompts_of(s, generator_of(seed, 100))):
        generator, each = generator_of(seed, 200 + number), max(2, s.tasks // len(sets))
        exactly, sampled = [], []
        for some in sets.split(CHUNK):
            tables = tables_of(looked, some)  # (<= CHUNK, n, K)
            exactly.append(errors_of(world, tables, some)[:, at])
            for table, shown in zip(tables, some):
                y, t = draw(exact, "", 0.0, each, exact.features[:0], generator=generator)
                sampled.append((y[:, shown] @ table - t)[:, at].square().mean())
        sampled = torch.stack(sampled)
        once = sets[:, : s.N] if shift == "repeated" else sets
        best = errors_of(world, best_tables(world, once), once)
        rows.append(
            {
                "shift": shift,
                "size": size,
                "theory": prompt_theory(world, shift, size, A, looked)[..., at].mean().item(),
                "model": torch.cat(exactly).mean().item(),
                "sampled": sampled.mean().item(),
                "deviation": (sampled.std() / len(sampled) ** 0.5).item(),
                "best": best[:, at].mean().item(),
                "zero": world.power[at].mean().item(),
            }
        )
    return rows


def alarms_of(s, exact, extra, seed: int) -> list[dict]:
    """How often the labels of one prompt give a shift away, by their energy and its place."""
    usual = draw(exact, "", 0.0, s.tasks, extra, generator=generator_of(seed, 300))[0]
    levels = [x.quantile(RINGS) for x in energies(exact, usual[:, : s.N])]
    inverse, rows = torch.linalg.inv(label_covariance(exact)), []
    for number, (shift, size, world) in enumerate(label_worlds(s, exact, extra)):
        generator = generator_of(seed, 400 + number)
        y, _ = draw(exact, shift, size, s.tasks, extra, generator=generator)
        found = energies(exact, y[:, : s.N])
        rings = [(x > level).double().mean().item() for x, level in zip(found, levels)]
        energy = (inverse * world.labels[: s.N, : s.N]).sum().item() / s.N
        about = {"shift": shift, "size": size, "energy": energy}
        about |= {"energy_sampled": found[0].mean().item()}
        rows.append(about | dict(zip(("energy_rings", "misfit_rings"), rings)))
    return rows


def in_float64(model: MultiHeadAttention, exact: Dictionary) -> MultiHeadAttention:
    """The same weights over the exact dictionary."""
    looked = MultiHeadAttention(exact, model.w.shape[0], generator=torch.Generator(), beta=0.0)
    with torch.no_grad():
        looked.Q.copy_(model.Q)
        looked.w.copy_(model.w)
    return looked


@torch.no_grad()
def shifts(settings, point) -> dict[str, pd.DataFrame]:
    """Train one model; price it in every world and on every prompt, by closed form and
    by sampling. Errors are against the truth, mean over the tokens that no prompt shows."""
    s, seed = settings, point["seed"]
    exact = small_dictionary(s, s.N, seed)
    model = small_model(s, exact, 2, seed)
    extra = torch.randn(
        max(s.missing), s.K, generator=generator_of(seed, 500), dtype=torch.float64
    )
    A, at = PopulationLoss.of(exact).target, slice(2 * s.N, None)
    loss, rows = PopulationLoss.of(exact, model.w.dtype), []
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    for step, _ in train(model, loss, optimizer, s.steps, at=(s.early, s.steps)):
        looked = in_float64(model, exact)
        found = of_labels(s, exact, extra, A, looked(), at, seed)
        found += of_prompts(s, exact, A, looked, at, seed)
        rows += [{"step": step} | row for row in found]
    return {
        "errors": pd.DataFrame(rows),
        "alarms": pd.DataFrame(alarms_of(s, exact, extra, seed)),
    }


def small_dictionary(s, N: int, seed: int, tau: float | None = None, correlation: float = 0.0):
    """A dictionary of `Small` settings that shows N tokens; one seed, one dictionary."""
    tau = s.tau if tau is None else tau
    generator = torch.Generator().manual_seed(seed)
    found = sample_dictionary(N, s.K, s.d, s.m, tau, generator=generator, tokens="gaussian")
    common = torch.randn(s.d, 1, generator=generator_of(seed, 1), dtype=torch.float64)
    tokens = (1 - correlation) ** 0.5 * found.tokens + correlation**0.5 * common  # (d, K)
    return replace(found, tokens=tokens / tokens.norm(dim=0))


def small_model(s, exact: Dictionary, stream: int, seed: int, beta: float = 1.0):
    """A float32 model over it, from a start of its own."""
    rounded = exact.to(dtype_named("float32"))
    return MultiHeadAttention(rounded, s.H, generator=generator_of(seed, stream), beta=beta)


@torch.no_grad()
def lengths(settings, point) -> dict[str, pd.DataFrame]:
    """Train on prompts of N tokens; test on the first n tokens for every n."""
    s, N, seed = settings, point["N"], point["seed"]
    exact = small_dictionary(s, N, seed)
    model, world = small_model(s, exact, 2, seed), trained_world(exact)
    population, at = PopulationLoss.of(exact), slice(max(s.N), None)
    loss = PopulationLoss.of(exact, torch.float32)
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    rows, curves = [], []
    for step, table in train(model, loss, optimizer, s.steps, at=(s.early, s.steps)):
        curves.append({"step": step, "excess_loss": population(table.double())[0].item()})
        looked = in_float64(model, exact)
        for n in s.N:
            sets = torch.arange(n)[None]
            tables = {"model": tables_of(looked, sets), "best": best_tables(world, sets)}
            row = {name: errors_of(world, t, sets)[0, at].mean() for name, t in tables.items()}
            row = {name: x.item() for name, x in row.items()}
            rows.append(
                {"step": step, "shown": n, **row, "zero": world.power[at].mean().item()}
            )
    return {"errors": pd.DataFrame(rows), "curves": pd.DataFrame(curves)}


@torch.no_grad()
def training(settings, point) -> dict[str, pd.DataFrame]:
    """Train under one changed condition; the error on clean tasks of the settings' tau."""
    s, seed = settings, point["seed"]
    value, variant = point["value"], point["variant"]
    of = {name: value if variant == name else usual for name, usual in USUAL.items()}
    tau = value if variant == "noise" else s.tau
    exact = small_dictionary(s, s.N, seed, tau, of["correlation"])
    clean = replace(exact, tau=s.tau)
    model = small_model(s, exact, 2, seed, of["beta"])
    model.w.normal_(generator=generator_of(seed, 3)).mul_(of["start"])
    population, loss = PopulationLoss.of(exact), PopulationLoss.of(exact, torch.float32)
    if variant == "gamma":
        B = torch.linalg.cholesky(
            label_covariance(exact)
        ).T @ model.attention().double().movedim(2, 0)  # (K, N, H)
        rate = s.K / torch.linalg.matrix_norm(B, ord=2).max().item() ** 2
        optimizer = make_optimizer(model, "gd", rate / value**2, gamma=value)
    else:
        optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)

    def error(table: torch.Tensor) -> float:
        return expected_error(table, clean, IN_DOMAIN)[s.N :].mean().item()

    fixed = {"theory": population.target, "best": best_linear(clean, IN_DOMAIN)}
    fixed["zero"] = torch.zeros_like(population.target)
    same = {name: error(table) for name, table in fixed.items()}
    rows = []
    for step, table in train(model, loss, optimizer, s.steps, at=(s.early, s.steps)):
        table = table.double()
        found = {"excess_loss": population(table)[0].item(), "error": error(table)}
        rows.append({"step": step} | found | same)
    return {"errors": pd.DataFrame(rows)}


USUAL = {"beta": 1.0, "start": 0.0, "correlation": 0.0}


def one_head(exact: Dictionary, model: MultiHeadAttention, S, unseen: slice) -> list[dict]:
    """What each head's removal, turn and replacement adds to the error."""
    parts, table = contributions(model), model()  # (H, N, K), (N, K)
    A, attention, rows = PopulationLoss.of(exact).target, model.attention(), []

    def error(each: torch.Tensor) -> float:
        return expected_error(each, exact, IN_DOMAIN)[unseen].mean().item()

    usual = error(table)
    for head in range(len(parts)):
        rest = torch.arange(len(parts)) != head
        again = frozen_attention_weights(attention[:, rest], A, S)  # (H - 1, K)
        refitted = (attention[:, rest] * again).sum(dim=1)  # (N, K)
        rows.append(
            {
                "head": head,
                "size": model.w[head, unseen].square().mean().item(),
                "theory": price(parts[head], S)[unseen].mean().item(),
                "removed": error(table - parts[head]) - usual,
                "flipped": error(table - 2 * parts[head]) - usual,
                "refitted": error(refitted) - usual,
            }
        )
    return rows


def several_heads(s, exact, models, S, unseen: slice, seed: int) -> list[dict]:
    """Random choices of heads removed from the first model, or put in from the second."""
    first, second = (contributions(model) for model in models)  # (H, N, K) each
    best, rows = expected_error(best_linear(exact, IN_DOMAIN), exact, IN_DOMAIN)[unseen], []
    generator = generator_of(seed, 4)
    for count in s.counts:
        removed, swapped = [], []
        for _ in range(s.draws):
            out, put = (torch.randperm(s.H, generator=generator)[:count] for _ in range(2))
            without = first.sum(dim=0) - first[out].sum(dim=0)  # (N, K)
            for found, table in ((removed, without), (swapped, without + second[put].sum(0))):
                found.append(expected_error(table, exact, IN_DOMAIN)[unseen].mean())
        row = {"removed": removed, "swapped": swapped}
        row = {name: torch.stack(x).mean().item() for name, x in row.items()}
        # A swap is two independent choices: what goes out, and what comes in.
        either = [random_sum_price(x, S, count)[unseen].mean() for x in (first, second)]
        both = (first.sum(dim=0) * (S @ second.sum(dim=0))).sum(dim=0)[unseen].mean()
        theory = {
            "removed": either[0],
            "swapped": sum(either) - 2 * (count / s.H) ** 2 * both,
        }
        rows.append(
            {"count": count, "best": best.mean().item(), **row}
            | {f"{name}_theory": (best.mean() + x).item() for name, x in theory.items()}
            | {"zero": exact.features[:, unseen].square().sum(dim=0).mean().item()}
        )
    return rows


def signs_held(s, exact, seed: int) -> list[dict]:
    """Training with the signs of w free, held at random, and all positive."""
    population, loss = PopulationLoss.of(exact), PopulationLoss.of(exact, torch.float32)
    one_sign = one_signed_fits(population)[1]  # (2, K), losses of both signs
    rows = []
    for name in ("free", "random", "positive"):
        model, early = small_model(s, exact, 2, seed), None
        optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
        signs = torch.ones_like(model.w)
        if name == "random":
            signs = torch.randn(signs.shape, generator=generator_of(seed, 5)).sign()
        if name != "free":
            hold_signs(optimizer, model, signs)
        bound = one_sign[0].mean().item() if name == "positive" else 0.0
        for step, table in train(model, loss, optimizer, s.steps, at=(s.early, s.steps)):
            early = model.w.sign() if early is None else early
            rows.append(
                {
                    "step": step,
                    "signs": name,
                    "excess_loss": population(table.double())[0].item(),
                    "bound": bound,
                    "agree": (model.w.sign() == early).double().mean().item(),
                }
            )
    return rows


@torch.no_grad()
def interventions(settings, point) -> dict[str, pd.DataFrame]:
    """Two models on one dictionary, from two starts; then a hand among their heads."""
    s, seed = settings, point["seed"]
    exact = small_dictionary(s, s.N, seed)
    S, unseen = label_covariance(exact), slice(s.N, None)
    loss, models = PopulationLoss.of(exact, torch.float32), {}
    for stream in (2, 6):
        model = small_model(s, exact, stream, seed)
        optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
        for step, _ in train(model, loss, optimizer, s.steps, at=(s.early, s.steps)):
            models.setdefault(step, []).append(in_float64(model, exact))
    found = {"heads": [], "several": [], "signs": signs_held(s, exact, seed)}
    for step, pair in models.items():
        several = several_heads(s, exact, pair, S, unseen, seed)
        for name, rows in (
            ("heads", one_head(exact, pair[0], S, unseen)),
            ("several", several),
        ):
            found[name] += [{"step": step} | row for row in rows]
    return {name: pd.DataFrame(rows) for name, rows in found.items()}
