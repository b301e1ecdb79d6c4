"""Tiny benchmarks that run in a second, and somebody who watches them."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

from buir.experiment.config.schema import BenchmarkConfig

TINY = {"n_users": 60, "n_items": 40, "n_pairs": 600, "n_groups": 4, "seed": 0}


def make_config(**changes) -> BenchmarkConfig:
    """Two models, two levels, two seeds on tiny data, unless ``changes`` says otherwise."""
    settings = {
        "name": "tiny",
        "data": [{"dataset": "synthetic", "options": TINY}],
        "protocol": {"kind": "nested", "levels": [0.5, 1.0]},
        "seeds": [0, 1],
        "metrics": {"ks": [5, 20]},
        "models": [{"kind": "popularity"}, {"kind": "als", "params": {"factors": 4, "iterations": 2}}],
    }
    return BenchmarkConfig.model_validate(settings | changes)


def rehomed(folder: Path, to: Path) -> Path:
    """Copy a folder of results, and let its MLflow store keep artifacts in the copy, as if it had been made there."""
    shutil.copytree(folder, to)
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(to / "mlflow.db")) as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            move = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            database.execute(move, (folder.resolve().as_uri(), to.resolve().as_uri()))
        database.commit()
    return to


class Watcher:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def on_start(self, cell):
        self.events.append(("start", cell.title))

    def on_step(self, cell, text):
        self.events.append(("step", text))

    def on_record(self, cell, record):
        self.events.append((record.status, cell.title))

    def on_failure(self, cell, message):
        self.events.append(("failure", message))

    def count(self, what: str) -> int:
        return sum(event == what for event, _ in self.events)
