"""The middle of a report: results, verdicts, groups of users and of items, all metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buir.experiment.records import Record, metric_label
from buir.experiment.report.advice import counted, mean_seconds, seconds_text
from buir.experiment.report.figures import sparsity_figure
from buir.experiment.report.pages import Block, Cell, Fold, Image, Section, Table
from buir.experiment.report.verdicts import comparison_text, interval_text, verdict_figure
from buir.experiment.statistics import Findings, Interval, Leaders


def results(records: Sequence[Record], found: Sequence[Findings]) -> Iterator[Section]:
    """One section for each data set: curves, then a table of each headline metric."""
    for dataset, parts in by_dataset(found).items():
        mine = [record for record in records if (record.dataset, record.protocol) == dataset]
        headlines = parts[0].headlines
        figure = sparsity_figure(parts)
        names = " and ".join(metric_label(metric) for metric in headlines)
        blocks: list[Block] = [
            Image(
                f"levels-{dataset[0]}-{dataset[1]}",
                figure,
                f"{names} on {dataset[0]} against the share of training data",
            )
        ]
        blocks += [_results_table(mine, parts, metric) for metric in headlines]
        blocks.append(_seconds_table(mine, parts))
        yield Section(f"Results on {dataset[0]}", blocks)


def verdicts(found: Sequence[Findings], references: Sequence[str]) -> Iterator[Section]:
    """Show the matrix as a heat map, then every comparison with its interval and p-value; nothing of one model alone."""
    metric = found[0].headlines[0]
    shown = [name for name in references if any(part.verdicts.get((name, metric)) for part in found)]
    if not shown:
        return
    figure = verdict_figure(found, shown, metric)
    blocks: list[Block] = [Image("verdicts", figure, f"Where {_verbs(shown)} on {metric_label(metric)}")]
    for metric in found[0].headlines:
        for reference in shown:
            tables = [
                _verdict_table(parts, reference, metric, dataset[0]) for dataset, parts in by_dataset(found).items()
            ]
            blocks.append(Fold(f"{reference} against each other model, {metric_label(metric)}", tables))
    yield Section("Verdicts", blocks)


def user_groups(found: Sequence[Findings]) -> Iterator[Section]:
    """Show the headline metrics by user activity, with intervals."""
    if not any(part.groups for part in found):
        return
    labels = " and ".join(metric_label(metric) for metric in found[0].headlines)
    blocks: list[Block] = [
        f"{labels} for fifths of the test users by number of training items (fewer groups where many have the same number), with intervals. Bold: highest mean; ≈: not shown to be worse."
    ]
    for part in found:
        if part.groups:
            head = ["model", *(_bounds(g.low, g.high, "item") for g in part.groups)]
            counts = ["users", *(f"{g.n_users:,}" for g in part.groups)]
            tables = []
            for metric in part.headlines:
                rows = [
                    [model, *(_led(g.intervals[model, metric], model, g.leaders[metric]) for g in part.groups)]
                    for model in part.models
                ]
                tables.append(Table(head, [counts, *rows], metric_label(metric)))
            blocks.append(Fold(f"{part.dataset}, {part.train_pct} %", tables))
    yield Section("Sparse and active users", blocks)


def item_groups(records: Sequence[Record], found: Sequence[Findings]) -> Iterator[Section]:
    """Show the headline metrics by item popularity, with the range over runs."""
    blocks: list[Block] = []
    for part in found:
        mine = runs_of(records, part)
        groups = {g["group"]: g for g in mine[0].groups["item"]}
        if groups:
            head = ["model", *(_bounds(g["low"], g["high"], "user") for g in groups.values())]
            sizes = [
                [name, *(f"{g[key]:,}" if key in g else "" for g in groups.values())]
                for name, key in (("items", "n_items"), ("users measured", "n_users"))
            ]
            tables = []
            for metric in part.headlines:
                rows = [
                    [model, *(_range(group_values(mine, model, n, metric)) for n in groups)] for model in part.models
                ]
                tables.append(Table(head, [*sizes, *rows], metric_label(metric)))
            blocks.append(Fold(f"{part.dataset}, {part.train_pct} %", tables))
    if blocks:
        labels = " and ".join(metric_label(metric) for metric in found[0].headlines)
        text = (
            f"{labels} on held-out items of each fifth of the training pairs by item popularity (bounds: users of the item). "
            "A number is the mean over runs; the smallest and the largest run follow where they differ. **The range is not an interval**: it shows what seeds (and splits) "
            "change, not what other users would, and a model without chance has none."
        )
        yield Section("Rare and popular items", [text, *blocks])


def other_metrics(records: Sequence[Record], found: Sequence[Findings]) -> Iterator[Section]:
    """Give every metric at the headline's length of list, with intervals; the CSV has all lengths."""
    k = found[0].headlines[0].rpartition("_at_")[2]
    blocks: list[Block] = [
        f"Every metric at {k}, with intervals; other lengths of list are in the CSV file beside this page. Coverage (share of the catalogue that is ever shown) belongs to a run, not to a user: smallest to largest run."
    ]
    for part in found:
        metrics = [
            metric for model, metric in part.intervals if model == part.models[0] and metric.rpartition("_at_")[2] == k
        ]
        rows = [
            [
                model,
                *(interval_text(part.intervals[model, metric]) for metric in metrics),
                _coverage(records, part, model, k),
            ]
            for model in part.models
        ]
        head = ["model", *(metric_label(metric) for metric in metrics), f"coverage@{k}"]
        blocks.append(Fold(f"{part.dataset}, {part.train_pct} %", [Table(head, rows)]))
    yield Section("All metrics", blocks)


def runs_of(records: Sequence[Record], part: Findings) -> list[Record]:
    """Return the finished runs behind one finding."""
    place = (part.dataset, part.protocol, part.level)
    return [r for r in records if r.status == "ok" and (r.dataset, r.protocol, r.level) == place]


def group_values(records: Sequence[Record], model: str, number: int, metric: str) -> list[float]:
    """Return a metric of one model on one group of items, run by run."""
    return [
        group[metric]
        for record in records
        if record.model == model
        for group in record.groups["item"]
        if group["group"] == number and group.get(metric) is not None
    ]


def by_dataset(found: Sequence[Findings]) -> dict[tuple[str, str], list[Findings]]:
    """Group findings by data set and protocol, levels in order."""
    groups: dict[tuple[str, str], list[Findings]] = {}
    for part in found:
        groups.setdefault((part.dataset, part.protocol), []).append(part)
    return groups


def _results_table(records: Sequence[Record], parts: Sequence[Findings], metric: str) -> Table:
    rows: list[list[str | Cell]] = []
    for model in dict.fromkeys(record.model for record in records):
        row: list[str | Cell] = [model]
        for part in parts:
            if model in part.models:
                row.append(_led(part.intervals[model, metric], model, part.leaders[metric]))
            else:
                here = [r for r in records if r.model == model and r.level == part.level]
                row.append("refused" if here else "not run")
        rows.append(row)
    users = {part.intervals[part.models[0], metric].n_users for part in parts}
    counted = f"{min(users):,}" if len(users) == 1 else f"{min(users):,} to {max(users):,}"
    caption = (
        f"{metric_label(metric)}, mean over {counted} users [interval]. Bold: highest mean; ≈: not shown to be worse."
    )
    return Table(["model", *(f"{part.train_pct} % kept" for part in parts)], rows, caption)


def _seconds_table(records: Sequence[Record], parts: Sequence[Findings]) -> Table:
    """Put the price beside the quality; the appendix has ranges, ranking and memory."""
    rows: list[list[str]] = []
    times = [mean_seconds(records, part) for part in parts]
    for model in dict.fromkeys(record.model for record in records):
        row = [model]
        for part, seconds in zip(parts, times, strict=True):
            here = [r for r in records if (r.model, r.level) == (model, part.level)]
            searches = {r.split_seed: r.tune_s for r in here}
            search = sum(searches.values()) / len(searches) if searches else 0.0
            extra = f" + {seconds_text(search)}" if search else ""
            row.append(f"{seconds_text(seconds[model])}{extra}" if model in seconds else "")
        rows.append(row)
    return Table(
        ["model", *(f"{part.train_pct} % kept" for part in parts)],
        rows,
        "What it costs, in seconds of the processor (all threads together): mean of training a run, + mean of a search for settings",
    )


def _verdict_table(parts: Sequence[Findings], reference: str, metric: str, dataset: str) -> Table:
    others = dict.fromkeys(name for part in parts for name in part.models if name != reference)
    rows: list[list[str | Cell]] = []
    for other in others:
        row: list[str | Cell] = [other]
        for part in parts:
            comparisons = [c for c in part.verdicts.get((reference, metric), []) if c.other == other]
            row += [Cell(comparison_text(c), c.verdict) for c in comparisons] or ["not run"]
        rows.append(row)
    return Table([f"{dataset}: {reference} minus", *(f"{part.train_pct} %" for part in parts)], rows)


def _led(interval: Interval, model: str, leaders: Leaders) -> Cell:
    mark = " ≈" if model in leaders.ties else ""
    return Cell(interval_text(interval) + mark, "best" if model == leaders.best else "")


def _coverage(records: Sequence[Record], part: Findings, model: str, k: str) -> str:
    mine = [r for r in runs_of(records, part) if r.model == model]
    return _range([r.metrics[f"coverage_at_{k}"] for r in mine if r.metrics.get(f"coverage_at_{k}") is not None])


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{sum(values) / len(values):.4f}"
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    return mean if low == high else f"{mean} ({low} to {high})"


def _bounds(low: int, high: int, word: str) -> str:
    """Write ``1 item``, ``2 items``, ``3 to 7 items``."""
    return counted(low, word) if low == high else f"{low:,} to {high:,} {word}s"


def _verbs(names: Sequence[str]) -> str:
    """Write ``A wins, ties and loses``, ``A, B and C win, tie and lose``."""
    if len(names) == 1:
        return f"{names[0]} wins, ties and loses"
    return f"{', '.join(names[:-1])} and {names[-1]} win, tie and lose"
