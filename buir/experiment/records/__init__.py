"""What is kept of finished work: records, their journal, and what computed them."""

from buir.experiment.records import provenance
from buir.experiment.records.clock import Clock
from buir.experiment.records.journal import Journal, Kind, experiment_name, find_results, latest_results
from buir.experiment.records.provenance import available_cores, mixture, versions
from buir.experiment.records.record import Cell, Record, cell_key, frame, headline, metric_label, per_cent

__all__ = [
    "Cell",
    "Clock",
    "Journal",
    "Kind",
    "Record",
    "available_cores",
    "cell_key",
    "experiment_name",
    "find_results",
    "frame",
    "headline",
    "latest_results",
    "metric_label",
    "mixture",
    "per_cent",
    "provenance",
    "versions",
]
