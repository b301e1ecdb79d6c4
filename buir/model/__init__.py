"""BUIR, the estimator: its fit, its file, and what comes after a fit."""

from buir.model.checkpoint import spent_seconds
from buir.model.estimator import BUIR

__all__ = ["BUIR", "spent_seconds"]
