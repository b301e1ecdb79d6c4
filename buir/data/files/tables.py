"""Tables as columns: text with separators, quoted or not, with a header or not; JSON lines; Parquet, in parts too."""

import csv
import io
import json
import re
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from buir.data.files.columns import MISSING, find_roles, missing_values, position
from buir.data.files.formats import Format
from buir.data.files.text import Text, check_size, fields_of, quoted_rows
from buir.errors import Argument, InputError, ReadError, counted, listed, near, one_line, shortened

pc: Any = pyarrow.compute  # its functions are made at import, which type checkers do not see

_UNIT = b"\x1f"
"""Stands in for separators of several bytes, as the parser wants one; no text holds it."""
_SAMPLE = 1000
"""Lines of JSON whose keys and types are looked at."""
_VALUE = 4
"""Bytes that a value of a Parquet file takes at least, about."""
_MOST = 0.6
"""Share of lines of one width beyond which the first line may be wrong and not the others."""
_THREADED = 1 << 20
"""Bytes from which several threads pay; those of a process that ends at once may abort it."""

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
"""Types of Thrift's compact protocol; 4 to 6 are integers."""
_ROW_GROUPS, _COLUMNS, _BYTES, _ABOUT, _VALUES = 4, 1, 2, 3, 5
"""Numbers of the fields that count: of the file, a group of rows (twice), a column, and what is said of that."""


@dataclass
class Table:
    """Columns of one file, of as many rows each."""

    fields: list[pa.ChunkedArray]
    header: tuple[str, ...] | None
    typed: bool = False
    """Whether the file itself says what is a number, what is text and what is missing."""
    exact: bool = False
    """Whether blanks around a value belong to it, as those that do not are already gone."""
    stripped: int = 0
    """Values that had blanks around them, where these are already gone."""
    text: bytes | None = None
    """What the rows were read from, in which lines can be counted; None where there are no lines."""
    separator: bytes = b""
    raw_header: tuple[str, ...] = ()
    """The first row, where it is no pair."""

    def line_of(self, row: int) -> int | None:
        """Return the number, from 1, of the line that holds a row, from 0; slow, for messages."""
        if self.text is None:
            return None
        lines = _starts(self.text, self.separator, quoted=self.exact)
        return next((number for place, number in enumerate(lines) if place == row + bool(self.raw_header)), None)

    def missing(self, column: int) -> np.ndarray:
        """Return which values of a column are missing; in quotes "None" is a name."""
        gone = missing_values(self.fields[column], typed=self.typed)
        if not self.exact or self.text is None or not gone.any():
            return gone
        skip = _first_line(self.text) * bool(self.raw_header)
        table = _parse(self.text, self.separator, len(self.fields), skip=skip, nulls=True, quoted=self.exact)
        unquoted = pc.is_null(table.columns[column]).to_numpy()
        return unquoted | (gone & pc.equal(self.fields[column], "").to_numpy())


def text_table(path: Path, text: Text, form: Format) -> Table:
    """Return every column of a text file as strings.

    Raises
    ------
    ReadError
        If lines differ in their number of columns, a quote is never closed, or there is no row.
    """
    content, separator = text.content, form.separator
    quoted = form.quoted and b'"' in content
    if separator == b" " and quoted:
        content = re.sub(rb'("(?:[^"]|"")*"(?=\s|$))|^[ \t]+|[ \t]+(?=\r?$)', rb"\1", content, flags=re.M)
        content = re.sub(rb'("(?:[^"]|"")*"(?=\s|$))|[ \t]+', lambda match: match[1] or b" ", content)
    elif form.name == "space":
        if content[:1] == b" " or content[-1:] == b" " or any(edge in content for edge in (b"\n ", b" \n", b" \r")):
            content = re.sub(rb"^[ \t]+|[ \t]+(?=\r?$)", b"", content, flags=re.M)
        if b"  " in content or b"\t" in content:
            content = re.sub(rb"[ \t]+", b" ", content)
    elif b"\n " in content:
        content = re.sub(rb"^ +(?=\r?$)", b"", content, flags=re.M)  # lines of blanks are blank
    if len(separator) > 1:
        if _UNIT in content:
            line = content.count(b"\n", 0, content.index(_UNIT)) + 1
            what = "holds the control character 0x1f, which cannot be told from the separator of several letters"
            raise ReadError(path, f"{what}; take it out", line=line)
        content, separator = content.replace(separator, _UNIT), _UNIT
    stripped = 0
    if quoted:
        _check_quotes(path, content, separator)
        if separator != b" ":
            content, stripped = _without_blanks(content, separator)
    first = _first_line(content)
    line = content.split(b"\n", first)[first - 1].removesuffix(b"\r")
    n_columns = len(form.raw_header) or len(fields_of(line, separator, quoted=form.quoted))
    try:
        table = _parse(content, separator, n_columns, skip=first * bool(form.raw_header), quoted=form.quoted)
    except pa.ArrowInvalid as error:
        raise _ragged(path, content, form, separator, error) from error
    if not table.num_rows:
        raise ReadError(path, "holds a header and no rows; give a file with interactions")
    return Table(table.columns, form.header, False, quoted, stripped, content, separator, form.raw_header)


def json_table(path: Path, text: Text, columns: Mapping[str, str | int] | None, further: Collection[str] = ()) -> Table:
    """Return the columns of a file with one JSON object on each line; those without a role hold nothing.

    ``further`` names others that are read.

    Raises
    ------
    ReadError
        If a line is no object, or a key holds numbers in one line and text in another.
    """
    types: dict[str, set[type]] = {}
    for place, (number, line) in enumerate(_filled(text.content)):
        if place == _SAMPLE:
            break
        try:
            values = json.loads(line)
        except ValueError as error:
            raise ReadError(path, f"holds no JSON object ({error}); correct the line", line=number) from error
        if not isinstance(values, dict):
            raise ReadError(
                path, "holds no JSON object; expected one on each line, with a user and an item", line=number
            )
        for name, value in values.items():
            types.setdefault(name, set()).update(() if value is None else (type(value),))
    header = tuple(types)
    needed = {header[place] for place in find_roles(header, len(header), columns).values()} | set(further)
    schema = pa.schema([(name, _json_type(path, name, types[name])) for name in header if name in needed])
    block = max(1 << 24, 2 * _longest_line(text.content))
    try:
        table = pa_json.read_json(
            pa.BufferReader(text.content),
            read_options=pa_json.ReadOptions(
                use_threads=len(text.content) > _THREADED, block_size=min(block, (1 << 31) - 1)
            ),
            parse_options=pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid as error:
        remedy = "correct the line, or pass the frame of pandas.read_json(file, lines=True)"
        raise ReadError(path, f"cannot be read as JSON lines ({one_line(error)}); {remedy}") from error
    nothing = pa.chunked_array([pa.nulls(table.num_rows)])
    fields = [table.column(name) if name in needed else nothing for name in header]
    return Table(fields, header, typed=True, text=text.content)


def parquet_table(path: Path, raw: bytes | None, max_bytes: int | None = None) -> Table:
    """Return names and columns of a Parquet file, or of the files in a folder where ``raw`` is None.

    What the file says that it holds is compared with ``max_bytes``, see :func:`buir.data.files.text.read_bytes`, before
    memory is taken.

    Raises
    ------
    ReadError
        If it is damaged or has no rows, or files have different columns.
    """
    try:
        if raw is None:
            table = _parts(path, max_bytes)
        else:
            check_size(path, _unpacked(pa.BufferReader(raw)), max_bytes, "unpacks to")
            table = pq.read_table(pa.BufferReader(raw))
        table.validate(full=True)  # text that is no UTF-8, and all else that would reach compiled code
    except (pa.ArrowException, OSError, FooterError) as error:
        raise ReadError(path, f"is a damaged Parquet file ({one_line(error)}); write it again") from error
    if not table.num_rows:
        raise ReadError(path, "holds columns and no rows; give a file with interactions")
    return Table(table.columns, tuple(table.column_names), typed=True)


def count_blank_lines(text: bytes) -> int:
    """Return how many lines hold nothing."""
    ends = np.flatnonzero(np.frombuffer(text.replace(b"\r", b""), dtype=np.uint8) == ord("\n"))
    return int(np.count_nonzero(np.diff(ends, prepend=-1) == 1))


def _unpacked(source: pa.NativeFile) -> int:
    """Bytes that the columns of a file take at least: a few of them can stand for a billion values."""
    pq.read_metadata(source)  # raises if it is no Parquet file, or its footer not whole
    source.seek(source.size() - 8)
    source.seek(source.size() - 8 - int.from_bytes(source.read(4), "little"))
    n_values, n_bytes = declared(source.read())
    return max(_VALUE * n_values, n_bytes)


class FooterError(ValueError):
    """A footer that Arrow reads and that does not say what it must."""


def declared(tail: bytes) -> tuple[int, int]:
    """Return how many values the columns of a Parquet file have, and how many bytes it says that its rows take.

    The footer is read by hand: Arrow's ``FileMetaData.row_group(0).column(0)`` ends the process where statistics do not
    fit the type of their column. Its readers raise an error there.

    Parameters
    ----------
    tail
        The end of a file, with the whole footer in it.

    Raises
    ------
    FooterError
        If the footer is not what it should be.
    """
    size = int.from_bytes(tail[-8:-4], "little")
    try:
        groups = _Footer(tail[-8 - size : -8]).fields()[_ROW_GROUPS]
        values = sum(column[_ABOUT][_VALUES] for group in groups for column in group[_COLUMNS])
        return values, sum(group[_BYTES] for group in groups)
    except (KeyError, TypeError, IndexError, RecursionError, struct.error) as error:
        msg = f"its footer cannot be read: {one_line(error)}"
        raise FooterError(msg) from error


class _Footer:
    """Reads one value of Thrift's compact protocol after another."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def fields(self) -> dict[int, Any]:
        """Read a struct: its values by the numbers of their fields."""
        found, number = {}, 0
        while (head := self._byte()) != _STOP:
            step, kind = head >> 4, head & 15
            number = number + step if step else self._integer()
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            size = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15) for _ in range(size)]
        if kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(size)]
        if kind == _STRUCT:
            return self.fields()
        msg = f"{kind} is no type"
        raise TypeError(msg)

    def _byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def _take(self, size: int) -> bytes:
        if size > len(self.content) - self.place:
            msg = "a text goes beyond the end"
            raise IndexError(msg)
        self.place += size
        return self.content[self.place - size : self.place]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _longest_line(content: bytes) -> int:
    ends = np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == ord("\n"))
    return int(np.diff(ends, prepend=-1, append=len(content)).max())


def _parts(folder: Path, max_bytes: int | None) -> pa.Table:
    """Read the Parquet files below a folder, in the order of their names; keys in folder names are columns."""
    from pyarrow import dataset  # slow to import, seldom needed

    files = [
        file
        for file in sorted(folder.rglob("*.parquet"))
        if file.is_file() and not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    ]
    check_size(folder, sum(_unpacked(pa.OSFile(str(file))) for file in files), max_bytes, "unpacks to")
    names = [set(pq.read_schema(file).names) for file in files]
    for file, found in zip(files, names, strict=True):
        if found != names[0]:
            what = f"has the columns {listed(sorted(found))}, but {files[0].name} has {listed(sorted(names[0]))}"
            raise ReadError(file, f"{what}; expected the same in all parts: read them one by one")
    return dataset.dataset(
        [str(file) for file in files], format="parquet", partitioning="hive", partition_base_dir=str(folder)
    ).to_table()


def _json_type(path: Path, name: str, types: set[type]) -> pa.DataType:
    known = {
        frozenset({int}): pa.int64(),
        frozenset({str}): pa.string(),
        frozenset(): pa.null(),
        frozenset({bool}): pa.bool_(),
    }
    if types & {list, dict}:
        what = f"holds {'lists' if list in types else 'objects'} for {name!r}, expected one value"
        raise ReadError(path, f"{what}; make a row of each (in pandas .explode or json_normalize) and write these")
    kind = pa.float64() if types in ({float}, {int, float}) else known.get(frozenset(types))
    if kind is None:
        came = " and ".join(
            sorted({int: "numbers", float: "numbers", str: "text"}.get(t, "true and false") for t in types)
        )
        raise ReadError(path, f"holds {came} for {name!r}, expected one kind of value; write all of them as text")
    return kind


def _parse(
    content: bytes, separator: bytes, n_columns: int, *, quoted: bool, skip: int = 0, nulls: bool = False
) -> pa.Table:
    """Cut text into columns of strings; with ``nulls``, unquoted words that say that a value is missing are none."""
    names = [str(place) for place in range(n_columns)]
    in_quotes = quoted and b'"' in content
    # a value in quotes may have lines of its own
    block = max(1 << 20, len(content) if in_quotes and len(content) < _THREADED << 6 else 2 * _longest_line(content))
    return pa_csv.read_csv(
        pa.BufferReader(content),
        # leading blank lines count as rows to skip
        read_options=pa_csv.ReadOptions(
            column_names=names,
            skip_rows_after_names=skip,
            use_threads=len(content) > _THREADED,
            block_size=min(block, (1 << 31) - 1),
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=separator.decode(),
            quote_char='"' if quoted else False,
            newlines_in_values=in_quotes,
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=list(MISSING),
            strings_can_be_null=nulls,
            quoted_strings_can_be_null=False,
        ),
    )


def _check_quotes(path: Path, content: bytes, separator: bytes) -> None:
    """Make sure that every quote that opens a value closes it; a ReadError names the line where one does not."""
    data = np.frombuffer(b"\n" + content + b"\n", dtype=np.uint8)
    quotes = np.flatnonzero(data == ord('"'))
    edges = np.zeros(256, dtype=bool)
    edges[[ord(separator), ord("\n"), ord("\r"), ord('"')]] = True
    if len(quotes) % 2 == 0 and edges[data[quotes[::2] - 1]].all() and edges[data[quotes[1::2] + 1]].all():
        breaks = np.flatnonzero(data == ord("\n"))
        if np.array_equal(np.searchsorted(breaks, quotes[::2]), np.searchsorted(breaks, quotes[1::2])):
            return  # all in pairs around whole values, or doubled, each pair on one line
    before, width = 0, 0
    remedy = "close it, double the quotes within a value, or pass the frame that pandas.read_csv makes of the file"
    try:
        for last, row in quoted_rows(content, separator, strict=True):
            width = width or len(row)
            for lines in (field.split("\n")[1:-1] for field in row if "\n" in field):
                if any(len(fields_of(line.encode(), separator, quoted=True)) == width for line in lines):
                    what = f"opens a quote that closes at line {last}, over lines that look like rows; {remedy}"
                    raise ReadError(path, what, line=before + 1)
            before = last
    except csv.Error as error:
        what = f"opens a quote that never closes, or closes within a value ({error}); {remedy}"
        raise ReadError(path, what, line=before + 1) from error


def _without_blanks(content: bytes, separator: bytes) -> tuple[bytes, int]:
    """Take blanks away around values, those within quotes excepted; return the text and how many values had some."""
    mark, blank = re.escape(separator), rb"[ ]" if separator == b"\t" else rb"[ \t]"
    if not re.search(rb"%b(?:%b|\r?\n|$)|(?:%b|\n|^)%b" % (blank, mark, mark, blank), content):
        return content, 0
    count = 0

    def bare(match: re.Match[bytes]) -> bytes:
        nonlocal count
        before, value, after = match.groups()
        count += bool(before or after)
        return value

    value = rb'(?<![^\n%b])(%b*)("(?:[^"]|"")*"|[^%b\r\n]*?)(%b*)(?=%b|\r?\n|\r?\Z)'
    return re.sub(value % (mark, blank, mark, blank, mark), bare, content), count


def _first_line(content: bytes) -> int:
    """Return the number, from 1, of the first line that is not blank."""
    return next(_filled(content))[0]


def _starts(content: bytes, separator: bytes, *, quoted: bool) -> Iterator[int]:
    """Numbers, from 1, of the lines in which rows begin."""
    if not quoted:
        yield from (number for number, _ in _filled(content))
        return
    before = 0
    for last, row in quoted_rows(content, separator):
        if row:
            yield before + 1
        before = last


def _filled(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1."""
    for number, line in enumerate(io.BytesIO(text), start=1):
        filled = line.removesuffix(b"\n").removesuffix(b"\r")
        if filled:
            yield number, filled


def _ragged(path: Path, text: bytes, form: Format, separator: bytes, error: Exception) -> ReadError:
    """Find the line the parser stumbled over; slow, and only on the way to an error."""
    sizes = [(number, len(fields_of(line, separator, quoted=form.quoted))) for number, line in _filled(text)]
    first = len(form.raw_header) or sizes[0][1]
    usual, count = Counter(size for _, size in sizes).most_common(1)[0]
    most = usual > 1 and count > _MOST * len(sizes)
    expected, where = (usual, "most lines") if most and usual != first else (first, "the first line")
    for number, found in sizes:
        if found != expected:
            what = f"has {counted(found, 'column')}, expected {expected} as in {where}"
            lists = Argument("format", "adjacency"), " or ", Argument("format", "counted"), " if the lines are lists"
            return ReadError(path, f"{what}; correct it, or pass ", *lists, line=number)
    return ReadError(path, f"cannot be read as columns ({one_line(error)}); pass ", Argument("format"))


_SHOWN = 10

Where = Mapping[str, str | Sequence[str]]
"""By column, a name or a position from 0: the value, or the values, of the rows that are kept."""


def rows_where(fields: Sequence[pa.ChunkedArray], header: Sequence[str] | None, where: Where) -> np.ndarray:
    """Return which rows have one of the values in every column named, bool; values are compared as text, unquoted.

    Raises
    ------
    InputError
        If a column is not there, or no row has one of its values: it is misspelt.
    """
    kept = np.ones(len(fields[0]), dtype=bool)
    for column, values in where.items():
        if header and column in header:
            place = list(header).index(column)
        elif (number := position(column, len(fields))) is not None:
            place = number
        else:
            there = (
                f"it has {shortened(', '.join(header))}" if header else f"it has {len(fields)} columns and names none"
            )
            guess = near(column, header) if header else ""
            came = f" names the column {shortened(repr(column))}{guess}; {there}; name one of them"
            raise InputError(Argument("where"), came)
        field = fields[place]
        field = pc.cast(field, field.type.value_type) if pa.types.is_dictionary(field.type) else field
        try:
            text = pc.utf8_trim_whitespace(pc.cast(field, pa.string()))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            came = f" names the column {shortened(repr(column))}, which holds {shortened(field.type)}"
            raise InputError(Argument("where"), f"{came}; expected text or numbers: write it as text") from error
        for value in [values] if isinstance(values, str) else values:
            if not pc.any(pc.equal(text, value)).as_py():
                found = [str(one) for one in pc.unique(text).to_pylist() if one is not None]
                more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
                came = f" is {column}={value}, which no row has{near(value, found[:1000])}"
                raise InputError(Argument("where"), f"{came}; the column holds {', '.join(found[:_SHOWN])}{more}")
        wanted = pa.array([values] if isinstance(values, str) else list(values), type=pa.string())
        kept &= pc.is_in(text, value_set=wanted).to_numpy()
    if not kept.any():
        raise InputError(Argument("where"), " leaves no row: none has all of these values; ask for fewer columns")
    return kept
