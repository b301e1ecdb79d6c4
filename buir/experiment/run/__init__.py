"""Cells and searches: planned, run here or in several processes, and watched."""

from buir.experiment.run import plan
from buir.experiment.run.plan import Outcome
from buir.experiment.run.progress import Forecast, Progress, readable
from buir.experiment.run.run_cell import SEARCH, Bench
from buir.experiment.run.sources import Sources
from buir.experiment.run.workers import run_tasks

__all__ = ["SEARCH", "Bench", "Forecast", "Outcome", "Progress", "Sources", "plan", "readable", "run_tasks"]
