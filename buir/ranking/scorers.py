"""What gives a score to every item: the face that all models show to the ranking."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores every item for a block of users."""

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


class FactorScorer:
    """Inner products of two factor tables.

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

    @property
    def n_users(self) -> int:
        """Number of users."""
        return self.user_factors.shape[0]

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.item_factors.shape[0]

    def score_block(self, users: np.ndarray, out: torch.Tensor | None = None) -> torch.Tensor:
        """Score all items for ``users``, into ``out`` if given."""
        rows = torch.as_tensor(users, dtype=torch.int64, device=self.user_factors.device)
        return torch.mm(self.user_factors.index_select(0, rows), self.item_factors.T, out=out)

    def of_items(self, items: np.ndarray) -> FactorScorer:
        """Make a scorer of these items alone, in this order."""
        rows = torch.as_tensor(items, dtype=torch.int64, device=self.item_factors.device)
        return FactorScorer(self.user_factors, self.item_factors.index_select(0, rows))


def _tensor(table: np.ndarray | torch.Tensor) -> torch.Tensor:
    if isinstance(table, np.ndarray):
        table = torch.from_numpy(np.array(table, dtype=np.float32, copy=None if table.flags.writeable else True))
    return table.detach().to(torch.float32)
