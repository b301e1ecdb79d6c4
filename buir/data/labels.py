"""Columns of labels, ratings and times, checked and brought to one type each."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from buir.data.files.formats import NAMES, spelled
from buir.errors import Finding, InputError, InputWarning, listed, near, report, shortened, show_rows


def as_ids(values: Any, name: str) -> np.ndarray:
    """Return labels as int64 if all are integers, as an object array of str if all are strings.

    Parameters
    ----------
    values
        One label per row; a list, an array, a Series.
    name
        What the labels name, for messages.

    Raises
    ------
    InputError
        If a label is missing, a float, a bool, beyond int64, or if integers and strings are mixed.
    """
    array = np.asarray(values)
    if array.dtype.kind == "U" and not isinstance(values, np.ndarray):
        array = np.asarray(values, dtype=object)  # texts of one width lose a NUL at their end, and numbers become texts
    if array.ndim != 1:
        msg = f"{name} ids have shape {array.shape}, expected one dimension, one id per row"
        raise InputError(msg, argument=name)
    if array.dtype.kind in "OfTU":  # the kinds that can hold a missing value, or an empty string
        missing = pd.isna(array) | (array == "") if array.dtype.kind in "OTU" else np.isnan(array)
        if np.any(missing):
            rows = np.flatnonzero(missing)
            msg = f"the {name} id in {show_rows(rows)} (from 0) is missing; drop such rows or name them"
            raise InputError(msg, rows=rows, argument=name)
    if array.dtype.kind in "TU" or (array.dtype == object and pd.api.types.infer_dtype(array) in ("string", "empty")):
        return _checked(array.astype(object), name)
    if array.dtype.kind in "iu" or (array.dtype == object and pd.api.types.infer_dtype(array) == "integer"):
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            msg = f"{name} id {array.max()} does not fit into 64 bits; pass the ids as strings"
            raise InputError(msg, argument=name)
        return array.astype(np.int64)
    if not array.size:
        return array.astype(np.int64)
    kind = pd.api.types.infer_dtype(array) if array.dtype == object else str(array.dtype)
    msg = f"{name} ids are {kind} (first: {array[0]}), expected integers or strings; cast the column to one of them"
    raise InputError(msg, argument=name)


def _checked(texts: np.ndarray, name: str) -> np.ndarray:
    """Return ids that are text, each of which a file can keep: a NUL ends texts elsewhere, half a letter is none."""
    together = "".join(texts)
    if "\0" in together or not (together.isascii() or _is_whole(together)):
        rows = np.flatnonzero(["\0" in text or not _is_whole(text) for text in texts])
        text = texts[rows[0]]
        fault = "a NUL" if "\0" in text else "half of a letter (a surrogate)"
        msg = f"the {name} id in {show_rows(rows)} (from 0) is {shortened(repr(text))}, with {fault}; write it without"
        raise InputError(msg, rows=rows, argument=name)
    return texts


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_numbers(values: Any) -> np.ndarray:
    """Return values as float64, NaN where one is no number."""
    return pd.to_numeric(pd.Series(np.asarray(values)), errors="coerce").to_numpy(dtype=np.float64)


def as_ratings(values: Any) -> np.ndarray:
    """Return ratings as float64; a missing or non-numeric one is an InputError."""
    ratings = as_numbers(values)
    if np.any(np.isnan(ratings)):
        rows = np.flatnonzero(np.isnan(ratings))
        msg = (
            f"the rating in row {rows[0]} (from 0) is {np.asarray(values)[rows[0]]}, expected a number; drop such rows"
        )
        raise InputError(msg, rows=rows, argument="ratings")
    return ratings


def as_times(values: Any) -> np.ndarray:
    """Return times as int64 (integers), or float64 (other numbers, and datetimes as Unix seconds)."""
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        times = array.astype(np.float64)
    else:
        try:
            moments = pd.to_datetime(pd.Series(array), utc=True, format="ISO8601")
        except (ValueError, TypeError) as error:
            msg = f"times are neither numbers nor datetimes (first: {array[0]}); convert the column first"
            raise InputError(msg, argument="times") from error
        times = (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=np.float64)
    if not np.all(np.isfinite(times)):
        rows = np.flatnonzero(~np.isfinite(times))
        msg = f"the time in {show_rows(rows)} (from 0) is missing; drop such rows or the column"
        raise InputError(msg, rows=rows, argument="times")
    return times


def is_frame(data: Any) -> bool:
    """Tell a table with named columns; the columns of a lazy one are not asked for, which would compute them."""
    return type(data).__name__ != "LazyFrame" and hasattr(data, "columns") and hasattr(data, "shape")


class Columns(NamedTuple):
    """The columns of a table by what they hold, None where there is none."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray | None
    times: np.ndarray | None
    weights: np.ndarray | None
    names: dict[str, Any]
    """What the table calls them, by role."""

    @property
    def ratings_are_weights(self) -> bool:
        """Whether one column is known as both, as that of plays is: a rating with a threshold, and a weight."""
        return self.names["rating"] is not None and self.names["rating"] == self.names["weight"]


def read_columns(
    frame: Any,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
    weight: str | None = None,
    tell: bool = True,
) -> Columns:
    """Return users, items, ratings, times and weights of an eager pandas, polars or pyarrow table.

    A name of None takes the column that is known to hold it, by the names that files are read by, if no other role
    names it. One called "weight" holds weights alone. With ``tell`` a warning names other columns that may hold users
    or items, and are not read.
    """
    table = _table(frame)
    given = {"user": user, "item": item, "rating": rating, "time": time, "weight": weight}
    free = [column for column in table.columns if column not in given.values()]
    names: dict[str, Any] = {}
    for role, name in given.items():
        names[role] = known_column(free, role) if name is None else name
        if names[role] is None and role in ("user", "item"):
            msg = f"the frame {_lacks(frame, table, role)}, or name it: Interactions.from_frame(frame, {role}=...)"
            raise InputError(msg, argument=role)
        if name is not None and name not in table.columns:
            msg = (
                f"the frame has no column {name!r}; it has {listed(table.columns)}"
                f"{near(name, map(str, table.columns))}; rename the one that holds it, or name it: "
                f"Interactions.from_frame(frame, {role}=...)"
            )
            raise InputError(msg, argument=role)
    if tell:
        report([warning for role in ("user", "item") if given[role] is None for warning in _others(free, role, names)])
    if rating is None and spelled(names["rating"]) == NAMES["weight"][0]:
        names["rating"] = None
    read = {role: table[name].to_numpy() for role, name in names.items() if name is not None}
    return Columns(read["user"], read["item"], read.get("rating"), read.get("time"), read.get("weight"), names)


def frame_ids(frame: Any, role: str, what: str) -> np.ndarray:
    """Return the labels of users, or of items, in a pandas, polars or pyarrow table.

    Parameters
    ----------
    frame
        The table, which has a column that is known to hold them.
    role
        "user" or "item".
    what
        The argument's name, for the messages.
    """
    table = _table(frame)
    name = known_column(table.columns, role)
    if name is None:
        msg = f"{what} is a frame that {_lacks(frame, table, role)}"
        raise InputError(msg, argument=what)
    return as_ids(table[name].to_numpy(), role)


def column_of(frame: Any, role: str) -> str | None:
    """Return the column of a table that is known to hold a role; None where there is none."""
    return known_column(_table(frame).columns, role)


def known_column(columns: Sequence[Any], role: str) -> str | None:
    """Return the column that is known to hold a role, by the names that files are read by, however it is spelled."""
    lowered = {spelled(column): column for column in reversed(columns)}
    exact = NAMES[role][0]
    return exact if exact in columns else next((lowered[name] for name in NAMES[role] if name in lowered), None)


def _others(free: Sequence[Any], role: str, names: dict[str, Any]) -> list[Finding]:
    """Warn of columns that may hold a role as well as the one that is read."""
    others = [column for column in free if spelled(column) in NAMES[role] and column not in names.values()]
    if not others:
        return []
    what = (
        f"the frame's column {names[role]!r} is read as the {role}, and {' and '.join(map(repr, others[:3]))} may hold"
    )
    remedy = f" it too; drop the others, or name it: Interactions.from_frame(frame, {role}=...)"
    return [InputWarning(what + remedy, argument=role)]


def _table(frame: Any) -> Any:
    import narwhals as nw  # here, since a model that is loaded and asked for lists meets no frame

    # pandas alone has two columns of one name
    names = list(frame.columns) if isinstance(frame, pd.DataFrame) else []
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        msg = f"the frame has {names.count(twice[0])} columns of the name {twice[0]!r}; expected one: rename the others"
        raise InputError(msg)
    try:
        return nw.from_native(frame, eager_only=True)
    except TypeError as error:
        way = ": call .collect() first" if type(frame).__name__ == "LazyFrame" else ""
        msg = f"expected a pandas, polars or pyarrow table, got {type(frame).__name__}{way}"
        raise TypeError(msg) from error


def _lacks(frame: Any, table: Any, role: str) -> str:
    """Say that a table has no column for a role, what it has, and what to do."""
    index = getattr(getattr(frame, "index", None), "names", None) or []
    said = f"has no column that is known to hold the {role}; it has {listed(table.columns)}"
    if known_column([name for name in index if name is not None], role) is not None:
        return f"{said}, and an index of that name: pass .reset_index()"
    return f"{said}: rename the one that does to {role!r}"


def space_ids(ids: Sequence[Any] | np.ndarray | None, n: int, name: str) -> np.ndarray:
    """Return the labels of ``n`` rows, 0 to n - 1 where none are given; repeated labels are an InputError."""
    if ids is None:
        return np.arange(n, dtype=np.int64)
    labels = as_ids(ids, name)
    n_distinct = len(pd.unique(labels))
    if len(labels) != n or n_distinct != n:
        msg = f"{name}_ids has {len(labels)} labels ({n_distinct} distinct), expected {n} distinct ones"
        raise InputError(msg, argument=f"{name}_ids")
    return labels


def places(own: np.ndarray, space: np.ndarray, rows: np.ndarray, name: str) -> np.ndarray:
    """Return where in ``space`` the labels ``own[rows]`` are; one that is not there is an InputError."""
    found = pd.Index(space).get_indexer(pd.Index(own))[rows]
    if np.any(found < 0):
        msg = (
            f"the new space has no {name} {own[rows[np.argmin(found)]]!r}; give one that holds all {name}s with a pair"
        )
        raise InputError(msg, argument=f"{name}_ids")
    return found


def label_bytes(ids: np.ndarray) -> bytes:
    """Return labels as bytes for a digest, equal on every machine; integers and their spellings differ."""
    if ids.dtype == np.int64:
        return b"int" + ids.astype("<i8").tobytes()
    texts = [label.encode() for label in ids]  # each with its length: no separator can be forged
    return b"str" + b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def as_labels(values: Any, ids: np.ndarray) -> list[Any]:
    """Give ids the type of a model's: "7" is 7 for integers, and what no 64 bits hold stays unknown."""
    if ids.dtype.kind not in "iu":
        return [str(value) for value in values]
    texts = [(value, str(value)) for value in values]
    return [
        int(text) if re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) and -(2**63) <= int(text) < 2**63 else value
        for value, text in texts
    ]
