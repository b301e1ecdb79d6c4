"""Interactions: who took what, as a binary sparse matrix with the labels it came with.

Inside the package a user or an item is a row number, ``0 .. n-1``; outside it is a label, an integer or a string.
``Interactions`` holds both and is the only place that translates.  It knows no file: see :mod:`buir.data.files`.
"""

import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from buir.data import doctor, sparse
from buir.data.hetero import make_graph, read_graph
from buir.data.ingest import IngestReport, distinct_pairs, stored_sums, summed_weights, surviving_rows
from buir.data.labels import as_ids, as_numbers, as_ratings, as_times, label_bytes, places, read_columns, space_ids
from buir.errors import InputError, counted
from buir.errors import report as tell

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


@dataclass(frozen=True, eq=False)
class Interactions:
    """Distinct (user, item) pairs over one space of labels.

    Rows are numbered in the order in which users and items first appear in the source, so "users in file order" is the
    order of the rows.  Parts of a split share the space, and therefore the shape, of what was split.
    """

    matrix: csr_array
    """(n_users, n_items) float32, 1.0 at every pair, canonical (sorted, no duplicates, no zeros), int32 indices."""
    user_ids: np.ndarray
    """(n_users,) labels, int64 or an object array of str."""
    item_ids: np.ndarray
    """(n_items,) labels, int64 or an object array of str."""
    positions: np.ndarray
    """(n_pairs,) int64, in the order of ``matrix.data``: rank of the pair's first row in the source."""
    times: np.ndarray | None
    """(n_pairs,) int64 or float64, in the order of ``matrix.data``: time of that row; None if unknown."""
    report: IngestReport
    """What was read, filtered and merged."""
    weights: np.ndarray | None = None
    """(n_pairs,) float64, in the order of ``matrix.data``: sum of the weights of the pair's rows, or the number of its
    rows where these have none; NaN where one is no number. None if nobody gave weights and no row repeats a pair. Only
    ``fit(..., weights=...)`` reads them."""

    @classmethod
    def from_pairs(
        cls,
        users: Sequence[Any] | np.ndarray,
        items: Sequence[Any] | np.ndarray,
        *,
        ratings: Sequence[float] | np.ndarray | None = None,
        times: Sequence[Any] | np.ndarray | None = None,
        weights: Sequence[float] | np.ndarray | None = None,
        min_rating: float | None = None,
        min_user: int = 0,
        min_item: int = 0,
        core: int = 0,
        source: str = "<arrays>",
    ) -> "Interactions":
        """Take rows of labels, in this order: rating threshold, minimum counts, merging of duplicates, k-core.

        Parameters
        ----------
        users, items
            One label per row: integers or strings, none missing.
        ratings
            One number per row; without ``min_rating`` every row is one positive, and a warning says what they are.
        times
            One number (Unix seconds) or datetime per row.
        weights
            One number per row: how often, how long or how surely; of rows that are merged they add up.
        min_rating
            Rows with a smaller rating are no positives.  None: every row is one.
        min_user, min_item
            One pass, as in the paper: rows of users and of items with fewer rows than this leave.  Rows are counted
            after the rating threshold, before duplicates are merged and before either filter removes anything.
        core
            Users and items with fewer distinct partners leave until all that remain have this many.  0 and 1: off.
        source
            Name used in messages.

        Raises
        ------
        ValueError
            If lengths differ, a label is missing or is neither integer nor string, or no pair is left.
        """
        user_labels, item_labels = as_ids(users, "user"), as_ids(items, "item")
        n_rows = len(user_labels)
        time_values = None if times is None else as_times(times)
        given = {"items": item_labels, "ratings": ratings, "times": time_values, "weights": weights}
        for name, column in given.items():
            if column is not None and len(column) != n_rows:
                msg = f"{name} has {counted(len(column), 'row')}, expected {n_rows}, one for each user"
                raise InputError(msg, argument=name)
        if min_rating is not None and ratings is None:
            msg = f"min_rating is {min_rating}, but there are no ratings; pass ratings, or leave min_rating out"
            raise InputError(msg, argument="min_rating")

        held = ""
        if ratings is not None and min_rating is None:
            numbers = as_numbers(ratings)
            held = doctor.ratings_summary(numbers)
            tell(doctor.ratings_findings(numbers, f"{source}: the column of ratings"))

        user_codes, user_space = pd.factorize(user_labels)
        item_codes, item_space = pd.factorize(item_labels)
        positive = None if min_rating is None else as_ratings(ratings) >= min_rating
        rows, report = surviving_rows(
            user_codes, item_codes, positive, min_user=min_user, min_item=min_item, core=core, source=source
        )
        # numbered once more, now by first appearance among the rows that stay
        user_rows, kept_users = pd.factorize(user_codes[rows])
        item_rows, kept_items = pd.factorize(item_codes[rows])
        user_ids, item_ids = np.asarray(user_space)[kept_users], np.asarray(item_space)[kept_items]
        kept_times = None if time_values is None else time_values[rows]
        report = replace(report, ratings=held)
        sums = None
        if weights is not None or report.merged:
            read = np.arange(n_rows) if positive is None else np.flatnonzero(positive)
            sums = summed_weights(user_codes, item_codes, weights, read, rows)
        return cls._from_distinct(user_rows, item_rows, user_ids, item_ids, rows, kept_times, report, sums)

    @classmethod
    def _from_distinct(
        cls,
        users: np.ndarray,
        items: np.ndarray,
        user_ids: np.ndarray,
        item_ids: np.ndarray,
        positions: np.ndarray,
        times: np.ndarray | None,
        report: IngestReport,
        weights: np.ndarray | None,
    ) -> "Interactions":
        """Put distinct pairs, with their positions, times and weights, into CSR order."""
        order = np.lexsort((items, users))
        matrix = sparse.binary(users[order], items[order], (len(user_ids), len(item_ids)))
        positions = np.asarray(positions, dtype=np.int64)[order]
        times, weights = (None if column is None else column[order] for column in (times, weights))
        return cls(matrix, user_ids, item_ids, positions, times, report, weights)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str | None = None,
        item: str | None = None,
        rating: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        min_rating: float | None = None,
        min_user: int = 0,
        min_item: int = 0,
        core: int = 0,
        source: str = "<frame>",
    ) -> "Interactions":
        """Take a pandas, polars or pyarrow table with one row per interaction; filters as in :meth:`from_pairs`.

        Parameters
        ----------
        frame
            Any eager frame that narwhals knows.
        user, item
            Names of the columns with the labels; None takes "user" and "item", or what is known to hold them, as in
            files: "user_id", "movieId", "asin", ...
        rating, time, weight
            Names of further columns; None takes those known to hold them, if there are any: "rating", "stars",
            "timestamp", "plays", ... A column of "weight" is no rating, unless it is named as one.
        """
        columns = read_columns(frame, user=user, item=item, rating=rating, time=time, weight=weight)
        filters: Any = {"min_rating": min_rating, "min_user": min_user, "min_item": min_item, "core": core}
        read: Any = {"times": columns.times, "weights": columns.weights, **filters}
        if min_rating is not None:
            read["ratings"] = columns.ratings
        result = cls.from_pairs(columns.users, columns.items, **read, source=source)
        held = ""
        if columns.ratings is not None and min_rating is None:
            numbers = as_numbers(columns.ratings)
            held = doctor.ratings_summary(numbers)
            name = f"{source}: the column {columns.names['rating']!r}"
            tell(doctor.ratings_findings(numbers, name, weights=columns.ratings_are_weights))
        return replace(result, report=replace(result.report, format="frame", ratings=held))

    @classmethod
    def from_matrix(
        cls,
        matrix: Any,
        *,
        user_ids: Sequence[Any] | np.ndarray | None = None,
        item_ids: Sequence[Any] | np.ndarray | None = None,
    ) -> "Interactions":
        """Take a users x items SciPy matrix or array of any format; empty rows and columns stay.

        Explicit zeros are skipped and repeated entries merged, both counted.  The order of the source is row by row.

        Parameters
        ----------
        matrix
            One row per user; any stored positive value is an interaction, and its weight.  Not modified.
        user_ids, item_ids
            Distinct labels of rows and columns; None numbers them from 0.

        Raises
        ------
        InputError
            If a value is NaN, infinite or negative, or an entry is outside the shape.
        ValueError
            If the labels do not fit.
        """
        pairs, report = distinct_pairs(matrix)
        users, items = space_ids(user_ids, pairs.shape[0], "user"), space_ids(item_ids, pairs.shape[1], "item")
        return cls(pairs, users, items, np.arange(pairs.nnz), None, report, stored_sums(matrix, pairs))

    @classmethod
    def from_hetero_data(cls, data: "HeteroData", *, edge_type: tuple[str, str, str] | None = None) -> "Interactions":
        """Take the user-item edges of a PyG graph; every node keeps its row, the edges give the source order.

        Parameters
        ----------
        data
            A graph with ``edge_index``; ``ids`` of the nodes, ``time`` and ``weight`` of the edges are taken over if
            there.
        edge_type
            Which edges; None takes the only type that starts at "user" and ends at another kind of node.
        """
        (user_ids, item_ids), (users, items), positions, times, weights = read_graph(data, edge_type)
        rows = np.unique(users * np.int64(len(item_ids)) + items, return_index=True)[1]  # the CSR order
        report = IngestReport(len(users), merged=len(users) - len(rows), source="<graph>", format="HeteroData")
        positions = rows if positions is None else positions[rows]
        times = None if times is None else times[rows]
        if weights is not None or report.merged:
            weights = summed_weights(users, items, weights, np.arange(len(users)), rows)
        return cls._from_distinct(users[rows], items[rows], user_ids, item_ids, positions, times, report, weights)

    def to_hetero_data(self) -> "HeteroData":
        """Return a PyG graph with nodes "user" and "item", edges in source order, and the labels as ``ids``.

        :meth:`from_hetero_data` gives back equal interactions.
        """
        return make_graph(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the pairs in source order, columns ``user``, ``item`` and, if known, ``time`` and ``weight``."""
        order = np.argsort(self.positions, kind="stable")
        columns = {"user": self.user_ids[self.users[order]], "item": self.item_ids[self.items[order]]}
        if self.times is not None:
            columns["time"] = self.times[order]
        if self.weights is not None:
            columns["weight"] = self.weights[order]
        return pd.DataFrame(columns)

    def aligned(self, user_ids: np.ndarray, item_ids: np.ndarray) -> "Interactions":
        """Return the same pairs over other spaces of labels, which must hold every label that has a pair."""
        users = places(self.user_ids, user_ids, self.users, "user")
        items = places(self.item_ids, item_ids, self.items, "item")
        columns = self.positions, self.times, self.report, self.weights
        return self._from_distinct(users, items, user_ids, item_ids, *columns)

    def keep(self, mask: np.ndarray) -> "Interactions":
        """Return the pairs where ``mask``, bool in the order of ``matrix.data``, is true; the label space stays."""
        if mask.shape != (self.n_pairs,) or mask.dtype != np.bool_:
            msg = f"mask is {mask.dtype} of shape {mask.shape}, expected bool of shape ({self.n_pairs},)"
            raise ValueError(msg)
        times, weights = (None if column is None else column[mask] for column in (self.times, self.weights))
        matrix, positions = sparse.keep(self.matrix, mask), self.positions[mask]
        return replace(self, matrix=matrix, positions=positions, times=times, weights=weights)

    def joined(self, other: "Interactions") -> "Interactions":
        """Return the pairs of two parts over one space, each once."""
        rows = np.concatenate(
            [self.users * np.int64(self.n_items) + self.items, other.users * np.int64(self.n_items) + other.items]
        )
        keys, first = np.unique(rows, return_index=True)
        users, items = np.divmod(keys, max(1, self.n_items))
        both = None if self.times is None or other.times is None else np.concatenate([self.times, other.times])[first]
        positions = np.concatenate([self.positions, other.positions])[first]
        weights = None
        if self.weights is not None or other.weights is not None:
            given = [np.ones(part.n_pairs) if part.weights is None else part.weights for part in (self, other)]
            weights = np.concatenate(given)[first]
        return self._from_distinct(users, items, self.user_ids, self.item_ids, positions, both, self.report, weights)

    @property
    def n_users(self) -> int:
        """Number of rows, users without a pair included."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of columns, items without a pair included."""
        return len(self.item_ids)

    @property
    def n_pairs(self) -> int:
        """Number of distinct pairs."""
        return len(self.positions)

    @property
    def density(self) -> float:
        """Pairs divided by users times items, in [0, 1]; 0 for an empty space."""
        return self.n_pairs / max(self.n_users * self.n_items, 1)

    @cached_property
    def users(self) -> np.ndarray:
        """(n_pairs,) int32: the user row of every pair, in the order of ``matrix.data``."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(self.matrix.indptr))

    @property
    def items(self) -> np.ndarray:
        """(n_pairs,) int32: the item row of every pair, in the order of ``matrix.data``."""
        return self.matrix.indices

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits over labels, pairs, positions, times and weights; equal on every machine."""
        parts = [label_bytes(self.user_ids), label_bytes(self.item_ids)]
        arrays = [self.matrix.indptr.astype("<i8"), self.items.astype("<i8"), self.positions.astype("<i8")]
        if self.times is not None:
            arrays.append(self.times.astype(self.times.dtype.newbyteorder("<")))
        if self.weights is not None and (self.weights != 1).any():
            parts.append(b"weights")  # so that they are not taken for times
            arrays.append(self.weights.astype("<f8"))
        parts += [array.dtype.str.encode() + array.tobytes() for array in arrays]
        state = hashlib.sha256()
        for part in parts:
            state.update(len(part).to_bytes(8, "little") + part)
        return state.hexdigest()[:16]

    def __repr__(self) -> str:
        return f"Interactions({self.n_users} users, {self.n_items} items, {self.n_pairs} pairs)"

    def _repr_html_(self) -> str:
        """Tabulate sizes, what is known besides the pairs, and where they come from."""
        told = self.report
        rows = [
            ("users, items, pairs", f"{self.n_users:,}, {self.n_items:,}, {self.n_pairs:,}"),
            ("density", f"{self.density:.3%}"),
            ("pairs of a user", _spread(np.diff(self.matrix.indptr))),
            ("pairs of an item", _spread(np.bincount(self.items, minlength=self.n_items))),
            ("times, weights", f"{'no' if self.times is None else 'yes'}, {'no' if self.weights is None else 'yes'}"),
            ("read from", f"{told.source} ({told.format}), {counted(told.rows_read, 'row')}"),
            *([("of these", told.left_out)] if told.left_out else []),
        ]
        return html_table("Interactions", rows)


def html_table(title: str, rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> str:
    """Write a table for a notebook: the first cell of a row names it. Whatever comes in is escaped."""

    def row(cells: Sequence[object], first: str, others: str) -> str:
        told = [html.escape(str(cell)) for cell in cells]
        made = [f"<{first} style='text-align:left'>{told[0]}</{first}>"]
        return "".join(made + [f"<{others} style='text-align:left'>{cell}</{others}>" for cell in told[1:]])

    lines = [f"<table><caption style='text-align:left'><b>{html.escape(title)}</b></caption>"]
    lines += [f"<tr>{row(head, 'th', 'th')}</tr>"] if head else []
    lines += [f"<tr>{row(cells, 'th', 'td')}</tr>" for cells in rows]
    return "".join([*lines, "</table>"])


def _spread(counts: np.ndarray) -> str:
    """Say how counts are spread."""
    if not len(counts):
        return "none"
    return f"{counts.min():,} to {counts.max():,}, median {np.median(counts):,g}"


def in_one_space(parts: Sequence[Interactions], starts: Sequence[int] | None = None) -> list[Interactions]:
    """Return parts with labels of their own over the space of all, numbered by first appearance, part after part.

    Parameters
    ----------
    parts
        Interactions, each over a space of its own.
    starts
        What is added to the positions of each; None continues those of the part before it.
    """
    spaces = [pd.unique(np.concatenate([getattr(part, side) for part in parts])) for side in ("user_ids", "item_ids")]
    following = np.cumsum([0, *(int(part.positions.max(initial=-1)) + 1 for part in parts[:-1])]).tolist()
    first = following if starts is None else starts
    aligned = [part.aligned(spaces[0], spaces[1]) for part in parts]
    return [replace(part, positions=part.positions + first[place]) for place, part in enumerate(aligned)]
