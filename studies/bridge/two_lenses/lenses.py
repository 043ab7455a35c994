"""One layer through two lenses: as dual models that take one step each, and as a filter of the
Gram matrix of the shown representations (ours).

Part I's model is `MultiHeadAttention`: N shown tokens, K tokens, H heads. Tables of weights on
the shown labels are (N, K), or (N, K - N) for the tokens that are not shown.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from iclbook.dual.kernel import softmax_kernel
from iclbook.dual.one_step import DualModel, KernelDualModel
from iclbook.errors import require, require_shape, require_sizes
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import label_covariance
from iclbook.ridge.prompt import Dictionary

RELATIONS = ("independent", "linear", "cosine")


def by_heads(model: MultiHeadAttention, y: Tensor, eta: float = 1.0) -> Tensor:
    """Predictions (count, K) for prompts y (count, N), head by head: each (head, token) has a
    dual model of its own, which takes one step from W_0 = 0 at its signed rate w[h, k]."""
    V, tokens, Q = model.V, model.tokens, model.Q.detach()
    queries = torch.einsum("ihj,jk->hki", Q, tokens)[:, :, None]  # (H, K, 1, d), Q_h v_k
    D = softmax_kernel(V.T, queries).sum((-2, -1))  # (H, K)
    start = KernelDualModel.start(V.T[:1], 0 * y.T[:1], D, eta)
    stepped = start.step(V.T, y.T)(queries)[:, :, 0]  # (H, K, count), of rate 1
    return (model.w.detach()[:, :, None] * stepped).sum(0).T  # (count, K)


def by_one_matrix(model: MultiHeadAttention, y: Tensor, eta: float = 1.0) -> Tensor:
    """The same (count, K) from one matrix: one step, by automatic differentiation, on the
    demonstrations alone, tested at one signed sum of query features a token.

    Features are exact: those of exp(x^T y) in the span of the shown keys, (N, N).
    """
    V, tokens, Q = model.V, model.tokens, model.Q.detach()
    root = torch.linalg.cholesky(softmax_kernel(V.T, V.T))  # (N, N), row n is phi(v_n)
    one = torch.ones((), dtype=V.dtype)
    W = torch.zeros(len(y), len(root), dtype=V.dtype).requires_grad_()  # (count, N)
    DualModel(W, one, eta).loss(root, y.T).backward()
    stepped = DualModel(-eta * W.grad, one, eta)
    queries = torch.einsum("ihj,jk->hki", Q, tokens)  # (H, K, d)
    kernel = softmax_kernel(V.T, queries)  # (H, N, K), exp(v_n^T Q_h v_k)
    signed = (model.w.detach()[:, None] * kernel / kernel.sum(1, keepdim=True)).sum(0)  # (N, K)
    psi = torch.linalg.solve_triangular(root, signed, upper=False)  # (N, K), a column a token
    return stepped(psi.T).T  # (count, K)


ROUTES = {"head by head": by_heads, "one matrix": by_one_matrix}


@dataclass(frozen=True)
class Spectrum:
    """The shown representations Z = sum_j s_j u_j w_j^T, and what a filter makes of them.

    A filter q gives the table q(Z^T Z) Z^T Z_Q on tokens not shown, column k being
    sum_j w_j s_j q(s_j^2) (u_j^T z_k). Its gains are s_j^2 q(s_j^2).
    """

    values: Tensor  # s_j^2 > 0, descending, (r,)
    left: Tensor  # w_j as columns, (N, r)
    power: Tensor  # u_j^T z_k of the tokens not shown, (r, K - N)
    covariance: Tensor  # Zbar^2, (N, N)
    noise: float  # m tau

    @classmethod
    def of(cls, dictionary: Dictionary) -> "Spectrum":
        """Raises InputError where no token is left that is not shown."""
        require(dictionary.K > dictionary.N, "every token is shown; take N < K")
        U, s, W = torch.linalg.svd(dictionary.Z, full_matrices=False)
        keep = s > s[0] * 1e-12  # (r,)
        unseen = dictionary.features[:, dictionary.N :]  # (m, K - N)
        covariance = label_covariance(dictionary)
        noise = dictionary.m * dictionary.tau
        return cls(s[keep] ** 2, W[keep].T, U[:, keep].T @ unseen, covariance, noise)

    def table(self, q: Callable[[Tensor], Tensor]) -> Tensor:
        """The table of a filter q, (N, K - N)."""
        return self.left @ ((self.values.sqrt() * q(self.values))[:, None] * self.power)

    def gains(self, table: Tensor) -> Tensor:
        """The gains of the filter nearest to a table (N, K - N) in Frobenius norm, (r,)."""
        require_shape("table", table, (len(self.left), self.power.shape[1]))
        found = (self.left.T @ table * self.power).sum(1) / self.power.square().sum(1)  # (r,)
        return self.values.sqrt() * found

    def share(self, table: Tensor) -> float:
        """How much of a table's squares the nearest filter has: 1 for a polynomial of the Gram
        matrix; r / (N (K - N)) on average for a table of independent Gaussians."""
        fit = self.table(lambda s: self.gains(table) / s)  # (N, K - N)
        return (fit.square().sum() / table.square().sum()).item()

    def distance(self, table: Tensor, other: Tensor) -> float:
        """Root mean square over tasks, noise and tokens of the difference of predictions, over
        that of `table`'s predictions; tables (N, K - N)."""
        return (self._square(table - other) / self._square(table)).sqrt().item()

    def _square(self, table: Tensor) -> Tensor:
        return (table * (self.covariance @ table)).sum()

    def nearest(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """(q, weights), both (r,): the filter whose predictions are nearest to a table's, in
        the norm of `distance`, and what a squared difference from it costs at each s_j^2."""
        weights = self.power.square().sum(1) * self.values * (self.values + self.noise)
        inner = (self.left.T @ self.covariance @ table * self.power).sum(1)  # (r,)
        return self.values.sqrt() * inner / weights, weights

    def distances(self, table: Tensor, filters: Tensor) -> Tensor:
        """`distance` from a table (N, K - N) of each of the filters (count, r), (count,)."""
        q, weights = self.nearest(table)
        left = self._square(table - self.table(lambda _: q))  # no filter has it
        squares = left + ((filters - q).square() * weights).sum(1)  # (count,)
        return (squares / self._square(table)).sqrt()


def ridge(penalty: float) -> Callable[[Tensor], Tensor]:
    """q(s) = 1 / (s + penalty)."""
    return lambda s: 1 / (s + penalty)


def flow(time: float | Tensor) -> Callable[[Tensor], Tensor]:
    """q(s) = (1 - exp(-time s)) / s: gradient flow on the shown labels, stopped at a time."""
    return lambda s: -torch.expm1(-time * s) / s


def steps(count: int, rate: float | Tensor) -> Callable[[Tensor], Tensor]:
    """q(s) = (1 - (1 - rate s)^count) / s: gradient descent at one rate."""
    require_sizes(count=count)
    return lambda s: (1 - (1 - rate * s) ** count) / s


def best_steps(spectrum: Spectrum, table: Tensor, count: int) -> float:
    """The least `distance` from a table (N, K - N) of `count` steps at one rate, over rates."""
    return _least(spectrum, table, lambda rate: steps(count, rate), -4.0, 0.31)


def best_flow(spectrum: Spectrum, table: Tensor) -> float:
    """The least `distance` from a table (N, K - N) of gradient flow, over times."""
    return _least(spectrum, table, flow, -4.0, 6.0)


def _least(spectrum, table, rule, low: float, high: float) -> float:
    """The least distance of rule(10^x / s_1^2) over x, by a grid that closes in."""
    for _ in range(4):
        grid = torch.linspace(low, high, 101, dtype=spectrum.values.dtype)  # (101,)
        filters = rule(10 ** grid[:, None] / spectrum.values[0])(spectrum.values)  # (101, r)
        found = spectrum.distances(table, filters)  # (101,)
        at = int(found.argmin())
        low, high = grid[max(at - 1, 0)].item(), grid[min(at + 1, 100)].item()
    return found.min().item()


def best_polynomial(spectrum: Spectrum, table: Tensor, count: int) -> Tensor:
    """The table (N, K - N) of the q of degree count - 1 whose predictions are nearest to a
    table's: `count` gradients, added with any weights."""
    require_sizes(count=count)
    s, terms = spectrum.values, min(count, len(spectrum.values))
    # Chebyshev polynomials on [0, s_1]: powers would be singular to working precision.
    basis = torch.cos(torch.arange(terms)[:, None] * torch.acos(2 * s / s[0] - 1))  # (p, r)
    q, weights = spectrum.nearest(table)  # (r,) each
    root = weights.sqrt()
    fit = torch.linalg.lstsq((basis * root).T, (q * root)[:, None], driver="gelsd").solution
    return spectrum.table(lambda _: fit[:, 0] @ basis)


def related_dictionary(
    relation: str, N: int, K: int, d: int, tau: float, *, generator: torch.Generator
) -> Dictionary:
    """K unit tokens, and representations of m = d entries with mean square 1.

    "independent": standard Gaussian, as in Part I; "linear": sqrt(d) v; "cosine": sqrt(2)
    cos(2 g_j^T v + shift), g_j standard Gaussian and shifts uniform. One generator state gives
    the same tokens under each relation.
    """
    require(relation in RELATIONS, f"relation must be one of {RELATIONS}, got {relation!r}")
    how = dict(generator=generator, dtype=torch.float64)
    V = torch.randn(d, K, **how)  # (d, K)
    V = V / V.norm(dim=0)
    draw, shift = torch.randn(d, K, **how), torch.rand(d, 1, **how)
    directions = torch.randn(d, d, **how)
    features = {
        "independent": draw,
        "linear": d**0.5 * V,
        "cosine": 2**0.5 * torch.cos(2 * directions @ V + 2 * torch.pi * shift),
    }[relation]  # (d, K)
    return Dictionary(V, features, N, tau)


def two_heads(dictionary: Dictionary, size: float) -> MultiHeadAttention:
    """Two heads whose table tends to the best one on tokens not shown as `size` tends to 0,
    where z = sqrt(d) v: Q = +-size B, B = (V V^T + (m tau / d) I)^{-1}.

    Shown tokens get ridge regression's fitted value instead of their label.
    """
    V, N, d = dictionary.V, dictionary.N, dictionary.d
    eye = torch.eye(d, dtype=V.dtype)
    B = torch.linalg.inv(V @ V.T + dictionary.m * dictionary.tau / d * eye)  # (d, d)
    model = MultiHeadAttention(dictionary, 2, generator=torch.Generator().manual_seed(0))
    total = (V.T @ B @ dictionary.tokens).sum(0)  # (K,), what the column's weights sum to
    with torch.no_grad():
        model.Q.copy_(size * torch.stack([B, -B], dim=1))  # (d, 2, d)
        lean = N / (2 * size)
        model.w.copy_(torch.stack([total / 2 + lean, total / 2 - lean]))  # (2, K)
    return model
