"""What form a text has: its separator, its header, lists or columns; told from the first megabyte."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from buir.data.files.refusals import (
    LISTED,
    SEEN,
    refuse,
    refuse_lone_words,
    refuse_named_fields,
    refuse_prose,
)
from buir.data.files.text import SEPARATORS, Text, as_text, fields_of, quotes_hold, read_bytes, separator_of
from buir.errors import AmbiguousFileWarning, Argument, InputError, ReadError, near

LISTS = ("counted", "adjacency")
FORMATS = (*LISTS, *SEPARATORS, "libsvm", "matrix-market", "json-lines", "parquet", "npz")
"""Names that ``format`` takes: counted item lists, adjacency lists, columns by separator, RecBole's, the lists with
values of LibSVM, the matrices of Matrix Market and SciPy, JSON lines and Parquet."""

NAMES = {
    "user": [
        "user",
        "user_id",
        "userid",
        "uid",
        "user_idx",
        "reviewerid",
        "reviewer_id",
        "customer_id",
        "visitorid",
        "customer",
    ],
    "item": [
        "item",
        "item_id",
        "itemid",
        "iid",
        "item_idx",
        "movie_id",
        "movieid",
        "artist_id",
        "artistid",
        "book_id",
        "product_id",
        "business_id",
        "track_id",
        "song_id",
        "venue_id",
        "asin",
        "parent_asin",
        "isbn",
        "movie",
        "artist",
        "book",
        "product",
    ],
    "rating": [
        "rating",
        "ratings",
        "score",
        "stars",
        "overall",
        "weight",
        "playcount",
        "plays",
        "label",
        "book_rating",
        "target",
        "click",
        "clicked",
        "like",
        "liked",
    ],
    "time": ["time", "timestamp", "unixreviewtime", "date", "datetime"],
    "weight": ["weight", "weights", "playcount", "play_count", "plays", "count"],
    "title": ["title", "name", "item_name", "itemname", "movie_title", "book_title", "product_name", "product_title"],
}
"""Column names that say what they hold, as ``spelled`` writes them; the first that a header has is taken, and those of
ids stand before those of names."""


def spelled(name: object) -> str:
    """Return a column's name in small letters, with "_" for blanks and hyphens: "User ID" is "user_id"."""
    return re.sub(r"[\s-]+", "_", str(name).strip().lower())


_HEAD = 1 << 20
_RARE = (b"|", b"\x01", b"^", b"~", b":")
"""What stands between columns if every line has as many of it."""
_MOST = 2 / 3
"""Share of the lines that show a separator which the first line has not."""
_RECBOLE = re.compile(rb"[^:\t]+:(token|token_seq|float|float_seq)$")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+$")


@dataclass(frozen=True)
class Hints:
    """What a caller knows of a file; None, or False, where it is to be told from the file."""

    format: str | None = None
    columns: Mapping[str, str | int] | None = None
    separator: str | None = None
    encoding: str | None = None
    header: bool | None = None
    drop_missing: bool = False
    where: Mapping[str, str | Sequence[str]] | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class Format:
    """The form of a file."""

    name: str
    """One of :data:`FORMATS`, or "columns" where the caller gave a separator of another kind."""
    header: tuple[str, ...] | None = None
    """Column names, without RecBole's types; None if the file names none."""
    gzipped: bool = False
    encoding: str = ""
    """Empty for UTF-8."""
    separator: bytes = b" "
    """What stands between two columns, or two items of a list."""
    raw_header: tuple[str, ...] = ()
    """The names as the file writes them."""
    also: tuple[str, ...] = ()
    """Other names of :data:`FORMATS` by which the same lines can be read."""
    doubtful: bool = False
    """Whether these would mean other pairs."""
    odd_first_row: bool = False
    """Whether the first row may hold names: its values never recur where others do."""
    quoted: bool = False
    """Whether quotes hold a value together."""
    user_mark: bytes = b""
    """What stands between a user and the items of a list, if that is another mark than between these."""
    short_header: bool = False
    """Whether the header names all columns but the first, which is taken for the numbers of the rows."""

    def __str__(self) -> str:
        words = [self.name if self.name != "columns" else f"columns between {self.separator.decode()!r}"]
        if self.name in SEPARATORS or self.name == "columns":
            words.append("with header" if self.header else "no header")
        return ", ".join([*words, *([self.encoding] if self.encoding else []), *(["gzip"] if self.gzipped else [])])


def check_hints(hints: Hints) -> None:
    """Raise an InputError if a format or separator is none, or both say different things."""
    format, separator = hints.format, hints.separator
    if hints.max_bytes is not None and hints.max_bytes < 1:
        raise InputError(Argument("max_bytes"), f" is {hints.max_bytes}, expected the bytes that a file may have")
    if format is not None and format not in FORMATS:
        expected = f"expected one of {', '.join(FORMATS)}{near(format, FORMATS)}"
        raise InputError(Argument("format"), f" is {format!r}; {expected}")
    if separator is None:
        return
    if not separator or "\n" in separator or "\r" in separator or '"' in separator:
        expected = "expected what stands between two columns, such as ';' or '|'"
        raise InputError(Argument("separator"), f" is {separator!r}; {expected}")
    if format is not None and format != "adjacency" and SEPARATORS.get(format) != separator_of(separator):
        what = f" is {separator!r} and format {format!r}; expected one of them: leave the other out"
        raise InputError(Argument("separator"), what)


def detect_format(path: str | Path, *, format: str | None = None) -> Format:
    """Tell the form of a file, compressed with gzip or not; see :func:`text_format` for text."""
    hints = Hints(format)
    check_hints(hints)
    path = Path(path)
    raw, gzipped = read_bytes(path)
    name = binary_format(path, raw, hints)
    return Format(name, gzipped=gzipped) if name else text_format(path, as_text(path, raw, gzipped=gzipped), hints)


def binary_format(path: Path, raw: bytes, hints: Hints) -> str | None:
    """Return "parquet" or "npz" if the bytes are that, None if they may be text.

    Raises
    ------
    ReadError
        If they are another archive, or not what the caller says.
    """
    format, name, said = hints.format, None, ""
    if raw[:4] == b"PAR1":
        name, said = "parquet", "a Parquet file"
    elif raw[:2] == b"PK":
        if b"[Content_Types].xml" in raw[:4096] or b"xl/workbook" in raw:
            raise ReadError(path, "is a workbook of Excel; save the sheet as CSV")
        if b".npy" not in raw[:512]:
            raise ReadError(path, "is a zip archive; unpack it first (only gzip is read as it is)")
        name, said = "npz", "an archive of NumPy"
    if name is not None and format not in (None, name):
        raise ReadError(path, f"is {said}, not {format!r}; leave the format out")
    if name is None and format in ("parquet", "npz"):
        kind = {"parquet": "Parquet file", "npz": "archive of NumPy"}[format]
        raise ReadError(path, f"is no {kind}; leave the format out to have it detected")
    return name


def text_format(path: Path, text: Text, hints: Hints) -> Format:
    """Tell the form of a text.

    Raises
    ------
    ReadError
        If it is empty, or no table and no lists.

    Notes
    -----
    Lines of one width are columns if users come back in them; where every line has a user of its own, numbers between
    blanks are lists, and the format is ``doubtful``. Lines of differing width are counted lists if in at least half of
    them the first number counts the others, so that a wrong count is an error and never a user; columns with broken
    lines, and an error, if one width prevails; else adjacency lists.
    """
    content, whole = text.content[:_HEAD], len(text.content) <= _HEAD
    lines = content.split(b"\n")
    if not whole and len(lines) > 1:  # the head may end inside a line
        del lines[-1]
    lines = [line.rstrip(b"\r") for line in lines if line.strip()]
    if not lines:
        raise ReadError(path, "holds no rows; give a file with one interaction, or one user's list, per line")
    came: dict[str, Any] = {"gzipped": text.gzipped, "encoding": text.encoding}
    name = hints.format
    if lines[0].startswith(b"%%MatrixMarket"):
        if name not in (None, "matrix-market"):
            raise ReadError(path, f"is a matrix of Matrix Market, not {name!r}; leave the format out")
        return Format("matrix-market", **came)
    if name == "matrix-market":
        raise ReadError(path, "does not begin with %%MatrixMarket; leave the format out to have it detected")
    seen = refuse(path, lines)
    if (seen == "json-lines" and name not in (None, seen)) or (seen == "libsvm" and name in LISTS):
        kind = "lists with values, as of LibSVM" if seen == "libsvm" else "JSON lines"
        raise ReadError(path, f"holds {kind}, not {name!r}; leave the format out")
    name = name or seen
    if name in ("json-lines", "libsvm"):
        return Format(name, **came)
    given = None if hints.separator is None else separator_of(hints.separator)
    if name is None and hints.columns is None:
        refuse_named_fields(path, lines, _is_known)
    if name is None and given is not None:
        names = [known for known, separator in SEPARATORS.items() if separator == given]
        form = _Told(names[0] if names else "columns", given)
    elif name is None:
        form = _tell(lines, hints)
        if hints.columns is None and hints.header is None and not form.user_mark:
            quoted = form.name == "space" and quotes_hold(lines[:SEEN], b" ")
            refuse_prose(path, lines[:SEEN], form.name, quoted=quoted)
            refuse_lone_words(path, lines[:SEEN], form.name)
    else:
        form = _Told(name, given or SEPARATORS.get(name, b""))
    came |= {"also": form.also, "doubtful": form.doubtful}
    if form.name in LISTS:
        mark = form.user_mark or (b"" if given or form.name == "counted" else _user_mark(lines[:SEEN], sure=True))
        between = given or (_between_marked(lines[:SEEN], mark) if mark else _between_items(lines[:SEEN]))
        return Format(form.name, **came, separator=between, user_mark=mark)
    separator = form.separator
    quoted = form.name != "recbole" and quotes_hold(lines[:SEEN], separator)
    rows = [fields_of(line, separator, quoted=quoted) for line in lines[:SEEN]]
    quoted_row = lines[0].lstrip()[:1] == b'"'
    short = form.name != "recbole" and _names_rows(rows, quoted_row=quoted_row, hints=hints)
    if short:
        rows[0] = ["", *rows[0]]
        header, odd = tuple(rows[0]), False
    else:
        header, odd = _header(rows, form.name, hints, text.comments)
    raw_header = () if header is None else tuple(rows[0])
    if header is not None and header[0] != rows[0][0] and form.name != "recbole":
        raw_header = ()  # the names stand in a comment
    came |= {"separator": separator, "raw_header": raw_header, "odd_first_row": odd, "quoted": quoted}
    came["short_header"] = short and not quoted_row and hints.columns is None
    return Format(form.name, header, **came)


class _Told(NamedTuple):
    """What the lines tell of their form."""

    name: str
    separator: bytes
    also: tuple[str, ...] = ()
    doubtful: bool = False
    user_mark: bytes = b""


def told(path: Path, form: Format) -> list[AmbiguousFileWarning]:
    """Return what should be said of a form that is not sure."""
    found = []
    if form.doubtful:
        other = form.also[0]
        lists = "lists, a user and then items" if form.name in LISTS else "lists of items"
        others = "lists that begin with their lengths" if other == "counted" else "columns"
        kind, kinds = (lists, others) if form.name in LISTS else ("columns", lists)
        what = f"{path} is read as {kind}, but its lines could be {kinds}; pass "
        mine = Argument("format", form.name) if form.name in FORMATS else Argument("separator", form.separator.decode())
        found.append(AmbiguousFileWarning(what, mine, " if that is right, else ", Argument("format", other)))
    if form.short_header:
        what = f"{path}: the header has a name fewer than the rows have columns, and the first is taken for row numbers"
        found.append(AmbiguousFileWarning(f"{what}; pass ", Argument("columns", "user"), " if it is none"))
    if form.odd_first_row:
        what = f"{path}: the first row is read as a pair, but its values never come back, as names would not; pass "
        words = (Argument("header", True), " if it holds names, else ", Argument("header", False))
        found.append(AmbiguousFileWarning(what, *words))
    return found


def _is_known(name: str) -> bool:
    """Whether a name is known to be that of users or items."""
    return spelled(name) in (*NAMES["user"], *NAMES["item"])


def _tell(lines: list[bytes], hints: Hints) -> _Told:
    """Tell the form of lines, by which other form they can be read, and whether that would mean other pairs."""
    first = lines[0].rstrip(b"\r\n")
    if all(_RECBOLE.match(field) for field in first.split(b"\t")):
        return _Told("recbole", b"\t")
    seen = lines[:SEEN]
    if hints.columns is None and not hints.header:
        if mark := _user_mark(seen):
            return _Told("adjacency", b"", user_mark=mark)
        if _may_follow_colons(seen):
            return _Told("adjacency", b"", ("comma",), True, b":")
    if all(LISTED.match(line) for line in seen) and any(re.search(rb"\d \d", line) for line in seen):
        return _Told("adjacency", b"")
    separator = _columns(seen)
    if separator is not None:
        name = next((known for known, mark in SEPARATORS.items() if mark == separator), "columns")
        if separator == b":" and all(re.match(rb"\d+:\d+\s*$", line) for line in seen):
            return _Told(name, separator, ("libsvm",), hints.columns is None and not hints.header)
        rows = [fields_of(line, separator, quoted=quotes_hold(seen, separator)) for line in seen]
        lists = hints.columns is None and not hints.header and _may_be_lists(rows)
        return _Told(name, separator, ("adjacency",) if lists else (), lists)
    quoted = quotes_hold(seen, b" ")
    texts = [fields_of(line, b" ", quoted=quoted) for line in lines]
    if quoted or _names_rows(texts[:SEEN], quoted_row=False, hints=hints):
        return _Told("space", b" ")
    if len({len(row) for row in texts}) == 1:
        width = len(texts[0])
        counts_all = all(row[0] == str(width - 1) for row in texts)
        # two columns stay columns: "1 5" is far more often user 1 than a list of one item
        if counts_all and width > 2 and len(texts) > 1:
            return _Told("counted", b"", ("space",))
        if hints.columns is not None or hints.header or _header(texts[:SEEN], "space", hints, ())[0] is not None:
            return _Told("space", b" ")
        if width == 2:
            return _Told("space", b" ", ("adjacency", "counted") if counts_all else ("adjacency",))
        if _may_be_lists(texts[:SEEN]):
            return _Told("adjacency", b"", ("space",), True)
        return _Told("space", b" ")
    leads = [row[0] for row in texts]
    in_order = any(all(lead == str(number) for number, lead in enumerate(leads, start)) for start in (0, 1))
    n_counts = sum(row[0] == str(len(row) - 1) for row in texts)
    if in_order and n_counts == len(texts):
        return _Told("adjacency", b"", ("counted",), True)
    if not in_order and 2 * n_counts >= len(texts):
        return _Told("counted", b"")
    usual = Counter(len(row) for row in texts).most_common(1)[0][1] / len(texts)
    listed_once = len({row[0] for row in texts}) == len(texts)
    lists = usual < (0.95 if listed_once else 0.5) or (len(texts) < 20 and listed_once)
    return _Told("adjacency", b"") if lists else _Told("space", b" ")


def _user_mark(lines: list[bytes], *, sure: bool = False) -> bytes:
    """Return what stands between a user and the items, such as ":" in "ann: lamp desk"; nothing where nothing does.

    With ``sure`` the lines are lists, and a mark that each has once may be it if another stands between items.
    """
    for mark in (b"->", b"=>", b":"):
        found = [re.match(rb"\s*[^\s,;|:>]+\s*%b(?!//)(.*)$" % mark, line) for line in lines]
        rests = [match[1] for match in found if match]
        if len(rests) < len(lines) or any(line.count(mark) > 1 for line in lines) or not any(map(bytes.strip, rests)):
            continue
        if mark != b":" or all(rest[:1] in (b"", b" ", b"\t") for rest in rests):
            return mark
        # "10:00,lamp" is no list of the user 10
        sizes = {len(re.split(rb"[,;|]", rest)) for rest in rests}
        if len(sizes) > 1 and not any(b" " in rest.strip() for rest in rests):
            return mark
    for mark, inner in ((b"\t", b",;|"), (b";", b",|"), (b"|", b",;"), (b",", b";|")):
        listed = re.compile(rb"\d+%b\s*\d+(\s*[%b]\s*\d+)*\s*$" % (re.escape(mark), inner))
        within = any(re.search(rb"[%b]" % inner, line) for line in lines)
        if within and (all(map(listed.match, lines)) or (sure and all(line.count(mark) == 1 for line in lines))):
            return mark
    return b""


def _may_follow_colons(lines: list[bytes]) -> bool:
    """Whether each line may be a user of its own, a colon, and as many items as others have, as in "1:2,3"."""
    found = [re.match(rb"([^\s,;|:]+):(?!//)[^\s:;|]+,[^\s:;|]+$", line) for line in lines]
    users = {match[1] for match in found if match}
    if len(users) < len(lines) or len(lines) < 2:
        return False
    return not all(re.match(rb"\d{1,2}:\d\d\D", line) for line in lines)  # times of a day


def _between_marked(lines: list[bytes], user_mark: bytes) -> bytes:
    """Return what stands between items, where another mark stands after the user."""
    rests = [line.partition(user_mark)[2] for line in lines]
    return next((mark for mark in (b",", b";", b"|") if mark != user_mark and any(mark in r for r in rests)), b" ")


def _between_items(lines: list[bytes]) -> bytes:
    """Return what stands between items, or after the user, if that is no blank."""
    for mark in (b",", b";", b"|"):
        if any(mark in line for line in lines) and not any(re.search(rb"[^,;|\s] +[^,;|\s]", line) for line in lines):
            return mark
    listed = all(map(LISTED.match, lines))
    return next((mark for mark in (b",", b";", b":") if listed and mark in lines[0]), b" ")


def _columns(lines: list[bytes]) -> bytes | None:
    """Return the separator that cuts the lines into columns best; None if only blanks are left to do it."""
    shares: dict[bytes, float] = {}
    for name in ("tab", "double-colon", "comma", "semicolon"):
        separator = SEPARATORS[name]
        if not any(separator in line for line in lines[:2]):
            continue
        width, count = _usual(lines, separator)
        shares[separator] = count / len(lines) if width > 1 else 0.0
    if not any(separator in lines[0].strip() for separator in shares) and max(shares.values(), default=0.0) < _MOST:
        shares = {}
    if b"," in shares:
        for separator in (b";", b" "):  # of which the comma may be the point of a number
            cut = [fields_of(line, separator) for line in lines]
            points = [field for row in cut for field in row if "," in field]
            apart = min(sum("," not in field for field in row) for row in cut)
            if len({len(row) for row in cut}) == 1 and apart > 1 and points and all(map(_DECIMAL_COMMA.match, points)):
                return separator if separator == b";" else None
    rare = [separator for separator in _RARE if len(lines) > 1 and _cuts_all(lines, separator)]
    best = max(shares, key=lambda separator: shares[separator], default=None)  # of equals the first
    if best is None or shares[best] < 1.0:
        return rare[0] if rare else best
    if best not in (b",", b";"):
        return best
    equal = [separator for separator in shares if shares[separator] == 1.0] + [mark for mark in rare if mark != b":"]
    if len(equal) > 1:
        # commas with blanks after them are those of names, as in "lamp, red"
        named = [mark for mark in equal if all(re.search(rb"%b\S" % re.escape(mark), line) for line in lines)]
        equal = named or equal
        # a mark within the first field, which is an id, is no separator
        return min(equal, key=lambda mark: sum(line.index(mark) for line in lines))
    return best


def _usual(lines: list[bytes], separator: bytes) -> tuple[int, int]:
    """Return how many fields most lines have, and how many lines."""
    quoted = quotes_hold(lines, separator)
    return Counter(len(fields_of(line, separator, quoted=quoted)) for line in lines).most_common(1)[0]


def _cuts_all(lines: list[bytes], separator: bytes) -> bool:
    """Whether every line has as many of a separator that ids may have too; of colons between numbers alone."""
    if separator not in lines[0] or (separator == b":" and not all(re.match(rb"[\d.]+(:[\d.]+)+$", x) for x in lines)):
        return False
    width, count = _usual(lines, separator)
    return width > 1 and count == len(lines)


def _names_rows(rows: list[list[str]], *, quoted_row: bool, hints: Hints) -> bool:
    """Whether the first row names all columns but the first, which numbers or names the rows, as R writes it.

    Parameters
    ----------
    rows
        Fields of the first lines.
    quoted_row
        Whether the first begins with a quote.
    hints
        What the caller knows.
    """
    names, body = rows[0], rows[1:]
    width = len(names) + 1
    if hints.header is False or not body or width < 3 or any(len(row) != width for row in body):
        return False
    if any(not name or _is_number(name) for name in names) or all(not row[-1] for row in body):
        return False
    first = [row[0] for row in body]
    if len(set(first)) < len(first):
        return False
    numbered = any(first == [str(number) for number in range(start, start + len(first))] for start in (0, 1))
    known = any(_is_known(name) for name in names) or bool(hints.header)
    numeric = any(all(_is_number(row[place]) for row in body) for place in range(1, width))
    if known:  # a third column without a name is none of row names
        return numbered or quoted_row
    return numeric and (numbered or not _is_number(first[0]))


def _may_be_lists(rows: list[list[str]]) -> bool:
    """Whether each row may be a user, who comes once, and items: whole numbers, none of them a time."""
    if len({len(row) for row in rows}) > 1 or len(rows[0]) < 3 or len({row[0] for row in rows}) < len(rows):
        return False
    whole = all(field.isdecimal() for row in rows for field in row)
    return whole and any(len(row[-1]) < _TIME_DIGITS and int(row[-1]) < FIRST_TIME for row in rows)


FIRST_TIME = 1e8
"""Smallest number taken for a Unix time in a file that names no columns (March 1973)."""
_TIME_DIGITS = 30
"""More than a time has: of thousands Python makes no number."""


def _header(
    rows: Sequence[list[str]], name: str, hints: Hints, comments: Sequence[bytes]
) -> tuple[tuple[str, ...] | None, bool]:
    """Return the names of the columns, if there are any, and whether the first row of a file without is odd."""
    first = tuple(rows[0])
    if name == "recbole":
        return tuple(field.split(":")[0] for field in first), False
    if hints.header is not None:
        return (first if hints.header else None), False
    body = [row for row in rows[1:] if len(row) == len(first)]
    known = (*NAMES["user"], *NAMES["item"])
    asked = [column for column in (hints.columns or {}).values() if not str(column).isdecimal()]
    if any(column in first for column in asked):
        return first, False
    places = [place for place, field in enumerate(first) if spelled(field) in known]
    recurring = {
        place for place in range(len(first)) if any(row[place] == first[place] for row in body if tuple(row) != first)
    }
    if places and not recurring.issuperset(places):
        return first, False
    if not first[0] and len(set(first)) == len(first) > 2 and body and all(row[0] for row in body):
        return first, False  # as pandas writes it, with its index in the first column
    # As numpy.savetxt writes it.
    named = tuple(comments[-1].decode(errors="replace").lstrip("#% ").replace(",", " ").split()) if comments else ()
    if len(named) == len(first) and any(spelled(field) in known for field in named):
        return named, False
    if any(_is_number(field) for field in first):
        return None, False
    if body and any(all(_is_number(row[place]) for row in body) for place in range(len(first))):
        return first, False
    comes_back = any(len({row[place] for row in body}) < len(body) for place in range(len(first)))
    return None, len(body) > 1 and comes_back and not recurring


def _is_number(field: str) -> bool:
    try:
        float(field.replace(",", ".", 1))
    except ValueError:
        return False
    return True
