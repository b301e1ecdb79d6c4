"""The same list for everybody: items by their number of training users."""

from dataclasses import field
from typing import Annotated, ClassVar

import numpy as np
from scipy.sparse import csr_array

from buir.data import degrees
from buir.ranking import FactorScorer, Scorer
from buir.recommend import AtLeast, estimator

from .fitting import FittedAtOnce, Look


@estimator
class Popularity(FittedAtOnce):
    """Recommend what most users have: the floor under every personalised model.

    The score of an item is the number of its training users, or the sum of their weights, so lists differ between users
    only by what is left out of them. A stranger is served as well as anybody.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> train = csr_array([[1, 1, 0], [0, 1, 1], [0, 1, 0]])
    >>> Popularity().fit(train).recommend(2, N=2)[1].tolist()
    [1.0, 1.0]
    """

    takes_weights: ClassVar[bool] = True

    seed: Annotated[int, AtLeast(0)] = 0
    """Part of every model's constructor; nothing is drawn here. Leave it."""

    counts: np.ndarray = field(init=False, repr=False)
    """Training users of each item, float32, shape (n_items,); by weights, in units of their mean."""

    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        self.counts = degrees(train)[1].astype(np.float32)

    def scorer(self) -> Scorer:
        """Score every item by its count."""
        return self._for(self.n_users)

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        return self._for(user_items.shape[0])

    def _for(self, n_users: int) -> Scorer:
        return FactorScorer(np.ones((n_users, 1), dtype=np.float32), self.counts[:, None])
