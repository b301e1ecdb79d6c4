"""The bytes of a file, the text in them and its fields: gzip, encodings, line ends, comments, separators and quotes."""

import codecs
import csv
import errno
import gzip
import io
import os
import re
import select
import stat
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buir.errors import AmbiguousFileWarning, Argument, InputError, ReadError, listed, near, report, shortened

SEPARATORS = {"comma": b",", "semicolon": b";", "tab": b"\t", "double-colon": b"::", "space": b" ", "recbole": b"\t"}

_QUOTED = (b",", b";")
"""Separators of files in which quotes hold a value together; elsewhere they are letters, if nothing shows otherwise."""
_WITH_BLANKS = re.compile(r'"(?:[^"]|"")*"(?=\s|$)|\S+', re.ASCII)
_REFUSED = {
    b"BZh": "is a bzip2 archive; unpack it first (only gzip is read as it is)",
    b"\xfd7zXZ": "is an xz archive; unpack it first (only gzip is read as it is)",
    b"(\xb5/\xfd": "is a zstd archive; unpack it first (only gzip is read as it is)",
    b"7z\xbc\xaf": "is a 7z archive; unpack it first (only gzip is read as it is)",
    b"\x93NUMPY": "is an array of NumPy; write pairs as CSV, or a sparse matrix with scipy.sparse.save_npz",
    b"\x89HDF": "is an HDF5 file; export the interactions as CSV or Parquet",
    b"ARROW1": "is a Feather file; write it as Parquet: pandas.read_feather(file).to_parquet(...)",
    b"SQLite format 3": "is a database of SQLite; export the table of interactions as CSV",
    b"version https://git-lfs": "is a pointer of Git LFS and not the file that it stands for; fetch that: git lfs pull",
    b"\x80\x04": "is a pickle, which may run any code when opened; export the interactions as CSV or Parquet",
    b"\x80\x05": "is a pickle, which may run any code when opened; export the interactions as CSV or Parquet",
    b"\xd0\xcf\x11\xe0": "is a workbook of Excel; save the sheet as CSV",
}
"""How files begin that hold no text that could be read, and what to do about them."""
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LARGEST = 1 << 33
"""Bytes of a file, unpacked, that are read without being asked for."""
_LARGEST_PIPED = 1 << 30
"""Of a pipe, which may never end."""
_UNPACKED_FREELY, _UNPACKED_TIMES = 1 << 26, 100
"""Bytes that any gzip may unpack to, and how many times its own size a large one may: tables come to about ten."""
_LONGEST_LINE = 1 << 24
_PATIENCE = 60.0
"""Seconds that a pipe may say nothing."""
_CHUNK = 1 << 20
_SAMPLE = 1 << 16
_MARKS = "\u2018\u2019\u201c\u201d\u2013\u2014\u2026\u20ac\u00ab\u00bb"
"""Quotes, dashes and the like, of Western text."""
_COMMENT = re.compile(rb"^(?:#(?=[\s#]|$)|%(?=[\s%]|$)).*$", re.MULTILINE)
"""A line with one of the marks alone: "#tag" may be an id."""
_EXCEL = re.compile(rb"sep=.(?=\r?\n)")
"""A line that Excel writes on top of columns."""
_LEADING = re.compile(rb"\s*(?:#(?=[\s#]|$)|%(?=[\s%]|$))")


@dataclass(frozen=True)
class Text:
    """The content of a text file, ready to be cut into lines."""

    content: bytes
    """UTF-8 without byte order mark; lines end in ``\\n`` or ``\\r\\n``, and comments are blank lines."""
    gzipped: bool = False
    encoding: str = ""
    """The encoding it came in; empty for UTF-8."""
    comments: tuple[bytes, ...] = ()
    """Lines of comment, marks included."""
    n_marks: int = 0
    """Byte order marks taken away from the start of later lines, as where files are joined."""


def read_bytes(path: Path, max_bytes: int | None = None) -> tuple[bytes, bool]:
    """Return the content of a file or of a pipe, unpacked, and whether it was gzipped.

    Parameters
    ----------
    path
        Of the file, or of a pipe, such as ``/dev/stdin``.
    max_bytes
        How much it may hold, unpacked.  None: 8 GiB, a pipe 1 GiB, and a gzip 64 MiB or a hundred times its own size.

    Raises
    ------
    ReadError
        If there is no such file, it may not be read, it is too large, or it is damaged or of a kind that is not read.
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISFIFO(kind):
            raw = _piped(path, _LARGEST_PIPED if max_bytes is None else max_bytes)
        elif stat.S_ISREG(kind) or stat.S_ISDIR(kind):
            with path.open("rb") as file:
                raw = _within(path, file.read, _LARGEST if max_bytes is None else max_bytes, "holds")
        else:
            raise ReadError(path, "is a device or a socket, expected a file or a pipe; name one of these")
    except FileNotFoundError as error:
        raise ReadError(path, _missing(path)) from error
    except IsADirectoryError as error:
        names = sorted(child.name for child in path.iterdir() if child.is_file())
        raise ReadError(path, f"is a folder, expected a file, such as one of {listed(names)}") from error
    except PermissionError as error:
        raise ReadError(path, "may not be read; change its permissions") from error
    except OSError as error:
        long = error.errno == errno.ENAMETOOLONG
        remedy = "expected the name of a file: check the path" if long else "check the path and the disk"
        raise ReadError(path, f"cannot be read ({error.strerror}); {remedy}") from error
    except InputError:
        raise
    except ValueError as error:  # a NUL, or letters that no name of a file can have
        raise ReadError(repr(path.name), f"is no name of a file ({error}); check the path") from error
    gzipped = raw[:2] == b"\x1f\x8b"
    if gzipped:
        most = max(_UNPACKED_FREELY, _UNPACKED_TIMES * len(raw)) if max_bytes is None else max_bytes
        try:
            with gzip.open(io.BytesIO(raw)) as content:
                raw = _within(path, content.read, most, "unpacks to")
        except (OSError, EOFError, zlib.error) as error:
            raise ReadError(path, f"is a damaged gzip file ({error}); fetch it again") from error
    for start, what in _REFUSED.items():
        if raw.startswith(start):
            raise ReadError(path, what)
    return raw, gzipped


def _within(path: Path, read: Callable[[int], bytes], most: int, verb: str) -> bytes:
    """Read to the end, piece by piece, so that what is too large takes no more memory than it may."""
    content = io.BytesIO()
    while piece := read(_CHUNK):
        content.write(piece)
        check_size(path, content.tell(), most, verb)
    return content.getvalue()


def check_size(path: Path, size: int, most: int | None, verb: str = "holds") -> None:
    """Raise a ReadError if a file has more bytes than ``most``; None: than is read without being asked for."""
    most = _LARGEST if most is None else most
    if size > most:
        what = f"{verb} more than {most:,} bytes, which may be a mistake or an attack; if it is meant, pass a larger "
        raise ReadError(path, what, Argument("max_bytes"))


def _piped(path: Path, most: int) -> bytes:
    """Read a pipe until all who write to it have gone, with patience for each piece."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    # A pipe without a name, as of <(command), has had its writer; one with a name may wait for it.
    named = Path(os.path.realpath(path)).exists()
    came = False
    try:
        poll, start = select.poll(), time.monotonic()
        poll.register(descriptor, select.POLLIN)

        def read(size: int) -> bytes:
            nonlocal came, start
            while True:
                try:
                    piece = os.read(descriptor, size)
                except BlockingIOError:
                    piece = None
                if piece or (piece == b"" and (came or not named)):
                    came, start = True, time.monotonic()
                    return piece
                left = start + _PATIENCE - time.monotonic()
                if left <= 0:
                    what = f"is a pipe that has said nothing for {_PATIENCE:g} s"
                    raise ReadError(path, f"{what}; start what writes to it, or write a file first and read that")
                if poll.poll(1000 * left) and piece == b"":
                    came = True  # somebody wrote, or came and went without a word

        return _within(path, read, most, "holds")
    finally:
        os.close(descriptor)


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; a path that cannot be one is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_text(path: Path, encoding: str | None = None) -> Text:
    """Return the text of a file, see :func:`as_text`."""
    raw, gzipped = read_bytes(path)
    return as_text(path, raw, gzipped=gzipped, encoding=encoding)


def as_text(
    path: Path, raw: bytes, *, gzipped: bool = False, encoding: str | None = None, max_line: int | None = None
) -> Text:
    """Return bytes as text in UTF-8, with old line ends made new and comments made blank lines.

    Parameters
    ----------
    path
        For messages.
    raw
        The bytes.
    gzipped
        Whether they were packed.
    encoding
        A name that Python knows; None takes UTF-8, or what a byte order mark or, with a warning, the letters say.
    max_line
        Bytes that a line may have; None: 16 MiB.

    Raises
    ------
    ReadError
        If they are no text, or a line is too long.

    Warns
    -----
    buir.errors.AmbiguousFileWarning
        If the encoding was told by the letters.
    """
    content, found = _in_utf8(path, raw, encoding)
    if b"\r" in content and b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    _check_lines(path, content, _LONGEST_LINE if max_line is None else max_line)
    comments: tuple[bytes, ...] = ()
    n_marks = content.count(b"\n" + codecs.BOM_UTF8)
    content = content.replace(b"\n" + codecs.BOM_UTF8, b"\n") if n_marks else content
    if hint := _EXCEL.match(content):  # what follows tells the separator as well
        comments, content = (hint[0],), content[hint.end() :]
    if _LEADING.match(content) and not content.startswith(b"%%MatrixMarket"):
        # Blank, not gone: line numbers of messages stay true.
        comments = tuple(line.rstrip(b"\r") for line in _COMMENT.findall(content))
        content = _COMMENT.sub(b"", content)
    return Text(content, gzipped, found, comments, n_marks)


def _check_lines(path: Path, content: bytes, most: int) -> None:
    place = 0
    while len(content) - place > most:
        end = content.rfind(b"\n", place, place + most + 1)
        if end < 0:
            what = f"is longer than {most:,} bytes, which may be a mistake or an attack; if it is meant, pass "
            line = content.count(b"\n", 0, place) + 1
            raise ReadError(path, what, Argument("max_bytes"), ", which lines may then have too", line=line)
        place = end + 1


def _in_utf8(path: Path, raw: bytes, encoding: str | None) -> tuple[bytes, str]:
    """Return the text in UTF-8 and the encoding that it was in, if another."""
    if encoding is not None:
        try:
            text = raw.decode(encoding)
            text.encode()  # some encodings make halves of letters
        except (LookupError, ValueError, TypeError) as error:
            if isinstance(error, UnicodeError):
                raise ReadError(path, f"is not {encoding} ({error}); pass another ", Argument("encoding")) from error
            expected = "expected a name that Python knows, such as 'utf-8', 'cp1252' or 'utf-16'"
            raise InputError(Argument("encoding"), f" is {shortened(repr(encoding))}, {expected}") from error
        # As Python knows them, "utf_8" and "UTF8" are one name.
        name = codecs.lookup(encoding).name
        _check_no_nul(path, text)
        return text.removeprefix("\ufeff").encode(), "" if name in ("utf-8", "utf-8-sig", "ascii") else name
    if raw[:2] in _UTF16:
        try:
            text = raw.decode("utf-16")
        except UnicodeDecodeError as error:
            raise ReadError(path, f"is damaged text in UTF-16 ({error}); fetch it again") from error
        _check_no_nul(path, text)
        return text.encode(), "utf-16"
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if b"\0" in raw:
        remedy = "expected text, Parquet or a matrix of SciPy; export the interactions as CSV"
        raise ReadError(path, f"is a binary file (a zero at byte {raw.index(0)}); {remedy}")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _guessed(path, raw, line, f"is not UTF-8 (byte {raw[error.start]:#04x})")
    return raw, ""


def _check_no_nul(path: Path, text: str) -> None:
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ReadError(
            path, "holds a NUL, which no text has; take it out, or export the interactions again", line=line
        )


def _guessed(path: Path, raw: bytes, line: int, fault: str) -> tuple[bytes, str]:
    """Tell the encoding by the lines that are not ASCII, and say so; in a file that is partly UTF-8 it is a mistake."""
    lines = [text for text in raw.splitlines() if not text.isascii()]
    sample = b"\n".join(lines)[:_SAMPLE]
    found = None if any(_is_utf8(text) for text in lines) else _encoding_of(sample)
    try:
        text = raw.decode(found or "ascii")
    except UnicodeDecodeError as error:
        remedy = "expected text in UTF-8; export it again, or name its "
        raise ReadError(path, f"{fault}; {remedy}", Argument("encoding"), line=line) from error
    first = lines[0].decode(str(found)).strip()[:40]
    named = Argument("encoding", found)
    what = f"{path}, line {line}: {fault}, and is read as {found}, which makes it {first!r}; pass "
    report([AmbiguousFileWarning(what, named, " if that is right, else the name of its encoding")])
    return text.encode(), str(found)


def _encoding_of(sample: bytes) -> str | None:
    """Name the encoding of a sample in which every line has letters beyond ASCII."""
    from charset_normalizer import from_bytes

    try:
        western = sample.decode("cp1252")
    except UnicodeDecodeError:
        western = None
    # Accents that stand alone, as in "René", tell no statistics anything: that is how Western words look.
    if western is not None and not re.search(rb"[\x80-\xff]{2}", sample):
        letters = {letter for letter in western if not letter.isascii()}
        if all(letter.isalpha() or letter in _MARKS for letter in letters):
            return "cp1252"
    best = from_bytes(sample).best()
    if best is None or best.encoding.startswith("utf"):
        return None if western is None else "cp1252"
    return "cp1252" if sample.decode(best.encoding) == western else best.encoding


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _missing(path: Path) -> str:
    if not is_folder(path.parent):
        return f"no such file, and no folder {shortened(path.parent)}; check the path"
    names = sorted(child.name for child in path.parent.iterdir() if child.is_file())
    packed = f"{path.name}.gz"
    return f"no such file{near(packed if packed in names else path.name, names) or '; check the path'}"


def separator_of(text: str) -> bytes:
    """Return the bytes of a separator, which may be given by its name, such as "tab"."""
    return SEPARATORS.get(text, text.replace("\\t", "\t").encode())


def quoted_rows(text: bytes, separator: bytes, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Iterate over rows in which quotes hold values together: the number of a row's last line, from 1, and its fields.

    Raises
    ------
    csv.Error
        With ``strict``, if a quote never closes, or closes within a value.
    """
    decoded = text.decode(errors="replace")
    before = csv.field_size_limit(len(decoded) + 1)  # else 131,072 letters; the module has one limit for everybody
    try:
        rows = csv.reader(io.StringIO(decoded, newline=""), delimiter=separator.decode(), strict=strict)
        for row in rows:
            csv.field_size_limit(before)
            yield rows.line_num, row
            csv.field_size_limit(len(decoded) + 1)
    finally:
        csv.field_size_limit(before)


def fields_of(line: bytes, separator: bytes, *, quoted: bool | None = None) -> list[str]:
    """Cut a line into fields, quotes taken off where they hold a value together; None: as such separators have it."""
    quoted = b'"' in line and (separator in _QUOTED if quoted is None else quoted)
    if separator == b" " and not quoted:
        # the bytes and not the text, which would be cut at control characters and wide blanks too
        return [field.decode(errors="replace") for field in line.split()]
    if separator == b" ":
        text = line.decode(errors="replace")
        found = [value if value[0] != '"' else _bare(value) for value in _WITH_BLANKS.findall(text)]
        return [field.strip(" ") for field in found]
    if quoted:
        _, fields = next(quoted_rows(line, separator))
        return [field.strip(" ") for field in fields]
    return [field.decode(errors="replace").strip(" ") for field in line.split(separator)]


def quotes_hold(lines: Sequence[bytes], separator: bytes) -> bool:
    r"""Return whether quotes hold values together in lines that such a separator cuts.

    Between commas and semicolons they do. Between others they do if each that opens a value closes it, and somebody
    wrote them who quotes: a whole row or column is in quotes, or a value has the separator or doubled quotes within.
    """
    if separator in _QUOTED:
        return True
    if len(separator) > 1 or separator == b'"' or not any(b'"' in line for line in lines):
        return False
    mark = re.escape(separator) + (b"\t" if separator == b" " else b"")
    field = rb'(?: *"(?:[^"]|"")*" *|[^"%b]*)' % mark
    whole = re.compile(rb"%b(?:[%b]%b)*\s*$" % (field, mark, field))
    cut = re.compile(rb'(?:^|(?<=[%b])) *("(?:[^"]|"")*"|[^"%b]*)' % (mark, mark))
    within = re.compile(rb'[%b]|""' % mark)
    rows = []
    for line in lines:
        if not whole.match(line):
            return False
        row = [field for field in cut.findall(line) if separator != b" " or field]
        if any(field[:1] == b'"' and within.search(field[1:-1]) for field in row):
            return True
        rows.append([field[:1] == b'"' for field in row])
    columns = rows[1:] or rows
    return all(rows[0]) or any(map(all, zip(*columns, strict=False)))


def _bare(value: str) -> str:
    return value[1:-1].replace('""', '"') if len(value) > 1 and value.endswith('"') else value
