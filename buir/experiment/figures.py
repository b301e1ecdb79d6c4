"""What is assessed without a benchmark, as Matplotlib objects without global state."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_MARKERS = "osD^vPX"


def false_negative_figure(table: pd.DataFrame, title: str = "") -> Figure:
    """Draw how often samplers of negatives draw hidden pairs, against the share of the data that is known.

    Parameters
    ----------
    table
        Of ``baselines.assess_levels``: a row for each level and sampler.
    title
        Above the figure.

    Returns
    -------
    Two axes: the false-negative rate in per cent, and the lift over even draws.
    """
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, (name, part) in enumerate(table.groupby("sampler", sort=False)):
        for axes, values in ((left, 100 * part["false_negative_rate"]), (right, part["lift"])):
            axes.plot(100 * part["level"], values, marker=_MARKERS[place % len(_MARKERS)], markersize=5, label=name)
    levels = sorted(set(100 * table["level"]))
    for axes, label in ((left, "hidden pairs among the negatives, %"), (right, "over even draws, times")):
        _frame(axes, label)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("training data kept, %")
        axes.set_xticks(levels, [f"{level:g}" for level in levels])
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, max(1, len(labels))), frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def _frame(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
