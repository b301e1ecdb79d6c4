"""What is kept of finished work: records, their journal, and what computed them."""

from buir.experiment.records import provenance
from buir.experiment.records.clock import Clock
from buir.experiment.records.fit import Fit
from buir.experiment.records.journal import (
    Journal,
    Kind,
    digest,
    experiment_name,
    find_results,
    latest_results,
    set_aside,
)
from buir.experiment.records.provenance import available_cores, mixture, versions
from buir.experiment.records.record import (
    POPULAR,
    Cell,
    Record,
    cell_key,
    frame,
    headline,
    metric_label,
    tidy,
)
from buir.experiment.records.results import Results
from buir.experiment.records.sittings import Sittings

__all__ = [
    "POPULAR",
    "Cell",
    "Clock",
    "Fit",
    "Journal",
    "Kind",
    "Record",
    "Results",
    "Sittings",
    "available_cores",
    "cell_key",
    "digest",
    "experiment_name",
    "find_results",
    "frame",
    "headline",
    "latest_results",
    "metric_label",
    "mixture",
    "provenance",
    "set_aside",
    "tidy",
    "versions",
]
