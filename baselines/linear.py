"""EASE: a linear item-to-item model with a closed form."""

from dataclasses import field
from typing import Annotated, Any

import numpy as np
import torch
from scipy.linalg import lapack
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from buir.errors import Refused
from buir.ranking import Scorer
from buir.recommend import Above, AtLeast, Terms, estimator

from .fitting import FittedAtOnce, Look

_BLOCK = 1024
_SINGLE_IS_ENOUGH = 1e-4
"""Reciprocal condition number above which float32 gives the inverse to about three digits."""


class LinearScorer:
    """Scores ``rows @ weights`` over the items that have weights, the others below them all.

    Parameters
    ----------
    rows
        Interactions of the users to score, shape (n_users, n_items).
    weights
        What each interaction says for each item, dense or sparse; shape (n_known, n_known) with ``known``.
    known
        Item rows that the weights are about, ascending, shape (n_known,); None if they are about all.
    """

    def __init__(self, rows: csr_array, weights: np.ndarray | csr_array, known: np.ndarray | None = None) -> None:
        self.n_users, self.n_items = rows.shape[0], weights.shape[1] if known is None else rows.shape[1]
        self.rows, self.weights, self.known = rows if known is None else rows[:, known], weights, known

    def score_block(self, users: np.ndarray) -> torch.Tensor:
        """Score all items for ``users``; an item without weights gets the user's lowest score minus one."""
        scores: Any = self.rows[users] @ self.weights
        if isinstance(scores, csr_array):
            scores = scores.toarray().astype(np.float32, copy=False)
        if self.known is None or len(self.known) == self.n_items:
            return torch.from_numpy(scores)
        block = np.repeat(scores.min(axis=1, keepdims=True) - 1, self.n_items, axis=1)
        block[:, self.known] = scores
        return torch.from_numpy(block)


@estimator
class EASE(FittedAtOnce):
    r"""Embarrassingly shallow autoencoder: the best linear map from a user's items to the same items, none to itself.

    .. math:: B = \mathrm{arg}\min_B |X - XB|^2 + \lambda |B|^2,\ \mathrm{diag}(B) = 0
              \quad\Rightarrow\quad B_{ij} = -P_{ij} / P_{jj},\ P = (X^\top X + \lambda I)^{-1}

    Only items with training data take part. The others get, for each user, the lowest score minus one: they come last
    and still fill a list. A user without history scores all items zero. New users need no training: ``recommend(...,
    recalculate_user=True)`` multiplies their rows with the same weights.

    Notes
    -----
    Memory is one square matrix over the items with training data, and time grows with their cube: about half a minute
    for 12,000 items and a few minutes for 20,000 on one thread. The inverse is taken in single precision where the
    condition number allows three digits, else in double precision, which takes three times the memory for a while. Each
    fit solves anew: an eigendecomposition would serve every lambda of a search, but takes longer than many solutions
    and double precision, and fits of separate models have nowhere to share it but in hidden state.

    References
    ----------
    Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, equation 8.
    """

    regularization: Annotated[float, Above(0)] = 100.0
    """Weight of the squared weights. Raise it the more data there are: 10 to 1,000."""
    max_items: Annotated[int, AtLeast(1)] = 20_000
    """Items with training data beyond which ``fit`` refuses. Raise it where memory allows: 12 bytes for a pair of
    items."""
    num_threads: Annotated[int, AtLeast(1)] = 1
    """BLAS threads of the solution. Raise it on idle cores only: on busy ones threads wait, up to 20 times as long."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``. Set
    "auto" where a model is to have what BUIR has."""
    seed: Annotated[int, AtLeast(0)] = 0
    """Part of every model's constructor; nothing is drawn here. Leave it."""

    weights: np.ndarray = field(init=False, repr=False)
    """float32, shape (n_known, n_known), zero diagonal; column j is what each item says for ``known_items[j]``."""
    known_items: np.ndarray = field(init=False, repr=False)
    """Item rows with training data, ascending."""

    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        """Solve for the weights; ``Refused`` if more than ``max_items`` items have training data."""
        known = np.unique(train.indices)
        if len(known) > self.max_items:
            single, double = (len(known) ** 2 * size / 2**30 for size in (4, 12))
            msg = (
                f"EASE needs a square matrix over the {len(known):,} items with training data: {single:.1f} GiB, up to "
                f"{double:.1f} GiB while it is solved; the limit is {self.max_items:,} items: keep items with more "
                "interactions (min_item, core) or raise max_items"
            )
            raise Refused(msg)
        with threadpool_limits(self.num_threads, "blas"):
            self.weights, self.known_items = solve_ease(train[:, known], self.regularization), known

    def _own_scorer(self) -> Scorer:
        """Score by the training rows times the weights."""
        return LinearScorer(self._seen_rows(np.arange(self.n_users), "EASE's score"), self.weights, self.known_items)

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        return LinearScorer(user_items, self.weights, self.known_items)


def solve_ease(user_items: csr_array, regularization: float) -> np.ndarray:
    """Solve EASE's least squares.

    Parameters
    ----------
    user_items
        Binary, shape (n_users, n_items).
    regularization
        Above 0.

    Returns
    -------
    Weights, float32, shape (n_items, n_items), zero diagonal.

    Raises
    ------
    ValueError
        If the matrix is singular in double precision.
    """
    for dtype in (np.float32, np.float64):
        inverse = _inverse_gram(user_items, regularization, dtype)
        if inverse is not None:
            break
    else:
        msg = (
            f"EASE's matrix cannot be inverted with regularization {regularization:g}, expected a value that lifts its "
            "smallest eigenvalue above rounding: take 1 or more"
        )
        raise ValueError(msg)
    scale = -1 / np.diag(inverse)
    for start in range(0, len(inverse), _BLOCK):
        inverse[start : start + _BLOCK] *= scale
    np.fill_diagonal(inverse, 0)
    return inverse.astype(np.float32, copy=False)


def _inverse_gram(user_items: csr_array, regularization: float, dtype: type[np.floating]) -> np.ndarray | None:
    """Invert ``X^T X + regularization I`` in place; None where ``dtype`` is too coarse for it."""
    prefix = "s" if dtype is np.float32 else "d"
    factorise, estimate, invert = (getattr(lapack, prefix + name) for name in ("potrf", "pocon", "potri"))
    n_items = user_items.shape[1]
    gram = np.empty((n_items, n_items), dtype=dtype)
    columns = user_items.tocsc().astype(dtype)
    rows = columns.T.tocsr()
    for start in range(0, n_items, _BLOCK):
        gram[:, start : start + _BLOCK] = (rows @ columns[:, start : start + _BLOCK]).toarray()
    gram.flat[:: n_items + 1] += regularization
    norm = max(float(np.abs(gram[start : start + _BLOCK]).sum(axis=1).max()) for start in range(0, n_items, _BLOCK))
    # A C-ordered symmetric matrix is its own transpose in Fortran order: LAPACK works in place.
    factor, failed = factorise(gram.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        return None
    condition, _ = estimate(factor, norm, uplo="L")
    if condition < (_SINGLE_IS_ENOUGH if dtype is np.float32 else np.finfo(dtype).eps):
        return None
    inverse, failed = invert(factor, lower=1, overwrite_c=1)
    if failed:
        return None
    inverse = inverse.T
    # Only one triangle was computed: mirror it by blocks, so that no second matrix is needed.
    for start in range(0, n_items, _BLOCK):
        stop = min(start + _BLOCK, n_items)
        corner = np.triu(inverse[start:stop, start:stop])
        inverse[start:stop, start:stop] = corner + np.triu(corner, 1).T
        inverse[stop:, start:stop] = inverse[start:stop, stop:].T
    return inverse
