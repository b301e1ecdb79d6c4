"""Tables as columns: text with separators, quoted or not, with a header or not, and Parquet."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from buir.data.files.formats import Format, check_text, read_bytes
from buir.errors import Argument, ReadError

_UNIT = b"\x1f"
"""Stands in for "::", as the parser wants one byte; no text holds it."""


def text_columns(path: Path, form: Format) -> tuple[list[pa.ChunkedArray], bytes]:
    """Return every column of a text file as strings, and the text itself, in which lines can be counted.

    Raises
    ------
    ReadError
        If lines differ in their number of columns, the text is not UTF-8, or there is no row.
    """
    text, _ = read_bytes(path)
    separator = form.separator
    if form.name == "space":
        if text[:1] == b" " or text[-1:] == b" " or any(edge in text for edge in (b"\n ", b" \n", b" \r")):
            text = re.sub(rb"^[ \t]+|[ \t]+(?=\r?$)", b"", text, flags=re.M)
        if b"  " in text or b"\t" in text:
            text = re.sub(rb"[ \t]+", b" ", text)
    elif form.name == "double-colon":
        separator = _UNIT
        text = text.replace(b"::", separator)
    first, line = next(_filled(text))
    names = [str(place) for place in range(len(_fields(line, separator)))]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            # leading blank lines count as rows to skip
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows_after_names=first if form.header else 0),
            parse_options=pa_csv.ParseOptions(
                delimiter=separator.decode(), quote_char='"' if separator in (b",", b";") else False
            ),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid as error:
        check_text(path, text)
        raise _ragged(path, text, separator, len(names), error) from error
    if not table.num_rows:
        raise ReadError(path, "holds a header and no rows; give a file with interactions")
    return table.columns, text


def parquet_columns(path: Path) -> tuple[tuple[str, ...], list[pa.ChunkedArray]]:
    """Return names and columns of a Parquet file.

    Raises
    ------
    ReadError
        If it is damaged or has no rows.
    """
    raw, _ = read_bytes(path)
    try:
        table = pq.read_table(pa.BufferReader(raw))
    except (pa.ArrowInvalid, OSError) as error:
        raise ReadError(path, f"is a damaged Parquet file ({error}); write it again") from error
    if not table.num_rows:
        raise ReadError(path, "holds columns and no rows; give a file with interactions")
    return tuple(table.column_names), table.columns


def line_of_row(text: bytes, row: int, *, has_header: bool) -> int:
    """Return the number, from 1, of the line that holds a row, from 0; slow, for messages."""
    return next(number for place, (number, _) in enumerate(_filled(text)) if place == row + has_header)


def count_blank_lines(text: bytes) -> int:
    """Return how many lines hold nothing."""
    ends = np.flatnonzero(np.frombuffer(text.replace(b"\r", b""), dtype=np.uint8) == ord("\n"))
    return int(np.count_nonzero(np.diff(ends, prepend=-1) == 1))


def _filled(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1."""
    for number, line in enumerate(io.BytesIO(text), start=1):
        filled = line.removesuffix(b"\n").removesuffix(b"\r")
        if filled:
            yield number, filled


def _fields(line: bytes, separator: bytes) -> list[str]:
    quoting = csv.QUOTE_MINIMAL if separator in (b",", b";") else csv.QUOTE_NONE
    return next(csv.reader([line.decode(errors="replace")], delimiter=separator.decode(), quoting=quoting))


def _ragged(path: Path, text: bytes, separator: bytes, n_columns: int, error: Exception) -> ReadError:
    """Find the line the parser stumbled over; slow, and only on the way to an error."""
    for number, line in _filled(text):
        found = len(_fields(line, separator))
        if found != n_columns:
            what = f"has {found} columns, expected {n_columns} as in the first line"
            lists = Argument("format", "adjacency"), " or ", Argument("format", "counted"), " if the lines are lists"
            return ReadError(path, f"{what}; correct it, or pass ", *lists, line=number)
    return ReadError(path, f"cannot be read as columns ({error}); pass ", Argument("format"))
