"""The same list for everybody: items by their number of training users."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch

from buir.data import fit_inputs
from buir.recommend import AtLeast, Recommender

from .fitting import Callback, report_fit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from buir.ranking import Scorer


class BroadcastScorer:
    """One row of scores, shared by all users.

    Parameters
    ----------
    scores
        Score of each item.
    n_users
        Number of users.
    """

    def __init__(self, scores: np.ndarray, n_users: int) -> None:
        self.scores = torch.as_tensor(scores, dtype=torch.float32)
        self.n_users = n_users
        self.n_items = len(scores)

    def score_block(self, users: np.ndarray) -> torch.Tensor:
        """Repeat the row for ``users``, as a view."""
        return self.scores.expand(len(users), self.n_items)


@dataclass(kw_only=True, eq=False)
class Popularity(Recommender):
    """Recommend what most users have: the floor under every personalised model.

    The score of an item is the number of its training users, so lists differ between users only by what is left out of
    them. A stranger is served as well as anybody.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> train = csr_array([[1, 1, 0], [0, 1, 1], [0, 1, 0]])
    >>> Popularity().fit(train).recommend(2, N=2)[1].tolist()
    [1.0, 1.0]
    """

    seed: Annotated[int, AtLeast(0)] = 0
    """Part of every model's constructor; nothing is drawn here."""

    counts: np.ndarray = field(init=False, repr=False)
    """Training users of each item, float32, shape (n_items,)."""
    history: list[dict[str, Any]] = field(init=False, repr=False)
    """One record, made after the fit."""

    def fit(
        self, user_items: Any, valid: Any = None, *, show_progress: bool = True, callback: Callback = None
    ) -> Popularity:
        """Count the users of each item.

        Parameters
        ----------
        user_items
            Training pairs: any SciPy format, ``Interactions`` or a data frame.
        valid
            Held-out pairs of the same shape, measured once after the fit.
        show_progress
            Part of every model's ``fit``; counting is over before a bar would show.
        callback
            Called once, with the history record.
        """
        started = time.perf_counter()
        labelled, held_out = fit_inputs(user_items, valid)
        train = labelled.matrix
        self.counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32)
        self._remember(labelled)
        self.history = report_fit(self, train, held_out, epoch=1, started=started, callback=callback)
        return self

    def scorer(self) -> Scorer:
        """Score every item by its count."""
        return BroadcastScorer(self.counts, self.n_users)

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        return BroadcastScorer(self.counts, user_items.shape[0])
