"""What records amount to: intervals, verdicts and leaders of every data set and level, overall and by user activity."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from buir.errors import counted
from buir.experiment.config import per_cent
from buir.experiment.records import Record, frame
from buir.experiment.statistics.panels import N_FLIPS, Panel, default_panel
from buir.experiment.statistics.place import PLACE, PlaceValues, ReadUsers, place_values
from buir.experiment.statistics.summary import Comparison, Interval, Leaders, Summary

HEADLINES = ("ndcg_at_20", "recall_at_20")


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
    comparisons: dict[tuple[str, str, str], Comparison]
    """Per reference of a panel, rival and headline metric; `buir.experiment.statistics.panels.judge` corrects them."""
    gaps: dict[tuple[str, str], Interval]
    """Per model and headline metric: the best model minus this one."""
    groups: tuple[UserGroup, ...]
    kinds: Mapping[str, str]
    """Of the models that were run here, those that refused the data among them: "buir" for its variants."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Models that lack planned runs here, "ALS" or "ALS (2 of 3 runs)": they are not judged."""

    @property
    def place(self) -> tuple[str, str, float]:
        """Where models are compared."""
        return self.dataset, self.protocol, self.level

    @property
    def train_pct(self) -> float:
        """Level in per cent."""
        return per_cent(self.level)


def find(
    records: Sequence[Record],
    read_users: ReadUsers,
    *,
    headlines: Sequence[str] = HEADLINES,
    planned: Mapping[str, int | Mapping[str, int]] | None = None,
    panels: Sequence[Panel] | None = None,
    n_flips: int = N_FLIPS,
    progress: Callable[[str], object] = lambda _: None,
) -> list[Findings]:
    """Analyse all records, one data set and level after the other: the values of only one lie in memory.

    Parameters
    ----------
    records
        Cell records; those that were refused are left out.
    read_users
        From a cell's key to its per-user frame.
    headlines
        Metrics that are tested, over all users and in the user groups. All others get intervals.
    planned
        Runs of each model that were to be made at every place, by its name, or also by the data set where these differ;
        by default those that the records show.
    panels
        Which references are compared with which rivals; by default `default_panel` of the records.
    n_flips
        Sign patterns of these comparisons.
    progress
        Told which part begins.
    """
    metrics = user_metrics(records, headlines)
    panels = [default_panel(records)] if panels is None else panels
    pairs = {
        (reference, rival) for panel in panels for reference in panel.references for rival in panel.rivals(reference)
    }
    runs = frame(records)
    found: list[Findings] = []
    for _, here in runs[runs["status"] == "ok"].groupby(PLACE, sort=False):
        values = place_values(here, read_users, metrics)
        progress(f"{values.dataset}, {per_cent(values.level)} %")
        groups = here["record"].iloc[0].groups.get("user", [])
        every = runs[(runs[PLACE] == here[PLACE].iloc[0]).all(axis=1)]
        made, kinds = every["model"].value_counts(), dict(zip(every["model"], every["kind"], strict=True))
        asked = {
            name: runs if isinstance(runs, int) else runs.get(values.dataset, 0)
            for name, runs in (planned or {}).items()
        }
        lacking = [(name, wanted - made.get(name, 0), wanted) for name, wanted in asked.items()]
        missing = {
            name: name + (f" ({n} of {counted(wanted, 'run')})" if n < wanted else "")
            for name, n, wanted in lacking
            if n > 0
        }
        part = _findings(values, sorted(pairs), n_flips, tuple(headlines), groups, kinds)
        found.append(replace(part, missing=missing))
    return found


def user_metrics(records: Iterable[Record], headlines: Sequence[str]) -> list[str]:
    """List the metrics that every finished cell has per user: all but the coverage of the catalogue; headlines first.

    Raises
    ------
    ValueError
        If a headline metric was not computed everywhere.
    """
    known = [record.metrics for record in records if record.ok]
    names = [name for name in known[0] if all(name in metrics for metrics in known)] if known else list(headlines)
    names = [name for name in names if not name.startswith("coverage_at_")]
    missing = [name for name in headlines if name not in names]
    if missing:
        msg = f"metric {missing[0]!r} was not computed in every cell; there are: {', '.join(names)}"
        raise ValueError(msg)
    return list(dict.fromkeys([*headlines, *names]))


def _findings(
    values: PlaceValues,
    pairs: Sequence[tuple[str, str]],
    n_flips: int,
    headlines: tuple[str, ...],
    groups: Sequence[Any],
    kinds: Mapping[str, str],
) -> Findings:
    summary = Summary(values)
    leaders = {metric: summary.leaders(metric) for metric in headlines}
    here = [(a, b) for a, b in pairs if a in values.models and b in values.models]
    return Findings(
        values.dataset,
        values.protocol,
        values.level,
        summary.confidence,
        values.models,
        headlines,
        summary.intervals(),
        leaders,
        {(c.model, c.other, c.metric): c for c in summary.compare(here, headlines, n_flips=n_flips)},
        {
            (model, metric): summary.difference(leaders[metric].best, model, metric)
            for metric in headlines
            for model in values.models
            if model != leaders[metric].best and values.splits(model, leaders[metric].best)
        },
        tuple(_user_groups(values, headlines, groups)),
        kinds,
    )


def _user_groups(values: PlaceValues, headlines: tuple[str, ...], groups: Sequence[Any]) -> Iterator[UserGroup]:
    """Analyse the users of each group of a record: its number, its smallest and its largest training degree."""
    # without gaps, and as far as the users of other splits reach: nobody may fall between two groups
    degrees = np.concatenate(list(values.train_degree.values()))
    lows = [int(group["low"]) for group in groups]
    lows[:1] = [int(min(low, np.nanmin(degrees))) for low in lows[:1]]
    highs = [*(low - 1 for low in lows[1:]), *(int(max(g["high"], np.nanmax(degrees))) for g in groups[-1:])]
    for group, low, high in zip(groups, lows, highs, strict=True):
        if (part := values.restricted(low, high, headlines)) is not None:
            summary = Summary(part)
            leaders = {metric: summary.leaders(metric) for metric in headlines}
            yield UserGroup(int(group["group"]), low, high, summary.intervals(), leaders)
