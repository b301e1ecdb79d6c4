"""What form a text has: its separator, its header, lists or columns; told from the first megabyte."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buir.data.files.text import Text, as_text, read_bytes
from buir.errors import AmbiguousFileWarning, Argument, InputError, ReadError, near

SEPARATORS = {"comma": b",", "semicolon": b";", "tab": b"\t", "double-colon": b"::", "space": b" ", "recbole": b"\t"}
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
        "customer",
        "customer_id",
        "visitorid",
        "reviewer_id",
    ],
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
        "parent_asin",
        "isbn",
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
"""Column names that say what they hold, as ``spelled`` writes them; the first that a header has is taken."""


def spelled(name: object) -> str:
    """Return a column's name in small letters, with "_" for blanks and hyphens: "User ID" is "user_id"."""
    return re.sub(r"[\s-]+", "_", str(name).strip().lower())


_HEAD = 1 << 20
_SEEN = 2000
"""Lines of the head that are cut into fields to tell separator and header."""
_QUOTED = (b",", b";")
"""Separators of files in which quotes hold a value together; elsewhere they are letters."""
_JSON = re.compile(rb'\s*(\[\s*)?\{\s*("|\}|$)|\[\s*$')
_JSON_LINE = re.compile(rb"\s*\{.*\}\s*$")
_RECBOLE = re.compile(rb"[^:\t]+:(token|token_seq|float|float_seq)$")
_LIBSVM = re.compile(
    rb"\s*([+-]?[\d.]+(e[+-]?\d+)?\s+)?(qid:\d+\s+)?\d+:[+-]?[\d.]+(e[+-]?\d+)?(\s+\d+:\S+)*\s*(#.*)?$", re.I
)
_LISTED = re.compile(rb"\d+[\t,;:]\s*\d+(\s+\d+)*\s*$")
"""A user, then items with blanks between them."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+$")
_NO_TABLE = {
    re.compile(rb"\s*[\[({]\s*['(\[{]|\s*\(.*\)[\],;]*\s*$|\s*\[.*\],?\s*$|\s*(defaultdict|array|dict)\("): (
        "values written by Python",
        "make a frame of them (pandas.DataFrame of ast.literal_eval for each line) and pass it, or write it as CSV",
    ),
    re.compile(rb"\s*(INSERT\s+INTO|CREATE\s+TABLE|DROP\s+TABLE|COPY\s+\S+.*FROM\s|/\*!|--\s)", re.I): (
        "statements of SQL",
        "load them into their database and export the table as CSV",
    ),
    re.compile(rb"\s*<(\?xml|!DOCTYPE|[a-z][a-z0-9]*[\s>])", re.I): ("XML or HTML", "export the interactions as CSV"),
    re.compile(rb"\s*@(relation|attribute|data)\b", re.I): ("ARFF", "write the rows below @data as CSV, with a header"),
}
"""How lines begin that are no table, what they are, and the way out."""
_ODD_WORD = re.compile(r"""[^\W\d_]["'`)\]}]*[.,;:!?]+["'`)\]}]*$|^[^\w"]+$|[(\[{][^)\]}]*$|^[^"]*"[^"]*$""")
"""A word between blanks that ends as in sentences, has neither letter nor digit, or opens what others close."""
_MISSING_MARKS = ("-", "--", "?", ".", "*")
_LINE_OF_PROSE = re.compile(r"[^\W\d_][\"'`)]*[.!?:]\W*$")
_ODD_SHARE, _ODD_LEAST = 0.05, 3


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
    if format is not None and format != "adjacency" and SEPARATORS.get(format) != _separator(separator):
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
    came = {"gzipped": text.gzipped, "encoding": text.encoding}
    name = hints.format
    if lines[0].startswith(b"%%MatrixMarket"):
        if name not in (None, "matrix-market"):
            raise ReadError(path, f"is a matrix of Matrix Market, not {name!r}; leave the format out")
        return Format("matrix-market", **came)
    if name == "matrix-market":
        raise ReadError(path, "does not begin with %%MatrixMarket; leave the format out to have it detected")
    seen = _refuse(path, lines)
    if (seen == "json-lines" and name not in (None, seen)) or (seen == "libsvm" and name in LISTS):
        kind = "lists with values, as of LibSVM" if seen == "libsvm" else "JSON lines"
        raise ReadError(path, f"holds {kind}, not {name!r}; leave the format out")
    name = name or seen
    if name in ("json-lines", "libsvm"):
        return Format(name, **came)
    given = None if hints.separator is None else _separator(hints.separator)
    found: tuple[str, ...] = ()
    doubtful = False
    if name is None and given is not None:
        names = [known for known, separator in SEPARATORS.items() if separator == given]
        name = names[0] if names else "columns"
    if name is None:
        name, found, doubtful = _name(lines, hints)
        if hints.columns is None and hints.header is None:
            _refuse_prose(path, lines[:_SEEN], name)
            _refuse_lone_words(path, lines[:_SEEN], name)
    if name in LISTS:
        between = given or _between_items(lines[:_SEEN])
        return Format(name, **came, separator=between, also=found, doubtful=doubtful)
    separator = given or SEPARATORS[name]
    rows = [fields_of(line, separator) for line in lines[:_SEEN]]
    header, odd = _header(rows, name, hints, text.comments)
    raw_header = () if header is None else tuple(rows[0])
    if header is not None and header[0] != rows[0][0] and name != "recbole":
        raw_header = ()  # the names stand in a comment
    return Format(
        name,
        header,
        **came,
        separator=separator,
        raw_header=raw_header,
        also=found,
        doubtful=doubtful,
        odd_first_row=odd,
    )


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


def fields_of(line: bytes, separator: bytes) -> list[str]:
    """Cut a line into fields, quotes taken off where they hold a value together."""
    if separator == b" ":
        return line.decode(errors="replace").split()
    if separator in _QUOTED and b'"' in line:
        _, fields = next(quoted_rows(line, separator))
        return [field.strip(" ") for field in fields]
    return [field.decode(errors="replace").strip(" ") for field in line.split(separator)]


def quotes_hold(separator: bytes) -> bool:
    """Return whether quotes hold a value together between such separators."""
    return separator in _QUOTED


def told(path: Path, form: Format) -> list[AmbiguousFileWarning]:
    """Return what should be said of a form that is not sure."""
    found = []
    if form.doubtful:
        other = form.also[0]
        kind, kinds = (
            ("lists, a user and then items", "columns") if form.name in LISTS else ("columns", "lists of items")
        )
        what = f"{path} is read as {kind}, but its lines could be {kinds}; pass "
        words = (Argument("format", form.name), " if that is right, else ", Argument("format", other))
        found.append(AmbiguousFileWarning(what, *words))
    if form.odd_first_row:
        what = f"{path}: the first row is read as a pair, but its values never come back, as names would not; pass "
        words = (Argument("header", True), " if it holds names, else ", Argument("header", False))
        found.append(AmbiguousFileWarning(what, *words))
    return found


def _separator(text: str) -> bytes:
    """Return the bytes of a separator, which may be given by its name, such as "tab"."""
    return SEPARATORS.get(text, text.replace("\\t", "\t").encode())


def _refuse(path: Path, lines: list[bytes]) -> str | None:
    """Return "json-lines" or "libsvm" if the lines are that; raise a ReadError for what is no table, by name."""
    if _JSON.match(lines[0]):
        if _JSON_LINE.match(lines[0]):
            return "json-lines"
        remedy = "write one object on a line (in pandas .to_json(file, orient='records', lines=True)), or CSV"
        raise ReadError(path, f"holds one document of JSON, expected JSON lines, columns or lists; {remedy}")
    for pattern, (kind, remedy) in _NO_TABLE.items():
        # Of all lines, as an id may look like one of these.
        if all(pattern.match(line) for line in lines[:2]):
            raise ReadError(path, f"holds {kind}, expected columns or lists; {remedy}")
    if all(_LIBSVM.match(line) for line in lines[:_SEEN]):
        return "libsvm"
    return None


def _refuse_prose(path: Path, lines: list[bytes], name: str) -> None:
    """Raise a ReadError where the words of lists, or of lines that nothing cuts alike, are those of sentences or code.

    The first word of a line does not count, as a colon may stand after a user, nor do marks for what is missing.
    """
    texts = [line.decode(errors="replace") for line in lines]
    if name in SEPARATORS and name != "space":
        cut = [fields_of(line, SEPARATORS[name]) for line in lines]
        usual = Counter(map(len, cut)).most_common(1)[0]
        if name == "recbole" or (usual[0] > 1 and 5 * usual[1] > 3 * len(cut) and not _clauses(texts, cut, name)):
            return
    elif name not in ("adjacency", "space"):
        return
    words = [word for text in texts for word in text.split()[1:]]
    odd = [word for word in words if _ODD_WORD.search(word) and word not in _MISSING_MARKS]
    if len(odd) < _ODD_LEAST or len(odd) < _ODD_SHARE * len(words):
        return
    examples = ", ".join(list(map(repr, dict.fromkeys(odd)))[:_ODD_LEAST])
    what = f"reads like prose or code, with words such as {examples}; expected columns or lists of ids: give the file"
    otherwise = Argument("format", "adjacency"), " if each line is a user and then items"
    raise ReadError(path, f"{what} of the interactions, or pass ", *otherwise)


def _refuse_lone_words(path: Path, lines: list[bytes], name: str) -> None:
    """Raise a ReadError where lists have no items in most lines: it is more likely that something else cuts them."""
    words = [line.split() for line in lines]
    lone = [row[0] for row in words if len(row) == 1 and not row[0].isdigit() and not _LISTED.match(row[0])]
    if name != "adjacency" or 2 * len(lone) < len(words):
        return
    what = (
        f"holds {len(lone):,} of {len(words):,} lines without a blank, such as {lone[0].decode(errors='replace')!r:.60}"
    )
    remedy = ("; expected columns, or a user and then items: pass ", Argument("separator"), " with what cuts them, or ")
    raise ReadError(path, what, *remedy, Argument("format", "adjacency"), " if those are users without items")


def _clauses(texts: list[str], rows: list[list[str]], name: str) -> bool:
    """Tell whether rows of one width are sentences: a blank after each mark, their ends, nobody twice."""
    mark = SEPARATORS[name].decode()
    apart = sum(text.count(f"{mark} ") + text.rstrip().endswith(mark) for text in texts)
    ended = sum(bool(_LINE_OF_PROSE.search(text)) for text in texts)
    firsts = [row[0] if row else "" for row in rows]
    once = len(set(firsts)) == len(rows) and 2 * sum(" " in first for first in firsts) >= len(rows)
    return once and apart == sum(text.count(mark) for text in texts) and 5 * ended >= len(texts)


def _name(lines: list[bytes], hints: Hints) -> tuple[str, tuple[str, ...], bool]:
    """Return the name of the form, the other names that the lines allow, and whether these would mean other pairs."""
    first = lines[0].rstrip(b"\r\n")
    if all(_RECBOLE.match(field) for field in first.split(b"\t")):
        return "recbole", (), False
    seen = lines[:_SEEN]
    if all(_LISTED.match(line) for line in seen) and any(re.search(rb"\d \d", line) for line in seen):
        return "adjacency", (), False
    name = _columns(seen)
    if name is not None:
        rows = [fields_of(line, SEPARATORS[name]) for line in seen]
        lists = hints.columns is None and not hints.header and _may_be_lists(rows)
        return name, ("adjacency",) if lists else (), lists
    rows = [line.split() for line in lines]
    texts = [[field.decode(errors="replace") for field in row] for row in rows[:_SEEN]]
    if len({len(row) for row in rows}) == 1:
        width = len(rows[0])
        counts_all = all(row[0] == b"%d" % (width - 1) for row in rows)
        # two columns stay columns: "1 5" is far more often user 1 than a list of one item
        if counts_all and width > 2 and len(rows) > 1:
            return "counted", ("space",), False
        if hints.columns is not None or hints.header or _header(texts, "space", hints, ())[0] is not None:
            return "space", (), False
        if width == 2:
            return "space", ("adjacency", "counted") if counts_all else ("adjacency",), False
        if _may_be_lists(texts):
            return "adjacency", ("space",), True
        return "space", (), False
    leads = [row[0] for row in rows]
    in_order = any(all(lead == b"%d" % number for number, lead in enumerate(leads, start)) for start in (0, 1))
    if not in_order and 2 * sum(row[0] == b"%d" % (len(row) - 1) for row in rows) >= len(rows):
        return "counted", (), False
    usual = Counter(len(row) for row in rows).most_common(1)[0][1] / len(rows)
    listed_once = len({row[0] for row in rows}) == len(rows)
    lists = usual < (0.95 if listed_once else 0.5) or (len(rows) < 20 and listed_once)
    return ("adjacency" if lists else "space"), (), False


def _between_items(lines: list[bytes]) -> bytes:
    """Return what stands between items, or after the user, if that is no blank."""
    for mark in (b",", b";"):
        if mark in lines[0] and not any(re.search(rb"[^,;\s]\s+[^,;\s]", line) for line in lines):
            return mark
    listed = all(map(_LISTED.match, lines))
    return next((mark for mark in (b",", b";", b":") if listed and mark in lines[0]), b" ")


def _columns(lines: list[bytes]) -> str | None:
    """Return the separator's name that cuts the lines into columns best; None if only blanks are left to do it."""
    shares: dict[str, float] = {}
    for name in ("tab", "double-colon", "comma", "semicolon"):
        if not any(SEPARATORS[name] in line for line in lines[:2]):
            continue
        width, count = Counter(len(fields_of(line, SEPARATORS[name])) for line in lines).most_common(1)[0]
        shares[name] = count / len(lines) if width > 1 else 0.0
    if not any(SEPARATORS[name] in lines[0].strip() for name in shares):
        return None
    if "comma" in shares:
        for name in ("semicolon", "space"):  # of which the comma may be the point of a number
            cut = [fields_of(line, SEPARATORS[name]) for line in lines]
            points = [field for row in cut for field in row if "," in field]
            apart = min(sum("," not in field for field in row) for row in cut)
            if len({len(row) for row in cut}) == 1 and apart > 1 and points and all(map(_DECIMAL_COMMA.match, points)):
                return name if name == "semicolon" else None
    best = max(shares, key=lambda name: shares[name])  # of equals the first
    if (
        best == "comma"
        and shares.get("semicolon") == shares["comma"]
        and not any(re.search(rb",\S", line) for line in lines)
    ):
        return "semicolon"  # commas with blanks after them are those of names, as in "lamp, red"
    return best


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
