"""Ids as users hold them, in lists, columns, frames and dicts: the asked users, allow and deny lists, histories."""

import reprlib
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, issparse

from buir.data import (
    Interactions,
    binary,
    column_of,
    counts,
    frame_ids,
    is_frame,
    take,
    warn_of_ratings,
    weighted,
)
from buir.errors import ValuesIgnoredWarning, one_line
from buir.recommend.arguments import is_one
from buir.recommend.lookup import Lookup

_PLAIN = ("string", "integer", "floating", "empty")
"""Kinds of values, by pandas' names, among which there is nothing but labels."""


class Lists(NamedTuple):
    """Lists of items by user."""

    users: pd.Index
    """Who has a list, an empty one included."""
    owners: np.ndarray
    """Of each item the place of its user in ``users``."""
    items: pd.Index
    """Labels."""


class ItemLists:
    """An allow or a deny list of item ids, for everybody or by user.

    Parameters
    ----------
    lists
        None; ids, or a frame with a column of them, for everybody; a dict from user id to ids, a frame with users and
        items, or ``Interactions``, for the users that these name.
    what
        The argument's name.
    asked
        Ids of the asked users.
    items
        The model's items.
    users
        The model's users.
    told
        Ids of the users that have histories.
    strict
        Whether an unknown item, or an unknown user by whom a list goes, is an error; otherwise it is passed over.
    """

    def __init__(
        self, lists: Any, what: str, asked: pd.Index, items: Lookup, users: Lookup, told: pd.Index, *, strict: bool
    ) -> None:
        self.for_all: np.ndarray | None = None
        self.by_user: csr_array | None = None
        self.named = np.full(len(asked), lists is not None)
        """Which of the asked users the list speaks of."""
        if lists is None:
            return
        if not _goes_by_user(lists):
            rows = items.rows(as_index(as_list(lists, what, "item")), what, strict=strict)
            self.for_all = rows[rows >= 0]
            return
        found = read_lists(lists, what)
        strange = (users.index.get_indexer(found.users) < 0) & (told.get_indexer(found.users) < 0)
        if strict and strange.any():
            # A list that reaches nobody would leave a denied item in somebody's list without a word.
            raise users.unknown(found.users[strange], what)
        self.named = found.users.get_indexer(asked) >= 0
        owners = asked.get_indexer(found.users)[found.owners]
        mine = owners >= 0
        rows = items.rows(found.items[mine], what, strict=strict)
        self.by_user = binary(owners[mine][rows >= 0], rows[rows >= 0], (len(asked), len(items.index)))

    def rows(self, places: np.ndarray) -> np.ndarray | csr_array | None:
        """Return the lists of the asked users at ``places``, as ``top_k`` takes them."""
        return self.for_all if self.by_user is None else take(self.by_user, places)


def read_lists(lists: Any, what: str) -> Lists:
    """Read lists of items by user.

    Parameters
    ----------
    lists
        None, a dict from user id to item ids, a frame with a row for each user and item, or ``Interactions``.
    what
        The argument's name.

    Raises
    ------
    TypeError
        If it is something else, or something else than ids stands where ids should.
    """
    if lists is None:
        return Lists(pd.Index([]), np.empty(0, dtype=np.int64), pd.Index([]))
    if isinstance(lists, Mapping):
        ids = [as_list(one, f"{what}[{user!r}]", "item") for user, one in lists.items()]
        owners = np.repeat(np.arange(len(ids)), [len(one) for one in ids])
        return Lists(as_index(list(lists)), owners, as_index([item for one in ids for item in one]))
    if isinstance(lists, Interactions):
        users, owners = np.unique(lists.users, return_inverse=True)
        return Lists(pd.Index(lists.user_ids[users]), owners, pd.Index(lists.item_ids[lists.items]))
    if is_frame(lists) or type(lists).__name__ == "LazyFrame":
        owners, users = pd.factorize(frame_ids(lists, "user", what))
        return Lists(pd.Index(users), owners, pd.Index(frame_ids(lists, "item", what)))
    msg = (
        f"{what} is of type {type(lists).__name__}; expected a dict from user id to item ids, a data frame with "
        f"columns user and item, or Interactions{_way(lists)}"
    )
    raise TypeError(msg)


def read_histories(
    histories: Any, items: Lookup, *, strict: bool, unit: float | None = None
) -> tuple[pd.Index, pd.Index, csr_array]:
    """Read who has liked what, as ``read_lists`` reads it.

    Parameters
    ----------
    histories
        As ``read_lists`` takes it.
    items
        The model's items.
    strict
        Whether an unknown item is an error; otherwise it is passed over.
    unit
        Of the model's weights, in which those of a frame or of ``Interactions`` are read. None: it has none.

    Returns
    -------
    Ids of the users that are named, ids of those with at least one item that the model knows, and a row of these for
    each of the latter.
    """
    lists = read_lists(histories, "histories")
    if is_frame(histories):
        warn_of_ratings(histories, "histories")
        if unit is not None and len(histories):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ValuesIgnoredWarning)  # told above
                histories = Interactions.from_frame(histories, source="histories")
                lists = read_lists(histories, "histories")
    rows = items.rows(lists.items, "histories", strict=strict)
    known, weights = rows >= 0, None
    data = histories if isinstance(histories, Interactions) else None
    # where all are 1 pairs have no weights, and each counts as an average one
    if unit is not None and data is not None and data.weights is not None and (data.weights != 1).any():
        weights = counts(data, "histories") / unit
        known &= weights > 0
    told, owners = np.unique(lists.owners[known], return_inverse=True)
    shape = (len(told), len(items.index))
    if weights is None:
        return lists.users, lists.users[told], binary(owners, rows[known], shape)
    return lists.users, lists.users[told], weighted(owners, rows[known], weights[known], shape)


def read_asked(ids: Any, everybody: pd.Index, what: str, noun: str) -> pd.Index:
    """Read the asked ids: one, a collection of distinct ones, a frame that names them, or None for ``everybody``.

    In a frame, or in ``Interactions``, an id may have many rows.
    """
    if ids is None:
        return everybody
    lone = np.isscalar(ids) or (is_one(ids) and hasattr(ids, "dtype"))
    asked = as_index([ids] if lone else as_list(ids, what, noun))
    if asked.has_duplicates:
        repeated = asked[asked.duplicated()].tolist()[0]
        msg = f"{what} names {repeated!r} more than once; expected each {noun} once: drop the repeats"
        raise ValueError(msg)
    return asked


def as_list(ids: Any, what: str, noun: str) -> list:
    """Read a collection of ids, each of which is a label; of a frame, or ``Interactions``, the distinct ones.

    A lone id is an error, since a string would fall into its letters; so is all that holds ids and something else, such
    as the keys of a dict.
    """
    if isinstance(ids, Interactions):
        pairs, labels = (ids.users, ids.user_ids) if noun == "user" else (ids.items, ids.item_ids)
        return labels[np.unique(pairs)].tolist()
    if is_frame(ids):
        return pd.Index(frame_ids(ids, noun, what)).unique().tolist()
    expected = f"expected a list of {noun} ids"
    if issparse(ids):
        msg = f"{what} is a sparse matrix; {expected}: recommend(items=..., filter_items=...) takes matrices"
        raise TypeError(msg)
    if way := _way(ids):
        msg = f"{what} is of type {type(ids).__name__}; {expected}{way}"
        raise TypeError(msg)
    if is_one(ids):
        msg = f"{what} is {ids!r} of type {type(ids).__name__}; {expected}: write [{ids!r}]"
        raise TypeError(msg)
    values = ids.to_pylist() if hasattr(ids, "to_pylist") else ids.tolist() if hasattr(ids, "tolist") else list(ids)
    kind = pd.api.types.infer_dtype(values, skipna=False)
    if kind == "boolean":
        msg = f"{what} holds True and False; {expected}: a mask picks them, as in ids[mask]"
        raise TypeError(msg)
    if kind not in _PLAIN:
        for value in values:
            if not np.isscalar(value) or isinstance(value, np.void | bool):
                shown = one_line(reprlib.repr(value))
                msg = (
                    f"{what} holds {shown} of type {type(value).__name__}; {expected}, integers or strings: pass those"
                )
                raise TypeError(msg)
    return values


def as_index(labels: list) -> pd.Index:
    """Make an index that can be looked up; an empty one fits every type of ids."""
    return pd.Index(labels, tupleize_cols=False) if labels else pd.Index([], dtype=object)


def _goes_by_user(lists: Any) -> bool:
    """Tell lists for some users from one for everybody."""
    if isinstance(lists, Mapping | Interactions):
        return True
    return is_frame(lists) and column_of(lists, "user") is not None


def _index_name(ids: Any) -> str | None:
    """Return the name of a Series' index if it is known to hold users or items."""
    name = getattr(getattr(ids, "index", None), "name", None) if isinstance(ids, pd.Series) else None
    known = name is not None and any(column_of(pd.DataFrame(columns=[name]), role) for role in ("user", "item"))
    return str(name) if known else None


def _way(ids: Any) -> str:
    """Say what to pass in place of something that holds ids and something else."""
    if isinstance(ids, Mapping):
        return ": a dict holds more than ids, pass list(...) of its keys or of its values"
    if type(ids).__name__ == "LazyFrame":
        return ": call .collect() first"
    if name := _index_name(ids):
        return f": its index holds {name!r} too, pass .reset_index() for both, or .index or .tolist() for one of them"
    if getattr(getattr(ids, "dtype", None), "names", None):
        return ": wrap it in pandas.DataFrame"
    return ": convert it to a pandas, polars or pyarrow table" if hasattr(ids, "columns") else ""
