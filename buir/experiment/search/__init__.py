"""The search for settings, with the same budget for every model."""

from buir.experiment.search.spaces import as_json, find_space
from buir.experiment.search.tuning import Tuned, search

__all__ = ["Tuned", "as_json", "find_space", "search"]
