"""Claims of the chapter on the softmax kernel say no to false data; its experiments are what
they say."""

import numpy as np
import pandas as pd
import pytest
import torch

from iclbook.claim import all_claims
from iclbook.dual.kernel import attention_variance, draw_directions, log_gaussian_kernel
from studies.catalogue import find
from studies.dual.kernel.compute import projected_prompt
from studies.dual.kernel.tables import log_slopes

D_R = (10, 100, 1_000)


def identity_table(kernel=1e-14, shifted=1e-14):
    rows = [(0, 3, 20.0, "kernel", kernel), (0, 3, 20.0, "shifted features", shifted)]
    return {
        "ren2024/kernel-identity": pd.DataFrame(
            rows, columns=["seed", "width", "norm", "quantity", "value"]
        )
    }


def variance_table(**changes):
    values = {
        "mean": 1.01,
        "mean error": 0.01,
        "mean exact": 1.0,
        "variance": 0.52,
        "variance error": 0.01,
        "variance exact": 0.5,
    }
    rows = []
    for features in ("iid", "orthogonal", "trigonometric"):
        cell = values | (changes if features == "orthogonal" else {})
        rows += [(0.0, 0, features, name, value) for name, value in cell.items()]
    return {
        "ren2024/features-variance": pd.DataFrame(
            rows, columns=["cosine", "seed", "features", "quantity", "value"]
        )
    }


def error_table(slopes=(), beyond=-0.3):
    """Power laws, -1 for MSE and -1/2 for MAE unless `slopes` says otherwise; shallow beyond a
    mean of 1."""
    slopes, rows = dict(slopes), []
    for size in (0.25, 1.0, 4.0):
        for features in ("iid", "orthogonal", "trigonometric"):
            for quantity in ("matrix MSE", "matrix MAE", "output MSE", "output MAE"):
                exponent = -1.0 if quantity.endswith("MSE") else -0.5
                exponent = (
                    beyond if size > 1 else slopes.get((size, features, quantity), exponent)
                )
                for seed in (0, 1):
                    wobble = 0.05 * (2 * seed - 1)  # averages out over the seeds
                    rows += [
                        (size, seed, features, d_r, quantity, 3 * d_r ** (exponent + wobble))
                        for d_r in D_R
                    ]
    columns = ["squared_sum", "seed", "features", "d_r", "quantity", "value"]
    return {"ren2024/fig27-error": pd.DataFrame(rows, columns=columns)}


@pytest.mark.parametrize(
    ("claim", "true", "false"),
    [
        ("kernel-identity", identity_table(), identity_table(kernel=1e-5)),
        ("kernel-identity", identity_table(), identity_table(shifted=2e-10)),
        ("kernel-identity", identity_table(), identity_table(kernel=np.nan)),
        ("features-unbiased", variance_table(), variance_table(mean=1.05)),
        ("features-unbiased", variance_table(), variance_table(mean=0.95)),
        ("features-unbiased", variance_table(), variance_table(variance=0.44)),
        ("features-unbiased", variance_table(), variance_table(variance=np.nan)),
        (
            "features-error-rate",
            error_table(),
            error_table({(1.0, "iid", "matrix MSE"): -0.85}),
        ),
        (
            "features-error-rate",
            error_table(),
            error_table({(0.25, "orthogonal", "output MSE"): -1.2}),
        ),
        (
            "features-error-rate",
            error_table(),
            error_table({(1.0, "iid", "output MAE"): -0.42}),
        ),
        (
            "features-error-rate",
            error_table(),
            error_table({(0.25, "iid", "matrix MAE"): np.nan}),
        ),
    ],
)
def test_claims_say_no_to_false_data(claim, true, false):
    claim = all_claims()[f"ren2024/{claim}"]
    assert claim.check(true).verdict == "reproduced"
    assert claim.check(false).verdict == "not reproduced"


def test_the_rate_is_not_asked_of_waves_or_of_long_tokens():
    claim = all_claims()["ren2024/features-error-rate"]
    assert (
        claim.check(
            error_table({(1.0, "trigonometric", "matrix MSE"): 0.3}, beyond=0.0)
        ).verdict
        == "reproduced"
    )


def test_log_slopes_double_those_of_the_mean_absolute_error():
    slopes = (
        log_slopes(error_table({(1.0, "iid", "output MAE"): -0.4})["ren2024/fig27-error"])
        .groupby(level=[0, 1, 2])
        .mean()
    )
    assert slopes[1.0, "iid", "output MAE"] == pytest.approx(-0.8)
    assert slopes[1.0, "iid", "output MSE"] == pytest.approx(-1.0)


@pytest.mark.parametrize("size", [0.25, 16.0])
def test_projected_prompt_has_the_wanted_mean(size):
    queries, keys, values = projected_prompt(15, 11, size, torch.Generator().manual_seed(0))
    assert queries.shape == keys.shape == values.shape == (16, 11)
    mean = (queries[:, None] + keys).square().sum(-1).mean()
    torch.testing.assert_close(
        mean, torch.tensor(size, dtype=torch.float64), rtol=1e-10, atol=0
    )
    assert log_gaussian_kernel(queries, keys).min() < 0


def test_errors_of_the_experiment_approach_their_first_order_values():
    experiment = find("ren2024/fig27-error")
    s = experiment.settings(
        "quick", seeds=(0,), squared_sums=(0.05,), d_r=(400,), draws=60, features=("iid",)
    )
    table = (
        experiment.function()(s, {"squared_sum": 0.05, "seed": 0})
        .query("d_r > 0")
        .set_index("quantity")["value"]
    )
    for part in ("matrix", "output"):
        distance = abs(table[f"{part} MSE"] - table[f"{part} MSE first order"])
        assert distance < 5 * table[f"{part} MSE error"] + 0.05 * table[f"{part} MSE"]
    assert table["kernel MSE"] == pytest.approx(table["kernel MSE exact"], rel=0.5)


def test_two_draws_by_hand():
    experiment = find("ren2024/fig27-error")
    s = experiment.settings("quick", d_r=(10,), draws=2, features=("iid",))
    table = (
        experiment.function()(s, {"squared_sum": 9.0, "seed": 0})
        .query("d_r > 0")
        .set_index("quantity")["value"]
    )
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = projected_prompt(15, 11, 9.0, generator)
    w = torch.stack([draw_directions(10, 11, generator=generator) for _ in range(2)])[
        :, None
    ]  # (2, 1, d_r, d)
    kernel = (queries @ keys.T).exp()
    sums = queries[:, None] + keys  # (16, 16, d)
    estimate = kernel * (sums @ w.mT - sums.square().sum(-1, keepdim=True) / 2).exp().mean(
        -1
    )  # (2, 16, 16)
    matrix = estimate / estimate.sum(-1, keepdim=True) - (queries @ keys.T).softmax(-1)
    wanted = {
        "kernel MSE": (estimate / kernel - 1).square().mean(),
        "matrix MSE": matrix.square().mean(), "matrix MAE": matrix.abs().mean(),
        "output MSE": (matrix @ values).square().mean(), "output MAE": (matrix @ values).abs().mean(),
        "output MSE first order": attention_variance(queries, keys, values, 10).mean(),
    }  # fmt: skip
    for name, value in wanted.items():
        assert table[name] == pytest.approx(value.item(), rel=1e-9), name


def test_heat_maps_are_attention_matrices():
    experiment = find("ren2024/fig26-heatmaps")
    s = experiment.settings("quick", d_r=(10, 20_000))
    table = experiment.function()(s, {"squared_sum": 1.0, "seed": 0})
    rows = table.groupby(["d_r", "query"])["value"]
    assert (
        rows.sum().to_numpy() == pytest.approx(1.0)
        and (table["value"] > 0).all()
        and (rows.size() == 16).all()
    )
    wide = table.pivot(index=["query", "key"], columns="d_r", values="value")
    error = wide.sub(wide[0], axis=0).abs().mean()
    assert error[20_000] < 0.2 * error[10]
