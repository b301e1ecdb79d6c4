"""Pictures of how a fit went, from its history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buir.errors import InputError, listed, near, needing
from buir.plots.canvas import axes_of, finish, wrong
from buir.ranking import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["history", "score_distributions"]

_KINDS = {
    "positive": ("training pairs", "#1f77b4"),
    "held_out": ("held-out pairs", "#d98200"),
    "other": ("unobserved pairs", "#7f7f7f"),
}
"""What a look at the scores tells apart, as it is called in a figure."""


def history(model: Any, metric: str | None = None, *, ax: Axes | None = None) -> Figure:
    """Draw what validation saw epoch by epoch, the best epoch, and the loss on an axis of its own.

    Parameters
    ----------
    model
        A fitted model, or its ``history``.
    metric
        Which number of the history is drawn, such as "effective_rank"; None takes the metric that was validated, or the
        loss alone where nothing was.
    ax
        Where to draw; None makes a figure.

    Returns
    -------
    The figure. The best epoch is the last whose record is ``best``; epoch 0 is the start before any training.

    Raises
    ------
    buir.errors.InputError
        If there is no history, or no such number in it.
    """
    records = _records(model)
    names = [name for name, value in records[-1].items() if isinstance(value, int | float) and name != "best"]
    if metric is None:
        metric = next((name for name in names if "_at_" in name and not name.startswith("coverage_")), "loss")
    if metric not in names or metric == "epoch":
        msg = f"the history has no {metric!r}{near(metric, names)}; expected one of {listed(names)}"
        raise InputError(msg, argument="metric")
    axes = axes_of(ax)
    places, values = _finite(records, metric)
    label, colour = metric_label(metric).replace("_", " "), "#1f77b4"
    axes.plot(places, values, color=colour, marker="o", markersize=3.5, linewidth=1.8, label=label)
    best = [record for record in records if record.get("best")]
    if best and isinstance(value := best[-1].get(metric), int | float):
        at = best[-1]["epoch"]
        axes.axvline(at, color="#555555", linestyle="--", linewidth=1)
        axes.plot([at], [value], "*", color="#d62728", markersize=13, label=f"best: epoch {at}, {value:.4g}")
    _, losses = _finite(records, "loss")
    if metric != "loss" and losses:
        right = axes.twinx()
        right.plot(*_finite(records, "loss"), color="#999999", linestyle=":", linewidth=1.5)
        right.set_ylabel("loss (dotted)", color="#777777")
        right.spines[["top"]].set_visible(False)
    with needing("a picture"):
        from matplotlib.ticker import MaxNLocator
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return finish(axes, x="epoch", y=label)


def score_distributions(model: Any, *, ax: Axes | None = None) -> Figure:
    """Draw how the scores of training pairs, held-out pairs and unobserved pairs part while a model trains.

    Parameters
    ----------
    model
        A fitted model, or its ``history``; held-out pairs must have been there.
    ax
        Where to draw; None makes a figure.

    Returns
    -------
    The figure: the median of each kind against the epoch, within the bands from the 25th to the 75th and from the 5th
    to the 95th percentile; where there was one look alone, that state. Scores are those of the model itself, without
    terms: their unit is its own. ``Contrastive`` shows the cosines that it trains by, also where it ranks by the inner
    product in the end.

    Raises
    ------
    buir.errors.InputError
        If the history holds no scores.
    """
    looks = [look for record in _records(model) for look in (*record.get("looks", ()), record) if look.get("scores")]
    if not looks:
        msg = "the history holds no scores to draw; expected that of a fit with held-out pairs: fit(train, valid)"
        raise InputError(msg, argument="model")
    axes = axes_of(ax)
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
    if alone:
        axes.set_xticks([looks[0]["epoch"]])
    return finish(axes, x="epoch", y="score: median, 25-75 % and 5-95 %")


def _records(model: Any) -> Sequence[Mapping[str, Any]]:
    """Return the history of a model, or of what is one already."""
    expected = "a fitted model, or its history: the list of records that fit leaves"
    found = model if isinstance(model, list | tuple) else getattr(model, "history", None)
    if not isinstance(found, list | tuple):
        raise wrong(model, "model", expected)
    if not found or not all(isinstance(record, Mapping) and "epoch" in record for record in found):
        msg = f"the history holds no records with an epoch ({len(found)} entries), expected {expected}"
        raise InputError(msg, argument="model")
    return found


def _finite(records: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Return the epochs at which a number is known, and the numbers."""
    known = [(r["epoch"], r[name]) for r in records if r.get(name) is not None and math.isfinite(r[name])]
    return [epoch for epoch, _ in known], [value for _, value in known]
