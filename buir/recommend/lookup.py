"""Raw ids to rows: asked users, allow and deny lists, histories, and what to do with ids that nobody knows."""

import re
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, issparse

from buir.data import Interactions, binary, counts, take, weighted
from buir.errors import Argument, UnknownIdError
from buir.recommend.arguments import is_one

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60
"""Characters of one id that a message repeats: what came may be a whole file."""
_SKIP = Argument("unknown", "skip")


class Lookup:
    """Rows of one kind of ids.

    Parameters
    ----------
    ids
        Distinct labels, int64 or str, one for each row.
    noun
        What they label, "user" or "item".
    """

    def __init__(self, ids: np.ndarray, noun: str) -> None:
        self.ids, self.noun = ids, noun
        self.index = pd.Index(ids)

    def rows(self, labels: pd.Index, what: str, *, strict: bool) -> np.ndarray:
        """Return the row of each label, -1 where unknown; ``strict`` makes those an error that names ``what``."""
        rows = self.index.get_indexer(labels)
        if strict and (rows < 0).any():
            raise self.unknown(labels[rows < 0], what)
        return rows

    def row(self, label: Any, what: str) -> int:
        """Return the row of one label.

        Raises
        ------
        TypeError
            If it is a list or something else that is no id.
        UnknownIdError
            If the model does not know it.
        """
        if not np.isscalar(label):
            expected = f"expected one {self.noun} id, an integer or a string: ask for one at a time"
            msg = f"{what} is {_SHOWN.repr(label)} of type {type(label).__name__}; {expected}"
            raise TypeError(msg)
        row = int(self.index.get_indexer(pd.Index([label]))[0])
        if row < 0:
            known = f"its {self.noun} ids look like {self._looks()}"
            expected = f"expected one {self.noun} of the training data: partial_fit adds new ones"
            msg = f"{what} is {_SHOWN.repr(label)}, an id unknown to the model; {known}: {expected}"
            raise UnknownIdError(msg, noun=self.noun, argument=what)
        return row

    def unknown(self, labels: pd.Index, what: str) -> UnknownIdError:
        """Make the error that says which ids are unknown, what the known ones look like, and the way out."""
        known = f"its {self.noun} ids look like {self._looks()}"
        msg = f" holds {self.noun} ids unknown to the model: {_first(labels)}; {known}: "
        if what == "users":
            popular = Argument("unknown", "popular")
            way = "pass ", _SKIP, " to leave them out, or ", popular, ", or pass ", Argument("histories")
        elif self.noun == "user":
            way = "correct these keys, which must be of the ids' own type, or pass ", _SKIP, " to pass them over"
        else:
            way = "leave them out, or pass ", _SKIP, " to pass them over"
        return UnknownIdError(Argument(what), msg, *way, noun=self.noun)

    def without_history(self, labels: pd.Index) -> UnknownIdError:
        """Make the error for unknown users whose histories are empty."""
        msg = f" is empty for users unknown to the model: {_first(labels)}; give at least one known item, or pass "
        way = Argument("unknown", "popular"), " or ", _SKIP
        return UnknownIdError(Argument("histories"), msg, *way, noun=self.noun)

    def without_vector(self, labels: pd.Index) -> UnknownIdError:
        """Make the error for unknown users whose lists would be of popular items, which nothing can turn."""
        msg = f" lists what is popular for users unknown to the model, {_first(labels)}, which cannot be turned by "
        way = "; expected histories of them: give these, or pass ", _SKIP
        sides = Argument("less_like"), " or ", Argument("more_like")
        return UnknownIdError(Argument("unknown", "popular"), msg, *sides, *way, noun=self.noun)

    def _looks(self) -> str:
        return _SHOWN.repr(self.index[:1].tolist()[0]) if len(self.index) else "nothing"


def _first(labels: pd.Index) -> str:
    """Write the first three ids, and how many more there are."""
    more = f" and {len(labels) - 3:,} more" if len(labels) > 3 else ""
    return ", ".join(_SHOWN.repr(label) for label in labels[:3].tolist()) + more


def lookups(model: Any) -> tuple[Lookup, Lookup]:
    """Return the lookups of a fitted model's users and items, made once and kept with the model."""
    kept = vars(model).get("_lookups")
    # Hashing a million ids takes longer than making a list. New ids always come as new arrays.
    if kept is None or kept[0].ids is not model.user_ids_ or kept[1].ids is not model.item_ids_:
        kept = model._lookups = (Lookup(model.user_ids_, "user"), Lookup(model.item_ids_, "item"))
    return kept


class ItemLists:
    """An allow or a deny list of item ids, for everybody or by user.

    Parameters
    ----------
    lists
        None, ids, or a dict from user id to ids.
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
        Whether an unknown item, or an unknown user in a dict, is an error; otherwise it is passed over.
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
        if not isinstance(lists, Mapping):
            rows = items.rows(as_index(as_list(lists, what)), what, strict=strict)
            self.for_all = rows[rows >= 0]
            return
        named = as_index(list(lists))
        strange = (users.index.get_indexer(named) < 0) & (told.get_indexer(named) < 0)
        if strict and strange.any():
            # A list that reaches nobody would leave a denied item in somebody's list without a word.
            raise users.unknown(named[strange], what)
        mine = [as_list(lists[user], f"{what}[{user!r}]") if user in lists else None for user in asked.tolist()]
        self.named = np.array([one is not None for one in mine], dtype=bool)
        rows = items.rows(as_index([item for one in mine if one is not None for item in one]), what, strict=strict)
        owners = np.repeat(np.arange(len(asked)), [0 if one is None else len(one) for one in mine])
        self.by_user = binary(owners[rows >= 0], rows[rows >= 0], (len(asked), len(items.index)))

    def rows(self, places: np.ndarray) -> np.ndarray | csr_array | None:
        """Return the lists of the asked users at ``places``, as ``top_k`` takes them."""
        return self.for_all if self.by_user is None else take(self.by_user, places)


def read_histories(
    histories: Any, items: Lookup, *, strict: bool, unit: float | None = None
) -> tuple[pd.Index, pd.Index, csr_array]:
    """Read who has liked what.

    Parameters
    ----------
    histories
        None, a dict from user id to item ids, a frame with columns ``user`` and ``item``, or ``Interactions``.
    items
        The model's items.
    strict
        Whether an unknown item is an error; otherwise it is passed over.
    unit
        Of the model's weights, in which those of a frame or of ``Interactions`` are read. None: it has none.

    Returns
    -------
    Ids of the users that are named, ids of those with at least one known item, and a row of items for each of the
    latter.
    """
    if histories is None:
        return pd.Index([]), pd.Index([]), binary(np.empty(0, int), np.empty(0, int), (0, len(items.index)))
    weights: np.ndarray | None = None
    if isinstance(histories, Mapping):
        liked = [as_list(one, f"histories[{user!r}]") for user, one in histories.items()]
        users = named = as_index(list(histories))
        codes = np.repeat(np.arange(len(users)), [len(one) for one in liked])
        labels = as_index([item for one in liked for item in one])
    elif (
        isinstance(histories, Interactions) or type(histories).__name__ == "LazyFrame" or hasattr(histories, "columns")
    ):
        data = histories if isinstance(histories, Interactions) else Interactions.from_frame(histories)
        users, codes, labels = pd.Index(data.user_ids), data.users, pd.Index(data.item_ids[data.items])
        named = users[np.unique(codes)]
        if unit is not None and data.weights is not None and (data.weights != 1).any():
            weights = counts(data, "histories") / unit
    else:
        msg = (
            f"histories is of type {type(histories).__name__}; expected a dict from user id to item ids, a data frame "
            "with columns user and item, or Interactions"
        )
        raise TypeError(msg)
    rows = items.rows(labels, "histories", strict=strict)
    known = rows >= 0 if weights is None else (rows >= 0) & (weights > 0)
    told, codes = np.unique(codes[known], return_inverse=True)
    shape = (len(told), len(items.index))
    if weights is None:
        return named, users[told], binary(codes, rows[known], shape)
    return named, users[told], weighted(codes, rows[known], weights[known], shape)


def read_users(users: Any, everybody: pd.Index) -> pd.Index:
    """Read the asked user ids: one, a collection of distinct ones, or None for ``everybody``."""
    if users is None:
        return everybody
    asked = as_index([users] if is_one(users) else list(users))
    if asked.has_duplicates:
        repeated = asked[asked.duplicated()].tolist()[0]
        msg = f"users names {repeated!r} more than once; expected each user once: drop the repeats"
        raise ValueError(msg)
    return asked


def as_list(ids: Any, what: str) -> list:
    """Read a collection of ids; a lone id is an error, since a string would fall into its letters."""
    if issparse(ids):
        msg = f"{what} is a sparse matrix; expected item ids: recommend(items=..., filter_items=...) takes matrices"
        raise TypeError(msg)
    if is_one(ids):
        msg = f"{what} is {ids!r} of type {type(ids).__name__}; expected a list of item ids: write [{ids!r}]"
        raise TypeError(msg)
    return list(ids)


def as_index(labels: list) -> pd.Index:
    """Make an index that can be looked up; an empty one fits every type of ids."""
    return pd.Index(labels, tupleize_cols=False) if labels else pd.Index([], dtype=object)


def as_labels(values: Any, ids: np.ndarray) -> list[Any]:
    """Give ids the type of a model's: "7" is 7 for integers, and what no 64 bits hold stays unknown."""
    if ids.dtype.kind not in "iu":
        return [str(value) for value in values]
    texts = [(value, str(value)) for value in values]
    return [
        int(text) if re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) and -(2**63) <= int(text) < 2**63 else value
        for value, text in texts
    ]
