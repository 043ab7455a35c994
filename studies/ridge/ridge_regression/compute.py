"""Theorem 2 measured: the trained model against ridge regression, and against the error
bound."""

import math
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from scipy.stats import chi2
from sklearn.linear_model import Ridge

from iclbook.ridge.convergence import TheoryRule, conditioning, weighted_attention
from iclbook.ridge.heads import head_matrices
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, label_covariance, optimal_weights
from iclbook.ridge.prompt import (
    Dictionary,
    dtype_named,
    sample_dictionary,
    sample_labels,
    sample_tasks,
)
from iclbook.ridge.ridge_regression import (
    chi_square_bound,
    iteration_count,
    label_energy,
    label_energy_bound,
)
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import log_steps
from iclbook.ridge.unseen import sampled_distance

MOMENTS = {
    "in-domain": (0.0, 1.0),
    "out-of-domain": (1.0, 2.0),
}  # mean, standard deviation of the entries
DOMAINS = (*MOMENTS, "signs", "one basis function")


def draw_tasks(domain: str, count: int, m: int, generator: torch.Generator) -> torch.Tensor:
    """Tasks of a domain, (count, m): the paper's two; entries +-1; or sqrt(m) times a unit
    vector."""
    if domain in MOMENTS:
        mean, std = MOMENTS[domain]
        return sample_tasks(count, m, generator=generator, mean=mean, std=std)
    if domain == "signs":
        return (
            2.0 * torch.randint(0, 2, (count, m), generator=generator, dtype=torch.float64) - 1
        )
    return (
        m**0.5
        * torch.eye(m, dtype=torch.float64)[torch.randint(0, m, (count,), generator=generator)]
    )


def energy_bound(domain: str, dictionary: Dictionary, delta: float) -> float:
    """`label_energy_bound` for a domain. B = sqrt(m); for Gaussian tasks a B that fails with
    probability delta / 2."""
    m = dictionary.m
    if domain not in MOMENTS:
        return label_energy_bound(dictionary, m**0.5, delta)
    mean, std = MOMENTS[domain]
    B = mean * m**0.5 + std * chi_square_bound(torch.ones(m), delta / 2) ** 0.5
    return label_energy_bound(dictionary, B, delta / 2)


def prompt_only(dictionary: Dictionary) -> Dictionary:
    """The dictionary of the shown tokens alone, so that only their labels are drawn."""
    return replace(dictionary, tokens=dictionary.V, features=dictionary.Z)


def sklearn_ridge(dictionary: Dictionary, y: torch.Tensor) -> torch.Tensor:
    """Predictions of scikit-learn's ridge with penalty m tau for all K tokens, (count, K), from
    y: (count, N)."""
    ridge = Ridge(alpha=dictionary.m * dictionary.tau, fit_intercept=False, solver="cholesky")
    ridge.fit(dictionary.Z.T.numpy(), y.T.numpy())
    return torch.from_numpy(ridge.predict(dictionary.features.T.numpy())).T


def thm2(settings, point) -> pd.DataFrame:
    """Columns: seed, step, part, group, level, quantity, value; every part at steps evenly
    spaced on a log scale.

    training: "excess loss". columns (group "shown", "not shown"; level: quantile over tokens):
    relative distance of a~_k from A_k. split: ||P (a~ - A)|| / ||A||, P onto the "row space" of
    Z or its "complement". spectrum (level: index or quantile): singular values of the table a~,
    of A ("best table", at step 0), the largest and smallest of B_k (median and smallest over
    k), and how many tokens a head attends to, exp(entropy). ridge (group: domain):
    root-mean-square difference from scikit-learn's ridge on tokens not shown, relative to
    ridge's own. bound (group: domain; level: delta): the (1 - delta) quantile of (1/2K) ||y^ -
    y*^||^2, that of (L - L*) ||Zbar^{-1} y||^2, the high-probability bound, and the share of
    draws above it.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    exact = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator)
    dictionary = exact.to(dtype_named(s.dtype))
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    population, A = PopulationLoss.of(exact), optimal_weights(exact)
    tests, draws = {}, {}
    for domain in DOMAINS:
        y = sample_labels(
            exact, draw_tasks(domain, s.test_tasks, s.m, generator), generator=generator
        )[:, : s.N]
        tests[domain] = (y, sklearn_ridge(exact, y)[:, s.N :])
        tasks = draw_tasks(domain, s.draws, s.m, generator)
        y = sample_labels(prompt_only(exact), tasks, generator=generator)  # (draws, N)
        draws[domain] = (
            y,
            label_energy(exact, y),
            {delta: energy_bound(domain, exact, delta) for delta in s.deltas},
        )
    fine, coarse = log_steps(s.steps), set(log_steps(s.steps, per_decade=4))
    inside = torch.linalg.pinv(exact.Z) @ exact.Z  # (N, N), onto the row space of Z
    rows = []

    def spectra(row, table):
        attention = model.attention().double()  # (N, H, K)
        features = torch.linalg.svdvals(
            head_matrices(attention, population.covariance)
        )  # (K, N), of B_k
        tokens = torch.special.entr(attention).sum(dim=0).exp()  # (H, K)
        for index, value in enumerate(torch.linalg.svdvals(table)):
            row("spectrum", "table", index + 1, "singular value", value)
        for index in (0, -1):
            row(
                "spectrum",
                "features, median",
                index % s.N + 1,
                "singular value",
                features[:, index].median(),
            )
            row(
                "spectrum",
                "features, smallest",
                index % s.N + 1,
                "singular value",
                features[:, index].min(),
            )
        for level in (0.0, 0.5, 1.0):
            row("spectrum", "attention", level, "tokens attended", tokens.quantile(level))

    for index, value in enumerate(torch.linalg.svdvals(A)):
        rows.append((0, "spectrum", "best table", index + 1, "singular value", value.item()))

    def record(step: int, table: torch.Tensor) -> None:
        table = table.double()  # (N, K)
        row = lambda *entry: rows.append((step, *entry[:-1], float(entry[-1])))  # noqa: E731
        excess = population(table)[0]
        row("training", "all", 0.0, "excess loss", excess)
        within = inside @ (table - A)  # (N, K)
        row("split", "row space", 0.0, "relative distance", within.norm() / A.norm())
        row(
            "split",
            "complement",
            0.0,
            "relative distance",
            (table - A - within).norm() / A.norm(),
        )
        distance = (table - A).norm(dim=0) / A.norm(dim=0)  # (K,)
        for group, part in {"shown": distance[: s.N], "not shown": distance[s.N :]}.items():
            for level in (0.0, 0.5, 1.0):
                row("columns", group, level, "relative distance", part.quantile(level))
        if step not in coarse:
            return
        spectra(row, table)
        for domain in DOMAINS:
            y, ridge = tests[domain]
            row(
                "ridge",
                domain,
                0.0,
                "relative difference",
                (y @ table[:, s.N :] - ridge).norm() / ridge.norm(),
            )
            y, energy, bounds = draws[domain]
            error = sampled_distance(table, A, y) / 2  # (draws,)
            for delta in s.deltas:
                row("bound", domain, delta, "error quantile", error.quantile(1 - delta))
                row(
                    "bound",
                    domain,
                    delta,
                    "Cauchy-Schwarz quantile",
                    (excess * energy).quantile(1 - delta),
                )
                row("bound", domain, delta, "bound", excess * bounds[delta])
                row(
                    "bound",
                    domain,
                    delta,
                    "share above",
                    (error > excess * bounds[delta]).double().mean(),
                )

    loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    train(model, loss, optimizer, s.steps, record, fine)
    return pd.DataFrame(rows, columns=["step", "part", "group", "level", "quantity", "value"])


def thm2_iterations(settings, point) -> pd.DataFrame:
    """Columns: seed, precision, quantity, value.

    Per precision: the count "promised" by Theorem 1's contraction for the rates of this run,
    and for the gamma and the step that its proof allows ("theory's own step"; not run); the
    first step at which the bound falls below the precision when the "measured loss" enters it;
    the first at which the (1 - delta) quantile of the "measured error" does; NaN where `steps`
    do not suffice. At precision 0: that gamma, the steps taken, zeta at the start and its
    minimum along the path, the promised and the smallest measured contraction, the final
    difference from ridge.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator)
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    loss, A, B = PopulationLoss.of(dictionary), optimal_weights(dictionary), s.m**0.5
    y = sample_labels(
        prompt_only(dictionary),
        draw_tasks("signs", s.draws, s.m, generator),
        generator=generator,
    )
    energy = label_energy_bound(dictionary, B, s.delta)
    excess, quantile, zeta = [], [], []

    def record(step: int, table: torch.Tensor) -> None:
        excess.append(loss(table)[0].item())
        if not quantile or quantile[-1] > min(s.precisions):  # costly, and the rest is not read
            quantile.append((sampled_distance(table, A, y) / 2).quantile(1 - s.delta).item())
        if step in checked:
            zeta.append(conditioning(weighted_attention(model, loss))[0].item())
        if step == s.steps:
            ridge = sklearn_ridge(dictionary, y)[:, s.N :]
            rows.append(
                (
                    0.0,
                    "difference from ridge",
                    ((y @ table[:, s.N :] - ridge).norm() / ridge.norm()).item(),
                )
            )

    rule = TheoryRule.at(model, loss)
    rows, checked = [(0.0, "gamma that the theory asks", rule.gamma)], set(log_steps(s.steps))
    train(
        model,
        loss,
        make_optimizer(model, "gd", s.rate, gamma=s.gamma),
        s.steps,
        record,
        range(s.steps + 1),
    )
    contraction = s.gamma**2 * s.rate * zeta[0] / (2 * s.K)
    visible = [
        1 - b / a for a, b in zip(excess, excess[1:]) if a > 1e-20
    ]  # below that, rounding
    rows += [
        (0.0, "steps", s.steps),
        (0.0, "zeta at the start", zeta[0]),
        (0.0, "smallest zeta", min(zeta)),
    ]
    rows += [
        (0.0, "promised contraction", contraction),
        (0.0, "smallest measured contraction", min(visible)),
    ]
    for precision in s.precisions:
        first = lambda curve: next((t for t, v in enumerate(curve) if v <= precision), math.nan)  # noqa: B023, E731
        for name, rate in {
            "promised": contraction,
            "promised, theory's own step": rule.decrease,
        }.items():
            rows.append((precision, name, iteration_count(excess[0], energy, precision, rate)))
        rows.append((precision, "measured loss", first([energy * value for value in excess])))
        rows.append((precision, "measured error", first(quantile)))
    return pd.DataFrame(rows, columns=["precision", "quantity", "value"])


def thm2_error_bound(settings, point) -> pd.DataFrame:
    """Columns: seed, instance, quantity, value: left over right side of each inequality, at
    most 1 where it holds.

    Sizes, noise and the table's error (of random rank) are drawn anew for each instance.
    "error, random label": the error bound for labels of a random task; "error, worst label":
    for the label that makes it tightest. "signal": ||Zbar^{-1} Z^T lambda|| <= ||lambda||. "log
    moment", "tail": the two steps of the chi-square bound.
    """
    generator = torch.Generator().manual_seed(point["seed"])
    size = lambda low, high=settings.largest: int(
        torch.randint(low, high + 1, (), generator=generator)
    )
    uniform = lambda: torch.rand((), generator=generator, dtype=torch.float64).item()  # noqa: E731
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    rows = []
    for instance in range(settings.instances):
        N, m = size(1), size(1)
        dictionary = sample_dictionary(
            N, N + size(1), 2, m, 10 ** (3 * uniform() - 2), generator=generator
        )
        rank = size(1, N)
        D = normal(N, rank) @ normal(rank, dictionary.K)  # (N, K)
        covariance = label_covariance(dictionary)  # (N, N)
        excess = (D * (covariance @ D)).sum() / (2 * dictionary.K)
        task = normal(1, m)
        root = torch.linalg.cholesky(covariance)
        worst = root @ torch.linalg.svd(root.T @ D)[0][:, :1]  # (N, 1)
        sampled = sample_labels(prompt_only(dictionary), task, generator=generator)  # (1, N)
        for name, y in {"random": sampled, "worst": worst.T}.items():
            left = (y @ D).square().sum() / (2 * dictionary.K)
            rows.append(
                (
                    instance,
                    f"error, {name} label",
                    left / (excess * label_energy(dictionary, y)[0]),
                )
            )
        signal = label_energy(dictionary, task @ dictionary.Z)[0].sqrt()
        rows.append((instance, "signal", signal / task.norm()))
        weights = normal(N).abs()  # (N,)
        u = 0.999 * uniform() / (2 * weights.max())
        moment = -(u * weights + torch.log1p(-2 * u * weights) / 2).sum()
        rows.append(
            (
                instance,
                "log moment",
                moment * (1 - 2 * u * weights.max()) / (u * weights.norm()) ** 2,
            )
        )
        delta = 10 ** (-4 * uniform() - 0.01)
        tail = chi2.sf(chi_square_bound(torch.ones(N, dtype=torch.float64), delta), N)
        rows.append((instance, "tail", tail / delta))
    return pd.DataFrame(
        [(i, q, float(v)) for i, q, v in rows], columns=["instance", "quantity", "value"]
    )


def thm2_noiseless(settings, point) -> pd.DataFrame:
    """Columns: seed, group, quantity, value: tau = 0 with N >= m, where prediction can be
    exact.

    "excess loss"; "error": relative root-mean-square error against the true labels of the
    tokens not shown; "task error": of the lambda read off the predictions; "table error": ||a~
    - A|| / ||A||; "lost part": its share outside the span of the prompt's labels, where
    training says nothing. Groups: before and after training.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, s.K, s.d, s.m, 0.0, generator=generator)
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    loss, unseen = PopulationLoss.of(dictionary), dictionary.features[:, s.N :]
    tasks = draw_tasks("out-of-domain", s.test_tasks, s.m, generator)
    truth, y = tasks @ unseen, tasks @ dictionary.Z
    outside = (
        torch.eye(s.N, dtype=torch.float64) - torch.linalg.pinv(dictionary.Z) @ dictionary.Z
    )  # (N, N)
    rows = []

    def record(step: int, table: torch.Tensor) -> None:
        group, predicted, error = (
            ("after" if step else "before"),
            y @ table[:, s.N :],
            table - loss.target,
        )
        values = {
            "excess loss": loss(table)[0],
            "error": (predicted - truth).norm() / truth.norm(),
        }
        values["task error"] = (
            predicted @ torch.linalg.pinv(unseen) - tasks
        ).norm() / tasks.norm()
        values["table error"] = error.norm() / loss.target.norm()
        values["lost part"] = (outside @ error).norm() / error.norm()
        rows.extend((group, name, value.item()) for name, value in values.items())

    train(model, loss, make_optimizer(model, "gd", s.rate), s.steps, record, (0, s.steps))
    return pd.DataFrame(rows, columns=["group", "quantity", "value"])
