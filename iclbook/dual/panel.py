"""A panel of attention layers trained at once: many modifications and starts on one stream of
prompts.

Their parameters are stacked with torch.func, so that a step of S layers is a few batched
products; they share the prompts, which need no copy for each. Each layer's loss is its own: the
gradient of their sum is all the gradients.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import gelu

from iclbook.dual.attention import SelfAttention
from iclbook.errors import require, require_nonnegative, require_sizes
from iclbook.training import by_autograd, descend

Sampler = Callable[[], tuple[Tensor, Tensor]]  # -> tokens (B, N + 1, width), labels (B,)


class Panel:
    """S single-head layers of one shape, built with output=False; modifications and c may
    differ from layer to layer.

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
        require(
            len(shapes) == 1, "a panel takes layers of one shape; make a panel for each shape"
        )
        self.layers, self.softmax = list(layers), softmax
        self.parameters, _ = torch.func.stack_module_state(self.layers)  # name -> (S, ...)
        dtype = self.parameters["W_Q"].dtype
        column = lambda values: torch.tensor(values, dtype=dtype).reshape(-1, 1, 1)  # noqa: E731
        alpha, beta, r = (
            [layer.modification[name] for layer in layers] for name in ("alpha", "beta", "r")
        )
        self.alpha, self.beta, self.r = column(alpha), column(beta), torch.tensor(r)
        self.c = {
            name: column([getattr(getattr(layer, name), "c", 0.0) for layer in layers])
            for name in ("g1", "g2")
        }
        if any(learn_beta):
            require(
                len(learn_beta) == len(layers),
                f"learn_beta: {len(layers)} layers, {len(learn_beta)} bools",
            )
            self.parameters["beta"] = self.beta.requires_grad_()
            learns = column(learn_beta)
            self.beta.register_hook(lambda gradient: gradient * learns)

    def _seen_by(self, probe: Tensor, name: str, W: Tensor, tokens: Tensor) -> Tensor:
        """probe . g(W h_i) for every token, (S, B, N + 1), without forming g(W h_i). probe: (S,
        B or 1, d_o)."""
        linear = probe @ W  # (S, B or 1, width)
        seen = torch.einsum("bnw,sbw->sbn", tokens, linear.expand(-1, len(tokens), -1))
        if f"{name}.mlp.0.weight" not in self.parameters:
            return seen
        widen, b_1, narrow, b_2 = (self.parameters[f"{name}.mlp.{part}"]
                                   for part in ("0.weight", "0.bias", "2.weight", "2.bias"))  # fmt: skip
        (B, n, width), (S, hidden) = tokens.shape, b_1.shape
        inner = tokens.reshape(-1, width) @ (widen @ W).mT + b_1.unsqueeze(
            1
        )  # (S, B n, hidden)
        outer = (probe @ narrow).unsqueeze(2)  # (S, B or 1, 1, hidden)
        mapped = (gelu(inner).reshape(S, B, n, hidden) * outer).sum(
            -1
        )  # (S, B, n); faster than a product of matrices
        return seen + self.c[name] * (mapped + probe @ b_2.unsqueeze(-1))

    def weights(self, tokens: Tensor) -> Tensor:
        """Return the modified attention weights of the last token, (S, B, N + 1), from tokens
        (B, N + 1, width)."""
        W_Q, W_K = (self.parameters[name][:, 0] for name in ("W_Q", "W_K"))  # (S, d_o, width)
        queries = tokens[:, -1] @ W_Q.mT / W_Q.shape[-2] ** 0.5  # (S, B, d_o)
        scores = self._seen_by(queries, "g2", W_K, tokens)
        N = scores.shape[-1] - 1
        if not self.softmax:
            return torch.cat([scores[..., :-1] / N, torch.zeros_like(scores[..., -1:])], dim=-1)
        p = scores.softmax(-1)
        demos, own = p[..., :-1], p[..., -1:]
        if (self.r > 0).any():
            demos = demos - self.beta * demos.sum(-1, keepdim=True) * self._shares(
                scores[..., :-1].detach()
            )
        return torch.cat([demos, (1 - self.alpha) * own], dim=-1)

    def _shares(self, scores: Tensor) -> Tensor:
        """1 / r on each layer's r lowest-scored demonstrations, 0 elsewhere: (S, B, N)."""
        N = scores.shape[-1]
        require(
            int(self.r.max()) <= N,
            f"r must be at most the number of demonstrations {N}, got {int(self.r.max())}",
        )
        r = self.r.reshape(-1, 1, 1).to(scores.dtype)
        shares = (r == N).to(scores.dtype).div(N).expand_as(scores).clone()
        some = ((self.r > 0) & (self.r < N)).nonzero().squeeze(-1)
        ranks = (torch.arange(N) < r[some]) / r[some]  # (some, 1, N)
        order = scores[some].argsort(
            dim=-1, stable=True
        )  # the earlier demonstration wins a tie
        shares[some] = shares[some].scatter(-1, order, ranks.expand_as(order).to(scores.dtype))
        return shares

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return every layer's prediction, (S, B)."""
        W_V = self.parameters["W_V"][:, 0]  # (S, d_o, width)
        last = torch.zeros_like(W_V[:, :1, :1]).expand(-1, 1, W_V.shape[-2]).clone()
        last[..., -1] = 1  # (S, 1, d_o)
        return (self.weights(tokens) * self._seen_by(last, "g1", W_V, tokens)).sum(-1)

    @torch.no_grad()
    def unstack(self) -> list[SelfAttention]:
        """Return the layers, with the panel's parameters and strengths written back into
        them."""
        for s, layer in enumerate(self.layers):
            for name, parameter in layer.named_parameters():
                parameter.copy_(self.parameters[name][s])
            layer.modification["beta"] = self.beta[s].item()
        return self.layers


@torch.no_grad()
def losses(panels: Sequence[Panel], tokens: Tensor, labels: Tensor, chunk: int = 512) -> Tensor:
    """Return the mean squared error of all layers, panel after panel, (S,), on labelled
    prompts."""
    total = 0
    for part, wanted in zip(tokens.split(chunk), labels.split(chunk)):
        total = total + torch.cat([(panel(part) - wanted).square().sum(-1) for panel in panels])
    return total / len(labels)


def train_together(
    panels: Sequence[Panel],
    sample: Sampler,
    steps: int,
    *,
    rates: Sequence[float],
    at: Iterable[int],
    decay_from: float = 0.25,
    stop: int = 0,
) -> Iterator[int]:
    """Train panels in place by Adam, all on the same prompts; yields the step numbers in `at`.
    rates: one a panel.

    A rate is constant until the share `decay_from` of the steps is done and then falls linearly
    to 0. stop: leave off after so many of the steps, 0 for none, so that a beginning can be
    compared.
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
    yield from descend(gradient, optimizer, stop or steps, at=at, schedule=schedule)
