"""What a page is made of: sections of sentences, tables and figures; and the forms of a table as text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from buir.errors import one_line


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell with a tone: "best", "wins", "ties", "loses" or none."""

    text: str
    tone: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """Texts and cells under a head; the first column is a name, the others are numbers, or ``words``."""

    frame: pd.DataFrame
    caption: str = ""
    words: bool = False


@dataclass(frozen=True)
class Image:
    """A figure; ``name`` becomes its file's name."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; within another section it opens on a click."""

    title: str
    blocks: Sequence["Block"]


Block = str | list[str] | Table | Image | Section
"""A plain string is a paragraph, a list has a sentence a line; both may hold ``**bold**`` and `` `code` ``."""


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "", *, words: bool = False) -> Table:
    """Make a table of rows; a name may stand twice in its head."""
    return Table(pd.DataFrame(list(rows), columns=list(head), dtype=object), caption, words)


def markdown(table: Table) -> str:
    """Write a table in Markdown, what is best or wins in bold."""
    rule = ["---", *["---" if table.words else "---:"] * (len(table.frame.columns) - 1)]
    lines = [table.frame.columns, rule, *table.frame.itertuples(index=False, name=None)]
    texts = [[f"**{c}**" if getattr(c, "tone", "") in ("best", "wins") else str(c) for c in line] for line in lines]
    rows = ("| " + " | ".join(one_line(text).replace("|", "\\|") for text in line) + " |" for line in texts)
    return "\n".join([*([table.caption, ""] if table.caption else []), *rows])


def aligned(table: Table, *, words: bool = False) -> str:
    """Pad columns to equal width: the first to the left, and the last of ``words``, numbers to the right."""
    rows = [list(table.frame.columns), *table.frame.itertuples(index=False, name=None)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [str.ljust, *[str.rjust] * (len(widths) - 1)]
    if words:
        pads[-1] = str.ljust
    lines = ["  ".join(pad(text, w) for pad, text, w in zip(pads, row, widths, strict=True)) for row in rows]
    return "\n".join([lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])])
