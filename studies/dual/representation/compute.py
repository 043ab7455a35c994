"""The dual loss beyond its one step: repeated, with negatives, and with targets that learn."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from iclbook.dual import representation
from iclbook.dual.attention import SelfAttention
from iclbook.dual.kernel import exact_features, softmax_kernel
from iclbook.dual.modified import lowest_scores, values_less_negatives
from iclbook.dual.one_step import DualModel


@dataclass(frozen=True)
class Prompt:
    """One random prompt through one random head.

    h: (N + 1, width), the query last; values: (N + 1, d_v); phi: (N + 2, N + 2), exact features
    of the N + 1 keys and then the query; scores: (N,), the demonstrations' q^T k.
    """

    h: Tensor
    values: Tensor
    phi: Tensor
    scores: Tensor

    @property
    def D(self) -> Tensor:
        return (self.phi[:-1] @ self.phi[-1]).sum()

    def negatives(self, r: int) -> Tensor:
        """The r lowest-scored demonstrations, bool (1, N)."""
        scores = self.scores.unsqueeze(0)
        return lowest_scores(scores, torch.ones_like(scores, dtype=torch.bool), r)

    def targets_less_negatives(self, r: int, beta: float) -> Tensor:
        """The demonstrations' values, (N, d_v), less beta times the mean of r negatives."""
        return values_less_negatives(self.values[:-1], self.negatives(r), beta)[0]


def random_prompt(settings, generator: torch.Generator) -> Prompt:
    """A prompt of `settings` (N, width, head_size); the kernel's largest value at the query is
    1."""
    s = settings
    layer = SelfAttention(
        s.width, s.head_size, generator=generator, output=False, dtype=torch.float64
    )
    h = torch.randn(s.N + 1, s.width, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        queries, keys, values = (each[0] for each in layer.project(h))  # (N + 1, head_size)
    query = queries[-1:]
    scores = (keys @ query.T)[:, 0]  # (N + 1,)
    points = torch.cat([keys, query])  # (N + 2, head_size)
    phi = exact_features(softmax_kernel(points, points, shift=scores.max()))
    return Prompt(h, values, phi, scores[:-1])


def spread(outputs: Tensor) -> dict[str, float]:
    """The two measures of collapse of outputs (N, d_v), taken of their directions.

    Lengths are divided out: ||phi(k)||^2 = exp(||k||^2), so one long key would pass for a
    collapse.
    """
    directions = normalize(outputs, dim=-1)  # (N, d_v)
    return {
        "effective_rank": representation.effective_rank(directions).item(),
        "mean_share": representation.mean_share(directions).item(),
    }


# --- the step repeated


def repeated_steps(settings, point) -> dict[str, pd.DataFrame]:
    """Paths of W at each alpha: of the plain loss, and with negatives."""
    s = settings
    prompt = random_prompt(s, torch.Generator().manual_seed(point["seed"]))
    plain = path(prompt, prompt.values[:-1], s)
    negatives = [
        path(prompt, prompt.targets_less_negatives(r, beta), s).assign(r=r, beta=beta)
        for r, beta in s.negatives
    ]
    return {"plain": plain, "negatives": pd.concat(negatives)}


def path(prompt: Prompt, targets: Tensor, settings) -> pd.DataFrame:
    """What t calls of DualModel.step make of W on targets (N, d_v), a row an alpha and step.

    Norms are in units of ||G|| of the plain loss, G = (1 / D) sum_i v_i phi_i^T, so that none
    depends on the scale of phi; the limit and the cosine are those of the targets' own G.
    """
    s, rows = settings, []
    phi, D = prompt.phi[: s.N], prompt.D  # (N, N + 2)
    unit = (prompt.values[:-1].mT @ phi / D).norm()
    G = targets.mT @ phi / D  # (d_v, N + 2)
    start = DualModel.start(prompt.phi[s.N : s.N + 1], prompt.values[-1:], D)
    for alpha in s.alphas:
        closed = representation.repeated_steps(start.W, G, alpha, s.recorded[-1])
        model = start
        for step in range(s.recorded[-1] + 1):
            if step in s.recorded:
                W, limit = model.W, torch.nan if alpha == 0 else (G / alpha)
                found = {
                    "norm": W.norm() / unit,
                    "closed_form_distance": (W - closed[step]).norm() / max(W.norm(), unit),
                    "limit_distance": (W - limit).norm() / unit,
                    "cosine": (W * G).sum() / (W.norm() * G.norm()),
                    "loss": model.loss(phi, targets, alpha) / unit**2,
                    **spread(model(phi)),
                }
                numbers = {name: float(value) for name, value in found.items()}
                rows.append({"alpha": alpha, "step": step} | numbers)
            model = model.step(phi, targets, alpha)
    return pd.DataFrame(rows)


# --- how fast W grows with negatives


def negatives_growth(settings, point) -> dict[str, pd.DataFrame]:
    """The mean square of one step's direction with negatives, relative to that without."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    prompt = random_prompt(s, generator)
    h, phi = prompt.h[:-1], prompt.phi[: s.N]  # (N, width), (N, N + 2)
    draws = torch.randn(s.draws, s.head_size, s.width, generator=generator, dtype=torch.float64)
    values = h @ (draws / s.width**0.5).mT  # (draws, N, d_v): W_V ~ N(0, 1 / width)
    plain = (values.mT @ phi).square().sum((-2, -1))  # (draws,)
    growth, break_even = [], []
    for r in s.r:
        negatives = prompt.negatives(r)
        a_0, a_1, a_2 = representation.negatives_growth(h @ h.T, phi @ phi.T, negatives[0])
        break_even.append((r, (2 * a_1 / a_2).item()))
        for beta in s.betas:
            targets = values_less_negatives(values, negatives, beta)[:, 0]  # (draws, N, d_v)
            changed = (targets.mT @ phi).square().sum((-2, -1))  # (draws,)
            # A ratio of means, its standard error by linearisation.
            ratio = changed.mean() / plain.mean()
            error = (changed - ratio * plain).std() / plain.mean() / s.draws**0.5
            predicted = (a_0 - 2 * beta * a_1 + beta**2 * a_2) / a_0
            growth.append((r, beta, ratio.item(), error.item(), predicted.item()))
    columns = ["r", "beta", "measured", "standard_error", "predicted"]
    return {
        "growth": pd.DataFrame(growth, columns=columns),
        "break_even": pd.DataFrame(break_even, columns=["r", "break_even_beta"]),
    }


# --- targets that learn


def learned_targets(settings, point) -> dict[str, pd.DataFrame]:
    """Ascent on the alignment, with the measures of `spread` of the outputs W phi(k_i)."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    prompt = random_prompt(s, generator)
    h, phi = prompt.h[:-1], prompt.phi[: s.N]  # (N, width), (N, N + 2)
    if point["centred"]:
        h = h - h.mean(0)  # the values of r = N, beta = 1: U (h_i - mean h)
    M = h.T @ phi  # (width, N + 2)
    top = torch.linalg.svdvals(M)[0]
    U = torch.randn(s.head_size, s.width, generator=generator, dtype=torch.float64)
    W = torch.randn(s.head_size, phi.shape[-1], generator=generator, dtype=torch.float64)
    learn = point["targets"] == "learned"
    start, rate = (U / U.norm(), W / W.norm()), s.rate / top.item()
    steps = representation.align_two_views(*start, M, rate, s.recorded[-1], learn_targets=learn)
    rows = []
    for step, (U, W) in enumerate(steps):
        if step in s.recorded:
            alignment = (((U @ M) * W).sum() / top).item()
            rows.append({"step": step, "alignment": alignment} | spread(phi @ W.T))
    return {"paths": pd.DataFrame(rows)}
