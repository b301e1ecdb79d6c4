"""Files of interactions: counted lists, adjacency lists, columns of text, RecBole's atomic files, Parquet; gzip or not.

Nothing is repaired silently: what is skipped or merged is counted in the report, everything else that is odd is a
:class:`~buir.errors.ReadError` that names file, line and remedy.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from buir.data.files.columns import (
    Rows,
    describe_roles,
    find_roles,
    guess_roles,
    label_column,
    labels,
    rating_column,
    time_column,
)
from buir.data.files.formats import Format, detect_format
from buir.data.files.lists import read_lists
from buir.data.files.tables import count_blank_lines, line_of_row, parquet_columns, text_columns
from buir.data.interactions import Interactions
from buir.errors import Argument, InputError, ReadError


def read(
    path: str | Path,
    *,
    format: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    min_rating: float | None = None,
    min_user: int = 0,
    min_item: int = 0,
    core: int = 0,
) -> Interactions:
    """Read one file of interactions.

    Parameters
    ----------
    path
        The file; gzip is unpacked.
    format
        One of :data:`FORMATS`; None detects it.
    columns
        Which column holds "user", "item", "rating" and "time": name, or position from 0.  None goes by the header, or
        takes user and item first.  If given, rating and time are read only where it names them.
    min_rating, min_user, min_item, core
        Filters, see :meth:`buir.data.interactions.Interactions.from_pairs`.

    Returns
    -------
    Interactions whose labels are int64 if every one in the file is a canonical integer, else str.

    Raises
    ------
    ReadError
        If the file cannot be read as interactions, or the filters leave nothing.
    """
    path = Path(path)
    rows, form = _read_rows(path, format, columns)
    filters = {"min_rating": min_rating, "min_user": min_user, "min_item": min_item, "core": core}
    return _interactions(path, rows, form, labels(rows.users), labels(rows.items), **filters)


def read_split(
    train: str | Path,
    test: str | Path,
    *,
    format: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    min_rating: float | None = None,
) -> tuple[Interactions, Interactions]:
    """Read a published split: two files of one format, with one space of labels.

    Users and items are numbered by first appearance, train first.  Positions of test continue those of train.  A pair
    in both files is in both results; :func:`buir.data.splits.given_split` drops it from test.

    Parameters
    ----------
    train, test
        The files.
    format, columns, min_rating
        As in :func:`read`, for both.
    """
    paths = (Path(train), Path(test))
    tables = [_read_rows(path, format, columns) for path in paths]
    fields = ([getattr(rows, side) for rows, _ in tables] for side in ("users", "items"))
    ids = [labels(pa.chunked_array(list(chain.from_iterable(part.chunks for part in both)))) for both in fields]
    cut = len(tables[0][0].users)
    parts = [
        _interactions(path, rows, form, ids[0][side], ids[1][side], min_rating=min_rating)
        for path, (rows, form), side in zip(paths, tables, (slice(cut), slice(cut, None)), strict=True)
    ]
    spaces = [pd.unique(np.concatenate([getattr(part, side) for part in parts])) for side in ("user_ids", "item_ids")]
    given_train, given_test = (part.aligned(spaces[0], spaces[1]) for part in parts)
    return given_train, replace(given_test, positions=given_test.positions + cut)


def _interactions(
    path: Path, rows: Rows, form: Format, users: np.ndarray, items: np.ndarray, **filters: Any
) -> Interactions:
    min_rating = filters["min_rating"]
    if min_rating is not None and rows.ratings is None:
        threshold = Argument("min_rating")
        if form.name in ("counted", "adjacency"):
            what = f" is {min_rating}, but the file is read as {form.name} lists, which have no ratings; leave "
            otherwise = threshold, " out, or pass ", Argument("format"), " if the file has columns"
        else:
            what = f" is {min_rating}, but no column of this {form} file is known as ratings ({rows.columns}); pass "
            otherwise = (Argument("columns", "rating"),)
        raise ReadError(path, threshold, what, *otherwise)
    try:
        # Without a source's name, which the error below has.
        result = Interactions.from_pairs(users, items, ratings=rows.ratings, times=rows.times, source="", **filters)
    except ValueError as error:
        raise ReadError(path, str(error)) from error
    report = replace(
        result.report,
        source=path.name,
        format=str(form),
        columns=rows.columns,
        blank_lines=rows.blank_lines,
        empty_lists=rows.empty_lists,
    )
    return replace(result, report=report)


def _read_rows(path: Path, format: str | None, columns: Mapping[str, str | int] | None) -> tuple[Rows, Format]:
    form = detect_format(path, format=format)
    if form.name in ("counted", "adjacency"):
        if columns is not None:
            what = f"is read as {form.name} lists, which have no columns; pass "
            raise ReadError(path, what, Argument("format"), ", or no ", Argument("columns"))
        return read_lists(path, form), form
    if form.name == "parquet":
        (header, fields), text = parquet_columns(path), None
    else:
        header, (fields, text) = form.header, text_columns(path, form)
    try:
        roles = find_roles(header, len(fields), columns)
        guessed = columns is None and not header
        if guessed:
            roles = guess_roles(roles, fields)
        names = header or (None,) * len(fields)
        rows = Rows(
            label_column(fields[roles["user"]], "user", names[roles["user"]]),
            label_column(fields[roles["item"]], "item", names[roles["item"]]),
            rating_column(fields[roles["rating"]]) if "rating" in roles else None,
            time_column(fields[roles["time"]]) if "time" in roles else None,
            columns=describe_roles(roles, header, guessed=guessed),
        )
    except InputError as error:
        row = int(error.rows[0]) if error.rows.size else None
        line = None if row is None or text is None else line_of_row(text, row, has_header=bool(header))
        raise ReadError(path, *error.message, line=line, row=row) from error
    if text is not None:
        rows.blank_lines = count_blank_lines(text)
    return rows, form
