"""One experiment of MLflow, brought up to date with records; nothing is logged twice."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from buir.experiment.records import metric_label
from buir.experiment.tracking import contents, runs, store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient

    from buir.experiment.records import Journal, Record

_PARENT = "mlflow.parentRunId"


class Writer:
    """One experiment of MLflow. Its methods raise; the tracker decides what that means."""

    def __init__(
        self, client: MlflowClient, journal: Journal, name: str, colours: Mapping[str, str], *, local: bool
    ) -> None:
        self._client = client
        self._journal = journal
        self._colours = colours
        location = (journal.folder.resolve() / "artifacts" / name).as_uri() if local else None
        self.experiment_id = _experiment(client, name, location)
        self._leaves: dict[str, Run] = {}
        self._searches: dict[str, Run] = {}
        self._sweeps: dict[str, Run] = {}
        self._summary: Run | None = None
        self._find_runs()

    def leaf(self, record: Record) -> None:
        """Log one cell, unless a whole run of it is there."""
        if record.key in self._leaves:
            return
        start = round(1000 * record.started)
        parent = self._sweep(record.model, start)
        tags = runs.leaf_tags(record) | {_PARENT: parent.info.run_id, "latest": "yes"}
        run = self._create(runs.leaf_name(record), start, tags | self._colour(record.model))
        end = contents.write_fit(self._client, run.info.run_id, record, self._journal)
        # The status comes last: a run without it is not whole, and is replaced by the next attempt.
        self._client.set_terminated(run.info.run_id, "FINISHED", end)
        self._leaves[record.key] = run

    def search(self, record: Record) -> None:
        """Log one search for settings, unless a whole run of it is there."""
        if record.key in self._searches:
            return
        start = round(1000 * record.started)
        parent = self._sweep(record.model, start)
        tags = runs.search_tags(record) | {_PARENT: parent.info.run_id, "latest": "yes"}
        run = self._create(runs.search_name(record), start, tags | self._colour(record.model))
        end = contents.write_search(self._client, run.info.run_id, record)
        self._client.set_terminated(run.info.run_id, "FINISHED", end)
        self._searches[record.key] = run
        if "means" not in parent.data.tags and parent.info.status == "RUNNING":
            # Nothing of this model may ever be measured: the run that holds its searches must not look busy for ever.
            self._client.set_terminated(parent.info.run_id, "FINISHED", end)

    def searches(self, records: Sequence[Record]) -> None:
        """Log the searches of a plan, and tell them from those of older ones."""
        for record in records:
            self.search(record)
        self._mark_latest(self._searches, {record.key for record in records})

    def everything(self, plan: Mapping[str, Any], records: Sequence[Record], artifacts: Mapping[str, Any]) -> None:
        """Bring the experiment up to date with the records of a plan."""
        for record in records:
            self.leaf(record)
        self._mark_latest(self._leaves, {record.key for record in records})
        models = dict.fromkeys(record.model for record in records)
        for model in models:
            self._finish_sweep(model, [r for r in records if r.model == model], plan["headline"])
        self._mark_latest(self._sweeps, set(models))
        note = runs.note(plan, records, str(artifacts.get("table.md", "")))
        self._finish_summary(plan, records, artifacts, note)
        self._describe(plan, records, note)

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
        if kind in ("fit", "tune"):
            known, key = (self._leaves, "cell") if kind == "fit" else (self._searches, "search")
            if run.info.status == "FINISHED" and tags.get(key, "") not in known:
                known[tags[key]] = run
            else:
                contents.delete_models(self._client, self.experiment_id, run.info.run_id)
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
        start = round(1000 * min(record.started for record in records))
        old = self._sweep(model, start)
        if old.data.tags.get("means") == digest:
            return
        if "means" in old.data.tags:
            del self._sweeps[model]
            new = self._sweep(model, start)
            for child in (*self._leaves.values(), *self._searches.values()):
                if child.data.tags.get("model") == model:
                    self._client.set_tag(child.info.run_id, _PARENT, new.info.run_id)
            self._client.delete_run(old.info.run_id)
        run_id = self._sweeps[model].info.run_id
        # The run began with whichever of its fits or searches was written first.
        end = self._sweeps[model].info.start_time + round(1000 * sum(r.fit_s + r.rank_s for r in records))
        metrics = [Metric(name, value, end, pct) for pct, values in means.items() for name, value in values.items()]
        params = {"model": model, "dataset": records[0].dataset, "protocol": records[0].protocol}
        self._client.log_batch(run_id, metrics, [Param(k, v) for k, v in params.items()], [RunTag("means", digest)])
        self._client.set_terminated(run_id, "FINISHED", end)
        self._sweeps[model] = self._client.get_run(run_id)

    def _finish_summary(
        self, plan: Mapping[str, Any], records: Sequence[Record], artifacts: Mapping[str, Any], note: str
    ) -> None:
        digest = _digest([note, [record.key for record in records], sorted(artifacts)])
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

    def _mark_latest(self, known: Mapping[str, Run], keys: set[str]) -> None:
        """Tell the runs of the latest plan from older ones, so that views do not average over both."""
        for key, run in known.items():
            latest = "yes" if key in keys else "no"
            if run.data.tags.get("latest") != latest:
                self._client.set_tag(run.info.run_id, "latest", latest)

    def _describe(self, plan: Mapping[str, Any], records: Sequence[Record], note: str) -> None:
        experiment = self._client.get_experiment(self.experiment_id)
        tags = {"mlflow.note.content": note, "mlflow.experimentKind": "custom_model_development"}
        if store.views_supported():
            shown = {f"test/{name}": metric_label(name) for name in plan["headline"]}
            levels = sorted({record.train_pct for record in records if record.status == "ok"})
            tags |= store.view_tags(shown, levels, experiment.tags)
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


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
