"""Which column of a table holds what, and the columns as arrays of one type."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from buir.data.files.formats import FIRST_TIME, NAMES, spelled
from buir.data.files.refusals import syntax_of
from buir.errors import AmbiguousFileWarning, Argument, InputError, InputWarning, ReadError, listed, near, shortened

pc: Any = pyarrow.compute  # its functions are made at import, which type checkers do not see

ROLES = ("user", "item", "rating", "time", "weight")
MISSING = (
    *("", "nan", "NaN", "NAN", "null", "NULL", "None", "none", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaT", "nil"),
    *("\\N", "(null)", "[NULL]", "<null>", "undefined", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!"),
)
"""What programs, databases and spreadsheets write where there is nothing."""
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]*)?([eE]\+[0-9]+)?$"
"""What programs write for a column of floats."""
_DECIMAL_COMMA = r"^\s*([+-]?[0-9]+),([0-9]+)\s*$"
_THOUSANDS = r"^\s*[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+\s*$"
_WHOLE = r"^-?(0|[1-9][0-9]*)$"
_MANY_VALUES = r"^\s*(\[.*\]|\{.*,.*\}|\(.*,.*\))\s*$"
_DATE = "|".join(
    [
        r"^[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}([T ][0-9:.,]+.*)?$",
        r"^[0-9]{1,2}[-./][0-9]{1,2}[-./][0-9]{4}( .*)?$",
        r"^(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$",
        r"^[A-Z][a-z]{2,8}\.? [0-9]{1,2},? [0-9]{4}( .*)?$",
        r"^[0-9]{1,2}[ -][A-Z][a-z]{2,8}[ -][0-9]{4}( .*)?$",
    ]
)
_LAST_TIMES = tuple((FIRST_TIME * unit, 4.2e9 * unit) for unit in (1, 10**3, 10**6, 10**9))
"""Unix times in seconds, milli-, micro- and nanoseconds, from 1973 to 2103."""
_FEW, _MANY = 3, 20
"""Rows from which one value, or none that comes back, says something about a column."""
_LABELLED = 4
"""Columns of a table of user, item, rating and time."""
_WIDE = 30
"""Columns from which a table without a known name is taken for one of users by items."""


@dataclass
class Rows:
    """Rows of one file before labels are told apart from numbers."""

    users: pa.ChunkedArray
    items: pa.ChunkedArray
    ratings: np.ndarray | None = None
    times: np.ndarray | None = None
    weights: np.ndarray | None = None
    columns: str = ""
    rating_name: str = ""
    """What the file calls its ratings."""
    texts: frozenset[str] = frozenset()
    """Of "users" and "items" those whose labels the file itself calls text, so that "7" is no number."""
    elsewhere: int = 0
    """Rows left out because they are other events."""
    missing: int = 0
    """Rows left out because an id, a rating or a time is missing."""
    stripped: int = 0
    """Labels that had blanks around them."""
    repeated_headers: int = 0
    comments: int = 0
    n_columns: int = 0
    blank_lines: int = 0
    empty_lists: int = 0
    zeros: int = 0


class Column(NamedTuple):
    """Labels as text, and how many had blanks around them."""

    field: pa.ChunkedArray
    stripped: int


def find_roles(header: Sequence[str] | None, n_columns: int, columns: Mapping[str, str | int] | None) -> dict[str, int]:
    """Return the position of every role that is asked for or named; users and items are always there.

    Parameters
    ----------
    header
        Names of the columns, None if the file has none.
    n_columns
        Their number.
    columns
        The caller's word: name or position (from 0, also as text) by role.  With it, rating, time and weight are read
        only if it names them.

    Raises
    ------
    InputError
        If a column is not there, or users or items cannot be told.
    """
    if n_columns < 2:
        what = f"has {n_columns} column, expected at least user and item; check the separator and pass "
        raise InputError(what, Argument("format"), " or ", Argument("separator"))
    names = [spelled(name) for name in header] if header else []
    seen = f"it has {listed(header)}" if header else f"it has {n_columns} columns and names none"
    roles: dict[str, int] = {}
    for role, column in (columns or {}).items():
        if role not in ROLES:
            raise InputError(Argument("columns"), f" names a role {role!r}, expected one of {ROLES}")
        if isinstance(column, str) and column in (header or ()):
            roles[role] = list(header or ()).index(column)
        elif (place := position(column, n_columns)) is not None:
            roles[role] = place
        else:
            guess = "" if isinstance(column, int) else near(column, header or ())
            came = shortened(repr(column))
            msg = f"has no column {came} for {role!r}{guess}; {seen}; name one, or give its position from 0"
            if not header and not str(column).isdecimal():
                msg += ", or, if the first row holds names, pass "
                raise InputError(msg, Argument("header", True))
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
            wide = "" if n_columns < _WIDE else ", or, if each column is an item, make rows of it with pandas .melt()"
            raise InputError(what, Argument("columns", role), wide)
    # what people played or bought so often may be a rating with a threshold, and a weight
    apart = {role: place for role, place in roles.items() if role != "weight" or place != roles.get("rating")}
    if len(set(apart.values())) < len(apart):
        what = f"reads one column as two things: {roles}; pass "
        raise InputError(what, Argument("columns"), " with one position for each")
    return roles


def position(column: str | int, n_columns: int) -> int | None:
    """Return the position, from 0, that a caller gives for a column, as a number or as text; None if it is none."""
    text = str(column)
    # of so many digits Python makes no number
    return int(text) if text.isdecimal() and len(text) < _WIDE and int(text) < n_columns else None


def guess_roles(roles: dict[str, int], fields: Sequence[pa.ChunkedArray]) -> dict[str, int]:
    """Add rating and time to a table that names no columns: user, item, then rating or time or both, if that is clear.

    A third column of three is the time if all its numbers are beyond 1e8, or all are dates, else the rating.  Of four,
    both are taken if the fourth is a time.  Of all else nothing is.
    """
    if len(fields) == 3:
        if _all_times(fields[2]):
            return roles | {"time": 2}
        value = fields[2][0].as_py() if len(fields[2]) else ""
        if value not in MISSING and not pc.any(pc.match_substring_regex(fields[2], r"^\s*[-+]?\.?[0-9]")).as_py():
            what = (
                f"has three columns without names, of which the third would be the rating, but holds {value!r}; pass "
            )
            lists = ", or, if each line is a user and then items, "
            raise InputError(what, Argument("columns", "item"), lists, Argument("format", "adjacency"))
        return roles | {"rating": 2}
    if len(fields) == 4 and _all_times(fields[3]):
        return roles | {"rating": 2, "time": 3}
    return roles


def check_guess(path: Path, roles: Mapping[str, int], fields: Sequence[pa.ChunkedArray]) -> list[InputWarning]:
    """Look at the columns that were taken for users and items by their place alone.

    Returns
    -------
    A warning for a column that hardly holds ids.

    Raises
    ------
    ReadError
        If it holds dates.
    """
    found: list[InputWarning] = []
    for role in ROLES[:2]:
        field = fields[roles[role]]
        place = f"column {roles[role]} (from 0) is read as the {role}"
        if _all_dates(field):
            what = f"{place}, but holds dates (first: {field[0].as_py()!r}); name the column of {role}s: pass "
            raise ReadError(path, what, Argument("columns", role))
        strange = _strange(field, n_columns=len(fields))
        if strange:
            what = f"{path}: {place}, but {strange}; pass "
            otherwise = " with the right position, or with this one if it is right"
            found.append(AmbiguousFileWarning(what, Argument("columns", role), otherwise))
    alike = [pc.count_distinct(fields[roles[role]]).as_py() == 1 for role in ROLES[:2]]
    if not found and all(alike) and len(fields[0]) > 1:
        what = (
            f"{path}: columns {roles['user']} and {roles['item']} (from 0), read as user and item, hold one pair alone"
        )
        found.append(AmbiguousFileWarning(f"{what}; pass ", Argument("columns", "item"), " with the right position"))
    return found


def _strange(field: pa.ChunkedArray, n_columns: int) -> str:
    """Say what is odd about a column of ids; nothing if nothing is."""
    n_rows, n_distinct = len(field), pc.count_distinct(field).as_py()
    if times := _first_time(field):
        return f"its numbers look like times (first: {times})"
    if n_rows < _FEW:
        return ""
    if n_distinct == 1:
        return f"holds one value alone, {field[0].as_py()!r}"
    if n_distinct == 2 and (n_rows >= _MANY or (n_columns > _LABELLED and n_rows > _FEW)):
        return f"holds two values alone, {' and '.join(sorted(repr(value) for value in pc.unique(field).to_pylist()))}"
    try:
        numbers = pc.cast(field, pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        numbers = None
    if numbers is not None and np.all(np.diff(numbers) == 1):
        return "numbers the rows"
    if n_distinct == n_rows >= _MANY:
        return f"none of its {n_rows:,} values comes back"
    return ""


def _first_time(field: pa.ChunkedArray) -> str | None:
    """Return the first of numbers that are all Unix times in one unit, None of all else."""
    first = field[0].as_py() if len(field) else ""
    if not first.isdecimal() or not 9 <= len(first) <= 19:
        return None
    try:
        numbers = pc.cast(field, pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    inside = any(low <= numbers.min() and numbers.max() <= high for low, high in _LAST_TIMES)
    return first if inside else None


def _all_times(field: pa.ChunkedArray) -> bool:
    try:
        numbers = pc.cast(field, pa.float64())
    except pa.ArrowInvalid:
        return _all_dates(field)
    return len(field) > 0 and (pc.min(numbers).as_py() or 0) >= FIRST_TIME


def _all_dates(field: pa.ChunkedArray) -> bool:
    return len(field) > 0 and bool(pc.all(pc.match_substring_regex(pc.utf8_trim_whitespace(field), _DATE)).as_py())


def check_choice(
    path: Path, header: Sequence[str] | None, roles: Mapping[str, int], columns: Mapping[str, str | int] | None
) -> list[InputWarning]:
    """Look for other columns that are known to hold what was read from one.

    Returns
    -------
    A warning for each role that has several and that the caller did not name.

    Raises
    ------
    InputError
        If the name of the column that is read stands over another as well.
    """
    found: list[InputWarning] = []
    for role, place in roles.items():
        given = (columns or {}).get(role)
        if not header or (given is not None and given != header[place]):
            continue
        name = header[place]
        if header.count(name) > 1:
            where = [number for number, other in enumerate(header) if other == name]
            what = f"has the name {name!r} over {len(where)} columns, {where} (from 0); expected one: pass "
            raise InputError(what, Argument("columns", role), " with the position of the right one")
        if given is not None or role not in _CHOSEN:
            continue
        known = NAMES[role]
        others = [other for at, other in enumerate(header) if at not in roles.values() and spelled(other) in known]
        if role == "rating":  # what people played so often is a weight beside a rating
            others = [other for other in others if spelled(other) not in NAMES["weight"]]
        if others:
            what = f"{path}: {name!r} is read as the {role}, and {' and '.join(map(repr, others[:3]))} may hold it too"
            found.append(AmbiguousFileWarning(f"{what}; pass ", Argument("columns", role), " to say which"))
    return found


_CHOSEN = ("user", "item", "rating")
"""Roles of which another column would mean other pairs; of several times one is as good as another."""


def check_ids(
    path: Path,
    role: str,
    name: str,
    field: pa.ChunkedArray,
    *,
    named: bool = False,
    header: bool = False,
    remedy: Argument | None = None,
) -> None:
    """Raise a ReadError where no value of a column of a text is an id, but a list, or one with marks of a syntax.

    Parameters
    ----------
    path, role, name
        Of the file, "user" or "item", and what to call the column.
    field
        Its values.
    named
        Whether the caller named it, so that marks belong to the ids.
    header
        Whether the file names it: then a few values may have any mark, but for quotes around each.
    remedy
        What says so; None: the name of the column.
    """

    def all_match(pattern: str) -> bool:
        return bool(pc.all(pc.match_substring_regex(field, pattern)).as_py())

    first = field[0].as_py() if len(field) else ""
    if (len(field) > 1 or not header) and re.match(_MANY_VALUES, first) and all_match(_MANY_VALUES):
        what = f"{name} holds lists such as {shortened(repr(first))}, expected one {role} in each row"
        raise ReadError(path, f"{what}; make rows of them (in pandas ast.literal_eval and .explode) and write these")
    few = header and (len(field) < _MANY or pc.count_distinct(field).as_py() == 1)
    mark = None if named else syntax_of(all_match, first, quotes_alone=few)
    if mark is not None:
        what = f"{name} is read as the {role}, but all of it has the mark {mark!r}, as in {shortened(repr(first))}"
        what += "; expected ids: write them without it, or, if it belongs to them, pass "
        raise ReadError(path, what, Argument("columns", role) if remedy is None else remedy)


def odd_one(field: pa.ChunkedArray, *, header: bool) -> int | None:
    """Return the row of the one value that is no whole number where all others of a column are, else None."""
    if not any(re.match(_WHOLE, value or "") for value in field[:3].to_pylist()):
        return None
    odd = pc.invert(pc.match_substring_regex(field, _WHOLE))
    values = pc.unique(field.filter(odd))
    if len(values) != 1 or len(field) - pc.sum(odd).as_py() < (_MANY if header else _FEW):
        return None
    return pc.index(odd, value=True).as_py()


def listed_values(field: pa.ChunkedArray, *, header: bool) -> str | None:
    """Return a value such as "5,7" of a column of ids if they may be lists: their lengths differ, their parts recur."""
    if header and len(field) < _MANY:
        return None
    for mark in (",", ";", "|"):
        several = field.filter(pc.match_substring(field, mark))
        if (
            not len(several)
            or not pc.all(pc.match_substring_regex(several, rf"^[^{mark}]+([{mark}][^\s{mark}]+)+$")).as_py()
        ):
            continue
        sizes = pc.unique(pc.count_substring(field, mark))
        parts = pc.list_flatten(pc.split_pattern(field, mark))
        again = len(parts) - len(pc.unique(parts))
        if len(sizes) > 1 and (again or pc.all(pc.match_substring_regex(parts, _WHOLE)).as_py()):
            return several[0].as_py()
    return None


def describe_roles(roles: Mapping[str, int], header: Sequence[str] | None, *, guessed: bool) -> str:
    """Return the roles as text, such as "user=0, item=1, rating=2 (by position)"."""
    text = ", ".join(f"{role}={header[column] if header else column}" for role, column in roles.items())
    return f"{text} (by position)" if guessed else text


def is_text(field: pa.ChunkedArray) -> bool:
    """Return whether a typed file calls a column text."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return _is_string(kind)


def label_column(
    field: pa.ChunkedArray,
    role: str,
    name: str | None = None,
    *,
    typed: bool = False,
    exact: bool = False,
    missing: np.ndarray | None = None,
) -> Column:
    """Return labels as text: as they are where the file has types, else without the blanks around them.

    Parameters
    ----------
    field
        The column.
    role
        "user" or "item".
    name
        What the file calls the column, if it does.
    typed
        Whether the file says what is text and what is missing, as Parquet and JSON do: then "None" is a name.
    exact
        Whether blanks belong to the labels, which were quoted where they have any.
    missing
        The rows whose label is missing, where that is known; otherwise see :func:`missing_values`.

    Raises
    ------
    InputError
        If a label is missing, or labels are decimal numbers: "1.0" may be the 1 of another file, or an id of its own.
    """
    if pa.types.is_dictionary(field.type):
        field = pc.cast(field, field.type.value_type)
    column = f"the {role} column{f' {name!r}' if name else ''}"
    if pa.types.is_integer(field.type) or _is_string(field.type):
        text = typed and _is_string(field.type)
        field = pc.cast(field, pa.string())
        stripped = 0
        if not typed and not exact:
            trimmed = pc.utf8_trim(field, " \t\r")
            stripped = int(pc.sum(pc.not_equal(trimmed, field)).as_py() or 0)
            field = trimmed
        missing = missing_values(field, typed=typed) if missing is None else missing
        if missing.any():
            row = int(np.argmax(missing))
            what = f"the {role} id is missing ({field[row].as_py()!r}); give the {role} an id, or pass "
            raise InputError(what, Argument("drop_missing", True), " to leave such rows out", rows=[row])
        if pc.any(pc.match_substring(field, "\0")).as_py():
            row = int(np.argmax(pc.match_substring(field, "\0").to_numpy()))
            came = f"the {role} id {_shown(field, row)} holds a NUL, which many programs take for the end of a text"
            msg = f"{came}; write the id without it"
            raise InputError(msg, rows=[row])
        row = None if text else _first_decimal(field)
        if row is not None:
            msg = (
                f"{column} holds decimal numbers (first: {field[row].as_py()!r}), expected integers or strings; write "
                "it as integers (in pandas .astype('int64') before .to_csv), or, if the point belongs to the ids, pass "
                "the frame of pandas.read_csv(file, dtype=str)"
            )
            raise InputError(msg, rows=[row])
        return Column(field, stripped)
    if pa.types.is_floating(field.type):
        # Programs turn integers into floats where some are missing.
        missing = missing_values(field, typed=typed)
        if missing.any():
            row = int(np.argmax(missing))
            what = (
                f"the {role} id is missing ({field[row].as_py()!r}), and {column} holds decimal numbers ({field.type}) "
                "for it; write the others as integers (in pandas .dropna() and .astype('int64')), or pass "
            )
            raise InputError(what, Argument("drop_missing", True), " to leave such rows out", rows=[row])
    if pa.types.is_null(field.type):
        msg = f"{column} holds nothing; expected integers or strings: name another column"
        raise InputError(msg)
    first = f" (first: {_shown(field, 0)})" if len(field) else ""
    kind = shortened(field.type)
    msg = f"{column} holds {kind}{first}, expected integers or strings; cast it to one of them"
    raise InputError(msg)


def missing_values(field: pa.ChunkedArray, *, typed: bool) -> np.ndarray:
    """Return which rows of a column hold nothing or, where the file has no types, a word that says so."""
    if pa.types.is_dictionary(field.type):
        field = pc.cast(field, field.type.value_type)
    gone = pc.is_null(field, nan_is_null=pa.types.is_floating(field.type))
    if is_text(field):
        named = pc.cast(field, pa.string())
        named = named if typed else pc.utf8_trim(named, " \t\r")
        gone = pc.or_(gone, pc.is_in(named, value_set=pa.array([""] if typed else MISSING, pa.string())))
    return gone.to_numpy()


def present(field: pa.ChunkedArray, kept: np.ndarray) -> pa.ChunkedArray:
    """Return the rows of a column that are ``kept``; integers that became floats for the others are integers again."""
    field = field.filter(pa.array(kept))
    if pa.types.is_floating(field.type) and pc.all(pc.equal(field, pc.floor(field))).as_py():
        with suppress(pa.ArrowInvalid):  # 1e300 is a whole number too
            return pc.cast(field, pa.int64())
    return field


def _first_decimal(field: pa.ChunkedArray) -> int | None:
    """Return the row of the first label such as "1.0" or "1e+05" where all are numbers; None of any other column."""
    if not len(field) or not re.match(_NUMBER, field[0].as_py()):
        return None
    pointed = pc.or_(pc.match_substring(field, "."), pc.match_substring(field, "e+"))  # far cheaper than the pattern
    if not pc.any(pointed).as_py() or not pc.all(pc.match_substring_regex(field, _NUMBER)).as_py():
        return None
    return int(np.argmax(pointed.to_numpy()))


def labels(field: pa.ChunkedArray, *, text: bool = False) -> np.ndarray:
    """Return int64 if every label is a canonical integer ("7", not "007", "7.0" or "+7"), else an array of str.

    With ``text`` all are str, as the file says that they are.
    """
    if text:
        return field.to_numpy()
    try:
        numbers = pc.cast(field, pa.int64())
    except pa.ArrowInvalid:
        return field.to_numpy()
    canonical = pc.all(pc.equal(pc.cast(numbers, pa.string()), field)).as_py()
    return numbers.to_numpy() if canonical else field.to_numpy()


def rating_column(field: pa.ChunkedArray, *, thousands: bool = False) -> np.ndarray:
    """Return ratings as float64; one that is no number, or a column of another kind, is an InputError.

    "3,5" is a number, as the comma separates nothing within a value. With ``thousands`` "1,500" may be one and a half,
    or as many as a thousand times that, and is an error.
    """
    if thousands and (row := _first_thousands(field)) is not None:
        what = (
            f"the rating {_shown(field, row)} may have a decimal comma or one between thousands; write it without, or "
        )
        otherwise = "pass ", Argument("columns", "rating"), "; to read no ratings, name the other columns alone"
        raise InputError(what, *otherwise, rows=[row])
    numbers = _numbers(_with_points(field))
    if numbers is None:
        raise _other_kind(field, "rating", "numbers")
    _check(np.isnan(numbers), field, "rating", "not a number")
    return numbers


def _first_thousands(field: pa.ChunkedArray) -> int | None:
    """Return the row of the first value such as "1,500" where every comma may stand between thousands."""
    if not is_text(field) or pa.types.is_dictionary(field.type):
        return None
    commas = pc.match_substring(field, ",")
    if not pc.any(commas).as_py() or not pc.all(pc.match_substring_regex(field.filter(commas), _THOUSANDS)).as_py():
        return None
    return pc.index(commas, value=True).as_py()


def _with_points(field: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(field.type):
        field = pc.cast(field, field.type.value_type)
    if is_text(field) and pc.any(pc.match_substring_regex(field, _DECIMAL_COMMA)).as_py():
        return pc.replace_substring_regex(field, _DECIMAL_COMMA, r"\1.\2")
    return field


def weight_column(field: pa.ChunkedArray, *, thousands: bool = False) -> np.ndarray:
    """Return weights as float64, NaN where one is no number: only a fit that reads them minds."""
    numbers = None if thousands and _first_thousands(field) is not None else _numbers(_with_points(field))
    return np.full(len(field), np.nan) if numbers is None else numbers


def time_column(field: pa.ChunkedArray) -> np.ndarray:
    """Return times as int64, float64, or float64 Unix seconds where they are dates; else an InputError."""
    if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
        numbers = _unix_seconds(field)
    elif pa.types.is_integer(field.type) and not field.null_count and field.type != pa.uint64():
        return pc.cast(field, pa.int64()).to_numpy()
    else:
        numbers = _numbers(field)
        if numbers is None:
            raise _other_kind(field, "time", "numbers or dates")
        if is_text(field) and np.isnan(numbers).all():
            moments = pd.to_datetime(field.to_pandas(), errors="coerce", utc=True, format="ISO8601")
            numbers = (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=np.float64)
    _check(~np.isfinite(numbers), field, "time", "neither a number nor an ISO date")
    if (np.abs(numbers) >= 2.0**63).any():
        return numbers
    whole = numbers.astype(np.int64)
    return whole if np.array_equal(whole, numbers) else numbers


def _unix_seconds(field: pa.ChunkedArray) -> np.ndarray:
    """Moments as float64 seconds since 1970, NaN where there is none."""
    if pa.types.is_date32(field.type):
        field = pc.cast(field, pa.timestamp("s"))
    elif pa.types.is_date64(field.type):
        field = pc.cast(field, pa.timestamp("ms"))
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[field.type.unit]
    counts = pc.cast(field, pa.int64())
    if per_second == 10**9:  # most count nanoseconds and mean microseconds, of which a float64 holds each
        thousands = pc.divide(counts, 1000)
        if pc.all(pc.equal(pc.multiply(thousands, 1000), counts)).as_py():
            counts, per_second = thousands, 10**6
    return counts.to_numpy() / per_second


def _check(wrong: np.ndarray, field: pa.ChunkedArray, role: str, what: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        what = f"the {role} {_shown(field, row)} is {what}; correct it, or pass "
        otherwise = f"; to read no {role}s, name the other columns alone"
        raise InputError(what, Argument("columns", role), otherwise, rows=[row])


def _other_kind(field: pa.ChunkedArray, role: str, expected: str) -> InputError:
    first = f" (first: {_shown(field, 0)})" if len(field) else ""
    what = f"the {role} column holds {shortened(field.type)}{first}, expected {expected}; cast it, or pass "
    return InputError(what, Argument("columns", role), f"; to read no {role}s, name the other columns alone")


def _shown(field: pa.ChunkedArray, row: int) -> str:
    try:
        return shortened(repr(field[row].as_py()))
    except (ValueError, OverflowError):
        return "beyond the dates of Python"


def _numbers(field: pa.ChunkedArray) -> np.ndarray | None:
    """Numbers as float64, NaN where there is none; None of a column whose type is none of numbers."""
    if pa.types.is_dictionary(field.type):
        field = pc.cast(field, field.type.value_type)
    kind = field.type
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return pc.cast(field, pa.float64()).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pc.cast(field, pa.float64(), safe=False).to_numpy()
    if not _is_string(kind):
        return None
    try:
        return pc.cast(pc.utf8_trim_whitespace(field), pa.float64()).to_numpy()
    except pa.ArrowInvalid:  # slow, but it finds the rows
        return pd.to_numeric(pd.Series(field.to_pylist(), dtype=object), errors="coerce").to_numpy(dtype=np.float64)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
