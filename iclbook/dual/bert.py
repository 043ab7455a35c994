"""The modifications of attention inside a BERT of Hugging Face transformers.

Each token of a sentence is a query, a key and a value. So each has a dual model of its own,
which is trained on the other tokens and whose start W_0 holds the token's own value. Weights
come from `iclbook.dual.modified`; only what transformers asks for stands here. Shapes: B
sentences of N tokens, H heads of size d.
"""

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from iclbook.dual.modified import Augment, Modification, signed_weights
from iclbook.errors import require

NAME = "iclbook_modified"
PLAIN = Modification()


def modified_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_,
) -> tuple[Tensor, Tensor]:
    """Attention as transformers calls it: ((B, N, H, d), weights (B, H, N, N)).

    query, key, value: (B, H, N, d). attention_mask: bool (B, 1, N, N), True = visible, or None.
    module: BERT's self-attention; it may carry a `modification` and maps `g1`, `g2`.
    """
    change, N = getattr(module, "modification", PLAIN), key.shape[-2]
    if (g2 := getattr(module, "g2", None)) is not None:
        key = g2(key)
    if (g1 := getattr(module, "g1", None)) is not None:
        value = g1(value)
    scores = query @ key.mT * scaling  # (B, H, N, N)
    r = min(change.r, N)  # a short sentence has fewer tokens than negatives are asked for
    weights = signed_weights(scores, attention_mask, alpha=change.alpha, beta=change.beta, r=r)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def modify(
    bert: nn.Module,
    *,
    layers: tuple[int, ...] = (),
    alpha: float = 0.0,
    beta: float = 0.0,
    r: int = 0,
    c: float = 0.0,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Make a BERT attend with a modification in some layers (none named: all); returns it.

    alpha, beta, r: those of `Modification`. c: of the maps g1 and g2 of `Augment`, one pair a
    layer for all heads; their last matrix starts at zero, so that training starts at the model
    as it came, and they need a `generator`. Raises InputError for a model without such layers.
    """
    # Without the second line transformers hands over no mask, and padding is attended to.
    AttentionInterface.register(NAME, modified_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    blocks = getattr(getattr(bert, "encoder", None), "layer", [])
    require(
        bool(blocks) and hasattr(blocks[0].attention, "self"),
        f"{type(bert).__name__} is not a BERT encoder; load one with AutoModel.from_pretrained",
    )
    bert.set_attn_implementation(NAME)
    for layer in layers or range(len(blocks)):
        require(0 <= layer < len(blocks), f"layer {layer} of {len(blocks)} (count from 0)")
        attention = blocks[layer].attention.self
        attention.modification = Modification(alpha=alpha, beta=beta, r=r)
        d = attention.attention_head_size
        attention.g1, attention.g2 = (  # none from an earlier call stays
            _identity_at_first(d, c, generator) if c else None for _ in range(2)
        )
    return bert


def _identity_at_first(d: int, c: float, generator: torch.Generator | None) -> Augment:
    require(generator is not None, "the maps of augmentation are drawn; give a generator")
    augment = Augment(d, c, hidden=2 * d, generator=generator)
    nn.init.zeros_(augment.mlp[-1].weight)
    return augment
