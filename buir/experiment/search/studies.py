"""Where the trials of a search are kept: one SQLite file each, whole at every moment."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

if TYPE_CHECKING:
    from pathlib import Path


@contextmanager
def opened(file: Path, pruner: optuna.pruners.BasePruner) -> Iterator[optuna.Study]:
    """Open the study of a file, or make it; a new file appears under its name only when it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if not file.exists():
            temporary = file.with_name(f".{file.stem}.{uuid.uuid4().hex}.db")
            try:
                with _storage(temporary) as storage:
                    optuna.create_study(storage=storage, study_name=file.stem, direction="maximize")
                temporary.replace(file)
            finally:
                temporary.unlink(missing_ok=True)
        with _storage(file) as storage:
            yield optuna.load_study(storage=storage, study_name=file.stem, pruner=pruner)
    finally:
        optuna.logging.set_verbosity(verbosity)


@contextmanager
def _storage(file: Path) -> Iterator[optuna.storages.RDBStorage]:
    storage = optuna.storages.RDBStorage(URL.create("sqlite", database=str(file.absolute())).render_as_string())
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def give_up_running(study: optuna.Study) -> None:
    """Close the trials that were running, or waiting to run, when an earlier process ended."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        if trial.state == TrialState.WAITING:
            study.ask()
        study.tell(trial.number, state=TrialState.FAIL)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count: completed, pruned, or failed for a reason of their own; not the killed ones."""
    counted = (TrialState.COMPLETE, TrialState.PRUNED)
    return [
        t
        for t in study.get_trials(deepcopy=False)
        if t.state in counted or (t.state == TrialState.FAIL and "error" in t.user_attrs)
    ]


def best_value(study: optuna.Study) -> float | None:
    """Return the best value of a completed trial, None before there is one."""
    values = [trial.value for trial in finished(study) if trial.state == TrialState.COMPLETE]
    return max((value for value in values if value is not None), default=None)


def described(number: int, trial: FrozenTrial) -> dict[str, Any]:
    """Give a finished trial as plain data; a pruned one has the best value it reached."""
    value = trial.value
    if trial.state == TrialState.PRUNED:
        value = max(trial.intermediate_values.values(), default=None)
    return {
        "number": number,
        "params": json.loads(trial.user_attrs["params"]),
        "value": value,
        "state": trial.state.name.lower().replace("fail", "failed"),
        "seconds": trial.user_attrs["seconds"],
        "capped": trial.user_attrs["capped"],
        "error": trial.user_attrs.get("error"),
    }
