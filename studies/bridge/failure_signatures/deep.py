"""A deep model, trained on the standard prompt, in the worlds of the other trained models."""

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from iclbook.checkpoint import Checkpoint
from iclbook.ridge.depth import DeepTransformer, prediction_loss
from iclbook.ridge.prompt import Dictionary
from iclbook.training import by_autograd, descend, log_steps
from studies.bridge.failure_signatures.compute import (
    generator_of,
    label_worlds,
    prompts_of,
    small_dictionary,
)
from studies.bridge.failure_signatures.worlds import (
    World,
    best_tables,
    draw,
    errors_of,
    trained_world,
)

PER_DECADE, FIRST_LOOK = 6, 10
ERRORS = ["shift", "size", "sampled", "deviation", "best", "zero"]


def deep_model(s, exact: Dictionary, seed: int) -> DeepTransformer:
    """An untrained float32 model over a dictionary."""
    sizes = dict(layers=s.layers, width=s.width, feedforward=s.feedforward, H=s.H)
    rounded = exact.to(torch.float32)
    return DeepTransformer(rounded, **sizes, generator=generator_of(seed, 600))


def on_prompt(s, model: DeepTransformer, exact: Dictionary, shown: Tensor) -> DeepTransformer:
    """The same weights on a prompt that shows the tokens with the indices `shown`, (n,), one of
    them several times perhaps; then come the tokens that it does not show, in their order."""
    rest = torch.ones(exact.K, dtype=torch.bool).scatter(0, shown, False)
    order = torch.cat([shown, torch.arange(exact.K)[rest]])  # (K + repetitions,)
    tokens, features = exact.tokens[:, order], exact.features[:, order]
    other = deep_model(s, replace(exact, tokens=tokens, features=features, N=len(shown)), 0)
    other.load_state_dict(dict(model.named_parameters()), strict=False)  # tokens stay its own
    return other


def squared_errors(s, model: DeepTransformer, y: Tensor, truth: Tensor) -> Tensor:
    """Each task's squared error, mean over the K - 2N last tokens, which no prompt shows,
    (count,); y: (count, n), truth: (count, K)."""
    unseen = truth[:, 2 * s.N :]  # (count, K - 2N)
    said = model.predict(y.float()).double()[:, -unseen.shape[1] :]
    return (said - unseen).square().mean(dim=1)


def row_of(s, world: World, sets: Tensor, each: Tensor) -> dict[str, float]:
    """Sampled errors, (samples,), beside the best table's and zero's in a world; sets: (count,
    n) with no token twice."""
    best, at = errors_of(world, best_tables(world, sets), sets), slice(2 * s.N, None)
    return {
        "sampled": each.mean().item(),
        "deviation": (each.std() / len(each) ** 0.5).item(),
        "best": best[:, at].mean().item(),
        "zero": world.power[at].mean().item(),
    }


def in_worlds(s, model: DeepTransformer, exact: Dictionary, seed: int) -> list[dict]:
    """A row for each shift of the labels and of the prompt; the same worlds and prompts as for
    one layer, tasks of its own."""
    own, rows, none = torch.arange(s.N), [], exact.features[:0]
    extra = torch.randn(
        max(s.missing), s.K, generator=generator_of(seed, 500), dtype=torch.float64
    )
    for number, (shift, size, world) in enumerate(label_worlds(s, exact, extra)):
        drawn = dict(generator=generator_of(seed, 700 + number))
        y, truth = draw(exact, shift, size, s.tasks, extra, **drawn)  # (tasks, K) each
        each = squared_errors(s, model, y[:, : s.N], truth)  # (tasks,)
        rows.append({"shift": shift, "size": size} | row_of(s, world, own[None], each))
    usual = trained_world(exact)
    for number, (shift, size, sets) in enumerate(prompts_of(s, generator_of(seed, 100))):
        drawn, found = dict(generator=generator_of(seed, 800 + number)), []
        for shown in sets:
            y, truth = draw(exact, "", 0.0, max(2, s.tasks // len(sets)), none, **drawn)
            other = on_prompt(s, model, exact, shown)
            found.append(squared_errors(s, other, y[:, shown], truth).mean())
        once = sets[:, : s.N] if shift == "repeated" else sets
        rows.append({"shift": shift, "size": size} | row_of(s, usual, once, torch.stack(found)))
    return rows


def deep_shifts(settings, point, checkpoint: Checkpoint | None = None):
    """Train one deep model on fresh tasks of the standard prompt; then try it in every world
    and on every prompt."""
    s, seed = settings, point["seed"]
    exact = small_dictionary(s, s.N, seed)
    model, none = deep_model(s, exact, seed), exact.features[:0]
    optimizer = torch.optim.Adam(model.parameters(), s.rate, fused=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5 ** (1 / s.half_life))
    draws, first, curves = generator_of(seed, 601), 0, []
    labels, truth = draw(exact, "", 0.0, s.tasks, none, generator=generator_of(seed, 602))

    # Go on where an earlier attempt was interrupted.
    keeper, kept = checkpoint or Checkpoint(), (model, optimizer, schedule)
    if saved := keeper.load():
        first, curves = saved["step"], saved["curves"]
        draws.set_state(saved["draws"])
        for thing, old in zip(kept, saved["kept"]):
            thing.load_state_dict(old)

    def state() -> dict:
        kept_now = [thing.state_dict() for thing in kept]
        return {"step": now, "curves": curves, "draws": draws.get_state(), "kept": kept_now}

    def loss() -> Tensor:
        """On a batch of fresh tasks, with its graph."""
        y = draw(exact, "", 0.0, s.batch, none, generator=draws)[0].float()  # (batch, K)
        return prediction_loss(model(y[:, : s.N]), y)

    looks = {step for step in log_steps(s.steps, PER_DECADE) if step == 0 or step >= FIRST_LOOK}
    gradient, every = by_autograd(loss, optimizer), range(s.steps + 1)
    for now in descend(gradient, optimizer, s.steps, at=every, first=first, schedule=schedule):
        keeper.save(state)
        if now in looks:
            said = model.predict(labels[:, : s.N].float()).double()  # (tasks, K)
            off = squared_errors(s, model, labels[:, : s.N], truth).mean().item()
            curves.append({"step": now, "loss": prediction_loss(said, labels).item()})
            curves[-1]["error"] = off
    errors = in_worlds(s, model, exact, seed) if s.draws else []
    return {"curves": pd.DataFrame(curves), "errors": pd.DataFrame(errors, columns=ERRORS)}
