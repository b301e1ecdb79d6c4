"""What one run of MLflow holds: parameters, metrics, inputs, artifacts and the model of a record."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param

from buir.experiment.tracking import runs
from buir.model import BUIR

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from buir.experiment.records import Journal, Record

_BATCH = 1000  # most metrics that MLflow takes in one call


def write_fit(client: MlflowClient, run_id: str, record: Record, journal: Journal) -> int:
    """Fill the run of one cell; return when it ended, in milliseconds of the epoch."""
    start = round(1000 * record.started)
    client.log_batch(run_id, params=[Param(name, value) for name, value in runs.leaf_params(record).items()])
    end = start + max(1, round(1000 * (record.fit_s + record.rank_s)))
    file = journal.model_file(record.key)
    model_id = _log_model(client, run_id, record, file) if file.is_file() else None
    final = runs.final_metrics(record)
    pct = record.train_pct
    client.log_batch(run_id, [Metric(name, value, end, pct, model_id=model_id) for name, value in final.items()])
    steps = [
        Metric(name, value, start + round(1000 * second), step)
        for step, second, values in runs.step_metrics(record)
        for name, value in values.items()
    ]
    _log_metrics(client, run_id, steps)
    client.log_inputs(run_id, datasets=_inputs(record, "test"))
    if record.status == "ok":
        client.log_artifact(run_id, str(journal.users_file(record.key)), "users")
        client.log_dict(run_id, dict(record.groups), "groups.json")
        if record.examples:
            columns = {name: [row[name] for row in record.examples] for name in record.examples[0]}
            client.log_table(run_id, columns, "lists/examples.json")
    return end


def write_search(client: MlflowClient, run_id: str, record: Record) -> int:
    """Fill the run of one search for settings; return when it ended, in milliseconds of the epoch."""
    start = round(1000 * record.started)
    client.log_batch(run_id, params=[Param(name, value) for name, value in runs.search_params(record).items()])
    end = start + max(1, round(1000 * record.tune_s))
    final = runs.search_metrics(record)
    client.log_batch(run_id, [Metric(name, value, end, record.train_pct) for name, value in final.items()])
    steps = [
        Metric(name, value, start + round(1000 * second), step)
        for step, second, values in runs.trial_metrics(record)
        for name, value in values.items()
    ]
    _log_metrics(client, run_id, steps)
    client.log_inputs(run_id, datasets=_inputs(record, "valid"))
    if record.status == "ok":
        client.log_dict(run_id, dict(record.tuning), "trials.json")
    return end


def delete_models(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    """Delete the models of a run that is deleted."""
    for model in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(model.model_id)


def _log_model(client: MlflowClient, run_id: str, record: Record, file: Path) -> str:
    """Log the fitted model of a cell, ``runs:/<run>/model``; return its id."""
    with warnings.catch_warnings():
        # MLflow warns of type hints of its own when its models are imported.
        warnings.simplefilter("ignore")
        from mlflow.models import Model

        from buir.experiment import serving

    experiment_id = client.get_run(run_id).info.experiment_id
    params = {name: str(value) for name, value in record.params.items()}
    logged = client.create_logged_model(
        experiment_id, "model", source_run_id=run_id, params=params, model_type="recommender"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        about = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
        serving.save_model(BUIR.load(file), place, mlflow_model=about)
        client.log_model_artifacts(logged.model_id, str(place))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, record.train_pct)])
    return logged.model_id


def _log_metrics(client: MlflowClient, run_id: str, metrics: list[Metric]) -> None:
    for first in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics[first : first + _BATCH])


def _inputs(record: Record, held_out: str) -> list[DatasetInput]:
    """Describe what was learnt from, and what was held out: "valid" or "test"."""
    data = record.data
    inputs = []
    for part in ("train", held_out):
        profile = {"users": data["users"], "items": data["items"], "pairs": data[part]}
        # Levels share their held-out pairs, and MLflow keeps one data set of a digest: only training data belong to one split.
        source = {"uri": record.dataset} | ({"split": record.split_digest} if part == "train" else {})
        name = f"{record.dataset}-train{record.train_pct}" if part == "train" else f"{record.dataset}-{part}"
        dataset = Dataset(name, data[f"{part}_digest"], "local", json.dumps(source), profile=json.dumps(profile))
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", part)]))
    return inputs
