"""Figures of findings, as Matplotlib objects without global state."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from buir.experiment.config import models
from buir.experiment.records import metric_label
from buir.experiment.statistics import Findings

_MARKERS = "osD^vPX<>hp*"
# blue and orange: told apart also by readers who do not see red and green
_FILL = {"wins": "#7fb3d8", "ties": "#ececec", "loses": "#f2a07b"}


def sparsity_figure(found: Sequence[Findings], metrics: Sequence[str] | None = None) -> Figure:
    """Draw metrics against the share of training data: one line for each model, with the intervals that were found.

    By the author's protocol every level has test pairs of its own, so there the points of a model are not joined. Each
    metric has a panel; by default the headline metrics.

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
    colours = models.colours(names)
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
    axes.set_xticks(levels, [f"{level:.0f}" for level in levels])
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def verdict_figure(findings: Sequence[Findings], references: Sequence[str], metric: str) -> Figure:
    """Draw a matrix for each reference model on a headline metric: its verdict on each other model, place by place."""
    names = list(dict.fromkeys(name for found in findings for name in found.models))
    width = max(6.5, 2.2 + 0.95 * len(findings))
    figure = Figure(figsize=(width, 1.3 + len(references) * (0.9 + 0.36 * len(names))), layout="constrained")
    grid = figure.subplots(len(references), 1, squeeze=False)[:, 0]
    for axes, reference in zip(grid, references, strict=True):
        others = [name for name in names if name != reference]
        for column, found in enumerate(findings):
            said = {c.other: c for c in found.verdicts.get((reference, metric), [])}
            for row, other in enumerate(others):
                fill = _FILL[said[other].verdict] if other in said else "white"
                axes.add_patch(Rectangle((column, row), 1, 1, facecolor=fill, edgecolor="white", linewidth=2))
                text = f"{said[other].verdict}\n{said[other].difference.value:+.4f}" if other in said else "not run"
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7)
        axes.set_xlim(0, len(findings))
        axes.set_ylim(len(others), 0)
        places = [f"{found.dataset}\n{found.train_pct} %" for found in findings]
        axes.set_xticks([i + 0.5 for i in range(len(findings))], places, fontsize=8)
        axes.set_yticks([i + 0.5 for i in range(len(others))], [f"vs {name}" for name in others], fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(reference, loc="left", fontsize=11, fontweight="bold")
    title = f"{metric_label(metric)}: mean difference to each other model, paired over users, Holm-corrected"
    figure.suptitle(title, fontsize=10)
    patches = [Patch(color=colour, label=word) for word, colour in _FILL.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False)
    return figure
