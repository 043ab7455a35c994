"""An encoder trained over many prompts, seen through both lenses; and rules that do not
train."""

import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from iclbook.checkpoint import Checkpoint
from iclbook.ridge.depth import linear_part, nonlinear_share, prediction_loss
from iclbook.training import by_autograd, descend, log_steps
from studies.bridge.over_prompts import rules as rule
from studies.bridge.over_prompts.encoder import PromptEncoder, Prompts, sample_prompts
from studies.bridge.over_prompts.rules import Filters
from studies.bridge.two_lenses.lenses import Spectrum, ridge, steps

PER_DECADE, FIRST_LOOK = 6, 10


def rules(settings, point) -> dict[str, pd.DataFrame]:
    """The errors of the rules on prompts of one length, beside their closed forms."""
    s, N = settings, point["N"]
    generator = torch.Generator().manual_seed(point["seed"])
    prompts = sample_prompts(s.prompts, N, N + s.asked, s.d, s.tau, generator=generator)
    filters, sizes = Filters.of(prompts), (N, s.d, prompts.noise)
    exact = {"one step": rule.one_step_error(*sizes), "additive": rule.additive_error(*sizes)}
    errors, after = [], []
    for name, said in rule.predictions(prompts, filters).items():
        off = (said - prompts.asked).square().mean(dim=1)  # (prompts,)
        known = exact | {"zero": float(s.d)}
        found = {"error": off.mean().item(), "exact": known.get(name, float("nan"))}
        found["standard_error"] = off.std().item() / len(off) ** 0.5
        errors.append({"rule": name} | found)
    for taken in s.taken:
        rate, error = filters.nearest_rate(prompts.asked, taken)
        after.append({"taken": taken, "rate": rate, "error": error})
    return {"errors": pd.DataFrame(errors), "steps": pd.DataFrame(after)}


def stacks(settings, point) -> dict[str, pd.DataFrame]:
    """Stacks of linear attention found from many starts, on the prompts on which the encoders
    of this seed are looked at, and on many more."""
    s, generator = settings, torch.Generator().manual_seed(point["seed"])
    sizes = (s.N, s.K, s.d, s.tau)
    # As in `Setup`, whose two first draws these are.
    prompts = sample_prompts(s.test_prompts, *sizes, generator=generator)
    fitted_on = sample_prompts(s.stack_prompts, *sizes, generator=generator)
    others = torch.Generator().manual_seed(4_000 + point["seed"])
    more = sample_prompts(s.more_prompts, *sizes, generator=others)
    numbers = rule.better_stack(fitted_on, point["layers"], s.starts, generator=others)
    fitted = _mean_square(rule.moving_stack(fitted_on, *numbers), fitted_on.asked)
    said, many = (rule.moving_stack(x, *numbers) for x in (prompts, more))
    ridge = rule.Filters.of(more).ridge()
    found = {
        "fitted": fitted,
        "error": _mean_square(said, prompts.asked),
        "error_many": _mean_square(many, more.asked),
        "ridge_many": _mean_square(ridge, more.asked),
        "first_rate": numbers[0, 0].item() / rule.one_step_rate(s.N, s.d, prompts.noise),
    }
    return {"errors": pd.DataFrame([found])}


class Setup:
    """The prompts on which models of one seed are looked at, the same for every number of
    layers, and what rules, and a stack of so many layers, say of them."""

    def __init__(self, settings, seed: int, layers: int):
        s, self.generator = settings, torch.Generator().manual_seed(seed)
        sizes = (s.N, s.K, s.d, s.tau)
        self.prompts = sample_prompts(s.test_prompts, *sizes, generator=self.generator)
        self.filters = Filters.of(self.prompts)
        self.rules = rule.predictions(self.prompts, self.filters)
        self.size = self.rules["ridge"].square().mean().sqrt().item()
        fitted_on = sample_prompts(s.stack_prompts, *sizes, generator=self.generator)
        self.stack, self.steps_alone = (
            rule.moving_stack(self.prompts, *rule.best_stack(fitted_on, layers, moving))
            for moving in (True, False)
        )
        # A third more labels for each set, on which its table is judged.
        self.sets = sample_prompts(s.sets, *sizes, generator=self.generator)
        self.count = s.set_labels + s.set_labels // 3
        tasks = torch.randn(s.sets, self.count, s.d, generator=self.generator).double()
        noise = torch.randn(s.sets, self.count, s.N, generator=self.generator).double()
        shown = self.sets.tokens[:, : s.N]  # (sets, N, d)
        self.y = tasks @ shown.mT + self.prompts.noise**0.5 * noise  # (sets, count, N)
        filters = Filters.of(self.sets)
        self.tables = {  # (sets, N, K - N) each
            "ridge": filters.tables(ridge(self.prompts.noise)),
            "one step": rule.one_step(self.sets),
            "additive": rule.additive(self.sets),
        }
        self.spectra = [Spectrum.of(self.sets.dictionary(i)) for i in range(s.sets)]

    def references(self, taken) -> dict[str, pd.DataFrame]:
        """Tables of what does not train."""
        best, asked = self.rules["ridge"], self.prompts.asked
        rows = [
            {"rule": name, "error": _mean_square(said, asked)}
            | {"distance": _mean_square(said, best) ** 0.5 / self.size}
            for name, said in self.rules.items()
        ]
        after = [
            {"taken": k, "error": self.filters.nearest_rate(asked, k)[1]}
            | {"distance": self.filters.nearest_rate(best, k)[1] ** 0.5 / self.size}
            for k in taken
        ]
        stack = {
            "error": _mean_square(self.stack, asked),
            "distance": _mean_square(self.stack, best) ** 0.5 / self.size,
            "steps_alone": _mean_square(self.steps_alone, asked),
        }
        tables = {"references": rows, "reference_steps": after, "stacks": [stack]}
        return {name: pd.DataFrame(rows) for name, rows in tables.items()}

    def fitted(self, model: PromptEncoder) -> tuple[Tensor, float]:
        """(the table closest to the model for each set, (sets, N, K - N); the share of held-out
        predictions that they leave)."""
        held = self.count // 4
        tables, said, linear = [], [], []
        for tokens, y in zip(self.sets.tokens, self.y):
            out = model.predict(tokens.expand(len(y), -1, -1), y)  # (count, K - N)
            tables.append(linear_part(y[:-held], out[:-held]))
            said.append(out[-held:])
            linear.append(y[-held:] @ tables[-1])
        share = nonlinear_share(torch.cat(said), torch.cat(linear)).item()
        return torch.stack(tables), share


def _mean_square(one: Tensor, other: Tensor) -> float:
    return (one - other).square().mean().item()


def look(setup: Setup, model: PromptEncoder, taken) -> dict[str, list[dict]]:
    """Rows of one look: predictions beside rules and steps, tables beside the rules' tables."""
    prompts, filters, size = setup.prompts, setup.filters, setup.size
    said = model.predict(prompts.tokens, prompts.y)  # (test_prompts, K - N)
    tables, nonlinear = setup.fitted(model)
    shares = [view.share(table) for view, table in zip(setup.spectra, tables)]
    found = {
        "error": _mean_square(said, prompts.asked),
        "stack": _mean_square(said, setup.stack) ** 0.5 / size,
        "nonlinear_share": nonlinear,
        "filter_share": torch.tensor(shares).median().item(),
    }
    weights = []
    for name, wanted in setup.tables.items():
        cosine = (tables * wanted).sum() / (tables.norm() * wanted.norm())
        off = (tables - wanted).norm() / wanted.norm()
        weights.append({"rule": name, "distance": off.item(), "cosine": cosine.item()})
    return {
        "curves": [found],
        "rules": distances(said, setup.rules, size),
        "taken": [
            {
                "taken": k,
                "one_rate": filters.nearest_rate(said, k)[1] ** 0.5 / size,
                "free": filters.free(said, k) ** 0.5 / size,
            }
            for k in taken
        ],
        "weights": weights,
    }


def distances(said: Tensor, others: dict[str, Tensor], size: float) -> list[dict]:
    """Root mean square of what is said less what each rule says, over `size`."""
    return [
        {"rule": name, "distance": _mean_square(said, other) ** 0.5 / size}
        for name, other in others.items()
    ]


def batch_loss(model: PromptEncoder, settings, generator: torch.Generator) -> Tensor:
    """The loss on a batch of fresh prompts, with its graph: noisy labels, tokens not shown."""
    s, drawn = settings, dict(generator=generator, dtype=torch.float32)
    batch = sample_prompts(s.batch, s.N, s.K, s.d, s.tau, **drawn)
    return prediction_loss(model(batch.tokens, batch.y), batch.labels[:, s.N :])


def start(settings, point) -> PromptEncoder:
    """An untrained model; those of one seed start from the same first layers."""
    s, generator = settings, torch.Generator().manual_seed(1_000 + point["seed"])
    sizes = dict(width=s.width, feedforward=s.feedforward, H=s.H, layers=point["layers"])
    return PromptEncoder(s.d, **sizes, generator=generator)


def trained(settings, point, checkpoint: Checkpoint | None = None) -> dict[str, pd.DataFrame]:
    """Train one model on fresh prompts, look at it at recorded steps, and inside at the end."""
    s, setup = settings, Setup(settings, point["seed"], point["layers"])
    model = start(s, point)
    optimizer = torch.optim.Adam(model.parameters(), s.rate, fused=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5 ** (1 / s.half_life))
    first, found = 0, {name: [] for name in ("curves", "rules", "taken", "weights")}
    # Every number of layers sees the same batches.
    draws = torch.Generator().manual_seed(2_000 + point["seed"])

    # Go on where an earlier attempt was interrupted.
    keeper, kept = checkpoint or Checkpoint(), (model, optimizer, schedule)
    if saved := keeper.load():
        first, found = saved["step"], saved["found"]
        draws.set_state(saved["draws"])
        for thing, old in zip(kept, saved["kept"]):
            thing.load_state_dict(old)

    def state() -> dict:
        return {
            "step": now,
            "found": found,
            "draws": draws.get_state(),
            "kept": [thing.state_dict() for thing in kept],
        }

    looks = {step for step in log_steps(s.steps, PER_DECADE) if step == 0 or step >= FIRST_LOOK}
    gradient = by_autograd(lambda: batch_loss(model, s, draws), optimizer)
    every = range(s.steps + 1)
    for now in descend(gradient, optimizer, s.steps, at=every, first=first, schedule=schedule):
        keeper.save(state)
        if now in looks:
            for name, rows in look(setup, model, s.taken).items():
                found[name] += [{"step": now} | row for row in rows]
    tables = {name: pd.DataFrame(rows) for name, rows in found.items()}
    tables |= setup.references(s.taken)
    return tables | (inside(setup, model, s) if s.probe_prompts else {})


def inside(setup: Setup, model: PromptEncoder, settings) -> dict[str, pd.DataFrame]:
    """Tables on the trained model: gains of its tables, probes of its layers, other prompts."""
    gains = [
        {"token_set": i, "direction": j, "eigenvalue": value, "gain": gain}
        for i, (view, table) in enumerate(zip(setup.spectra, setup.fitted(model)[0]))
        for j, (value, gain) in enumerate(zip(view.values.tolist(), view.gains(table).tolist()))
    ]
    read, other = probes(setup, model, settings), shifts(setup, model, settings)
    tables = {"gains": gains} | read | other
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def probe_targets(prompts: Prompts, filters: Filters, taken) -> Tensor:
    """What is read off single tokens, (count, K - N, 3 + taken + d): the true label, the ridge
    prediction, that of another prompt, those after steps, the ridge coefficients."""
    shown, best = prompts.tokens[:, : prompts.N], filters.ridge()
    gram = shown.mT @ shown + prompts.noise * torch.eye(shown.shape[-1], dtype=best.dtype)
    task = torch.linalg.solve(gram, shown.mT @ prompts.y[..., None])  # (count, d, 1)
    after = []
    for k in taken:
        rate, _ = filters.nearest_rate(prompts.asked, k)
        after.append(filters.predictions(steps(k, rate)))
    single = torch.stack([prompts.asked, best, best.roll(1, dims=0), *after], dim=-1)
    return torch.cat([single, task.mT.expand(-1, best.shape[1], -1)], dim=-1)


def probes(setup: Setup, model: PromptEncoder, settings) -> dict[str, list[dict]]:
    """What linear probes read off a token that is not shown, after the embedding and after each
    layer; fitted to `probe_prompts` prompts, judged on a third more."""
    s, count = settings, settings.probe_prompts
    sizes = (count + count // 3, s.N, s.N + s.probe_tokens, s.d, s.tau)
    prompts = sample_prompts(*sizes, generator=setup.generator)
    targets = probe_targets(prompts, Filters.of(prompts), s.taken).flatten(0, 1).numpy()
    pairs = zip(prompts.tokens.float().split(32), prompts.y.float().split(32))
    with torch.no_grad():
        states = [torch.stack(model.hidden(*pair))[:, :, s.N :] for pair in pairs]
    states = torch.cat(states, dim=1).flatten(1, 2).double().numpy()  # (layers + 1, .., width)
    cut, rest = count * s.probe_tokens, prompts.after(count)
    filters, found = Filters.of(rest), {}
    for layer, x in enumerate(states):
        alphas = 10.0 ** torch.arange(-4, 5).numpy()
        probe = RidgeCV(alphas, alpha_per_target=True).fit(x[:cut], targets[:cut])
        said, wanted = probe.predict(x[cut:]), targets[cut:]
        r2 = 1 - ((said - wanted) ** 2).mean(0) / wanted.var(0)
        label = torch.from_numpy(said[:, 0]).reshape(-1, s.probe_tokens)
        rows = decoded(label, rest, filters, s.taken)
        read = dict(zip(("truth", "ridge", "control"), r2[:3].tolist()))
        read["coefficients"] = r2[3 + len(s.taken) :].mean().item()
        rows["probes"] = [rows["probes"][0] | read]
        rows["probe_steps"] = [{"taken": k, "r2": v} for k, v in zip(s.taken, r2[3:].tolist())]
        for name, some in rows.items():
            found[name] = found.get(name, []) + [{"layer": layer} | row for row in some]
    return found


def decoded(said: Tensor, prompts: Prompts, filters: Filters, taken) -> dict[str, list[dict]]:
    """Predictions that a probe decodes, (count, K - N), beside the truth, the rules and
    steps."""
    others = rule.predictions(prompts, filters)
    size = others["ridge"].square().mean().sqrt().item()
    nearest = [(k, filters.nearest_rate(said, k)[1]) for k in taken]
    error = _mean_square(said, prompts.asked) / prompts.asked.square().mean().item()
    return {
        "probes": [{"error": error}],
        "decoded": distances(said, others, size),
        "decoded_steps": [{"taken": k, "one_rate": v**0.5 / size} for k, v in nearest],
    }


def shifts(setup: Setup, model: PromptEncoder, settings) -> dict[str, list[dict]]:
    """How the model and the rules do on prompts of other kinds."""
    s, found = settings, {}
    plain = {"N": s.N, "tau": s.tau, "spread": 1.0, "factor": 1.0}
    kinds = {
        "lengths": ("N", s.lengths),
        "noises": ("tau", s.taus),
        "spreads": ("spread", s.spreads),
        "factors": ("factor", s.factors),
    }
    for table, (key, values) in kinds.items():
        found[table] = [
            {key: value} | shifted(setup, model, s, **plain | {key: value}) for value in values
        ]
    return found


def shifted(setup: Setup, model, settings, N, tau, spread, factor) -> dict:
    """A row of `shifts`: labels times `factor` go in, and predictions are divided by it."""
    s, asked = settings, settings.K - settings.N
    how = dict(generator=setup.generator, spread=spread)
    prompts = sample_prompts(s.shift_prompts, N, N + asked, s.d, tau, **how)
    filters, truth = Filters.of(prompts), prompts.asked
    said = model.predict(prompts.tokens, factor * prompts.y) / factor
    best = filters.ridge()
    return {
        "error": _mean_square(said, truth),
        "ridge": _mean_square(best, truth),
        "same_ridge": _mean_square(filters.predictions(ridge(setup.prompts.noise)), truth),
        "one_step": filters.nearest_rate(truth, 1)[1],
        "zero": truth.square().mean().item(),
        "distance": (_mean_square(said, best) / best.square().mean().item()) ** 0.5,
    }
