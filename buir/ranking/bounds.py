"""Upper bounds of inner products: what the list of one user need not look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch

from buir.ranking.selection import contenders

_LEAST = 1 << 20
"""Numbers in an item table below which reading all of it costs next to nothing."""

_WIDTHS = (30, 46, 62)
"""Coordinates of a head; with the two that bound the rest it fills two cache lines, or three, or four."""

_AHEAD = 5
"""``Bound.ahead`` of heads, which know little of the order of the best."""

_ASKED, _LISTED = 64, 20
"""Users who are asked for lists of this length, to find out which width pays."""

_GATHERED, _PAYS = 4, 0.75
"""What reading a row somewhere in the table costs, one after another being 1; and what share of all may be read."""

_product = getattr(torch, "_int_mm", None)
"""Product of two tables of eight bits, int32; not in torch's public names."""

_ROWS = 8192
"""Rows of a table that are read at a time."""

_BYTE = 0.3
"""What a coordinate of eight bits costs, one in single precision being 1."""

_ITEM, _USERS = 127, (127, 63)
"""Largest number of eight bits for an item's coordinate, and those tried for a user's."""

_ROOM = 1.001
"""Times that a sum of errors is raised, for the rounding of the errors themselves."""


class Bound(NamedTuple):
    """What is known of the scores of all items for one user."""

    upper: np.ndarray
    """At least the scores, float32, shape (n_items,); -inf where an item must not be listed."""
    slack: np.ndarray
    """By how much they are raised over what is most likely."""
    scores: Callable[[np.ndarray], np.ndarray]
    """Gives the scores of some items."""
    ahead: int = 1
    """Times the length of a list: of about as many items, the highest ones without the slack, the exact scores say what
    the list ends with."""

    def candidates(self, k: int) -> np.ndarray:
        """Return, ascending, the items that a list of k can hold: all whose bound reaches the scores of k others."""
        likely = contenders(self.upper - self.slack, self.ahead * k)
        if likely is None:  # some are no numbers, as their scores will tell
            return np.arange(len(self.upper))
        if len(likely) < k:  # there are no more
            return likely
        scores = self.scores(likely)
        return np.flatnonzero(self.upper >= np.partition(scores, len(scores) - k)[len(scores) - k])


class Bounds(Protocol):
    """Two factor tables, and what the scores of a user are at most, for less than the scores cost."""

    def of(self, user: int) -> Bound:
        """Bound the scores of all items for a user."""
        ...


def bounds_that_pay(users: np.ndarray, items: np.ndarray) -> Bounds | None:
    """Make bounds if the item table is large and there are some that cost clearly less than all scores; else None."""
    if items.size < _LEAST or not (_finite(users) and _finite(items)) or not users.any():
        return None
    asked = np.unique(np.linspace(0, len(users) - 1, _ASKED).astype(np.int64)).tolist()
    n_items, d = items.shape
    best, least = None, _PAYS * d
    for read, make in _kinds(users, items):
        if read < least:
            made = make()
            needed = np.mean([len(made.of(user).candidates(_LISTED)) for user in asked])
            cost = read + _GATHERED * d * needed / n_items
            best, least = (made, cost) if cost < least else (best, least)
    return best


def _kinds(users: np.ndarray, items: np.ndarray) -> Iterator[tuple[float, Callable[[], Bounds]]]:
    """Go over the kinds of bounds: what is read of each item, in coordinates, and what makes them."""
    d, most = items.shape[1], _largest_of_user(items.shape)
    if most is not None:
        yield _BYTE * d, partial(Rounded, users, items, most)
    else:
        for width in _WIDTHS:
            yield width + 2, partial(Heads, users, items, width)


class Heads:
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

    def of(self, user: int) -> Bound:
        """Bound the scores of all items for a user."""
        vector = self.users[user]
        exact = vector.astype(np.float64)
        turned = exact @ self._turn
        rest, whole = _length(turned[self.width :]), math.hypot(_length(turned), _length(exact))
        head = np.concatenate([turned[: self.width], [rest, self._error * whole]]).astype(np.float32)
        return Bound(self.heads @ head, head[-2] * self._rest, lambda items: self.items[items] @ vector, _AHEAD)


class Rounded:
    r"""Two factor tables, and the vectors of the items in eight bits.

    The vectors are turned as those of :class:`Heads`, so that no coordinate is much longer for users than for items,
    and rounded. The product of two rounded vectors is a whole number and exact, so that what it can be wrong by is
    known from what rounding took off either vector (the inequality of Cauchy and Schwarz). Items that are not further
    below the best need their exact scores; everything else is a quarter of the memory to read.

    Parameters
    ----------
    users, items
        Factors, finite, float32, shapes (n_users, d) and (n_items, d). Nobody may write to them while this is in use.
    most
        Largest whole number that a user's coordinate is rounded to.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, most: int) -> None:
        self.users, self.items, self.most = users, items, most
        self._turn, of_items = _directions(users, items)
        self._off = 1 / most  # by what share of its length rounding is expected to move a user's vector
        self.rounded = torch.empty(items.shape, dtype=torch.int8)
        self._scale, self._slack = (np.empty(len(items), dtype=np.float32) for _ in range(2))
        longest = 0.0
        for start, rows in _parts(items):
            part, turned = slice(start, start + len(rows)), rows @ of_items
            scale = (_largest(turned, axis=1) / _ITEM).astype(np.float32)
            whole = np.rint(turned / scale[:, None]).clip(-_ITEM, _ITEM)
            self.rounded[part], self._scale[part] = torch.from_numpy(whole), scale
            rounded = whole * scale[:, None]
            length = np.sqrt(np.maximum(_squares(turned), _squares(rounded)))
            self._slack[part] = _ROOM * (np.sqrt(_squares(turned - rounded)) + self._off * length)
            longest = max(longest, float(np.sqrt(_squares(rows) + _squares(turned)).max()))
        # twice what sums of d products can err by, for the longest vector: of exact scores as of these
        self._error = items.shape[1] * float(np.finfo(np.float32).eps) * longest

    def of(self, user: int) -> Bound:
        """Bound the scores of all items for a user."""
        vector = self.users[user]
        exact = vector.astype(np.float64)
        turned = exact @ self._turn
        scale = float(_largest(turned, axis=0)) / self.most
        whole = np.rint(turned / scale).clip(-self.most, self.most)
        length, lost = _length(turned), _length(turned - whole * scale)
        assert _product is not None
        sums = _product(self.rounded, torch.from_numpy(whole).to(torch.int8).unsqueeze(1))
        upper = np.multiply(sums.numpy()[:, 0], self._scale, dtype=np.float32, casting="unsafe")
        upper *= np.float32(scale)
        # an item's slack is for a user of length 1 whom rounding moves no further than expected
        slack = self._slack * np.float32(_ROOM * max(length, lost / self._off))
        slack += np.float32(_ROOM * self._error * math.hypot(_length(exact), length))
        upper += slack
        return Bound(upper, slack, lambda items: self.items[items] @ vector)


def _largest(table: np.ndarray, axis: int) -> np.ndarray:
    """Return the largest absolute value along an axis; 1 where all are 0."""
    most = np.abs(table).max(axis=axis, initial=0.0)
    return np.where(most > 0, most, 1.0)


def _largest_of_user(shape: tuple[int, int]) -> int | None:
    """Say up to which whole number a user's coordinate may go; None where products of eight bits are not to be had.

    They are quick where torch has AVX-512. What adds up pairs of them in sixteen bits is wrong for the largest numbers:
    that is tried, on rows of nothing else, which also finds vectors so long that a sum has no room in 32 bits.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or _product is None:
        return None
    rows = torch.tensor([[_ITEM], [-_ITEM]], dtype=torch.int8).repeat(32, shape[1])
    want = torch.tensor([1, -1]).repeat(32) * (_ITEM * shape[1])
    for most in _USERS:
        for sign in (1, -1):
            user = torch.full((shape[1], 1), sign * most, dtype=torch.int8)
            if not torch.equal(_product(rows, user)[:, 0].long(), want * (sign * most)):
                break
        else:
            return most
    return None


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
    """Return the squared length of each row."""
    return np.einsum("ij,ij->i", table, table)


def _length(vector: np.ndarray) -> float:
    """Return the length of one vector: for a list it is asked for four times, and what takes any row takes longer."""
    return math.sqrt(float(vector @ vector))


def _finite(table: np.ndarray) -> bool:
    return all(np.isfinite(rows).all() for _, rows in _parts(table))
