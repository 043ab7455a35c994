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
from iclbook.errors import require


@dataclass(frozen=True)
class Prompt:
    """One random prompt through one random head. h: (N + 1, width), query last; values: (N + 1,
    d_v).

    phi: (N + 2, N + 2), exact features of the N + 1 keys and then the query; scores: (N,), the
    demonstrations' q^T k.
    """

    h: Tensor
    values: Tensor
    phi: Tensor
    scores: Tensor

    @property
    def D(self) -> Tensor:
        return (self.phi[:-1] @ self.phi[-1]).sum()

    def targets(self, r: int, beta: float) -> Tensor:
        """The demonstrations' values, (N, d_v), less beta times the mean of the r
        lowest-scored, if any."""
        demos = self.values[:-1]
        if r == 0:
            return demos
        return values_less_negatives(demos, self.negatives(r), beta)[0]

    def negatives(self, r: int) -> Tensor:
        """The r lowest-scored demonstrations, bool (1, N)."""
        scores = self.scores.unsqueeze(0)
        return lowest_scores(scores, torch.ones_like(scores, dtype=torch.bool), r)


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


def repeated_steps(settings, point) -> dict[str, pd.DataFrame]:
    """W_t, what t calls of DualModel.step give, and its outputs W_t phi(k_i), i <= N.

    ||G|| is the norm of the plain loss's G = (1 / D) sum_i v_i phi_i^T, so that no norm depends
    on the scale of phi.
    """
    s = settings
    require(
        len(s.r) == len(s.beta),
        f"r and beta must be equally long, got {len(s.r)} and {len(s.beta)}",
    )
    prompt = random_prompt(s, torch.Generator().manual_seed(point["seed"]))
    phi, D = prompt.phi[: s.N], prompt.D  # (N, N + 2)
    start = DualModel.start(prompt.phi[s.N : s.N + 1], prompt.values[-1:], D)
    unit = (prompt.values[:-1].mT @ phi / D).norm()
    rows = []
    for r, beta in zip(s.r, s.beta):
        targets = prompt.targets(r, beta)
        G = targets.mT @ phi / D  # (d_v, N + 2)
        for alpha in s.alphas:
            closed, model = (
                representation.repeated_steps(start.W, G, alpha, s.recorded[-1]),
                start,
            )
            for step in range(s.recorded[-1] + 1):
                if step in s.recorded:
                    W = model.W
                    found = {
                        "norm": W.norm() / unit,
                        "distance_from_closed_form": (W - closed[step]).norm()
                        / max(W.norm(), unit),
                        "cosine_with_G": (W * G).sum() / (W.norm() * G.norm()),
                        "loss": model.loss(phi, targets, alpha) / unit**2,
                        **spread(model(phi)),
                    }
                    if alpha != 0:
                        found["distance_from_fixed_point"] = (W - G / alpha).norm() / unit
                    found = {name: float(value) for name, value in found.items()}
                    rows.append({"r": r, "alpha": alpha, "step": step, **found})
                model = model.step(phi, targets, alpha)
    return {"paths": pd.DataFrame(rows)}


def negatives_growth(settings, point) -> dict[str, pd.DataFrame]:
    """Mean of ||G_beta||^2 over that of ||G||^2, over `draws` of W_V ~ N(0, 1 / width), beside
    the prediction."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    prompt = random_prompt(s, generator)
    h, phi = prompt.h[:-1], prompt.phi[: s.N]  # (N, width), (N, N + 2)
    W_V = (
        torch.randn(s.draws, s.head_size, s.width, generator=generator, dtype=torch.float64)
        / s.width**0.5
    )
    values = h @ W_V.mT  # (draws, N, d_v)
    plain = (values.mT @ phi).square().sum((-2, -1))  # (draws,)
    rows = []
    for r in s.r:
        negatives = prompt.negatives(r)
        a, b, c = representation.negatives_growth(h @ h.T, phi @ phi.T, negatives[0])
        for beta in s.betas:
            targets = values_less_negatives(values, negatives, beta)[:, 0]  # (draws, N, d_v)
            changed = (targets.mT @ phi).square().sum((-2, -1))  # (draws,)
            ratio = changed.mean() / plain.mean()
            error = (changed - ratio * plain).std() / plain.mean() / s.draws**0.5
            found = {
                "measured": ratio,
                "standard_error": error,
                "predicted": (a - 2 * beta * b + beta**2 * c) / a,
                "break_even": 2 * b / c,
            }
            found = {name: value.item() for name, value in found.items()}
            rows.append({"r": r, "beta": beta, **found})
    return {"growth": pd.DataFrame(rows)}


def learned_targets(settings, point) -> dict[str, pd.DataFrame]:
    """The alignment of U h_i and W phi(k_i) along its ascent, and the spread of the outputs
    W phi(k_i), i <= N."""
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    prompt = random_prompt(s, generator)
    h, phi = prompt.h[:-1], prompt.phi[: s.N]  # (N, width), (N, N + 2)
    if point["negatives"] == "all":
        h = h - h.mean(0)  # the values of r = N, beta = 1: U (h_i - mean h)
    M = h.T @ phi  # (width, N + 2)
    top = torch.linalg.svdvals(M)[0]
    U = torch.randn(s.head_size, s.width, generator=generator, dtype=torch.float64)
    W = torch.randn(s.head_size, phi.shape[-1], generator=generator, dtype=torch.float64)
    learn = point["targets"] == "learned"
    start, rate = (U / U.norm(), W / W.norm()), s.rate / top.item()
    path = representation.align_two_views(*start, M, rate, s.recorded[-1], learn_targets=learn)
    rows = []
    for step, (U, W) in enumerate(path):
        if step in s.recorded:
            found = {"alignment": ((U @ M) * W).sum() / top, **spread(phi @ W.T)}
            rows.append({"step": step, **{name: float(v) for name, v in found.items()}})
    return {"paths": pd.DataFrame(rows)}
