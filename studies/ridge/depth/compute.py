"""Does depth change the story: Figure 2b, what is inside the deep model, and Figure 5's races
against the clock."""

import math
import time
from collections.abc import Callable

import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from iclbook.checkpoint import Checkpoint
from iclbook.ridge.depth import (
    DeepTransformer,
    linear_part,
    nonlinear_share,
    operations,
    prediction_loss,
    scaling_error,
)
from iclbook.ridge.population_loss import Batches, PopulationLoss, optimal_weights
from iclbook.ridge.prompt import dtype_named, sample_dictionary, sample_labels, sample_tasks
from iclbook.ridge.ridge_regression import ridge_coefficients
from iclbook.ridge.template import ridge_table
from iclbook.ridge.unseen import DOMAINS, IN_DOMAIN, best_linear
from iclbook.training import by_autograd, descend, log_steps

# A look costs as much as twenty steps of training: few of them.
PER_DECADE, FIRST_LOOK, POOL_TASKS = 6, 10, 64


class Setup:
    """The dictionary, the pool's batches and the test tasks of one seed; the same for every
    model of the seed."""

    def __init__(self, settings, seed: int):
        s, generator = settings, torch.Generator().manual_seed(seed)
        self.exact = sample_dictionary(
            s.N, s.K, s.d, s.m, s.tau, generator=generator, tokens=s.tokens
        )
        self.dictionary = self.exact.to(dtype_named(s.dtype))
        self.A, self.lemma4 = optimal_weights(self.exact), ridge_table(self.exact, s.N * s.tau)
        self.seed, self.generator = seed, generator
        self.tests = {
            name: self.sample(s.test_tasks, domain) for name, domain in DOMAINS.items()
        }
        pool, _ = self.sample(s.pool, IN_DOMAIN)
        self.batches = Batches(
            pool.to(s.device, self.dictionary.tokens.dtype), s.batch, generator=generator
        )
        self.train_tasks = self.batches.labels[:POOL_TASKS]  # (POOL_TASKS, K)

    def sample(self, count: int, domain) -> tuple[Tensor, Tensor]:
        """(noisy labels, true labels) of new tasks, both (count, K)."""
        tasks = sample_tasks(
            count, self.exact.m, generator=self.generator, mean=domain.mean, std=domain.std
        )
        labels = sample_labels(self.exact, tasks, generator=self.generator)
        return labels, tasks @ self.exact.features

    def model(self, settings, H: int, skip: bool = True) -> DeepTransformer:
        """A fresh deep model; models of one seed start from the same weights, whatever H and
        `skip`."""
        s, generator = settings, torch.Generator().manual_seed(1000 + self.seed)
        sizes = dict(layers=s.layers, width=s.width, feedforward=s.feedforward, H=H, skip=skip)
        return DeepTransformer(self.dictionary, generator=generator, **sizes).to(s.device)

    def predict(self, model: DeepTransformer, y: Tensor) -> Tensor:
        """The model's predictions in float64 for y: (count, N) of any type, (count, K)."""
        return model.predict(y.to(self.train_tasks)).double().cpu()

    def measured(self, predict: Callable[[Tensor], Tensor]) -> tuple[dict, list[dict]]:
        """(its training loss, its losses, distances and errors in each domain) of a predictor,
        y (count, N) -> (count, K)."""
        N, rows, pool = self.exact.N, [], self.train_tasks.double().cpu()
        for domain, (labels, truth) in self.tests.items():
            y = labels[:, :N]  # (test_tasks, N)
            predicted, ridge = predict(y), y @ self.A  # (test_tasks, K)
            found = {
                "loss": prediction_loss(predicted, labels),
                "distance": (predicted - ridge).square().mean(),
                "distance_not_shown": (predicted - ridge)[:, N:].square().mean(),
                "distance_to_lemma4": (predicted - y @ self.lemma4)[:, N:].square().mean(),
                "error": (predicted - truth)[:, N:].square().mean(),
            }
            rows.append({"domain": domain} | {name: v.item() for name, v in found.items()})
        return {"training_loss": prediction_loss(predict(pool[:, :N]), pool).item()}, rows


def batch_loss(model: DeepTransformer, batches: Batches) -> Tensor:
    """The loss on the next batch, with its graph, a scalar."""
    labels = batches.draw()  # (batch, K)
    return prediction_loss(model(labels[:, : model.N]), labels)


def fig2b(settings, point, checkpoint: Checkpoint | None = None) -> dict[str, pd.DataFrame]:
    """Train one deep model, measure it at every recorded step, and look inside at the end; the
    predictors that do not train are measured once."""
    s, setup = settings, Setup(settings, point["seed"])
    model = setup.model(s, s.H, point["skip"])
    optimizer = torch.optim.Adam(model.parameters(), s.rate, fused=True)
    steps = s.steps if point["skip"] else s.steps_without_skip
    first, curves, domains = 0, [], []

    # Go on where an earlier attempt was interrupted.
    keeper, batches = checkpoint or Checkpoint(), setup.batches
    if saved := keeper.load():
        first, curves, domains = saved["step"], saved["curves"], saved["domains"]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        setup.generator.set_state(saved["generator"])
        batches.order, batches.next = saved["order"], saved["next"]

    def state() -> dict:
        return {
            "step": now,
            "curves": curves,
            "domains": domains,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": setup.generator.get_state(),
            "order": batches.order,
            "next": batches.next,
        }

    looks = {step for step in log_steps(steps, PER_DECADE) if step == 0 or step >= FIRST_LOOK}
    gradient = by_autograd(lambda: batch_loss(model, batches), optimizer)
    for now in descend(gradient, optimizer, steps, at=range(steps + 1), first=first):
        keeper.save(state)
        if now in looks:
            loss, rows = setup.measured(lambda y: setup.predict(model, y))
            curves.append({"step": now} | loss)
            domains += [{"step": now} | row for row in rows]

    tables = {"curves": pd.DataFrame(curves), "domains": pd.DataFrame(domains)} | fixed(setup)
    return tables | (inside(setup, model, s) if s.probe_tasks else {})


def fixed(setup: Setup) -> dict[str, pd.DataFrame]:
    """Tables of the predictors that do not train: ridge (y*^), the ridge of Lemma 4 and zero;
    and the best linear predictor of each domain."""
    references = {"ridge": setup.A, "Lemma 4": setup.lemma4, "zero": torch.zeros_like(setup.A)}
    linear = {name: best_linear(setup.exact, domain) for name, domain in DOMAINS.items()}
    losses, domains = {"predictor": [], "fitted": []}, {"predictor": [], "fitted": []}
    for key, weights in (("predictor", references), ("fitted", linear)):
        for name, table in weights.items():
            loss, rows = setup.measured(lambda y, table=table: y @ table)
            losses[key].append({key: name} | loss)
            domains[key] += [{key: name} | row for row in rows]
    return {
        "references": pd.DataFrame(losses["predictor"]),
        "reference_domains": pd.DataFrame(domains["predictor"]),
        "best_linear": pd.DataFrame(losses["fitted"]),
        "best_linear_domains": pd.DataFrame(domains["fitted"]),
    }


def inside(setup: Setup, model: DeepTransformer, settings) -> dict[str, pd.DataFrame]:
    """Tables on the trained model, from new in-domain tasks and from the test tasks."""
    count, held = settings.probe_tasks, settings.probe_tasks // 3
    labels, _ = setup.sample(count + held, IN_DOMAIN)
    # Rounded as the model sees them, (count + held, N).
    y = labels[:, : setup.exact.N].to(setup.train_tasks.dtype).double()
    sizes, scaling = label_scaling(setup, model, settings.factors)
    return {
        "linearity": linearity(setup, model, y, count),
        "label_sizes": sizes,
        "label_scaling": scaling,
        "probes": probes(setup, model, y, count, settings.probe_tokens),
    }


def linearity(setup: Setup, model: DeepTransformer, y: Tensor, count: int) -> pd.DataFrame:
    """How linear the model is in labels y, (count + held, N): its closest table is fitted to
    the first `count` tasks, its nonlinear share taken on the rest."""
    predicted = setup.predict(model, y)  # (count + held, K)
    T = linear_part(y[:count], predicted[:count])  # (N, K)
    scaling = scaling_error(lambda y: setup.predict(model, y), y[: len(y) - count], 2.0)
    found = {
        "nonlinear_share": nonlinear_share(predicted[count:], y[count:] @ T),
        "linear_part_excess_loss": PopulationLoss.of(setup.exact)(T)[0],
        "scaling_error": scaling,
    }
    return pd.DataFrame([{name: value.item() for name, value in found.items()}])


def label_scaling(
    setup: Setup, model: DeepTransformer, factors
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(size of the test tasks' labels as they are, relative distance to y*^ on tokens not shown
    with labels multiplied by each factor)."""
    N, sizes, rows = setup.exact.N, [], []
    for domain, (labels, _) in setup.tests.items():
        shown = labels[:, :N]  # (test_tasks, N)
        sizes.append({"domain": domain, "label_size": shown.square().mean().sqrt().item()})
        for factor in factors:
            ridge = factor * shown @ setup.A[:, N:]  # (test_tasks, K - N)
            off = setup.predict(model, factor * shown)[:, N:] - ridge
            relative = off.square().mean() / ridge.square().mean()
            row = {"domain": domain, "factor": factor, "relative_distance": relative.item()}
            rows.append(row)
    return pd.DataFrame(sizes), pd.DataFrame(rows)


def probes(
    setup: Setup, model: DeepTransformer, y: Tensor, count: int, probe_tokens: int
) -> pd.DataFrame:
    """What linear probes read off each layer, as R^2 on tasks held out; y: (count + held, N).

    From single tokens not shown, the mean over `probe_tokens` of them: the ridge coefficients,
    that token's y*^, and the labels' part outside the row space of Z^, N - m numbers that y*^
    ignores. From all tokens: f(v) and, as a control, features that the model never saw.
    """
    exact, N = setup.exact, setup.exact.N
    chosen = range(N, N + probe_tokens)
    single, every = [], []
    for part in y.to(setup.train_tasks).split(8):
        with torch.no_grad():
            states = torch.stack(model.hidden(part)).cpu()  # (layers + 1, 8, K, width)
        single.append(states[:, :, N : N + probe_tokens])
        if len(every) < 4:
            every.append(states)
    # (layers + 1, count + held, probe_tokens, width) and (layers + 1, 32, K, width)
    single, every = (torch.cat(parts, dim=1).double().numpy() for parts in (single, every))

    # The targets of single tokens have count + held rows, those of all tokens 32 K.
    ridge = (y @ setup.A).numpy()  # (count + held, K)
    coefficients = ridge_coefficients(exact.Z, y, exact.m * exact.tau).numpy()  # (.., m)
    rest = (y @ torch.linalg.svd(exact.features[:, :N]).Vh[exact.m :].T).numpy()  # (.., N - m)
    other = torch.randn(exact.features.shape, generator=setup.generator, dtype=torch.float64)
    features, other = (
        f.T.repeat(every.shape[1], 1).numpy() for f in (exact.features, other)
    )  # (32 K, m) each

    rows = []
    for layer, (tokens, few) in enumerate(zip(single, every)):
        flat = few.reshape(-1, few.shape[-1])  # (32 K, width)
        cut = 3 * len(flat) // 4
        of_tokens = [
            {
                "ridge_coefficients": r2(tokens[:, i], coefficients, count),
                "ridge_prediction": r2(tokens[:, i], ridge[:, k], count),
                "rest_of_labels": r2(tokens[:, i], rest, count),
            }
            for i, k in enumerate(chosen)
        ]
        means = {name: sum(t[name] for t in of_tokens) / len(chosen) for name in of_tokens[0]}
        means["features"] = r2(flat, features, cut)
        means["other_features"] = r2(flat, other, cut)
        rows.append({"layer": layer} | means)
    return pd.DataFrame(rows)


def r2(x, target, cut: int) -> float:
    """R^2 on the rows from `cut` on of a linear probe fitted to the rows before, its penalty
    chosen on those too."""
    probe = RidgeCV(alphas=10.0 ** torch.arange(-4, 5).numpy()).fit(x[:cut], target[:cut])
    return probe.score(x[cut:], target[cut:])


def fig5(settings, point) -> dict[str, pd.DataFrame]:
    """One race: models of every head count, each with the same time to train."""
    names = ("costs", "curves", "ends", "final_losses", "final_distances")
    tables = {name: [] for name in names}
    for H in settings.H:
        # Anew, so that every head count sees the same batches.
        setup = Setup(settings, point["seed"])
        model = setup.model(settings, H)
        found = {"costs": [operations(model, settings.batch)]} | race(settings, setup, model)
        for name, rows in found.items():
            tables[name] += [{"H": H} | row for row in rows]
    return {name: pd.DataFrame(rows) for name, rows in tables.items() if rows}


def race(settings, setup: Setup, model: DeepTransformer) -> dict[str, list[dict]]:
    """Rows of one runner's curve and of how it stands when its time is up."""
    s, losses, found = settings, [], {"curves": []}

    def loss() -> Tensor:
        value = batch_loss(model, setup.batches)
        losses.append(value.item())
        return value

    optimizer = torch.optim.Adam(model.parameters(), s.rate, fused=True)
    looks, least = set(log_steps(s.max_steps)) - {0}, min(s.least_steps, s.max_steps)
    racing, seconds, wall, cpu, start = True, 0.0, 0.0, 0.0, 0.0
    every, gradient = range(s.max_steps + 1), by_autograd(loss, optimizer)
    # On an idle machine both clocks agree; with other work about, the processor's still tells
    # what a step costs. They run from one step's end to the next, the looks left out.
    for now in descend(gradient, optimizer, s.max_steps, at=every):
        if racing and now:
            seconds += time.process_time() - cpu
            wall += time.perf_counter() - start
        if now in looks:
            row = {"step": now, "training_loss": sum(losses) / len(losses)}
            found["curves"].append(row | {"seconds": seconds if racing else math.nan})
            losses.clear()
        if racing and (seconds >= s.budget or now == s.max_steps):
            racing = False
            found["ends"] = [{"iterations": now, "seconds": seconds, "wall_seconds": wall}]
            if s.final_look:
                _, rows = setup.measured(lambda y: setup.predict(model, y))
                inner = [row["loss"] for row in rows if row["domain"] == "in-domain"]
                found["final_losses"] = [{"loss": value} for value in inner]
                chosen = ("domain", "distance")
                found["final_distances"] = [{key: row[key] for key in chosen} for row in rows]
        if not racing and now >= least:
            break
        cpu, start = time.process_time(), time.perf_counter()
    return found


def fig5_longer(settings, point) -> dict[str, pd.DataFrame]:
    """One seed's models of every head count, one after another, each for as many steps; what
    ridge regression and predicting zero cost on the same test tasks."""
    s, seed, curves = settings, point["seed"], []
    looks = {step for step in log_steps(s.steps, PER_DECADE) if step == 0 or step >= FIRST_LOOK}
    for H in s.H:
        setup = Setup(s, seed)  # anew, so that every head count sees the same batches
        model, seconds, cpu = setup.model(s, H), 0.0, 0.0
        optimizer = torch.optim.Adam(model.parameters(), s.rate, fused=True)
        gradient = by_autograd(lambda m=model, b=setup.batches: batch_loss(m, b), optimizer)
        for now in descend(gradient, optimizer, s.steps, at=range(s.steps + 1)):
            seconds += time.process_time() - cpu if now else 0.0
            if now in looks:
                of = setup.measured(lambda y, m=model, u=setup: u.predict(m, y))[1]
                rows = [{"domain": row["domain"], "loss": row["loss"]} for row in of]
                rows = [row | {"seconds": seconds} for row in rows]
                curves += [{"H": H, "step": now} | row for row in rows]
            cpu = time.process_time()
    chosen = fixed(setup)["reference_domains"][["predictor", "domain", "loss"]]
    return {"curves": pd.DataFrame(curves), "references": chosen}
