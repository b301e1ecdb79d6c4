"""Figures of findings, as Matplotlib objects without global state."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from buir.experiment.records import metric_label
from buir.experiment.statistics import Comparison, Findings, Judgement
from buir.plots import model_colours

_MARKERS = "osD^vPX<>hp*"
# blue and orange: told apart also by readers who do not see red and green
_FILL = {"wins": "#7fb3d8", "ties": "#ececec", "loses": "#f2a07b"}


def sparsity_figure(found: Sequence[Findings], metrics: Sequence[str] | None = None) -> Figure:
    """Draw metrics against the share of training data: one line for each model, with the intervals that were found.

    By the author's protocol every level has test pairs of its own, so there the points of a model are not joined. Each
    metric has its axes; by default the headline metrics.

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
    first = parts[0]
    metrics = first.headlines if metrics is None else metrics
    names = list(dict.fromkeys(name for part in found for name in part.models))
    figure = Figure(figsize=(5.2 * len(metrics), 4.2), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        _draw(axes, parts, names, metric)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, max(1, len(names))), frameon=False)
    covers = ", ".join(first.intervals[first.models[0], metrics[0]].covers)
    title = f"{first.dataset}, protocol {first.protocol}: mean over test users, "
    title += f"{100 * first.confidence:g} % intervals over {covers}"
    if first.protocol == "author":
        title += "\nthe test set shrinks as the level grows: compare models within a level, not levels"
    figure.suptitle(title, fontsize=10)
    return figure


def _draw(axes: Axes, parts: Sequence[Findings], names: Sequence[str], metric: str) -> None:
    colours = model_colours(names)
    levels = [100 * part.level for part in parts]
    # Models are set side by side by a hundredth of the axis, or their intervals would hide each other.
    width = (max(levels) - min(levels)) / 100 if len(levels) > 1 else 0.5
    for place, name in enumerate(names):
        shift = width * (place - (len(names) - 1) / 2) * 0.7
        here = [(x, part.intervals[name, metric]) for x, part in zip(levels, parts, strict=True) if name in part.models]
        below = [max(0.0, interval.value - interval.low) for _, interval in here]
        above = [max(0.0, interval.high - interval.value) for _, interval in here]
        axes.errorbar(
            [x + shift for x, _ in here],
            [interval.value for _, interval in here],
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
    axes.set_xticks(levels, [str(part.train_pct) for part in parts])
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def verdict_figure(judgements: Sequence[Judgement], places: Sequence[Findings]) -> Figure:
    """Draw a matrix for each judgement: the verdict on each rival at each place, and the difference in per cent."""
    width = max(6.5, 2.4 + 0.46 * len(places))
    rows = sum(len(judgement.panel.models) - 1 for judgement in judgements)
    figure = Figure(figsize=(width, 1.5 + 0.9 * len(judgements) + 0.24 * rows), layout="constrained")
    heights = [len(judgement.panel.models) + 1 for judgement in judgements]
    grid = figure.subplots(len(judgements), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, judgement in zip(grid, judgements, strict=True):
        rivals = judgement.panel.rivals(judgement.reference)
        for column, part in enumerate(places):
            said = {c.other: c for c in judgement.comparisons.get(part.place, [])}
            for row, rival in enumerate(rivals):
                fill = _FILL[said[rival].verdict] if rival in said else "white"
                axes.add_patch(Rectangle((column, row), 1, 1, facecolor=fill, edgecolor="white", linewidth=2))
                text = _percent(said[rival]) if rival in said else "·"
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7)
        axes.set_xlim(0, len(places))
        axes.set_ylim(len(rivals), 0)
        _name_places(axes, places)
        axes.set_yticks([i + 0.5 for i in range(len(rivals))], [f"vs {name}" for name in rivals], fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(judgement.reference, loc="left", fontsize=11, fontweight="bold")
    title = f"{metric_label(judgements[0].metric)}: per cent above each rival (·: not judged), Holm-corrected verdicts"
    figure.suptitle(title, fontsize=10)
    patches = [Patch(color=colour, label=word) for word, colour in _FILL.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _name_places(axes: Axes, places: Sequence[Findings]) -> None:
    """Write each data set once, below its levels, with a line between two of them."""
    datasets = [part.dataset for part in places]
    starts = [i for i, name in enumerate(datasets) if i == 0 or datasets[i - 1] != name]
    ends = [*starts[1:], len(places)]
    labels = [f"{part.train_pct} %" for part in places]
    for start, end in zip(starts, ends, strict=True):
        middle = (start + end - 1) // 2
        labels[middle] += f"\n{datasets[start]}"
        if start:
            axes.axvline(start, color="#555555", linewidth=0.8)
    axes.set_xticks([i + 0.5 for i in range(len(places))], labels, fontsize=7)


def _percent(comparison: Comparison) -> str:
    """Write how far a model is above another: ``+12``, ``-0.4``; its difference where the other has 0."""
    if not math.isfinite(comparison.ratio):
        return f"{comparison.difference.value:+.2g}"
    percent = 100 * (comparison.ratio - 1)
    return f"{percent:+.1f}" if abs(percent) < 9.95 else f"{percent:+,.0f}"
