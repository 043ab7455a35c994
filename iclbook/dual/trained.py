"""What one attention layer can reach: two numbers by symmetry, linear steps and the best
additive predictor in closed form, peers outside attention.

By symmetry a trained layer comes down to score scale a and value scale b: score a x_i . x_q,
value b y_i, own value 0.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import relu

from iclbook.dual.attention import SelfAttention
from iclbook.dual.modified import dual_problem
from iclbook.dual.one_step import one_at_a_time
from iclbook.errors import require, require_nonnegative, require_sizes

FOURTH_MOMENT = {"uniform": 1 / 5, "gaussian": 1 / 3}  # of a coordinate with variance 1/3


def linear_step_loss(
    N: int, d: int, *, inputs: str = "uniform", noise: float = 0.0, centred: bool = False
) -> float:
    """Return the loss of the best single linear step b sum_i y_i x_i . x_q on the linear task,
    in closed form.

    sigma^2 (d - (tr E G)^2 / (tr E G^2 + noise^2 tr E G)), G = sum_i x_i x_i^T, sigma^2 = 1/3;
    `centred`: with x_i - mean x. Derived in the chapter.
    """
    require_sizes(N=N, d=d)
    require_nonnegative(noise=noise)
    require(
        inputs in FOURTH_MOMENT,
        f"inputs must be one of {', '.join(FOURTH_MOMENT)}, got {inputs!r}",
    )
    square = 1 / 3  # E x_j^2
    fourth = d * FOURTH_MOMENT[inputs] + d * (d - 1) * square**2  # E ||x||^4
    rho = 1 - 1 / N
    own, cross = (rho**2, rho) if centred else (1.0, 0.0)  # P_ii^2, sum_{i != j} P_ij^2
    first = (N - 1 if centred else N) * d * square  # tr E G
    others = N * (N - 1) * own * d + cross * d * (d + 1)
    second = N * own * fourth + others * square**2  # tr E G^2
    return square * (d - first**2 / (second + noise**2 * first))


def additive_loss(N: int, d: int) -> float:
    """Return the loss of the best additive predictor sum_i F(x_i, y_i, x_q) on the noiseless
    linear task, in closed form: sigma^2 d (d - 1) / (N + d - 1), sigma^2 = 1/3.

    It does not depend on how long the inputs are, so it holds for both kinds of inputs. The
    predictor is d / (N + d - 1) times `additive_feature`. Derived in the chapter.
    """
    require_sizes(N=N, d=d)
    return d * (d - 1) / (N + d - 1) / 3


def best_scale(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return (b, loss), each (...): the best b in b * feature, and its mean squared error.
    features: (..., B)."""
    b = (features * labels).mean(-1) / features.square().mean(-1)
    return b, (b.unsqueeze(-1) * features - labels).square().mean(-1)


def two_number_features(
    tokens: Tensor, a: float, negatives: list[tuple[int, float]]
) -> dict[tuple, Tensor]:
    """Return {family: sum of weights times y, (B,)} at the score scale a, for tokens (B, N + 1,
    d + 1).

    Families: ("plain",), ("own token hidden",), ("positive part",) of centred weights, and
    ("negative", r, beta).
    """
    x, y = tokens[..., :-1], tokens[:, :-1, -1]  # (B, N + 1, d), (B, N)
    scores = a * (x @ x[:, -1:].mT).squeeze(-1)  # (B, N + 1)
    p = scores.softmax(-1)[:, :-1]  # (B, N)
    total, weighted = p.sum(-1), (p * y).sum(-1)  # (B,)
    found = {("plain",): weighted, ("own token hidden",): weighted / total}
    found["positive part",] = (relu(p - p.mean(-1, keepdim=True)) * y).sum(-1)
    sorted_y = y.gather(-1, scores[:, :-1].argsort(dim=-1, stable=True)).cumsum(-1)  # (B, N)
    for r, beta in negatives:
        found["negative", r, beta] = weighted - beta * total * sorted_y[:, r - 1] / r
    return found


def linear_features(tokens: Tensor) -> dict[tuple, Tensor]:
    """Return {family: (B,)} of linear attention, as it is and with centred keys."""
    x, y = tokens[..., :-1], tokens[:, :-1, -1]
    scores = (x[:, :-1] @ x[:, -1:].mT).squeeze(-1)  # (B, N)
    centred = scores - scores.mean(-1, keepdim=True)
    return {("linear",): (scores * y).sum(-1), ("linear, centred",): (centred * y).sum(-1)}


def additive_feature(tokens: Tensor) -> Tensor:
    """Return sum_i y_i x_i . x_q / ||x_i||^2, (B,): one linear step on tokens divided by the
    lengths of their inputs."""
    x, y = tokens[..., :-1], tokens[:, :-1, -1]
    demos, query = x[:, :-1], x[:, -1:]  # (B, N, d), (B, 1, d)
    scores = (demos @ query.mT).squeeze(-1) / demos.square().sum(-1)  # (B, N)
    return (scores * y).sum(-1)


def ridge(tokens: Tensor, penalty: float, *, intercept: bool = False) -> Tensor:
    """Return each prompt's own ridge prediction for its query, (B,): argmin ||y - X w||^2 +
    penalty ||w||^2."""
    require(penalty > 0, f"penalty must be above 0, got {penalty!r}")
    x, y = tokens[:, :-1, :-1], tokens[:, :-1, -1:]  # (B, N, d), (B, N, 1)
    shift, level = 0.0, y.new_zeros(1, 1, 1)
    if intercept:
        shift, level = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    x, query = x - shift, tokens[:, -1:, :-1] - shift  # the latter (B, 1, d)
    gram = x.mT @ x + penalty * torch.eye(x.shape[-1], dtype=x.dtype)  # (B, d, d)
    w = torch.linalg.solve(gram, x.mT @ (y - level))  # (B, d, 1)
    return (query @ w + level)[:, 0, 0]


def smoother(tokens: Tensor, bandwidth: float) -> Tensor:
    """Return the Nadaraya-Watson prediction with a Gaussian kernel on x, (B,)."""
    require(bandwidth > 0, f"bandwidth must be above 0, got {bandwidth!r}")
    x, y = tokens[..., :-1], tokens[:, :-1, -1]
    distances = (x[:, :-1] - x[:, -1:]).square().sum(-1)  # (B, N)
    return ((-distances / (2 * bandwidth**2)).softmax(-1) * y).sum(-1)


def step_outputs(layer: SelfAttention, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a single-head layer's own dual model says of the last token.

    First, (N + 1, B, d_o): its outputs before and after each of N single-demonstration steps;
    the penalty acts once, on the start. Second, (B, d_o): its output after one full step.
    """
    queries, keys, values = (part[:, 0] for part in layer.project(tokens))  # (B, N + 1, d_o)
    last = queries[:, -1:]  # (B, 1, d_o)
    problem = dual_problem(last, keys, values, **vars(layer.modification))
    start, views, targets, alpha = problem
    demos, targets = views[..., :-1, :], targets[..., :-1, :]  # (B, 1, N, d_o)
    decayed = replace(start, coefficients=(1 - alpha) * start.coefficients)
    query = last.unsqueeze(-2)  # (B, 1, 1, d_o)
    steps = one_at_a_time(decayed, demos, targets)
    singles = torch.stack([model(query)[:, 0, 0] for model in steps])  # (N + 1, B, d_o)
    return singles, start.step(demos, targets, alpha)(query)[:, 0, 0]
