"""Figures of single things, a fit or a file of pairs, as Matplotlib objects without global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from buir.errors import InputError

_MARKERS = "osD^vPX"
_KINDS = {
    "positive": ("training pairs", "#1f77b4"),
    "held_out": ("held-out pairs", "#d98200"),
    "other": ("unobserved pairs", "#7f7f7f"),
}
"""What a look at the scores tells apart, as it is called in a figure."""


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


def score_figure(history: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw how the scores of training pairs, held-out pairs and unobserved pairs part while a model trains.

    Parameters
    ----------
    history
        A fitted model's ``history``; held-out pairs must have been there.
    title
        Above the figure.

    Returns
    -------
    The median of each kind against the epoch, within the bands from the 25th to the 75th and from the 5th to the 95th
    percentile; where there was one look alone, that state. Scores are those of the model itself, without terms: their
    unit is its own.

    Raises
    ------
    buir.errors.InputError
        If the history holds no scores.
    """
    looks = [look for record in history for look in (*record.get("looks", ()), record) if look.get("scores")]
    if not looks:
        msg = "the history holds no scores to draw; expected that of a fit with held-out pairs: fit(train, valid)"
        raise InputError(msg, argument="history")
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    alone = len({look["epoch"] for look in looks}) == 1
    for place, (name, (label, colour)) in enumerate(_KINDS.items()):
        some = [(look["epoch"], look["scores"][name]) for look in looks if name in look["scores"]]
        if not some:
            continue
        if alone:  # side by side, as wide as a step of an epoch
            some = [(some[0][0] + (place - 1) / 3 + shift, some[0][1]) for shift in (-0.12, 0.12)]
        epochs = [epoch for epoch, _ in some]
        low, quarter, middle, three_quarters, high = zip(*(values for _, values in some), strict=True)
        axes.plot(epochs, middle, color=colour, linewidth=1.8, label=label)
        axes.fill_between(epochs, quarter, three_quarters, color=colour, alpha=0.3, linewidth=0)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xlabel("epoch")
    if alone:
        axes.set_xticks([looks[0]["epoch"]])
    _frame(axes, "score: median, 25-75 % and 5-95 %")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def _frame(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
