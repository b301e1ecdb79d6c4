"""Our training, taken apart so that single steps and epochs can be timed."""

import contextlib
from itertools import count
from typing import Any
from unittest import mock

from scipy.sparse import csr_array
from torch import Tensor

from buir import BUIR
from buir.graph.hashing import stream
from buir.learning.loop import run_epoch

FROM_RANDOM: dict[str, Any] = {
    "start": "random",
    "predictor": "linear",
    "momentum": 0.995,
    "terms": {},
    "uniformity": 0.0,
    "inner_validation": False,
}
"""Settings of a training as the plain implementation has it: random weights, predictor and slow target, and nothing
added to its score."""


class LoopReached(Exception):  # noqa: N818 (nothing went wrong)
    """`fit` is about to begin its first epoch."""


class OurTraining:
    """What `BUIR.fit` repeats: exactly the objects that it hands to its loop.

    Parameters
    ----------
    model
        Its fields are the settings, apart from start, terms and inner validation, which no step knows, and the
        predictor, which is the paper's; it is left unfitted.
    train
        Training pairs, shape (n_users, n_items).
    """

    def __init__(self, model: BUIR, train: csr_array) -> None:
        caught: list[Any] = []

        def instead_of_the_loop(*args: Any, **_: Any) -> None:
            caught.extend(args)
            raise LoopReached

        own = {"uniformity": model.uniformity, "momentum": model.momentum}
        alone = type(model)(**model.get_params() | FROM_RANDOM | own)
        with mock.patch("buir.model.checkpoint.train", instead_of_the_loop), contextlib.suppress(LoopReached):
            alone.fit(train, show_progress=False)
        self.learner, self.pairs, self.schedule = caught
        self.keys = count()

    def step(self, users: Tensor, items: Tensor) -> Tensor:
        """Take one training step on a batch of pairs; return its loss."""
        return self.learner.step(users, items, stream(1, next(self.keys)))

    def epoch(self) -> Tensor:
        """Train once on every pair; return the mean loss."""
        return run_epoch(self.learner, self.pairs, self.schedule.batch_size, stream(2, next(self.keys)))
