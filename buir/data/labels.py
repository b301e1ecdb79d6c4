"""Columns of labels, ratings and times, checked and brought to one type each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from buir.errors import InputError, listed, shortened, show_rows


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


def as_ratings(values: Any) -> np.ndarray:
    """Return ratings as float64; a missing or non-numeric one is an InputError."""
    ratings = pd.to_numeric(pd.Series(np.asarray(values)), errors="coerce").to_numpy(dtype=np.float64)
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


def read_columns(
    frame: Any, user: str, item: str, rating: str | None, time: str | None, weight: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return users, items, ratings, times and weights of an eager pandas, polars or pyarrow table.

    ``rating``, ``time`` and ``weight`` of None take the columns of those names, if there are any.
    """
    import narwhals as nw  # here, since a model that is loaded and asked for lists meets no frame

    try:
        table = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        way = ": call .collect() first" if type(frame).__name__ == "LazyFrame" else ""
        msg = f"expected a pandas, polars or pyarrow table, got {type(frame).__name__}{way}"
        raise TypeError(msg) from error
    rating = "rating" if rating is None and "rating" in table.columns else rating
    time = "time" if time is None and "time" in table.columns else time
    weight = "weight" if weight is None and "weight" in table.columns else weight
    named = {"user": user, "item": item, "rating": rating, "time": time, "weight": weight}
    for role, name in named.items():
        if name is not None and name not in table.columns:
            msg = (
                f"the frame has no column {name!r}; it has {listed(table.columns)}; rename the one that holds it, or "
                f"name it: Interactions.from_frame(frame, {role}=...)"
            )
            raise InputError(msg, argument=role)
    ratings, times, weights = (None if name is None else table[name].to_numpy() for name in (rating, time, weight))
    return table[user].to_numpy(), table[item].to_numpy(), ratings, times, weights


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
