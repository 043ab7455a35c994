"""A panel of layers trained at once, beside training them one after another. Run: make bench.

The straightforward way is the module itself, autograd and torch's Adam, a layer after the
other. Both take the same steps on the same prompts from the same starts, in alternating blocks,
so that a machine whose speed drifts slows both; at the end their predictions are compared.
"""

import functools
import time

import torch
from summary import record

from iclbook.dual.panel import PanelOfOne, train_together
from studies.dual.trained.compute import build, prompts
from studies.dual.trained.settings import Trained

BLOCKS, STEPS = 4, 10
SHAPES = {  # name -> what of the grid is kept
    "softmax weights: plain, regularised, negative": dict(c=(), learned=(), crossed=()),
    "with maps: augmented": dict(alphas=(), negatives=(), learned=(), crossed=()),
}


class Alone(torch.nn.Module):
    """A layer by its own forward pass: tokens (B, N + 1, width) -> predictions (B,)."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, tokens):
        return self.layer(tokens, last_only=True)[:, 0, -1]


def train(settings, panels, seed: int) -> float:
    """Milliseconds a step of some steps from a seed's prompts."""
    generator, start = torch.Generator().manual_seed(seed), time.perf_counter()
    sample = functools.partial(prompts, settings, settings.batch, generator)
    for _ in train_together(panels, sample, STEPS, rates=[1e-3] * len(panels), at=[STEPS]):
        pass
    return 1e3 * (time.perf_counter() - start) / STEPS


def measure(settings) -> tuple[int, float, float, float]:
    """(layers, milliseconds a step of all at once, one after another, largest difference of
    predictions)."""
    panels, others = (
        [panel for panel in build(settings, seed=0)[0] if panel.softmax] for _ in range(2)
    )
    layers = [layer for panel in others for layer in panel.layers]
    alone = [PanelOfOne(Alone(layer)) for layer in layers]
    times = []
    for block in range(BLOCKS):
        together = train(settings, panels, block)
        times.append((together, sum(train(settings, [one], block) for one in alone)))
    with torch.no_grad():
        tokens, _ = prompts(settings, 256, torch.Generator().manual_seed(9))
        predictions = torch.cat([panel(tokens) for panel in panels])
        gap = (predictions - torch.cat([one(tokens) for one in alone])).abs().max().item()
    fast, slow = torch.tensor(times[1:]).median(dim=0).values.tolist()
    return len(alone), fast, slow, gap


def main():
    """Print, for each kind of layer, both times and their ratio; record that of both kinds."""
    torch.set_num_threads(1)
    total = [0.0, 0.0]
    for name, kept in SHAPES.items():
        count, fast, slow, gap = measure(Trained(**kept))
        print(f"{name}, {count} layers")
        print(f"  all at once:         {fast:7.2f} ms a step")
        print(f"  one after another:   {slow:7.2f} ms a step; {slow / fast:.1f} times as long")
        print(f"  largest difference of predictions after {BLOCKS * STEPS} steps: {gap:.1e}")
        total = [total[0] + fast, total[1] + slow]
    record(panel_speedup=total[1] / total[0])


if __name__ == "__main__":
    main()
