"""From rows to distinct pairs: threshold, minimum counts, merging and k-core, and a report that accounts for all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, issparse

from buir.data import doctor
from buir.data.sparse import binary, pair_sums
from buir.errors import InputError, ShapeError, counted, report

_USUAL_WIDTH = 1 << 20
"""Items of a history for which nobody asks whether there is memory."""


@dataclass(frozen=True)
class IngestReport:
    """What happened between the source and the matrix: every row read is a pair, or is counted here.

    ``rows_read = n_pairs + elsewhere + missing + below_rating + below_minimum + merged + outside_core``.
    """

    rows_read: int
    """Rows (user, item) in the source; an explicit zero of a sparse matrix is no row."""
    below_rating: int = 0
    """Rows whose rating is below ``min_rating``."""
    below_minimum: int = 0
    """Rows of users and items with fewer rows than ``min_user`` and ``min_item``."""
    merged: int = 0
    """Rows that repeat an earlier pair."""
    outside_core: int = 0
    """Distinct pairs outside the k-core."""
    zeros: int = 0
    """Explicit zeros of a sparse matrix, skipped."""
    empty_lists: int = 0
    """Users whose list in the file is empty: they get no row."""
    blank_lines: int = 0
    """Blank lines of the file, skipped."""
    comments: int = 0
    """Lines of comment, skipped."""
    repeated_headers: int = 0
    """Rows that repeat the header, skipped."""
    elsewhere: int = 0
    """Rows of other events than those asked for with ``where``."""
    missing: int = 0
    """Rows left out because an id, a rating or a time is missing."""
    stripped: int = 0
    """Values of the file that had blanks around them, which were taken away."""
    ratings: str = ""
    """What the ratings are, where each row is a positive whatever its rating; empty where there are none."""
    source: str = "<arrays>"
    """Where the rows came from."""
    format: str = "arrays"
    """The form they had there."""
    columns: str = ""
    """Which column was read as what; empty where there was no choice."""

    @property
    def left_out(self) -> str:
        """Say which rows are no pair of their own, such as "12 repeating a pair"; empty where all are."""
        left = {"repeating a pair": self.merged, "below the rating": self.below_rating, "without a value": self.missing}
        left |= {"below a minimum count": self.below_minimum, "outside the core": self.outside_core}
        left |= {"of other events": self.elsewhere}
        return ", ".join(f"{n:,} {why}" for why, n in left.items() if n)


def surviving_rows(
    users: np.ndarray,
    items: np.ndarray,
    positive: np.ndarray | None,
    *,
    min_user: int,
    min_item: int,
    core: int,
    source: str,
) -> tuple[np.ndarray, IngestReport]:
    """Return the rows that become pairs, ascending, and the account of all others.

    Parameters
    ----------
    users, items
        Code of each row, 0 upwards.
    positive
        Rows that pass the rating threshold; None: all.
    min_user, min_item
        One pass on rows, both counts taken before either filter removes anything.
    core
        Size of the k-core on distinct pairs; 0 and 1 are off.
    source
        Name for messages.

    Raises
    ------
    InputError
        If a filter is negative or no row survives.
    """
    for name, value in (("min_user", min_user), ("min_item", min_item), ("core", core)):
        if value < 0:
            msg = f"{name} is {value}, expected 0 (off) or a positive count"
            raise InputError(msg, argument=name)
    n_rows = len(users)
    rows = np.arange(n_rows) if positive is None else np.flatnonzero(positive)
    below_rating = n_rows - len(rows)

    by_user, by_item = _counts(users[rows]), _counts(items[rows])
    frequent = (by_user >= min_user) & (by_item >= min_item)
    below_minimum = int(np.count_nonzero(~frequent))
    rows = rows[frequent]

    keys = users[rows] * np.int64(items.max(initial=0) + 1) + items[rows]
    repeated = pd.Series(keys).duplicated().to_numpy()
    merged = int(np.count_nonzero(repeated))
    rows = rows[~repeated]

    outside_core = len(rows)
    while core > 1:
        inside = (_counts(users[rows]) >= core) & (_counts(items[rows]) >= core)
        if inside.all():
            break
        rows = rows[inside]
    outside_core -= len(rows)

    if not len(rows):
        msg = (
            f"{f'{source}: ' if source else ''}no pair is left of {counted(n_rows, 'row')} "
            f"({below_rating} below the rating threshold, {below_minimum} below the minimum counts, {outside_core} "
            "outside the core); relax the filters or give more rows"
        )
        raise InputError(msg)
    return rows, IngestReport(n_rows, below_rating, below_minimum, merged, outside_core, source=source)


def summed_weights(
    users: np.ndarray, items: np.ndarray, weights: Any, rows: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Return the sum of the weights of each pair's rows, float64.

    A row that is no number makes it NaN, and a negative one makes it negative, whatever the others are: no sum hides
    what is wrong with a row.

    Parameters
    ----------
    users, items
        Code of each row, 0 upwards.
    weights
        Of each row; None: 1, so that rows are counted.
    rows
        Those that count.
    kept
        Some of them, one for each pair.
    """
    keys = users * np.int64(items.max(initial=0) + 1) + items
    codes, space = pd.factorize(keys[rows])
    places = pd.Index(space).get_indexer(pd.Index(keys[kept]))
    if weights is None:
        return np.bincount(codes, minlength=len(space))[places].astype(np.float64)
    values = pd.to_numeric(pd.Series(np.asarray(weights)), errors="coerce").to_numpy(dtype=np.float64)[rows]
    sums = np.bincount(codes, weights=values, minlength=len(space))
    np.minimum.at(sums, codes[values < 0], values[values < 0])
    return sums[places]


def stored_sums(matrix: Any, pairs: csr_array) -> np.ndarray:
    """Return the sum of the values that a sparse matrix stores for each of its distinct pairs, float64."""
    rows, columns, values = doctor.stored_entries(matrix)
    stored = values > 0
    return pair_sums(pairs, rows[stored], columns[stored], values[stored])


def distinct_pairs(matrix: Any, what: str = "matrix", *, warn: bool = False) -> tuple[csr_array, IngestReport]:
    """Return the distinct pairs of a sparse matrix as a canonical one, and the account of zeros and repeated entries.

    Parameters
    ----------
    matrix
        A SciPy matrix or array of any format; not modified.
    what
        The argument's name, for the messages.
    warn
        Whether to warn of what the report counts.

    Raises
    ------
    TypeError
        If it is no SciPy sparse matrix or array, or has values that are no numbers.
    InputError
        If it is not two-dimensional, or holds NaN, infinite or negative values or entries outside its shape.
    """
    if not bool(issparse(matrix)):
        msg = f"expected a two-dimensional SciPy sparse matrix, got {type(matrix).__name__}; wrap it in csr_array"
        raise TypeError(msg)
    if matrix.ndim != 2:
        remedy = "reshape it to (1, -1) if it is one user's row"
        msg = f"{what} has shape {matrix.shape}; expected two dimensions, users x items: {remedy}"
        raise ShapeError(msg, argument=what)
    if np.issubdtype(matrix.dtype, np.complexfloating) or matrix.dtype == object:
        remedy = f"convert them first, {what}.astype(float)"
        msg = f"{what} has values of type {matrix.dtype}; expected bool, int or float: {remedy}"
        raise TypeError(msg)
    if _is_sound_row(matrix):
        parts = np.ones(matrix.nnz, dtype=np.float32), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
        return csr_array(parts, shape=matrix.shape), IngestReport(matrix.nnz, source="<matrix>", format="matrix")
    doctor.check_room(matrix.shape, what)
    rows, columns, values = doctor.stored_entries(matrix)
    report(doctor.stored_findings(rows, columns, values, matrix.shape, what), warn=warn)
    stored = values > 0
    n_rows, pairs = int(np.count_nonzero(stored)), binary(rows[stored], columns[stored], matrix.shape)
    zeros = len(stored) - n_rows
    return pairs, IngestReport(n_rows, merged=n_rows - pairs.nnz, zeros=zeros, source="<matrix>", format="matrix")


def _is_sound_row(matrix: Any) -> bool:
    """Tell whether it is one row, not too wide, as models keep it: servers need not wait until more is examined."""
    if matrix.format != "csr" or matrix.shape[0] != 1 or matrix.shape[1] > _USUAL_WIDTH or len(matrix.indptr) != 2:
        return False
    columns, n = matrix.indices, len(matrix.data)
    ends = matrix.indptr[0] == 0 and matrix.indptr[1] == n == len(columns)
    within = n == 0 or (columns[0] >= 0 and columns[-1] < matrix.shape[1])
    return bool(ends and within and (columns[1:] > columns[:-1]).all() and (matrix.data == 1).all())


def _counts(codes: np.ndarray) -> np.ndarray:
    """For each row, how many rows have its code."""
    return np.bincount(codes)[codes] if codes.size else codes
