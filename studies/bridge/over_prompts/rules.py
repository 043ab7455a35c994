"""Rules that predict from a prompt without training: ridge regression, gradient steps on the
shown labels, sums over the shown tokens, a softmax head; and what they cost in closed form.

With G = V V^T over the N shown tokens, c = d tau the variance of label noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.integrate import quad
from torch import Tensor

from iclbook.errors import require_sizes
from studies.bridge.over_prompts.encoder import Prompts
from studies.bridge.two_lenses.lenses import ridge, steps

# log10 of a rate, in units of the inverse of the largest eigenvalue of all prompts. One step
# may do best where the few largest eigenvalues overshoot.
LOW, HIGH, GRID = -4.0, 1.0, 41


@dataclass(frozen=True)
class Filters:
    """The spectra of many prompts, and what filters q of their Gram matrices predict.

    With V^T = sum_j s_j w_j u_j^T, tokens a row: values: s_j^2, (count, d); left: s_j w_j,
    (count, N, d); power: u_j^T v_k of the tokens not shown, (count, d, K - N); seen: left^T y,
    (count, d). q maps values to numbers of the same shape.
    """

    values: Tensor
    left: Tensor
    power: Tensor
    seen: Tensor
    noise: float

    @classmethod
    def of(cls, prompts: Prompts) -> "Filters":
        """The spectra of these prompts."""
        shown, asked = prompts.tokens[:, : prompts.N], prompts.tokens[:, prompts.N :]
        values, U = torch.linalg.eigh(shown.mT @ shown)  # (count, d), (count, d, d)
        left = shown @ U  # (count, N, d)
        seen = (left.mT @ prompts.y[..., None])[..., 0]
        # For N < d some are 0, where q may not be defined; `seen` is 0 there.
        values = values.clamp_min(values.max() * 1e-10)
        return cls(values, left, (asked @ U).mT, seen, prompts.noise)

    def predictions(self, q: Callable[[Tensor], Tensor]) -> Tensor:
        """What the filter q predicts of the tokens not shown, (count, K - N)."""
        return torch.einsum("cj,cjk->ck", self.seen * q(self.values), self.power)

    def tables(self, q: Callable[[Tensor], Tensor]) -> Tensor:
        """Its weights on the shown labels, (count, N, K - N)."""
        return self.left @ (q(self.values)[..., None] * self.power)

    def ridge(self) -> Tensor:
        """Ridge regression with the penalty d tau, (count, K - N)."""
        return self.predictions(ridge(self.noise))

    def nearest_rate(self, target: Tensor, taken: int) -> tuple[float, float]:
        """(rate, mean square that it leaves) of so many steps at the rate which comes nearest
        to `target`, (count, K - N); on a grid that closes in."""
        low, high, top = LOW, HIGH, self.values.max()
        for _ in range(4):
            grid = torch.linspace(low, high, GRID, dtype=self.values.dtype)
            off = [
                (self.predictions(steps(taken, 10**x / top)) - target).square().mean()
                for x in grid
            ]
            at = int(torch.stack(off).argmin())
            low, high = grid[max(at - 1, 0)].item(), grid[min(at + 1, GRID - 1)].item()
        return (10 ** grid[at] / top).item(), off[at].item()

    def free(self, target: Tensor, taken: int) -> float:
        """The mean square that so many gradients leave of `target`, (count, K - N), if they are
        added with the best weights, the same for all prompts."""
        angle = torch.acos((2 * self.values / self.values.max() - 1).clamp(-1, 1))
        # Chebyshev polynomials: powers would be singular to working precision.
        columns = [
            self.predictions(lambda _, i=i: torch.cos(i * angle)).flatten()
            for i in range(taken)
        ]
        X = torch.stack(columns, dim=1)  # (count (K - N), taken)
        fit = torch.linalg.lstsq(X, target.reshape(-1, 1), driver="gelsd").solution
        return (X @ fit - target.reshape(-1, 1)).square().mean().item()


def one_step_rate(N: int, d: int, noise: float) -> float:
    """The rate of the one gradient step that errs least, 1 / (N + d + 1 + c)."""
    require_sizes(N=N, d=d)
    return 1 / (N + d + 1 + noise)


def one_step_error(N: int, d: int, noise: float) -> float:
    """Its error, d (d + 1 + c) / (N + d + 1 + c)."""
    return d * (d + 1 + noise) * one_step_rate(N, d, noise)


def seen_share(d: int, noise: float) -> float:
    """E |v|^2 / (|v|^2 + c) for v ~ N(0, I_d): what one label tells of lambda along its own
    token."""
    if noise == 0:
        return 1.0
    # E 1 / (chi^2 + c) is the integral of exp(-c t) (1 + 2 t)^(-d/2) over t > 0; u = c t.
    unseen = quad(lambda u: math.exp(-u) * (1 + 2 * u / noise) ** (-d / 2), 0, math.inf)[0]
    return 1 - unseen


def additive_error(N: int, d: int, noise: float) -> float:
    """The error of the best sum over shown tokens, d (d - s) / (d + (N - 1) s) with
    s = `seen_share`."""
    require_sizes(N=N, d=d)
    s = seen_share(d, noise)
    return d * (d - s) / (d + (N - 1) * s)


def one_step(prompts: Prompts) -> Tensor:
    """The weights of the best single step, (count, N, K - N)."""
    N, d = prompts.N, prompts.tokens.shape[-1]
    scores = prompts.tokens[:, :N] @ prompts.tokens[:, N:].mT  # v_n^T v_k
    return one_step_rate(N, d, prompts.noise) * scores


def additive(prompts: Prompts) -> Tensor:
    """The weights of the best sum over shown tokens, (count, N, K - N)."""
    N, d = prompts.N, prompts.tokens.shape[-1]
    shown, asked = prompts.tokens[:, :N], prompts.tokens[:, N:]
    kappa = d / (d + (N - 1) * seen_share(d, prompts.noise))
    lengths = shown.square().sum(-1, keepdim=True) + prompts.noise  # (count, N, 1)
    return kappa * (shown / lengths) @ asked.mT


def softmax_head(prompts: Prompts, target: Tensor) -> Tensor:
    """w sum_n softmax_n(b v_n^T v_k) y_n with the b and w that err least against `target`, both
    (count, K - N)."""
    scores = prompts.tokens[:, : prompts.N] @ prompts.tokens[:, prompts.N :].mT
    best, least = target * 0, target.square().mean()
    for b in 10 ** torch.linspace(-2, 0.5, 26, dtype=scores.dtype):
        said = (prompts.y[:, None] @ (b * scores).softmax(1))[:, 0]  # (count, K - N)
        said = (said * target).sum() / said.square().sum() * said
        off = (said - target).square().mean()
        if off < least:
            best, least = said, off
    return best


def applied(tables: Tensor, prompts: Prompts) -> Tensor:
    """Weights (count, N, K - N) times the shown labels, (count, K - N)."""
    return (prompts.y[:, None] @ tables)[:, 0]


def predictions(prompts: Prompts, filters: Filters) -> dict[str, Tensor]:
    """What each rule says, (count, K - N) each."""
    return {
        "ridge": filters.ridge(),
        "one step": applied(one_step(prompts), prompts),
        "additive": applied(additive(prompts), prompts),
        "softmax head": softmax_head(prompts, prompts.asked),
        "zero": torch.zeros_like(prompts.asked),
    }


def moving_stack(prompts: Prompts, rates: Tensor, moves: Tensor) -> Tensor:
    """Predictions (count, K - N) of layers of linear attention, two numbers each.

    A token carries a residual, at the start its label, or 0 where it is not shown. In a layer
    every token i attends to the shown tokens n with the scores v_n^T v_i:
    r_i <- r_i - rate sum_n (v_n^T v_i) r_n and v_i <- v_i - move sum_n (v_n^T v_i) v_n.
    Without moves these are gradient steps on the shown labels. The prediction is -r.
    """
    tokens, N = prompts.tokens, prompts.N
    residual = torch.cat([prompts.y, torch.zeros_like(prompts.asked)], dim=1)  # (count, K)
    for rate, move in zip(rates, moves):
        shown = tokens[:, :N]
        scores = tokens @ shown.mT  # (count, K, N)
        residual = residual - rate * (scores @ residual[:, :N, None])[..., 0]
        tokens = tokens - move * scores @ shown
    return -residual[:, N:]


def improved(prompts: Prompts, numbers: Tensor, moving: bool = True) -> tuple[Tensor, float]:
    """(the numbers of a stack, (2, layers), that a descent from these ends at; its error)."""
    x = numbers.clone().requires_grad_()
    how = dict(tolerance_grad=1e-9, tolerance_change=1e-12)
    search = torch.optim.LBFGS([x], max_iter=200, line_search_fn="strong_wolfe", **how)

    def error() -> Tensor:
        search.zero_grad()
        off = moving_stack(prompts, x[0], moving * x[1]) - prompts.asked
        value = off.square().mean()
        value.backward()
        return value

    search.step(error)
    return x.detach(), error().item()


def best_stack(prompts: Prompts, layers: int, moving: bool = True) -> Tensor:
    """The numbers of a stack, (2, layers): rates and moves with the least error on these
    prompts that a search finds, which goes on from the best of one layer fewer."""
    require_sizes(layers=layers)
    new = one_step_rate(prompts.N, prompts.tokens.shape[-1], prompts.noise)
    found = torch.zeros(2, 0, dtype=prompts.tokens.dtype)
    for _ in range(layers):
        x = torch.cat([found, torch.tensor([[new], [0.0]], dtype=found.dtype)], dim=1)
        found, _ = improved(prompts, x, moving)
    return found


def better_stack(
    prompts: Prompts, layers: int, starts: int, *, generator: torch.Generator
) -> Tensor:
    """The best that the search of `best_stack` and `starts` further ones find, (2, layers).

    That one ends in a local minimum: with two layers, a small first step and a large second one
    err less. The others start from rates and moves drawn at random, rates between a fifth and
    five times the best single step's; for each number of layers, from the best of one fewer
    with a layer in front of it, too.
    """
    require_sizes(layers=layers)
    new = one_step_rate(prompts.N, prompts.tokens.shape[-1], prompts.noise)
    best = torch.zeros(2, 0, dtype=prompts.tokens.dtype)
    for count in range(1, layers + 1):
        one = torch.tensor([[new], [0.0]], dtype=best.dtype)
        tried = [torch.cat([best, one], dim=1), torch.cat([one, best], dim=1)]
        tried.append(best_stack(prompts, count))
        for _ in range(starts):
            power, move = torch.rand(2, count, generator=generator, dtype=best.dtype)
            tried.append(new * torch.stack([5 ** (2 * power - 1), move]))
        found = [improved(prompts, numbers) for numbers in tried]
        best, _ = min((x for x in found if math.isfinite(x[1])), key=lambda x: x[1])
    return best
