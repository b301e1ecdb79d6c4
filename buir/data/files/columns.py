"""Which column of a table holds what, and the columns as arrays of one type."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from buir.data.files.formats import NAMES
from buir.errors import Argument, InputError

pc: Any = pyarrow.compute  # its functions are made at import, which type checkers do not see

ROLES = ("user", "item", "rating", "time")
MISSING = ("", "nan", "NaN", "NAN", "null", "NULL", "None", "none", "NA", "N/A", "<NA>", "#N/A")
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]*)?(e\+[0-9]+)?$"
"""What programs write for a column of floats."""
_FIRST_TIME = 1e8
"""Smallest number taken for a Unix time in a file that names no columns (March 1973)."""


@dataclass
class Rows:
    """Rows of one file before labels are told apart from numbers."""

    users: pa.ChunkedArray
    items: pa.ChunkedArray
    ratings: np.ndarray | None = None
    times: np.ndarray | None = None
    columns: str = ""
    blank_lines: int = 0
    empty_lists: int = 0


def find_roles(header: Sequence[str] | None, n_columns: int, columns: Mapping[str, str | int] | None) -> dict[str, int]:
    """Return the position of every role that is asked for or named; users and items are always there.

    Parameters
    ----------
    header
        Names of the columns, None if the file has none.
    n_columns
        Their number.
    columns
        The caller's word: name or position (from 0, also as text) by role.  With it, rating and time are read only if
        it names them.

    Raises
    ------
    InputError
        If a column is not there, or users or items cannot be told.
    """
    if n_columns < 2:
        what = f"has {n_columns} column, expected at least user and item; check the separator and pass "
        raise InputError(what, Argument("format"))
    names = [name.lower() for name in header] if header else []
    seen = f"it has {list(header)}" if header else f"it has {n_columns} columns and names none"
    roles: dict[str, int] = {}
    for role, column in (columns or {}).items():
        if role not in ROLES:
            raise InputError(Argument("columns"), f" names a role {role!r}, expected one of {ROLES}")
        if isinstance(column, str) and column in (header or ()):
            roles[role] = list(header or ()).index(column)
        elif str(column).isdecimal() and int(column) < n_columns:
            roles[role] = int(column)
        else:
            msg = f"has no column {column!r} for {role!r}; {seen}; name one, or give its position from 0"
            raise InputError(msg, argument="columns")
    for role in ROLES if columns is None else ROLES[:2]:
        if role not in roles and header:
            known = [names.index(name) for name in NAMES[role] if name in names]
            if known:
                roles[role] = known[0]
    if not header:
        roles = {"user": 0, "item": 1} | roles
    for role in ROLES[:2]:
        if role not in roles:
            what = f"has no column that is known to hold the {role}; {seen}; pass "
            raise InputError(what, Argument("columns", role))
    if len(set(roles.values())) < len(roles):
        what = f"reads one column as two things: {roles}; pass "
        raise InputError(what, Argument("columns"), " with one position for each")
    return roles


def guess_roles(roles: dict[str, int], fields: Sequence[pa.ChunkedArray]) -> dict[str, int]:
    """Add rating and time to a table that names no columns: user, item, then rating or time or both, if that is clear.

    A third column of three is the time if all its numbers are beyond 1e8, else the rating.  Of four, both are taken if
    the fourth is a time.  Of all else nothing is.
    """
    if len(fields) == 3:
        return roles | {"time" if _all_times(fields[2]) else "rating": 2}
    if len(fields) == 4 and _all_times(fields[3]):
        return roles | {"rating": 2, "time": 3}
    return roles


def _all_times(field: pa.ChunkedArray) -> bool:
    try:
        numbers = pc.cast(field, pa.float64())
    except pa.ArrowInvalid:
        return False
    return len(field) > 0 and pc.min(numbers).as_py() >= _FIRST_TIME


def describe_roles(roles: Mapping[str, int], header: Sequence[str] | None, *, guessed: bool) -> str:
    """Return the roles as text, such as "user=0, item=1, rating=2 (by position)"."""
    text = ", ".join(f"{role}={header[column] if header else column}" for role, column in roles.items())
    return f"{text} (by position)" if guessed else text


def label_column(field: pa.ChunkedArray, role: str, name: str | None = None) -> pa.ChunkedArray:
    """Return labels without surrounding blanks, as they are if integers, else as strings.

    Parameters
    ----------
    field
        The column.
    role
        "user" or "item".
    name
        What the file calls the column, if it does.

    Raises
    ------
    InputError
        If a label is missing, or labels are decimal numbers: "1.0" may be the 1 of another file, or an id of its own.
    """
    if pa.types.is_dictionary(field.type):
        field = pc.cast(field, field.type.value_type)
    column = f"the {role} column{f' {name!r}' if name else ''}"
    if pa.types.is_integer(field.type) or _is_string(field.type):
        field = pc.utf8_trim_whitespace(pc.cast(field, pa.string()))
        missing = pc.is_in(field, value_set=pa.array([*MISSING, None]))
        if pc.any(missing).as_py():
            row = int(np.argmax(missing.to_numpy()))
            msg = f"the {role} id is missing ({field[row].as_py()!r}); drop the row or give the {role} an id"
            raise InputError(msg, rows=[row])
        row = _first_decimal(field)
        if row is not None:
            msg = (
                f"{column} holds decimal numbers (first: {field[row].as_py()!r}), expected integers or strings; write "
                "it as integers (in pandas .astype('int64') before .to_csv), or, if the point belongs to the ids, pass "
                "the frame of pandas.read_csv(file, dtype=str)"
            )
            raise InputError(msg, rows=[row])
        return field
    if pa.types.is_floating(field.type):
        # Programs turn integers into floats where some are missing.
        missing = pc.fill_null(pc.is_nan(field), True)
        if pc.any(missing).as_py():
            row = int(np.argmax(missing.to_numpy()))
            msg = (
                f"the {role} id is missing ({field[row].as_py()!r}), and {column} holds decimal numbers ({field.type}) "
                "for it; drop such rows and write the others as integers (in pandas .dropna() and .astype('int64'))"
            )
            raise InputError(msg, rows=[row])
    first = f" (first: {field[0].as_py()!r})" if len(field) else ""
    msg = f"{column} holds {field.type}{first}, expected integers or strings; cast it to one of them"
    raise InputError(msg)


def _first_decimal(field: pa.ChunkedArray) -> int | None:
    """Return the row of the first label such as "1.0" or "1e+05" where all are numbers; None of any other column."""
    if not len(field) or not re.match(_NUMBER, field[0].as_py()):
        return None
    pointed = pc.or_(pc.match_substring(field, "."), pc.match_substring(field, "e+"))  # far cheaper than the pattern
    if not pc.any(pointed).as_py() or not pc.all(pc.match_substring_regex(field, _NUMBER)).as_py():
        return None
    return int(np.argmax(pointed.to_numpy()))


def labels(field: pa.ChunkedArray) -> np.ndarray:
    """Return int64 if every label is a canonical integer ("7", not "007", "7.0" or "+7"), else an array of str."""
    try:
        numbers = pc.cast(field, pa.int64())
    except pa.ArrowInvalid:
        return field.to_numpy()
    canonical = pc.all(pc.equal(pc.cast(numbers, pa.string()), field)).as_py()
    return numbers.to_numpy() if canonical else field.to_numpy()


def rating_column(field: pa.ChunkedArray) -> np.ndarray:
    """Return ratings as float64; one that is no number is an InputError."""
    numbers = _numbers(field)
    _check(np.isnan(numbers), field, "rating", "not a number")
    return numbers


def time_column(field: pa.ChunkedArray) -> np.ndarray:
    """Return times as int64, float64, or float64 Unix seconds where they are dates; else an InputError."""
    if pa.types.is_temporal(field.type):
        numbers = pc.cast(pc.cast(field, pa.timestamp("us")), pa.int64()).to_numpy() / 1e6
    elif pa.types.is_integer(field.type) and not field.null_count:
        return pc.cast(field, pa.int64()).to_numpy()
    else:
        numbers = _numbers(field)
        if np.isnan(numbers).all():
            moments = pd.to_datetime(field.to_pandas(), errors="coerce", utc=True, format="ISO8601")
            numbers = (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=np.float64)
    _check(~np.isfinite(numbers), field, "time", "neither a number nor an ISO date")
    whole = numbers.astype(np.int64)
    return whole if np.array_equal(whole, numbers) else numbers


def _check(wrong: np.ndarray, field: pa.ChunkedArray, role: str, what: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        what = f"the {role} {field[row].as_py()!r} is {what}; correct it, or pass "
        otherwise = f"; to read no {role}s, name the other columns alone"
        raise InputError(what, Argument("columns", role), otherwise, rows=[row])


def _numbers(field: pa.ChunkedArray) -> np.ndarray:
    """Numbers as float64, NaN where there is none."""
    if not _is_string(field.type):
        return pc.cast(field, pa.float64()).to_numpy()
    try:
        return pc.cast(pc.utf8_trim_whitespace(field), pa.float64()).to_numpy()
    except pa.ArrowInvalid:  # slow, but it finds the rows
        return pd.to_numeric(pd.Series(field.to_pylist(), dtype=object), errors="coerce").to_numpy(dtype=np.float64)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
