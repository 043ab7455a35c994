"""Claims of the chapter on the softmax kernel say no to false data; its experiments are what
they say."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from claims import outcome

from iclbook.catalogue import find
from iclbook.dual.kernel import attention_variance, draw_directions, log_gaussian_kernel
from studies.dual.kernel.compute import features_variance, projected_prompt
from studies.dual.kernel.tables import log_slopes

D_R = (10, 100, 1_000)


def identity_table(kernel=1e-14, shifted_features=1e-14):
    row = dict(seed=0, width=3, norm=20.0, kernel=kernel, shifted_features=shifted_features)
    return {"ren2024/kernel-identity": {"errors": pd.DataFrame([row])}}


def variance_table(**changes):
    values = dict(mean=1.01, mean_error=0.01, mean_exact=1.0)
    values |= dict(variance=0.52, variance_error=0.01, variance_exact=0.5)
    rows = [
        {"cosine": 0.0, "seed": 0, "features": kind}
        | values
        | (changes if kind == "orthogonal" else {})
        for kind in ("iid", "orthogonal", "trigonometric")
    ]
    return {"ren2024/features-variance": {"moments": pd.DataFrame(rows)}}


def error_table(slopes=(), beyond=-0.3):
    """Power laws, -1 for MSE and -1/2 for MAE unless `slopes` says otherwise; shallow beyond a
    mean of 1."""
    slopes, rows = dict(slopes), []
    kinds = ("iid", "orthogonal", "trigonometric")
    for size, kind, seed, d_r in product((0.25, 1.0, 4.0), kinds, (0, 1), D_R):
        row = dict(squared_sum=size, seed=seed, features=kind, d_r=d_r)
        for error, nominal in (("MSE", -1.0), ("MAE", -0.5)):
            for part in ("matrix", "output"):
                name = f"{part}_{error}"
                exponent = beyond if size > 1 else slopes.get((size, kind, name), nominal)
                # The wobble averages out over the seeds.
                row[name] = 3 * d_r ** (exponent + 0.05 * (2 * seed - 1))
        rows.append(row)
    return {"ren2024/fig27-error": {"errors": pd.DataFrame(rows)}}


@pytest.mark.parametrize(
    ("claim", "true", "false"),
    [
        ("kernel-identity", identity_table(), identity_table(kernel=1e-5)),
        ("kernel-identity", identity_table(), identity_table(shifted_features=2e-10)),
        ("kernel-identity", identity_table(), identity_table(kernel=np.nan)),
        ("features-unbiased", variance_table(), variance_table(mean=1.05)),
        ("features-unbiased", variance_table(), variance_table(mean=0.95)),
        ("features-unbiased", variance_table(), variance_table(variance=0.44)),
        ("features-unbiased", variance_table(), variance_table(variance=np.nan)),
        (
            "features-error-rate",
            error_table(),
            error_table({(1.0, "iid", "matrix_MSE"): -0.85}),
        ),
        (
            "features-error-rate",
            error_table(),
            error_table({(0.25, "orthogonal", "output_MSE"): -1.2}),
        ),
        (
            "features-error-rate",
            error_table(),
            error_table({(1.0, "iid", "output_MAE"): -0.42}),
        ),
        (
            "features-error-rate",
            error_table(),
            error_table({(0.25, "iid", "matrix_MAE"): np.nan}),
        ),
    ],
)
def test_claims_say_no_to_false_data(claim, true, false):
    assert outcome(f"ren2024/{claim}", true).verdict == "reproduced"
    assert outcome(f"ren2024/{claim}", false).verdict == "not reproduced"


def test_the_rate_is_not_asked_of_waves_or_of_long_tokens():
    table = error_table({(1.0, "trigonometric", "matrix_MSE"): 0.3}, beyond=0.0)
    assert outcome("ren2024/features-error-rate", table).verdict == "reproduced"


def test_log_slopes_double_those_of_the_mean_absolute_error():
    table = error_table({(1.0, "iid", "output_MAE"): -0.4})["ren2024/fig27-error"]["errors"]
    slopes = log_slopes(table).loc[1.0, "iid"].mean()
    assert slopes["output_MAE"] == pytest.approx(-0.8)
    assert slopes["output_MSE"] == pytest.approx(-1.0)


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
    tables = experiment.resolve()(s, {"squared_sum": 0.05, "seed": 0})
    found, first_order = tables["errors"].iloc[0], tables["first_order"].iloc[0]
    for name in ("matrix_MSE", "output_MSE"):
        distance = abs(found[name] - first_order[name])
        assert distance < 5 * found[f"{name}_error"] + 0.05 * found[name]
    assert found["kernel_MSE"] == pytest.approx(found["kernel_MSE_exact"], rel=0.5)


def test_two_draws_by_hand():
    experiment = find("ren2024/fig27-error")
    s = experiment.settings("quick", d_r=(10,), draws=2, features=("iid",))
    tables = experiment.resolve()(s, {"squared_sum": 9.0, "seed": 0})
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
    output = matrix @ values
    wanted = {
        "kernel_MSE": (estimate / kernel - 1).square(),
        "matrix_MSE": matrix.square(),
        "matrix_MAE": matrix.abs(),
        "output_MSE": output.square(),
        "output_MAE": output.abs(),
    }
    for name, value in wanted.items():
        assert tables["errors"].loc[0, name] == pytest.approx(value.mean().item(), rel=1e-9)
    first = attention_variance(queries, keys, values, 10).mean().item()
    assert tables["first_order"].loc[0, "output_MSE"] == pytest.approx(first, rel=1e-9)


def test_heat_maps_are_attention_matrices():
    experiment = find("ren2024/fig26-heatmaps")
    s = experiment.settings("quick", d_r=(10, 20_000))
    tables = experiment.resolve()(s, {"squared_sum": 1.0, "seed": 0})
    weights = tables["weights"].set_index(["query", "key", "d_r"])["estimated"].unstack("d_r")
    exact = tables["exact"].set_index(["query", "key"])["weight"]
    every = weights.assign(exact=exact)
    assert every.groupby("query").sum().to_numpy() == pytest.approx(1.0)
    assert (every > 0).all(axis=None) and (every.groupby("query").size() == 16).all()
    error = weights.sub(exact, axis=0).abs().mean()
    assert error[20_000] < 0.2 * error[10]


def test_each_kind_of_features_has_the_variance_of_its_own_kind():
    settings = find("ren2024/features-variance").quick
    point = {"cosine": 0.5, "seed": 3}
    found = features_variance(settings, point)["moments"].set_index("features")
    square, inner = settings.squared_norm, settings.squared_norm * 0.5
    second, mean = math.exp(2 * square + 4 * inner), math.exp(inner)  # of one iid term
    iid, orthogonal = found["variance_exact"][["iid", "orthogonal"]]
    assert iid == pytest.approx((second - mean**2) / settings.d_r)
    assert orthogonal < 0.999 * iid
    off = (found["variance"] - found["variance_exact"]).abs() / found["variance_error"]
    assert (off < 5).all()
    assert found["mean_exact"].tolist() == pytest.approx([mean] * 3)
