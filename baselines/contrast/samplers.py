"""Samplers of negatives: which items a pair is set against."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import torch
from torch import Tensor

from buir.graph import mix, permutation, stream, uniform

from .candidates import KnownPairs

Sampler = Callable[[Tensor, Tensor, int], Tensor]
"""Of users, their items and a key; gives items of shape (B, N)."""
POOL = 16
"""The hardest are the best of so many times as many even draws."""


def make_samplers(known: KnownPairs, users: Tensor, items: Tensor, n: int) -> dict[str, Sampler]:
    """Make the samplers that are usually compared, each of ``n`` items for each pair.

    Parameters
    ----------
    known
        The training pairs: their items are drawn by popularity, and the hardest are none of them.
    users, items
        Unit vectors, which the hardest and the groups are chosen by.
    n
        Draws with repetition.

    Returns
    -------
    By name: even draws; draws by the root of popularity and by popularity, as of a batch; "mixed", half even and half
    by popularity; "hardest", the best of 16 times as many even draws; "group", even draws from the group of the pair's
    item, of :func:`similar_groups`.
    """
    n_items = known.n_items
    popularity = torch.bincount(known.items, minlength=n_items)

    def counter(count: int, width: int) -> Tensor:
        return torch.arange(count * width, dtype=torch.int32, device=popularity.device).view(count, width)

    def even(asked: Tensor, _: Tensor, key: int, width: int = n) -> Tensor:
        return torch.remainder(mix(counter(len(asked), width), stream(key, 5)).long(), n_items)

    def by_power(power: float) -> Sampler:
        bounds = popularity.double().pow(power).masked_fill(popularity == 0, 0.0).cumsum(0)

        def draw(asked: Tensor, _: Tensor, key: int) -> Tensor:
            place = uniform(counter(len(asked), n), stream(key, 6)).double() * bounds[-1]
            return torch.searchsorted(bounds, place, right=True).clamp_max(n_items - 1)

        return draw

    popular = by_power(1.0)

    def mixed(asked: Tensor, positives: Tensor, key: int) -> Tensor:
        half = n // 2
        return torch.cat([even(asked, positives, key)[:, half:], popular(asked, positives, key)[:, :half]], dim=1)

    def hardest(asked: Tensor, positives: Tensor, key: int) -> Tensor:
        many = even(asked, positives, key, POOL * n)
        scores = row_scores(users[asked], items, many)
        scores = scores.masked_fill(known.contain(asked[:, None], many), -torch.inf)
        return many.gather(1, scores.topk(n, dim=1).indices)

    groups = similar_groups(items)
    sizes = torch.bincount(groups)
    members, starts = groups.argsort(stable=True), sizes.cumsum(0) - sizes

    def group(asked: Tensor, positives: Tensor, key: int) -> Tensor:
        own = groups[positives].unsqueeze(1)
        share = uniform(counter(len(asked), n), stream(key, 9)).double()
        return members[starts[own] + (share * sizes[own]).long()]

    return {
        "uniform": even,
        "popularity^0.5": by_power(0.5),
        "popularity": popular,
        "mixed": mixed,
        "hardest": hardest,
        "group": group,
    }


def row_scores(users: Tensor, items: Tensor, rows: Tensor) -> Tensor:
    """Return each user's inner product with items of its own.

    Parameters
    ----------
    users
        Shape (B, d).
    items
        Shape (n_items, d).
    rows
        Items of each user, shape (B, N).

    Returns
    -------
    Shape (B, N).
    """
    # reading a row costs as much as some fifty products of it in one large product
    whole = len(items) < 50 * rows.shape[1]
    return torch.cat(
        [
            (some @ items.T).gather(1, row) if whole else torch.bmm(items[row], some.unsqueeze(2)).squeeze(2)
            for some, row in zip(users.split(64), rows.split(64), strict=True)
        ]
    )


def similar_groups(items: Tensor) -> Tensor:
    """Put each item into the group of the landmark it is nearest to, of about as many as a group has items.

    Parameters
    ----------
    items
        Unit vectors, shape (n_items, d).

    Returns
    -------
    Group of each item from 0, int64.
    """
    n = len(items)
    landmarks = permutation(n, stream(0, 10), items.device)[: isqrt(n)]
    nearest = torch.cat([(block @ items[landmarks].T).argmax(dim=1) for block in items.split(8192)])
    return nearest.unique(return_inverse=True)[1]
