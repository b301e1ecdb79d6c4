"""One experiment of MLflow, brought up to date with records; nothing is logged twice."""

import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Param, Run, RunTag

from buir.experiment.records import Journal, Record, metric_label
from buir.experiment.tracking import runs, store
from buir.model import BUIR

_PARENT = "mlflow.parentRunId"
_NOTE = "mlflow.note.content"
_BATCH = 1000  # most metrics that MLflow takes in one call


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
        self._written: dict[str, Run] = {}
        self._sweeps: dict[str, Run] = {}
        self._summary: Run | None = None
        self.renamed = self._rename(self._find_runs())
        """Runs in the names of an earlier version, which were written anew."""

    def write(self, record: Record) -> None:
        """Log one cell or one search for settings, unless a whole run of it is there."""
        if record.key in self._written:
            return
        content = runs.RunContent.of(record, self._journal)
        parent = self._sweep(record.model, content.start)
        tags = {**content.tags, _PARENT: parent.info.run_id, "latest": "yes"}
        run = self._create(content.name, content.start, tags)
        run_id = run.info.run_id
        self._client.log_batch(run_id, params=[Param(name, value) for name, value in content.params.items()])
        self._client.log_inputs(run_id, datasets=content.inputs)
        model_id = self._log_model(run_id, record)
        self._client.log_batch(run_id, content.last_metrics(record, model_id))
        for first in range(0, len(content.steps), _BATCH):
            self._client.log_batch(run_id, content.steps[first : first + _BATCH])
        about = runs.describe_fit(
            record, None if model_id is None else f"models:/{model_id}", self._journal.model_file(record.key)
        )
        self._client.set_tag(run_id, _NOTE, about)
        self._log_artifacts(run_id, content.artifacts)
        # The status comes last: a run without it is not whole, and is replaced by the next attempt.
        self._client.set_terminated(run_id, "FINISHED", content.end)
        self._written[record.key] = run
        if record.work == "search" and "means" not in parent.data.tags and parent.info.status == "RUNNING":
            # Nothing of this model may ever be measured: the run that holds its searches must not look busy for ever.
            self._client.set_terminated(parent.info.run_id, "FINISHED", content.end)

    def write_all(self, work: Literal["cell", "search"], records: Sequence[Record]) -> None:
        """Log the cells, or the searches, of a plan, and tell them from those of older ones."""
        for record in records:
            self.write(record)
        keys = {record.key for record in records}
        for key, run in self._written.items():
            if work in run.data.tags:
                self._mark_latest(run, latest=key in keys)

    def summarise(self, plan: Mapping[str, Any], records: Sequence[Record], artifacts: Mapping[str, Any]) -> None:
        """Bring the sweeps, the summary and the page up to date with the cells of a plan."""
        models = dict.fromkeys(record.model for record in records)
        for model in models:
            self._finish_sweep(model, [r for r in records if r.model == model], plan["headline"])
        for model, run in self._sweeps.items():
            self._mark_latest(run, latest=model in models)
        artifacts = dict(artifacts)
        levels = sorted({record.train_pct for record in records if record.ok})
        links = store.links(self.experiment_id, levels) if store.views_supported(mlflow.__version__) else ""
        answer = str(artifacts.pop("answer.md", "")).splitlines()
        note = runs.note(plan, records, str(artifacts.get("table.md", "")), answer, links)
        digest = _digest([note, [record.key for record in records], sorted(artifacts)])
        if self._summary is None:
            tags = {"kind": "summary", "mlflow.source.name": "buir benchmark", "vocabulary": runs.VOCABULARY}
            self._summary = self._create("summary", round(1000 * time.time()), tags)
        if self._summary.data.tags.get("content") != digest:
            run_id = self._summary.info.run_id
            every = {"config.json": plan["config"], **artifacts}
            if any(record.ok for record in records):
                every["users.parquet"] = runs.users_table(self._journal, records, plan["headline"])
            tables = {of: runs.groups_table(records, of) for of in ("user", "item")}
            every |= {f"groups/{of}s.json": table for of, table in tables.items() if len(table)}
            self._log_artifacts(run_id, every)
            self._client.set_tag(run_id, _NOTE, note)
            self._client.set_tag(run_id, "content", digest)
            self._client.set_terminated(run_id, "FINISHED")
        self._describe(plan, records, note)

    def _find_runs(self) -> list[Run]:
        """Look up what is there; drop runs that were begun and not finished; return those with names of old."""
        page = self._client.search_runs([self.experiment_id], max_results=1000)
        found = list(page)
        while page.token:
            page = self._client.search_runs([self.experiment_id], max_results=1000, page_token=page.token)
            found += page
        old = []
        for run in found:
            tags = run.data.tags
            kind, key = tags.get("kind"), tags.get("cell") or tags.get("search", "")
            whole = run.info.status == "FINISHED" or kind in ("sweep", "summary")
            if kind in ("fit", "tune", "sweep", "summary") and whole and tags.get("vocabulary") != runs.VOCABULARY:
                old.append(run)
            elif kind == "sweep":
                self._sweeps[tags["model"]] = run
            elif kind == "summary":
                self._summary = run
            elif kind in ("fit", "tune") and run.info.status == "FINISHED" and key not in self._written:
                self._written[key] = run
            elif kind in ("fit", "tune"):
                self._delete(run)
        return old

    def _rename(self, old: Sequence[Run]) -> int:
        """Write runs with names of old anew from the journal, of which MLflow is a copy; return how many that were.

        Those of which the journal holds nothing any more stay as they are, out of the views; those whose model somebody
        has registered keep it.
        """
        replaced = []
        for run in old:
            tags = run.data.tags
            record = self._journal.read(tags["cell"]) if "cell" in tags else None
            record = self._journal.read_search(tags["search"]) if "search" in tags else record
            if record is not None:
                self.write(record)
            elif tags["kind"] in ("fit", "tune"):
                self._mark_latest(run, latest=False)
                continue
            replaced.append(run)
        for run in replaced:
            if self._client.search_model_versions(f"run_id = '{run.info.run_id}'"):
                self._client.delete_run(run.info.run_id)
            else:
                self._delete(run)
        return len(replaced)

    def _delete(self, run: Run) -> None:
        source = f"source_run_id = '{run.info.run_id}'"
        for model in self._client.search_logged_models([self.experiment_id], source):
            self._client.delete_logged_model(model.model_id)
        self._client.delete_run(run.info.run_id)

    def _create(self, name: str, start: int, tags: Mapping[str, str]) -> Run:
        model = tags.get("model", "")
        colour = {"mlflow.runColor": self._colours[model]} if model in self._colours else {}
        return self._client.create_run(self.experiment_id, start_time=start, tags={**tags, **colour}, run_name=name)

    def _log_model(self, run_id: str, record: Record) -> str | None:
        """Log the fitted model of a cell if it was kept, named after the run; return its id."""
        file = self._journal.model_file(record.key)
        if not file.is_file():
            return None
        with warnings.catch_warnings():
            # MLflow warns of type hints of its own when its models are imported.
            warnings.simplefilter("ignore")
            from mlflow.models import Model

            from buir.experiment import serving

        logged = self._client.create_logged_model(
            self.experiment_id,
            runs.model_name(record),
            source_run_id=run_id,
            params={name: str(value) for name, value in record.params.items()},
            model_type="recommender",
        )
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "model"
            about = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
            serving.save_model(BUIR.load(file), place, mlflow_model=about)
            self._client.log_model_artifacts(logged.model_id, str(place))
        self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, round(record.train_pct))])
        return logged.model_id

    def _log_artifacts(self, run_id: str, artifacts: Mapping[str, Any]) -> None:
        """Log contents by name: texts, bytes, dicts, frames, files, Matplotlib figures, and functions that make one."""
        for name, given in artifacts.items():
            content = given() if callable(given) else given
            if isinstance(content, Path):
                self._client.log_artifact(run_id, str(content), str(Path(name).parent))
            elif isinstance(content, bytes):
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / Path(name).name
                    file.write_bytes(content)
                    self._client.log_artifact(run_id, str(file), None if "/" not in name else str(Path(name).parent))
            elif isinstance(content, pd.DataFrame):
                self._client.log_table(run_id, content, name)
            elif isinstance(content, dict):
                self._client.log_dict(run_id, content, name)
            elif isinstance(content, str):
                self._client.log_text(run_id, content, name)
            else:
                self._client.log_figure(run_id, content, name)

    def _sweep(self, model: str, start: int) -> Run:
        if model not in self._sweeps:
            tags = {"kind": "sweep", "model": model, "mlflow.source.name": "buir benchmark"}
            tags |= {"vocabulary": runs.VOCABULARY}
            self._sweeps[model] = self._create(model, start, tags)
        return self._sweeps[model]

    def _finish_sweep(self, model: str, records: Sequence[Record], headline: Sequence[str]) -> None:
        """Give the sweep its means. A metric cannot be taken back, so other means need another run."""
        means, about = runs.level_means(records, headline), runs.describe_sweep(records, headline)
        digest = _digest([list(means.items()), about])
        start = round(1000 * min(record.started for record in records))
        old = self._sweep(model, start)
        if old.data.tags.get("means") == digest:
            return
        if "means" in old.data.tags:
            del self._sweeps[model]
            new = self._sweep(model, start)
            for child in self._written.values():
                if child.data.tags.get("model") == model:
                    self._client.set_tag(child.info.run_id, _PARENT, new.info.run_id)
            self._client.delete_run(old.info.run_id)
        run_id = self._sweeps[model].info.run_id
        # The run began with whichever of its fits or searches was written first.
        end = self._sweeps[model].info.start_time + round(1000 * sum(r.fit_s + r.rank_s for r in records))
        params = {"model": model, "dataset": records[0].dataset, "protocol": records[0].protocol}
        tags = [RunTag("means", digest), RunTag(_NOTE, about)]
        self._client.log_batch(run_id, runs.sweep_metrics(means, end), [Param(k, v) for k, v in params.items()], tags)
        self._client.set_terminated(run_id, "FINISHED", end)
        self._sweeps[model] = self._client.get_run(run_id)

    def _mark_latest(self, run: Run, *, latest: bool) -> None:
        """Tell a run of the latest plan from older ones, so that views do not average over both."""
        mark = "yes" if latest else "no"
        if run.data.tags.get("latest") != mark:
            self._client.set_tag(run.info.run_id, "latest", mark)

    def _describe(self, plan: Mapping[str, Any], records: Sequence[Record], note: str) -> None:
        experiment = self._client.get_experiment(self.experiment_id)
        tags = {"mlflow.note.content": note, "mlflow.experimentKind": "custom_model_development"}
        if store.views_supported(mlflow.__version__):
            shown = {f"test/{name}": metric_label(name) for name in plan["headline"]}
            levels = sorted({record.train_pct for record in records if record.ok})
            seeds = min((record.split_seed, record.seed) for record in records)
            settings = _settings(plan, records)
            tags |= store.view_tags(shown, levels, experiment.tags, settings=settings, seeds=seeds)
        for name, value in tags.items():
            if experiment.tags.get(name) != value:
                self._client.set_experiment_tag(self.experiment_id, name, value)


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=location)
    if found.lifecycle_stage != "active":
        msg = f"the experiment {name!r} was deleted in MLflow; restore it there, or give the benchmark another name"
        raise ValueError(msg)
    return found.experiment_id


def _settings(plan: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """Name the parameters that tell settings apart: what fits came to, what was searched, and what was asked for."""
    known = dict.fromkeys(name for record in records for name in runs.parameters(record))
    wanted = {f"{r.kind}.{name}" for r in records if r.tuning for name in r.tuning["space"]}
    wanted |= {f"{m['kind']}.{name}" for m in plan["config"]["models"] for name in m.get("params", {})}
    came = [name for name in known if name.startswith("fit.")]
    return [*came, *(name for name in known if any(f"{name}.".startswith(f"{asked}.") for asked in wanted))]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
