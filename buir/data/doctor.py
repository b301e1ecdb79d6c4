"""The input doctor: what is wrong with a user-item matrix, in which rows, and what to do about it.

What cannot be trained on is an error; what can, but is probably not meant, is a warning with a class of its own, which
can be silenced or turned into an error by name. The doctor reads and reports; it changes nothing.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from buir.data.sparse import binary
from buir.errors import (
    Argument,
    DuplicatePairsWarning,
    EmptyColumnsWarning,
    EmptyRowsWarning,
    ExplicitZerosWarning,
    Finding,
    InputError,
    InputWarning,
    OutOfRangeError,
    ShapeError,
    SmallCatalogueWarning,
    SmallDataWarning,
    ValuesIgnoredWarning,
    counted,
    show_rows,
)

_PER_ROW = 32
"""Bytes kept of each user and item beside vectors: an id, a pointer, counts."""
_TABLES = 4
"""Tables of vectors that training holds at least: weights, their slow copy, moments, factors."""
UNREAD = "to weigh pairs by them"
"""What a warning says of values that nobody reads and that may be weights."""


def check_room(shape: tuple[int, int], what: str, *, width: int = 0) -> None:
    """Make sure that what is kept of each user and item has room in memory, before any of it is taken.

    Parameters
    ----------
    shape
        What a matrix says that its shape is, however few entries it has.
    what
        The argument's name, for the message.
    width
        Of the vectors that a model trains, 0 if it trains none.

    Raises
    ------
    ShapeError
        If it has not, or rows and columns have no numbers of 32 bits.
    """
    needed, free = sum(shape) * (_PER_ROW + _TABLES * 4 * width), free_memory()
    fits = free is None or needed <= free
    if fits and max(shape) < 1 << 31:
        return
    takes = f"for so many users and items at least {needed / 2**30:,.1f} GiB are taken"
    fault = takes if fits or free is None else f"{takes}, and {free / 2**30:,.1f} GiB are free"
    remedy = "the shape goes up to the largest user and item number: number both from 0 without gaps"
    msg = f"{what} has shape {shape}; {fault}; expected a smaller one: {remedy}"
    raise ShapeError(msg, argument=what)


def free_memory() -> int | None:
    """Return how many bytes the system could still give to this process; None where it does not tell."""
    found: list[int] = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):  # of a container
        most, taken = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        found.append(most - taken)
    with suppress(AttributeError, OSError, ValueError):  # no Linux: what the machine has
        found = found or [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    return min(found, default=None)


def stored_entries(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and values as they are stored: unsorted, with duplicates, zeros and whatever is wrong.

    Raises
    ------
    ShapeError
        If the pointers of a CSR or CSC matrix do not divide its entries among its rows or columns.
    """
    if matrix.format in ("csr", "csc"):
        pointers, stored = matrix.indptr, min(len(matrix.indices), len(matrix.data))
        n_major = matrix.shape[0 if matrix.format == "csr" else 1]
        ends = (int(pointers[0]), int(pointers[-1])) if len(pointers) else (0, 0)
        if len(pointers) != n_major + 1 or ends[0] != 0 or ends[1] > stored or np.any(pointers[1:] < pointers[:-1]):
            found = f"{len(pointers):,} numbers from {ends[0]:,} to {ends[1]:,}"
            expected = f"{n_major + 1:,} that never fall, from 0 to at most {stored:,}, the entries stored"
            remedy = "build it anew, for example with coo_array"
            msg = f"the matrix is broken: its indptr has {found}; expected {expected}: {remedy}"
            raise ShapeError(msg)
        # Not tocoo(), which stops at the first number out of range without saying where.
        major = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
        minor = matrix.indices[: ends[1]]
        rows, columns = (major, minor) if matrix.format == "csr" else (minor, major)
        return rows, columns, matrix.data[: ends[1]]
    coo = matrix.tocoo()
    rows, columns = coo.coords
    if matrix.format in ("bsr", "dia"):
        # These formats fill their blocks and diagonals with zeros that nobody stored on purpose.
        stored = coo.data != 0
        return rows[stored], columns[stored], coo.data[stored]
    return rows, columns, coo.data


def shape_findings(shape: tuple[int, int], expected: tuple[int, int], what: str) -> list[Finding]:
    """Compare a shape with the users and items it should have."""
    if shape == expected:
        return []
    remedy = f"it is transposed, pass {what}.T" if shape == expected[::-1] else f"build it with shape={expected}"
    msg = f"{what} has shape {shape}; expected {expected}, users x items: {remedy}"
    return [ShapeError(msg, argument=what)]


def stored_findings(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int], what: str
) -> list[Finding]:
    """Find what is wrong with the stored entries of a matrix, errors first.

    Parameters
    ----------
    rows, columns, values
        The entries as they are stored, duplicates and zeros included.
    shape
        What the matrix says its shape is.
    what
        The argument's name, for the messages.
    """
    outside = (rows < 0) | (rows >= shape[0]) | (columns < 0) | (columns >= shape[1])
    if outside.any():
        place = (int(rows[outside][0]), int(columns[outside][0]))
        msg = (
            f"{what} stores an entry at {place}, outside its shape {shape}; "
            "build it with the true shape, users x items, and row and column numbers from 0"
        )
        return [OutOfRangeError(msg, rows=rows[outside], argument=what)]
    findings: list[Finding] = []
    finite = "a finite value above zero for each interaction: remove these entries first"
    positive = "positives only: remove dislikes first, or keep ratings above a threshold with min_rating"
    for bad, fault, expected in ((~np.isfinite(values), "NaN or infinite", finite), (values < 0, "negative", positive)):
        if bad.any():
            msg = f"{what} holds {fault} values in {show_rows(rows[bad])} ({bad.sum():,} in all); expected {expected}"
            findings.append(InputError(msg, rows=np.unique(rows[bad]), argument=what))
    bad = values == 0
    if bad.any():
        msg = (
            f"{what} stores {counted(int(bad.sum()), 'explicit zero')} in {show_rows(rows[bad])}, read as absent: "
            f"call {what}.eliminate_zeros() first, or store a value above zero where they are positives"
        )
        findings.append(ExplicitZerosWarning(msg, rows=np.unique(rows[bad]), argument=what))
    keys = rows.astype(np.int64) * shape[1] + columns
    again = np.empty(0, dtype=np.int64)
    if np.any(keys[1:] <= keys[:-1]):  # in ascending order nothing can repeat
        order = np.argsort(keys, kind="stable")
        again = order[1:][keys[order[1:]] == keys[order[:-1]]]
    if again.size:
        msg = (
            f"{what} stores {counted(again.size, 'pair')} more than once, in {show_rows(rows[again])}; each is read as "
            f"one pair: call {what}.sum_duplicates() first to say that this is meant"
        )
        findings.append(DuplicatePairsWarning(msg, rows=np.unique(rows[again]), argument=what))
    return findings


def pattern_findings(
    matrix: csr_array,
    what: str,
    *,
    batch_size: int | None = None,
    list_length: int | None = None,
    sparse_ok: bool = False,
) -> list[Finding]:
    """Find what is wrong with the pattern of a matrix, whatever its values.

    Parameters
    ----------
    matrix
        Canonical, one stored value for each pair.
    what
        The argument's name, for the messages.
    batch_size
        Pairs in one training step; None if the model has no batches.
    list_length
        The longest list that will be asked for or validated; None if not known.
    sparse_ok
        Whether empty rows and columns are expected, as they are in one part of a split.
    """
    n_users, n_items = matrix.shape
    if matrix.nnz == 0:
        msg = f"{what} has shape {matrix.shape} and no interaction; expected at least one stored value above zero"
        return [InputError(msg, argument=what)]
    findings: list[Finding] = []
    if not sparse_ok:
        empty = np.flatnonzero(np.diff(matrix.indptr) == 0)
        if empty.size:
            msg = (
                f"{what} has {empty.size:,} of {n_users:,} users without interactions: {show_rows(empty)}; their lists "
                "cannot be personal: leave them out, or pass Interactions, whose id space may be wider than its pairs"
            )
            findings.append(EmptyRowsWarning(msg, rows=empty, argument=what))
        empty = np.flatnonzero(np.bincount(matrix.indices, minlength=n_items) == 0)
        if empty.size:
            msg = (
                f"{what} has {empty.size:,} of {n_items:,} items without interactions: {show_rows(empty, 'column')}; "
                "their scores mean nothing: leave these columns out, or recommend with trained_only=True"
            )
            findings.append(EmptyColumnsWarning(msg, rows=empty, argument=what))
    if batch_size is not None and matrix.nnz < batch_size:
        msg = (
            f"{what} holds {counted(matrix.nnz, 'pair')}, fewer than one batch of {batch_size:,}: one step an epoch; "
            f"set batch_size to {max(1, matrix.nnz // 4):,} or less, or bring more data"
        )
        findings.append(SmallDataWarning(msg, argument=what))
    if list_length is not None and n_items <= list_length:
        msg = (
            f"{what} has {counted(n_items, 'item')} and lists hold {list_length:,}: every list is the whole catalogue "
            f"and a metric at {list_length:,} says little; use at most {max(1, n_items // 2):,}"
        )
        findings.append(SmallCatalogueWarning(msg, argument=what))
    return findings


def values_finding(values: np.ndarray, rows: np.ndarray, what: str) -> list[Finding]:
    """Warn about stored values other than one (and zero, which has its own warning)."""
    other = (values != 1) & (values != 0)
    if not other.any():
        return []
    msg = (
        f"{what} stores {counted(int(other.sum()), 'value')} other than 1, the first in {show_rows(rows[other][:1])}; "
        "every value above zero is read as one positive: if small ratings are none, keep those above min_rating first; "
        f"{UNREAD} pass weights='values'"
    )
    return [ValuesIgnoredWarning(msg, rows=np.unique(rows[other]), argument=what)]


def ratings_summary(ratings: np.ndarray) -> str:
    """Say in a line what numbers a column of ratings holds, and how many rows a threshold would keep.

    Examples
    --------
    >>> ratings_summary(np.array([1.0, 5.0, 4.0, 5.0]))
    '1 (1 row), 4 (1 row), 5 (2 rows); min_rating=4 keeps 3 of 4'
    """
    return "".join(map(str, _rating_words(ratings[np.isfinite(ratings)])))


def ratings_findings(
    ratings: np.ndarray, what: str, *, argument: str | None = None, weights: bool = False
) -> list[Finding]:
    """Warn of ratings that differ, or are zero or negative, where each row is read as one positive.

    Parameters
    ----------
    ratings
        One number for each row, NaN where there is none.
    what
        Where they stand, for the message, such as "the column 'stars'".
    argument
        The argument that is the frame which holds them, where it is passed to something that takes no ``min_rating``.
    weights
        Whether they are also known as weights.
    """
    told = ratings[np.isfinite(ratings)]
    bad, lacking = int(np.count_nonzero(told <= 0)), len(ratings) - len(told)
    if not told.size or np.all(told == 1):
        return []
    below = f", {bad:,} of them zero or negative" if bad else ""
    without = f", {counted(lacking, 'row')} without a number" if lacking else ""
    words = (f"{what} holds ratings{below}{without}: ", *_rating_words(told))
    remedy = "; without it every row is read as one positive; pass "
    silence = (Argument("min_rating", _plain(told.min())), " to say that this is meant")
    if argument is not None:
        remedy = "; without it every row is read as one positive: keep those above a threshold with "
        silence = ("Interactions.from_frame(frame, min_rating=...), or drop the column",)
    silence += (f"; {UNREAD} pass ", Argument("weights", "values")) if weights else ()
    rows = np.flatnonzero(ratings != 1)
    return [ValuesIgnoredWarning(*words, remedy, *silence, rows=rows, argument=argument or "min_rating")]


def _rating_words(ratings: np.ndarray) -> tuple[str | Argument, ...]:
    """List the values, or their range, and name a threshold: above the middle of a scale, the median of many values."""
    values, counts = np.unique(ratings, return_counts=True)
    scale = len(values) <= _SCALE
    if scale:
        held = ", ".join(f"{value:g} ({counted(int(n), 'row')})" for value, n in zip(values, counts, strict=True))
    else:
        held = f"{values[0]:g} to {values[-1]:g}, median {np.median(ratings):g}" if len(values) else ""
    if not len(values):
        return ("none",)
    if len(values) == 1:
        return (held,)
    if scale:
        threshold = values[values > (values[0] + values[-1]) / 2][0]
    else:
        threshold = values[values > 0][0] if values[0] <= 0 < values[-1] else np.quantile(ratings, 0.5, method="higher")
    kept = int(np.count_nonzero(ratings >= threshold))
    return f"{held}; ", Argument("min_rating", _plain(threshold)), f" keeps {kept:,} of {len(ratings):,}"


def _plain(value: float) -> float:
    """Return a number that is written without a point where it is whole."""
    return int(value) if float(value).is_integer() else float(value)


_SCALE = 11
"""Values up to which a column is taken for a scale, and each is told."""


def examine(
    user_items: Any,
    *,
    shape: tuple[int, int] | None = None,
    batch_size: int | None = None,
    list_length: int | None = None,
    what: str = "user_items",
) -> list[Finding]:
    """Everything the doctor has to say about a matrix, errors first; nothing is raised, warned or changed.

    Parameters
    ----------
    user_items
        Any SciPy sparse matrix or array, users x items, or ``Interactions``.
    shape
        Users and items as you know them. From a matrix alone nobody can tell which way round it is: on public data
        neither the skew nor the minimum of the counts tells users from items.
    batch_size
        Pairs in one training step, if the model has batches.
    list_length
        The longest list that will be asked for.
    what
        What the messages call the matrix.

    Returns
    -------
    Errors and warnings of :mod:`buir.errors`, each with its ``rows``.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> [type(finding).__name__ for finding in examine(csr_array([[1.0, 2.0], [0.0, 0.0]]))]
    ['ValuesIgnoredWarning', 'EmptyRowsWarning']
    """
    declared = hasattr(user_items, "user_ids")
    matrix = getattr(user_items, "matrix", user_items)
    try:
        rows, columns, values = stored_entries(matrix)
    except ShapeError as error:
        return [error]
    findings = [] if shape is None else shape_findings(matrix.shape, shape, what)
    findings += stored_findings(rows, columns, values, matrix.shape, what)
    if any(isinstance(finding, InputError) for finding in findings):
        return findings
    findings += values_finding(values, rows, what)
    kept = values != 0
    pattern = binary(rows[kept], columns[kept], matrix.shape)
    found = pattern_findings(pattern, what, batch_size=batch_size, list_length=list_length, sparse_ok=declared)
    return sorted([*findings, *found], key=lambda finding: isinstance(finding, InputWarning))
