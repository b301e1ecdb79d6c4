"""What lines hold that are no table and no lists, each told by its name with the way out."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from buir.data.files.text import SEPARATORS, fields_of
from buir.errors import Argument, ReadError, shortened

SEEN = 2000
"""Lines of the head of a file that are looked at."""
LISTED = re.compile(rb"\d+[\t,;:]\s*\d+(\s+\d+)*\s*$")
"""A user, then items with blanks between them."""
_JSON = re.compile(rb'\s*(\[\s*)?\{\s*("|\}|$)|\[\s*$')
_JSON_LINE = re.compile(rb"\s*\{.*\}\s*$")
_LIBSVM = re.compile(
    rb"\s*([+-]?[\d.]+(e[+-]?\d+)?\s+)?(qid:\d+\s+)?\d+:[+-]?[\d.]+(e[+-]?\d+)?(\s+\d+:\S+)*\s*(#.*)?$", re.I
)
_NO_TABLE = {
    re.compile(rb"\s*[\[({]\s*['(\[{]|\s*\(.*\)[\],;]*\s*$|\s*\[.*\],?\s*$|\s*(defaultdict|array|dict)\("): (
        "values written by Python",
        "make a frame of them (pandas.DataFrame of ast.literal_eval for each line) and pass it, or write it as CSV",
    ),
    re.compile(
        rb"\s*(INSERT\s+INTO|CREATE\s+TABLE|DROP\s+TABLE|COPY\s+\S+.*FROM\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM|/\*!"
        rb"|--\s)",
        re.I,
    ): (
        "statements of SQL",
        "load them into their database and export the table as CSV",
    ),
    re.compile(rb"\s*<(\?xml|!DOCTYPE|[a-z][a-z0-9]*[\s>])", re.I): ("XML or HTML", "export the interactions as CSV"),
    re.compile(rb"[^\[\](){}]+(:|->|=>|=)\s*[\[({].*[\])}][,;]?\s*$"): (
        "users before lists in brackets",
        "write each user and then the items on a line, with blanks between, or pass a frame of them",
    ),
    re.compile(rb"\s*@(relation|attribute|data)\b", re.I): ("ARFF", "write the rows below @data as CSV, with a header"),
}
"""How lines begin that are no table, what they are, and the way out."""
_RULE = re.compile(rb"(?=.*([|+]|[-=]{2} +[-=]{2}))\s*[-+|=: ]*(--|==)[-+|=: ]*\s*$")
"""A line that is drawn below a header, or around a table."""
_BETWEEN = {
    **{name: re.compile(re.escape(mark)) for name, mark in SEPARATORS.items() if name not in ("space", "recbole")},
    "ampersand": re.compile(rb"&"),
    "bar": re.compile(rb"\|"),
    "space": re.compile(rb"\s+"),
}
_NAMED = re.compile(rb"""\s*["']?([A-Za-z_][\w.-]*)["']?\s*(=|:\s|:)\s*[^=:].*$""", re.S)
"""A field that begins with its name."""
_ODD_WORD = re.compile(
    r"""[^\W\d_]["'`)\]}]*[.,;:!?]+["'`)\]}]*$|^[^\w"]+$|[(\[{][^)\]}]*$|^[^(\[{]*[)\]}]|^[^"]*"[^"]*$"""
)
"""A word between blanks that ends as in sentences, has neither letter nor digit, or opens or closes what others do."""
_IN_QUOTES = re.compile(r'"(?:[^"]|"")*"')
_MISSING_MARKS = ("-", "--", "?", ".", "*")
_LINE_OF_PROSE = re.compile(r"[^\W\d_][\"'`)]*[.!?:]\W*$")
_ODD_SHARE, _ODD_LEAST = 0.05, 3
_BRACKETS = {
    "(": ")",
    "[": "]",
    "{": "}",
    "<": ">",
    '"': '"',
    "'": "'",
    "\u201c": "\u201d",
    "\u2018": "\u2019",
    "\u00ab": "\u00bb",
}
_QUOTES = "\"'\u201c\u2018\u00ab"
_LOOSE = "|:;,="


def refuse(path: Path, lines: list[bytes]) -> str | None:
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
    if any(_RULE.match(line) for line in lines[:3]) and len(lines) > 1:
        what = "holds a table that is drawn, as by psql, MySQL or Markdown, expected columns or lists"
        raise ReadError(path, f"{what}; export it as CSV")
    # one number, a colon and one number on each line are two columns, whatever LibSVM would make of them
    pairs = all(line.count(b":") == 1 and b" " not in line.strip() for line in lines[:SEEN])
    if all(_LIBSVM.match(line) for line in lines[:SEEN]) and not pairs:
        return "libsvm"
    return None


def refuse_named_fields(path: Path, lines: list[bytes], known: Callable[[str], bool]) -> None:
    """Raise a ReadError where the fields of each line begin with their names, as in "user=1,item=2".

    ``known`` tells a name of users or items: a colon follows other words too, as in "film:1".
    """
    if not _NAMED.match(lines[0]):
        return
    for between in _BETWEEN.values():
        rows = [[_NAMED.match(field) for field in between.split(line.strip())] for line in lines[:SEEN]]
        if any(len(row) < 2 or None in row for row in rows):
            continue
        names = {tuple(found[1] for found in row if found) for row in rows}
        marks = {found[2].replace(b"\t", b" ") for row in rows for found in row if found}
        if len(names) == 1 and len(marks) == 1:
            name, *others = (name.decode() for name in next(iter(names)))
            if marks != {b":"} or any(map(known, (name, *others))):
                first = ", ".join(repr(field.decode(errors="replace").strip()) for field in between.split(lines[0])[:2])
                what = f"holds the name of each field before its value, as in {shortened(first)}; expected columns"
                remedy = f"{what} or lists: write the names once, as a header, or, if they belong to the ids, pass "
                raise ReadError(path, remedy, Argument("format"))


def syntax_of(values: Callable[[str], bool], first: str, *, quotes_alone: bool = False) -> str | None:
    """Return how every value of a column begins or ends, if that is a mark that belongs to no id; else None.

    Parameters
    ----------
    values
        Whether a regular expression is found in each value.
    first
        One of them.
    quotes_alone
        Whether only quotes around each are looked for.
    """
    if len(first) < 2 or not re.search(r"\w", first):
        return None
    start, end = first[0], first[-1]
    if quotes_alone:
        found = start in _QUOTES and end == _BRACKETS[start]
        return start if found and values(f"^{re.escape(start)}.*{re.escape(end)}$") else None
    closers = {closer: opener for opener, closer in _BRACKETS.items()}
    patterns: list[tuple[str, str]] = []
    if start in _LOOSE or start < " ":
        patterns.append((start, f"^{re.escape(start)}"))
    if end in _LOOSE or end < " ":
        patterns.append((end, f"{re.escape(end)}$"))
    if start in _BRACKETS:
        closer = re.escape(_BRACKETS[start])
        whole = "?" if start != "{" else ""  # in braces Windows writes ids
        patterns.append((start, f"^{re.escape(start)}[^{closer}]*{closer if whole else ''}{whole}$"))
    if end in closers:
        opener = re.escape(closers[end])
        whole = "?" if end != "}" else ""
        patterns.append((end, f"^{opener if whole else ''}{whole}[^{opener}]*{re.escape(end)}$"))
    return next((mark for mark, pattern in patterns if values(pattern)), None)


def refuse_prose(path: Path, lines: list[bytes], name: str, *, quoted: bool = False) -> None:
    """Raise a ReadError where the words of lists, or of lines that nothing cuts alike, are those of sentences or code.

    The first word of a line does not count, as a colon may stand after a user, nor do marks for what is missing, nor,
    where quotes hold values together, what is in them.
    """
    texts = [line.decode(errors="replace") for line in lines]
    texts = [_IN_QUOTES.sub("quoted", text) for text in texts] if quoted else texts
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


def refuse_lone_words(path: Path, lines: list[bytes], name: str) -> None:
    """Raise a ReadError where lists have no items in most lines: it is more likely that something else cuts them."""
    words = [line.split() for line in lines]
    lone = [row[0] for row in words if len(row) == 1 and not row[0].isdigit() and not LISTED.match(row[0])]
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
