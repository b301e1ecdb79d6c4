"""Tables of records in text: every number comes from a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buir.experiment.records import metric_label
from buir.experiment.report.verdicts import interval_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buir.experiment.records import Record
    from buir.experiment.statistics import Findings

Rows = list[list[str]]
_SECONDS = "Sums over all levels and seeds; fit and tune count what all threads used of the processor, rank is time on the clock."


def results_table(records: Sequence[Record], metric: str, found: Sequence[Findings]) -> tuple[Rows, list[str]]:
    """Lay out one metric of one data set: a row for each model, a column for each level, every mean with its interval.

    Parameters
    ----------
    records
        Of one data set.
    metric
        A headline metric of the findings.
    found
        What the records amount to, a level each.

    Returns
    -------
    The rows, head first, and the footnotes: reasons of refused cells.
    """
    levels = sorted({record.train_pct for record in records})
    parts = {part.train_pct: part for part in found}
    notes: list[str] = []
    rows = [["model", *(f"train {pct} %" for pct in levels)]]
    for name in dict.fromkeys(record.model for record in records):
        cells = [
            _mean(parts[pct], name, metric)
            if pct in parts and name in parts[pct].models
            else _missing(records, name, pct, notes)
            for pct in levels
        ]
        rows.append([name, *cells])
    return rows, notes


def seconds_table(records: Sequence[Record]) -> Rows:
    """Lay out what each model spent on one data set, head first: sums over all levels and seeds."""
    rows = [["seconds", "fit (processor)", "rank (clock)", "tune (processor)"]]
    for name in dict.fromkeys(record.model for record in records):
        done = [r for r in records if r.model == name and r.status == "ok"]
        # One search serves all model seeds of a split.
        searches = {(r.train_pct, r.split_seed): r.tune_s for r in done}
        seconds = [sum(r.fit_s for r in done), sum(r.rank_s for r in done), sum(searches.values())]
        rows.append([name, *(f"{s:.1f}" if done else "" for s in seconds)])
    return rows


def text_report(records: Sequence[Record], found: Sequence[Findings], metrics: Sequence[str]) -> str:
    """Write the tables of one data set for a terminal."""
    blocks = [_caption(records)]
    notes: list[str] = []
    for metric in metrics:
        rows, notes = results_table(records, metric, found)
        blocks.append(f"{metric_label(metric)}\n{aligned(rows)}")
    return "\n\n".join([*blocks, "\n".join([*notes, _legend(found)]), aligned(seconds_table(records)), _SECONDS])


def markdown_report(records: Sequence[Record], found: Sequence[Findings], metrics: Sequence[str]) -> str:
    """Write the tables of one data set in Markdown."""
    blocks = [_caption(records)]
    notes: list[str] = []
    for metric in metrics:
        rows, notes = results_table(records, metric, found)
        blocks.append(_markdown([[metric_label(metric), *rows[0][1:]], *rows[1:]]))
    return "\n\n".join([*blocks, *notes, _legend(found), _markdown(seconds_table(records)), _SECONDS])


def searches_table(records: Sequence[Record]) -> Rows:
    """Lay out searches for settings on one data set and level: what each model reached, spent and chose; head first."""
    splits = {record.split_seed for record in records}
    metric = next((r.tuning["metric"] for r in records if r.status == "ok"), "value")
    several = ["split seed"] if len(splits) > 1 else []
    rows = [["model", *several, f"valid {metric_label(metric)}", "trials", "processor s", "best settings"]]
    for record in records:
        first = [record.model, *([str(record.split_seed)] if several else [])]
        if record.status != "ok":
            rows.append([*first, "n/a", "", "", f"refused: {record.reason}"])
            continue
        found = record.tuning
        spent = [str(record.n_trials), f"{record.tune_s:.1f}"]
        rows.append([*first, f"{found['best_value']:.4f}", *spent, settings_text(found["best_params"])])
    return rows


def settings_text(params: Mapping[str, Any]) -> str:
    """Write settings on a line, numbers with four digits."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in sorted(params.items())) or "none"


def value_text(value: Any) -> str:
    """Write one setting."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def aligned(rows: Rows, *, words: bool = False) -> str:
    """Pad columns to equal width: the first to the left, and the last of ``words``, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if column == 0 or (words and column == len(row) - 1) else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])])


def _caption(records: Sequence[Record]) -> str:
    first = records[0]
    users = sorted({record.n_test_users for record in records if record.status == "ok"})
    counted = f"{users[0]:,}" if len(users) == 1 else f"{users[0]:,} to {users[-1]:,}" if users else "no"
    return f"{first.dataset}, protocol {first.protocol}, full ranking, mean over {counted} test users"


def _legend(found: Sequence[Findings]) -> str:
    """Explain the brackets and the marks."""
    if not found:
        return "nothing is finished"
    covers = dict.fromkeys(", ".join(i.covers) for part in found for i in part.intervals.values())
    percent = f"{100 * found[0].confidence:g} %"
    return f"[{percent} interval over {' or '.join(covers)}]; * highest mean of a column; ≈ not shown to be worse"


def _mean(part: Findings, model: str, metric: str) -> str:
    led = part.leaders[metric]
    mark = "*" if model == led.best else "≈" if model in led.ties else " "
    return interval_text(part.intervals[model, metric]) + mark


def _markdown(rows: Rows) -> str:
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _missing(records: Sequence[Record], model: str, pct: int, notes: list[str]) -> str:
    reasons = [r.reason for r in records if r.model == model and r.train_pct == pct and r.status == "refused"]
    if not reasons:
        return "not run "
    note = f"n/a: {model}: {reasons[0]}"
    if note not in notes:
        notes.append(note)
    return "n/a "
