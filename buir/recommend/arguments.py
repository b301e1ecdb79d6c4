"""The arguments of ``recommend`` and its sisters: row numbers, list lengths, histories, allow and deny lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from buir.data import Interactions, as_csr, doctor


def as_rows(values: Any, size: int | None, what: str, noun: str, *, recalculate: bool = False) -> np.ndarray:
    """Read row numbers: an int64 array of one dimension with every value in ``0 .. size - 1``.

    Parameters
    ----------
    values
        An integer or a sequence, set or array of integers.
    size
        Number of rows the model has; None if any number from 0 will do.
    what
        The argument's name, for the messages.
    noun
        What the rows are: "user" or "item".
    recalculate
        Whether the method can recalculate such rows, for the messages.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If they have more than one dimension.
    buir.data.doctor.OutOfRangeError
        If one is negative or too large.
    """
    rows = np.asarray(list(values) if isinstance(values, set | frozenset | range) else values)
    if rows.ndim > 1:
        msg = f"{what} has shape {rows.shape}; expected one {noun} row number or one dimension of them"
        raise ValueError(msg)
    if rows.size == 0:
        return np.empty(0, dtype=np.int64)
    if rows.dtype == bool:
        msg = f"{what} is boolean; expected {noun} row numbers: np.flatnonzero(mask) turns a mask into them"
        raise TypeError(msg)
    if not np.issubdtype(rows.dtype, np.integer):
        first = rows.reshape(-1).tolist()[0]
        msg = (
            f"{what} holds {type(first).__name__} values such as {first!r}; expected integers, the {noun} rows: "
            "for your own ids use recommend_frame"
        )
        raise TypeError(msg)
    rows = np.atleast_1d(rows).astype(np.int64)
    outside = (rows < 0) | (rows >= size if size is not None else False)
    if outside.any():
        limit = "0 or more" if size is None else f"0 to {size - 1}"
        one = "an item" if noun == "item" else f"a {noun}"
        way = "leave it out, or train the model with it (fit, or BUIR's partial_fit)"
        way = f"use recalculate_{noun}=True or partial_fit" if recalculate else way
        msg = (
            f"{what} holds {rows[outside][0]}, but the model's {noun} rows are {limit}; "
            f"for {one} unknown to the model {way}"
        )
        raise doctor.OutOfRangeError(msg, rows[outside])
    return rows


def as_count(value: Any, what: str) -> int:
    """Read a list length: an integer of at least one."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        msg = f"{what} is {value!r} of type {type(value).__name__}; expected an integer, the length of a list"
        raise TypeError(msg)
    if value < 1:
        msg = f"{what} is {value}; expected at least 1, the length of a list"
        raise ValueError(msg)
    return int(value)


def as_histories(user_items: Any, n_rows: int, shape: tuple[int, int]) -> csr_array:
    """Read the histories of the asked users, one row each.

    Parameters
    ----------
    user_items
        A SciPy matrix or array of any format, or ``Interactions`` of the model's id space.
    n_rows
        Number of asked users.
    shape
        Users and items of the model.

    Raises
    ------
    TypeError
        If it is neither; a data frame has ids, which rows do not.
    buir.data.doctor.ShapeError
        If it has another shape.
    """
    if not issparse(user_items) and not isinstance(user_items, Interactions):
        msg = (
            f"user_items is of type {type(user_items).__name__}; expected a SciPy sparse matrix with one row for each of "
            f"the {n_rows} asked users: for a data frame or lists of ids use recommend_frame(histories=...)"
        )
        raise TypeError(msg)
    matrix = as_csr(_row(user_items, n_rows)).matrix
    _check_shape("user_items", matrix.shape, (n_rows, shape[1]), shape, "user")
    return matrix


def as_audiences(item_users: Any, n_rows: int, shape: tuple[int, int]) -> csr_array:
    """Read the users of the asked items, one row each; ``shape`` is users and items of the model."""
    if not issparse(item_users):
        msg = (
            f"item_users is of type {type(item_users).__name__}; expected a SciPy sparse matrix with one row of users for "
            f"each of the {n_rows} asked items"
        )
        raise TypeError(msg)
    matrix = as_csr(_row(item_users, n_rows), "item_users").matrix
    _check_shape("item_users", matrix.shape, (n_rows, shape[0]), (shape[1], shape[0]), "item")
    return matrix


def as_item_lists(lists: Any, n_rows: int, shape: tuple[int, int], what: str) -> np.ndarray | csr_array | None:
    """Read an allow or deny list: item rows for everybody, or a sparse matrix with a row for each asked user."""
    if lists is None:
        return None
    if issparse(lists):
        matrix = as_csr(_row(lists, n_rows), what).matrix
        _check_shape(what, matrix.shape, (n_rows, shape[1]), shape, "user")
        return matrix
    return as_rows(lists, shape[1], what, "item")


def is_one(rows: Any) -> bool:
    """Tell a single row number from a collection of them."""
    return np.ndim(rows) == 0 and not isinstance(rows, set | frozenset)


def _row(matrix: Any, n_rows: int) -> Any:
    # A csr_array hands out its rows in one dimension.
    return matrix.reshape((1, -1)) if n_rows == 1 and getattr(matrix, "ndim", 2) == 1 else matrix


def _check_shape(
    what: str, shape: tuple[int, int], expected: tuple[int, int], whole: tuple[int, int], noun: str
) -> None:
    if shape == expected:
        return
    msg = f"{what} has shape {shape}; expected {expected}, one row for each asked {noun}"
    if shape == whole:
        msg += f": pass {what}[{noun}id], not the whole matrix"
        raise doctor.ShapeError(msg)
    if shape[0] == expected[1]:
        msg += ": it looks transposed, pass .T"
        raise doctor.TransposedError(msg)
    msg += ": take the rows from the matrix that the model was fitted on"
    raise doctor.ShapeError(msg)


def shaped(ids: np.ndarray, scores: np.ndarray, *, one: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return 2-D lists as they are; the first alone, without its padding, for ``one``."""
    if not one:
        return ids, scores
    found = ids[0] >= 0
    return ids[0][found], scores[0][found]
