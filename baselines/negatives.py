"""Learning from pairs of scores: what a user has against what the user does not have."""

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from buir.graph import mix, stream

from .contrast import KnownPairs


class NegativeSampler:
    """Items drawn evenly among those that a user does not have.

    Parameters
    ----------
    user_items
        Training pairs; a user who has every item has no negative and must not be asked for.
    device
        Where the draws are made.
    """

    def __init__(self, user_items: csr_array, device: torch.device) -> None:
        self.n_items = user_items.shape[1]
        self.is_positive = KnownPairs(user_items, device).contain

    def draw(self, users: Tensor, key: int) -> Tensor:
        """Draw one item for each of ``users``, again where it was a positive; int64."""
        counter = torch.arange(len(users), dtype=torch.int32, device=users.device)
        items = torch.remainder(mix(counter, key).long(), self.n_items)
        attempt = 0
        while (again := self.is_positive(users, items).nonzero().squeeze(1)).numel():
            attempt += 1
            items[again] = torch.remainder(mix(counter[again], stream(key, attempt)).long(), self.n_items)
        return items


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Bayesian personalised ranking, :math:`-\mathrm{mean}\,\log\sigma(s^+ - s^-)`, above 0; log 2 knows nothing.

    Parameters
    ----------
    positive, negative
        Scores of a training pair and of a pair of the same user that is none, shape (n,).
    """
    return functional.softplus(negative - positive).mean()
