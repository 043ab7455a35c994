"""Figure 2a's training from start to end, two seeds at a time and one by itself. Run: make
bench."""

import dataclasses
from statistics import mean

import joblib
from summary import record

from iclbook.catalogue import find
from iclbook.runner import compute_point


def seconds_of(point: dict) -> float:
    """Seconds of one point of the full profile, on one thread."""
    experiment = find("yang2024/fig2a")
    return compute_point(experiment, experiment.settings("full"), point)[1]


def main():
    """Record the seconds of a seed, a mean, and of one alone: unit tokens, population loss."""
    full = find("yang2024/fig2a").settings("full")
    chosen = dataclasses.replace(full, losses=("population",), tokens=("unit",), seeds=(0, 1))
    seconds = joblib.Parallel(n_jobs=2)(map(joblib.delayed(seconds_of), chosen.points()))
    each = ", ".join(f"{took:.0f} s" for took in seconds)
    print(f"  {full.steps:,} steps, two seeds at a time: {each}")
    alone = seconds_of(chosen.points()[0])
    record(fig2a_seconds_per_seed=mean(seconds), fig2a_seconds_alone=alone)


if __name__ == "__main__":
    main()
