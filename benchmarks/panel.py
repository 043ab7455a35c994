"""A panel of attention layers trained at once, beside training them one after another. Run:
make bench.

The straightforward way is the module itself, autograd and torch's Adam, a layer after the
other. Both take the same steps on the same prompts from the same starts, in alternating blocks,
so that a machine whose speed drifts slows both; at the end their predictions are compared.
"""

import time
from types import SimpleNamespace

import torch

from iclbook.dual.panel import train_together
from studies.dual.trained.compute import build, prompts
from studies.dual.trained.settings import Trained

BLOCKS, STEPS = 4, 10
SHAPES = {  # name -> what of the grid is kept
    "softmax weights: plain, regularised, negative": dict(c=(), learned=(), crossed=()),
    "with maps: augmented": dict(alphas=(), negatives=(), learned=(), crossed=()),
}


class AsPanel(SimpleNamespace):
    """A panel of one: the layer's own forward pass."""

    def __call__(self, tokens):
        return self.layer(tokens, last_only=True)[:, 0, -1][None]


def measure(settings) -> tuple[int, float, float, float]:
    """(layers, milliseconds a step of all at once, one after another, largest difference of
    predictions)."""
    panels, others = (
        [panel for panel in build(settings, seed=0)[0] if panel.softmax] for _ in range(2)
    )
    layers = [layer for panel in others for layer in panel.layers]
    alone = [
        AsPanel(layer=layer, parameters=dict(layer.named_parameters())) for layer in layers
    ]
    times = []
    for block in range(BLOCKS):
        sample = lambda generator: lambda: prompts(settings, settings.batch, generator)  # noqa: E731
        generator = lambda: torch.Generator().manual_seed(block)  # noqa: B023, E731
        start = time.perf_counter()
        train_together(panels, sample(generator()), STEPS, rates=[1e-3] * len(panels))
        middle = time.perf_counter()
        for one in alone:
            train_together([one], sample(generator()), STEPS, rates=[1e-3])
        times.append(
            (1e3 * (middle - start) / STEPS, 1e3 * (time.perf_counter() - middle) / STEPS)
        )
    with torch.no_grad():
        tokens, _ = prompts(settings, 256, torch.Generator().manual_seed(9))
        together = torch.cat([panel(tokens) for panel in panels])
        gap = (together - torch.cat([one(tokens) for one in alone])).abs().max().item()
    fast, slow = torch.tensor(times[1:]).median(dim=0).values.tolist()
    return len(alone), fast, slow, gap


def main():
    """Print, for each kind of layer, both times and their ratio."""
    torch.set_num_threads(1)
    for name, kept in SHAPES.items():
        count, fast, slow, gap = measure(Trained(**kept))
        print(f"{name}, {count} layers")
        print(f"  all at once:         {fast:7.2f} ms a step")
        print(f"  one after another:   {slow:7.2f} ms a step; {slow / fast:.1f} times as long")
        print(f"  largest difference of predictions after {BLOCKS * STEPS} steps: {gap:.1e}")


if __name__ == "__main__":
    main()
