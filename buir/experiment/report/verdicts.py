"""The verdict matrix: where a reference model wins, ties or loses, as a heat map and as words."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from buir.experiment.records import metric_label
from buir.experiment.statistics import Comparison, Findings, Interval

# blue and orange: told apart also by readers who do not see red and green
_FILL = {"wins": "#7fb3d8", "ties": "#ececec", "loses": "#f2a07b"}


def verdict_figure(findings: Sequence[Findings], references: Sequence[str], metric: str) -> Figure:
    """Draw one matrix for each reference: a row for each other model, a column for each data set and level.

    Parameters
    ----------
    findings
        Of any number of data sets and levels.
    references
        Models whose wins and losses are shown.
    metric
        A headline metric of the findings.
    """
    models = list(dict.fromkeys(name for found in findings for name in found.models))
    width = max(6.5, 2.2 + 0.95 * len(findings))
    figure = Figure(figsize=(width, 1.3 + len(references) * (0.9 + 0.36 * len(models))), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(references), 1, squeeze=False)[:, 0]
    for axes, reference in zip(grid, references, strict=True):
        others = [name for name in models if name != reference]
        for column, found in enumerate(findings):
            row_of = {c.other: c for c in found.verdicts.get((reference, metric), [])}
            for row, other in enumerate(others):
                comparison = row_of.get(other)
                fill = _FILL[comparison.verdict] if comparison else "white"
                axes.add_patch(_square(column, row, fill))
                text = f"{comparison.verdict}\n{comparison.difference.value:+.4f}" if comparison else "not run"
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7)
        axes.set_xlim(0, len(findings))
        axes.set_ylim(len(others), 0)
        axes.set_xticks(
            [i + 0.5 for i in range(len(findings))], [f"{f.dataset}\n{f.train_pct} %" for f in findings], fontsize=8
        )
        axes.set_yticks([i + 0.5 for i in range(len(others))], [f"vs {name}" for name in others], fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(reference, loc="left", fontsize=11, fontweight="bold")
    figure.suptitle(
        f"{metric_label(metric)}: mean difference to each other model, paired over users, Holm-corrected", fontsize=10
    )
    figure.legend(
        handles=[Patch(color=colour, label=word) for word, colour in _FILL.items()],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure


def _square(column: int, row: int, fill: str) -> Patch:
    return Rectangle((column, row), 1, 1, facecolor=fill, edgecolor="white", linewidth=2)


def interval_text(interval: Interval, *, signed: bool = False) -> str:
    """Write ``0.0840 [0.0812, 0.0869]``; with signs for differences."""
    form = "+.4f" if signed else ".4f"
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def comparison_text(comparison: Comparison) -> str:
    """Write a comparison with everything that stands behind its verdict."""
    p = "< 0.001" if comparison.p_holm < 0.001 else f"= {comparison.p_holm:.3f}"
    return f"{comparison.verdict} {interval_text(comparison.difference, signed=True)}, p {p}"
