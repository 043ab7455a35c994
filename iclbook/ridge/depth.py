"""The deep model: the standard encoder of several layers on the same prompts (yang2024, section
4), and probes.

Each of the K dictionary tokens is one input token (v_k, y_k or 0, shown or not); the output at
token k is y^_k. How the label enters is our choice: the paper does not say.
"""

import torch
from torch import Tensor, nn

from iclbook.errors import require, require_shape, require_sizes
from iclbook.ridge.prompt import Dictionary


class EncoderLayer(nn.TransformerEncoderLayer):
    """torch's standard encoder layer, x -> norm(x + block(x)) for each of its two blocks;
    `skip=False` drops the x."""

    def __init__(self, width: int, H: int, feedforward: int, skip: bool = True):
        super().__init__(width, H, feedforward, dropout=0.0, batch_first=True)
        self.skip = skip

    def forward(self, x: Tensor, *args, **kwargs) -> Tensor:
        """(count, K, width) -> (count, K, width)."""
        if self.skip:
            return super().forward(x, *args, **kwargs)
        x = self.norm1(self.self_attn(x, x, x, need_weights=False)[0])
        return self.norm2(self.linear2(self.activation(self.linear1(x))))


class DeepTransformer(nn.Module):
    """Predicts every dictionary token's label by a stack of encoder layers; every token attends
    to all K tokens.

    Weights start as torch draws them, each layer on its own, from a seed taken from
    `generator`. The draw does not depend on H or `skip`. Raises InputError for sizes below 1,
    or a width that H does not divide.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        *,
        layers: int,
        width: int,
        feedforward: int,
        H: int,
        generator: torch.Generator,
        skip: bool = True,
    ):
        super().__init__()
        require_sizes(layers=layers, width=width, feedforward=feedforward, H=H)
        require(width % H == 0, f"H={H} does not divide the width {width}; choose a divisor")
        shown = (torch.arange(dictionary.K) < dictionary.N).to(dictionary.tokens.dtype)  # (K,)
        self.N = dictionary.N
        self.register_buffer(
            "tokens", torch.cat([dictionary.tokens.T, shown[:, None]], dim=1)
        )  # (K, d + 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.embed = nn.Linear(dictionary.d + 2, width)
            self.layers = nn.ModuleList(
                EncoderLayer(width, H, feedforward, skip) for _ in range(layers)
            )
            self.read = nn.Linear(width, 1)
        self.to(dictionary.tokens.dtype)

    def hidden(self, y: Tensor) -> list[Tensor]:
        """The tokens' representations after the embedding and after each layer, layers + 1 of
        (count, K, width).

        y: the prompt's labels, (count, N).
        """
        require_shape("y", y, (None, self.N))
        K = self.tokens.shape[0]
        labels = nn.functional.pad(y, (0, K - self.N))  # (count, K)
        inputs = torch.cat(
            [self.tokens.expand(len(y), -1, -1), labels[..., None]], dim=-1
        )  # (count, K, d + 2)
        states = [self.embed(inputs)]  # (count, K, width)
        for layer in self.layers:
            states.append(layer(states[-1]))
        return states

    def forward(self, y: Tensor) -> Tensor:
        """Predictions y^ for all K tokens, (count, K), from prompt labels y: (count, N)."""
        return self.read(self.hidden(y)[-1])[..., 0]  # (count, K)

    @torch.no_grad()
    def predict(self, y: Tensor, batch: int = 8) -> Tensor:
        """`forward` without gradients, `batch` prompts at a time, (count, K)."""
        return torch.cat([self(rows) for rows in y.split(batch)])


def prediction_loss(predicted: Tensor, labels: Tensor) -> Tensor:
    """(1/2K) sum_k (y^_k - y_k)^2, averaged over the tasks (yang2024 eq. 9), a scalar; both
    (count, K)."""
    return (predicted - labels).square().mean() / 2


def linear_part(y: Tensor, predicted: Tensor) -> Tensor:
    """The table T, (N, K), of the linear map y -> T^T y closest to given predictions, in the
    least-squares sense.

    y: (count, N); predicted: (count, K), with count >= N. A one-layer model's table is found
    exactly.
    """
    require(
        len(y) >= y.shape[1],
        f"{len(y)} prompts cannot fix a table for {y.shape[1]} labels; take more",
    )
    # Not torch's default driver: that one starts from whatever lies in memory, and its last
    # bits differ by call.
    return torch.linalg.lstsq(y, predicted, driver="gelsd").solution  # (N, K)


def nonlinear_share(predicted: Tensor, linear: Tensor) -> Tensor:
    """||y^ - linear||^2 / ||y^||^2, a scalar: what of the predictions a linear map leaves out;
    both (count, K)."""
    return (predicted - linear).square().sum() / predicted.square().sum()


def scaling_error(predict, y: Tensor, factor: float) -> Tensor:
    """||f(c y) - c f(y)||^2 / ||c f(y)||^2, a scalar: 0 for ridge regression, which is linear
    in the labels."""
    scaled = factor * predict(y)  # (count, K)
    return (predict(factor * y) - scaled).square().sum() / scaled.square().sum()


def operations(model: DeepTransformer, batch: int) -> dict[str, int]:
    """What one training step costs, independent of the machine: "flops" of the matrix products,
    forward and backward, counted by torch, and "exponentials" of the softmax, batch * layers *
    H * K^2.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    y = model.tokens.new_zeros(batch, model.N)
    # Only the plain form of attention is made of products that the counter knows.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(y).sum().backward()
    model.zero_grad(set_to_none=True)
    K, H = model.tokens.shape[0], model.layers[0].self_attn.num_heads
    return {
        "flops": counter.get_total_flops(),
        "exponentials": batch * len(model.layers) * H * K**2,
    }
