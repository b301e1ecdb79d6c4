"""Files of interactions: lists, columns of text, RecBole's atomic files, JSON lines, matrices, Parquet; gzip or not.

Nothing is repaired silently: what is skipped or merged is counted in the report, what could be read in another way is a
warning, and everything else that is odd is a :class:`~buir.errors.ReadError` that names file, line and remedy.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from buir.data import doctor
from buir.data.files.columns import (
    ROLES,
    Rows,
    check_choice,
    check_guess,
    check_ids,
    describe_roles,
    find_roles,
    guess_roles,
    is_text,
    label_column,
    labels,
    listed_values,
    odd_one,
    present,
    rating_column,
    time_column,
    weight_column,
)
from buir.data.files.folders import parts_of, split_files
from buir.data.files.formats import LISTS, NAMES, Format, Hints, binary_format, check_hints, spelled, text_format, told
from buir.data.files.lists import read_lists, read_valued_lists
from buir.data.files.matrices import read_matrix_market, read_npz
from buir.data.files.tables import Table, Where, count_blank_lines, json_table, parquet_table, rows_where, text_table
from buir.data.files.text import Text, as_text, is_folder, read_bytes
from buir.data.interactions import Interactions, in_one_space
from buir.errors import (
    AmbiguousFileWarning,
    Argument,
    Finding,
    InputError,
    ReadError,
    counted,
    listed,
    report,
    shortened,
)

pc: Any = pyarrow.compute  # its functions are made at import, which type checkers do not see

_TITLED = ("item", "title")


def read(
    path: str | Path,
    *,
    format: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    drop_missing: bool = False,
    where: Where | None = None,
    max_bytes: int | None = None,
    min_rating: float | None = None,
    min_user: int = 0,
    min_item: int = 0,
    core: int = 0,
) -> Interactions:
    """Read one file of interactions.

    Parameters
    ----------
    path
        The file; gzip is unpacked.  A folder of Parquet files is one table.  A pipe, such as ``/dev/stdin``, is read to
        its end.
    format
        One of :data:`FORMATS`; None detects it.
    columns
        Which column holds "user", "item", "rating", "time" and "weight": name, or position from 0.  None goes by the
        header, or takes user and item first.  If given, rating, time and weight are read only where it names them.
    separator
        What stands between two columns, such as "|"; None detects it.
    encoding
        Of a text, as Python names it; None takes UTF-8, or tells it by the letters, with a warning.
    header
        Whether the first row of a text holds names; None detects it.
    drop_missing
        Whether rows without a user, an item, or a rating or time that is read, are left out; otherwise they are an
        error.
    where
        Only rows with these values in these columns, such as ``{"event": "buy"}`` or ``{"event": ["buy", "cart"]}``.
    max_bytes
        What the file, unpacked, and a line of it may have at most.  None: 8 GiB, a pipe 1 GiB, and a gzip 64 MiB or a
        hundred times its own size; a line 16 MiB.
    min_rating, min_user, min_item, core
        Filters, see :meth:`buir.data.interactions.Interactions.from_pairs`.

    Returns
    -------
    Interactions whose labels are int64 if every one in the file is a canonical integer, else str.  Where the file has
    types, as Parquet and JSON do, text stays text.

    Raises
    ------
    ReadError
        If the file cannot be read as interactions, or the filters leave nothing.

    Warns
    -----
    buir.errors.AmbiguousFileWarning
        If its lines, its header, its encoding or its columns could be meant in another way.
    buir.errors.ValuesIgnoredWarning
        If it has ratings other than one and there is no ``min_rating``.
    """
    path = Path(path)
    hints = Hints(format, columns, separator, encoding, header, drop_missing, where, max_bytes)
    check_hints(hints)
    rows, form, findings = _read_rows(path, hints)
    filters = {"min_rating": min_rating, "min_user": min_user, "min_item": min_item, "core": core}
    users, items = (labels(getattr(rows, side), text=side in rows.texts) for side in ("users", "items"))
    data = _interactions(path, rows, form, users, items, **filters)
    report([*findings, *_ratings(path, rows, min_rating)])
    return data


def read_split(
    train: str | Path,
    test: str | Path | None = None,
    valid: str | Path | None = None,
    *,
    format: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    drop_missing: bool = False,
    where: Where | None = None,
    max_bytes: int | None = None,
    min_rating: float | None = None,
) -> tuple[Interactions, ...]:
    """Read a published split: files of one form, with one space of labels.

    Users and items are numbered by first appearance, train first.  Positions of test continue those of train, and those
    of valid continue both.  A pair in two files is in both results; :func:`buir.data.splits.given_split` drops it.

    Parameters
    ----------
    train, test, valid
        The files; or a folder alone, whose files say in their names what they are, as in ``train.txt`` and
        ``data.valid.inter``.
    format, columns, separator, encoding, header, drop_missing, where, max_bytes, min_rating
        As in :func:`read`, for all.

    Returns
    -------
    Train and test, and valid if there is such a file.
    """
    paths = _split_paths(Path(train), test, valid)
    hints = Hints(format, columns, separator, encoding, header, drop_missing, where, max_bytes)
    check_hints(hints)
    tables = _alike(paths, hints)
    ids = []
    for side in ("users", "items"):
        fields = [getattr(rows, side) for rows, _, _ in tables]
        text = any(side in rows.texts for rows, _, _ in tables)
        ids.append(labels(pa.chunked_array(list(chain.from_iterable(part.chunks for part in fields))), text=text))
    ends = np.cumsum([0, *(len(rows.users) for rows, _, _ in tables)])
    parts = []
    for path, (rows, form, findings), start, stop in zip(paths, tables, ends[:-1], ends[1:], strict=True):
        parts.append(_interactions(path, rows, form, ids[0][start:stop], ids[1][start:stop], min_rating=min_rating))
        report([*findings, *_ratings(path, rows, min_rating)])
    return tuple(in_one_space(parts, ends[:-1].tolist()))


def _split_paths(train: Path, test: str | Path | None, valid: str | Path | None) -> list[Path]:
    if is_folder(train) and test is None:
        found = split_files(train)
        lacking = [part for part in ("train", "test") if part not in found]
        if lacking:
            names = sorted(child.name for child in train.iterdir() if child.is_file())
            what = f"is a folder without a file of the {lacking[0]} part; it holds {listed(names)}"
            raise ReadError(train, f"{what}; name the files one by one")
        return [found[part] for part in ("train", "test", "valid") if part in found]
    if test is None:
        raise InputError(
            Argument("test"), " is None; expected the file of the test part, or a folder as the first argument"
        )
    return [train, Path(test), *([] if valid is None else [Path(valid)])]


def _alike(paths: Sequence[Path], hints: Hints) -> list[tuple[Rows, Format, list[Finding]]]:
    """Read the files of a split in one form: that of the file that shows it, with the names that one of them gives."""
    # once only: a pipe gives nothing twice
    contents = [None if is_folder(path) else read_bytes(path, hints.max_bytes) for path in paths]
    tables = [_read_rows(path, hints, content) for path, content in zip(paths, contents, strict=True)]
    forms = [form for _, form, _ in tables]
    sure = [form for form in forms if not form.doubtful and (form.name in LISTS or not form.also)]
    sure.sort(key=lambda form: form.name not in LISTS)
    model = next(iter([*sure, *(form for form in forms if form.doubtful), *forms]))
    for place, form in enumerate(forms):
        if form.name != model.name and model.name in form.also:
            tables[place] = _read_rows(paths[place], replace(hints, format=model.name), contents[place])
        elif form.doubtful and sure and form.name == model.name:
            rows, _, findings = tables[place]
            tables[place] = rows, form, [finding for finding in findings if finding.argument != "format"]
    named = next((form for _, form, _ in tables if form.header), None)
    if named is None or named.header is None or hints.columns is not None:
        return tables
    for place, (rows, form, _) in enumerate(tables):
        if form.header is None and form.separator == named.separator and rows.n_columns == len(named.header):
            roles = find_roles(named.header, len(named.header), None)
            tables[place] = _read_rows(paths[place], replace(hints, columns=roles, header=False), contents[place])
    return tables


def _ratings(path: Path, rows: Rows, min_rating: float | None) -> list[Finding]:
    """Ask the doctor about ratings that no threshold turns into positives."""
    if rows.ratings is None or min_rating is not None:
        return []
    weights = rows.weights is not None and np.array_equal(rows.weights, rows.ratings, equal_nan=True)
    return doctor.ratings_findings(rows.ratings, f"{path}: the column {rows.rating_name!r}", weights=weights)


def _interactions(
    path: Path, rows: Rows, form: Format, users: np.ndarray, items: np.ndarray, **filters: Any
) -> Interactions:
    min_rating = filters["min_rating"]
    if min_rating is not None and rows.ratings is None:
        threshold = Argument("min_rating")
        if form.name in LISTS:
            what = f" is {min_rating}, but the file is read as {form.name} lists, which have no ratings; leave "
            otherwise = threshold, " out, or pass ", Argument("format"), " if the file has columns"
        else:
            what = f" is {min_rating}, but no column of this {form} file is known as ratings ({rows.columns}); pass "
            otherwise = (Argument("columns", "rating"),)
        raise ReadError(path, threshold, what, *otherwise)
    try:
        # Without a source's name, which the error below has.
        ratings = None if min_rating is None else rows.ratings
        read: Any = {"ratings": ratings, "times": rows.times, "weights": rows.weights}
        result = Interactions.from_pairs(users, items, **read, source="", **filters)
    except ValueError as error:
        raise ReadError(path, str(error)) from error
    account = replace(
        result.report,
        rows_read=result.report.rows_read + rows.missing + rows.elsewhere,
        elsewhere=rows.elsewhere,
        missing=rows.missing,
        source=path.name,
        format=str(form),
        columns=rows.columns,
        ratings="" if rows.ratings is None or min_rating is not None else doctor.ratings_summary(rows.ratings),
        stripped=rows.stripped,
        repeated_headers=rows.repeated_headers,
        comments=rows.comments,
        blank_lines=rows.blank_lines,
        empty_lists=rows.empty_lists,
        zeros=rows.zeros,
    )
    return replace(result, report=account)


def _read_rows(
    path: Path, hints: Hints, content: tuple[bytes, bool] | None = None
) -> tuple[Rows, Format, list[Finding]]:
    """Return the rows of a file, its form, and what should be said about how it was read; None: read it here."""
    if is_folder(path):
        parts_of(path)
        rows, findings = _table_rows(path, parquet_table(path, None, hints.max_bytes), hints)
        return rows, Format("parquet"), findings
    raw, gzipped = read_bytes(path, hints.max_bytes) if content is None else content
    kind = binary_format(path, raw, hints)
    if kind is not None:
        form = Format(kind, gzipped=gzipped)
        if kind == "parquet":
            rows, findings = _table_rows(path, parquet_table(path, raw, hints.max_bytes), hints)
            return rows, form, findings
        _no_columns(path, form, hints)
        rows = read_npz(path, raw, hints.max_bytes)
        rows.weights = rows.ratings
        return rows, form, []
    text = as_text(path, raw, gzipped=gzipped, encoding=hints.encoding, max_line=hints.max_bytes)
    form = text_format(path, text, hints)
    findings: list[Finding] = [*told(path, form)]
    if form.name in (*LISTS, "libsvm", "matrix-market"):
        _no_columns(path, form, hints)
        if form.name == "matrix-market":
            rows = read_matrix_market(path, text)
        elif form.name == "libsvm":
            rows = read_valued_lists(path, text)
        else:
            sure = hints.format is not None or form.doubtful
            rows, more = read_lists(path, text, form, drop_missing=hints.drop_missing, sure=sure)
            findings += more
        rows.weights = rows.ratings
    else:
        rows, more = _table_rows(path, _table(path, text, form, hints), hints)
        findings += more
        rows.blank_lines = count_blank_lines(text.content) - len(text.comments)
    rows.comments = len(text.comments)
    rows.stripped += text.n_marks
    return rows, form, findings


def _table(path: Path, text: Text, form: Format, hints: Hints) -> Table:
    try:
        if form.name == "json-lines":
            return json_table(path, text, hints.columns, hints.where or ())
        return text_table(path, text, form)
    except InputError as error:
        raise error if isinstance(error, ReadError) else ReadError(path, *error.message) from error


def read_titles(path: str | Path) -> dict[str, str]:
    """Read what items are called.

    Parameters
    ----------
    path
        A table with a column of item ids and one of titles, by their names ("movieId", "title", "name", ...), or the
        first two where none is known; text, JSON lines or Parquet, as :func:`read` reads it.

    Returns
    -------
    The title of each item that has one, by the text of its id; of two titles the first.

    Raises
    ------
    ReadError
        If it is no such table.

    Warns
    -----
    buir.errors.AmbiguousFileWarning
        If an item has two titles.
    """
    path = Path(path)
    raw, gzipped = (None, False) if path.is_dir() else read_bytes(path)
    kind = "parquet" if raw is None else binary_format(path, raw, Hints())
    if kind == "parquet":
        table = parquet_table(path, raw)
    elif kind is not None or raw is None:
        raise ReadError(path, f"is read as {kind}, which has no titles; give a table of item ids and titles")
    else:
        text = as_text(path, raw, gzipped=gzipped)
        first = text.content.split(b"\n", 1)[0]
        # as MovieLens writes its oldest files, and not the genres of its later ones
        bars = b"|" in first and not any(mark in first.partition(b"|")[0] for mark in (b"\t", b",", b";", b"::"))
        hints = Hints(separator="|" if bars else None)
        form = text_format(path, text, hints)
        if form.name in (*LISTS, "libsvm", "matrix-market"):
            raise ReadError(path, f"is read as {form.name}, which has no titles; give a table of item ids and titles")
        if form.name == "json-lines":
            with suppress(ValueError):
                places = _title_columns(path, tuple(json.loads(first)), sure=True)
                hints = replace(hints, columns=dict(zip(ROLES, places, strict=False)))
        table = _table(path, text, form, hints)
    header = table.header or tuple(str(field[0].as_py()) for field in table.fields)
    places = _title_columns(path, header, sure=table.header is not None)
    try:
        kept = ~np.logical_or(*map(table.missing, places))
        ids, titles = (present(table.fields[place], kept) for place in places)
        known = label_column(ids, "item", header[places[0]], typed=table.typed, exact=table.exact).field.to_pylist()
    except InputError as error:
        raise ReadError(path, *error.message) from error
    called = [title.strip() for title in pc.cast(titles, pa.string()).to_pylist()]
    found: dict[str, str] = {}
    for item, title in zip(known, called, strict=True):
        found.setdefault(item, title)
    other = [item for item, title in zip(known, called, strict=True) if found[item] != title]
    if other:
        what = f"{path}: {counted(len(set(other)), 'item')} with two titles, such as {other[0]!r}; the first is taken"
        report([AmbiguousFileWarning(f"{what}: leave the others out of the file", argument="titles")])
    return found


def _title_columns(path: Path, header: Sequence[str], *, sure: bool) -> tuple[int, int]:
    """Return the positions of item ids and titles: by name, or the first two where these may be no names."""
    names = [spelled(name) for name in header]
    item, title = (next((names.index(name) for name in NAMES[role] if name in names), None) for role in _TITLED)
    if item is not None and title is not None:
        return item, title
    if len(header) == 2 and item is not None:
        return item, 1 - item
    if len(header) == 2 and title is not None:
        return 1 - title, title
    if len(header) > 1 and item is None and title is None and not sure:
        return 0, 1
    lacks = "item" if item is None else "title"
    what = f"has no column that is known to hold the {lacks}; it has {listed(list(header))}"
    raise ReadError(path, f"{what}: rename the one that does to {lacks!r}")


def _no_columns(path: Path, form: Format, hints: Hints) -> None:
    if hints.columns is not None or hints.where is not None:
        kind = f"{form.name} lists" if form.name in LISTS else f"{form.name}"
        what = f"is read as {kind}, which have no columns; pass "
        raise ReadError(
            path, what, Argument("format"), ", or no ", Argument("where" if hints.columns is None else "columns")
        )


def _table_rows(path: Path, table: Table, hints: Hints) -> tuple[Rows, list[Finding]]:
    """Choose the columns of a table and check them."""
    findings: list[Finding] = []
    kept: np.ndarray | None = None
    """Rows of the table that are read, where not all are."""
    try:
        fields, header = table.fields, table.header
        roles = find_roles(header, len(fields), hints.columns)
        guessed = hints.columns is None and not header
        findings += check_choice(path, header, roles, hints.columns)
        if guessed:
            findings += check_guess(path, roles, fields)
            roles = guess_roles(roles, fields)
        repeated = 0
        if not table.typed:
            again = _names_among(path, table, roles)
            repeated = int(np.count_nonzero(again))
            if repeated:
                kept = ~again
                where = table.line_of(int(np.argmax(again)))
                what = f"{path}, line {where}: the header comes again, {counted(repeated, 'time')} in all"
                remedy = "such rows are left out: take them out of the file to say that this is meant"
                findings.append(AmbiguousFileWarning(f"{what}; {remedy}", argument="header"))
        elsewhere = 0
        if hints.where is not None:
            wanted = rows_where(fields, header, hints.where)
            elsewhere = int(np.count_nonzero(~wanted if kept is None else ~wanted & kept))
            kept = wanted if kept is None else wanted & kept
        gone = {role: table.missing(place) for role, place in roles.items() if role != "weight"}
        n_missing = 0
        if hints.drop_missing:
            whole = ~np.logical_or.reduce(list(gone.values()))
            n_missing = int(np.count_nonzero(~whole if kept is None else ~whole & kept))
            kept = whole if kept is None else whole & kept
            if not np.any(kept):
                what = "holds no row without a missing value; check which columns are read, with "
                raise InputError(what, Argument("columns"))
        chosen = {role: fields[place] for role, place in roles.items()}
        if kept is not None:
            chosen = {role: present(field, kept) for role, field in chosen.items()}
            gone = {role: missing[kept] for role, missing in gone.items()}
        names = header or (None,) * len(fields)
        ids = []
        for role in ("user", "item"):
            name = names[roles[role]]
            exact = {"typed": table.typed, "exact": table.exact, "missing": gone[role]}
            ids.append(label_column(chosen[role], role, name, **exact))
            if not table.typed:
                called = f"the column {name!r}" if name else f"column {roles[role]} (from 0)"
                known: Any = {"named": hints.columns is not None or hints.format is not None, "header": bool(header)}
                check_ids(path, role, called, ids[-1].field, **known)
                findings += _odd_ids(path, table, hints, (role, called), ids[-1].field, kept)
        # between semicolons a comma is the point of a number
        thousands = not table.typed and table.separator != b";"
        rows = Rows(
            ids[0].field,
            ids[1].field,
            rating_column(chosen["rating"], thousands=thousands) if "rating" in roles else None,
            time_column(chosen["time"]) if "time" in roles else None,
            weight_column(chosen["weight"], thousands=thousands) if "weight" in roles else None,
            columns=describe_roles(roles, header, guessed=guessed),
            rating_name=str(names[roles["rating"]] or roles["rating"]) if "rating" in roles else "",
            texts=frozenset(
                side for side, role in (("users", "user"), ("items", "item")) if table.typed and is_text(chosen[role])
            ),
            elsewhere=elsewhere,
            missing=n_missing,
            stripped=table.stripped + ids[0].stripped + ids[1].stripped,
            repeated_headers=repeated,
            n_columns=len(fields),
        )
    except InputError as error:
        if isinstance(error, ReadError):
            raise
        row = int(error.rows[0]) if error.rows.size else None
        if row is not None and kept is not None:
            row = int(np.flatnonzero(kept)[row])
        line = None if row is None else table.line_of(row)
        raise ReadError(path, *error.message, line=line, row=row) from error
    if rows.stripped:
        findings += _merged_by_blanks(path, table, roles, kept, rows)
    return rows, findings


def _odd_ids(
    path: Path, table: Table, hints: Hints, column: tuple[str, str], field: pa.ChunkedArray, kept: np.ndarray | None
) -> list[Finding]:
    """Warn of the one id that is no number among numbers, as of a row of totals, and of ids that look like lists."""
    found: list[Finding] = []
    role, called = column
    if hints.columns is None and (row := odd_one(field, header=bool(table.header))) is not None:
        line = table.line_of(row if kept is None else int(np.flatnonzero(kept)[row]))
        what = (
            f"{path}, line {line}: {field[row].as_py()!r} is read as {'an' if role == 'item' else 'a'} {role}, and all"
        )
        what += " others are numbers; take the line out if it holds no pair, or pass "
        found.append(AmbiguousFileWarning(what, Argument("columns", role)))
    if hints.format is None and (value := listed_values(field, header=bool(table.header))) is not None:
        what = (
            f"{path}: {called} is read as the {role}, but values such as {shortened(repr(value))} may be lists; pass "
        )
        otherwise = " if each line is a user and then items, else the format that it has"
        found.append(AmbiguousFileWarning(what, Argument("format", "adjacency"), otherwise))
    return found


def _merged_by_blanks(
    path: Path, table: Table, roles: Mapping[str, int], kept: np.ndarray | None, rows: Rows
) -> list[Finding]:
    """Warn if taking blanks away makes two labels one."""
    found: list[Finding] = []
    if table.exact:
        return found
    for role, field in (("user", rows.users), ("item", rows.items)):
        before = table.fields[roles[role]]
        before = before if kept is None else present(before, kept)
        fewer = pc.count_distinct(before).as_py() - pc.count_distinct(field).as_py()
        if fewer > 0:
            what = f"{path}: blanks around the id alone tell {counted(fewer, role)} from others, and are not read"
            remedy = "; write such ids in quotes, with commas between columns, if they are others"
            found.append(AmbiguousFileWarning(f"{what}{remedy}", argument=role))
    return found


def _names_among(path: Path, table: Table, roles: Mapping[str, int]) -> np.ndarray:
    """Return which rows repeat the header, as where files are joined; other names among rows are a ReadError."""
    user, item = table.fields[roles["user"]], table.fields[roles["item"]]
    again = np.zeros(len(user), dtype=bool)
    if table.raw_header:
        again = _is(user, table.raw_header[roles["user"]])
        if again.any():
            for field, name in zip(table.fields, table.raw_header, strict=True):
                again &= _is(field, name)
    known = [
        pa.array([f"{name}{kind}" for name in NAMES[role] for kind in ("", ":token")]) for role in ("user", "item")
    ]
    for one, other in (known, known[::-1]):
        strange = pc.is_in(pc.utf8_lower(user), value_set=one).to_numpy() & ~again
        if strange.any():
            strange &= pc.is_in(pc.utf8_lower(item), value_set=other).to_numpy()
        if strange.any():
            row = int(np.argmax(strange))
            came = f"holds the names {user[row].as_py()!r} and {item[row].as_py()!r} in the place of ids"
            if row == 0 and not table.raw_header:
                raise ReadError(path, f"{came}; pass ", Argument("header", True), line=table.line_of(row))
            remedy = "take the lines before it out, or, if files with other columns were joined, read them one by one"
            raise ReadError(path, f"{came}; {remedy}", line=table.line_of(row))
    return again


def _is(field: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return which values are a name of the header, which the start of a file may have marked as its own."""
    trimmed = pc.utf8_trim(field, " \t\r\ufeff")
    return pc.equal(trimmed, name).to_numpy()
