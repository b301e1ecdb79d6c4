"""The smallest model with factors: truncated SVD, no randomness, whose numbers can be followed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from buir.data import as_csr, fit_inputs
from buir.ranking.top_k import FactorScorer
from buir.recommend import Recommender


class Svd(Recommender):
    """Factors of the training matrix; strangers are projected onto the item factors."""

    def __init__(self, *, rank: int = 2, seed: int = 0) -> None:
        self.rank, self.seed = rank, seed

    def fit(self, user_items: Any, valid: Any = None, *, show_progress: bool = True, callback: Any = None) -> Svd:
        labelled, _ = fit_inputs(user_items, valid)
        left, values, right = np.linalg.svd(labelled.matrix.toarray(), full_matrices=False)
        self.user_factors = np.ascontiguousarray(left[:, : self.rank] * values[: self.rank])
        self.item_factors = np.ascontiguousarray(right[: self.rank].T)
        self._remember(labelled)
        return self

    def _recalculated_users(self, user_items: csr_array) -> FactorScorer:
        return FactorScorer(user_items @ self.item_factors, self.item_factors)


class Fixed(Recommender):
    """A model with given factors, "fitted" on given rows."""

    def __init__(self, user_factors: Any, item_factors: Any, user_items: Any) -> None:
        self.user_factors = np.array(user_factors, dtype=np.float32)
        self.item_factors = np.array(item_factors, dtype=np.float32)
        self._remember(as_csr(user_items, warn=False))

    def _recalculated_users(self, user_items: csr_array) -> FactorScorer:
        return FactorScorer(user_items @ self.item_factors, self.item_factors)

    def _recalculated_items(self, item_users: csr_array) -> np.ndarray:
        return item_users @ self.user_factors
