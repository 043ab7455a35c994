"""One self-attention layer of any head count, plain or modified, as a small trainable
module."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from iclbook.dual.kernel import check_tokens
from iclbook.dual.modified import Modification, attention
from iclbook.errors import require_sizes


class SelfAttention(nn.Module):
    """Softmax self-attention over tokens (..., N, width); the keywords left are a
    `Modification`.

    Keys are g2(W_K h) and queries W_Q h, both divided by head_size^{1/4}; values are g1(W_V h).
    Each head's output passes through W_O, (H, width, head_size), unless `output` is False: then
    heads stand side by side.
    """

    def __init__(
        self,
        width: int,
        head_size: int,
        heads: int = 1,
        *,
        generator: torch.Generator,
        output: bool = True,
        g1: nn.Module | None = None,
        g2: nn.Module | None = None,
        dtype: torch.dtype = torch.float32,
        **modification,
    ):
        super().__init__()
        require_sizes(width=width, head_size=head_size, heads=heads)
        self.modification = Modification(**modification)
        self.g1, self.g2 = g1 or nn.Identity(), g2 or nn.Identity()

        def draw(rows: int, columns: int) -> nn.Parameter:
            drawn = torch.randn(heads, rows, columns, generator=generator, dtype=dtype)
            return nn.Parameter(drawn / columns**0.5)

        # each (H, head_size, width)
        self.W_Q, self.W_K, self.W_V = (draw(head_size, width) for _ in range(3))
        self.W_O = draw(width, head_size) if output else None  # (H, width, head_size)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys, values, each (..., H, N, head_size), from tokens (..., N,
        width)."""
        check_tokens("tokens", tokens, self.W_Q.shape[-1])
        h = tokens.unsqueeze(-3)  # (..., 1, N, width)
        scale = self.W_Q.shape[-2] ** -0.25
        return (
            h @ self.W_Q.mT * scale,
            self.g2(h @ self.W_K.mT) * scale,
            self.g1(h @ self.W_V.mT),
        )

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        *,
        last_only: bool = False,
        attend: Callable = attention,
    ) -> Tensor:
        """Return (..., N, width), or the last token's row (..., 1, width) with `last_only`.

        mask: broadcast to (..., H, N, N), True = visible. `attend=dual_attention` runs the
        layer by training.
        """
        queries, keys, values = self.project(tokens)  # (..., H, N, head_size)
        if last_only:
            queries = queries[..., -1:, :]  # (..., H, 1, head_size)
        # (..., H, M, head_size)
        heads = attend(queries, keys, values, mask, **vars(self.modification))
        if self.W_O is None:
            return heads.transpose(-3, -2).flatten(-2)  # (..., M, H * head_size)
        return (heads @ self.W_O.mT).sum(-3)  # (..., M, width)
