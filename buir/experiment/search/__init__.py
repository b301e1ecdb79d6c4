"""The search for settings, with the same budget for every model."""

from buir.experiment.search.searches import search
from buir.experiment.search.spaces import find_space
from buir.experiment.search.tuning import Tuned

__all__ = ["Tuned", "find_space", "search"]
