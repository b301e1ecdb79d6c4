"""The best fitted BUIR of a benchmark, by its validation, as a registered model of MLflow."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from buir.errors import ConfigError, ExperimentError, counted, near, one_line
from buir.experiment.records import Journal, Record, experiment_name, metric_label
from buir.experiment.tracking import store

_NAME = r"\w[\w .-]*"
_BUIRS = "only a BUIR has a model to be registered"


@dataclass(frozen=True)
class Choice:
    """A fit, and why it was taken."""

    record: Record
    value: float
    """Of the headline metric on the validation data of this fit."""
    metric: str
    means: Mapping[str, float]
    """Of each BUIR that was compared, over its fits at this level; the best first."""
    left_out: Sequence[str]
    """BUIRs that validate by another metric, or by none."""

    def __str__(self) -> str:
        """Say it in a line or two."""
        first, *others = self.means.items()
        said = f"{first[0]} has the highest mean {metric_label(self.metric)} on validation data at "
        said += f"{self.record.train_pct:g} % of {self.record.dataset}, {first[1]:.4f}"
        if others:
            said += f" ({', '.join(f'{name} {value:.4f}' for name, value in others)})"
        said += f"; of its fits, seed {self.record.seed} of split {self.record.split_seed} has {self.value:.4f}."
        if self.left_out:
            said += f"\nNot compared: {', '.join(self.left_out)}, which validates by something else."
        return said


def validated(record: Record) -> float | None:
    """Return what the fit of a BUIR came to on its validation pairs, in its ``valid_metric``; None without any.

    With the terms of the score as they were chosen, on all users; where none were to be chosen, as it was trained.
    """
    found = (record.chosen.get(name) for name in ("value", "trained", "start"))
    return next((value for value in found if value is not None), None)


def choose(plan: Mapping[str, Any], records: Sequence[Record], best_at: float, data: str | None = None) -> Choice:
    """Choose the BUIR with the highest mean over its fits at a level, and of these the one that validates best.

    What counts is the headline metric on validation pairs: a choice by test values would make the reported ones too
    good.

    Parameters
    ----------
    plan, records
        Of a benchmark.
    best_at
        The level, in per cent of the training data.
    data
        Name of the data set; None where there is one.

    Raises
    ------
    ConfigError
        If there is no such level or data set, or no BUIR to be compared.
    """
    done = [record for record in records if record.ok]
    datasets = list(dict.fromkeys(record.dataset for record in done))
    if data is None and len(datasets) > 1:
        msg = f"the benchmark has fits on {', '.join(datasets)}; name one: --data {datasets[0]}"
        raise ConfigError([msg])
    if data is not None and data not in datasets:
        msg = f"--data is {data!r}; expected one of {', '.join(datasets) or 'none'}{near(data, datasets)}"
        raise ConfigError([msg])
    done = [record for record in done if data in (None, record.dataset)]
    levels = sorted({record.train_pct for record in done})
    if best_at not in levels:
        known = ", ".join(f"{level:g}" for level in levels) or "none"
        msg = f"--best-at is {best_at:g}; expected a level of the benchmark with finished fits, in per cent: {known}"
        raise ConfigError([msg])
    ours = [record for record in done if record.train_pct == best_at and record.kind == "buir"]
    if not ours:
        models = ", ".join(dict.fromkeys(record.model for record in done if record.train_pct == best_at))
        msg = f"the fits at {best_at:g} % are of {models}; {_BUIRS}: add one to the benchmark (kind: buir)"
        raise ConfigError([msg])
    metric = plan["headline"][0]
    rows = [
        {"model": record.model, "value": value, "record": record}
        for record in ours
        if record.params.get("valid_metric") == metric and (value := validated(record)) is not None
    ]
    if not rows:
        other = ours[0].params.get("valid_metric")
        msg = f"no BUIR at {best_at:g} % has validated by {metric}, {ours[0].model} by {other}; expected params: "
        msg += f"{{valid_metric: {metric}}} in the benchmark, so that its models can be compared"
        raise ConfigError([msg])
    table = pd.DataFrame(rows)
    means = table.groupby("model", sort=False)["value"].mean().sort_values(ascending=False, kind="stable")
    fits = table[table["model"] == means.index[0]]
    best = fits.loc[fits["value"].idxmax()]
    left = [model for model in dict.fromkeys(record.model for record in ours) if model not in means.index]
    return Choice(best["record"], float(best["value"]), metric, {str(m): float(v) for m, v in means.items()}, left)


def register(
    folder: str | Path,
    name: str,
    best_at: float,
    *,
    alias: str | None = None,
    data: str | None = None,
    tracking_uri: str | None = None,
    say: Callable[[str], object],
) -> int:
    """Make the logged model of the best BUIR of a benchmark a version of a registered model.

    What is registered already is not registered again; only the alias moves.

    Parameters
    ----------
    folder
        Of the results.
    name
        Of the registered model, which is made where it is missing.
    best_at, data
        As those of `choose`.
    alias
        What the version is called beside its number, such as "champion".
    tracking_uri
        MLflow's store; see :func:`buir.experiment.tracking.store.choose_uri` for the default.
    say
        Told what was chosen and what was done.

    Returns
    -------
    The version.

    Raises
    ------
    ConfigError
        If a name cannot be one, or nothing can be chosen.
    ExperimentError
        If the model was not kept, or MLflow lacks it, or cannot be used.
    """
    for what, given in (("NAME", name), ("--alias", alias)):
        if given is not None and not re.fullmatch(_NAME, given):
            msg = f"{what} is {given!r}; expected letters, digits, blanks, points, - and _"
            raise ConfigError([msg])
    if alias is not None and re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE):
        msg = f"--alias is {alias!r}, which MLflow keeps for itself; expected a word such as champion"
        raise ConfigError([msg])
    journal = Journal(folder)
    plan = journal.read_plan()
    if plan is None:
        msg = f"{folder} holds no benchmark; name the folder of one with --out"
        raise ConfigError([msg])
    choice = choose(plan, list(journal.records(plan["keys"])), best_at, data)
    record = choice.record
    if not journal.model_file(record.key).is_file():
        again = shlex.join(["buir", "benchmark", f"{plan['name']}.yaml", "--set", "log_models=true", "--out"])
        msg = (
            f"{record.model} is the best BUIR at {best_at:g} %, but no model of it was kept; fit it again with "
            f"log_models: true in the configuration, in another folder: {again} FOLDER"
        )
        raise ExperimentError(msg)
    say(str(choice))
    uri = store.choose_uri(folder, tracking_uri)
    if uri == store.store_uri(folder):
        store.check_home(store.database(folder), journal.experiments())
    own = [] if tracking_uri is None else ["--tracking-uri", tracking_uri]
    sync = shlex.join(["buir", "sync", "--out", str(folder), *own])
    if store.missing_file(uri) is not None or not store.answers(uri):
        msg = f"the MLflow store {uri} is not there; make it from the results with: {sync}"
        raise ExperimentError(msg)
    return _register(uri, plan, choice, name, alias, sync, say)


def _register(
    uri: str,
    plan: Mapping[str, Any],
    choice: Choice,
    name: str,
    alias: str | None,
    sync: str,
    say: Callable[[str], object],
) -> int:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    record = choice.record
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(experiment_name(plan["name"], record.dataset))
        here = [] if experiment is None else [experiment.experiment_id]
        runs = client.search_runs(here, f"tags.cell = '{record.key}' and tags.kind = 'fit'") if here else []
        models = [m for r in runs for m in client.search_logged_models(here, f"source_run_id = '{r.info.run_id}'")]
        if not models:
            msg = f"MLflow lacks the model of {record.model} at {record.train_pct:g} %; write it there with: {sync}"
            raise ExperimentError(msg)
        model = models[0]
        if not any(known.name == name for known in client.search_registered_models(f"name = '{name}'")):
            client.create_registered_model(name)
        same = [v for v in client.search_model_versions(f"name = '{name}'") if v.source == model.artifact_location]
        number = int(same[0].version) if same else _add(client, name, model, choice)
        if alias is not None:
            client.set_registered_model_alias(name, alias, str(number))
    except (MlflowException, SQLAlchemyError) as error:
        reason = one_line(getattr(error, "orig", error))[:300]
        msg = f"MLflow has not registered {name!r} ({reason}); correct that, or see whether its store can be read"
        raise ExperimentError(msg) from error
    called = f"{name}@{alias}" if alias is not None else f"{name}/{number}"
    say(f"Version {number} of {name}{' was there already' if same else ''}: models:/{called}")
    serve = shlex.join(["mlflow", "models", "serve", "-m", f"models:/{called}", "--env-manager", "local", "-p", "5001"])
    say(f"Serve it: {shlex.join([f'MLFLOW_TRACKING_URI={uri}'])} {serve}")
    return number


def _add(client: Any, name: str, model: Any, choice: Choice) -> int:
    record = choice.record
    fits = counted(len(choice.means), "BUIR")
    facts = {
        "dataset": record.dataset,
        "train_pct": f"{record.train_pct:g}",
        "model": record.model,
        "cell": record.key,
        f"valid.{choice.metric}": f"{choice.value:.6f}",
    }
    text = f"{choice}\n\nChosen among {fits} by validation; test values played no part."
    # By its place, since MLflow would look its id up in whatever store this process uses otherwise.
    kept = {"source": model.artifact_location, "run_id": model.source_run_id, "model_id": model.model_id}
    made = client.create_model_version(name, **kept, tags=facts, description=text)
    return int(made.version)
