"""How a line is cut into fields: by which separator, and whether quotes hold a value together."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

SEPARATORS = {"comma": b",", "semicolon": b";", "tab": b"\t", "double-colon": b"::", "space": b" ", "recbole": b"\t"}

_QUOTED = (b",", b";")
"""Separators of files in which quotes hold a value together; elsewhere they are letters, if nothing shows otherwise."""
_WITH_BLANKS = re.compile(r'"(?:[^"]|"")*"(?=\s|$)|\S+')


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
    if separator == b" ":
        text = line.decode(errors="replace")
        if not quoted:
            return text.split()
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
