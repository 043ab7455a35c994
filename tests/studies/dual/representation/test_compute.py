"""What the experiments of *A representation-learning problem* measure."""

import pytest
import torch

from iclbook.catalogue import find
from iclbook.dual.modified import values_less_negatives
from studies.dual.representation.compute import (
    learned_targets,
    random_prompt,
    repeated_steps,
    spread,
)


def generator(seed=7):
    return torch.Generator().manual_seed(seed)


def test_negatives_reach_the_learned_targets_run():
    """All demonstrations as negatives centre the targets: fixed targets then lose their common
    direction."""
    settings = find("ren2024/learned-targets").settings("quick")
    for seed in (7, 8):
        plain, centred = (
            learned_targets(settings, {"targets": "fixed", "centred": each, "seed": seed})
            for each in (False, True)
        )
        ends = [each["paths"].iloc[-1]["mean_share"] for each in (plain, centred)]
        assert ends[1] < ends[0] / 2


def test_a_prompts_negatives_are_its_lowest_scores_and_change_its_targets():
    s = find("ren2024/repeated-steps").quick
    prompt = random_prompt(s, generator())
    chosen = prompt.negatives(3)
    assert chosen.shape == (1, s.N) and chosen.sum() == 3
    assert prompt.scores[chosen[0]].max() < prompt.scores[~chosen[0]].min()
    wanted = values_less_negatives(prompt.values[:-1], chosen, 0.5)[0]
    torch.testing.assert_close(prompt.targets_less_negatives(3, 0.5), wanted)
    # The features are exact, and the kernel's largest value at the query is 1.
    kernel = prompt.phi[:-1] @ prompt.phi[-1]
    assert kernel.max().item() == pytest.approx(1.0, rel=1e-9)
    torch.testing.assert_close(kernel[:-1].log().argsort(), prompt.scores.argsort())
    assert prompt.D.item() == pytest.approx(kernel.sum().item())


def test_paths_without_negatives_have_no_place_for_them():
    s = find("ren2024/repeated-steps").settings(
        "quick", alphas=(0.0, 0.5), negatives=((3, 0.5),), recorded=(0, 1, 4)
    )
    tables = repeated_steps(s, {"seed": 7})
    plain, negatives = tables["plain"], tables["negatives"]
    assert len(plain) == len(negatives) == 6
    assert not {"r", "beta"} & set(plain.columns)
    assert set(zip(negatives["r"], negatives["beta"])) == {(3, 0.5)}
    assert (plain["limit_distance"].isna() == (plain["alpha"] == 0)).all()

    # Plain, alpha = 0: W_t = W_0 + t G, so four steps are three more than one, in units of G.
    path = plain.query("alpha == 0").set_index("step")
    assert abs(path.loc[4, "norm"] - path.loc[1, "norm"] - 3) < 0.2
    # Negatives change the step, not the start.
    first = negatives.query("alpha == 0").set_index("step")
    assert first.loc[0, "norm"] == pytest.approx(path.loc[0, "norm"])
    assert abs(first.loc[1, "norm"] / path.loc[1, "norm"] - 1) > 1e-3


def test_spread_divides_lengths_out():
    line = torch.tensor([[1.0, 2.0], [-1e6, -2e6], [3.0, 6.0]], dtype=torch.float64)
    found = spread(line)
    assert found["effective_rank"] == pytest.approx(1.0)
    assert found["mean_share"] == pytest.approx(1 / 9)
