"""Lemma 4 and Figure 3 measured: two ridge penalties, in closed form and in trained models."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, optimal_weights
from iclbook.ridge.prompt import dtype_named, sample_dictionary, sample_labels, sample_tasks
from iclbook.ridge.ridge_regression import ridge_coefficients
from iclbook.ridge.template import (
    best_template,
    copy_shown,
    ridge_behaviour,
    ridge_table,
    sigma_points,
)
from iclbook.ridge.training import make_optimizer, train
from iclbook.ridge.unseen import IN_DOMAIN, expected_distance, expected_error
from iclbook.training import log_steps


def lemma4(settings, point) -> dict[str, pd.DataFrame]:
    """Lemma 4's template against least squares on sigma points, on random instances.

    And the ratios of its norm and residual to the transformer's ridge.
    The ratios are turned so that the paper's "underfits" (N < m) and "overfits" (N > m) both
    read as values of at least 1; there is none for N = m.
    """
    generator = torch.Generator().manual_seed(point["seed"])
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)

    def size() -> int:
        return int(torch.randint(1, settings.largest + 1, (), generator=generator))

    templates, turned = [], []
    for instance in settings.numbers:
        N, m, tau = size(), size(), 10 ** (3 * torch.rand((), generator=generator).item() - 2)
        Z, y = normal(m, N), normal(1, N)
        best, limit = best_template(Z, y, tau), ridge_coefficients(Z, y, m * tau)  # (1, m)
        copies = sigma_points(Z, tau)  # (m, 2 m N)
        repeated = y[0].repeat_interleave(2 * m)  # (2 m N,)
        fitted = np.linalg.lstsq(copies.T.numpy(), repeated.numpy())[0]  # (m,)
        off = np.linalg.norm(best[0].numpy() - fitted) / np.linalg.norm(fitted)
        templates.append((instance, off))
        if m != N:
            norm = (best.norm() / limit.norm()).item()
            residual = ((y - best @ Z).norm() / (y - limit @ Z).norm()).item()
            ratios = (norm, 1 / residual) if m > N else (1 / norm, residual)
            turned.append((instance, *ratios))
    return {
        "templates": pd.DataFrame(templates, columns=["instance", "difference"]),
        "ratios": pd.DataFrame(turned, columns=["instance", "norm", "residual"]),
    }


def fig3(settings, point) -> dict[str, pd.DataFrame]:
    """Both ridge predictors at every prompt length: exact expectations over tasks and noise.

    The gap is read in three ways: "copied" (both copy the labels that are shown), "fitted"
    (both templates predict every token), "mixed" (y*^ copies, Lemma 4's template predicts).
    Predictor "transformer" has penalty m tau, "best" N tau.
    """
    s, tau = settings, point["tau"]
    generator = torch.Generator().manual_seed(point["seed"])
    whole = sample_dictionary(s.N_last, s.K, s.d, s.m, tau, generator=generator)
    gaps, behaviours, prompts = [], [], []
    for N in s.lengths:
        dictionary = replace(whole, N=N)
        limit, best = optimal_weights(dictionary), ridge_table(dictionary, N * tau)
        fitted = ridge_table(dictionary, s.m * tau)
        pairs = (limit, copy_shown(best)), (fitted, best), (limit, best)
        for reading, pair in zip(("copied", "fitted", "mixed"), pairs):
            gap = expected_distance(*pair, dictionary, IN_DOMAIN).item()
            gaps.append((N, reading, gap))
        for predictor, penalty in {"transformer": s.m * tau, "best": N * tau}.items():
            found = ridge_behaviour(dictionary, penalty)._asdict()
            behaviours.append({"N": N, "predictor": predictor, **found})
        prompts.append((N, torch.linalg.svdvals(dictionary.Z)[-1].item()))
    return {
        "gaps": pd.DataFrame(gaps, columns=["N", "reading", "gap"]),
        "behaviours": pd.DataFrame(behaviours),
        "prompts": pd.DataFrame(prompts, columns=["N", "smallest_singular_value"]),
    }


def fig3_trained(settings, point) -> dict[str, pd.DataFrame]:
    """A model trained on one prompt, beside its limit and Lemma 4's template.

    A gap is (1/K) times a sum over the tokens not shown.
    """
    s, N = settings, point["N"]
    generator = torch.Generator().manual_seed(point["seed"])
    exact = sample_dictionary(N, s.K, s.d, s.m, s.tau, generator=generator)
    dictionary = exact.to(dtype_named(s.dtype))
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    population, best = PopulationLoss.of(exact), ridge_table(exact, N * s.tau)

    def gap(table: torch.Tensor) -> float:
        unseen = expected_distance(table[:, N:], best[:, N:], exact, IN_DOMAIN)
        return ((s.K - N) / s.K * unseen).item()

    def error(table: torch.Tensor) -> float:
        return expected_error(table, exact, IN_DOMAIN)[N:].mean().item()

    limit, curves = population.target, []
    limits = {"gap": gap(limit), "error": error(limit), "best_error": error(best)}
    loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    for step, table in train(model, loss, optimizer, s.steps, at=log_steps(s.steps)):
        table = table.double()  # (N, K)
        curves.append((step, population(table)[0].item(), gap(table), error(table)))
    columns = ["step", "excess_loss", "gap", "error"]
    return {"limits": pd.DataFrame([limits]), "curves": pd.DataFrame(curves, columns=columns)}


def fig3_penalties(settings, point) -> dict[str, pd.DataFrame]:
    """Four rules that choose the penalty, over sampled tasks of the training domain.

    Rules: "transformer" (m tau), "best" (N tau), "oracle" (the task's own best on the grid, by
    the truth), "cross-validated" (leave-one-out on the shown labels, scikit-learn).
    """
    s, N = settings, point["N"]
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(N, s.K, s.d, s.m, s.tau, generator=generator)
    tasks = sample_tasks(s.test_tasks, s.m, generator=generator)  # (tasks, m)
    Z, y = dictionary.Z, sample_labels(dictionary, tasks, generator=generator)[:, :N]
    unseen = dictionary.features[:, N:]  # (m, K - N)

    def error(coefficients: torch.Tensor) -> torch.Tensor:
        return ((coefficients - tasks) @ unseen).square().mean(dim=1)  # (tasks,)

    penalties = np.logspace(*s.log10_penalties, s.grid)
    grid = torch.stack([error(ridge_coefficients(Z, y, c)) for c in penalties])  # (grid, tasks)
    oracle = grid.min(dim=0)
    chosen = RidgeCV(penalties, fit_intercept=False, alpha_per_target=True)
    chosen.fit(Z.T.numpy(), y.T.numpy())
    same = np.full(len(y), s.tau)
    rules = {
        "transformer": (error(ridge_coefficients(Z, y, s.m * s.tau)), s.m * same),
        "best": (error(best_template(Z, y, s.tau)), N * same),
        "oracle": (oracle.values, penalties[oracle.indices.numpy()]),
        "cross-validated": (error(torch.from_numpy(chosen.coef_)), chosen.alpha_),
    }
    rows = []
    for rule, (errors, penalty) in rules.items():
        mean, spread = errors.mean().item(), errors.std().item() / len(errors) ** 0.5
        rows.append((rule, mean, spread, *np.quantile(penalty, (0.05, 0.5, 0.95))))
    less = (rules["transformer"][0] < rules["best"][0]).double().mean().item()
    columns = ["rule", "error", "standard_error", "low", "median", "high"]
    return {
        "errors": pd.DataFrame(rows, columns=columns),
        "tasks": pd.DataFrame([{"transformer_errs_less": less}]),
    }
