"""What the fits of most baselines have in common: all is learned in one go, and one record is made after."""

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

from scipy.sparse import csr_array

from buir.data import fit_inputs
from buir.ranking import evaluate
from buir.recommend import Recommender

Callback = Callable[[dict[str, Any]], Any] | None
"""Called with every history record; what it returns matters only to models that train in epochs."""

VALID_KS = (10, 20, 50)
VALID_METRICS = ("ndcg", "recall")


class FittedAtOnce(Recommender):
    """Base of the models that are fitted in one go: held-out pairs only tell how good they are."""

    history: list[dict[str, Any]]
    """One record: "epoch", "seconds" (of the fit, with the choice of terms), with ``valid`` the validation metrics, and
    where held-out pairs chose terms "terms": their strengths, gains and the number of candidates."""

    @abstractmethod
    def _learn(self, train: csr_array, *, show_progress: bool) -> None:
        """Learn from a canonical binary matrix."""

    def fit(self, user_items: Any, valid: Any = None, *, show_progress: bool = True, callback: Callback = None) -> Self:
        """Learn from the training pairs.

        Parameters
        ----------
        user_items
            Training pairs: any SciPy format, ``Interactions`` or a data frame.
        valid
            Held-out pairs of the same shape, measured once after the fit, training items masked; they choose the terms
            where those are "auto".
        show_progress
            Show a bar on a terminal, where a model takes long enough to have one.
        callback
            Called once with the history record, as at the end of a last epoch. What it raises passes through.
        """
        started = time.perf_counter()
        labelled, held_out = fit_inputs(user_items, valid)
        self._learn(labelled.matrix, show_progress=show_progress)
        self._remember(labelled)
        if "terms" in self.get_params():
            self._add_terms(held_out)
        record: dict[str, Any] = {"epoch": self.get_params().get("iterations", 1)}
        record["seconds"] = time.perf_counter() - started
        if held_out is not None:
            record |= evaluate(self, labelled.matrix, held_out, ks=VALID_KS, metrics=VALID_METRICS).means
        if "terms" in self.get_params():
            record |= self.terms_.record
        if callback is not None:
            callback(record)
        self.history = [record]
        return self
