"""What a run of MLflow is called and what it carries: pure functions of records."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buir.experiment.records import Record


def experiment_name(benchmark: str, dataset: str) -> str:
    """Name the experiment of a benchmark on a data set."""
    return f"buir-{benchmark}-{dataset}"


def leaf_name(record: Record) -> str:
    """Name the run of one cell; the split seed shows only where it is not the usual 0."""
    split = f"-split{record.split_seed}" if record.split_seed else ""
    return f"{record.model}-train{record.train_pct}{split}-s{record.seed}"


def search_name(record: Record) -> str:
    """Name the run of one search for settings."""
    split = f"-split{record.split_seed}" if record.split_seed else ""
    return f"{record.model}-train{record.train_pct}{split}-tuning"


def search_params(record: Record) -> dict[str, str]:
    """Flat parameters of a search: what was tuned on what, the budget, and the settings that were best."""
    compared = {name: getattr(record, name) for name in ("model", "dataset", "protocol", "train_pct", "split_seed")}
    if record.status == "ok":
        tuning = record.tuning
        compared |= {f"tuning.{name}": tuning[name] for name in ("trials", "metric", "max_seconds", "seed")}
        compared |= _flat({**record.params, **tuning["best_params"]}, "model.")
    return {name: str(value) for name, value in compared.items()}


def search_tags(record: Record) -> dict[str, str]:
    """Tags of a search's run, without parent and colour."""
    return _tags(record, "tune", "search", "buir tune")


def search_metrics(record: Record) -> dict[str, float]:
    """Give what a search ends with: the best value on the validation part, trials and seconds."""
    if record.status != "ok":
        return {"train_pct": float(record.train_pct)}
    tuning = record.tuning
    counts = {"tune/trials": record.n_trials, "time/tune_s": record.tune_s, "train_pct": record.train_pct}
    return finite({f"tune/{tuning['metric']}": tuning["best_value"]} | counts)


def trial_metrics(record: Record) -> list[tuple[int, float, dict[str, float]]]:
    """Stepwise metrics of a search: (trial from 1, seconds since the start, its value and the best so far)."""
    if record.status != "ok":
        return []
    steps, seconds, best = [], 0.0, -math.inf
    metric = record.tuning["metric"]
    for number, trial in enumerate(record.tuning["results"], start=1):
        seconds += trial["seconds"]
        value = trial["value"]
        if value is not None and trial["state"] == "complete":
            best = max(best, value)
        steps.append((number, seconds, finite({f"tune/trial_{metric}": value, f"tune/best_{metric}": best})))
    return steps


def leaf_params(record: Record) -> dict[str, str]:
    """Flat parameters: what was compared, and the hyper-parameters as ``model.<name>``.

    MLflow's page for comparing runs opens on the first differing parameters in alphabetical order: so it is the model.
    """
    compared = {
        name: getattr(record, name) for name in ("model", "dataset", "protocol", "train_pct", "split_seed", "seed")
    }
    return {name: str(value) for name, value in (compared | _flat(record.params, "model.")).items()}


def leaf_tags(record: Record) -> dict[str, str]:
    """Tags of one cell's run, without parent and colour."""
    tags = _tags(record, "fit", "cell", "buir benchmark")
    return tags | {"capped": "yes"} if record.capped else tags


def _tags(record: Record, kind: str, key: str, source: str) -> dict[str, str]:
    tags = {
        "kind": kind,
        key: record.key,
        "model": record.model,
        "status": record.status,
        "split_digest": record.split_digest,
        "mlflow.source.name": source,
        "mlflow.source.type": "LOCAL",
    }
    if record.git_commit:
        tags |= {"git_commit": record.git_commit, "mlflow.source.git.commit": record.git_commit.split("-")[0]}
    if record.status == "refused":
        tags |= {"reason": record.reason or "", "mlflow.note.content": f"n/a: {record.reason}"}
    return tags | {f"version.{name}": str(number) for name, number in record.versions.items()}


def final_metrics(record: Record) -> dict[str, float]:
    """Metrics that a cell ends with, the headline first, as the record has them, and the training share among them."""
    metrics = {f"test/{name}": value for name, value in record.metrics.items()}
    costs = {
        "time/fit_s": record.fit_s,
        "time/rank_s": record.rank_s,
        "time/tune_s": record.tune_s,
        "memory/peak_mb": record.peak_mb,
        "diagnostics/effective_rank": record.effective_rank,
    }
    if record.status != "ok":
        return {"train_pct": float(record.train_pct)}
    return finite(metrics | {"train_pct": record.train_pct} | costs)


def step_metrics(record: Record) -> list[tuple[int, float, dict[str, float]]]:
    """Stepwise metrics: (step, seconds since the start, values); validation by epoch, the system's use by second."""
    steps = []
    for place, entry in enumerate(record.history, start=1):
        values = {
            f"{'valid' if '_at_' in name else 'train'}/{name}": value
            for name, value in entry.items()
            if name not in ("epoch", "seconds")
        }
        steps.append((int(entry.get("epoch", place)), float(entry.get("seconds") or 0.0), finite(values)))
    for sample in record.system:
        values = {f"system/{name}": value for name, value in sample.items() if name != "seconds"}
        steps.append((round(sample["seconds"]), float(sample["seconds"]), finite(values)))
    return steps


def level_means(records: Iterable[Record], headline: Iterable[str]) -> dict[int, dict[str, float]]:
    """Mean over seeds of what a sweep shows, by training share in per cent, in rising order.

    A sweep shows the headline metrics, the seconds and the memory only: MLflow's first page draws a chart for every metric of its
    runs, and these are to be seen there at once. The single fits carry all metrics.
    """
    names = {*(f"test/{name}" for name in headline), "time/fit_s", "memory/peak_mb"}
    by_level: dict[int, list[dict[str, float]]] = {}
    for record in records:
        if record.status == "ok":
            shown = {name: value for name, value in final_metrics(record).items() if name in names}
            by_level.setdefault(record.train_pct, []).append(shown)
    return {pct: _means(by_level[pct]) for pct in sorted(by_level)}


def best_models(records: Sequence[Record], metric: str) -> str:
    """Name the model with the highest mean at each level, in a sentence; nothing if nothing is finished."""
    means: dict[int, dict[str, float]] = {}
    for model in dict.fromkeys(record.model for record in records):
        mine = [record for record in records if record.model == model]
        for pct, values in level_means(mine, [metric]).items():
            means.setdefault(pct, {})[model] = values[f"test/{metric}"]
    best = [f"at {pct} % {max(values, key=values.__getitem__)}" for pct, values in sorted(means.items())]
    return f"Highest mean test/{metric}: {', '.join(best)}." if best else ""


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Keep the finite numbers: MLflow would turn infinity into 1.8e308."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def note(plan: Mapping[str, Any], records: Sequence[Record], table: str) -> str:
    """Write the Markdown that stands above the runs: protocol, results and how to read the page."""
    config, first = plan["config"], records[0]
    protocol = ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in config["protocol"].items())
    size = first.data
    # MLflow shows the first words also while the note is folded: so they answer the first question.
    answer = best_models(records, plan["headline"][0])
    title = " ".join(part for part in (answer, config.get("description", "").strip()) if part)
    lines = [
        f"**{plan['name']} on {first.dataset}**: {title}".removesuffix(": "),
        "",
        table,
        "",
        f"* Protocol: {protocol}; model seeds {_text(config['seeds'])}. Training pairs and validation pairs are "
        "masked, all other items are ranked, and the mean over test users is shown. No decision used the test set.",
        f"* Data: {size.get('users', 0):,} users, {size.get('items', 0):,} items; split digests "
        + ", ".join(sorted({r.split_digest for r in records}))
        + ".",
        "* Each model is one run with its means over seeds (step = per cent of the training data); its children are "
        "the single fits. *Views* holds the curves with the spread over seeds, and the best models at each level.",
        "* time/fit_s and time/tune_s are seconds of the processor, all threads together; time/rank_s is seconds on the clock.",
    ]
    if config["protocol"]["kind"] == "author":
        lines.append("* The test set shrinks as the level grows: compare models within a level, not levels.")
    if config.get("tuning"):
        own = next((r.tuning["trials"] for r in records if r.tuning), config["tuning"]["trials"])
        budget = config["tuning"] | {"trials": own}
        lines.append(
            f"* Tuning, the same for every model, on each split's own validation part: {_text(budget)}. Seconds are those of the "
            "processor; they end the training of models with epochs only."
        )
    return "\n".join(lines)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0] if all(name in row for row in rows)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    return (
        ", ".join(map(str, value)) if isinstance(value, list) else str(value) if value is not None else json.dumps(None)
    )
