"""The one-layer multi-head softmax transformer (yang2024, eq. 8), and its closed-form
gradient."""

import torch
from torch import Tensor, nn

from iclbook.errors import require_nonnegative, require_shape, require_sizes
from iclbook.ridge.prompt import Dictionary


class MultiHeadAttention(nn.Module):
    """Predicts every dictionary token's label from the labels in the prompt.

        y^_k = sum_h w[h, k] * y^T softmax(V^T Q_h v_k)                             (yang2024
        eq. 8)

    The softmax runs over the N prompt tokens. All that acts on the labels is the table of
    weights a~_k = sum_h w[h, k] softmax(V^T Q_h v_k), so `forward` returns that table and
    `predict` applies it.

    Q: (d, H, d), head h is Q[:, h, :], standard Gaussian times `beta` at the start; w: (H, K),
    zero at the start. The head index stands in the middle so that every stage is one large
    matrix product with no copy.
    """

    def __init__(
        self, dictionary: Dictionary, H: int, *, generator: torch.Generator, beta: float = 1.0
    ):
        super().__init__()
        require_sizes(H=H)
        require_nonnegative(beta=beta)
        d, dtype = dictionary.d, dictionary.tokens.dtype
        Q = beta * torch.randn(d, H, d, generator=generator, dtype=torch.float64)  # (d, H, d)
        self.Q = nn.Parameter(Q.to(dtype))
        self.w = nn.Parameter(torch.zeros(H, dictionary.K, dtype=dtype))
        self.register_buffer("V", dictionary.V.contiguous())
        self.register_buffer("tokens", dictionary.tokens.contiguous())

    def attention(self, V: Tensor | None = None) -> Tensor:
        """Attention weights softmax(V^T Q_h v_k), (N, H, K); `V`: (d, N) shows other prompt
        tokens."""
        V = self.V if V is None else V
        d, H, _ = self.Q.shape
        left = V.T @ self.Q.view(d, H * d)  # (N, H d)
        logits = left.view(-1, d) @ self.tokens  # (N H, K)
        return logits.view(V.shape[1], H, -1).softmax(dim=0)  # (N, H, K)

    def forward(self, V: Tensor | None = None) -> Tensor:
        """The table a~ of weights on the prompt's labels, (N, K)."""
        return (self.attention(V) * self.w).sum(dim=1)  # (N, K)

    def predict(self, y: Tensor, V: Tensor | None = None) -> Tensor:
        """Predictions y^ for all K tokens, (count, K), from prompt labels y: (count, N)."""
        table = self(V)  # (N, K)
        require_shape("y", y, (None, table.shape[0]))
        return y @ table  # (count, K)

    @torch.no_grad()
    def set_gradient(self, attention: Tensor, G: Tensor) -> None:
        """Write the gradient of a loss into `Q.grad` and `w.grad`, given its gradient in the
        table a~.

        attention: (N, H, K), from `attention()`; G: (N, K) = d loss / d a~. With S =
        softmax(V^T Q_h v_k):

            d loss / d w[h, k]  = S[:, h, k]^T G[:, k]
            d loss / d logits   = w[h, k] S[n, h, k] (G[n, k] - S[:, h, k]^T G[:, k])
            d loss / d Q_h      = V (d loss / d logits_h) V^^T
        """
        N, H, K = attention.shape
        d = self.V.shape[0]
        weighted = attention * G[:, None, :]  # (N, H, K)
        self.w.grad = weighted.sum(dim=0)  # (H, K)
        dlogits = weighted.addcmul_(attention, self.w.grad, value=-1).mul_(self.w)  # (N, H, K)
        right = dlogits.view(N * H, K) @ self.tokens.T  # (N H, d)
        self.Q.grad = (self.V @ right.view(N, H * d)).view(d, H, d)  # (d, H, d)
