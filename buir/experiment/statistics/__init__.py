"""What records amount to: intervals, paired tests, verdicts."""

from buir.experiment.statistics import findings
from buir.experiment.statistics.findings import HEADLINES, Findings
from buir.experiment.statistics.panel import PLACE, ReadUsers
from buir.experiment.statistics.summary import Comparison, Interval, Leaders

__all__ = ["HEADLINES", "PLACE", "Comparison", "Findings", "Interval", "Leaders", "ReadUsers", "findings"]
