"""Figures of findings, as Matplotlib objects without global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from buir.experiment.config import models
from buir.experiment.records import metric_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from buir.experiment.statistics import Findings

_MARKERS = "osD^vPX<>hp*"


def sparsity_figure(found: Sequence[Findings], metrics: Sequence[str] | None = None) -> Figure:
    """Draw metrics against the share of training data: one line for each model, with the intervals that were found.

    By the author's protocol every level has test pairs of its own, so there the points of a model are not joined.

    Parameters
    ----------
    found
        Of one data set, a level each.
    metrics
        One panel for each; the headline metrics by default.

    Raises
    ------
    ValueError
        If there are no findings, or those of several data sets.
    """
    datasets = list(dict.fromkeys(part.dataset for part in found))
    if len(datasets) != 1:
        msg = f"a figure shows one data set, got {datasets or 'no findings'}; draw one figure for each"
        raise ValueError(msg)
    parts = sorted(found, key=lambda part: part.level)
    metrics = parts[0].headlines if metrics is None else metrics
    names = list(dict.fromkeys(name for part in found for name in part.models))
    figure = Figure(figsize=(5.2 * len(metrics), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        _draw(axes, parts, names, metric)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, max(1, len(names))), frameon=False)
    first = parts[0]
    covers = ", ".join(first.intervals[first.models[0], metrics[0]].covers)
    title = f"{first.dataset}, protocol {first.protocol}: mean over test users, {100 * first.confidence:g} % intervals over {covers}"
    if first.protocol == "author":
        title += "\nthe test set shrinks as the level grows: compare models within a level, not levels"
    figure.suptitle(title, fontsize=10)
    return figure


def _draw(axes: Axes, parts: Sequence[Findings], names: Sequence[str], metric: str) -> None:
    colours = models.colours(names)
    levels = [100 * part.level for part in parts]
    # Points of different models are set side by side by a hundredth of the axis, or their intervals would hide each other.
    width = (max(levels) - min(levels)) / 100 if len(levels) > 1 else 0.5
    for place, name in enumerate(names):
        shift = width * (place - (len(names) - 1) / 2) * 0.7
        here = [(x, part.intervals[name, metric]) for x, part in zip(levels, parts, strict=True) if name in part.models]
        xs = [x + shift for x, _ in here]
        values = [interval.value for _, interval in here]
        below = [max(0.0, interval.value - interval.low) for _, interval in here]
        above = [max(0.0, interval.high - interval.value) for _, interval in here]
        axes.errorbar(
            xs,
            values,
            yerr=[below, above],
            label=name,
            color=colours[name],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=5,
            linewidth=1.8,
            linestyle="none" if parts[0].protocol == "author" else "-",
            elinewidth=1,
            capsize=2,
        )
    axes.set_xlabel("training data kept, %")
    axes.set_ylabel(metric_label(metric))
    axes.set_xticks(levels, [f"{level:.0f}" for level in levels])
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
