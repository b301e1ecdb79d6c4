"""The arguments of ``recommend`` besides rows and lengths: histories, audiences, allow and deny lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from buir.data import Interactions, as_csr
from buir.ranking import as_rows, check_shape


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
    buir.errors.ShapeError
        If it has another shape.
    """
    if not issparse(user_items) and not isinstance(user_items, Interactions):
        msg = (
            f"user_items is of type {type(user_items).__name__}; expected a SciPy sparse matrix with one row for each of "
            f"the {n_rows} asked users: for a data frame or lists of ids use recommend_frame(histories=...)"
        )
        raise TypeError(msg)
    matrix = as_csr(_row(user_items, n_rows)).matrix
    check_shape("user_items", matrix.shape, (n_rows, shape[1]), shape, "user")
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
    check_shape("item_users", matrix.shape, (n_rows, shape[0]), (shape[1], shape[0]), "item")
    return matrix


def as_item_lists(lists: Any, n_rows: int, shape: tuple[int, int], what: str) -> np.ndarray | csr_array | None:
    """Read an allow or deny list: item rows for everybody, or a sparse matrix with a row for each asked user."""
    if lists is None:
        return None
    if issparse(lists):
        matrix = as_csr(_row(lists, n_rows), what).matrix
        check_shape(what, matrix.shape, (n_rows, shape[1]), shape, "user")
        return matrix
    return as_rows(lists, shape[1], what, "item")


def is_one(rows: Any) -> bool:
    """Tell a single row number from a collection of them."""
    return np.ndim(rows) == 0 and not isinstance(rows, set | frozenset)


def _row(matrix: Any, n_rows: int) -> Any:
    # A csr_array hands out its rows in one dimension.
    return matrix.reshape((1, -1)) if n_rows == 1 and getattr(matrix, "ndim", 2) == 1 else matrix


def shaped(ids: np.ndarray, scores: np.ndarray, *, one: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return 2-D lists as they are; the first alone, without its padding, for ``one``."""
    if not one:
        return ids, scores
    found = ids[0] >= 0
    return ids[0][found], scores[0][found]
