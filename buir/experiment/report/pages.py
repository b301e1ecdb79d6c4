"""A page of headings, text, tables and figures, written as Markdown and as one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.8rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; } h3 { margin-top: 1.8rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0 1.2rem; font-size: 13px; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e4e4e4; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; } th { background: #f5f5f5; } td { font-variant-numeric: tabular-nums; }
.text th, .text td { text-align: left; }
.best { font-weight: 700; } .wins { background: #d5e5f2; } .loses { background: #f9ddd2; } .ties { color: #666; }
img { max-width: 100%; height: auto; } code { background: #f3f3f3; padding: 0 .2rem; overflow-wrap: anywhere; }
nav { background: #f8f8f8; padding: .5rem 1rem; } details { margin: .6rem 0; } summary { cursor: pointer; }
""".strip()


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell with a tone: "best", "wins", "ties", "loses" or none."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first column is a name, the others are numbers unless ``text``."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    text: bool = False


@dataclass(frozen=True)
class Image:
    """A figure; ``name`` becomes its file's name."""

    name: str
    figure: Figure
    caption: str

    def png(self) -> bytes:
        """Draw it, the same bytes for the same figure."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
        return buffer.getvalue()


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Fold:
    """Blocks behind a title that opens on a click."""

    title: str
    blocks: Sequence[Block]


Block = str | Table | Image | Bullets | Fold
"""A plain string is a paragraph; it may hold ``**bold**`` and `` `code` ``."""


@dataclass
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    level: int = 2


@dataclass
class Page:
    """A whole report."""

    title: str
    sections: list[Section]

    def markdown(self, figures: str = "figures") -> tuple[str, dict[str, bytes]]:
        """Write Markdown, and the figures that it shows by file name under the folder ``figures``."""
        files: dict[str, bytes] = {}
        parts = [f"# {_one_line(self.title)}"]
        for section in self.sections:
            parts.append(f"{'#' * section.level} {_one_line(section.title)}")
            parts += [_markdown(block, figures, files) for block in section.blocks]
        return "\n\n".join(parts) + "\n", files

    def html(self) -> str:
        """Write one HTML file that needs no other file."""
        anchors = {id(section): f"s{number}" for number, section in enumerate(self.sections)}
        links = " · ".join(f'<a href="#{anchors[id(s)]}">{_inline(s.title)}</a>' for s in self.sections if s.level == 2)
        body = [f"<h1>{_inline(self.title)}</h1>", f"<nav>{links}</nav>"]
        for section in self.sections:
            tag = f"h{section.level}"
            body.append(f'<{tag} id="{anchors[id(section)]}">{_inline(section.title)}</{tag}>')
            body += [_html(block) for block in section.blocks]
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(self.title)}</title>'
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head>{head}\n<style>{_STYLE}</style></head>\n<body>\n'
            + "\n".join(body)
            + "\n</body></html>\n"
        )


def _markdown(block: Block, figures: str, files: dict[str, bytes]) -> str:
    if isinstance(block, str):
        return block
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Image):
        files[f"{block.name}.png"] = block.png()
        return f"![{_one_line(block.caption)}]({figures}/{block.name}.png)"
    if isinstance(block, Fold):
        inner = "\n\n".join(_markdown(part, figures, files) for part in block.blocks)
        return f"<details><summary>{_inline(block.title)}</summary>\n\n{inner}\n\n</details>"
    rule = ["---"] * len(block.head) if block.text else ["---", *["---:"] * (len(block.head) - 1)]
    lines = [list(block.head), rule, *([_markdown_cell(cell) for cell in row] for row in block.rows)]
    table = "\n".join("| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{block.caption}\n\n{table}" if block.caption else table


def _markdown_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return cell
    return f"**{cell.text}**" if cell.tone in ("best", "wins") else cell.text


def _html(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{_inline(block)}</p>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Image):
        data = base64.b64encode(block.png()).decode()
        caption = html.escape(block.caption, quote=True)
        return f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{_inline(block.caption)}</figcaption></figure>'
    if isinstance(block, Fold):
        return (
            f"<details><summary>{_inline(block.title)}</summary>\n"
            + "\n".join(_html(part) for part in block.blocks)
            + "\n</details>"
        )
    caption = f"<caption>{_inline(block.caption)}</caption>" if block.caption else ""
    head = "".join(f"<th>{_inline(name)}</th>" for name in block.head)
    rows = "".join("<tr>" + "".join(_html_cell(cell) for cell in row) + "</tr>\n" for row in block.rows)
    kind = ' class="text"' if block.text else ""
    return (
        f'<div class="scroll"><table{kind}>{caption}<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>'
    )


def _html_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{_inline(cell)}</td>"
    return f'<td class="{cell.tone}">{_inline(cell.text)}</td>' if cell.tone else f"<td>{_inline(cell.text)}</td>"


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())
