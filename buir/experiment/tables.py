"""Tables of records in text: every number comes from a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from buir.experiment.figures import metric_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buir.experiment.journal import Record

Rows = list[list[str]]


def results_table(records: Sequence[Record], metric: str) -> tuple[Rows, list[str]]:
    """Lay out one metric of one data set: a row for each model, a column for each level, seconds at the end.

    Returns
    -------
    The rows, head first, and the footnotes: reasons of refused cells.
    """
    levels = sorted({record["train_pct"] for record in records})
    names = list(dict.fromkeys(record["model"] for record in records))
    notes: list[str] = []
    means = {(n, pct): _values(records, n, pct, metric) for n in names for pct in levels}
    best = {pct: max((float(np.mean(means[n, pct])) for n in names if means[n, pct]), default=None) for pct in levels}
    rows = [["model", *(f"train {pct} %" for pct in levels), "fit s", "rank s", "tune s"]]
    for name in names:
        cells = []
        for pct in levels:
            values = means[name, pct]
            cells.append(_mean_and_spread(values, best[pct]) if values else _missing(records, name, pct, notes))
        done = [r for r in records if r["model"] == name and r["status"] == "ok"]
        # One search serves all model seeds of a split.
        searches = {(r["train_pct"], r["split_seed"]): r["tune_s"] for r in done}
        seconds = [sum(r["fit_s"] for r in done), sum(r["rank_s"] for r in done), sum(searches.values())]
        cells += [f"{s:.1f}" if done else "" for s in seconds]
        rows.append([name, *cells])
    return rows, notes


def text_report(records: Sequence[Record], metrics: Sequence[str]) -> str:
    """Write the tables of one data set for a terminal."""
    blocks = [_caption(records)]
    notes: list[str] = []
    for metric in metrics:
        rows, notes = results_table(records, metric)
        blocks.append(f"{metric_label(metric)}\n{aligned(rows)}")
    return "\n\n".join([*blocks, "\n".join([*notes, _legend(records)])])


def markdown_report(records: Sequence[Record], metrics: Sequence[str]) -> str:
    """Write the tables of one data set in Markdown."""
    blocks = [_caption(records)]
    notes: list[str] = []
    for metric in metrics:
        rows, notes = results_table(records, metric)
        head, *body = [[metric_label(metric), *rows[0][1:]], *rows[1:]]
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
        blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join([*blocks, *notes, _legend(records)])


def aligned(rows: Rows) -> str:
    """Pad columns to equal width: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if column == 0 else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])])


def _caption(records: Sequence[Record]) -> str:
    first = records[0]
    users = sorted({record["n_test_users"] for record in records if record["status"] == "ok"})
    counted = f"{users[0]:,}" if len(users) == 1 else f"{users[0]:,} to {users[-1]:,}" if users else "no"
    return f"{first['dataset']}, protocol {first['protocol']}, full ranking, mean over {counted} test users"


def _legend(records: Sequence[Record]) -> str:
    runs = {len(_values(records, r["model"], r["train_pct"], None)) for r in records if r["status"] == "ok"}
    spread = f"± standard deviation over {max(runs)} runs (seeds); " if runs and max(runs) > 1 else ""
    return f"{spread}* highest mean of a column; seconds are sums over all levels and seeds"


def _values(records: Sequence[Record], model: str, pct: int, metric: str | None) -> list[float]:
    chosen = [r for r in records if r["model"] == model and r["train_pct"] == pct and r["status"] == "ok"]
    return [0.0 if metric is None else r["metrics"][metric] for r in chosen]


def _mean_and_spread(values: list[float], best: float | None) -> str:
    mean = float(np.mean(values))
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{mean:.4f}{spread}{'*' if mean == best else ' '}"


def _missing(records: Sequence[Record], model: str, pct: int, notes: list[str]) -> str:
    reasons = [
        r["reason"] for r in records if r["model"] == model and r["train_pct"] == pct and r["status"] == "refused"
    ]
    if not reasons:
        return "not run "
    note = f"n/a: {model}: {reasons[0]}"
    if note not in notes:
        notes.append(note)
    return "n/a "
