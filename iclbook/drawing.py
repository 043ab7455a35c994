"""Boxes and arrows, for the drawings that the book makes by code."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from iclbook import plots


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """(figure, axes) without ticks, on which one unit is one inch; (0, 0) is the lower left
    corner."""
    fig, ax = plots.figure(width=width, height=height)
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    return fig, ax


def box(
    ax: Axes,
    x: float,
    y: float,
    text: str,
    color: str = "0.9",
    *,
    width: float = 1.0,
    height: float = 0.5,
):
    """A rounded box centred at (x, y) with black text on the light fill `color`."""
    style = {
        "boxstyle": "round,pad=0,rounding_size=0.08",
        "facecolor": color,
        "edgecolor": "0.25",
        "linewidth": 1,
    }
    ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, **style))
    ax.text(x, y, text, ha="center", va="center", fontsize=8.5, color="black")


def arrow(
    ax: Axes,
    start: tuple,
    end: tuple,
    text: str = "",
    *,
    color: str = "0.25",
    dashed: bool = False,
    above: float = 0.12,
):
    """An arrow from start to end, with a word `above` its middle."""
    line = {
        "arrowstyle": "-|>",
        "color": color,
        "linewidth": 1.2,
        "linestyle": "--" if dashed else "-",
    }
    ax.annotate("", xy=end, xytext=start, arrowprops=line | {"shrinkA": 0, "shrinkB": 0})
    ax.text(
        (start[0] + end[0]) / 2,
        (start[1] + end[1]) / 2 + above,
        text,
        ha="center",
        va="center",
        fontsize=8,
        color=color,
    )
