"""BUIR, the estimator: its fit, its file, and what comes after a fit."""

from buir.model.epochs import Choice, choose_epochs
from buir.model.estimator import BUIR

__all__ = ["BUIR", "Choice", "choose_epochs"]
