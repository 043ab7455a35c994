"""Does depth change the story: Figure 2b, what is inside the deep model, and Figure 5's races
against the clock."""

import time

import pandas as pd
import torch
from sklearn.linear_model import RidgeCV

from iclbook.checkpoint import Checkpoint
from iclbook.errors import require
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
from iclbook.training import log_steps
from iclbook.ridge.unseen import IN_DOMAIN, OUT_OF_DOMAIN, best_linear

DOMAINS = {"in-domain": IN_DOMAIN, "out-of-domain": OUT_OF_DOMAIN}
PER_DECADE, FIRST_LOOK, POOL_TASKS = (
    6,
    10,
    64,
)  # a look costs as much as twenty steps of training: few of them
FACTORS = (
    0.125,
    0.25,
    0.5,
    1.0,
    2.0,
    4.0,
)  # what labels are multiplied by, to see how far the trained range reaches


class Setup:
    """The dictionary, the pool's batches and the test tasks of one seed; the same for every
    model of the seed."""

    def __init__(self, settings, seed: int):
        s, generator = settings, torch.Generator().manual_seed(seed)
        there = s.device == "cpu" or (s.device.startswith("cuda") and torch.cuda.is_available())
        require(
            there, f"this machine has no device {s.device!r}; add --set device=cpu and time"
        )
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

    def sample(self, count: int, domain):
        """(noisy labels, true labels) of new tasks, both (count, K)."""
        tasks = sample_tasks(
            count, self.exact.m, generator=self.generator, mean=domain.mean, std=domain.std
        )
        return sample_labels(
            self.exact, tasks, generator=self.generator
        ), tasks @ self.exact.features

    def model(self, settings, H: int, skip: bool = True) -> DeepTransformer:
        """A fresh deep model; models of one seed start from the same weights, whatever H and
        `skip`."""
        s, generator = settings, torch.Generator().manual_seed(1000 + self.seed)
        return DeepTransformer(self.dictionary, layers=s.layers, width=s.width, feedforward=s.feedforward, H=H,
                               generator=generator, skip=skip).to(s.device)  # fmt: skip

    def predict(self, model: DeepTransformer, y: torch.Tensor) -> torch.Tensor:
        """The model's predictions in float64 for y: (count, N) of any type, (count, K)."""
        return model.predict(y.to(self.train_tasks)).double().cpu()


def step(model, optimizer, batches: Batches) -> float:
    """One step of the optimiser on the next batch; returns the loss on that batch before the
    step."""
    labels = batches.draw()  # (batch, K)
    loss = prediction_loss(model(labels[:, : model.N]), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def fig2b(settings, point, checkpoint: Checkpoint | None = None) -> pd.DataFrame:
    """Columns: skip, seed, step, layer, domain, predictor, quantity, value; layer is -1 where
    it does not apply.

    Predictor "transformer" at every recorded step, and at step 0 "zero", "ridge" (y*^), "Lemma
    4" and each domain's "best linear". Quantities: "loss" (domain "training": on tasks of the
    pool), "distance" to y*^ over all tokens (the paper's inference loss); on tokens not shown
    "distance, not shown", "distance to Lemma 4" and "error" against the true labels. At the
    last step also those of `inside`.
    """
    s, setup = settings, Setup(settings, point["seed"])
    model = setup.model(s, s.H, point["skip"])
    optimizer = torch.optim.Adam(model.parameters(), s.rate, fused=True)
    steps = s.steps if point["skip"] else s.steps_without_skip
    rows, first = [], 0
    tables = {"ridge": setup.A, "Lemma 4": setup.lemma4, "zero": torch.zeros_like(setup.A)}
    tables |= {
        f"best linear, {name}": best_linear(setup.exact, domain)
        for name, domain in DOMAINS.items()
    }
    for name, table in tables.items():
        rows += measured(setup, lambda y, table=table: y @ table, 0, name)

    keeper = checkpoint or Checkpoint()
    if saved := keeper.load():
        first, rows = saved["step"], [tuple(row) for row in saved["rows"]]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        setup.generator.set_state(saved["generator"])
        setup.batches.order, setup.batches.next = saved["order"], saved["next"]

    looks = {now for now in log_steps(steps, PER_DECADE) if now == 0 or now >= FIRST_LOOK}
    for now in range(first, steps + 1):
        keeper.save(lambda: {"step": now, "rows": rows, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                             "generator": setup.generator.get_state(), "order": setup.batches.order,
                             "next": setup.batches.next})  # fmt: skip
        if now in looks:
            rows += measured(setup, lambda y: setup.predict(model, y), now, "transformer")
        if now < steps:
            step(model, optimizer, setup.batches)
    if s.probe_tasks:
        rows += inside(setup, model, s, steps)
    return pd.DataFrame(
        rows, columns=["step", "layer", "domain", "predictor", "quantity", "value"]
    )


def measured(setup: Setup, predict, now: int, name: str) -> list[tuple]:
    """Rows of losses, distances and errors of one predictor, y (count, N) -> (count, K), at one
    step."""
    N, rows = setup.exact.N, []

    def row(domain: str, quantity: str, value) -> None:
        rows.append((now, -1, domain, name, quantity, value.item()))

    pool = setup.train_tasks.double().cpu()
    row("training", "loss", prediction_loss(predict(pool[:, :N]), pool))
    for domain, (labels, truth) in setup.tests.items():
        y = labels[:, :N]  # (test_tasks, N)
        predicted, ridge = predict(y), y @ setup.A  # (test_tasks, K)
        row(domain, "loss", prediction_loss(predicted, labels))
        row(domain, "distance", (predicted - ridge).square().mean())
        row(domain, "distance, not shown", (predicted - ridge)[:, N:].square().mean())
        row(
            domain, "distance to Lemma 4", (predicted - y @ setup.lemma4)[:, N:].square().mean()
        )
        row(domain, "error", (predicted - truth)[:, N:].square().mean())
    return rows


def inside(setup: Setup, model: DeepTransformer, settings, now: int) -> list[tuple]:
    """Rows on the trained model. Over all tokens: "nonlinear share" (held-out tasks), "linear
    part, excess loss" (L - L* of its closest table), "scaling error" for labels twice as large.

    Of the test tasks with labels multiplied by each of `FACTORS`, on tokens not shown:
    "relative distance, labels x FACTOR", the distance to y*^ over the mean square of y*^; and
    "label size", the labels' root mean square as they are.

    Of linear probes, by layer (0 is the embedding), as R^2 on tasks held out: from single
    tokens not shown "probe, lambda" (the ridge coefficients), "probe, y*^" (that token's ridge
    prediction) and "probe, rest of y" (the labels' part outside the row space of Z^, N - m
    numbers that y*^ ignores); from all tokens "probe, f(v)" and, as a control, "probe, other f"
    (features the model never saw).
    """
    s, N, rows = settings, setup.exact.N, []
    count, held = s.probe_tasks, s.probe_tasks // 3
    labels, _ = setup.sample(count + held, IN_DOMAIN)
    y = (
        labels[:, :N].to(setup.train_tasks.dtype).double()
    )  # (count + held, N), rounded as the model sees them
    predicted = setup.predict(model, y)  # (count + held, K)
    T = linear_part(y[:count], predicted[:count])  # (N, K)
    population = PopulationLoss.of(setup.exact)
    rows.append((now, -1, "in-domain", "transformer", "nonlinear share",
                 nonlinear_share(predicted[count:], y[count:] @ T).item()))  # fmt: skip
    rows.append(
        (
            now,
            -1,
            "in-domain",
            "transformer",
            "linear part, excess loss",
            population(T)[0].item(),
        )
    )
    scaling = scaling_error(lambda y: setup.predict(model, y), y[:held], 2.0)
    rows.append((now, -1, "in-domain", "transformer", "scaling error", scaling.item()))

    for domain, (tests, _) in setup.tests.items():
        shown = tests[:, :N]  # (test_tasks, N)
        rows.append(
            (now, -1, domain, "transformer", "label size", shown.square().mean().sqrt().item())
        )
        for factor in FACTORS:
            ridge = factor * shown @ setup.A[:, N:]  # (test_tasks, K - N)
            off = (
                setup.predict(model, factor * shown)[:, N:] - ridge
            ).square().mean() / ridge.square().mean()
            rows.append(
                (
                    now,
                    -1,
                    domain,
                    "transformer",
                    f"relative distance, labels x {factor:g}",
                    off.item(),
                )
            )

    chosen = range(N, N + s.probe_tokens)
    with torch.no_grad():
        layers = [[], []]
        for part in y.to(setup.train_tasks).split(8):
            states = torch.stack(model.hidden(part)).cpu()  # (layers + 1, 8, K, width)
            layers[0].append(states[:, :, N : N + s.probe_tokens])
            if len(layers[1]) < 4:
                layers[1].append(states)
    # (layers + 1, count + held, probe_tokens, width) and (layers + 1, 32, K, width)
    tokens, few = (torch.cat(parts, dim=1).double() for parts in layers)
    ridge = y @ setup.A  # (count + held, K)
    coefficients = ridge_coefficients(
        setup.exact.Z, y, setup.exact.m * setup.exact.tau
    )  # (count + held, m)
    rest = (
        y @ torch.linalg.svd(setup.exact.features[:, :N]).Vh[s.m :].T
    )  # (count + held, N - m), what no task explains
    other = torch.randn(
        setup.exact.features.shape, generator=setup.generator, dtype=torch.float64
    )  # (m, K)
    for layer in range(len(tokens)):
        single = [
            tokens[layer, :, i].numpy() for i in range(len(chosen))
        ]  # (count + held, width) each
        scores = {
            "probe, lambda": [r2(x, coefficients.numpy(), count) for x in single],
            "probe, y*^": [r2(x, ridge[:, k].numpy(), count) for x, k in zip(single, chosen)],
            "probe, rest of y": [r2(x, rest.numpy(), count) for x in single],
        }
        flat = few[layer].flatten(0, 1).numpy()  # (32 K, width)
        for quantity, features in (
            ("probe, f(v)", setup.exact.features),
            ("probe, other f", other),
        ):
            scores[quantity] = [
                r2(flat, features.T.repeat(few.shape[1], 1).numpy(), 3 * len(flat) // 4)
            ]
        rows += [
            (now, layer, "in-domain", "transformer", name, sum(each) / len(each))
            for name, each in scores.items()
        ]
    return rows


def r2(x, target, cut: int) -> float:
    """R^2 on the rows from `cut` on of a linear probe fitted to the rows before, its penalty
    chosen on those too."""
    probe = RidgeCV(alphas=10.0 ** torch.arange(-4, 5).numpy()).fit(x[:cut], target[:cut])
    return probe.score(x[cut:], target[cut:])


def fig5(settings, point) -> pd.DataFrame:
    """Columns: seed, H, step, quantity, value.

    Quantities: "training loss", the mean over the batches since the last look, and, as long as
    time is not up, the "seconds" of processor time that training took until then; at step 0 the
    "flops" and "exponentials" of one step. When the time is up "iterations", "final seconds",
    "wall seconds", and on the test tasks "loss", "distance, in-domain" and "distance,
    out-of-domain" (to y*^, over all tokens).
    """
    s, rows = settings, []
    for H in s.H:
        setup = Setup(s, point["seed"])  # anew, so that every head count sees the same batches
        model = setup.model(s, H)
        rows += [
            (H, 0, quantity, count) for quantity, count in operations(model, s.batch).items()
        ]
        optimizer = torch.optim.Adam(model.parameters(), s.rate, fused=True)
        looks, losses, seconds, wall, now = set(log_steps(s.max_steps)), [], 0.0, 0.0, 0
        while now < s.max_steps and seconds < s.budget:
            # On an idle machine both clocks agree; with other work about, the processor's still
            # tells what a step costs.
            cpu, start = time.process_time(), time.perf_counter()
            losses.append(step(model, optimizer, setup.batches))
            seconds, wall, now = (
                seconds + time.process_time() - cpu,
                wall + time.perf_counter() - start,
                now + 1,
            )
            if now in looks:
                rows += [
                    (H, now, "training loss", sum(losses) / len(losses)),
                    (H, now, "seconds", seconds),
                ]
                losses = []
        rows += [
            (H, now, "iterations", now),
            (H, now, "final seconds", seconds),
            (H, now, "wall seconds", wall),
        ]
        if s.final_look:
            looked = measured(setup, lambda y: setup.predict(model, y), now, "")  # noqa: B023
            found = {(domain, quantity): value for _, _, domain, _, quantity, value in looked}
            rows.append((H, now, "loss", found["in-domain", "loss"]))
            rows += [
                (H, now, f"distance, {domain}", found[domain, "distance"]) for domain in DOMAINS
            ]
        while now < min(s.least_steps, s.max_steps):
            losses.append(step(model, optimizer, setup.batches))
            now += 1
            if now in looks:
                rows.append((H, now, "training loss", sum(losses) / len(losses)))
                losses = []
    return pd.DataFrame(rows, columns=["H", "step", "quantity", "value"])
