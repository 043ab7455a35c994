"""How a training step's time grows with each size of the one-layer model. Run: make bench.

Each size is halved, doubled and taken four times with all others as in Figure 2a. The slope is
that of a straight line through log time against log size; beside it stands that of the
operations counted on paper.
"""

import functools

import torch
from summary import in_turn, record
from training_step import SIZES, H, ours

from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer
from iclbook.statistics import loglog_slope

BLOCKS = 6
BASE = SIZES | {"H": H}
FACTORS = {"K": (0.5, 1, 2, 4), "H": (0.5, 1, 2, 4), "N": (0.5, 1, 2, 4), "d": (0.5, 1, 2, 4)}
FACTORS["m"] = (0.25, 0.5, 1)  # a prompt of N tokens shows no more than N functions


def operations(N: int, K: int, d: int, H: int, **_) -> int:
    """Of one step: four products, some ten passes over the attention, the gradient with respect
    to the table, and Adam's ten passes over Q. None of them knows m: the loss needs only the
    covariance of the labels."""
    return 4 * H * N * d * (d + K) + 10 * N * H * K + 2 * N * N * K + 10 * H * d * d


def step_of(sizes: dict):
    """A call that trains for some steps at these sizes and returns the seconds a step."""
    generator = torch.Generator().manual_seed(0)
    shape = {name: value for name, value in sizes.items() if name != "H"}
    exact = sample_dictionary(**shape, generator=generator)
    dictionary, loss = exact.to(torch.float32), PopulationLoss.of(exact, torch.float32)
    model = MultiHeadAttention(dictionary, sizes["H"], generator=generator)
    return functools.partial(ours, model, loss, make_optimizer(model, "adam", 1e-4))


def main():
    """Record a slope for each size, and that of the operations where there is one."""
    torch.set_num_threads(1)
    found, counted = {}, {}
    for name, factors in FACTORS.items():
        grown = [BASE | {name: round(BASE[name] * factor)} for factor in factors]
        times = in_turn([step_of(sizes) for sizes in grown], BLOCKS)
        middle = [sorted(seconds)[len(seconds) // 2] for seconds in times]
        values = [sizes[name] for sizes in grown]
        found[name] = loglog_slope(values, middle).estimate
        counted[name] = loglog_slope(values, [operations(**each) for each in grown]).estimate
        each = ", ".join(f"{1e3 * seconds:.2f}" for seconds in middle)
        print(f"  {name} = {values}: {each} ms")
    record(slope_K=found["K"], slope_counted_K=counted["K"])
    record(slope_H=found["H"], slope_counted_H=counted["H"])
    record(slope_N=found["N"], slope_counted_N=counted["N"])
    record(slope_d=found["d"], slope_counted_d=counted["d"])
    record(slope_m=found["m"])


if __name__ == "__main__":
    main()
