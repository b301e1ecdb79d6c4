"""What a user's items say of others by how often they occur together: the local term of a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import _sparsetools, csr_array, vstack

from buir.data import degrees

__all__ = ["ItemFilter"]

_PRODUCTS = 1 << 22
"""Most products of entries in one block of rows: a block then takes at most 50 MB before it is cut."""

_SQUARED = 1 << 30
"""Most products that the square of a filter may take: on large catalogues its rows are cut for it."""

_WORTHWHILE = 1000
"""Products for each user above which a sum of their own is faster than SciPy's product of matrices."""

_SAMPLE = 128
"""Users whose scores say how widely a filter and its square spread."""

_MANY = 100
"""Items of a history above which its sum is worth the memory that it takes to keep it."""


@dataclass(frozen=True, eq=False)
class ItemFilter:
    r"""Scores items by normalised co-occurrence with the user's training items, :math:`R_u G`.

    .. math:: G = D_I^{-x} (R' D_U^{-y} R)\, D_I^{-z} \text{ with zero diagonal}

    Only pairs that exist are counted: no user-item pair serves as a negative. A scorer in its own right; in a score
    with other terms its strength is the spread of its scores over the items in units of the spread of the base scores.

    References
    ----------
    Paudel et al., "Updatable, accurate, diverse, and scalable recommendations", TiiS 2016; Shen et al., "How powerful
    is graph convolution for recommendation?", CIKM 2021.
    """

    history: csr_array
    """R, float32, shape (n_users, n_items): the weights of the pairs, 1 where they have none."""
    weights: csr_array
    """G, float32, shape (n_items, n_items): row j says what a user who has item j gets, column i is the item scored."""
    strength: float = 0.0
    """g >= 0: the spread of the term over the items, in units of the spread of the base scores."""

    own_spread: float | None = None
    """Spread of the scores over the items, if it is known: it does not follow the strength."""
    keeps_sums: bool = False
    """Whether the scores of users with long histories are kept from the first list of a single user on, in as much
    memory as the weights take; then nobody may write to history and weights."""

    grid: ClassVar[tuple[float, ...]] = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
    """Strengths tried by default."""

    @classmethod
    def from_matrix(
        cls,
        matrix: csr_array,
        *,
        exponents: tuple[float, float, float] = (0.5, 0.5, 0.25),
        keep: int = 300,
        sharpening: float = 0.0,
        strength: float = 0.0,
    ) -> ItemFilter:
        r"""Count the co-occurrences of a training matrix.

        Parameters
        ----------
        matrix
            R, canonical, with the weights of the pairs, shape (n_users, n_items).
        exponents
            x, y and z: how much the degree of the item had, of the users in between and of the item scored divides.
        keep
            Largest entries kept of each row, that is for each item a user may have had; of equal ones those of the
            lower items.
        sharpening
            s >= 0: take away what items have in common by way of third ones, :math:`G - s \frac{\sigma_1}{\sigma_2}
            G^2`, with the spreads over the items of :math:`R G` and :math:`R G^2`; entries that are not positive are
            left out. On dense data nearly everything occurs with everything, by way of what is popular; what is left
            tells more. It is a smoothing undone once (Choi et al., "Blurring-sharpening process models for
            collaborative filtering", SIGIR 2023), and the first step towards the inverse by which EASE regresses on
            zeros, but no pair serves as a negative.
        strength
            Of the term.

        Raises
        ------
        ValueError
            If ``keep`` is below 1, or ``sharpening`` is not finite or below 0.
        """
        if keep < 1:
            msg = f"keep is {keep}, expected at least 1 neighbour of each item"
            raise ValueError(msg)
        if not 0 <= sharpening < np.inf:
            msg = f"sharpening is {sharpening}, expected a number of at least 0"
            raise ValueError(msg)
        weights = _cooccurrences(matrix, exponents, keep)
        if sharpening:
            less = _Square.of(matrix, weights, keep, sharpening).taken_from
            weights = _cooccurrences(matrix, exponents, keep, less)
        return cls(matrix, weights, strength)

    @property
    def n_users(self) -> int:
        """Number of users that can be scored."""
        return self.history.shape[0]

    @property
    def n_items(self) -> int:
        """Number of items that each user is scored against."""
        return self.history.shape[1]

    @property
    def idle_items(self) -> np.ndarray:
        """Which items score 0 with every user, bool, shape (n_items,)."""
        return np.bincount(self.weights.indices, minlength=self.n_items) == 0

    def score_block(self, users: np.ndarray) -> torch.Tensor:
        """Score all items for ``users``: float32, shape (len(users), n_items), on the CPU."""
        if len(users) == 1:
            return torch.from_numpy(self._scores_of(int(users[0]))).unsqueeze(0)
        histories = self.history[users]
        if np.diff(self.weights.indptr)[histories.indices].sum() < _WORTHWHILE * len(users):
            return torch.from_numpy((histories @ self.weights).toarray())
        scores = np.zeros((len(users), self.n_items), dtype=np.float32)
        for row, start, stop in zip(scores, histories.indptr, histories.indptr[1:], strict=False):
            _add_rows(self.weights, histories.indices[start:stop], histories.data[start:stop], row)
        return torch.from_numpy(scores)

    def _scores_of(self, user: int) -> np.ndarray:
        """Add up the rows of G for one user in the order of the product of matrices, to the same bits in less time."""
        had = slice(*self.history.indptr[user : user + 2])
        items, values = self.history.indices[had], self.history.data[had]
        known = self._sums.get(user) if self.keeps_sums and len(items) > _MANY else None
        return self._added(items, values) if known is None else known

    def _added(self, items: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return ``values @ weights[items]``."""
        scores = np.zeros(self.n_items, dtype=np.float32)
        _add_rows(self.weights, items, values, scores)
        return scores

    @cached_property
    def _sums(self) -> dict[int, np.ndarray]:
        """Scores of the users with the longest histories, by row: there hundreds of rows of G are added up."""
        lengths = np.diff(self.history.indptr)
        room = self.weights.data.nbytes + self.weights.indices.nbytes
        longest = np.argsort(-lengths, kind="stable")[: room // (4 * max(self.n_items, 1))]
        rows = {
            user: slice(*self.history.indptr[user : user + 2]) for user in longest[lengths[longest] > _MANY].tolist()
        }
        return {user: self._added(self.history.indices[had], self.history.data[had]) for user, had in rows.items()}


def _add_rows(matrix: csr_array, rows: np.ndarray, values: np.ndarray, into: np.ndarray) -> None:
    """Add ``values @ matrix[rows]`` to a dense vector, in the order of the product of matrices, so to the same bits.

    By the routines in SciPy's product of matrix and vector: its checks take longer than a sum, and its product of
    matrices finds the places of all entries first.
    """
    rows = rows.astype(matrix.indptr.dtype, copy=False)
    ends = np.zeros(len(rows) + 1, dtype=rows.dtype)
    np.cumsum(matrix.indptr[rows + 1] - matrix.indptr[rows], out=ends[1:])
    columns, shares = np.empty(ends[-1], dtype=matrix.indices.dtype), np.empty(ends[-1], dtype=matrix.data.dtype)
    _sparsetools.csr_row_index(len(rows), rows, matrix.indptr, matrix.indices, matrix.data, columns, shares)
    _sparsetools.csc_matvec(
        matrix.shape[1], len(rows), ends, columns, shares, values.astype(np.float32, copy=False), into
    )


def _product(left: csr_array, right: csr_array, most: int) -> csr_array:
    """Return ``left @ right``, which takes no more than ``most`` products.

    SciPy would first count its entries, in half the time of the product itself.
    """
    shape = (left.shape[0], right.shape[1])
    most = min(most, shape[0] * shape[1])
    index = np.int32 if max(most, *shape, left.nnz, right.nnz) <= np.iinfo(np.int32).max else np.int64
    left_rows, right_rows, left_columns, right_columns = (
        part.astype(index, copy=False) for part in (left.indptr, right.indptr, left.indices, right.indices)
    )
    rowptr, columns = np.empty(shape[0] + 1, dtype=index), np.empty(most, dtype=index)
    values = np.empty(most, dtype=np.result_type(left.data, right.data))
    left_parts, right_parts = (left_rows, left_columns, left.data), (right_rows, right_columns, right.data)
    _sparsetools.csr_matmat(*shape, *left_parts, *right_parts, rowptr, columns, values)
    return csr_array((values[: rowptr[-1]], columns[: rowptr[-1]], rowptr), shape=shape)


def _cooccurrences(
    history: csr_array,
    exponents: tuple[float, float, float],
    keep: int,
    changed: Callable[[csr_array, int], csr_array] = lambda block, _: block,
) -> csr_array:
    """Return G, block by block of rows, each changed, with its first row, before it is cut."""
    of_users, of_items = degrees(history)
    had, between, scored = (
        _powers(degree, -exponent) for degree, exponent in zip((of_items, of_users, of_items), exponents, strict=True)
    )
    # D_I^-x R' D_U^-y and R D_I^-z, so that their product is G
    left = history.T.tocsr()
    work = np.concatenate([[0], np.cumsum(np.diff(history.indptr)[left.indices], dtype=np.int64)])[left.indptr]
    left.data = np.repeat(had, np.diff(left.indptr)) * between[left.indices] * left.data
    right = csr_array((scored[history.indices] * history.data, history.indices, history.indptr), shape=history.shape)
    n_items = history.shape[1]
    blocks, start = [], 0
    while start < n_items:
        stop = max(start + 1, int(np.searchsorted(work, work[start] + _PRODUCTS, side="right")) - 1)
        product = _product(left[start:stop], right, int(work[stop] - work[start]))
        blocks.append(_largest_of_rows(changed(product, start), start, keep))
        start = stop
    if not blocks:
        return csr_array(np.zeros((0, 0), dtype=np.float32))
    whole = csr_array(vstack(blocks, format="csr"))
    # narrow ones are half of what is read for a list, and as narrow as those of the training rows: none is converted
    index = np.int32 if max(n_items, whole.nnz) <= np.iinfo(np.int32).max else np.int64
    whole = csr_array((whole.data, whole.indices.astype(index), whole.indptr.astype(index)), shape=whole.shape)
    whole.sort_indices()
    return whole


@dataclass(frozen=True, eq=False)
class _Square:
    """A multiple of the square of a filter."""

    root: csr_array
    """The filter; of a large one the largest entries of each row."""
    scale: np.float32

    @classmethod
    def of(cls, history: csr_array, weights: csr_array, keep: int, share: float) -> _Square:
        """Make it so large that the scores spread by a share of how widely those of the filter itself do."""
        users = np.unique(np.linspace(0, history.shape[0] - 1, min(_SAMPLE, history.shape[0])).astype(np.int64))
        once = csr_array(history[users] @ weights)
        of_once, of_twice = _variance(once), _variance(csr_array(once @ weights))
        ratio = np.sqrt(of_once / of_twice) if of_twice > 0 else 0.0
        most = max(1, isqrt(_SQUARED // max(weights.shape[0], 1)))
        return cls(_largest_of_rows(weights, 0, most) if most < keep else weights, np.float32(share * ratio))

    def taken_from(self, block: csr_array, first: int) -> csr_array:
        """Take it from rows of another filter, the first of which is ``first``, and leave what is positive.

        Only entries of the block are looked at: the square is positive, so that no other entry can be.
        """
        square = np.empty(block.shape[1], dtype=self.root.data.dtype)
        for row, (start, stop) in enumerate(zip(block.indptr, block.indptr[1:], strict=False)):
            if start < stop:
                had = slice(*self.root.indptr[first + row : first + row + 2])
                square.fill(0)
                _add_rows(self.root, self.root.indices[had], self.root.data[had], square)
                block.data[start:stop] -= self.scale * square[block.indices[start:stop]]
        np.maximum(block.data, 0, out=block.data)
        block.eliminate_zeros()
        return block


def _variance(scores: csr_array) -> float:
    """Return the mean variance of a row over all columns."""
    values, n = scores.data.astype(np.float64), max(scores.shape[1], 1)
    sums = np.bincount(np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr)), values)
    return (np.square(values).sum() - np.square(sums).sum() / n) / (max(scores.shape[0], 1) * n)


def _powers(degree: np.ndarray, exponent: float) -> np.ndarray:
    """Return degree^exponent, float32, 0 where there is nothing to divide."""
    return np.where(degree > 0, np.where(degree > 0, degree, 1) ** exponent, 0).astype(np.float32)


def _largest_of_rows(block: csr_array, first: int, keep: int) -> csr_array:
    """Keep the ``keep`` largest entries of each row off the diagonal; ``first`` is what row 0 is in the whole."""
    rows = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    chosen = block.indices != rows + first
    for row in np.flatnonzero(np.diff(block.indptr) > keep):
        part = slice(block.indptr[row], block.indptr[row + 1])
        values = np.where(chosen[part], block.data[part], -1)
        limit = np.partition(values, -keep)[-keep]
        kept = values > limit
        level = np.flatnonzero((values == limit) & chosen[part])
        room = keep - np.count_nonzero(kept)
        if len(level) > room:
            level = level[np.argsort(block.indices[part][level])[:room]]
        kept[level] = True
        chosen[part] = kept
    rowptr = np.concatenate([[0], np.cumsum(np.bincount(rows[chosen], minlength=block.shape[0]))])
    return csr_array((block.data[chosen], block.indices[chosen], rowptr), shape=block.shape)
