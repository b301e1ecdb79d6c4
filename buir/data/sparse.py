"""The canonical matrix of all code: rows sorted, a pair stored once, int32 indices, every value 1.

A training matrix alone may hold other values: the weights of its pairs, in units of their mean.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_array


def binary(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """Make the canonical matrix of some pairs, in any order, repeated ones merged; float32.

    Parameters
    ----------
    rows, columns
        Row and column of each pair, within ``shape``: a number outside lands in another row without a word.
    shape
        Rows and columns of the matrix.
    """
    pairs = np.asarray(rows, dtype=np.int64) * shape[1] + columns
    if np.any(pairs[1:] <= pairs[:-1]):  # in ascending order nothing can repeat
        pairs = np.unique(pairs)
    rows, columns = np.divmod(pairs, max(1, shape[1]))
    indptr = np.zeros(shape[0] + 1, dtype=np.int32)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
    return csr_array((np.ones(len(pairs), dtype=np.float32), columns.astype(np.int32), indptr), shape=shape)


def weighted(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """Make the canonical matrix of some pairs, whose values are the sums of their weights, above 0; float32.

    Parameters
    ----------
    rows, columns, shape
        As for ``binary``.
    weights
        One for each of the pairs, which may repeat.
    """
    matrix = binary(rows, columns, shape)
    matrix.data = pair_sums(matrix, rows, columns, weights).astype(np.float32)
    return matrix


def pair_sums(matrix: csr_array, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sum of the values of each pair of a canonical matrix, float64, in the order of ``matrix.data``."""
    keys = np.asarray(rows, dtype=np.int64) * matrix.shape[1] + columns
    if len(keys) == matrix.nnz and not np.any(keys[1:] <= keys[:-1]):  # in the order of the matrix already
        return values.astype(np.float64)
    owners = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    places = np.searchsorted(owners * matrix.shape[1] + matrix.indices, keys)
    return np.bincount(places, weights=values, minlength=matrix.nnz)


def pattern(matrix: csr_array) -> csr_array:
    """Return the pairs of a canonical matrix without their weights."""
    return csr_array((np.ones(matrix.nnz, dtype=np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def has_weights(matrix: csr_array) -> bool:
    """Tell whether a pair of a training matrix has another weight than 1."""
    return bool((matrix.data != 1).any())


def degrees(matrix: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of the rows and of the columns, float64: numbers of pairs where these have no weights."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    of_rows = np.bincount(rows, weights=matrix.data, minlength=matrix.shape[0])
    return of_rows, np.bincount(matrix.indices, weights=matrix.data, minlength=matrix.shape[1])


def canonical(matrix: Any) -> csr_array:
    """Return the pattern of a matrix of any format: rows sorted, each entry stored once and none with the value 0.

    A ``csr_array`` that is so already is returned as it is, with its values. No other is changed.
    """
    matrix = matrix if isinstance(matrix, csr_array) else csr_array(matrix)
    if matrix.has_canonical_format and matrix.data.all():
        return matrix
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    stored = matrix.data != 0
    return binary(rows[stored], matrix.indices[stored], matrix.shape)


def keep(matrix: csr_array, mask: np.ndarray) -> csr_array:
    """Return the entries where ``mask``, bool in the order of ``matrix.data``, is true; the shape stays."""
    indptr = np.concatenate(([0], np.cumsum(mask)))[matrix.indptr].astype(matrix.indptr.dtype)
    return csr_array((matrix.data[mask], matrix.indices[mask], indptr), shape=matrix.shape)


def of_some_users(matrix: csr_array, most: int) -> csr_array:
    """Keep the entries of ``most`` of the rows that have some, evenly spaced; of all, where these are no more."""
    users = np.flatnonzero(np.diff(matrix.indptr))
    if len(users) <= most:
        return matrix
    shown = np.zeros(matrix.shape[0], dtype=bool)
    shown[users[np.linspace(0, len(users) - 1, most).astype(np.int64)]] = True
    return keep(matrix, np.repeat(shown, np.diff(matrix.indptr)))


def outside(matrix: csr_array, other: csr_array) -> np.ndarray:
    """Tell which entries a matrix of that shape lacks: bool, in the order of ``matrix.data``; both are canonical."""
    keys, others = (
        np.repeat(np.arange(one.shape[0], dtype=np.int64), np.diff(one.indptr)) * one.shape[1] + one.indices
        for one in (matrix, other)
    )
    if not len(others):
        return np.ones(len(keys), dtype=bool)
    return others[np.minimum(np.searchsorted(others, keys), len(others) - 1)] != keys


def take(matrix: csr_array, rows: np.ndarray) -> csr_array:
    """Return these rows of a matrix, in this order; no copy of one row, nor of all in their own order."""
    if len(rows) == 1:  # a view, where SciPy's indexing takes longer than a product
        start, stop = matrix.indptr[rows[0]], matrix.indptr[rows[0] + 1]
        ends = np.array([0, stop - start], dtype=matrix.indptr.dtype)
        return csr_array((matrix.data[start:stop], matrix.indices[start:stop], ends), shape=(1, matrix.shape[1]))
    everything = len(rows) == matrix.shape[0] and np.array_equal(rows, np.arange(len(rows)))
    return matrix if everything else csr_array(matrix[rows])
