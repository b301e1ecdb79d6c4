"""What kind of file lies at a path: its bytes, its separator, its header; told from the first megabyte."""

import gzip
import re
import zlib
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from buir.errors import Argument, InputError, ReadError, near

SEPARATORS = {"comma": b",", "semicolon": b";", "tab": b"\t", "double-colon": b"::", "space": b" ", "recbole": b"\t"}
FORMATS = ("counted", "adjacency", *SEPARATORS, "parquet")
"""Names that ``format`` takes: counted item lists, adjacency lists, columns by separator, RecBole's and Parquet."""

NAMES = {
    "user": ["user", "user_id", "userid", "uid", "user_idx", "reviewerid", "customer", "customer_id", "visitorid"],
    "item": [
        "item",
        "item_id",
        "itemid",
        "iid",
        "item_idx",
        "movie",
        "movie_id",
        "movieid",
        "artist",
        "artist_id",
        "artistid",
        "book",
        "book_id",
        "product",
        "product_id",
        "business_id",
        "track_id",
        "song_id",
        "asin",
        "venue_id",
    ],
    "rating": ["rating", "ratings", "score", "stars", "overall", "weight", "playcount", "plays"],
    "time": ["time", "timestamp", "unixreviewtime", "date", "datetime"],
}
"""Column names that say what they hold, in lower case; the first that a header has is taken."""

_HEAD = 1 << 20
_JSON = re.compile(rb'\s*(\[\s*)?\{\s*("|\}|$)|\[\s*$')
_RECBOLE = re.compile(rb"[^:\t]+:(token|token_seq|float|float_seq)$")
_COMPRESSED = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}


@dataclass(frozen=True)
class Format:
    """The form of a file."""

    name: str
    """One of :data:`FORMATS`."""
    header: tuple[str, ...] | None = None
    """Column names, without RecBole's types; None if the file names none."""
    gzipped: bool = False

    @property
    def separator(self) -> bytes:
        """What stands between two columns."""
        return SEPARATORS[self.name]

    def __str__(self) -> str:
        words = [self.name]
        if self.name in SEPARATORS:
            words.append("with header" if self.header else "no header")
        return ", ".join([*words, "gzip"] if self.gzipped else words)


def detect_format(path: str | Path, *, format: str | None = None) -> Format:
    """Tell the form of a file, compressed with gzip or not.

    Parameters
    ----------
    path
        A file.
    format
        One of :data:`FORMATS` where the caller knows better; compression and header are still looked at.

    Raises
    ------
    ReadError
        If there is no such file, or it is empty, binary or damaged.
    InputError
        If ``format`` is no known name.

    Notes
    -----
    Lines of one width are columns, also where every line could be a list.  Lines of differing width are counted lists
    if in at least half of them the first number counts the others, so that a wrong count is an error and never a user;
    columns with broken lines, and an error, if one width prevails; else adjacency lists.
    """
    if format is not None and format not in FORMATS:
        expected = f"expected one of {', '.join(FORMATS)}{near(format, FORMATS)}"
        raise InputError(Argument("format"), f" is {format!r}; {expected}")
    path = Path(path)
    raw, gzipped = read_bytes(path, _HEAD)
    if raw[:4] == b"PAR1":
        if format not in (None, "parquet"):
            raise ReadError(path, f"is a Parquet file, not {format!r}; leave the format out")
        return Format("parquet", gzipped=gzipped)
    if format == "parquet":
        raise ReadError(path, "is no Parquet file; leave the format out to have it detected")
    whole = len(raw) < _HEAD - 4
    check_text(path, raw, whole=whole)
    lines = raw.split(b"\n")
    if not whole and len(lines) > 1:  # the head may end inside a line
        del lines[-1]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ReadError(path, "holds no rows; give a file with one interaction, or one user's list, per line")
    if _JSON.match(lines[0]):
        first = lines[0].strip()
        kind, option = ("JSON lines", ", lines=True") if first[:1] + first[-1:] == b"{}" else ("JSON", "")
        remedy = f"convert it: pass the frame of pandas.read_json(file{option}), or write it with .to_csv(index=False)"
        raise ReadError(path, f"holds {kind}, expected columns or lists; {remedy}")
    name = format or _name(lines)
    if name in ("counted", "adjacency"):
        return Format(name, gzipped=gzipped)
    return Format(name, _header(lines, name), gzipped)


def read_bytes(path: Path, limit: int | None = None) -> tuple[bytes, bool]:
    """Return the content, unpacked and without byte order mark, and whether it was gzipped."""
    try:
        with path.open("rb") as file:
            magic = file.read(5)
            file.seek(0)
            gzipped = magic[:2] == b"\x1f\x8b"
            with gzip.open(file) if gzipped else nullcontext(file) as content:
                raw = content.read(-1 if limit is None else limit)
    except FileNotFoundError as error:
        raise ReadError(path, _missing(path)) from error
    except IsADirectoryError as error:
        names = sorted(child.name for child in path.iterdir() if child.is_file())[:5]
        raise ReadError(path, f"is a folder, expected a file, such as one of {names}") from error
    except PermissionError as error:
        raise ReadError(path, "may not be read; change its permissions") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ReadError(path, f"is a damaged gzip file ({error}); fetch it again") from error
    kind = next((kind for start, kind in _COMPRESSED.items() if magic.startswith(start)), None)
    if kind is not None:
        raise ReadError(path, f"is a {kind} archive; unpack it first (only gzip is read as it is)")
    return raw.removeprefix(b"\xef\xbb\xbf"), gzipped


def check_text(path: Path, raw: bytes, *, whole: bool = True) -> None:
    """Raise a ReadError if the bytes are not UTF-8 text; unless ``whole``, they may end inside a character."""
    remedy = "expected text in UTF-8 or Parquet; export the interactions as CSV"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ReadError(path, f"is text in UTF-16; {remedy}")
    if b"\0" in raw:
        raise ReadError(path, f"is a binary file (a zero at byte {raw.index(0)}); {remedy}")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        if whole or error.end < len(raw):
            line = raw.count(b"\n", 0, error.start) + 1
            raise ReadError(path, f"is not UTF-8 (byte {raw[error.start]:#04x}); {remedy}", line=line) from error


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"no such file, and no folder {path.parent}; check the path"
    names = sorted(child.name for child in path.parent.iterdir() if child.is_file())
    packed = f"{path.name}.gz"
    return f"no such file{near(packed if packed in names else path.name, names) or '; check the path'}"


def _name(lines: list[bytes]) -> str:
    first = lines[0].rstrip(b"\r\n")
    fields = first.split(b"\t")
    if all(_RECBOLE.match(field) for field in fields):
        return "recbole"
    for name in ("tab", "double-colon", "comma", "semicolon"):
        if SEPARATORS[name] in first.strip():
            return name
    rows = [line.split() for line in lines]
    if len({len(row) for row in rows}) == 1:
        counts_all = all(row[0] == b"%d" % (len(row) - 1) for row in rows)
        # two columns stay columns: "1 5" is far more often user 1 than a list of one item
        return "counted" if counts_all and len(rows[0]) > 2 and len(rows) > 1 else "space"
    if 2 * sum(row[0] == b"%d" % (len(row) - 1) for row in rows) >= len(rows):
        return "counted"
    usual = Counter(len(row) for row in rows).most_common(1)[0][1] / len(rows)
    listed_once = len({row[0] for row in rows}) == len(rows)
    return "adjacency" if usual < (0.95 if listed_once else 0.5) or (len(rows) < 20 and listed_once) else "space"


def _header(lines: list[bytes], name: str) -> tuple[str, ...] | None:
    rows = [
        [field.strip(b' "\r') for field in (line.split() if name == "space" else line.split(SEPARATORS[name]))]
        for line in lines[:100]
    ]
    first = tuple(field.decode().split(":")[0] if name == "recbole" else field.decode() for field in rows[0])
    if name == "recbole":
        return first
    if any(field.lower() in (*NAMES["user"], *NAMES["item"]) for field in first):
        return first
    if any(_is_number(field) for field in rows[0]):
        return None
    body = [row for row in rows[1:] if len(row) == len(first)]
    numeric = any(all(_is_number(row[column]) for row in body) for column in range(len(first))) if body else False
    return first if numeric else None


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
