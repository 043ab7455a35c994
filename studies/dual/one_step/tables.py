"""Checks of the chapter *One attention layer is one gradient step*."""

from iclbook.claim import Outcome, at_most

SINGLE, SMALL, CLOSED = (
    "one demonstration a step",
    "all, a rate of eta / N",
    "closed form over orders",
)


def _residual(tables, kernel: str, quantities: list[str]) -> float:
    """Largest residual over seeds and trials; NaN if any is."""
    table = tables["ren2024/thm31"]
    chosen = table[(table["kernel"] == kernel) & table["quantity"].isin(quantities)]
    return float(chosen["value"].max(skipna=False))


def thm31_one_step(tables, threshold) -> Outcome:
    """Largest residual of one full step on random features."""
    return at_most(_residual(tables, "random features", ["one step"]), threshold)


def thm31_exact_kernel(tables, threshold) -> Outcome:
    """Largest residual of the kernel trick, for one full step and for single steps."""
    return at_most(_residual(tables, "exact", ["one step", "single steps"]), threshold)


def _curves(tables, reading: str, quantity: str = "mean"):
    """Index weights, seed, kernel, target; a column a step."""
    table = tables["ren2024/fig3-left"]
    chosen = table[
        (table["reading"] == reading)
        & (table["quantity"] == quantity)
        & (table["target"] != "label")
    ]
    return chosen.pivot(
        index=["weights", "seed", "kernel", "target"], columns="step", values="value"
    )


def thm31_one_demonstration_a_step(tables, threshold) -> Outcome:
    """Largest error at step N over that at step 0, each kernel against its own attention.

    Also wanted: at every earlier step every such curve is above the threshold.
    """
    curves = _curves(tables, SINGLE).reset_index(["kernel", "target"])
    own = curves[
        (curves["kernel"] == "exact") | (curves["target"] == "its own attention")
    ].drop(columns=["kernel", "target"])
    relative = own.div(own[0], axis=0)
    last = relative.columns.max()
    measured = float(relative[last].max(skipna=False))
    early = relative.drop(columns=last).min(axis=None, skipna=False) > threshold
    return Outcome(
        "reproduced" if early and measured <= threshold else "not reproduced", measured
    )


def steps_average_over_orders(tables, threshold) -> Outcome:
    """Largest |mean difference from the closed form| in standard errors; the form must lie on
    or above the parabola."""
    mean, error = (
        _curves(tables, f"{SINGLE} less {CLOSED}", q).iloc[:, 1:-1]
        for q in ("mean", "standard error")
    )
    outcome = at_most((mean / error).abs().max(axis=None, skipna=False), threshold)
    closed = _curves(tables, CLOSED).droplevel(["kernel", "target"])
    parabola = _curves(tables, SMALL).xs("exact", level="kernel").droplevel("target")
    above = (closed - parabola).min(axis=None, skipna=False) >= -1e-9 * closed[0].max()
    return outcome if above else Outcome("not reproduced", outcome.measured)
