"""What records amount to: intervals, paired tests, verdicts."""

from buir.experiment.statistics import findings
from buir.experiment.statistics.findings import HEADLINES, Findings
from buir.experiment.statistics.panels import N_FLIPS, Judgement, Panel, default_panel, geometric_mean, judge
from buir.experiment.statistics.place import PLACE, ReadUsers
from buir.experiment.statistics.summary import Comparison, Interval, Leaders

__all__ = [
    "HEADLINES",
    "N_FLIPS",
    "PLACE",
    "Comparison",
    "Findings",
    "Interval",
    "Judgement",
    "Leaders",
    "Panel",
    "ReadUsers",
    "default_panel",
    "findings",
    "geometric_mean",
    "judge",
]
