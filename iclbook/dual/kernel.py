"""The softmax kernel exp(x^T y) and random features phi with E[phi(x)^T phi(y)] = exp(x^T y).

Tokens are rows: x has shape (..., N, d). Attention needs phi only through such products.
"""

import math

import torch
from torch import Tensor

from iclbook.errors import require, require_shape, require_sizes


def check_tokens(name: str, x: Tensor, width: int | None = None) -> None:
    """Raise `InputError` unless `x` is a finite (..., N, width) tensor with N >= 1 and width >=
    1."""
    require(x.ndim >= 2, f"{name} must have shape (..., N, width), got {tuple(x.shape)}")
    require(x.shape[-2] >= 1, f"{name} holds no tokens; give at least one demonstration")
    require(x.shape[-1] >= 1, f"{name} has width 0; give tokens of width at least 1")
    require_shape(name, x, (None,) * (x.ndim - 1) + (width,))


def check_pairs(views: Tensor, values: Tensor, width: int | None = None) -> None:
    """Raise `InputError` unless views (..., N, width) and values (..., N, d_v) are tokens that
    pair up."""
    check_tokens("views", views, width)
    check_tokens("values", values)
    N, got = views.shape[-2], values.shape[-2]
    require(got == N, f"every key needs one value, got {N} keys and {got} values")


def softmax_kernel(x: Tensor, y: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    """Return exp(x_i^T y_j - shift), shape (..., N, M), for x (..., N, d) and y (..., M, d).

    A common `shift` (broadcast against the result) rescales the kernel, which attention's ratio
    cancels.
    """
    check_tokens("x", x)
    check_tokens("y", y, x.shape[-1])
    return (x @ y.mT - shift).exp()  # (..., N, M)


def log_gaussian_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return -||x_i - y_j||^2 / 2, shape (..., N, M): the log of the Gaussian kernel with unit
    bandwidth."""
    check_tokens("x", x)
    check_tokens("y", y, x.shape[-1])
    return -(x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1) / 2  # (..., N, M)


def draw_directions(
    d_r: int,
    d: int,
    *,
    generator: torch.Generator,
    orthogonal: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Return w, shape (d_r, d), each row w_j ~ N(0, I); `orthogonal` rows are so in blocks of
    d.

    Orthogonal rows keep the N(0, I) marginal: a Haar direction times the length of an
    independent Gaussian.
    """
    require_sizes(d_r=d_r, d=d)
    if not orthogonal:
        return torch.randn(d_r, d, generator=generator, dtype=dtype)  # (d_r, d)
    blocks = -(-d_r // d)
    q, upper = torch.linalg.qr(
        torch.randn(blocks, d, d, generator=generator, dtype=dtype)
    )  # (blocks, d, d)
    # QR fixes the signs of its columns; the diagonal's signs undo that, so that q is Haar
    # distributed.
    q = q * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    lengths = torch.randn(d_r, d, generator=generator, dtype=dtype).norm(
        dim=-1, keepdim=True
    )  # (d_r, 1)
    return q.mT.reshape(-1, d)[:d_r] * lengths  # (d_r, d)


def log_positive_features(x: Tensor, w: Tensor) -> Tensor:
    """Return log phi(x), shape (..., N, d_r), with phi(x) = d_r^{-1/2} exp(w_j^T x - ||x||^2 /
    2)."""
    check_tokens("x", x)
    check_tokens("w", w, x.shape[-1])
    log_scale = math.log(w.shape[-2]) / 2
    return x @ w.mT - x.square().sum(-1, keepdim=True) / 2 - log_scale  # (..., N, d_r)


def exp_shifted(log_features: Tensor, dim: int | tuple[int, ...] = (-2, -1)) -> Tensor:
    """Return exp(log_features - max over `dim`): phi times one constant, which attention's
    ratio cancels.

    Keys share one constant (the default); each query may have its own (`dim=-1`). In float64
    this carries token norms up to 20, in float32 up to about 6.
    """
    return (log_features - log_features.amax(dim, keepdim=True)).exp()  # (..., N, d_r)


def trigonometric_features(x: Tensor, w: Tensor) -> Tensor:
    """Return exp(||x||^2 / 2) m^{-1/2} [cos(w_j^T x), sin(w_j^T x)], shape (..., N, 2 m), for w
    (m, d).

    Unbiased for exp(x^T y) like the positive features, but its products may be negative.
    """
    check_tokens("x", x)
    check_tokens("w", w, x.shape[-1])
    angles = x @ w.mT  # (..., N, m)
    waves = torch.cat([angles.cos(), angles.sin()], dim=-1) / math.sqrt(
        w.shape[-2]
    )  # (..., N, 2 m)
    return (x.square().sum(-1, keepdim=True) / 2).exp() * waves


def positive_variance(x: Tensor, y: Tensor, d_r: int, *, orthogonal: bool = False) -> Tensor:
    """Return Var[phi(x_i)^T phi(y_j)], shape (..., N, M): e^{2 x^T y} (e^{||x+y||^2} - 1) / d_r
    for iid w_j.

    Orthogonal rows add e^{2 x^T y} v / d_r^2 for every ordered pair of rows in one block, v <=
    0 as below.
    """
    require_sizes(d_r=d_r)
    a = -log_gaussian_kernel(x, -y)  # (..., N, M): ||x + y||^2 / 2
    relative = torch.expm1(2 * a) / d_r
    if orthogonal:
        d = x.shape[-1]
        pairs = d_r // d * d * (d - 1) + d_r % d * (d_r % d - 1)
        relative = relative + pairs / d_r**2 * _orthogonal_covariance(a, d)
    return softmax_kernel(2 * x, y) * relative


def _orthogonal_covariance(a: Tensor, d: int) -> Tensor:
    """Return v = E[(d/2)_i (d/2)_j / (d/2)_{i+j}] - 1 with i, j ~ Poisson(a), by the series;
    shape of a.

    It is E[exp(w_1^T s + w_2^T s)] / e^{||s||^2} - 1 for orthogonal w_1, w_2 and ||s||^2 = 2 a.
    """
    top = a.max().item()
    k = torch.arange(
        int(top + 12 * math.sqrt(top)) + 30, dtype=a.dtype, device=a.device
    )  # (n,)
    half = torch.full_like(k, d / 2)
    rise = (half + k).lgamma() - half.lgamma()  # (n,): log (d/2)_k
    ratio = rise + rise[:, None] - (half + k + k[:, None]).lgamma() + half.lgamma()  # (n, n)
    a = a.unsqueeze(-1)  # (..., N, M, 1)
    chance = (torch.special.xlogy(k, a) - a - (k + 1).lgamma()).exp()  # (..., N, M, n)
    return ((chance @ torch.expm1(ratio)) * chance).sum(-1)


def trigonometric_variance(x: Tensor, y: Tensor, m: int) -> Tensor:
    """Return e^{||x||^2 + ||y||^2} (1 - e^{-||x-y||^2})^2 / (2 m), shape (..., N, M), m iid
    frequencies."""
    require_sizes(m=m)
    log_gauss = log_gaussian_kernel(x, y)  # (..., N, M)
    return (
        softmax_kernel(2 * x, y)
        * (-2 * log_gauss).exp()
        * torch.expm1(2 * log_gauss).square()
        / (2 * m)
    )


def attention_variance(queries: Tensor, keys: Tensor, values: Tensor, d_r: int) -> Tensor:
    """Return the first-order variance of attention from d_r iid positive features, (..., M,
    d_v), as d_r grows.

    queries (..., M, d), keys (..., N, d), values (..., N, d_v); values = identity gives the
    attention matrix. The relative errors of kernel values share directions: Cov = (exp((q +
    k_i)^T (q + k_j)) - 1) / d_r.
    """
    require_sizes(d_r=d_r)
    check_pairs(keys, values, queries.shape[-1])
    a = kernel_weights(softmax_kernel(queries, keys))  # (..., M, N)
    sums = queries.unsqueeze(-2) + keys.unsqueeze(-3)  # (..., M, N, d)
    covariance = torch.expm1(sums @ sums.mT) / d_r  # (..., M, N, N)
    outputs = (a @ values).unsqueeze(-2)  # (..., M, 1, d_v)
    lever = a.unsqueeze(-1) * (values.unsqueeze(-3) - outputs)  # (..., M, N, d_v)
    return (lever * (covariance @ lever)).sum(-2)  # (..., M, d_v)


def kernel_weights(kernel: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the attention matrix kernel / D, shape (..., M, N), D each query's sum over the
    keys it sees.

    kernel: (..., M, N), queries by keys, from features (phi_q @ phi_k.mT) or exact; mask: True
    = visible.
    """
    check_tokens("kernel", kernel)
    seen = kernel if mask is None else kernel.masked_fill(~mask, 0.0)  # (..., M, N)
    D = seen.sum(-1, keepdim=True)  # (..., M, 1)
    require(
        bool((D != 0).all()),
        "a query's kernel values sum to 0; show it a key, or use more features",
    )
    return seen / D


def exact_features(kernel: Tensor) -> Tensor:
    """Return phi, shape (..., n, n), with phi phi^T = kernel: finite features, exact for these
    n tokens.

    kernel: (..., n, n), symmetric and positive semidefinite, one row a token.
    """
    check_tokens("kernel", kernel, kernel.shape[-2])
    eigenvalues, vectors = torch.linalg.eigh(kernel)
    return vectors * eigenvalues.clamp(min=0).sqrt().unsqueeze(-2)  # (..., n, n)
