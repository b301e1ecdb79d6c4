"""Upper bounds of inner products: what the list of one user need not look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from buir.ranking.selection import largest_of_one

_LEAST = 1 << 20
"""Numbers in an item table below which reading all of it costs next to nothing."""

_WIDTHS = (30, 46, 62)
"""Coordinates of a head; with the two that bound the rest it fills two cache lines, or three, or four."""

_ASKED, _LISTED = 64, 20
"""Users who are asked for lists of this length, to find out which width pays."""

_GATHERED, _PAYS = 4, 0.75
"""What reading a row somewhere in the table costs, one after another being 1; and what share of all may be read."""

_AHEAD = 5
"""Times the length of a list: as many exact scores, of the items with the highest bounds, say what a list ends with."""

_ROWS = 8192
"""Rows of a table that are read at a time."""


class Bound(NamedTuple):
    """What is known of the scores of all items for one user."""

    upper: np.ndarray
    """At least the scores, float32, shape (n_items,); -inf where an item must not be listed."""
    slack: np.ndarray
    """By how much they are raised over what the heads alone say."""
    scores: Callable[[np.ndarray], np.ndarray]
    """Gives the scores of some items."""

    def candidates(self, k: int) -> np.ndarray:
        """Return, ascending, the items that a list of k can hold: all whose bound reaches the scores of k others."""
        likely = largest_of_one(self.upper - self.slack, _AHEAD * k)[1]
        if len(likely) <= k:
            return np.sort(likely)
        scores = self.scores(likely)
        return np.flatnonzero(self.upper >= np.partition(scores, len(scores) - k)[len(scores) - k])


class Bounds:
    r"""Two factor tables, and for each item a short vector whose product with a user's is at least the score.

    Of the singular value decomposition of all scores, :math:`U V^\top = X S Y^\top`, a head has the first coordinates
    of :math:`X S^{1/2}` and :math:`Y S^{1/2}`. One more is the length of the rest (the inequality of Cauchy and
    Schwarz), and a last one what rounding can do. So one product with a narrow table leaves few items whose scores have
    to be known, and the lists stay exact.

    Parameters
    ----------
    users, items
        Factors, finite, float32, shapes (n_users, d) and (n_items, d). Nobody may write to them while this is in use.
    width
        Coordinates of a head, below d.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, width: int) -> None:
        self.users, self.items, self.width = users, items, width
        self._turn, of_items = _directions(users, items)
        # twice what the sums of d products, and of fewer, can err by in units of the lengths of their vectors
        self._error = items.shape[1] * float(np.finfo(np.float32).eps)
        self.heads = np.empty((len(items), width + 2), dtype=np.float32)
        for start, rows in _parts(items):
            turned = rows @ of_items
            part = self.heads[start : start + len(rows)]
            part[:, :width] = turned[:, :width]
            part[:, width] = np.sqrt(_squares(turned[:, width:]))
            part[:, width + 1] = np.sqrt(_squares(turned) + _squares(rows))
        self._rest = self.heads[:, width].copy()

    @classmethod
    def where_they_pay(cls, users: np.ndarray, items: np.ndarray) -> Bounds | None:
        """Make bounds if the item table is large and most of the scores lie in few directions; else return None."""
        if items.size < _LEAST or not (_finite(users) and _finite(items)) or not users.any():
            return None
        asked = np.unique(np.linspace(0, len(users) - 1, _ASKED).astype(np.int64)).tolist()
        n_items, d = items.shape
        best, least = None, _PAYS * d
        for width in _WIDTHS:
            if width + 2 < least:
                bounds = cls(users, items, width)
                needed = np.mean([len(bounds.of(user).candidates(_LISTED)) for user in asked])
                cost = width + 2 + _GATHERED * d * needed / n_items
                best, least = (bounds, cost) if cost < least else (best, least)
        return best

    def of(self, user: int) -> Bound:
        """Bound the scores of all items for a user."""
        vector = self.users[user]
        exact = vector.astype(np.float64)
        turned = exact @ self._turn
        rest, whole = np.sqrt(_squares(turned[self.width :])), np.sqrt(_squares(turned) + _squares(exact))
        head = np.concatenate([turned[: self.width], [rest, self._error * whole]]).astype(np.float32)
        return Bound(self.heads @ head, head[-2] * self._rest, lambda items: self.items[items] @ vector)


def _directions(users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what turns users into X S^1/2 and items into Y S^1/2, two (d, d) matrices; A B' is the identity."""
    of_users, of_items = _moment(users), _moment(items)
    values, vectors = np.linalg.eigh(of_users)
    length = np.sqrt(np.maximum(values, _TINY * values[-1]))
    root, inverse = (vectors * length) @ vectors.T, (vectors / length) @ vectors.T
    values, vectors = np.linalg.eigh(root @ of_items @ root)
    # squares of the singular values, the largest first
    values, vectors = values[::-1], vectors[:, ::-1]
    scale = np.maximum(values, _TINY * values[0]) ** 0.25 if values[0] > 0 else np.ones(len(values))
    return inverse @ (vectors * scale), root @ (vectors / scale)


_TINY = 1e-10
"""Share of the largest square below which a direction counts as empty, so that its inverse stays a number."""


def _moment(table: np.ndarray) -> np.ndarray:
    """Return T' T."""
    return sum((rows.T @ rows for _, rows in _parts(table)), np.zeros((table.shape[1], table.shape[1])))


def _parts(table: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Go over a table in float64, of which there is only a part at a time."""
    for start in range(0, len(table), _ROWS):
        yield start, table[start : start + _ROWS].astype(np.float64)


def _squares(table: np.ndarray) -> np.ndarray:
    """Return the squared length of each row, or of one vector."""
    return np.einsum("...j,...j->...", table, table)


def _finite(table: np.ndarray) -> bool:
    return all(np.isfinite(rows).all() for _, rows in _parts(table))
