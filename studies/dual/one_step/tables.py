"""Checks of the chapter *One attention layer is one gradient step*."""

import pandas as pd

from iclbook.claim import Outcome, at_most

DIGITS = 1e-9  # relative to a curve's start: the store keeps ten digits


def largest_residual(results, threshold, kernel, measures) -> Outcome:
    """Largest residual of a kernel over trials and seeds."""
    residuals = results["ren2024/thm31"]["residuals"].set_index("kernel").loc[kernel, measures]
    return at_most(residuals.max(axis=None, skipna=False), threshold)


def relative(curves: pd.DataFrame, keys: list[str], measure: str = "single") -> pd.DataFrame:
    """Curves over their value at step 0: a row for each combination of `keys`, a column a
    step."""
    wide = curves.pivot(index=keys, columns="step", values=measure)
    return wide.div(wide[0], axis=0)


def thm31_one_demonstration_a_step(results, threshold) -> Outcome:
    """Largest error at step N over that at step 0, each kernel against its own attention.

    Also wanted: at every earlier step every such curve is above the threshold.
    """
    fig3 = results["ren2024/fig3-left"]
    exact = relative(fig3["exact"], ["weights", "seed"])
    features = relative(fig3["features"], ["weights", "seed", "d_r"])
    every = pd.concat([exact, features.droplevel("d_r")])
    last = every[fig3.settings.N].max(skipna=False)
    early = every[list(fig3.settings.dual_steps[:-1])].min(axis=None, skipna=False)
    outcome = at_most(last, threshold)
    return outcome if early > threshold else Outcome("not reproduced", outcome.measured)


def over_seeds(curves: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Every curve's mean over seeds and, under the ending _se, the standard error that follows
    from those of the seeds; indexed by `keys`."""
    grouped = curves.drop(columns="seed").groupby(keys)
    errors = [name for name in curves if name.endswith("_se")]
    found = grouped.mean()
    found[errors] = grouped[errors].agg(lambda each: (each**2).sum() ** 0.5 / len(each))
    return found


def against_closed_form(fig3) -> pd.DataFrame:
    """By layer, over seeds: the error of single steps at step 0 and at step N, the extremes of
    its ratio to the closed form between, and the relative standard error in the middle."""
    N, curves = fig3.settings.N, over_seeds(fig3["exact"], ["weights", "step"])
    mean, error, closed = (curves[name].unstack() for name in ("single", "single_se", "closed"))
    ratios = (mean / closed)[range(1, N - 1)]
    columns = {"start": mean[0], "end": mean[N], "relative_se": (error / closed)[N // 2]}
    return pd.DataFrame(columns | {"lowest": ratios.min(axis=1), "highest": ratios.max(axis=1)})


def floors(fig3) -> pd.DataFrame:
    """By layer and d_r, over seeds: the error left at step N against exact attention, over the
    exact kernel's first error, with its standard error; that against its own attention, over
    its own first."""
    features = over_seeds(fig3["features"], ["weights", "d_r", "step"])
    exact = over_seeds(fig3["exact"], ["weights", "step"])["single"].xs(0, level="step")
    start, end = (features.xs(step, level="step") for step in (0, fig3.settings.N))
    found = end[["to_exact", "to_exact_se"]].div(exact, axis=0, level="weights")
    return found.assign(own=end["single"] / start["single"])


def over_start(exact: pd.DataFrame) -> pd.DataFrame:
    """The curves single, small and closed, and the difference, over the closed form at step 0
    of the same layer and seed."""
    start = exact[exact["step"] == 0].set_index(["weights", "seed"])["closed"]
    curves = exact.set_index(["weights", "seed", "step"])
    return curves[["single", "small", "closed", "difference"]].div(start, axis=0)


def parabola(steps, N: int):
    """(1 - t / N)^2: what small full steps leave of the first error."""
    return (1 - steps / N) ** 2


def steps_average_over_orders(results, threshold) -> Outcome:
    """Largest |mean difference from the closed form| in standard errors, over steps 1 to N - 1.

    Also wanted, to the digits of the store: the difference is that of the two curves, both
    start alike and end at 0, small full steps follow the parabola, and the closed form lies on
    or above it.
    """
    fig3 = results["ren2024/fig3-left"]
    N, exact = fig3.settings.N, fig3["exact"]
    inner = exact[exact["step"].between(1, N - 1)]
    distance = (inner["difference"] / inner["difference_se"]).abs()
    outcome = at_most(distance.max(skipna=False), threshold)

    curves = over_start(exact)
    steps = curves.index.get_level_values("step")
    ends = curves[steps.isin([0, N])]
    agree = [
        curves["single"] - curves["closed"] - curves["difference"],
        curves["small"] - parabola(steps, N),
        ends["closed"] - parabola(steps[steps.isin([0, N])], N),
        ends["difference"],
        (curves["closed"] - curves["small"]).clip(upper=0),
    ]
    as_said = all(each.abs().max(skipna=False) <= DIGITS for each in agree)
    return outcome if as_said else Outcome("not reproduced", outcome.measured)
