"""Tables of records in text: every number comes from a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from buir.experiment.figures import metric_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def searches_table(records: Sequence[Record]) -> Rows:
    """Lay out searches for settings on one data set and level: what each model reached, spent and chose; head first."""
    splits = {record["split_seed"] for record in records}
    metric = next((r["tuning"]["metric"] for r in records if r["status"] == "ok"), "value")
    several = ["split seed"] if len(splits) > 1 else []
    rows = [["model", *several, f"valid {metric_label(metric)}", "trials", "seconds", "best settings"]]
    for record in records:
        first = [record["model"], *([str(record["split_seed"])] if several else [])]
        if record["status"] != "ok":
            rows.append([*first, "n/a", "", "", f"refused: {record['reason']}"])
            continue
        found = record["tuning"]
        spent = [str(record["n_trials"]), f"{record['tune_s']:.1f}"]
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
