"""Exact top-k of the rows of a score table, ties to the lower column."""

from __future__ import annotations

import numpy as np
import torch

GROUP = 64
"""Columns summarised by one maximum in the first stage."""

_PIECE = 1 << 20
"""Scores compared at once while ties are repaired, so that the repair needs little memory."""


def padded_width(width: int) -> int:
    """Smallest multiple of ``GROUP`` that holds ``width`` columns."""
    return -(-width // GROUP) * GROUP


def largest(table: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the ``k`` largest scores of each row and their columns.

    Parameters
    ----------
    table
        Scores, float32, contiguous, shape (n, a multiple of ``GROUP``), any device; -inf where there is nothing to
        find. It is not changed.
    k
        From 1 to the number of columns.

    Returns
    -------
    values, columns
        Shape (n, k), in decreasing order; equal scores in the order of their columns, and of scores equal to the last
        one those with the lowest columns. Where the value is -inf the column has no meaning. A row with NaN begins
        with NaN.

    Notes
    -----
    Wide tables are searched in two stages: the maximum of every group of 64 neighbours, the k + 1 best groups, and the
    k + 1 best scores in these. No score outside them exceeds any of those found, so the values are exact whatever
    ``torch.topk`` does with ties. The columns are exact where the last score is larger than the one after it; the
    other rows, rare unless scores are small integers, are searched again.
    """
    n, width = table.shape
    wanted = min(k + 1, width)
    if not _pays(width, wanted):
        values, columns = torch.topk(table, wanted, dim=1)
        tied = _tied(values, k)
        for rows in _pieces(tied, width):
            _replace(values, columns, rows, _lowest(table[rows], values[rows, k - 1], k))
        return _in_order(values[:, :k], columns[:, :k])
    maxima = table.view(n, -1, GROUP).amax(dim=2)
    groups = torch.topk(maxima, wanted, dim=1, sorted=False).indices
    found = _members(table, None, groups)
    values, places = torch.topk(found, wanted, dim=1)
    columns = _columns(groups, places)
    tied = _tied(values, k)
    for rows in _pieces(tied, GROUP * k):
        limit = values[rows, k - 1]
        groups = _first_groups(maxima[rows], limit, k)
        places, scores = _lowest(_members(table, rows, groups), limit, k)
        _replace(values, columns, rows, (_columns(groups, places), scores))
    return _in_order(values[:, :k], columns[:, :k])


def largest_of_one(row: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Do for a single row what ``largest`` does for a table, in few calls: there these cost more than the work.

    Parameters
    ----------
    row
        Scores, float32, shape (n,); -inf where there is nothing to find.
    k
        At least 1.

    Returns
    -------
    values, columns
        At most k, fewer where no more scores are above -inf. A row with NaN has the values NaN.
    """
    found = contenders(row, k)
    if found is None:
        return np.full(k, np.nan, dtype=np.float32), np.zeros(k, dtype=np.int64)
    if len(found) > k:
        scores = row[found]
        limit = _kth(scores, k)
        above, level = found[scores > limit], found[scores == limit]
        found = np.concatenate([above, level[: k - len(above)]])
    found = found[np.argsort(-row[found], kind="stable")]  # equal ones are in the order of their columns
    return row[found], found


def contenders(row: np.ndarray, k: int) -> np.ndarray | None:
    """Return, ascending, columns of a row among which are its k largest scores and all that equal the last of these.

    Those of -inf are not among them. Of a row with NaN nothing is known: None.
    """
    n_grouped = len(row) // GROUP * GROUP
    maxima = torch.from_numpy(row[:n_grouped]).view(-1, GROUP).amax(dim=1).numpy() if n_grouped else row[:0]
    if np.isnan(maxima).any() or np.isnan(row[n_grouped:]).any():
        return None
    # k groups hold a score each that is at least the k-th of their maxima: all of the list and its ties are so high
    limit = _kth(maxima if len(maxima) >= k else row, k) if k < len(row) else -np.inf
    if limit == -np.inf or len(maxima) < k:
        return np.flatnonzero(row >= limit if limit > -np.inf else row > -np.inf)
    groups = np.flatnonzero(maxima >= limit)
    places = np.flatnonzero(row[:n_grouped].reshape(-1, GROUP)[groups] >= limit)
    found = groups[places // GROUP] * GROUP + places % GROUP
    return np.concatenate([found, n_grouped + np.flatnonzero(row[n_grouped:] >= limit)])


def _kth(scores: np.ndarray, k: int) -> np.float32:
    """Return the k-th largest of at least k scores."""
    return np.partition(scores, len(scores) - k)[len(scores) - k]


def _pays(width: int, wanted: int) -> bool:
    """Whether two stages look at so many fewer scores that they are faster than one."""
    return 2 * wanted * GROUP <= width


def _pieces(rows: torch.Tensor, width: int) -> tuple[torch.Tensor, ...]:
    """Cut rows into parts whose scores fit the memory of the repair."""
    return rows.split(max(1, _PIECE // width)) if len(rows) else ()


def _tied(values: torch.Tensor, k: int) -> torch.Tensor:
    """Rows in which a score left out equals the last one taken."""
    if values.shape[1] == k:
        return torch.empty(0, dtype=torch.int64, device=values.device)
    last = values[:, k - 1]
    numbers = values[:, 0] == values[:, 0]  # a row with NaN is the caller's error, not a tie
    return ((last == values[:, k]) & (last > -torch.inf) & numbers).nonzero().squeeze(1)


def _members(table: torch.Tensor, rows: torch.Tensor | None, groups: torch.Tensor) -> torch.Tensor:
    """Scores of the columns in some groups of each row, shape (n, groups * GROUP)."""
    n, n_groups = groups.shape
    rows = torch.arange(n, device=table.device) if rows is None else rows
    flat = groups + (rows * (table.shape[1] // GROUP)).unsqueeze(1)
    return table.view(-1, GROUP).index_select(0, flat.view(-1)).view(n, n_groups * GROUP)


def _columns(groups: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Columns of the table at some places among the members of the groups."""
    return groups.gather(1, places // GROUP) * GROUP + places % GROUP


def _first_groups(maxima: torch.Tensor, limit: torch.Tensor, k: int) -> torch.Tensor:
    """Find the groups that hold the list, ascending: all with a score above the limit, and the first that reach it.

    At most k - 1 groups hold a score above the limit. The ties that are still needed are no more than the places
    left, so those in other groups lie in as many first groups. What fills up the k groups is below the limit.
    """
    n_groups = maxima.shape[1]
    limit = limit.unsqueeze(1)
    rank = torch.arange(n_groups, 0, -1, dtype=torch.int32, device=maxima.device)
    rank = rank + n_groups * ((maxima >= limit).to(torch.int32) + (maxima > limit).to(torch.int32))
    return torch.topk(rank, k, dim=1, sorted=False).indices.sort(dim=1).values


def _lowest(scores: torch.Tensor, limit: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places, ascending, and scores of all above the limit and of the first that equal it, k in each row."""
    limit = limit.unsqueeze(1)
    above, level = scores > limit, scores == limit
    room = k - above.sum(dim=1, keepdim=True, dtype=torch.int32)
    taken = above | (level & (level.cumsum(dim=1, dtype=torch.int32) <= room))
    places = taken.nonzero()[:, 1].view(-1, k)
    return places, scores.gather(1, places)


def _replace(
    values: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor, found: tuple[torch.Tensor, torch.Tensor]
) -> None:
    places, scores = found
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    k = scores.shape[1]
    values[rows, :k] = scores
    columns[rows, :k] = places.gather(1, order)


def _in_order(values: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Put equal scores of a row into the order of their columns."""
    same = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)).any(dim=1)
    rows = same.nonzero().squeeze(1)
    if len(rows) == 0:
        return values, columns
    ascending, order = columns[rows].sort(dim=1)
    scores, second = values[rows].gather(1, order).sort(dim=1, descending=True, stable=True)
    values[rows], columns[rows] = scores, ascending.gather(1, second)
    return values, columns
