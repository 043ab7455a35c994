"""The in-context regression task on which part II trains its attention layers, and that
training."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from iclbook.dual.attention import SelfAttention
from iclbook.dual.tasks import LINEAR, Task
from iclbook.errors import require, require_nonnegative, require_sizes
from iclbook.training import by_autograd, descend


def sample_prompts(
    count: int,
    N: int,
    d: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    task: Task = LINEAR,
    inputs: str = "uniform",
    noise: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return tokens [x; y], shape (count, N + 1, d + 1), the query's y set to 0, and the
    query's labels (count,).

    x is uniform on [-1, 1]^d, or Gaussian with the same variance 1/3; y = task(x, w), with w ~
    N(0, I) drawn anew for each prompt. noise: sd of what is added to the demonstrations' y; the
    query's label is the true one.
    """
    require_sizes(count=count, N=N, d=d)
    require_nonnegative(noise=noise)
    require(
        inputs in ("uniform", "gaussian"),
        f"inputs must be 'uniform' or 'gaussian', got {inputs!r}",
    )
    if inputs == "uniform":
        x = (
            2 * torch.rand(count, N + 1, d, generator=generator, dtype=dtype) - 1
        )  # (count, N + 1, d)
    else:
        x = torch.randn(count, N + 1, d, generator=generator, dtype=dtype) / 3**0.5
    w = torch.randn(count, d, 1, generator=generator, dtype=dtype)
    tokens = torch.cat([x, task(x, w)], dim=-1)  # (count, N + 1, d + 1)
    labels = tokens[:, -1, -1].clone()
    if noise > 0:
        tokens[..., -1] += noise * torch.randn(count, N + 1, generator=generator, dtype=dtype)
    tokens[:, -1, -1] = 0
    return tokens, labels


def train(
    layer: SelfAttention,
    steps: int,
    *,
    at: Iterable[int],
    N: int,
    batch: int = 256,
    rate: float = 3e-3,
    generator: torch.Generator,
) -> Iterator[int]:
    """Train `layer` in place by Adam on fresh prompts; yields the step numbers in `at`.

    The loss is the mean squared error of the query's y, which the layer gives as its output's
    last entry.
    """
    require_sizes(steps=steps, batch=batch)
    require_nonnegative(rate=rate)
    optimizer, d = torch.optim.Adam(layer.parameters(), lr=rate), layer.W_Q.shape[-1] - 1

    def loss() -> Tensor:
        tokens, labels = sample_prompts(batch, N, d, generator=generator, dtype=layer.W_Q.dtype)
        predicted = layer(tokens, last_only=True)[:, 0, -1]  # (batch,)
        return (predicted - labels).square().mean()

    yield from descend(by_autograd(loss, optimizer), optimizer, steps, at=at)
