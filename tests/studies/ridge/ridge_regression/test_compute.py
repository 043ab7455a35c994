"""The task domains and inequalities of Theorem 2's experiments."""

import pytest
import torch
from ridge_draws import dictionary, generator

from iclbook.ridge import ridge_regression as rr
from studies.ridge.ridge_regression import compute as experiments
from studies.ridge.ridge_regression import tables
from studies.ridge.ridge_regression.settings import DOMAINS, ErrorBound


def test_settings_compute_and_tables_name_the_same_domains():
    assert experiments.DOMAINS == DOMAINS == tables.DOMAINS


def test_task_domains_are_what_they_say():
    tasks = {
        name: experiments.draw_tasks(name, 50_000, 4, generator(1))
        for name in experiments.DOMAINS
    }
    for name in ("in-domain", "signs", "one basis function"):  # entries of mean square 1
        torch.testing.assert_close(
            tasks[name].square().mean(dim=0),
            torch.ones(4, dtype=torch.float64),
            rtol=0.05,
            atol=0,
        )
    torch.testing.assert_close(
        tasks["out-of-domain"].mean(dim=0),
        torch.ones(4, dtype=torch.float64),
        rtol=0.05,
        atol=0,
    )
    assert set(tasks["signs"].unique().tolist()) == {-1.0, 1.0}
    assert (tasks["one basis function"].count_nonzero(dim=1) == 1).all()
    for name in ("signs", "one basis function"):
        torch.testing.assert_close(
            tasks[name].norm(dim=1), torch.full((50_000,), 2.0, dtype=torch.float64)
        )


def test_the_bound_of_gaussian_tasks_adds_the_mean_to_the_spread():
    D, delta = dictionary(m=4), 0.02
    spread = rr.chi_square_bound(torch.ones(4, dtype=torch.float64), delta / 2) ** 0.5
    inside, outside = (
        experiments.energy_bound(name, D, delta) for name in ("in-domain", "out-of-domain")
    )
    assert inside == pytest.approx(spread**2 * rr.label_energy_bound(D, 1.0, delta / 2))
    assert outside == pytest.approx(
        (2 + 2 * spread) ** 2 * rr.label_energy_bound(D, 1.0, delta / 2)
    )


def test_the_worst_label_is_worse_than_random_ones():
    tables = experiments.thm2_error_bound(ErrorBound(instances=100), {"seed": 0})
    worst, random = (tables["ratios"][f"{name}_label"] for name in ("worst", "random"))
    assert (worst >= random * (1 - 1e-9)).all()
    assert worst.max() == pytest.approx(1.0)
