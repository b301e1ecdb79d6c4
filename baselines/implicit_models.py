"""ALS, BPR and LMF of `implicit`, so that none of its traps reaches a user or a number.

Every fit builds a fresh inner model, with one thread where more would make the result depend on timing; what it reads
is checked before, and its lists, which can hold seen and repeated items, are never asked for: ranking is ours. Its code
for the CPU is used also where there is a GPU, for numbers that can be compared.
"""

from dataclasses import field
from typing import Annotated, Any, ClassVar

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.lmf import LogisticMatrixFactorization
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from buir.ranking import FactorScorer, Scorer
from buir.recommend import Above, AtLeast, Terms, estimator

from .fitting import FittedAtOnce, Look
from .inner import fit_inner, make_inner

ONE_THREAD = "it takes one thread, since more make the result depend on their timing"
"""In place of a number of threads."""


@estimator
class ALS(FittedAtOnce):
    r"""Weighted matrix factorisation by alternating least squares.

    .. math:: \min \sum_{u,i} c_{ui} (p_{ui} - x_u \cdot y_i)^2 + \lambda (|X|^2 + |Y|^2),\quad
              c_{ui} = \alpha w_{ui},\ p_{ui} = 1 \text{ for a training pair, } c_{ui} = 1,\ p_{ui} = 0 \text{ else}

    with the weights w of the pairs in units of their mean, 1 where they have none.

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

    takes_weights: ClassVar[bool] = True

    factors: Annotated[int, AtLeast(1)] = 64
    """Width of the vectors. Raise it for dense data: 16 to 256."""
    alpha: Annotated[float, Above(0)] = 10.0
    """Weight of an average training pair, where any other pair weighs 1. Raise it for sparse data: 1 to 100."""
    regularization: Annotated[float, AtLeast(0)] = 30.0
    """lambda, not scaled by the number of pairs. Raise it for sparse data and popular items: 0.001 to 1,000."""
    iterations: Annotated[int, AtLeast(1)] = 15
    """Sweeps over users and items. Leave it: after 15 little changes."""
    num_threads: Annotated[int, AtLeast(0)] = 0
    """Threads, 0 for all cores; the result does not depend on it. Lower it where others need the cores."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``. Set
    "auto" where a model is to have what BUIR has."""
    seed: Annotated[int, AtLeast(0, most=2**32 - 1)] = 0
    """Decides the initial factors. Take several to see how much is chance."""

    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        params: Any = self.get_params() | {"alpha": float(self.alpha), "regularization": float(self.regularization)}
        inner = make_inner(AlternatingLeastSquares, **params)
        self._inner = fit_inner(inner, train, show_progress=show_progress, look=look)
        self.user_factors, self.item_factors = inner.user_factors, inner.item_factors

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        with threadpool_limits(1, "blas"):
            factors = self._inner.recalculate_user(np.arange(user_items.shape[0]), csr_matrix(user_items))
        return FactorScorer(factors, self._likeness(self.item_factors))

    def _recalculated_items(self, item_users: csr_array) -> np.ndarray:
        with threadpool_limits(1, "blas"):
            return self._inner.recalculate_item(np.arange(item_users.shape[0]), csr_matrix(item_users))


@estimator
class BPR(FittedAtOnce):
    r"""Matrix factorisation by Bayesian personalised ranking, with an item bias.

    The bias is one more column of the factors (the users' is 1), so that scores are inner products of ``factors + 1``
    numbers. One thread, since more make `implicit`'s result depend on their timing.

    Notes
    -----
    `implicit` draws a negative in proportion to its popularity, not evenly. Users and items without training pairs have
    zero factors; for such a user items are ordered by bias.

    References
    ----------
    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """

    factors: Annotated[int, AtLeast(1)] = 64
    """Width of the vectors, without the bias. Raise it for dense data: 16 to 256."""
    learning_rate: Annotated[float, Above(0)] = 0.01
    """Step of the stochastic gradient. Lower it for small and dense data: 0.001 to 0.3."""
    regularization: Annotated[float, AtLeast(0)] = 0.01
    """Decay of the factors in each step. Raise it for sparse data: 0.0001 to 0.1."""
    iterations: Annotated[int, AtLeast(1)] = 100
    """Passes over the pairs. Raise it with a small learning rate: nothing stops the training early."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``. Set
    "auto" where a model is to have what BUIR has."""
    seed: Annotated[int, AtLeast(0, most=2**32 - 1)] = 0
    """Decides initial factors and draws. Take several to see how much is chance."""

    @classmethod
    def _instead_of(cls, name: str, value: Any) -> str | None:
        return ONE_THREAD if name == "num_threads" else None

    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        inner = make_inner(BayesianPersonalizedRanking, num_threads=1, **self.get_params())
        fit_inner(inner, train, show_progress=show_progress, look=look)
        self.user_factors, self.item_factors = inner.user_factors, inner.item_factors


@estimator
class LMF(FittedAtOnce):
    """Logistic matrix factorisation, with user and item biases.

    The biases are two more columns of the factors, so that scores are inner products of ``factors + 2`` numbers. One
    thread, since the draws of `implicit` depend on their number.

    Notes
    -----
    `implicit` 0.7.3 draws at most ``factors`` negatives for a user, whatever ``negatives`` says: users with many items
    are trained on too few. Read its numbers with that in mind; a win over this model says little.

    References
    ----------
    Johnson, "Logistic Matrix Factorization for Implicit Feedback Data", NIPS 2014 workshop.
    """

    factors: Annotated[int, AtLeast(1)] = 64
    """Width of the vectors, without the biases. Raise it where users have many items, see the notes: 16 to 256."""
    learning_rate: Annotated[float, Above(0)] = 1.0
    """Step of Adagrad. Lower it where the factors stop being numbers: 0.1 to 2."""
    regularization: Annotated[float, AtLeast(0)] = 3.0
    """L2 decay. Raise it for sparse data: 0.1 to 10."""
    iterations: Annotated[int, AtLeast(1)] = 30
    """Passes over users and items. Raise it with a small learning rate: nothing stops the training early."""
    negatives: Annotated[int, AtLeast(1)] = 30
    """Negatives for each training pair, before the limit that the notes describe. Raise it for sparse data: 5 to
    100."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``. Set
    "auto" where a model is to have what BUIR has."""
    seed: Annotated[int, AtLeast(0, most=2**32 - 1)] = 0
    """Decides initial factors and draws. Take several to see how much is chance."""

    @classmethod
    def _instead_of(cls, name: str, value: Any) -> str | None:
        return ONE_THREAD if name == "num_threads" else None

    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        params = self.get_params()
        inner = make_inner(LogisticMatrixFactorization, num_threads=1, neg_prop=params.pop("negatives"), **params)
        fit_inner(inner, train, show_progress=show_progress, look=look)
        self.user_factors, self.item_factors = inner.user_factors, inner.item_factors
