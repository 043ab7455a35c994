"""Figures in one style: colour-blind-safe, readable on a dark page, with a line that says where
the numbers come from."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclbook.statistics import bands
from iclbook.store import Result

PALETTE = "colorblind"
STYLE = {
    "figure.dpi": 110,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.35,
    "legend.frameon": False,
}


def figure(
    rows: int = 1, columns: int = 1, *, width: float = 4.2, height: float = 3.2, **kwargs
) -> tuple[Figure, Axes]:
    """(figure, axes) with `rows` x `columns` panels; width and height of a panel in inches.

    Sets seaborn's theme for the notebook, so that whatever is drawn next follows the book's
    style too.
    """
    sns.set_theme(style="ticks", palette=PALETTE, font_scale=0.85, rc=STYLE)
    return plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), layout="constrained", **kwargs
    )


def finish(fig: Figure, *sources: Result | str) -> None:
    """Write the provenance line below a figure: of stored or live results, or a string such as
    "drawn by code"."""
    lines = [source if isinstance(source, str) else source.provenance for source in sources]
    fig.supxlabel("\n".join(dict.fromkeys(lines)), fontsize=7, color="0.4", x=0.01, ha="left")


def band(ax: Axes, table, y: str, x: str = "step", *, inner: float = 1.0, **kwargs) -> None:
    """Median over seeds as a line; a band that holds the share `inner` of the seeds. table: one
    row a (seed, x)."""
    found = bands(table, x, y, inner).sort_index()
    (line,) = ax.plot(found.index, found["median"], **kwargs)
    ax.fill_between(
        found.index, found["low"], found["high"], color=line.get_color(), alpha=0.2, lw=0
    )
