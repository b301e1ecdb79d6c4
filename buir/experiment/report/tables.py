"""The tables of one data set for a terminal and for MLflow: every number comes from a record or a finding."""

from collections.abc import Mapping, Sequence

from buir.experiment.records import Record, frame, metric_label
from buir.experiment.report.blocks import Table, aligned, markdown, table
from buir.experiment.report.words import POPULARITY, interval_text, popular_models, range_text, settings_text
from buir.experiment.statistics import Findings

_SECONDS = (
    "Sums over all levels and seeds; fit and tune count what all threads used of the processor, "
    "rank is time on the clock."
)


def results_table(
    records: Sequence[Record], metric: str, found: Sequence[Findings], corner: str = "model"
) -> tuple[Table, list[str]]:
    """Lay out one metric of one data set: a row for each model, a column for each level, every mean with its interval.

    Returns
    -------
    The table, and the footnotes: reasons of refused cells.
    """
    parts = {part.train_pct: part for part in found}
    refused = {(r.model, r.train_pct): f"n/a: {r.model}: {r.reason}" for r in reversed(records) if not r.ok}
    levels = sorted({record.train_pct for record in records})
    popular = {pct: popular_models([r for r in records if r.train_pct == pct]) for pct in levels}
    blank = "  " if any(popular.values()) else " "

    def shown(name: str, pct: float) -> str:
        if pct not in parts or name not in parts[pct].models:
            return f"{'n/a' if (name, pct) in refused else 'not run'}{blank}"
        led = parts[pct].leaders[metric]
        mark = "*" if name == led.best else "≈" if name in led.ties else " "
        mark += "†" if name in popular[pct] else blank[1:]
        return interval_text(parts[pct].intervals[name, metric]) + mark

    rows = [[name, *(shown(name, pct) for pct in levels)] for name in dict.fromkeys(r.model for r in records)]
    notes = [
        refused[row[0], pct] for row in rows for pct, text in zip(levels, row[1:], strict=True) if text.strip() == "n/a"
    ]
    notes += [f"† this is popularity. {POPULARITY}"] if any(popular.values()) else []
    return table([corner, *(f"train {pct} %" for pct in levels)], rows), list(dict.fromkeys(notes))


def seconds_table(records: Sequence[Record], shared: Mapping[str, str]) -> Table:
    """Lay out what each model spent on one data set: sums over all levels and seeds.

    The seconds of a search that other models share, such as ``{"ALS-terms": "ALS"}``, stand with the one that made it.
    """
    rows = []
    for name, mine in frame(records).groupby("model", sort=False):
        done = mine[mine["status"] == "ok"]
        # One search serves all model seeds of a split.
        searches = done.drop_duplicates(["train_pct", "split_seed"], keep="last")
        seconds = (done["fit_s"].sum(), done["rank_s"].sum(), searches["tune_s"].sum())
        shown = [f"{s:.1f}" if len(done) else "" for s in seconds]
        rows.append([name, *shown[:2], f"in {shared[str(name)]}" if name in shared else shown[2]])
    return table(["seconds", "fit (processor)", "rank (clock)", "tune (processor)"], rows)


def searches_table(records: Sequence[Record]) -> Table:
    """Lay out searches for settings on one data set and level: what each model reached, spent and chose."""
    metric = next((record.tuning["metric"] for record in records if record.ok), "value")
    several = len({record.split_seed for record in records}) > 1
    rows = []
    for record in records:
        said = ["n/a", "", "", f"refused: {record.reason}"]
        if record.ok:
            best, params = f"{record.tuning['best_value']:.4f}", settings_text(record.tuning["best_params"])
            said = [best, str(record.n_trials), f"{record.tune_s:.1f}", params]
        rows.append([record.model, *([str(record.split_seed)] if several else []), *said])
    head = ["model", *(["split seed"] if several else []), f"valid {metric_label(metric)}"]
    return table([*head, "trials", "processor s", "best settings"], rows)


def text_report(
    records: Sequence[Record], found: Sequence[Findings], metrics: Sequence[str], shared: Mapping[str, str]
) -> str:
    """Write the tables of one data set for a terminal."""
    made = [results_table(records, metric, found) for metric in metrics]
    blocks = [f"{metric_label(metric)}\n{aligned(shown)}" for metric, (shown, _) in zip(metrics, made, strict=True)]
    notes = "\n".join([*made[-1][1], _legend(found)])
    return "\n\n".join([_caption(records), *blocks, notes, aligned(seconds_table(records, shared)), _SECONDS])


def markdown_report(
    records: Sequence[Record], found: Sequence[Findings], metrics: Sequence[str], shared: Mapping[str, str]
) -> str:
    """Write the tables of one data set in Markdown."""
    made = [results_table(records, metric, found, metric_label(metric)) for metric in metrics]
    blocks = [*(markdown(shown) for shown, _ in made), *made[-1][1], _legend(found)]
    return "\n\n".join([_caption(records), *blocks, markdown(seconds_table(records, shared)), _SECONDS])


def _caption(records: Sequence[Record]) -> str:
    first = records[0]
    users = [record.n_test_users for record in records if record.ok]
    counted = range_text(users, "test user") if users else "no test users"
    return f"{first.dataset}, protocol {first.protocol}, full ranking, mean over {counted}"


def _legend(found: Sequence[Findings]) -> str:
    """Explain the brackets and the marks."""
    if not found:
        return "nothing is finished"
    covers = dict.fromkeys(", ".join(i.covers) for part in found for i in part.intervals.values())
    percent = f"{100 * found[0].confidence:g} %"
    return f"[{percent} interval over {' or '.join(covers)}]; * highest mean of a column; ≈ not shown to be worse"
