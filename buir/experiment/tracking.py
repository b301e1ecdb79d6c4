"""Records of the journal -> runs of MLflow; nothing is logged twice and nothing here ends a benchmark."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from buir.experiment import models, runs, store
from buir.experiment.figures import metric_label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buir.experiment.journal import Journal, Record

_PARENT = "mlflow.parentRunId"
_BATCH = 1000  # most metrics that MLflow takes in one call


class Tracker:
    """Writes cells into MLflow as they finish, and catches up with what is missing at the end.

    Parameters
    ----------
    journal
        Where the records are: the truth, of which MLflow is a copy.
    uri
        Tracking URI.
    warn
        Called once, with one line, if the store cannot be used.
    """

    def __init__(self, journal: Journal, uri: str, warn: Callable[[str], None]) -> None:
        self._journal = journal
        self._uri = uri
        self._warn = warn
        self._writers: dict[str, Writer] = {}
        self._client: MlflowClient | None = None
        self.down = False

    def log(self, record: Record) -> None:
        """Write one cell; does nothing after a failure."""
        self._guarded(lambda plan: self._writer(plan, record["dataset"]).leaf(record))

    def finish(self, artifacts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Write what is missing of the latest plan, the sweeps, and the summary runs.

        Parameters
        ----------
        artifacts
            Data set -> file name -> text or Matplotlib figure, kept in the data set's summary run; "table.md" is also
            the text above the runs.

        Returns
        -------
        Data set -> id of its experiment, empty if the store could not be used.
        """
        done: dict[str, str] = {}

        def write(plan: dict[str, Any]) -> None:
            by_dataset: dict[str, list[Record]] = {}
            for record in self._journal.records(plan["keys"]):
                by_dataset.setdefault(record["dataset"], []).append(record)
            for dataset, records in by_dataset.items():
                writer = self._writer(plan, dataset)
                writer.everything(plan, records, artifacts.get(dataset, {}))
                done[dataset] = writer.experiment_id

        self._guarded(write)
        return {} if self.down else done

    def _writer(self, plan: Mapping[str, Any], dataset: str) -> Writer:
        name = runs.experiment_name(plan["name"], dataset)
        if name not in self._writers:
            if self._client is None:
                self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            colours = models.colours(plan["models"])
            self._writers[name] = Writer(self._client, self._journal, name, colours, local=store.is_local(self._uri))
        return self._writers[name]

    def _guarded(self, write: Callable[[dict[str, Any]], None]) -> None:
        """Run ``write`` unless the store is down; a first failure of any kind makes it down and is told once."""
        plan = self._journal.read_plan()
        if self.down or plan is None:
            return
        try:
            if not store.answers(self._uri):
                msg = f"no answer from {self._uri}"
                raise ConnectionError(msg)
            write(plan)
        except Exception as error:  # noqa: BLE001 - tracking must never end a benchmark, whatever a store does
            self.down = True
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._warn(
                f"MLflow cannot be used ({reason}). Nothing is lost: results are in {self._journal.folder}; "
                f"write them to MLflow later with: buir sync --out {self._journal.folder}"
            )


class Writer:
    """One experiment of MLflow. Its methods raise; `Tracker` decides what that means."""

    def __init__(
        self, client: MlflowClient, journal: Journal, name: str, colours: Mapping[str, str], *, local: bool
    ) -> None:
        self._client = client
        self._journal = journal
        self._colours = colours
        location = (journal.folder.resolve() / "artifacts" / name).as_uri() if local else None
        self.experiment_id = _experiment(client, name, location)
        self._leaves: dict[str, Run] = {}
        self._sweeps: dict[str, Run] = {}
        self._summary: Run | None = None
        self._find_runs()

    def leaf(self, record: Record) -> None:
        """Log one cell, unless a whole run of it is there."""
        if record["key"] in self._leaves:
            return
        start = round(1000 * record["started"])
        parent = self._sweep(record["model"], start)
        tags = runs.leaf_tags(record) | {_PARENT: parent.info.run_id, "latest": "yes"}
        run = self._create(runs.leaf_name(record), start, tags | self._colour(record["model"]))
        run_id, pct = run.info.run_id, record["train_pct"]
        params = [Param(name, value) for name, value in runs.leaf_params(record).items()]
        self._client.log_batch(run_id, params=params)
        seconds = record["fit_s"] + record["rank_s"]
        end = start + max(1, round(1000 * seconds))
        self._client.log_batch(run_id, [Metric(n, v, end, pct) for n, v in runs.final_metrics(record).items()])
        steps = [
            Metric(name, value, start + round(1000 * second), step)
            for step, second, values in runs.step_metrics(record)
            for name, value in values.items()
        ]
        for first in range(0, len(steps), _BATCH):
            self._client.log_batch(run_id, steps[first : first + _BATCH])
        self._client.log_inputs(run_id, datasets=_inputs(record))
        if record["status"] == "ok":
            self._client.log_artifact(run_id, str(self._journal.users_file(record["key"])), "users")
            self._client.log_dict(run_id, record["groups"], "groups.json")
            if record["examples"]:
                columns = {name: [row[name] for row in record["examples"]] for name in record["examples"][0]}
                self._client.log_table(run_id, columns, "lists/examples.json")
        # The status comes last: a run without it is not whole, and is replaced by the next attempt.
        self._client.set_terminated(run_id, "FINISHED", end)
        self._leaves[record["key"]] = run

    def everything(self, plan: Mapping[str, Any], records: Sequence[Record], artifacts: Mapping[str, Any]) -> None:
        """Bring the experiment up to date with the records of a plan."""
        for record in records:
            self.leaf(record)
        self._mark_latest({record["key"] for record in records})
        for model in dict.fromkeys(record["model"] for record in records):
            self._finish_sweep(model, [r for r in records if r["model"] == model], plan["headline"])
        note = runs.note(plan, records, str(artifacts.get("table.md", "")))
        self._finish_summary(plan, records, artifacts, note)
        self._describe(plan, note)

    def _find_runs(self) -> None:
        """Look up what is there; drop runs that were begun and not finished."""
        token = None
        while True:
            page = self._client.search_runs([self.experiment_id], max_results=1000, page_token=token)
            for run in page:
                self._sort_in(run)
            token = page.token
            if not token:
                return

    def _sort_in(self, run: Run) -> None:
        tags = run.data.tags
        kind = tags.get("kind")
        if kind == "fit" and run.info.status == "FINISHED" and tags.get("cell", "") not in self._leaves:
            self._leaves[tags["cell"]] = run
        elif kind == "fit":
            self._client.delete_run(run.info.run_id)
        elif kind == "sweep":
            self._sweeps[tags["model"]] = run
        elif kind == "summary":
            self._summary = run

    def _create(self, name: str, start: int, tags: Mapping[str, str]) -> Run:
        return self._client.create_run(self.experiment_id, start_time=start, tags=dict(tags), run_name=name)

    def _colour(self, model: str) -> dict[str, str]:
        return {"mlflow.runColor": self._colours[model]} if model in self._colours else {}

    def _sweep(self, model: str, start: int) -> Run:
        if model not in self._sweeps:
            tags = {"kind": "sweep", "model": model, "mlflow.source.name": "buir benchmark"} | self._colour(model)
            self._sweeps[model] = self._create(model, start, tags)
        return self._sweeps[model]

    def _finish_sweep(self, model: str, records: Sequence[Record], headline: Sequence[str]) -> None:
        """Give the sweep its means. A metric cannot be taken back, so other means need another run."""
        means = runs.level_means(records, headline)
        digest = _digest(means)
        start = round(1000 * min(record["started"] for record in records))
        old = self._sweep(model, start)
        if old.data.tags.get("means") == digest:
            return
        if "means" in old.data.tags:
            del self._sweeps[model]
            new = self._sweep(model, start)
            for leaf in self._leaves.values():
                if leaf.data.tags.get("model") == model:
                    self._client.set_tag(leaf.info.run_id, _PARENT, new.info.run_id)
            self._client.delete_run(old.info.run_id)
        run_id = self._sweeps[model].info.run_id
        end = start + round(1000 * sum(r["fit_s"] + r["rank_s"] for r in records))
        metrics = [Metric(name, value, end, pct) for pct, values in means.items() for name, value in values.items()]
        params = {"model": model, "dataset": records[0]["dataset"], "protocol": records[0]["protocol"]}
        self._client.log_batch(run_id, metrics, [Param(k, v) for k, v in params.items()], [RunTag("means", digest)])
        self._client.set_terminated(run_id, "FINISHED", end)

    def _finish_summary(
        self, plan: Mapping[str, Any], records: Sequence[Record], artifacts: Mapping[str, Any], note: str
    ) -> None:
        digest = _digest([note, [record["key"] for record in records], sorted(artifacts)])
        if self._summary is None:
            tags = {"kind": "summary", "mlflow.source.name": "buir benchmark"}
            self._summary = self._create("summary", round(1000 * time.time()), tags)
        elif self._summary.data.tags.get("content") == digest:
            return
        run_id = self._summary.info.run_id
        self._client.log_dict(run_id, dict(plan["config"]), "config.json")
        for name, content in artifacts.items():
            if isinstance(content, str):
                self._client.log_text(run_id, content, name)
            else:
                self._client.log_figure(run_id, content, name)
        self._client.set_tag(run_id, "mlflow.note.content", note)
        self._client.set_tag(run_id, "content", digest)
        self._client.set_terminated(run_id, "FINISHED")

    def _mark_latest(self, keys: set[str]) -> None:
        """Tell the fits of the latest plan from older ones, so that views do not average over both."""
        for key, leaf in self._leaves.items():
            latest = "yes" if key in keys else "no"
            if leaf.data.tags.get("latest") != latest:
                self._client.set_tag(leaf.info.run_id, "latest", latest)

    def _describe(self, plan: Mapping[str, Any], note: str) -> None:
        experiment = self._client.get_experiment(self.experiment_id)
        tags = {"mlflow.note.content": note, "mlflow.experimentKind": "custom_model_development"}
        if store.views_supported():
            shown = {f"test/{name}": metric_label(name) for name in plan["headline"]}
            name, value = store.view_tag(shown, experiment.tags.get(store.VIEW_TAG))
            tags[name] = value
        for name, value in tags.items():
            if experiment.tags.get(name) != value:
                self._client.set_experiment_tag(self.experiment_id, name, value)


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:
            # Somebody else may have made it in the meantime.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        msg = f"the experiment {name!r} was deleted in MLflow; restore it there, or give the benchmark another name"
        raise ValueError(msg)
    return found.experiment_id


def _inputs(record: Record) -> list[DatasetInput]:
    data = record["data"]
    inputs = []
    for part in ("train", "test"):
        profile = {"users": data["users"], "items": data["items"], "pairs": data[part]}
        source = json.dumps({"uri": record["dataset"], "split": record["split_digest"]})
        name = f"{record['dataset']}-train{record['train_pct']}" if part == "train" else f"{record['dataset']}-test"
        dataset = Dataset(name, data[f"{part}_digest"], "local", source, profile=json.dumps(profile))
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", part)]))
    return inputs


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
