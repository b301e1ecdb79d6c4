"""Item lists as rows: one user per line, with a count or the user's label in front, and with values or without."""

import re
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from buir.data.files.columns import Rows, check_ids, label_column, missing_values, present, rating_column
from buir.data.files.formats import Format
from buir.data.files.text import Text
from buir.errors import AmbiguousFileWarning, Argument, Finding, InputError, ReadError, counted, report, shortened

_FEW = 3
"""Items, up to which a list says nothing by having none twice."""
_VALUED = re.compile(r"(\d+):(\S+)$")


def read_lists(
    path: Path, text: Text, form: Format, *, drop_missing: bool = False, sure: bool = False
) -> tuple[Rows, list[Finding]]:
    """One user per line: a count and items (the user is the line's number), or the user and items.

    With ``sure`` they are not looked at in doubt whether they are lists.
    """
    lines, skipped = _lines(text)
    cut = [_cut(line, form) for line in lines]
    sizes = np.fromiter((len(line) for line in cut), dtype=np.int64, count=len(cut))
    if form.name == "counted":
        _check_counts(path, cut, skipped)
    tokens = pa.array(list(chain.from_iterable(cut)), pa.string())
    leads = np.zeros(len(tokens), dtype=bool)
    leads[(np.cumsum(sizes) - sizes)[sizes > 0]] = True
    items = tokens.filter(pa.array(~leads))
    names = pa.array(np.arange(len(cut))) if form.name == "counted" else tokens.filter(pa.array(leads))
    lengths = np.maximum(sizes - 1, 0)
    line_of_pair = np.repeat(np.arange(len(cut)), lengths)
    if not len(items):
        raise ReadError(path, "holds only empty lists; give at least one item")
    users = pa.chunked_array([names.take(pa.array(np.cumsum(sizes > 0)[line_of_pair] - 1))])
    fields = [users, pa.chunked_array([items])]
    missing = np.zeros(len(items), dtype=bool)
    if drop_missing:
        missing = missing_values(fields[0], typed=False) | missing_values(fields[1], typed=False)
        fields, line_of_pair = [present(field, ~missing) for field in fields], line_of_pair[~missing]
    try:
        columns = [label_column(field, role) for field, role in zip(fields, ("user", "item"), strict=True)]
    except InputError as error:
        line = int(line_of_pair[error.rows[0]]) + 1 + skipped if error.rows.size else None
        raise ReadError(path, *error.message, line=line) from error
    rows = Rows(
        columns[0].field,
        columns[1].field,
        missing=int(np.count_nonzero(missing)),
        blank_lines=int(np.count_nonzero(sizes == 0)) + skipped - len(text.comments),
        empty_lists=int(np.count_nonzero(sizes == 1)),
    )
    return rows, [] if sure or form.name == "counted" else _doubts(path, cut, rows)


def _doubts(path: Path, cut: list[list[str]], rows: Rows) -> list[Finding]:
    """Look at lists that were told by the lines alone.

    Returns
    -------
    A warning where a user has several, or where no item of text is in two of them.

    Raises
    ------
    ReadError
        If all users, or all items, have the same mark of a syntax.
    """
    meant = Argument("format", "adjacency")
    for role, field in (("user", rows.users), ("item", rows.items)):
        check_ids(path, role, f"the place of {role}s in each line", field, remedy=meant)
    found: list[Finding] = []
    heads = Counter(line[0] for line in cut if line)
    if max(map(len, cut)) > 2 and (again := heads.total() - len(heads)):
        name = heads.most_common(1)[0][0]
        what = f"{path} is read as lists, but {counted(again, 'line')} begin with a user that another has, such as "
        found.append(AmbiguousFileWarning(f"{what}{name!r}; pass ", meant, " if these are one list"))
    values = rows.items.to_pylist()
    if len(values) > _FEW and len(set(values)) == len(values) and not all(map(str.isdigit, values)):
        what = f"{path} is read as lists, a user and then items, but none of the {len(values):,} items is in two; pass "
        found.append(AmbiguousFileWarning(what, meant, " if that is right, else ", Argument("separator")))
    return found


def read_valued_lists(path: Path, text: Text) -> Rows:
    """One user per line: perhaps a label, then ``item:value``, as LibSVM writes; what follows ``#`` is a comment.

    Labels that differ on every line are the users. Others are classes: the users are then numbered by lines from 0, and
    a warning says so.
    """
    lines, skipped = _lines(text)
    cut = [(number, fields) for number, line in enumerate(lines, 1) if (fields := line.partition("#")[0].split())]
    labels = [fields.pop(0) if ":" not in fields[0] else None for _, fields in cut]
    named = None not in labels and len(set(labels)) == len(labels)
    users: list[str] = []
    items: list[str] = []
    values: list[str] = []
    empty = 0
    for place, (number, fields) in enumerate(cut):
        empty += not fields
        for field in fields:
            found = _VALUED.match(field)
            if found is None:
                what = f"has {shortened(repr(field))}, expected item:value, such as 7:1"
                raise ReadError(path, f"{what}, with a whole number before the colon", line=number + skipped)
            users.append(str(labels[place] if named else place))
            items.append(found[1])
            values.append(found[2])
    if not items:
        raise ReadError(path, "holds only empty lists; give at least one item")
    ratings = pa.chunked_array([pa.array(values)])
    try:
        columns = [
            label_column(pa.chunked_array([pa.array(ids)]), role) for ids, role in ((users, "user"), (items, "item"))
        ]
        numbers = rating_column(ratings)
    except InputError as error:
        raise ReadError(path, *error.message) from error
    if not named and any(label is not None for label in labels):
        what = (
            f"{path} holds lists of LibSVM whose labels repeat, so that they name nobody; users are numbered by line: "
        )
        remedy = "write the user in place of the label, or leave labels out"
        report([AmbiguousFileWarning(what, remedy, argument="format")])
    who = "label" if named else "line"
    return Rows(
        columns[0].field,
        columns[1].field,
        ratings=numbers,
        rating_name="value",
        columns=f"user={who}, item=index, rating=value",
        blank_lines=len(lines) - len(cut) + skipped - len(text.comments),
        empty_lists=empty,
    )


def _cut(line: str, form: Format) -> list[str]:
    """Return the words of a line, a user and items; with a mark after the user, blanks may belong to the items."""
    between = form.separator.decode()
    if not form.user_mark:
        return line.replace(between, " ").split()
    user, _, items = line.partition(form.user_mark.decode())
    if between.isspace():
        return [*user.split(), *items.split()]
    return [*user.split(), *(item for part in items.split(between) if (item := part.strip()))]


def _lines(text: Text) -> tuple[list[str], int]:
    """Return the lines, and how many of comment and blank ones came before the first."""
    content = text.content.decode().rstrip()
    if not text.comments:
        return content.split("\n"), 0
    lines = content.split("\n")
    first = next(place for place, line in enumerate(lines) if line.strip())
    return lines[first:], first


def _check_counts(path: Path, lines: list[list[str]], skipped: int) -> None:
    for number, line in enumerate(lines, start=1 + skipped):
        if line and line[0] == str(len(line) - 1):
            continue
        if not line:
            what = "is blank, so that the users after it would get wrong numbers; write 0 for a user without items"
        elif re.fullmatch(r"-\d+", line[0]):
            what = f"has the negative count {shortened(line[0])}; write the number of items that follow"
        elif not re.fullmatch(r"0|[1-9]\d*", line[0]):
            what = f"starts with {shortened(repr(line[0]))}, expected the count of the items that follow"
        else:
            promised = f"promises {shortened(line[0])} item{'' if line[0] == '1' else 's'}"
            what = f"{promised} and lists {len(line) - 1}; correct the count or the list"
        otherwise = Argument("format", "adjacency"), " if lines start with a user"
        raise ReadError(path, f"{what}; or pass ", *otherwise, line=number)
