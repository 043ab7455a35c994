"""One training step of the one-layer model at Figure 2a's size. Run: make bench.

Beside it: the four matrix products that it cannot do without; the time of as many operations in
one large product; equation (8) as batched einsum with autograd; and the straightforward way, a
loop over heads with autograd, torch's default Adam and sampled batches. They take turns, and so
do the parts of a step, each by itself.
"""

import collections
import functools
import time
from statistics import median

import torch
from summary import in_turn, ratio, record

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import BatchLoss, PopulationLoss
from iclbook.ridge.prompt import sample_dictionary, sample_labels, sample_tasks
from iclbook.ridge.training import make_optimizer, train

BLOCKS, STEPS = 12, 15
SIZES = dict(N=30, K=200, d=100, m=20, tau=0.01)
H, LARGE = 64, 1_500  # LARGE: rows of the square matrices that show the processor's peak


def a_head_at_a_time(model) -> torch.Tensor:
    """Equation (8) as a loop over heads: the table, (N, K)."""
    table = 0
    for h in range(model.w.shape[0]):
        attention = (model.V.T @ model.Q[:, h] @ model.tokens).softmax(dim=0)  # (N, K)
        table = table + attention * model.w[h]  # (N, K)
    return table


def batched_einsum(model) -> torch.Tensor:
    """Equation (8) as einsum over all heads: the table, (N, K)."""
    logits = torch.einsum("dn,dhe,ek->nhk", model.V, model.Q, model.tokens)  # (N, H, K)
    return torch.einsum("nhk,hk->nk", logits.softmax(dim=0), model.w)


def by_autograd(forward, model, loss, optimizer) -> float:
    """Seconds a step of a forward pass with autograd and an optimiser."""
    start = time.perf_counter()
    for _ in range(STEPS):
        value, _ = loss(forward(model))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return (time.perf_counter() - start) / STEPS


def ours(model, loss, optimizer) -> float:
    """Seconds a step of the book's own loop."""
    start = time.perf_counter()
    collections.deque(train(model, loss, optimizer, STEPS, at=()), maxlen=0)  # to its end
    return (time.perf_counter() - start) / STEPS


def products(model, attention) -> float:
    """Seconds of a step's four products: two forward, and two of their gradients."""
    d, N = model.V.shape
    Q = model.Q.detach().view(d, -1)  # (d, H d)
    start = time.perf_counter()
    for _ in range(STEPS):
        left = model.V.T @ Q  # (N, H d)
        left.view(-1, d) @ model.tokens  # (N H, K)
        right = attention @ model.tokens.T  # (N H, d)
        model.V @ right.view(N, -1)  # (d, H d)
    return (time.perf_counter() - start) / STEPS


def at_peak(square) -> float:
    """Seconds that the products' operations would take at the speed of one large product."""
    start = time.perf_counter()
    square @ square
    seconds = time.perf_counter() - start
    N, K, d = (SIZES[name] for name in "NKd")
    return seconds * 2 * H * N * d * (d + K) / LARGE**3


def softmax(logits) -> float:
    """Seconds of a step's softmax; logits: (N, H, K)."""
    start = time.perf_counter()
    for _ in range(STEPS):
        logits.softmax(dim=0)
    return (time.perf_counter() - start) / STEPS


def passes(model, attention, G) -> float:
    """Seconds of a step's passes over N H K numbers but for softmax: the table, the gradient in
    w and in the logits; attention: (N, H, K), G: (N, K)."""
    w = model.w.detach()
    start = time.perf_counter()
    for _ in range(STEPS):
        (attention * w).sum(dim=1)  # (N, K)
        weighted = attention * G[:, None, :]  # (N, H, K)
        of_w = weighted.sum(dim=0)  # (H, K)
        weighted.addcmul_(attention, of_w, value=-1).mul_(w)
    return (time.perf_counter() - start) / STEPS


def adam_alone(optimizer) -> float:
    """Seconds of Adam on parameters that have gradients."""
    start = time.perf_counter()
    for _ in range(STEPS):
        optimizer.step()
    return (time.perf_counter() - start) / STEPS


def main():
    """Record the ratios of a step's time to, or from, each of the others, and its parts."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    exact = sample_dictionary(**SIZES, generator=generator)
    dictionary, loss = exact.to(torch.float32), PopulationLoss.of(exact, torch.float32)
    tasks = sample_tasks(10_000, SIZES["m"], generator=generator)
    labels = sample_labels(exact, tasks, generator=generator).float()
    batches = BatchLoss(labels, 256, generator=generator)
    step, einsum, module, apart = (
        MultiHeadAttention(dictionary, H, generator=torch.Generator().manual_seed(1))
        for _ in range(4)
    )
    adam = functools.partial(torch.optim.Adam, lr=1e-4)
    attention = step.attention().detach().view(-1, SIZES["K"])  # (N H, K)
    square = torch.randn(LARGE, LARGE, generator=generator)
    weights = apart.attention().detach()  # (N, H, K)
    G = torch.randn(weights.shape[0], weights.shape[2], generator=generator)
    apart.set_gradient(weights, G)
    ways = {
        "softmax": functools.partial(softmax, weights),
        "passes": functools.partial(passes, apart, weights, G),
        "adam": functools.partial(adam_alone, make_optimizer(apart, "adam", 1e-4)),
        "step": functools.partial(ours, step, loss, make_optimizer(step, "adam", 1e-4)),
        "products": functools.partial(products, step, attention),
        "peak": functools.partial(at_peak, square),
        "einsum": functools.partial(
            by_autograd, batched_einsum, einsum, loss, adam(einsum.parameters())
        ),
        "module": functools.partial(
            by_autograd, a_head_at_a_time, module, batches, adam(module.parameters())
        ),
    }
    times = dict(zip(ways, in_turn(list(ways.values()), BLOCKS)))
    torch.testing.assert_close(step(), einsum(), rtol=1e-2, atol=1e-4)  # the same training
    milliseconds = {name: 1e3 * median(seconds) for name, seconds in times.items()}
    for name, took in milliseconds.items():
        print(f"  {name}: {took:.2f} ms")
    record(
        step_ms=milliseconds["step"],
        products_ms=milliseconds["products"],
        softmax_ms=milliseconds["softmax"],
        passes_ms=milliseconds["passes"],
        adam_ms=milliseconds["adam"],
        einsum_ms=milliseconds["einsum"],
        step_over_products=ratio(times["step"], times["products"]),
        step_over_peak=ratio(times["step"], times["peak"]),
        einsum_over_step=ratio(times["einsum"], times["step"]),
        module_a_head_over_step=ratio(times["module"], times["step"]),
    )


if __name__ == "__main__":
    main()
