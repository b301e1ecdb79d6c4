"""Studies in memory: making SQLite tables takes a second, and often the file does not matter."""

from contextlib import contextmanager

import optuna

from buir.experiment.search import studies


def kept_in_memory(monkeypatch) -> dict:
    """Let searches write nowhere; return the studies by file."""
    kept = {}

    @contextmanager
    def opened(file, pruner):
        study = kept.setdefault(file, optuna.create_study(direction="maximize"))
        study.pruner = pruner
        yield study

    monkeypatch.setattr(studies, "opened", opened)
    return kept
