"""Figures of records, as Matplotlib objects without global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from buir.experiment import models
from buir.experiment.panel import make_panels
from buir.experiment.statistics import Summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from buir.experiment.journal import Record
    from buir.experiment.panel import Panel, ReadUsers

_MARKERS = "osD^vPX<>hp*"
_WORDS = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "hit_rate": "Hit rate", "capped_precision": "Capped precision"}


def metric_label(metric: str) -> str:
    """Write ``ndcg_at_20`` as ``NDCG@20``."""
    name, _, k = metric.rpartition("_at_")
    return f"{_WORDS.get(name, name.capitalize())}@{k}" if name else metric


def sparsity_figure(
    records: Sequence[Record],
    read_users: ReadUsers,
    metrics: Sequence[str] = ("recall_at_20", "ndcg_at_20"),
    *,
    seed: int = 0,
) -> Figure:
    """Draw metrics against the share of training data: one line for each model, with 95 % intervals.

    Parameters
    ----------
    records
        Of one data set.
    read_users
        From a cell's key to its per-user values, which the intervals need.
    metrics
        One panel for each.
    seed
        Of the resampling of users behind the intervals.
    """
    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    if len(datasets) != 1:
        msg = f"a figure shows one data set, got {datasets or 'no records'}; draw one figure for each"
        raise ValueError(msg)
    panels = sorted(make_panels(records, read_users, metrics), key=lambda panel: panel.level)
    figure = Figure(figsize=(5.2 * len(metrics), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    names = list(dict.fromkeys(record["model"] for record in records if record["status"] == "ok"))
    summaries = [Summary(panel, seed=seed) for panel in panels]
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        _draw(axes, panels, summaries, names, metric)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, max(1, len(names))), frameon=False)
    figure.suptitle(_title(records, panels, summaries, metrics), fontsize=10)
    return figure


def _draw(axes: Axes, panels: list[Panel], summaries: list[Summary], names: list[str], metric: str) -> None:
    colours = models.colours(names)
    levels = [100 * panel.level for panel in panels]
    # Points of different models are set side by side by a hundredth of the axis, or their intervals would hide each other.
    width = (max(levels) - min(levels)) / 100 if len(levels) > 1 else 0.5
    for place, name in enumerate(names):
        shift = width * (place - (len(names) - 1) / 2) * 0.7
        found = [
            (x, s.interval(name, metric)) for x, p, s in zip(levels, panels, summaries, strict=True) if name in p.models
        ]
        xs = [x + shift for x, _ in found]
        values = [interval.value for _, interval in found]
        below = [max(0.0, interval.value - interval.low) for _, interval in found]
        above = [max(0.0, interval.high - interval.value) for _, interval in found]
        axes.errorbar(
            xs,
            values,
            yerr=[below, above],
            label=name,
            color=colours[name],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=5,
            linewidth=1.8,
            elinewidth=1,
            capsize=2,
        )
    axes.set_xlabel("training data kept, %")
    axes.set_ylabel(metric_label(metric))
    axes.set_xticks(levels, [f"{level:.0f}" for level in levels])
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _title(records: Sequence[Record], panels: list[Panel], summaries: list[Summary], metrics: Sequence[str]) -> str:
    first = records[0]
    title = f"{first['dataset']}, protocol {first['protocol']}"
    if not panels:
        return title
    interval = summaries[0].interval(panels[0].models[0], metrics[0])
    return f"{title}: mean over test users, 95 % intervals over {', '.join(interval.covers)}"
