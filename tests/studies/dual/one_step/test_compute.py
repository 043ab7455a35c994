"""What the experiments of *One attention layer is one gradient step* measure."""

import pytest
import torch
from dual_draws import gen
from torch.nn.functional import scaled_dot_product_attention as sdpa

from iclbook.catalogue import find
from iclbook.dual.attention import SelfAttention
from iclbook.dual.in_context import sample_prompts
from studies.dual.one_step.compute import feature_start, fig3_left, residual, summary, thm31

THM31, FIG3 = find("ren2024/thm31"), find("ren2024/fig3-left")


@pytest.fixture(scope="module")
def small():
    """Settings of two small sets of features, and the tables of the random layer, seed 0."""
    settings = FIG3.settings("quick", prompts=40, d_r=(5, 20))
    return settings, fig3_left(settings, {"weights": "random", "seed": 0})


def test_the_error_is_that_of_the_attention_layer_itself(small):
    """Step 0 by hand: with nothing shown, what is missing is the demonstrations' part of the
    layer's output. Step N: the label's error is the layer's own."""
    s, tables = small
    g = gen(0)
    tokens, labels = sample_prompts(40, s.N, s.d, generator=g, dtype=torch.float64)
    layer = SelfAttention(s.d + 1, s.d_o, generator=g, output=False).double()
    with torch.no_grad():
        q, k, v = layer.project(tokens)
        attention = sdpa(q[..., -1:, :], k, v, scale=1.0)[:, 0, 0]
        own = (q[..., -1:, :] @ k.mT).softmax(-1)[:, 0, 0, -1:] * v[:, 0, -1]
    wanted = (attention - own).square().sum(-1)  # (40,)
    exact = tables["exact"].set_index("step")
    assert exact.loc[0, "single"] == pytest.approx(wanted.mean().item(), rel=1e-10)
    assert exact.loc[0, "single_se"] == pytest.approx(wanted.std().item() / 40**0.5, rel=1e-10)
    label = (attention[:, -1] - labels).square().mean().item()
    assert exact.loc[s.N, "label"] == pytest.approx(label, rel=1e-10)
    assert exact.index.tolist() == list(range(s.N + 1))


def test_features_measured_against_exact_attention_do_not_reach_zero(small):
    settings, tables = small
    end = tables["features"][tables["features"]["step"] == settings.N]
    assert end["d_r"].tolist() == [5, 20]
    assert (end["to_exact"] > 1e-4).all()
    assert (end[["single", "small"]] < 1e-20).all(axis=None)


def test_the_difference_is_taken_prompt_by_prompt(small):
    """Its standard error is smaller than that of the two curves taken apart."""
    _, tables = small
    inner = tables["exact"].query("step in (5, 10)")
    gap = inner["single"] - inner["closed"]
    assert inner["difference"].to_numpy() == pytest.approx(gap.to_numpy(), abs=1e-12)
    apart = (inner["single_se"] ** 2 + inner["closed_se"] ** 2) ** 0.5
    assert (inner["difference_se"] < apart).all()


def test_summary_has_a_row_a_step_with_mean_and_standard_error():
    found = summary((0, 1), {"single": torch.tensor([[1.0, 3.0], [2.0, 2.0]])})
    assert found.columns.tolist() == ["step", "single", "single_se"]
    assert found["single"].tolist() == [2.0, 2.0]
    assert found["single_se"].tolist() == pytest.approx([1.0, 0.0])


def test_a_residual_is_relative_to_the_weighted_absolute_values():
    """Attention shifted by a known part of the scale: that part is what is returned."""
    g = gen(1)
    keys, values, query = (
        torch.randn(n, 3, generator=g, dtype=torch.float64) for n in (6, 6, 1)
    )
    w = torch.randn(20, 3, generator=g, dtype=torch.float64)
    start, phi_k, phi_q = feature_start(keys, values, query, w)
    weights = (phi_q @ phi_k.T) / (phi_q @ phi_k.T).sum()
    shifted = weights @ values + 1e-3 * weights @ values.abs()
    found = residual(start, phi_k, phi_q, values, torch.arange(5), weights, shifted)
    assert found == pytest.approx((1e-3, 1e-3), rel=1e-9)


def test_residuals_of_the_theorem_are_rounding_and_scores_are_large():
    s = THM31.settings("quick", trials=15)
    tables = thm31(s, {"seed": 3})
    residuals, prompts = tables["residuals"], tables["prompts"]
    assert len(residuals) == 30 and len(prompts) == 15
    assert (residuals[["one_step", "single_steps"]] < 1e-12).all(axis=None)
    assert prompts["largest_score"].max() > 20
