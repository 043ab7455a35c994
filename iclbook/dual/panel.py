"""A panel of attention layers trained at once: many modifications and starts on the same
prompts.

Their parameters are stacked with torch.func, so that a step of S layers is a few batched
products; they share the prompts, which need no copy for each. Each layer's loss is its own: the
gradient of their sum is all the gradients.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from iclbook.dual.attention import SelfAttention
from iclbook.dual.modified import Augment, Modification, probe_mlps, signed_weights
from iclbook.errors import require, require_nonnegative, require_sizes
from iclbook.training import by_autograd, descend

Sampler = Callable[[], tuple[Tensor, Tensor]]  # -> tokens (B, N + 1, width), labels (B,)


class Panel:
    """S single-head layers of one shape, built with output=False, each with its own
    modification.

    A layer's prediction is the last entry of its output at the last token. Without `softmax`,
    weights are scores / N and the query's own is 0: linear attention. learn_beta: whose beta is
    a parameter too, S bools.
    """

    def __init__(
        self,
        layers: Sequence[SelfAttention],
        *,
        softmax: bool = True,
        learn_beta: Sequence[bool] = (),
    ):
        require(len(layers) > 0, "a panel needs a layer")
        plain = all(layer.W_O is None and layer.W_Q.shape[0] == 1 for layer in layers)
        require(plain, "a panel takes layers with one head, built with output=False")
        shapes = {
            tuple((name, p.shape) for name, p in layer.named_parameters()) for layer in layers
        }
        require(len(shapes) == 1, "a panel takes layers of one shape; make one for each shape")
        self.layers, self.softmax = list(layers), softmax
        self.parameters, _ = torch.func.stack_module_state(self.layers)  # name -> (S, ...)
        dtype = self.parameters["W_Q"].dtype
        parts = [layer.modification for layer in self.layers]
        self.modification = Modification.stacked(parts, dtype)  # strengths (S, 1, 1, 1)
        self.mlps, self.c = {}, {}  # of the maps g1 and g2, where the layers have them
        for name in ("g1", "g2"):
            maps = [getattr(layer, name) for layer in self.layers]
            if isinstance(maps[0], Augment):
                self.c[name] = torch.tensor([g.c for g in maps], dtype=dtype).reshape(-1, 1, 1)
                start = f"{name}.mlp."
                self.mlps[name] = {
                    key.removeprefix(start): parameter
                    for key, parameter in self.parameters.items()
                    if key.startswith(start)
                }
        if any(learn_beta):
            require(
                len(learn_beta) == len(layers),
                f"learn_beta: {len(layers)} layers, {len(learn_beta)} bools",
            )
            learns = torch.tensor(learn_beta, dtype=dtype).reshape(-1, 1, 1, 1)
            beta = self.parameters["beta"] = self.modification.beta.requires_grad_()
            beta.register_hook(lambda gradient: gradient * learns)

    def _seen_by(self, probe: Tensor, name: str, W: Tensor, tokens: Tensor) -> Tensor:
        """probe . g(W h_i) for every token, (S, B, N + 1), without forming g(W h_i).

        probe: (S, B or 1, d_o).
        """
        linear = probe @ W  # (S, B or 1, width)
        seen = torch.einsum("bnw,sbw->sbn", tokens, linear.expand(-1, len(tokens), -1))
        if name not in self.mlps:
            return seen
        return seen + self.c[name] * probe_mlps(probe, W, tokens, self.mlps[name])

    def weights(self, tokens: Tensor) -> Tensor:
        """Return the last token's weights, (S, B, N + 1), from tokens (B, N + 1, width)."""
        W_Q, W_K = (self.parameters[name][:, 0] for name in ("W_Q", "W_K"))  # (S, d_o, width)
        queries = tokens[:, -1] @ W_Q.mT / W_Q.shape[-2] ** 0.5  # (S, B, d_o)
        scores = self._seen_by(queries, "g2", W_K, tokens)
        if self.softmax:
            each = signed_weights(scores.unsqueeze(-2), **vars(self.modification))
            return each.squeeze(-2)
        N = scores.shape[-1] - 1
        return torch.cat([scores[..., :-1] / N, torch.zeros_like(scores[..., -1:])], dim=-1)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return every layer's prediction, (S, B)."""
        W_V = self.parameters["W_V"][:, 0]  # (S, d_o, width)
        last = torch.zeros_like(W_V[:, :1, :1]).expand(-1, 1, W_V.shape[-2]).clone()
        last[..., -1] = 1  # (S, 1, d_o)
        return (self.weights(tokens) * self._seen_by(last, "g1", W_V, tokens)).sum(-1)

    @torch.no_grad()
    def unstack(self) -> list[SelfAttention]:
        """Return the layers, with the panel's parameters written back into them."""
        for s, layer in enumerate(self.layers):
            for name, parameter in layer.named_parameters():
                parameter.copy_(self.parameters[name][s])
            if "beta" in self.parameters:
                # A tensor (1, 1) rather than a number, since training may carry it below 0.
                learnt = self.parameters["beta"][s, 0].clone()
                layer.modification = dataclasses.replace(layer.modification, beta=learnt)
        return self.layers


class PanelOfOne:
    """Any module with tokens (B, N + 1, width) -> predictions (B,), to be trained like a
    panel."""

    def __init__(self, module: nn.Module):
        self.module, self.parameters = module, dict(module.named_parameters())

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return its prediction, (1, B)."""
        return self.module(tokens)[None]


@torch.no_grad()
def losses(
    panels: Sequence[Panel | PanelOfOne], tokens: Tensor, labels: Tensor, chunk: int = 512
) -> Tensor:
    """Return the mean squared error of all layers, panel after panel, (S,), on labelled
    prompts."""
    total = 0
    for part, wanted in zip(tokens.split(chunk), labels.split(chunk)):
        total = total + torch.cat([(panel(part) - wanted).square().sum(-1) for panel in panels])
    return total / len(labels)


def train_together(
    panels: Sequence[Panel | PanelOfOne],
    sample: Sampler,
    steps: int,
    *,
    rates: Sequence[float],
    at: Iterable[int],
    decay_from: float = 0.25,
) -> Iterator[int]:
    """Train panels in place by Adam, all on the same prompts; yields the step numbers in `at`.

    rates: one a panel. A rate is constant until the share `decay_from` of the steps is done and
    then falls linearly to 0.
    """
    require_sizes(steps=steps)
    require(
        len(rates) == len(panels), f"one rate a panel: {len(panels)} panels, {len(rates)} rates"
    )
    for rate in rates:
        require_nonnegative(rate=rate)
    groups = [
        {"params": list(panel.parameters.values()), "lr": rate}
        for panel, rate in zip(panels, rates)
    ]
    optimizer = torch.optim.Adam(groups, fused=True)

    def share(step: int) -> float:
        return min(1.0, (steps - step) / (steps * (1 - decay_from) or 1))

    def loss() -> Tensor:
        tokens, labels = sample()
        return sum((panel(tokens) - labels).square().mean(-1).sum() for panel in panels)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    gradient = by_autograd(loss, optimizer)
    yield from descend(gradient, optimizer, steps, at=at, schedule=schedule)
