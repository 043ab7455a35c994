"""Theorem 2 measured: the trained model against ridge regression, and against the error
bound."""

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

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
from iclbook.ridge.unseen import sampled_distance
from iclbook.training import log_steps

MOMENTS = {"in-domain": (0.0, 1.0), "out-of-domain": (1.0, 2.0)}  # mean, sd of the entries
DOMAINS = (*MOMENTS, "signs", "one basis function")
THREE = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)  # smallest, median, largest


def draw_tasks(domain: str, count: int, m: int, generator: torch.Generator) -> torch.Tensor:
    """Tasks of a domain, (count, m): the paper's two; entries +-1; or sqrt(m) times a unit
    vector."""
    if domain in MOMENTS:
        mean, std = MOMENTS[domain]
        return sample_tasks(count, m, generator=generator, mean=mean, std=std)
    if domain == "signs":
        coins = torch.randint(0, 2, (count, m), generator=generator, dtype=torch.float64)
        return 2.0 * coins - 1
    chosen = torch.randint(0, m, (count,), generator=generator)
    return m**0.5 * torch.eye(m, dtype=torch.float64)[chosen]


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


class Yardsticks:
    """What a table of weights is measured by: test tasks beside ridge, draws beside the
    bound."""

    def __init__(self, settings, exact: Dictionary, generator: torch.Generator):
        s = settings
        self.N, self.deltas = s.N, s.deltas
        self.population, self.A = PopulationLoss.of(exact), optimal_weights(exact)
        self.inside = torch.linalg.pinv(exact.Z) @ exact.Z  # (N, N), onto the row space of Z
        self.tests, self.draws = {}, {}
        for domain in DOMAINS:
            tasks = draw_tasks(domain, s.test_tasks, s.m, generator)
            y = sample_labels(exact, tasks, generator=generator)[:, : s.N]
            self.tests[domain] = (y, sklearn_ridge(exact, y)[:, s.N :])
            tasks = draw_tasks(domain, s.draws, s.m, generator)
            y = sample_labels(prompt_only(exact), tasks, generator=generator)  # (draws, N)
            bounds = {delta: energy_bound(domain, exact, delta) for delta in s.deltas}
            self.draws[domain] = (y, label_energy(exact, y), bounds)

    def training(self, table: torch.Tensor) -> dict:
        """Excess loss and distances from A of a table (N, K)."""
        within = self.inside @ (table - self.A)  # (N, K)
        return {
            "excess_loss": self.population(table)[0].item(),
            "row_space": (within.norm() / self.A.norm()).item(),
            "complement": ((table - self.A - within).norm() / self.A.norm()).item(),
        }

    def columns(self, table: torch.Tensor) -> list[dict]:
        """Relative distances of the table's columns from A's, shown and not shown."""
        distance = (table - self.A).norm(dim=0) / self.A.norm(dim=0)  # (K,)
        groups, rows = {"shown": distance[: self.N], "not shown": distance[self.N :]}, []
        for group, part in groups.items():
            nearest, median, farthest = part.quantile(THREE).tolist()
            rows.append(
                {"group": group, "nearest": nearest, "median": median, "farthest": farthest}
            )
        return rows

    def heads(self, model: MultiHeadAttention) -> dict:
        """Singular values of the B_k, and how many tokens heads attend to."""
        attention = model.attention().double()  # (N, H, K)
        B = head_matrices(attention, self.population.covariance)  # (K, N, H)
        values = torch.linalg.svdvals(B)  # (K, N)
        tokens = torch.special.entr(attention).sum(dim=0).exp()  # (H, K)
        focused, attended, spread = tokens.quantile(THREE).tolist()
        return {
            "largest_median": values[:, 0].median().item(),
            "largest_least": values[:, 0].min().item(),
            "smallest_median": values[:, -1].median().item(),
            "smallest_least": values[:, -1].min().item(),
            "focused": focused,
            "attended": attended,
            "spread": spread,
        }

    def ridge(self, table: torch.Tensor) -> list[dict]:
        """Relative difference from scikit-learn's ridge on tokens not shown, in each domain."""
        rows = []
        for domain, (y, ridge) in self.tests.items():
            off = (y @ table[:, self.N :] - ridge).norm() / ridge.norm()
            rows.append({"domain": domain, "difference": off.item()})
        return rows

    def bounds(self, table: torch.Tensor) -> list[dict]:
        """Quantiles of the error beside those of the bounds, in each domain and for each
        delta."""
        rows, excess = [], self.population(table)[0]
        for domain, (y, energy, bounds) in self.draws.items():
            error = sampled_distance(table, self.A, y) / 2  # (draws,)
            for delta in self.deltas:
                bound = excess * bounds[delta]
                found = {
                    "error": error.quantile(1 - delta),
                    "cauchy_schwarz": (excess * energy).quantile(1 - delta),
                    "bound": bound,
                    "share_above": (error > bound).double().mean(),
                }
                found = {name: value.item() for name, value in found.items()}
                rows.append({"domain": domain, "delta": delta, **found})
        return rows


def spectrum(table: torch.Tensor) -> list[dict]:
    """Singular values, the largest with index 1."""
    values = torch.linalg.svdvals(table).tolist()
    return [{"index": index, "singular_value": value} for index, value in enumerate(values, 1)]


def thm2(settings, point) -> dict[str, pd.DataFrame]:
    """Train one model and hold it, at steps evenly spaced on a log scale, against A, against
    ridge and against the bound; the costly measures at fewer of the steps."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    exact = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator)
    dictionary = exact.to(dtype_named(s.dtype))
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    measure = Yardsticks(s, exact, generator)
    fine, coarse = log_steps(s.steps), set(log_steps(s.steps, per_decade=4))
    rows = {
        name: [] for name in ("training", "columns", "spectrum", "heads", "ridge", "bounds")
    }

    loss = PopulationLoss.of(exact, dictionary.tokens.dtype)
    optimizer = make_optimizer(model, "adam", s.rate, half_life=s.half_life)
    for step, table in train(model, loss, optimizer, s.steps, at=fine):
        table = table.double()  # (N, K)
        found = {"training": [measure.training(table)], "columns": measure.columns(table)}
        if step in coarse:
            found |= {"spectrum": spectrum(table), "heads": [measure.heads(model)]}
            found |= {"ridge": measure.ridge(table), "bounds": measure.bounds(table)}
        for name, several in found.items():
            rows[name] += [{"step": step, **row} for row in several]
    tables = {name: pd.DataFrame(several) for name, several in rows.items()}
    return tables | {"best_spectrum": pd.DataFrame(spectrum(measure.A))}


def thm2_iterations(settings, point) -> dict[str, pd.DataFrame]:
    """Iterations to a precision, promised and measured, and what the promise rests on.

    "promised": by Theorem 1's contraction for the rates of this run; "promised_own": for the
    gamma and the step that its proof allows (not run). "by_loss": the first step at which the
    bound falls below the precision when the measured loss enters it; "by_error": the first at
    which the (1 - delta) quantile of the measured error does.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator)
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    loss, A, B = PopulationLoss.of(dictionary), optimal_weights(dictionary), s.m**0.5
    tasks = draw_tasks("signs", s.draws, s.m, generator)
    y = sample_labels(prompt_only(dictionary), tasks, generator=generator)  # (draws, N)
    energy = label_energy_bound(dictionary, B, s.delta)
    rule, checked = TheoryRule.at(model, loss), set(log_steps(s.steps))

    excess, quantile, zeta = [], [], []
    optimizer = make_optimizer(model, "gd", s.rate, gamma=s.gamma)
    for step, table in train(model, loss, optimizer, s.steps, at=range(s.steps + 1)):
        excess.append(loss(table)[0].item())
        if not quantile or quantile[-1] > min(s.precisions):  # costly, and the rest is not read
            quantile.append((sampled_distance(table, A, y) / 2).quantile(1 - s.delta).item())
        if step in checked:
            zeta.append(conditioning(weighted_attention(model, loss))[0].item())
    ridge = sklearn_ridge(dictionary, y)[:, s.N :]
    visible = [1 - b / a for a, b in pairwise(excess) if a > 1e-20]  # below that, rounding
    facts = {
        "gamma_theory": rule.gamma,
        "difference": ((y @ table[:, s.N :] - ridge).norm() / ridge.norm()).item(),
        "steps": s.steps,
        "zeta_start": zeta[0],
        "smallest_zeta": min(zeta),
        "promised": s.gamma**2 * s.rate * zeta[0] / (2 * s.K),
        "smallest": min(visible),
    }

    def first(curve: list[float], precision: float) -> float:
        return next((t for t, value in enumerate(curve) if value <= precision), math.nan)

    counts = []
    for precision in s.precisions:
        start = excess[0], energy, precision
        promised = [
            iteration_count(*start, rate) for rate in (facts["promised"], rule.decrease)
        ]
        by_loss = first([energy * value for value in excess], precision)
        counts.append((precision, *promised, by_loss, first(quantile, precision)))
    columns = ["precision", "promised", "promised_own", "by_loss", "by_error"]
    return {"facts": pd.DataFrame([facts]), "counts": pd.DataFrame(counts, columns=columns)}


def thm2_error_bound(settings, point) -> dict[str, pd.DataFrame]:
    """Left over right side of each inequality behind the error bound, at most 1 where it holds.

    Sizes, noise and the table's error (of random rank) are drawn anew for each instance.
    """
    generator = torch.Generator().manual_seed(point["seed"])
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)

    def size(low: int, high: int = settings.largest) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def uniform() -> float:
        return torch.rand((), generator=generator, dtype=torch.float64).item()

    rows = []
    for instance in settings.numbers:
        N, m = size(1), size(1)
        K, tau = N + size(1), 10 ** (3 * uniform() - 2)
        dictionary = sample_dictionary(N, K, 2, m, tau, generator=generator)
        rank = size(1, N)
        D = normal(N, rank) @ normal(rank, K)  # (N, K)
        covariance = label_covariance(dictionary)  # (N, N)
        excess = (D * (covariance @ D)).sum() / (2 * K)
        task = normal(1, m)
        root = torch.linalg.cholesky(covariance)
        worst = root @ torch.linalg.svd(root.T @ D)[0][:, :1]  # (N, 1)
        sampled = sample_labels(prompt_only(dictionary), task, generator=generator)  # (1, N)
        labels = (
            (y @ D).square().sum() / (2 * K) / (excess * label_energy(dictionary, y)[0])
            for y in (sampled, worst.T)
        )
        signal = label_energy(dictionary, task @ dictionary.Z)[0].sqrt() / task.norm()
        weights = normal(N).abs()  # (N,)
        u = 0.999 * uniform() / (2 * weights.max())
        moment = -(u * weights + torch.log1p(-2 * u * weights) / 2).sum()
        scaled = moment * (1 - 2 * u * weights.max()) / (u * weights.norm()) ** 2
        delta = 10 ** (-4 * uniform() - 0.01)
        tail = chi2.sf(chi_square_bound(torch.ones(N, dtype=torch.float64), delta), N) / delta
        rows.append((instance, *map(float, (*labels, signal, scaled, tail))))
    columns = ["instance", "random_label", "worst_label", "signal", "log_moment", "tail"]
    return {"ratios": pd.DataFrame(rows, columns=columns)}


def thm2_noiseless(settings, point) -> dict[str, pd.DataFrame]:
    """tau = 0 with N >= m, where prediction can be exact: errors before and after training."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, s.K, s.d, s.m, 0.0, generator=generator)
    model = MultiHeadAttention(dictionary, s.H, generator=generator)
    loss, unseen = PopulationLoss.of(dictionary), dictionary.features[:, s.N :]
    tasks = draw_tasks("out-of-domain", s.test_tasks, s.m, generator)
    truth, y = tasks @ unseen, tasks @ dictionary.Z
    inside = torch.linalg.pinv(dictionary.Z) @ dictionary.Z  # (N, N)
    outside = torch.eye(s.N, dtype=torch.float64) - inside  # (N, N)
    rows = []
    optimizer = make_optimizer(model, "gd", s.rate)
    for step, table in train(model, loss, optimizer, s.steps, at=(0, s.steps)):
        predicted, error = y @ table[:, s.N :], table - loss.target
        read_off = predicted @ torch.linalg.pinv(unseen)  # (test_tasks, m)
        found = {
            "excess_loss": loss(table)[0],
            "error": (predicted - truth).norm() / truth.norm(),
            "task_error": (read_off - tasks).norm() / tasks.norm(),
            "table_error": error.norm() / loss.target.norm(),
            "lost_part": (outside @ error).norm() / error.norm(),
        }
        found = {name: value.item() for name, value in found.items()}
        rows.append({"group": "after" if step else "before", **found})
    return {"errors": pd.DataFrame(rows)}
