"""A fresh model of `implicit`, built and fitted so that none of its traps goes off.

What is kept away: a second fit that continues the first, matrix classes that it half supports, BLAS threads that fight
with its own, seeds that crash it, progress bars in log files.
"""

import sys
from collections.abc import Callable
from typing import Any

from implicit.recommender_base import ModelFitError
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from buir.ranking import FactorScorer, Scorer


def fit_inner(
    inner: Any, train: csr_array, *, show_progress: bool, look: Callable[[int, Scorer], None] | None = None
) -> Any:
    """Fit a fresh model of `implicit` on a canonical matrix, whose values are weights.

    Parameters
    ----------
    inner
        Not fitted before: a second fit would continue the first one.
    train
        Shape (n_users, n_items).
    show_progress
        Show `implicit`'s bar, on a terminal only.
    look
        Told the number of sweeps done and how things score then, after 1, 2, 4, 8 and so on; only a model with factors
        can be looked at.

    Raises
    ------
    FloatingPointError
        If its factors stop being numbers.
    """
    # A copy of the older matrix class: implicit refuses csr_array in places and must not change what we were given.
    matrix = csr_matrix((train.data.copy(), train.indices.copy(), train.indptr.copy()), shape=train.shape)

    def after(sweep: int, *_: object) -> None:
        if look is not None and (sweep + 1).bit_count() == 1:
            look(sweep + 1, FactorScorer(inner.user_factors, inner.item_factors))

    watched = {} if look is None else {"callback": after}
    try:
        with threadpool_limits(1, "blas"):
            inner.fit(matrix, show_progress=show_progress and sys.stderr.isatty(), **watched)
    except ModelFitError as error:
        name = type(inner).__name__
        msg = f"the factors of {name} stopped being numbers: lower learning_rate, or raise regularization"
        raise FloatingPointError(msg) from error
    return inner


def make_inner(factory: Callable[..., Any], *, seed: int, terms: Any = None, **settings: Any) -> Any:
    """Build a model of `implicit` for the CPU; its seed must be Python's integer, and terms are added by us, later."""
    # Its constructors look at the BLAS threads and warn.
    with threadpool_limits(1, "blas"):
        return factory(use_gpu=False, random_state=int(seed), **settings)
