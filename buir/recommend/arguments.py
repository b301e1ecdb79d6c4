"""The arguments of ``recommend`` besides rows and lengths: histories, audiences, allow and deny lists."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from buir.data import Interactions, as_csr, weigh_rows
from buir.ranking import as_rows, check_shape


def as_histories(user_items: Any, n_rows: int, shape: tuple[int, int], unit: float | None = None) -> csr_array:
    """Read the histories of the asked users, one row each.

    Parameters
    ----------
    user_items
        A SciPy matrix or array of any format, or ``Interactions`` of the model's id space.
    n_rows
        Number of asked users.
    shape
        Users and items of the model.
    unit
        Of the model's weights. None: it has none, and values are not read.

    Raises
    ------
    TypeError
        If it is neither; a data frame has ids, which rows do not.
    buir.errors.ShapeError
        If it has another shape.
    """
    if not isinstance(user_items, Interactions):
        _check_sparse(user_items, "user_items", f"{n_rows} asked users: for ids use recommend_frame(histories=...)")
    return _asked_rows(user_items, "user_items", n_rows, shape, "user", unit)


def as_audiences(item_users: Any, n_rows: int, shape: tuple[int, int], unit: float | None = None) -> csr_array:
    """Read the users of the asked items, one row each; ``shape`` is users and items of the model."""
    _check_sparse(item_users, "item_users", f"{n_rows} asked items")
    return _asked_rows(item_users, "item_users", n_rows, (shape[1], shape[0]), "item", unit)


def as_item_lists(lists: Any, n_rows: int, shape: tuple[int, int], what: str) -> np.ndarray | csr_array | None:
    """Read an allow or deny list: item rows for everybody, or a sparse matrix with a row for each asked user."""
    if lists is None:
        return None
    if issparse(lists):
        return _asked_rows(lists, what, n_rows, shape, "user")
    return as_rows(lists, shape[1], what, "item")


def is_one(rows: Any) -> bool:
    """Tell a single row number from a collection of them."""
    if isinstance(ndim := getattr(rows, "ndim", None), int):
        return ndim == 0
    return isinstance(rows, str | bytes) or not isinstance(rows, Iterable)


def _check_sparse(matrix: Any, what: str, asked: str) -> None:
    if not issparse(matrix):
        kind = type(matrix).__name__
        msg = f"{what} is of type {kind}; expected a SciPy sparse matrix with one row for each of the {asked}"
        raise TypeError(msg)


def _asked_rows(
    matrix: Any, what: str, n_rows: int, shape: tuple[int, int], noun: str, unit: float | None = None
) -> csr_array:
    if n_rows == 1 and getattr(matrix, "ndim", 2) == 1:  # a csr_array hands out its rows in one dimension
        matrix = matrix.reshape((1, -1))
    rows = as_csr(matrix, what).matrix if unit is None else weigh_rows(matrix, what, unit)
    check_shape(what, rows.shape, (n_rows, shape[1]), shape, noun)
    return rows


def shaped(ids: np.ndarray, scores: np.ndarray, *, one: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return 2-D lists as they are; the first alone, without its padding, for ``one``."""
    if not one:
        return ids, scores
    found = ids[0] >= 0
    return ids[0][found], scores[0][found]
