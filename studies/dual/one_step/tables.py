"""Checks of the chapter *One attention layer is one gradient step*."""

import numpy as np
import pandas as pd

from iclbook.claim import Outcome, at_most


def thm31_residual(results, threshold, *, kernel: str, training: list[str]) -> Outcome:
    """Largest residual of one kernel over seeds and trials; training: `one_step`,
    `single_steps` or both."""
    table = results["ren2024/thm31"]["residuals"]
    chosen = table.loc[table["kernel"] == kernel, training]
    return at_most(chosen.to_numpy().max(initial=-np.inf), threshold)


def _curves(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """One measure, a row a run and a column a step."""
    keys = [key for key in ("weights", "seed", "d_r") if key in table]
    return table.pivot(index=keys, columns="step", values=name)


def thm31_one_demonstration_a_step(results, threshold) -> Outcome:
    """Largest error at step N over that at step 0, each kernel against its own attention.

    Also wanted: at every earlier step every such curve is above the threshold.
    """
    fig3 = results["ren2024/fig3-left"]
    curves = _curves(fig3["exact"], "single"), _curves(fig3["features"], "own")
    relative = np.concatenate([curve.div(curve[0], axis=0).to_numpy() for curve in curves])
    measured, early = float(relative[:, -1].max()), relative[:, :-1].min() > threshold
    return Outcome(
        "reproduced" if early and measured <= threshold else "not reproduced", measured
    )


def steps_average_over_orders(results, threshold) -> Outcome:
    """Largest |mean difference from the closed form| in standard errors; the form must lie on
    or above the parabola."""
    table = results["ren2024/fig3-left"]["exact"]
    ends = table["step"].isin([0, table["step"].max()])
    apart = (table["difference"] / table["difference_error"]).abs()[~ends]
    outcome = at_most(apart.max(skipna=False), threshold)
    closed, parabola = (_curves(table, name) for name in ("closed_form", "all_at_once"))
    above = (closed - parabola).min(axis=None, skipna=False) >= -1e-9 * closed[0].max()
    falls = (closed[closed.columns[-1]] <= 1e-20 * closed[0]).all()
    return outcome if above and falls else Outcome("not reproduced", outcome.measured)
