"""The experiments on small settings, against other routes to their numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from iclbook.catalogue import find
from iclbook.ridge.heads import one_signed_fits
from iclbook.ridge.population_loss import PopulationLoss, optimal_weights
from iclbook.ridge.unseen import IN_DOMAIN, expected_error
from iclbook.runner import live
from studies.bridge.failure_signatures import compute


@pytest.fixture(scope="module")
def results():
    names = ("shifts", "lengths", "training", "interventions")
    return {name: live(find(f"stress/{name}"), "quick") for name in names}


def test_prompts_are_what_they_are_called():
    s = find("stress/shifts").quick
    generator = torch.Generator().manual_seed(0)
    for shift, size, sets in compute.prompts_of(s, generator):
        shown = [set(row.tolist()) for row in sets]
        if shift == "dropped":
            assert all(len(row) == s.N - size == sets.shape[1] for row in shown)
        elif shift == "replaced":
            assert all(len(row) == s.N for row in shown) and int(sets.max()) < 2 * s.N
            assert ((sets >= s.N).sum(dim=1) == size).all()
        elif shift == "repeated":
            counts = torch.stack([torch.bincount(row) for row in sets])
            assert (counts.max(dim=1).values == size).all()
            assert (counts.argmax(dim=1) == torch.arange(s.N))[: len(sets)].all() or size == 1
        else:
            assert (sets.sort(dim=1).values == torch.arange(s.N)).all()


def test_sampled_errors_are_those_expected_whatever_the_table(results):
    rows = results["shifts"]["errors"]
    off = (rows["sampled"] - rows["model"]).abs() / rows["deviation"]
    wide = rows["shift"].isin(["dropped", "replaced", "repeated"])  # few prompts: drawn sets
    assert (off[~wide] <= 5).all()
    assert ((rows["sampled"] / rows["model"] - 1).abs()[wide] <= 0.3).all()
    assert (rows["model"] >= rows["best"] * (1 - 1e-9)).all()


def test_theory_is_that_of_the_best_table(results):
    s = results["shifts"].settings
    exact = compute.small_dictionary(s, s.N, 0)
    error = expected_error(optimal_weights(exact), exact, IN_DOMAIN)[2 * s.N :].mean().item()
    rows = results["shifts"]["errors"].query("shift == 'noise' and size == 0")
    np.testing.assert_allclose(rows["theory"], error, rtol=1e-9)


def test_one_seed_has_one_dictionary_whatever_the_length():
    s = find("stress/lengths").quick
    short, long = (compute.small_dictionary(s, N, 3) for N in (3, 9))
    assert torch.equal(short.tokens, long.tokens) and torch.equal(short.features, long.features)
    assert not torch.equal(short.tokens, compute.small_dictionary(s, 3, 4).tokens)
    torch.testing.assert_close(short.tokens.norm(dim=0), torch.ones(s.K, dtype=torch.float64))
    near = compute.small_dictionary(s, 3, 3, correlation=0.9)
    cosines = near.tokens.T @ near.tokens
    assert cosines[~torch.eye(s.K, dtype=torch.bool)].mean() > 0.8


def test_noise_in_training_leads_to_its_own_table(results):
    s = results["training"].settings
    noisy = compute.small_dictionary(s, s.N, 0, tau=1.0)
    clean = replace(noisy, tau=s.tau)
    error = expected_error(optimal_weights(noisy), clean, IN_DOMAIN)[s.N :].mean().item()
    rows = results["training"]["errors"].query("variant == 'noise' and value == 1")
    np.testing.assert_allclose(rows["theory"], error, rtol=1e-9)
    last = rows[rows["step"] == s.steps]
    assert last["error"].item() == pytest.approx(error, rel=0.01)


def test_heads_that_are_all_gone_leave_zero_and_all_swapped_a_trained_model(results):
    s, several = results["interventions"].settings, results["interventions"]["several"]
    last = several.query("count == @s.H")
    np.testing.assert_allclose(last["removed"], last["zero"], rtol=1e-9)
    end = last[last["step"] == s.steps]
    assert (end["swapped"] < 3 * end["best"]).all()


def test_the_bound_of_one_sign_is_that_of_the_heads_chapter(results):
    s = results["interventions"].settings
    losses = one_signed_fits(PopulationLoss.of(compute.small_dictionary(s, s.N, 0)))[1]
    rows = results["interventions"]["signs"].query("signs == 'positive'")
    np.testing.assert_allclose(rows["bound"], losses[0].mean().item(), rtol=1e-9)
    assert (rows["excess_loss"] >= rows["bound"]).all()
