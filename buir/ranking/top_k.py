"""Masked top-k: the only place that masks and sorts; and what gives a score to every item."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from scipy.sparse import csr_array, issparse

from buir.data import canonical, doctor
from buir.errors import InputError, counted
from buir.ranking.arguments import as_count, as_rows, check_shape
from buir.ranking.bounds import Bound, Bounds, bounds_that_pay
from buir.ranking.selection import largest, largest_of_one, padded_width

__all__ = ["FactorScorer", "Scorer", "top_k"]

_BLOCK_BYTES = 16 << 20
"""Most bytes of scores at a time: more is not faster, and a larger buffer costs the pages that it is made of."""

_BLOCK_USERS = 4096
"""Most users at a time, for small catalogues."""

_LONG_ROW = 80
"""Coordinates above which a product with one user's vector is NumPy's: there torch takes up to three times as long."""

_MANY_USERS, _IDLE = 128, 1 / 8
"""Users from which on items without a score are looked for, and their share from which on they are left out."""

_BOUNDED = 1 / 8
"""Share of the items, known to be none too low for the list of one user, above which all are scored."""


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores every item for a block of users.

    One that can tell for less what its scores are at most has ``bounds_of`` as well, and one that knows of items whose
    score is 0 whoever asks has ``idle_items`` and ``of_items``, see ``FactorScorer``.
    """

    @property
    def n_users(self) -> int:
        """Number of users that can be scored."""
        ...

    @property
    def n_items(self) -> int:
        """Number of items that each user is scored against."""
        ...

    def score_block(self, users: np.ndarray) -> torch.Tensor:
        """Score all items for ``users``: float32, shape (len(users), n_items), any device; it is never written to."""
        ...


@runtime_checkable
class InPlace(Protocol):
    """A scorer that can write where it is told: a table of scores that is made anew costs as much as the scores."""

    @property
    def device(self) -> torch.device:
        """Where the scores are computed."""
        ...

    def score_into(self, out: torch.Tensor, users: np.ndarray) -> None:
        """Score all items for ``users`` into ``out``: float32, shape (len(users), n_items), rows need not touch."""
        ...


class FactorScorer:
    """Inner products of two factor tables.

    Tables of NumPy that nobody may write to, ``table.flags.writeable = False``, are searched in part for the list of
    a single user, where that is faster; for it they are read once.

    Parameters
    ----------
    user_factors
        Shape (n_users, d), NumPy or torch; taken as float32, on the device where it lies.
    item_factors
        Shape (n_items, d); taken to the device of the users.

    Raises
    ------
    ValueError
        If the tables are not two-dimensional or differ in width.
    """

    def __init__(self, user_factors: np.ndarray | torch.Tensor, item_factors: np.ndarray | torch.Tensor) -> None:
        users, items = _tensor(user_factors), _tensor(item_factors)
        if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
            msg = (
                f"user_factors has shape {tuple(users.shape)} and item_factors {tuple(items.shape)}, "
                "expected (n_users, d) and (n_items, d) with the same d"
            )
            raise ValueError(msg)
        self.user_factors = users
        self.item_factors = items.to(users.device)
        tables = user_factors, item_factors
        self._fixed = all(isinstance(table, np.ndarray) and not table.flags.writeable for table in tables)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return self.user_factors.shape[0]

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.item_factors.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.user_factors.device

    def of_users(self, users: np.ndarray) -> torch.Tensor:
        """Return the vectors of some users."""
        return self.user_factors.index_select(0, torch.as_tensor(users, dtype=torch.int64, device=self.device))

    def score_block(self, users: np.ndarray) -> torch.Tensor:
        """Score all items for ``users``."""
        if len(users) == 1:
            row = self.user_factors[int(users[0])]
            if len(row) > _LONG_ROW and row.device.type == "cpu":
                return torch.from_numpy(self.item_factors.numpy() @ row.numpy()).unsqueeze(0)
            return torch.mm(row.unsqueeze(0), self.item_factors.T)
        return torch.mm(self.of_users(users), self.item_factors.T)

    def score_into(self, out: torch.Tensor, users: np.ndarray) -> None:
        """Score all items for ``users`` into ``out``."""
        torch.mm(self.of_users(users), self.item_factors.T, out=out)

    def bounds_of(self, user: int) -> Bound | None:
        """Bound the scores of all items for a user, in arrays of the caller's own; None where that is not worth it.

        That is for small tables, for those whose scores lie in no few directions, and for those that may be written to.
        """
        return self._bounds.of(user) if self._fixed and self._bounds is not None else None

    @cached_property
    def _bounds(self) -> Bounds | None:
        return bounds_that_pay(self.user_factors.numpy(), self.item_factors.numpy())

    @property
    def idle_items(self) -> np.ndarray | None:
        """Which items score 0 with every user, as those do that have no training pairs: bool, shape (n_items,).

        None of a class that is made of this one, which may score otherwise.
        """
        if type(self) is not FactorScorer:
            return None
        idle = ~self.item_factors[:, :1].any(dim=1)  # most tables need no further look
        rows = idle.nonzero().squeeze(1)
        idle[rows] = ~self.item_factors.index_select(0, rows).any(dim=1)
        return idle.cpu().numpy()

    def of_items(self, items: np.ndarray) -> FactorScorer:
        """Make a scorer of these items alone, in this order."""
        rows = torch.as_tensor(items, dtype=torch.int64, device=self.item_factors.device)
        return FactorScorer(self.user_factors, self.item_factors.index_select(0, rows))


def top_k(
    scorer: Scorer,
    users: np.ndarray,
    k: int,
    *,
    exclude: csr_array | np.ndarray | None = None,
    allow: np.ndarray | csr_array | None = None,
    deny: np.ndarray | csr_array | None = None,
    memory_mb: int = 256,
) -> tuple[np.ndarray, np.ndarray]:
    """List the ``k`` best items of each user, exactly.

    Parameters
    ----------
    scorer
        The model.
    users
        Rows asked for, in any order.
    k
        Length of the lists; it may exceed the number of items.
    exclude
        Items left out for each asked user (the seen ones), shape (len(users), n_items): row j belongs to ``users[j]``.
        Or, of a single user, item rows.
    allow
        If given, nothing else is listed: item rows for everybody, or a matrix like ``exclude``.
    deny
        Never listed, even if allowed: item rows for everybody, or a matrix like ``exclude``.
    memory_mb
        Bound of the working memory in MiB, as far as a block of one user stays within it.

    Returns
    -------
    ids, scores
        int32 and float32, shape (len(users), k), best first. Equal scores are in the order of their item rows, also
        where the list is cut. A list with fewer candidates ends in id -1, score -inf; a score of -inf is no candidate.

    Raises
    ------
    buir.errors.OutOfRangeError
        If a user or an item of ``allow`` or ``deny`` does not exist.
    TypeError
        If rows or ``k`` are no integers.
    ValueError
        If a matrix has another shape, ``k`` is negative, or a score is NaN.

    Notes
    -----
    Users are scored in blocks, all in one buffer, so that memory grows neither with the number of users nor, beyond
    one row, with the number of items; but where many items score nothing, the vectors of the others are copied. The
    lists are those of ``torch.topk`` on the same scores. The last bits of a score depend on the shape of the product,
    as in every BLAS: scores closer than about 1e-6 of the largest term can change places between block sizes or
    devices. Scores that float32 holds exactly, such as products of small integers, cannot.
    """
    users, k = as_rows(users, scorer.n_users, "users", "user"), as_count(k, "k", least=0)
    n_asked, whole = len(users), (scorer.n_users, scorer.n_items)
    exclude = (_lists if n_asked == 1 else _matrix)(exclude, n_asked, whole, "exclude")
    allow, deny = _lists(allow, n_asked, whole, "allow"), _lists(deny, n_asked, whole, "deny")
    if allow is None and n_asked >= _MANY_USERS:
        idle = getattr(scorer, "idle_items", None) if hasattr(scorer, "of_items") else None
        allow = telling(idle, k, exclude, deny)
    columns = None
    if isinstance(allow, np.ndarray):
        columns, allow = allow, None
        for rows in (exclude, deny):
            columns = np.setdiff1d(columns, rows, assume_unique=True) if isinstance(rows, np.ndarray) else columns
        exclude, deny = (None if isinstance(rows, np.ndarray) else rows for rows in (exclude, deny))
    _check_room(k, len(users), scorer.n_items)
    ids = np.full((len(users), k), -1, dtype=np.int32)
    scores = np.full((len(users), k), -np.inf, dtype=np.float32)
    listed = min(k, scorer.n_items if columns is None else len(columns))
    if listed == 0 or len(users) == 0:
        return ids, scores
    if n_asked == 1 and columns is None and allow is None:
        values, found = _list_of_one(scorer, users, listed, exclude, deny)
        scores[0, : len(values)], ids[0, : len(values)] = values, found
        return ids, scores
    table = _Block(scorer, columns, len(users), memory_mb)
    for start in range(0, len(users), table.n_users):
        part = slice(start, min(start + table.n_users, len(users)))
        table.score(users[part])
        if allow is not None:
            table.keep(allow, part)
        for matrix in (exclude, deny):
            if isinstance(matrix, np.ndarray):
                table.drop_columns(matrix)
            elif matrix is not None:
                table.drop(matrix, part)
        values, found = largest(table.scores, listed)
        scores[part, :listed] = values.cpu().numpy()
        rows = found.cpu().numpy()
        ids[part, :listed] = rows if columns is None else columns.take(rows, mode="clip")
    _check_numbers(scores, users)
    ids[scores == -np.inf] = -1
    return ids, scores


def telling(idle: np.ndarray | None, k: int, *named: csr_array | np.ndarray | None) -> np.ndarray | None:
    """Return the items that lists of length ``k`` are found among, where these are fewer; None where all are needed.

    Of the idle items that nobody names all have the same score, so that only the first k can be in a list.

    Parameters
    ----------
    idle
        Which items score 0 with every user, shape (n_items,); None where nothing is known of that.
    k
        Length of the lists.
    named
        Items that some users leave out or look for, as rows or as matrices with a column for each item: they stay.
    """
    if idle is None:
        return None
    needed = ~idle
    for part in named:
        if part is not None:
            needed[part if isinstance(part, np.ndarray) else part.indices] = True
    needed[np.flatnonzero(~needed)[:k]] = True
    return np.flatnonzero(needed) if needed.sum() <= (1 - _IDLE) * len(needed) else None


def _list_of_one(
    scorer: Scorer, users: np.ndarray, k: int, *left_out: csr_array | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and items of the list of a single user, without a buffer and without padding."""
    bounds_of = getattr(scorer, "bounds_of", None)  # a protocol that is looked for takes a tenth of such a list
    bound = None if bounds_of is None else bounds_of(int(users[0]))
    if bound is not None:
        _leave_out(bound.upper, left_out)
        found = bound.candidates(k)
        if len(found) <= _BOUNDED * scorer.n_items:
            values, places = largest_of_one(bound.scores(found), k)
            return values, found[places]
    given = scorer.score_block(users)
    _check_block(given, users, scorer)
    row = given[0].to("cpu", torch.float32, copy=not isinstance(scorer, FactorScorer)).contiguous().numpy()
    _leave_out(row, left_out)
    values, found = largest_of_one(row, k)
    _check_numbers(values[None, :], users)
    return values, found


def _leave_out(row: np.ndarray, left_out: tuple[csr_array | np.ndarray | None, ...]) -> None:
    for part in left_out:
        if part is not None:
            row[part if isinstance(part, np.ndarray) else part.indices] = -np.inf


def _check_numbers(scores: np.ndarray, users: np.ndarray) -> None:
    """Make sure that no list begins with NaN."""
    broken = np.flatnonzero(np.isnan(scores[:, :1]).any(axis=1))
    if len(broken):
        msg = (
            f"the scores of {counted(len(broken), 'user')} hold NaN (first: user {users[broken[0]]}), expected "
            "numbers: training has diverged, try a lower learning rate"
        )
        raise ValueError(msg)


def _check_block(given: torch.Tensor, users: np.ndarray, scorer: Scorer) -> None:
    if given.shape != (len(users), scorer.n_items):
        msg = f"score_block gave shape {tuple(given.shape)}, expected {(len(users), scorer.n_items)}"
        raise ValueError(msg)


def _check_room(k: int, n_users: int, n_items: int) -> None:
    """Make sure that lists longer than the catalogue, which end in no items, have room in memory."""
    needed, free = 8 * k * n_users, doctor.free_memory() if k > n_items else None
    if free is not None and needed > free:
        takes = f"take {needed / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free"
        msg = (
            f"lists of {k:,} items for {counted(n_users, 'user')} {takes}; there are {n_items:,} items: ask for as many"
        )
        raise InputError(msg)


class _Block:
    """One score buffer, filled again for each block of users; its columns past the catalogue stay -inf."""

    def __init__(self, scorer: Scorer, columns: np.ndarray | None, asked: int, memory_mb: int) -> None:
        self.place = None
        if columns is not None:
            self.place = np.full(scorer.n_items, -1, dtype=np.int64)
            self.place[columns] = np.arange(len(columns))
        self.columns = columns
        of_items = getattr(scorer, "of_items", None)
        if columns is not None and of_items is not None:
            scorer, self.columns = of_items(columns), None
        self.scorer = scorer
        self.width = scorer.n_items if columns is None else len(columns)
        self.padded = padded_width(self.width)
        # Half of the memory is left to what the scorer allocates itself and to the selection.
        most = max(1, min(min(memory_mb << 19, _BLOCK_BYTES) // (4 * self.padded), _BLOCK_USERS))
        # Blocks of like size: a small one at the end would be multiplied by another kernel, with other last bits.
        self.n_users = -(-asked // -(-asked // most))
        self.buffer = torch.empty(0)
        self.scores = self.buffer

    def score(self, users: np.ndarray) -> None:
        if isinstance(self.scorer, InPlace) and self.columns is None:
            self.scorer.score_into(self._rows(len(users), self.scorer.device)[:, : self.width], users)
            return
        given = self.scorer.score_block(users)
        _check_block(given, users, self.scorer)
        if self.columns is not None:
            given = given.index_select(1, torch.from_numpy(self.columns).to(given.device))
        self._rows(len(users), given.device)[:, : self.width] = given

    def keep(self, matrix: csr_array, part: slice) -> None:
        index = self._index(matrix, part)
        flat = self.scores.view(-1)
        kept = flat[index]
        flat.fill_(-torch.inf)
        flat[index] = kept

    def drop(self, matrix: csr_array, part: slice) -> None:
        self.scores.view(-1).index_fill_(0, self._index(matrix, part), -torch.inf)

    def drop_columns(self, columns: np.ndarray) -> None:
        self.scores.index_fill_(1, torch.from_numpy(columns).to(self.scores.device), -torch.inf)

    def _rows(self, n: int, device: torch.device) -> torch.Tensor:
        if self.buffer.numel() == 0:
            self.buffer = torch.full((self.n_users, self.padded), -torch.inf, dtype=torch.float32, device=device)
        self.scores = self.buffer[:n]
        return self.scores

    def _index(self, matrix: csr_array, part: slice) -> torch.Tensor:
        """Places in the flat buffer of the entries of some rows."""
        ends = matrix.indptr[part.start : part.stop + 1].astype(np.int64)
        columns = matrix.indices[ends[0] : ends[-1]].astype(np.int64)
        flat = np.repeat(np.arange(len(ends) - 1) * self.padded, np.diff(ends))
        if self.place is not None:
            columns = self.place[columns]
            flat, columns = flat[columns >= 0], columns[columns >= 0]
        return torch.from_numpy(flat + columns).to(self.scores.device)


def _lists(given: Any, n_asked: int, whole: tuple[int, int], name: str) -> np.ndarray | csr_array | None:
    """Read items for everybody, ascending, or a matrix with a row of them for each asked user."""
    if given is None or issparse(given):
        return _matrix(given, n_asked, whole, name)
    rows = as_rows(given, whole[1], name, "item")
    return rows if (rows[1:] > rows[:-1]).all() else np.unique(rows)


def _matrix(given: Any, n_asked: int, whole: tuple[int, int], name: str) -> csr_array | None:
    if given is None:
        return None
    matrix = canonical(given)
    check_shape(name, matrix.shape, (n_asked, whole[1]), whole, "user")
    return matrix


def _tensor(table: np.ndarray | torch.Tensor) -> torch.Tensor:
    if isinstance(table, np.ndarray):
        table = np.asarray(table, dtype=np.float32)
        table = torch.from_numpy(table if table.flags.writeable else np.asarray(_Opened(table)))
    return table.detach().to(torch.float32)


class _Opened:
    """An array that nobody may write to, such as a memory map, as torch takes it without a copy; scorers only read."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table  # its memory stays for as long as this does

    @property
    def __array_interface__(self) -> dict[str, Any]:
        told = self.table.__array_interface__
        return told | {"data": (told["data"][0], False)}
