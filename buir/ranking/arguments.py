"""What users pass to lists, here and in ``recommend``: row numbers, lengths, matrices with a row for each user."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from buir.errors import OutOfRangeError, ShapeError


def as_rows(values: Any, size: int | None, what: str, noun: str, *, recalculate: bool = False) -> np.ndarray:
    """Read row numbers: an int64 array of one dimension with every value from 0 to ``size - 1``.

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
    buir.errors.OutOfRangeError
        If one is negative or too large.
    """
    if isinstance(values, int) and not isinstance(values, bool) and 0 <= values < (size or 0):
        return np.array([values], dtype=np.int64)  # one row, as servers ask, without what follows
    if _are_rows(values, size):
        return values.astype(np.int64, copy=False)
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
        given = rows.reshape(-1).tolist()
        first = next((value for value in given if type(value) is not int), given[0])
        msg = (
            f"{what} holds {type(first).__name__} values such as {first!r}; expected integers, the {noun} rows: "
            "for your own ids use recommend_frame, similar_items_frame or similar_users_frame"
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
        raise OutOfRangeError(msg, rows=rows[outside], argument=what)
    return rows


def _are_rows(values: Any, size: int | None) -> TypeGuard[np.ndarray]:
    """Tell whether values are an array of row numbers already, so that nothing else need be looked at."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "i" or values.ndim != 1 or not values.size:
        return False
    return bool(values.min() >= 0 and (size is None or values.max() < size))


def as_count(value: Any, what: str, least: int = 1) -> int:
    """Read a list length: an integer of at least ``least``."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        msg = f"{what} is {value!r} of type {type(value).__name__}; expected an integer, the length of a list"
        raise TypeError(msg)
    if value < least:
        msg = f"{what} is {value}; expected at least {least}, the length of a list"
        raise ValueError(msg)
    return int(value)


def check_shape(
    what: str, shape: tuple[int, int], expected: tuple[int, int], whole: tuple[int, int], noun: str
) -> None:
    """Make sure that a matrix has one row for each asked user or item.

    Parameters
    ----------
    what
        The argument's name, for the messages.
    shape, expected
        Its shape, and the one it should have.
    whole
        Shape of the matrix of all users or items, which may have been passed by mistake.
    noun
        What the rows are: "user" or "item".
    """
    if shape == expected:
        return
    msg = f"{what} has shape {shape}; expected {expected}, one row for each asked {noun}"
    if shape == whole:
        msg += f": pass {what}[{noun}id], not the whole matrix"
        raise ShapeError(msg, argument=what)
    if shape[0] == expected[1]:
        msg += ": it looks transposed, pass .T"
        raise ShapeError(msg, argument=what)
    msg += ": take the rows from the matrix that the model was fitted on"
    raise ShapeError(msg, argument=what)
