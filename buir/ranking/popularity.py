"""Popularity as one more coordinate of the factors: the layer in which endless propagation ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from buir.ranking.top_k import FactorScorer

__all__ = ["WEIGHTS", "PopularityTerm"]

WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
"""Weights tried by "auto", from none to so much that the personal part only orders equally popular items."""


@dataclass(frozen=True, eq=False)
class PopularityTerm:
    r"""Adds :math:`w\, \sigma \sqrt{d_v} / \mathrm{sd}(\sqrt d)` to the score of every item v.

    An extension of the paper. :math:`\tilde A^k E` turns towards the leading eigenvector :math:`D^{1/2} 1` of the
    normalised adjacency matrix as k grows, so this is the layer that no finite number of layers reaches; where pairs
    are scarce it says more than the others.
    """

    degree: Tensor
    """Training users of each item, by the weights of their pairs, shape (n_items,)."""
    strength: float = 0.0
    """w >= 0: the spread of popularity over the items, in units of sigma.

    Sigma is the spread of the personal scores over the items (root mean square over users).
    """

    grid: ClassVar[tuple[float, ...]] = WEIGHTS
    """Strengths tried by default."""

    def factors(self, n_users: int) -> FactorScorer:
        """Return the term in its own unit as one coordinate: 1 for a user, the root of the degree for an item."""
        root = self.degree.to(torch.float32).sqrt().unsqueeze(1)
        return FactorScorer(root.new_ones(n_users, 1), root)

    def __call__(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Append the term to factors as a coordinate of its own, 1 for every user; strength 0 returns them as they are.

        Parameters
        ----------
        users, items
            Factors whose inner products are the personal scores, shapes (n_users, d) and (n_items, d).

        Returns
        -------
        Shapes (n_users, d + 1) and (n_items, d + 1), or the same tables.
        """
        if self.strength == 0:
            return users, items
        centred = items - items.mean(dim=0)
        # The mean over users of u' C u, with C the covariance of the items, is the sum of C times the mean of u u',
        # entry by entry.
        variance = ((centred.T @ centred) * (users.T @ users)).sum() / (len(items) * len(users))
        root = self.degree.to(items.dtype).sqrt()
        deviation = root.std(correction=0)
        scale = torch.where(deviation > 0, self.strength * variance.clamp(min=0).sqrt() / deviation, 0.0)
        return torch.cat([users, torch.ones_like(users[:, :1])], dim=1), torch.cat(
            [items, (scale * root).unsqueeze(1)], dim=1
        )

    def best(self, measure: Callable[["PopularityTerm"], float]) -> "PopularityTerm":
        """Return the term whose weight among ``WEIGHTS`` is measured highest; of equal ones the lightest."""
        return max((replace(self, strength=weight) for weight in WEIGHTS), key=measure)
