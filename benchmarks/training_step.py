"""One training step of the one-layer model at Figure 2a's size, beside the straightforward way.
Run: make bench.

The straightforward way is what equation (8) says: a loop over heads, autograd, torch's default
Adam. Both train from the same start in alternating blocks of one run, so that a machine whose
speed drifts slows both.
"""

import collections
import time

import torch

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer, train

BLOCKS, STEPS = 8, 15


def straightforward(model, loss, optimizer, steps):
    """A head at a time, gradients by autograd."""
    for _ in range(steps):
        table = 0
        for h in range(model.w.shape[0]):
            attention = (model.V.T @ model.Q[:, h] @ model.tokens).softmax(dim=0)  # (N, K)
            table = table + attention * model.w[h]  # (N, K)
        value, _ = loss(table)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def main():
    """Print milliseconds a step, each way, and their ratio."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    dictionary = sample_dictionary(
        30, 200, 100, 20, 0.01, generator=generator, dtype=torch.float32
    )
    ours, theirs = (
        MultiHeadAttention(dictionary, 64, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    loss = PopulationLoss.of(dictionary)
    adam, plain = (
        make_optimizer(ours, "adam", 1e-4),
        torch.optim.Adam(theirs.parameters(), lr=1e-4),
    )
    times = []
    for _ in range(BLOCKS):
        start = time.perf_counter()
        collections.deque(train(ours, loss, adam, STEPS, at=()), maxlen=0)  # run it to its end
        middle = time.perf_counter()
        straightforward(theirs, loss, plain, STEPS)
        times.append(
            (1e3 * (middle - start) / STEPS, 1e3 * (time.perf_counter() - middle) / STEPS)
        )
    fast, slow = torch.tensor(times[1:]).median(dim=0).values.tolist()
    ratio = torch.tensor([b / a for a, b in times[1:]]).median().item()
    torch.testing.assert_close(ours(), theirs(), rtol=1e-2, atol=1e-4)
    print(f"one matrix product a stage, closed-form gradient: {fast:6.2f} ms a step")
    print(f"a loop over heads, autograd:                      {slow:6.2f} ms a step")
    print(f"ratio, block by block, median:                    {ratio:6.2f}")


if __name__ == "__main__":
    main()
