"""Item lists as rows: one user per line, with a count or with the user's label in front."""

import re
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from buir.data.files.columns import Rows, label_column
from buir.data.files.formats import Format, check_text, read_bytes
from buir.errors import Argument, InputError, ReadError


def read_lists(path: Path, form: Format) -> Rows:
    """One user per line: a count and items (the user is the line's number), or the user and items."""
    raw, _ = read_bytes(path)
    check_text(path, raw)
    lines = [line.split() for line in raw.decode().rstrip().split("\n")]
    sizes = np.fromiter((len(line) for line in lines), dtype=np.int64, count=len(lines))
    if form.name == "counted":
        _check_counts(path, lines)
    tokens = pa.array(list(chain.from_iterable(lines)), pa.string())
    leads = np.zeros(len(tokens), dtype=bool)
    leads[(np.cumsum(sizes) - sizes)[sizes > 0]] = True
    items = tokens.filter(pa.array(~leads))
    names = pa.array(np.arange(len(lines))) if form.name == "counted" else tokens.filter(pa.array(leads))
    lengths = np.maximum(sizes - 1, 0)
    line_of_pair = np.repeat(np.arange(len(lines)), lengths)
    if not len(items):
        raise ReadError(path, "holds only empty lists; give at least one item")
    users = names.take(pa.array(np.cumsum(sizes > 0)[line_of_pair] - 1))
    try:
        return Rows(
            label_column(pa.chunked_array([users]), "user"),
            label_column(pa.chunked_array([items]), "item"),
            blank_lines=int(np.count_nonzero(sizes == 0)),
            empty_lists=int(np.count_nonzero(sizes == 1)),
        )
    except InputError as error:
        line = int(line_of_pair[error.rows[0]]) + 1 if error.rows.size else None
        raise ReadError(path, *error.message, line=line) from error


def _check_counts(path: Path, lines: list[list[str]]) -> None:
    for number, line in enumerate(lines, start=1):
        if line and line[0] == str(len(line) - 1):
            continue
        if not line:
            what = "is blank, so that the users after it would get wrong numbers; write 0 for a user without items"
        elif re.fullmatch(r"-\d+", line[0]):
            what = f"has the negative count {line[0]}; write the number of items that follow"
        elif not re.fullmatch(r"0|[1-9]\d*", line[0]):
            what = f"starts with {line[0]!r}, expected the count of the items that follow"
        else:
            promised = f"promises {line[0]} item{'' if int(line[0]) == 1 else 's'}"
            what = f"{promised} and lists {len(line) - 1}; correct the count or the list"
        otherwise = Argument("format", "adjacency"), " if lines start with a user"
        raise ReadError(path, f"{what}; or pass ", *otherwise, line=number)
