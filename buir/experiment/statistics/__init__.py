"""What records amount to: intervals, paired tests, verdicts."""

from buir.experiment.statistics import findings
from buir.experiment.statistics.findings import HEADLINES, Findings, Leaders
from buir.experiment.statistics.panel import ReadUsers
from buir.experiment.statistics.summary import Comparison, Interval

__all__ = ["HEADLINES", "Comparison", "Findings", "Interval", "Leaders", "ReadUsers", "findings"]
