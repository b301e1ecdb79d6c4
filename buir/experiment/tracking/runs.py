"""What a run of MLflow is called and what it carries: pure functions of records."""

import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import pandas as pd
from jinja2 import Template
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from buir.experiment.records import Fit, Journal, Record, frame, headline, metric_label
from buir.experiment.tracking import store
from buir.plots import score_distributions

VOCABULARY = "2"
"""Of names of metrics and parameters: runs of another one are written anew. The first, of train/loss, had no mark."""
TEMPLATES = "buir.experiment.tracking"


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
        start = round(1000 * record.started)
        seconds = record.tune_s if search else record.fit_s + record.rank_s
        parts = ("train", "valid") if search else ("train", "valid", "test")
        return cls(
            name=run_name(record),
            start=start,
            end=start + max(1, round(1000 * seconds)),
            params=parameters(record),
            tags=_tags(record),
            metrics=final_metrics(record),
            steps=[
                _linked(Metric(name, value, start + round(1000 * second), step), record)
                for step, second, values in (_trials if search else _history)(record)
                for name, value in finite(values).items()
            ],
            inputs=[_input(record, part) for part in parts if record.data.get(part)],
            artifacts=_artifacts(record, journal),
        )

    def last_metrics(self, record: Record, model_id: str | None) -> list[Metric]:
        """Return the metrics that it ends with, linked to the logged model and to the pairs that they were measured on.

        Their step is the training share.
        """
        step = round(record.train_pct)
        given = (Metric(name, value, self.end, step, model_id=model_id) for name, value in self.metrics.items())
        return [_linked(metric, record) for metric in given]


def run_name(record: Record) -> str:
    """Name a run, ``ALS-train20-s1``; the split seed shows only where it is not the usual 0."""
    split = f"-split{record.split_seed}" if record.split_seed else ""
    return f"{record.model}-train{record.train_pct}{split}-{'tuning' if record.work == 'search' else f's{record.seed}'}"


def model_name(record: Record) -> str:
    """Name the logged model of a run after it, with a dash for every sign that MLflow refuses there."""
    return re.sub(r"[/:.%\"']", "-", run_name(record))


def parameters(record: Record) -> dict[str, str]:
    """Flat parameters: what was compared, the hyper-parameters as ``als.alpha``, and as ``fit.<name>`` what came of it.

    Those of a search are the best ones. A prefix for each kind keeps apart, on the page that compares runs, what only
    shares its name.
    """
    search = record.work == "search"
    names = ("model", "dataset", "protocol", "train_pct", "split_seed", *(() if search else ("seed",)))
    compared = {name: getattr(record, name) for name in names}
    prefix = f"{record.kind}."
    if not search:
        compared |= _flat(record.params, prefix)
        compared |= _flat(decided(record), "fit.")
    elif record.ok:
        compared |= {f"tuning.{name}": record.tuning[name] for name in ("trials", "metric", "max_seconds", "seed")}
        compared |= _flat({**record.params, **record.tuning["best_params"]}, prefix)
    return {name: str(value) for name, value in compared.items()}


def decided(record: Record) -> dict[str, Any]:
    """Tell what a fit came to that is no number to draw: what ended it, what "auto" stands for, strengths of terms."""
    fit = Fit.of(record)
    told = {"stopped": fit.stopped} | dict(fit.decided)
    told |= {"kept_training": fit.kept} if fit.kept else {}
    told |= {"terms": dict(fit.terms)} if fit.terms else {}
    told |= {"popularity": "this is popularity"} if record.is_popularity else {}
    return told | ({"collapse": fit.collapse} if fit.collapse else {})


def _tags(record: Record) -> dict[str, str]:
    search = record.work == "search"
    tags = {
        "kind": "tune" if search else "fit",
        record.work: record.key,
        "model": record.model,
        "status": record.status,
        "split_digest": record.split_digest,
        "vocabulary": VOCABULARY,
        "mlflow.source.name": "buir tune" if search else "buir benchmark",
        "mlflow.source.type": "LOCAL",
    }
    if record.git_commit:
        tags |= {"git_commit": record.git_commit, "mlflow.source.git.commit": record.git_commit.split("-")[0]}
    if record.status == "refused":
        tags |= {"reason": record.reason or ""}
    if record.capped:
        tags |= {"capped": "yes"}
    if record.decided_on != "valid":
        tags |= {"decided_on": record.decided_on}
    return tags | ({"popularity": "yes"} if record.is_popularity else {})


def final_metrics(record: Record) -> dict[str, float]:
    """Metrics that a record ends with, as it has them, and the training share among them.

    The interface orders its sections by name: ``test/`` has the two headlines, ``test_more/`` the others, ``training/``
    what the fit came to, ``usage/`` time and memory.
    """
    if not record.ok:
        return {"train_pct": float(record.train_pct)}
    shared = {"train_pct": record.train_pct, "usage/tune_s": record.tune_s}
    if record.work == "search":
        found = {f"tune/{record.tuning['metric']}": record.tuning["best_value"], "tune/trials": record.n_trials}
        return finite(found | shared)
    first = headlines(record)
    measured = {f"test{'' if name in first else '_more'}/{name}": value for name, value in record.metrics.items()}
    training = {f"training/{name}": value for name, value in Fit.of(record).numbers.items()}
    training |= {f"training/{name}": getattr(record, name) for name in ("effective_rank", "popularity_overlap")}
    usage = {f"usage/{name}": getattr(record, name) for name in ("fit_s", "rank_s", "peak_mb", "device_peak_mb")}
    return finite(measured | training | shared | usage)


def headlines(record: Record) -> tuple[str, str]:
    """Return the two headline metrics of a record, by the lengths of list it was measured at."""
    return headline(list(dict.fromkeys(int(name.rpartition("_at_")[2]) for name in record.metrics)))


def _linked(metric: Metric, record: Record) -> Metric:
    """Link a metric to the held-out pairs that it was measured on, if it was."""
    part = "test" if metric.key.startswith("test") else "valid" if metric.key.startswith("curve/valid_") else ""
    if not record.data.get(part):
        return metric
    data = _input(record, part).dataset
    return Metric(
        metric.key,
        metric.value,
        metric.timestamp,
        metric.step,
        model_id=metric.model_id,
        dataset_name=data.name,
        dataset_digest=data.digest,
    )


def _history(record: Record) -> Iterator[tuple[int, float, dict[str, Any]]]:
    """Give step, seconds since the start, and values of a fit: validation by epoch, the system's use by second."""
    for place, entry in enumerate(record.history, start=1):
        values = {
            f"curve/{'valid_' if '_at_' in name else ''}{name}": value
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
    where = {"environment.json": {"versions": dict(record.versions), "machine": dict(record.machine)}}
    if not record.ok:
        return where
    if record.work == "search":
        return where | {"trials.json": dict(record.tuning)}
    users = journal.users_file(record.key)
    found = where | {f"users/{users.name}": users, "groups.json": dict(record.groups)}
    if any("scores" in entry for entry in record.history):
        title = f"{record.model} on {record.dataset}, {record.train_pct} % of the training data"
        found["scores.png"] = score_distributions(record.history)
        found["scores.png"].suptitle(title, fontsize=10)
    return found | ({"lists/examples.json": pd.DataFrame(list(record.examples))} if record.examples else {})


def level_means(records: Iterable[Record], headline: Iterable[str]) -> dict[float, dict[str, float]]:
    """Mean over seeds of what a sweep shows, by training share in per cent, in rising order.

    A sweep shows the headline metrics, the seconds and the memory only, and the training share as the axis of charts:
    MLflow's first page draws a chart for every metric of its runs, and these are to be seen there at once. The single
    fits carry all metrics.
    """
    shown = {name: f"test/{name}" for name in headline} | {"fit_s": "usage/fit_s", "peak_mb": "usage/peak_mb"}
    done = frame(record for record in records if record.ok)
    if done.empty:
        return {}
    means = done.groupby("train_pct")[list(shown)].agg(lambda values: sum(values) / len(values)).rename(columns=shown)
    rows: Any = means.to_dict("index")
    return {pct: finite(row) | {"train_pct": float(pct)} for pct, row in rows.items()}


def sweep_metrics(means: Mapping[float, Mapping[str, float]], end: int) -> list[Metric]:
    """Return the metrics of a sweep: its means with the training share as their step, and a bar for each level."""
    found, below = [], sum(pct < 1 for pct in means)
    for place, (pct, values) in enumerate(means.items()):
        # steps are whole numbers: shares below one per cent have those from 0 downwards
        step = place - below + 1 if pct < 1 else round(pct)
        found += [Metric(name, value, end, step) for name, value in values.items()]
        bars = {store.at_level(pct, name): value for name, value in values.items() if name.startswith("test/")}
        found += [Metric(name, value, end, 0) for name, value in bars.items()]  # a chart of step 0 is one of bars
    return found


def users_table(journal: Journal, records: Iterable[Record], metrics: Sequence[str]) -> bytes:
    """Return, as Parquet, the values of some metrics for every user in every finished fit: a row for each of both."""
    parts = []
    for record in records:
        if record.ok:
            own = {name: getattr(record, name) for name in ("train_pct", "model", "split_seed", "seed")}
            parts.append(journal.read_users(record.key)[["user", "train_degree", *metrics]].assign(**own))
    whole = pd.concat(parts, ignore_index=True)
    whole = whole[["train_pct", "model", "split_seed", "seed", "user", "train_degree", *metrics]]
    whole.astype(dict.fromkeys(metrics, "float32")).to_parquet(buffer := io.BytesIO(), index=False)
    return buffer.getvalue()


def groups_table(records: Iterable[Record], of: str) -> pd.DataFrame:
    """Return the metrics of users by their activity ("user"), or of items by their popularity ("item"), as one table.

    A row for each group of each model at each level: bounds of the training degree, sizes, and means over the runs.
    """
    rows = [
        {"model": record.model, "train_pct": record.train_pct, **group}
        for record in records
        if record.ok
        for group in record.groups[of]
    ]
    if not rows:
        return pd.DataFrame()
    keys = ["model", "train_pct", "group"]
    counts = {"low": "min", "high": "max"}
    flat = pd.DataFrame(rows)
    means = {name: "mean" for name in flat.columns if name not in (*keys, *counts)}
    return flat.groupby(keys, sort=False, as_index=False).agg(counts | means)


def answers(records: Sequence[Record], metric: str) -> list[str]:
    """Say in plain words which model has the highest mean at each level, and where that is popularity."""
    done = frame(record for record in records if record.ok)
    if done.empty:
        return ["Nothing is finished."]
    told = []
    for pct, here in done.groupby("train_pct"):
        means = here.groupby("model", sort=False)[metric].mean()
        best, value = str(means.idxmax()), float(means.max())
        mine = [record for record in here["record"] if record.model == best]
        popular = "; its lists **are what is popular**" if all(record.is_popularity for record in mine) else ""
        text = f"At {pct:g} % of the training data **{best}** has the highest mean"
        told.append(f"{text} ({metric_label(metric)} {value:.4f}){popular}.")
    return told


def describe_fit(record: Record, model_uri: str | None, file: Path) -> str:
    """Write what a run came to, in words: result, end, weights of terms, and how to load the model if it was kept."""
    if not record.ok:
        return f"n/a: {record.reason}"
    fit, first = Fit.of(record), headlines(record) if record.metrics else ()
    if record.work == "search":
        found = f"{metric_label(record.tuning['metric'])} {record.tuning['best_value']:.4f}"
        best = ", ".join(f"{name}={value}" for name, value in record.tuning["best_params"].items()) or "the defaults"
        return f"**{run_name(record)}**: {record.n_trials} trials; best on validation pairs {found} with {best}."
    measured = ", ".join(f"{metric_label(name)} {record.metrics[name]:.4f}" for name in first if name in record.metrics)
    users = [example["user"] for example in record.examples]
    number = all(re.fullmatch(r"0|-?[1-9]\d*", user) for user in users)
    return _filled(
        "run.md.j2",
        title=run_name(record),
        result=f"{measured} on {record.n_test_users:,} test users of {record.dataset}, "
        f"{record.train_pct} % of the training data.",
        record=record,
        fit=fit,
        popular=record.is_popularity,
        decided=_words({name.replace("_", " "): _short(value) for name, value in fit.decided.items()}),
        model_uri=model_uri,
        user=(users[0] if number else repr(users[0])) if users else '"..."',
        file=file,
    )


def describe_sweep(records: Sequence[Record], metrics: Sequence[str]) -> str:
    """Write what the sweep of a model came to, level by level, in words."""
    lines = [f"**{records[0].model}** on {records[0].dataset}, means over its seeds. The single fits are its children."]
    for pct, here in groupby(sorted(records, key=lambda record: record.train_pct), key=lambda r: r.train_pct):
        mine = [record for record in here if record.ok]
        if not mine:
            lines.append(f"* At {pct} %: refused.")
            continue
        means = ", ".join(f"{metric_label(m)} {sum(r.metrics[m] for r in mine) / len(mine):.4f}" for m in metrics)
        popular = "; **this is popularity**" if all(record.is_popularity for record in mine) else ""
        ends = ", ".join(dict.fromkeys(Fit.of(record).stopped for record in mine))
        lines.append(f"* At {pct} %: {means}; ended by: {ends}{popular}.")
    return "\n".join([lines[0], "", *lines[1:]])


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Keep the finite numbers: MLflow would turn infinity into 1.8e308."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def note(
    plan: Mapping[str, Any], records: Sequence[Record], table: str, answer: Sequence[str] = (), views: str = ""
) -> str:
    """Write the Markdown that stands above the runs: the answer, the views, the results and how they came about.

    ``answer`` has sentences that say it better than the bare means do; ``views`` are links.
    """
    config = plan["config"]
    tuning = config.get("tuning")
    if tuning:
        tuning = tuning | {"trials": next((r.tuning["trials"] for r in records if r.tuning), tuning["trials"])}
    return _filled(
        "note.md.j2",
        plan=plan,
        records=records,
        answer=[*(answer or answers(records, plan["headline"][0]))],
        views=views,
        table=table,
        protocol=_words({name.replace("_", " "): value for name, value in config["protocol"].items()}),
        tuning=_words(tuning) if tuning else "",
    )


def _filled(template: str, **told: Any) -> str:
    # Lines are wrapped in the file, and whole in what is shown.
    text = files(TEMPLATES).joinpath(template).read_text(encoding="utf-8").replace("\n  ", " ")
    return Template(text, trim_blocks=True, lstrip_blocks=True).render(told).strip()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return flat


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
