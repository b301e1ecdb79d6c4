"""What a run of MLflow is called and what it carries: pure functions of records."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

import pandas as pd
from jinja2 import Template
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from buir.experiment.records import Journal, Record, frame
from buir.plots import score_distributions


@dataclass(frozen=True)
class RunContent:
    """What the run of a cell, or of a search for settings, holds."""

    name: str
    """The split seed shows only where it is not the usual 0."""
    start: int
    """Milliseconds of the epoch, as ``end``."""
    end: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    """Without parent and colour."""
    metrics: Mapping[str, float]
    """What it ends with; their step is the training share."""
    steps: Sequence[Metric]
    inputs: Sequence[DatasetInput]
    """What was learnt from, and what was held out."""
    artifacts: Mapping[str, Any]
    """Contents by name: a dict, a frame, a figure, or a file to be copied."""

    @classmethod
    def of(cls, record: Record, journal: Journal) -> Self:
        """Describe the run of a record of a journal."""
        search = record.work == "search"
        split = f"-split{record.split_seed}" if record.split_seed else ""
        start = round(1000 * record.started)
        seconds = record.tune_s if search else record.fit_s + record.rank_s
        return cls(
            name=f"{record.model}-train{record.train_pct}{split}-{'tuning' if search else f's{record.seed}'}",
            start=start,
            end=start + max(1, round(1000 * seconds)),
            params=_params(record),
            tags=_tags(record),
            metrics=final_metrics(record),
            steps=[
                Metric(name, value, start + round(1000 * second), step)
                for step, second, values in (_trials if search else _history)(record)
                for name, value in finite(values).items()
            ],
            inputs=[_input(record, part) for part in ("train", "valid" if search else "test")],
            artifacts=_artifacts(record, journal) if record.ok else {},
        )


def _params(record: Record) -> dict[str, str]:
    """Flat parameters: what was compared, and the hyper-parameters as ``model.<name>``; the best ones of a search.

    MLflow's page for comparing runs opens on the first differing parameters in alphabetical order: so it is the model.
    """
    search = record.work == "search"
    names = ("model", "dataset", "protocol", "train_pct", "split_seed", *(() if search else ("seed",)))
    compared = {name: getattr(record, name) for name in names}
    if not search:
        compared |= _flat(record.params, "model.")
    elif record.ok:
        compared |= {f"tuning.{name}": record.tuning[name] for name in ("trials", "metric", "max_seconds", "seed")}
        compared |= _flat({**record.params, **record.tuning["best_params"]}, "model.")
    return {name: str(value) for name, value in compared.items()}


def _tags(record: Record) -> dict[str, str]:
    search = record.work == "search"
    tags = {
        "kind": "tune" if search else "fit",
        record.work: record.key,
        "model": record.model,
        "status": record.status,
        "split_digest": record.split_digest,
        "mlflow.source.name": "buir tune" if search else "buir benchmark",
        "mlflow.source.type": "LOCAL",
    }
    if record.git_commit:
        tags |= {"git_commit": record.git_commit, "mlflow.source.git.commit": record.git_commit.split("-")[0]}
    if record.status == "refused":
        tags |= {"reason": record.reason or "", "mlflow.note.content": f"n/a: {record.reason}"}
    if record.capped:
        tags |= {"capped": "yes"}
    return tags | {f"version.{name}": str(number) for name, number in record.versions.items()}


def final_metrics(record: Record) -> dict[str, float]:
    """Metrics that a record ends with, as it has them, and the training share among them."""
    if not record.ok:
        return {"train_pct": float(record.train_pct)}
    shared = {"train_pct": record.train_pct, "time/tune_s": record.tune_s}
    if record.work == "search":
        found = {f"tune/{record.tuning['metric']}": record.tuning["best_value"], "tune/trials": record.n_trials}
        return finite(found | shared)
    costs = {
        "time/fit_s": record.fit_s,
        "time/rank_s": record.rank_s,
        "memory/peak_mb": record.peak_mb,
        "diagnostics/effective_rank": record.effective_rank,
    }
    return finite({f"test/{name}": value for name, value in record.metrics.items()} | shared | costs)


def _history(record: Record) -> Iterator[tuple[int, float, dict[str, Any]]]:
    """Give step, seconds since the start, and values of a fit: validation by epoch, the system's use by second."""
    for place, entry in enumerate(record.history, start=1):
        values = {
            f"{'valid' if '_at_' in name else 'train'}/{name}": value
            for name, value in entry.items()
            if name not in ("epoch", "seconds")
        }
        yield int(entry.get("epoch", place)), float(entry.get("seconds") or 0.0), values
    for sample in record.system:
        values = {f"system/{name}": value for name, value in sample.items() if name != "seconds"}
        yield round(sample["seconds"]), float(sample["seconds"]), values


def _trials(record: Record) -> Iterator[tuple[int, float, dict[str, Any]]]:
    """Give trial from 1, seconds since the start, its value and the best so far."""
    seconds, best = 0.0, -math.inf
    for number, trial in enumerate(record.tuning["results"] if record.ok else (), start=1):
        seconds += trial["seconds"]
        value = trial["value"]
        if value is not None and trial["state"] == "complete":
            best = max(best, value)
        metric = record.tuning["metric"]
        yield number, seconds, {f"tune/trial_{metric}": value, f"tune/best_{metric}": best}


def _input(record: Record, part: str) -> DatasetInput:
    data = record.data
    profile = {"users": data["users"], "items": data["items"], "pairs": data[part]}
    source, name = {"uri": record.dataset}, f"{record.dataset}-{part}"
    if part == "train":
        # Levels share their held-out pairs, and MLflow keeps one data set of a digest:
        # only training data belong to one split.
        source, name = source | {"split": record.split_digest}, f"{name}{record.train_pct}"
    dataset = Dataset(name, data[f"{part}_digest"], "local", json.dumps(source), profile=json.dumps(profile))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", part)])


def _artifacts(record: Record, journal: Journal) -> dict[str, Any]:
    if record.work == "search":
        return {"trials.json": dict(record.tuning)}
    users = journal.users_file(record.key)
    found = {f"users/{users.name}": users, "groups.json": dict(record.groups)}
    if any("scores" in entry for entry in record.history):
        title = f"{record.model} on {record.dataset}, {record.train_pct} % of the training data"
        found["scores.png"] = score_distributions(record.history)
        found["scores.png"].suptitle(title, fontsize=10)
    return found | ({"lists/examples.json": pd.DataFrame(list(record.examples))} if record.examples else {})


def level_means(records: Iterable[Record], headline: Iterable[str]) -> dict[int, dict[str, float]]:
    """Mean over seeds of what a sweep shows, by step, which is the training share in per cent, in rising order.

    Steps are whole numbers: shares below one per cent have those from 0 downwards.

    A sweep shows the headline metrics, the seconds and the memory only: MLflow's first page draws a chart for every
    metric of its runs, and these are to be seen there at once. The single fits carry all metrics.
    """
    shown = {name: f"test/{name}" for name in headline} | {"fit_s": "time/fit_s", "peak_mb": "memory/peak_mb"}
    done = frame(record for record in records if record.ok)
    if done.empty:
        return {}
    means = done.groupby("train_pct")[list(shown)].agg(lambda values: sum(values) / len(values)).rename(columns=shown)
    rows: Any = means.to_dict("index")
    below = sum(pct < 1 for pct in rows)
    return {place - below + 1 if pct < 1 else round(pct): finite(row) for place, (pct, row) in enumerate(rows.items())}


def best_models(records: Sequence[Record], metric: str) -> str:
    """Name the model with the highest mean at each level, in a sentence; nothing if nothing is finished."""
    done = frame(record for record in records if record.ok)
    if done.empty:
        return ""
    means = done.groupby(["train_pct", "model"], sort=False)[metric].mean()
    best = [f"at {pct:g} % {model}" for pct, model in means.groupby("train_pct").idxmax()]
    return f"Highest mean test/{metric}: {', '.join(best)}."


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Keep the finite numbers: MLflow would turn infinity into 1.8e308."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def note(plan: Mapping[str, Any], records: Sequence[Record], table: str) -> str:
    """Write the Markdown that stands above the runs: protocol, results and how to read the page."""
    config = plan["config"]
    tuning = config.get("tuning")
    if tuning:
        tuning = tuning | {"trials": next((r.tuning["trials"] for r in records if r.tuning), tuning["trials"])}
    # Lines are wrapped in the file, and whole in the note.
    template = files("buir.experiment.tracking").joinpath("note.md.j2").read_text(encoding="utf-8")
    return Template(template.replace("\n  ", " ")).render(
        plan=plan,
        records=records,
        best=best_models(records, plan["headline"][0]),
        table=table,
        protocol=_words({name.replace("_", " "): value for name, value in config["protocol"].items()}),
        tuning=_words(tuning) if tuning else "",
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
