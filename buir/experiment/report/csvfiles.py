"""The numbers of a report as CSV: means, differences with their verdicts, groups of users and of items."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from buir.experiment.records import Record
from buir.experiment.report.outcomes import group_values, runs_of
from buir.experiment.statistics import Findings, Interval

_PLACE = ("dataset", "protocol", "level")


def means(found: Sequence[Findings]) -> str:
    """Every metric of every model, with its interval."""
    head = [*_PLACE, "model", "metric", "mean", "low", "high", "n_users", "n_splits", "n_seeds"]
    rows = (
        [*_place(part), model, metric, *_numbers(i), i.n_users, i.n_splits, i.n_seeds]
        for part in found
        for (model, metric), i in part.intervals.items()
    )
    return _csv(head, rows)


def differences(found: Sequence[Findings]) -> str:
    """Every reference model against each other one: difference, interval, p-values and verdict."""
    head = [*_PLACE, "model", "other", "metric", "difference", "low", "high", "p", "p_holm", "verdict"]
    rows = (
        [*_place(part), c.model, c.other, c.metric, *_numbers(c.difference), f"{c.p:.6f}", f"{c.p_holm:.6f}", c.verdict]
        for part in found
        for comparisons in part.verdicts.values()
        for c in comparisons
    )
    return _csv(head, rows)


def groups(records: Sequence[Record], found: Sequence[Findings]) -> str:
    """Headline metrics by user activity, with intervals, and by item popularity, with the range over runs.

    ``low_degree`` and ``high_degree`` are training items of a user, or training users of an item. ``standing`` is "best" or
    "not shown to be worse" among the models of a group of users.
    """
    head = [
        *(*_PLACE, "of", "group", "low_degree", "high_degree", "n_users", "n_items", "model", "metric"),
        *("mean", "low", "high", "smallest_run", "largest_run", "standing"),
    ]
    return _csv(head, (row for part in found for row in (*_user_rows(part), *_item_rows(records, part))))


def _user_rows(part: Findings) -> Iterable[list[Any]]:
    for group in part.groups:
        for (model, metric), i in group.intervals.items():
            led = group.leaders[metric]
            standing = "best" if model == led.best else "not shown to be worse" if model in led.ties else ""
            place = [*_place(part), "users", group.number, group.low, group.high, group.n_users, ""]
            yield [*place, model, metric, *_numbers(i), "", "", standing]


def _item_rows(records: Sequence[Record], part: Findings) -> Iterable[list[Any]]:
    mine = runs_of(records, part)
    for group in mine[0].groups["item"]:
        place = [
            *_place(part),
            "items",
            *(group.get(name, "") for name in ("group", "low", "high", "n_users", "n_items")),
        ]
        for model in part.models:
            for metric in part.headlines:
                values = group_values(mine, model, group["group"], metric)
                if values:
                    numbers = [f"{number:.6f}" for number in (sum(values) / len(values), min(values), max(values))]
                    yield [*place, model, metric, numbers[0], "", "", *numbers[1:], ""]


def _place(part: Findings) -> list[str]:
    return [part.dataset, part.protocol, f"{part.level:g}"]


def _numbers(interval: Interval) -> list[str]:
    return [f"{value:.6f}" for value in (interval.value, interval.low, interval.high)]


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()
