"""ALS, BPR and LMF of `implicit`, so that none of its traps reaches a user or a number.

Every fit builds a fresh inner model, with one thread where more would make the result depend on timing; what it reads is
checked before, and its lists, which can hold seen and repeated items, are never asked for: ranking is ours. Its code for the
CPU is used also where there is a GPU, for numbers that can be compared.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.lmf import LogisticMatrixFactorization
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from buir.data import fit_inputs
from buir.ranking import FactorScorer
from buir.recommend import Above, AtLeast, Recommender, Terms

from .fitting import Callback, report_fit
from .inner import fit_inner, make_inner
from .neighbours import ItemKNN

if TYPE_CHECKING:
    from buir.ranking import Scorer

__all__ = ["ALS", "BPR", "LMF", "ItemKNN"]


@dataclass(kw_only=True, eq=False)
class ALS(Recommender):
    r"""Weighted matrix factorisation by alternating least squares.

    .. math:: \min \sum_{u,i} c_{ui} (p_{ui} - x_u \cdot y_i)^2 + \lambda (|X|^2 + |Y|^2),\quad
              c_{ui} = \alpha \text{ and } p_{ui} = 1 \text{ for a training pair, } c = 1 \text{ and } p = 0 \text{ else}

    New users need no training: ``recommend(..., recalculate_user=True)`` solves for their factors.

    Notes
    -----
    `implicit` 0.7.3 adds the same lambda to the equations of every row. Scaling it by a row's number of pairs, as
    Rendle et al. advise ("Revisiting the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022), needs
    another solver: no weights of the pairs have that effect, since the zeros weigh 1 in every row. A wide range of
    lambda stands in for it.

    References
    ----------
    Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.
    """

    factors: Annotated[int, AtLeast(1)] = 64
    """Width of the vectors."""
    alpha: Annotated[float, Above(0)] = 10.0
    """Weight of a training pair, where any other pair weighs 1. Sparse data want more: 1 to 100."""
    regularization: Annotated[float, AtLeast(0)] = 30.0
    """lambda, not scaled by the number of pairs. Sparse data and popular items want more: 0.001 to 1,000."""
    iterations: Annotated[int, AtLeast(1)] = 15
    """Sweeps over users and items."""
    num_threads: Annotated[int, AtLeast(0)] = 0
    """Threads, 0 for all cores; the result does not depend on it."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``."""
    seed: Annotated[int, AtLeast(0, most=2**32 - 1)] = 0
    """Decides the initial factors."""

    history: list[dict[str, Any]] = field(init=False, repr=False)
    """One record, made after the fit."""

    def fit(self, user_items: Any, valid: Any = None, *, show_progress: bool = True, callback: Callback = None) -> ALS:
        """Factorise the training matrix; ``valid`` is only measured, after the fit, for the record given to ``callback``."""
        inner = make_inner(
            AlternatingLeastSquares,
            factors=self.factors,
            alpha=float(self.alpha),
            regularization=float(self.regularization),
            iterations=self.iterations,
            num_threads=self.num_threads,
            random_state=int(self.seed),
        )
        self._inner = _fit_factors(self, inner, (user_items, valid), show_progress=show_progress, callback=callback)
        return self

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        with threadpool_limits(1, "blas"):
            factors = self._inner.recalculate_user(np.arange(user_items.shape[0]), csr_matrix(user_items))
        return FactorScorer(factors, self._likeness(self.item_factors))

    def _recalculated_items(self, item_users: csr_array) -> np.ndarray:
        with threadpool_limits(1, "blas"):
            return self._inner.recalculate_item(np.arange(item_users.shape[0]), csr_matrix(item_users))


@dataclass(kw_only=True, eq=False)
class BPR(Recommender):
    r"""Matrix factorisation by Bayesian personalised ranking, with an item bias.

    The bias is one more column of the factors (the users' is 1), so that scores are inner products of ``factors + 1``
    numbers. One thread, since more make `implicit`'s result depend on their timing.

    Notes
    -----
    `implicit` draws a negative in proportion to its popularity, not evenly. Users and items without training pairs have zero
    factors; for such a user items are ordered by bias.

    References
    ----------
    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """

    factors: Annotated[int, AtLeast(1)] = 64
    """Width of the vectors, without the bias."""
    learning_rate: Annotated[float, Above(0)] = 0.01
    """Step of the stochastic gradient; small and dense data want less, 0.001 to 0.3."""
    regularization: Annotated[float, AtLeast(0)] = 0.01
    """Decay of the factors in each step."""
    iterations: Annotated[int, AtLeast(1)] = 100
    """Passes over the pairs."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``."""
    seed: Annotated[int, AtLeast(0, most=2**32 - 1)] = 0
    """Decides initial factors and draws."""

    history: list[dict[str, Any]] = field(init=False, repr=False)
    """One record, made after the fit."""

    def fit(self, user_items: Any, valid: Any = None, *, show_progress: bool = True, callback: Callback = None) -> BPR:
        """Train on the pairs; ``valid`` is only measured, after the fit, for the record given to ``callback``."""
        inner = make_inner(
            BayesianPersonalizedRanking,
            factors=self.factors,
            learning_rate=self.learning_rate,
            regularization=self.regularization,
            iterations=self.iterations,
            num_threads=1,
            random_state=int(self.seed),
        )
        _fit_factors(self, inner, (user_items, valid), show_progress=show_progress, callback=callback)
        return self


@dataclass(kw_only=True, eq=False)
class LMF(Recommender):
    """Logistic matrix factorisation, with user and item biases.

    The biases are two more columns of the factors, so that scores are inner products of ``factors + 2`` numbers. One
    thread, since the draws of `implicit` depend on their number.

    Notes
    -----
    `implicit` 0.7.3 draws at most ``factors`` negatives for a user, whatever ``negatives`` says: users with many items are
    trained on too few. Read its numbers with that in mind; a win over this model says little.

    References
    ----------
    Johnson, "Logistic Matrix Factorization for Implicit Feedback Data", NIPS 2014 workshop.
    """

    factors: Annotated[int, AtLeast(1)] = 64
    """Width of the vectors, without the biases."""
    learning_rate: Annotated[float, Above(0)] = 1.0
    """Step of Adagrad."""
    regularization: Annotated[float, AtLeast(0)] = 3.0
    """L2 decay."""
    iterations: Annotated[int, AtLeast(1)] = 30
    """Passes over users and items."""
    negatives: Annotated[int, AtLeast(1)] = 30
    """Negatives for each training pair, before the limit described above."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``."""
    seed: Annotated[int, AtLeast(0, most=2**32 - 1)] = 0
    """Decides initial factors and draws."""

    history: list[dict[str, Any]] = field(init=False, repr=False)
    """One record, made after the fit."""

    def fit(self, user_items: Any, valid: Any = None, *, show_progress: bool = True, callback: Callback = None) -> LMF:
        """Train on the pairs; ``valid`` is only measured, after the fit, for the record given to ``callback``."""
        inner = make_inner(
            LogisticMatrixFactorization,
            factors=self.factors,
            learning_rate=self.learning_rate,
            regularization=self.regularization,
            iterations=self.iterations,
            neg_prop=self.negatives,
            num_threads=1,
            random_state=int(self.seed),
        )
        _fit_factors(self, inner, (user_items, valid), show_progress=show_progress, callback=callback)
        return self


def _fit_factors(
    model: ALS | BPR | LMF, inner: Any, data: tuple[Any, Any], *, show_progress: bool, callback: Callback
) -> Any:
    started = time.perf_counter()
    labelled, held_out = fit_inputs(*data)
    fit_inner(inner, labelled.matrix, show_progress=show_progress)
    model.user_factors, model.item_factors = inner.user_factors, inner.item_factors
    model._remember(labelled)
    model._add_terms(held_out)
    model.history = report_fit(
        model, labelled.matrix, held_out, epoch=model.iterations, started=started, callback=callback
    )
    return inner
