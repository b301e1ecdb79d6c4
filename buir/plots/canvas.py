"""What every picture begins and ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buir.errors import InputError, needing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MARKERS", "axes_of", "finish", "wrong"]

MARKERS = "osD^vPX<>hp*"
"""In the order of what is drawn, so that lines differ without colour, too."""


def axes_of(ax: Any) -> Axes:
    """Return the axes to draw on: those given, or those of a new figure."""
    with needing("a picture"):
        from matplotlib.axes import Axes

        from buir.plots.picture import Picture
    if ax is None:
        return Picture(figsize=(6.4, 4.2), layout="constrained").subplots()
    if not isinstance(ax, Axes):
        raise wrong(ax, "ax", "Matplotlib axes, one of those that plt.subplots() returns, or None for a new figure")
    return ax


def finish(axes: Axes, *, x: str, y: str) -> Any:
    """Name the axes, explain the lines below them, where they hide none, and return the figure."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if labels := axes.get_legend_handles_labels()[1]:
        columns = min(len(labels), max(1, 60 // max(map(len, labels))))
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
        axes.legend(ncols=columns, frameon=False, fontsize=9, **place)
    return axes.figure


def wrong(value: Any, argument: str, expected: str) -> InputError:
    """Make the error of an argument of another kind than expected."""
    return InputError(f"{argument} is of type {type(value).__name__}, expected {expected}", argument=argument)
