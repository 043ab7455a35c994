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
from iclbook.training import log_steps
from iclbook.ridge.unseen import IN_DOMAIN, expected_distance, expected_error


def lemma4(settings, point) -> pd.DataFrame:
    """Columns: seed, instance, quantity, value. Sizes, noise and labels are drawn anew for each
    instance.

    "difference": relative, of Lemma 4's template from plain least squares on the sigma points
    of the shown tokens. "norm", "residual": ratios of that template and the transformer's
    ridge, turned so that the paper's "underfits" (N < m) and "overfits" (N > m) both read as
    values of at least 1; absent for N = m.
    """
    generator = torch.Generator().manual_seed(point["seed"])
    size = lambda: int(torch.randint(1, settings.largest + 1, (), generator=generator))  # noqa: E731
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    rows = []
    for instance in range(settings.instances):
        N, m, tau = size(), size(), 10 ** (3 * torch.rand((), generator=generator).item() - 2)
        Z, y = normal(m, N), normal(1, N)
        best, limit = best_template(Z, y, tau), ridge_coefficients(Z, y, m * tau)  # (1, m)
        copies = sigma_points(Z, tau)  # (m, 2 m N)
        fitted = np.linalg.lstsq(copies.T.numpy(), y[0].repeat_interleave(2 * m).numpy())[0]
        rows.append(
            (instance, "difference", np.linalg.norm(best[0] - fitted) / np.linalg.norm(fitted))
        )
        if m != N:
            norm, residual = (
                best.norm() / limit.norm(),
                (y - best @ Z).norm() / (y - limit @ Z).norm(),
            )
            ratios = (norm, 1 / residual) if m > N else (1 / norm, residual)
            rows += [
                (instance, "norm", ratios[0].item()),
                (instance, "residual", ratios[1].item()),
            ]
    return pd.DataFrame(rows, columns=["instance", "quantity", "value"])


def fig3(settings, point) -> pd.DataFrame:
    """Columns: tau, seed, N, predictor, quantity, value; exact expectations over tasks and
    label noise.

    "gap": (1/K) E ||y*^ - y^best||^2, read in three ways: "copied" (both copy the labels that
    are shown), "fitted" (both ridge templates predict every token), "mixed" (y*^ copies, Lemma
    4's template predicts every token). "norm", "residual", "error" of predictors "transformer"
    (penalty m tau) and "best" (N tau). "smallest singular value" of Z, predictor "prompt".
    """
    s, tau, rows = settings, point["tau"], []
    generator = torch.Generator().manual_seed(point["seed"])
    whole = sample_dictionary(s.N_last, s.K, s.d, s.m, tau, generator=generator)
    for N in range(s.N_first, s.N_last + 1, s.N_step):
        dictionary = replace(whole, N=N)
        limit, best = optimal_weights(dictionary), ridge_table(dictionary, N * tau)
        fitted = ridge_table(dictionary, s.m * tau)
        readings = {
            "copied": (limit, copy_shown(best)),
            "fitted": (fitted, best),
            "mixed": (limit, best),
        }
        for reading, tables in readings.items():
            rows.append(
                (N, reading, "gap", expected_distance(*tables, dictionary, IN_DOMAIN).item())
            )
        for predictor, penalty in {"transformer": s.m * tau, "best": N * tau}.items():
            behaviour = ridge_behaviour(dictionary, penalty)._asdict()
            rows += [(N, predictor, quantity, value) for quantity, value in behaviour.items()]
        rows.append(
            (
                N,
                "prompt",
                "smallest singular value",
                torch.linalg.svdvals(dictionary.Z)[-1].item(),
            )
        )
    return pd.DataFrame(rows, columns=["N", "predictor", "quantity", "value"])


fig3_tau = fig3


def fig3_trained(settings, point) -> pd.DataFrame:
    """Columns: N, seed, step, quantity, value.

    Of the table a~ at every recorded step: "excess loss"; "gap" to Lemma 4's template, (1/K)
    times a sum over the tokens not shown; their mean "error" against the truth. At step 0 also
    "limit gap", "limit error", "best error".
    """
    s, N = settings, point["N"]
    generator = torch.Generator().manual_seed(point["seed"])
    exact = sample_dictionary(N, s.K, s.d, s.m, s.tau, generator=generator)
    dictionary = exact.to(dtype_named(s.dtype))
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    population, best = PopulationLoss.of(exact), ridge_table(exact, N * s.tau)
    share = (s.K - N) / s.K
    gap = lambda table: share * expected_distance(table[:, N:], best[:, N:], exact, IN_DOMAIN)  # noqa: E731
    error = lambda table: expected_error(table, exact, IN_DOMAIN)[N:].mean()  # noqa: E731
    limit = population.target
    limits = {"limit gap": gap(limit), "limit error": error(limit), "best error": error(best)}
    rows = [(0, name, value.item()) for name, value in limits.items()]

    def record(step: int, table: torch.Tensor) -> None:
        table = table.double()  # (N, K)
        values = {"excess loss": population(table)[0], "gap": gap(table), "error": error(table)}
        rows.extend((step, name, value.item()) for name, value in values.items())

    loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    train(
        model,
        loss,
        make_optimizer(model, "adam", s.rate, half_life=s.half_life),
        s.steps,
        record,
        log_steps(s.steps),
    )
    return pd.DataFrame(rows, columns=["step", "quantity", "value"])


def fig3_penalties(settings, point) -> pd.DataFrame:
    """Columns: N, seed, rule, level, quantity, value; over sampled tasks of the domain the
    model was trained on.

    Rules: "transformer" (m tau), "best" (N tau), "oracle" (the task's own best on the grid, by
    the truth), "cross-validated" (leave-one-out on the shown labels, scikit-learn). "error"
    against the truth on tokens not shown, mean over tasks, with its "standard error";
    "penalty": quantiles over tasks (level); "transformer errs less": share of the tasks,
    against "best".
    """
    s, N = settings, point["N"]
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(N, s.K, s.d, s.m, s.tau, generator=generator)
    tasks = sample_tasks(s.test_tasks, s.m, generator=generator)
    y = sample_labels(dictionary, tasks, generator=generator)[:, :N]
    unseen = dictionary.features[:, N:]
    error = lambda coefficients: (
        ((coefficients - tasks) @ unseen).square().mean(dim=1)
    )  # (tasks,)
    penalties = np.logspace(*s.log10_penalties, s.grid)
    grid = torch.stack(
        [error(ridge_coefficients(dictionary.Z, y, penalty)) for penalty in penalties]
    )  # (grid, tasks)
    chosen = RidgeCV(penalties, fit_intercept=False, alpha_per_target=True).fit(
        dictionary.Z.T.numpy(), y.T.numpy()
    )
    oracle = grid.min(dim=0)
    rules = {
        "transformer": (
            error(ridge_coefficients(dictionary.Z, y, s.m * s.tau)),
            np.full(len(y), s.m * s.tau),
        ),
        "best": (error(best_template(dictionary.Z, y, s.tau)), np.full(len(y), N * s.tau)),
        "oracle": (oracle.values, penalties[oracle.indices.numpy()]),
        "cross-validated": (error(torch.from_numpy(chosen.coef_)), chosen.alpha_),
    }
    rows = []
    for rule, (errors, penalty) in rules.items():
        rows.append((rule, 0.0, "error", errors.mean().item()))
        rows.append((rule, 0.0, "standard error", errors.std().item() / len(errors) ** 0.5))
        rows += [
            (rule, level, "penalty", np.quantile(penalty, level)) for level in (0.05, 0.5, 0.95)
        ]
    less = (rules["transformer"][0] < rules["best"][0]).double().mean().item()
    rows.append(("transformer", 0.0, "transformer errs less", less))
    return pd.DataFrame(rows, columns=["rule", "level", "quantity", "value"])
