"""Prompts that each have their own tokens and task, and the depth chapter's encoder on them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iclbook.errors import require, require_nonnegative, require_shape, require_sizes
from iclbook.ridge.depth import DeepTransformer
from iclbook.ridge.prompt import Dictionary


@dataclass(frozen=True)
class Prompts:
    """Prompts of K tokens each, of which the first N are shown with their labels.

    tokens: (count, K, d), a token a row; truth: lambda^T v_k, (count, K); labels: with noise,
    (count, K); noise: its variance, d tau.
    """

    tokens: Tensor
    truth: Tensor
    labels: Tensor
    N: int
    noise: float

    @property
    def y(self) -> Tensor:
        """The labels that are shown, (count, N)."""
        return self.labels[:, : self.N]

    @property
    def asked(self) -> Tensor:
        """The true labels of tokens that are not shown, (count, K - N)."""
        return self.truth[:, self.N :]

    def after(self, first: int) -> "Prompts":
        """The prompts from number `first` on."""
        parts = (part[first:] for part in (self.tokens, self.truth, self.labels))
        return Prompts(*parts, self.N, self.noise)

    def dictionary(self, index: int) -> Dictionary:
        """One prompt's tokens as Part I's dictionary, its representations being the tokens."""
        columns, d = self.tokens[index].T, self.tokens.shape[-1]  # (d, K)
        return Dictionary(columns, columns, self.N, self.noise / d)


def sample_prompts(
    count: int,
    N: int,
    K: int,
    d: int,
    tau: float,
    *,
    generator: torch.Generator,
    spread: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Prompts:
    """Draw prompts: tokens with Gaussian entries, tasks lambda ~ N(0, I_d), noise of variance
    d tau.

    spread: the largest standard deviation of a token's entries over the smallest; they form a
    geometric sequence, and their squares sum to d. Raises InputError for sizes below 1,
    N >= K, tau < 0 or spread < 1.
    """
    require_sizes(count=count, N=N, K=K, d=d)
    require_nonnegative(tau=tau)
    require(N < K, f"N={N} tokens are shown of K={K}; none is left to predict; lower N")
    require(spread >= 1, f"spread must be at least 1, got {spread!r}")
    drawn = dict(generator=generator, dtype=dtype)
    powers = torch.linspace(0, 1, d, dtype=dtype) if d > 1 else torch.zeros(1, dtype=dtype)
    scales = spread ** (0.5 - powers)  # (d,)
    scales = scales * (d / scales.square().sum()).sqrt()
    tokens = torch.randn(count, K, d, **drawn) * scales  # (count, K, d)
    tasks = torch.randn(count, d, 1, **drawn)
    truth = (tokens @ tasks)[..., 0]  # (count, K)
    labels = truth + (d * tau) ** 0.5 * torch.randn(count, K, **drawn)
    return Prompts(tokens, truth, labels, N, d * tau)


class PromptEncoder(DeepTransformer):
    """The depth chapter's encoder, with tokens that come with the prompt in place of a
    dictionary; every token attends to the shown tokens only.

    So a token that is not shown changes no other's prediction, and N and K may differ from
    prompt to prompt. Weights start as those of `DeepTransformer`; float32.
    """

    def __init__(self, d: int, **sizes):
        one = torch.zeros(d, 1)  # stands for a dictionary, which gives the size of a token
        super().__init__(Dictionary(one, one, 1, 0.0), **sizes)

    def hidden(self, tokens: Tensor, y: Tensor) -> list[Tensor]:
        """The tokens' representations after the embedding and after each layer, layers + 1 of
        (count, K, width); tokens: (count, K, d), y: (count, N) with N < K."""
        require_shape("tokens", tokens, (len(y), None, self.tokens.shape[1] - 1))
        K, N = tokens.shape[1], y.shape[1]
        require(N < K, f"{N} labels for {K} tokens leave none to predict")
        hidden = torch.arange(K) >= N  # (K,)
        shown = (~hidden).to(tokens.dtype).expand(len(y), K)
        labels = nn.functional.pad(y, (0, K - N))  # (count, K)
        columns = [tokens, shown[..., None], labels[..., None]]
        states = [self.embed(torch.cat(columns, dim=-1))]  # (count, K, width)
        for layer in self.layers:
            states.append(layer(states[-1], src_mask=hidden.expand(K, K)))
        return states

    def forward(self, tokens: Tensor, y: Tensor) -> Tensor:
        """Predictions y^ for the tokens that are not shown, (count, K - N)."""
        return self.read(self.hidden(tokens, y)[-1])[:, y.shape[1] :, 0]

    @torch.no_grad()
    def predict(self, tokens: Tensor, y: Tensor, batch: int = 32) -> Tensor:
        """`forward` in float32 without gradients, `batch` prompts at a time, as float64."""
        parts = zip(tokens.float().split(batch), y.float().split(batch))
        return torch.cat([self(*part) for part in parts]).double()
