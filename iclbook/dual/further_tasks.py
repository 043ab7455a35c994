"""Deeper models for the in-context tasks: one Transformer layer, a stack of two attention
layers, and their dual steps.

Each predicts the y of the last token. `attend=dual_attention` runs every attention layer by
training instead.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from iclbook.dual.attention import SelfAttention
from iclbook.dual.layers import add_residual, frozen_feed_forward
from iclbook.dual.modified import attention, dual_attention
from iclbook.dual.trained import step_outputs


class TransformerLayer(nn.Module):
    """x + W_2 relu(W_1 x + b_1) + b_2 behind x = h_q + attention; tokens (B, N + 1, width) ->
    predictions (B,)."""

    def __init__(
        self,
        width: int,
        head_size: int,
        hidden: int,
        *,
        generator: torch.Generator,
        **modification,
    ):
        super().__init__()
        self.attention = SelfAttention(width, head_size, generator=generator, **modification)
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, width)
        for linear in (self.first, self.second):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5, generator=generator)
            nn.init.zeros_(linear.bias)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return the block's output, (B, width), with its residual connection."""
        return x + self.second(self.first(x).relu())

    def forward(self, tokens: Tensor, attend: Callable = attention) -> Tensor:
        attended = self.attention(tokens, last_only=True, attend=attend)[:, 0]  # (B, width)
        return self.feed_forward(tokens[:, -1] + attended)[:, -1]

    def step_predictions(self, tokens: Tensor) -> Tensor:
        """Return (N + 1, B): the dual model's predictions before and after each of N single
        steps.

        Its targets went through the block frozen at the answer.
        """
        attended = self.attention(tokens, last_only=True)[:, 0]  # (B, width)
        block = frozen_feed_forward(
            tokens[:, -1] + attended, self.first, self.second
        ).with_residual()
        after = block.after(add_residual(tokens[:, -1]))
        return after(_through_output(self.attention, tokens))[..., -1]


class TwoLayers(nn.Module):
    """Two attention layers with residual connections, no mask; tokens (B, N + 1, width) ->
    predictions (B,)."""

    def __init__(
        self, width: int, head_size: int, *, generator: torch.Generator, **modification
    ):
        super().__init__()
        maps = {
            name: modification.pop(name) for name in ("g1", "g2") if name in modification
        }  # a pair of maps each
        own = [{name: pair[i] for name, pair in maps.items()} for i in range(2)]
        self.layers = nn.ModuleList(
            SelfAttention(width, head_size, generator=generator, **modification, **own[i])
            for i in range(2)
        )

    def entering(self, tokens: Tensor, attend: Callable = attention) -> Tensor:
        """Return the tokens that enter the second layer, (B, N + 1, width)."""
        return tokens + self.layers[0](tokens, attend=attend)

    def forward(self, tokens: Tensor, attend: Callable = attention) -> Tensor:
        x = self.entering(tokens, attend)
        return (x[:, -1] + self.layers[1](x, last_only=True, attend=attend)[:, 0])[:, -1]

    def step_predictions(self, tokens: Tensor) -> Tensor:
        """Return (N + 1, B): the first layer's models have taken their step, the second's takes
        N single ones."""
        x = self.entering(tokens, dual_attention)
        return (x[:, -1] + _through_output(self.layers[1], x))[..., -1]


def _through_output(layer: SelfAttention, tokens: Tensor) -> Tensor:
    """Outputs of the last token's dual model, before and after each single step, through W_O:
    (N + 1, B, width)."""
    singles, _ = step_outputs(layer, tokens)
    return singles @ layer.W_O[0].mT
