"""What is kept of finished work: records, their journal, and what computed them."""

from buir.experiment.records import provenance
from buir.experiment.records.clock import Clock
from buir.experiment.records.errors import (
    DataError,
    ExperimentError,
    JournalBusyError,
    NothingToShowError,
    ViewerError,
    WorkerDiedError,
)
from buir.experiment.records.journal import (
    Journal,
    Kind,
    experiment_name,
    find_results,
    latest_results,
    replace_atomically,
)
from buir.experiment.records.provenance import available_cores, mixture, versions
from buir.experiment.records.record import Cell, Record, cell_key, frame, headline, metric_label

__all__ = [
    "Cell",
    "Clock",
    "DataError",
    "ExperimentError",
    "Journal",
    "JournalBusyError",
    "Kind",
    "NothingToShowError",
    "Record",
    "ViewerError",
    "WorkerDiedError",
    "available_cores",
    "cell_key",
    "experiment_name",
    "find_results",
    "frame",
    "headline",
    "latest_results",
    "metric_label",
    "mixture",
    "provenance",
    "replace_atomically",
    "versions",
]
