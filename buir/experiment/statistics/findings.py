"""What records amount to: intervals, verdicts and leaders of every data set and level, overall and by user activity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from buir.experiment.records import Record
from buir.experiment.statistics.panel import Panel, ReadUsers, iter_panels
from buir.experiment.statistics.summary import Comparison, Interval, Summary

HEADLINES = ("ndcg_at_20", "recall_at_20")


@dataclass(frozen=True)
class Leaders:
    """The model with the highest mean, and those that it was not shown to beat."""

    best: str
    ties: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the best first."""
        return (self.best, *self.ties)


@dataclass(frozen=True)
class UserGroup:
    """Test users of similar activity."""

    number: int
    """1 is the least active."""
    low: int
    high: int
    intervals: dict[tuple[str, str], Interval]
    """Per model and headline metric."""
    leaders: dict[str, Leaders]
    """Per headline metric."""

    @property
    def n_users(self) -> int:
        """Test users in the group, in any split."""
        return next(iter(self.intervals.values())).n_users


@dataclass(frozen=True)
class Findings:
    """Everything that the report says about one data set at one level."""

    dataset: str
    protocol: str
    level: float
    confidence: float
    """Of the intervals, and 1 - alpha of the tests."""
    models: tuple[str, ...]
    headlines: tuple[str, ...]
    intervals: dict[tuple[str, str], Interval]
    """Per model and metric."""
    leaders: dict[str, Leaders]
    """Per headline metric."""
    verdicts: dict[tuple[str, str], list[Comparison]]
    """Per reference model and headline metric: the reference against each other model."""
    gaps: dict[tuple[str, str], Interval]
    """Per model and headline metric: the best model minus this one."""
    groups: tuple[UserGroup, ...]

    @property
    def train_pct(self) -> int:
        """Level in per cent."""
        return round(100 * self.level)


def find(
    records: Sequence[Record],
    read_users: ReadUsers,
    *,
    references: Sequence[str] | None = None,
    headlines: Sequence[str] = HEADLINES,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> list[Findings]:
    """Analyse all records, one data set and level after the other.

    Parameters
    ----------
    records
        Cell records.
    read_users
        From a cell's key to its per-user frame.
    references
        Models whose verdicts are wanted; by default all of kind "buir", or the first model if there is none.
    headlines
        Metrics that are tested, over all users and in the user groups. All others get intervals.
    confidence
        Of intervals, and 1 - alpha of the tests.
    seed
        Of all resampling.
    progress
        Told which part begins.
    """
    metrics = user_metrics(records, headlines)
    references = reference_models(records) if references is None else tuple(references)
    found: list[Findings] = []
    for panel in iter_panels(records, read_users, metrics):
        if progress is not None:
            progress(f"{panel.dataset}, {100 * panel.level:.0f} %")
        bounds = _group_bounds(records, panel)
        found.append(_findings(panel, references, tuple(headlines), bounds, confidence, seed))
    return found


def reference_models(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the names of BUIR's variants, or of the first model if BUIR did not take part."""
    done = [record for record in records if record.status == "ok"]
    names = dict.fromkeys(record.model for record in done if record.kind == "buir")
    return tuple(names) or tuple(dict.fromkeys(record.model for record in done))[:1]


def user_metrics(records: Iterable[Record], headlines: Sequence[str]) -> list[str]:
    """List the metrics that every finished cell has per user: all but the coverage of the catalogue; headlines first.

    Raises
    ------
    ValueError
        If a headline metric was not computed everywhere.
    """
    names: dict[str, None] | None = None
    for record in records:
        if record.status == "ok":
            mine = dict.fromkeys(name for name in record.metrics if not name.startswith("coverage_at_"))
            names = mine if names is None else {name: None for name in names if name in mine}
    missing = [name for name in headlines if names is not None and name not in names]
    if missing:
        msg = f"metric {missing[0]!r} was not computed in every cell; there are: {', '.join(names or [])}"
        raise ValueError(msg)
    return list(dict.fromkeys([*headlines, *(names or [])]))


def _findings(
    panel: Panel,
    references: Sequence[str],
    headlines: tuple[str, ...],
    bounds: list[tuple[int, int, int]],
    confidence: float,
    seed: int,
) -> Findings:
    summary = Summary(panel, confidence=confidence, seed=seed)
    present = [name for name in references if name in panel.models]
    leaders = {metric: _leaders(summary, metric) for metric in headlines}
    groups = []
    for number, low, high in bounds:
        part = panel.restricted(low, high, headlines)
        if part is not None:
            inner = Summary(part, confidence=confidence, seed=seed)
            led = {metric: _leaders(inner, metric) for metric in headlines}
            groups.append(UserGroup(number, low, high, _intervals(inner), led))
    return Findings(
        panel.dataset,
        panel.protocol,
        panel.level,
        confidence,
        panel.models,
        headlines,
        _intervals(summary),
        leaders,
        {(name, metric): summary.against(name, metric) for name in present for metric in headlines},
        {
            (model, metric): summary.difference(leaders[metric].best, model, metric)
            for metric in headlines
            for model in panel.models
            if model != leaders[metric].best and panel.splits(model, leaders[metric].best)
        },
        tuple(groups),
    )


def _intervals(summary: Summary) -> dict[tuple[str, str], Interval]:
    """Intervals of all models and metrics. Metrics lie in [0, 1], which a mean plus an error does not know."""
    panel = summary.panel
    found = {(model, metric): summary.interval(model, metric) for model in panel.models for metric in panel.metrics}
    return {place: replace(i, low=max(0.0, i.low), high=min(1.0, i.high)) for place, i in found.items()}


def _leaders(summary: Summary, metric: str) -> Leaders:
    best, ties = summary.leaders(metric)
    return Leaders(best, tuple(ties))


def _group_bounds(records: Sequence[Record], panel: Panel) -> list[tuple[int, int, int]]:
    """Read number, smallest and largest training degree of the user groups, from the panel's first cell."""
    place = (panel.dataset, panel.protocol, panel.level)
    for record in records:
        if record.status == "ok" and (record.dataset, record.protocol, record.level) == place:
            groups = (record.groups or {}).get("user", [])
            if not groups:
                return []
            # without gaps, and as far as the users of other splits reach: nobody may fall between two groups
            lows = [int(group["low"]) for group in groups]
            lows[0] = min(lows[0], int(min(np.nanmin(degree) for degree in panel.train_degree.values())))
            last = max(int(groups[-1]["high"]), int(max(np.nanmax(degree) for degree in panel.train_degree.values())))
            highs = [*(low - 1 for low in lows[1:]), last]
            return [(int(g["group"]), low, high) for g, low, high in zip(groups, lows, highs, strict=True)]
    return []
