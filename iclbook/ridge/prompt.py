"""The prompt, the dictionary and the task: what a model sees (yang2024, section 2).

A dictionary holds K tokens v_k with representations z_k = f(v_k). A prompt shows the first N of
them with their labels. One task is a vector lambda; it labels token k by y_k = lambda^T (z_k +
eps_k), eps_k ~ N(0, tau I).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iclbook.errors import (
    InputError,
    require,
    require_nonnegative,
    require_shape,
    require_sizes,
)

TOKENS = ("unit", "gaussian")


@dataclass(frozen=True)
class Dictionary:
    """K tokens, their representations, and which of them the prompt shows.

    tokens: (d, K), the columns v_1..v_K; features: (m, K), the columns z_1..z_K =
    f(v_1)..f(v_K);
    N: prompt length, the prompt shows tokens 1..N; tau: variance of the noise inside a
    representation. Raises InputError for wrong shapes, entries that are not finite, N < 1, N >
    K or tau < 0.
    """

    tokens: Tensor
    features: Tensor
    N: int
    tau: float

    def __post_init__(self):
        require_sizes(N=self.N)
        require_nonnegative(tau=self.tau)
        require_shape("tokens", self.tokens, (None, None))
        require_shape("features", self.features, (None, self.tokens.shape[1]))
        require(
            self.N <= self.K,
            f"the prompt length N={self.N} exceeds the dictionary size K={self.K}; lower N",
        )

    @property
    def d(self) -> int:
        """Token dimension."""
        return self.tokens.shape[0]

    @property
    def K(self) -> int:
        """Dictionary size."""
        return self.tokens.shape[1]

    @property
    def m(self) -> int:
        """Number of basis functions."""
        return self.features.shape[0]

    @property
    def V(self) -> Tensor:
        """The prompt's tokens, (d, N)."""
        return self.tokens[:, : self.N]

    @property
    def Z(self) -> Tensor:
        """The prompt's representations, (m, N)."""
        return self.features[:, : self.N]

    def reordered(self, order: Tensor) -> "Dictionary":
        """The same dictionary with its tokens in another order, (K,) indices: another set of N
        is shown."""
        return replace(self, tokens=self.tokens[:, order], features=self.features[:, order])

    def to(self, dtype: torch.dtype) -> "Dictionary":
        """The same dictionary in another floating-point type."""
        return replace(self, tokens=self.tokens.to(dtype), features=self.features.to(dtype))


def sample_dictionary(
    N: int,
    K: int,
    d: int,
    m: int,
    tau: float,
    *,
    generator: torch.Generator,
    tokens: str = "unit",
    dtype: torch.dtype = torch.float64,
) -> Dictionary:
    """Draw a dictionary: standard Gaussian representations, and tokens by one of two readings
    of the paper.

    tokens="unit": Gaussian directions of norm 1 (the theory's setting, section 2);
    tokens="gaussian": standard Gaussian entries, norm about sqrt(d) (what section 4 says of the
    experiments). Both readings share their directions and representations for one generator
    state. The draw is made in float64 whatever `dtype`, so that both precisions see the same
    dictionary. Raises InputError for sizes below 1, N > K, tau < 0.
    """
    require_sizes(N=N, K=K, d=d, m=m)
    require(tokens in TOKENS, f"tokens must be one of {', '.join(TOKENS)}, got {tokens!r}")
    V = torch.randn(d, K, generator=generator, dtype=torch.float64)  # (d, K)
    Z = torch.randn(m, K, generator=generator, dtype=torch.float64)  # (m, K)
    if tokens == "unit":
        V = V / V.norm(dim=0, keepdim=True)  # (d, K)
    return Dictionary(V, Z, N, tau).to(dtype)


def sample_tasks(
    count: int,
    m: int,
    *,
    generator: torch.Generator,
    mean: float = 0.0,
    std: float = 1.0,
    dtype=torch.float64,
) -> Tensor:
    """Draw `count` tasks lambda ~ N(mean 1_m, std^2 I_m), (count, m).

    In-domain tasks have mean 0, std 1 (Assumption 1); the paper's out-of-domain tasks mean 1,
    std 2.
    """
    require_sizes(count=count, m=m)
    require_nonnegative(std=std)
    return (mean + std * torch.randn(count, m, generator=generator, dtype=torch.float64)).to(
        dtype
    )  # (count, m)


def sample_labels(
    dictionary: Dictionary, tasks: Tensor, *, generator: torch.Generator
) -> Tensor:
    """Labels of all K tokens for each task, y_k = lambda^T (z_k + eps_k) (yang2024 eq. 1),
    (count, K).

    tasks: (count, m). Given lambda, lambda^T eps_k ~ N(0, tau ||lambda||^2) independently over
    k, so one number is drawn a label instead of m.
    """
    require_shape("tasks", tasks, (None, dictionary.m))
    clean = tasks @ dictionary.features  # (count, K)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64).to(
        clean.dtype
    )  # (count, K)
    return clean + dictionary.tau**0.5 * tasks.norm(dim=1, keepdim=True) * noise  # (count, K)


def dtype_named(name: str) -> torch.dtype:
    """The torch type called `name`: "float32" or "float64"."""
    types = {"float32": torch.float32, "float64": torch.float64}
    if name not in types:
        raise InputError(f"dtype must be one of {', '.join(types)}, got {name!r}")
    return types[name]
