"""Formulas as MathML, which browsers draw themselves: no script and nothing from a network."""

from html import unescape
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

_LOG = logging.getLogger(__name__)


def _html(node: nodes.Element, display: str) -> str:
    tex = " ".join(node.astext().split())
    try:
        drawn = convert(tex, display=display)
    except Exception as error:  # noqa: BLE001 - whatever it cannot read is a fault of the page
        _LOG.warning("a formula cannot be drawn (%s): %s", error, tex, location=node)
        return ""
    if "\\" in unescape(drawn):
        _LOG.warning("a formula has a command that is not known: %s", tex, location=node)
    return drawn


def _inline(self: Any, node: nodes.Element) -> None:
    self.body.append(_html(node, "inline"))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.Element) -> None:
    self.body.append(f'<div class="math">{_html(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the writers with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
