"""The same list for everybody: items by their number of training users."""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.ranking import Scorer
from buir.recommend import AtLeast

from .fitting import FittedAtOnce


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
class Popularity(FittedAtOnce):
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

    def _learn(self, train: csr_array, *, show_progress: bool) -> None:
        self.counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32)

    def scorer(self) -> Scorer:
        """Score every item by its count."""
        return BroadcastScorer(self.counts, self.n_users)

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        return BroadcastScorer(self.counts, user_items.shape[0])
