"""The paper: the bootstrap loss, the moving average of the target, the step and the loop."""

from buir.learning.bootstrap import Bootstrap, Weights, initial_weights
from buir.learning.diagnostics import ScoreSample, collapse, effective_rank, warn_of_collapse
from buir.learning.learner import BootstrapLearner, TrainingState, bare
from buir.learning.loop import Outcome, Pairs, Progress, Schedule, Validation, train, training_device
from buir.learning.losses import bootstrap_loss, uniformity_loss
from buir.learning.optimisers import DenseAdam, RowAdam
from buir.learning.targets import LazyTarget, TableTarget

__all__ = [
    "Bootstrap",
    "BootstrapLearner",
    "DenseAdam",
    "LazyTarget",
    "Outcome",
    "Pairs",
    "Progress",
    "RowAdam",
    "Schedule",
    "ScoreSample",
    "TableTarget",
    "TrainingState",
    "Validation",
    "Weights",
    "bare",
    "bootstrap_loss",
    "collapse",
    "effective_rank",
    "initial_weights",
    "train",
    "training_device",
    "uniformity_loss",
    "warn_of_collapse",
]
