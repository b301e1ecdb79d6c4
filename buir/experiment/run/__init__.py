"""Cells and searches: planned, run here or in several processes, and watched."""

from buir.experiment.run import plan
from buir.experiment.run.costs import Forecast, Size
from buir.experiment.run.plan import Outcome
from buir.experiment.run.progress import Progress, fit_outcome, readable, search_outcome
from buir.experiment.run.sources import Sources

__all__ = ["Forecast", "Outcome", "Progress", "Size", "Sources", "fit_outcome", "plan", "readable", "search_outcome"]
