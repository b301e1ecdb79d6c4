"""Candidates: the items that the users of a batch are pushed from, and the pairs among them that are known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.errors import InputError
from buir.graph import mix, stream


@dataclass(frozen=True, eq=False)
class Candidates:
    """Distinct items that all users of a batch share."""

    items: Tensor
    """int64, ascending, shape (C,)."""
    drawn: Tensor
    """How often each came up, shape (C,)."""
    expected: Tensor
    """How often each comes up on average, shape (C,)."""

    @classmethod
    def whole(cls, n_items: int, device: torch.device) -> Candidates:
        """All items, once each: the exact softmax, with nothing to correct."""
        once = torch.ones(n_items, device=device)
        return cls(torch.arange(n_items, device=device), once, once)

    def log_weight(self, correction: float) -> Tensor:
        r"""Return :math:`\log n_j - \kappa \log E_j`, shape (C,).

        Parameters
        ----------
        correction
            :math:`\kappa`: at 1 the weighted sum over draws has the sum over all items as its mean, and the loss learns
            log p(i|u); at 0 items weigh as often as they come up, and it learns log p(i|u) / p(i) of in-batch draws:
            popularity is taken out.
        """
        return self.drawn.log() - correction * self.expected.log()

    def place(self, items: Tensor, n_items: int) -> Tensor:
        """Return where ``items`` stand among the candidates, -1 for those that do not."""
        if len(self.items) == n_items:
            return items
        places = torch.full((n_items,), -1, dtype=torch.int64, device=items.device)
        places[self.items] = torch.arange(len(self.items), device=items.device)
        return places[items]


def draw_candidates(items: Tensor, popularity: Tensor, *, uniform: int, key: int) -> Candidates:
    """Take the items of some training pairs, and as many drawn evenly from all as are asked for.

    Parameters
    ----------
    items
        Items of pairs drawn evenly from the training pairs, such as those of a batch; int64.
    popularity
        Training users of each item, shape (n_items,).
    uniform
        Even draws, with repetition.
    key
        Decides the draws.

    Returns
    -------
    The distinct items; their ``expected`` counts sum, over all items, to ``len(items) + uniform``.

    Notes
    -----
    O(n_items) on top of the draws.
    """
    n_items = len(popularity)
    # mix() of one counter under near keys is the same numbers in another order: stream() takes the keys apart
    counter = torch.arange(uniform, dtype=torch.int32, device=items.device)
    draws = torch.remainder(mix(counter, stream(key, 1)).long(), n_items)
    counts = torch.bincount(torch.cat([items, draws]), minlength=n_items)
    chosen = counts.nonzero().squeeze(1)
    expected = len(items) * (popularity[chosen] / popularity.sum()) + uniform / n_items
    return Candidates(chosen, counts[chosen].float(), expected.float())


class KnownPairs:
    """The training pairs, to be found among candidates.

    Parameters
    ----------
    user_items
        Training pairs, canonical.
    device
        Where to look.
    """

    def __init__(self, user_items: csr_array, device: torch.device) -> None:
        self.n_items = user_items.shape[1]
        self.bounds = torch.from_numpy(user_items.indptr).long().to(device)
        self.items = torch.from_numpy(user_items.indices).long().to(device)

    @cached_property
    def keys(self) -> Tensor:
        """One ascending number for each pair."""
        users = torch.arange(len(self.bounds) - 1, device=self.items.device)
        return torch.repeat_interleave(users, self.bounds.diff()) * self.n_items + self.items

    def contain(self, users: Tensor, items: Tensor) -> Tensor:
        """Tell which pairs are known, for tensors that broadcast."""
        asked = users * self.n_items + items
        if not len(self.keys):
            return torch.zeros_like(asked, dtype=torch.bool)
        return self.keys[torch.searchsorted(self.keys, asked).clamp_max(len(self.keys) - 1)] == asked

    def among(self, users: Tensor, candidates: Candidates) -> tuple[Tensor, Tensor]:
        """Return row (place in ``users``) and column (place among the candidates) of all known pairs."""
        starts, ends = self.bounds[users], self.bounds[users + 1]
        lengths = ends - starts
        row = torch.repeat_interleave(torch.arange(len(users), device=users.device), lengths)
        # within each user's stretch of the items: 0, 1, 2, ...
        within = torch.arange(len(row), device=users.device) - (lengths.cumsum(0) - lengths)[row]
        column = candidates.place(self.items[starts[row] + within], self.n_items)
        found = column >= 0
        return row[found], column[found]


def checked_draws(drawn: Tensor, n_pairs: int, n_items: int) -> Tensor:
    """Make sure that a sampler returned items, some for each pair."""
    whole = isinstance(drawn, Tensor) and not drawn.is_floating_point() and drawn.dtype != torch.bool
    if not whole or drawn.ndim != 2 or len(drawn) != n_pairs or not drawn.shape[1]:
        came = f"{drawn.dtype} of shape {tuple(drawn.shape)}" if isinstance(drawn, Tensor) else type(drawn).__name__
        msg = f"sampler returned {came}; expected items as whole numbers in a tensor of shape ({n_pairs}, N)"
        raise InputError(msg, argument="sampler")
    low, high = int(drawn.min()), int(drawn.max())
    if low < 0 or high >= n_items:
        msg = f"sampler returned items {low} to {high}; expected some from 0 to {n_items - 1}"
        raise InputError(msg, argument="sampler")
    return drawn.long()
