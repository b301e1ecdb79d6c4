"""Negatives from the group of a pair's item, such as articles about the same."""

import torch
from torch import Tensor


def group_log_weight(groups: Tensor, sizes: Tensor, positive: Tensor, candidates: Tensor, share: float) -> Tensor:
    r"""Weigh candidates as if a share of them had been drawn from the group of the pair's item.

    An item of the group counts :math:`(1 - g) + g\, n / |G|` times, one outside it 1 - g times: what drawing the share
    g from the group and the rest evenly gives in expectation. A pair whose item has no group leaves all as they are.

    Parameters
    ----------
    groups
        Group of each item, -1 for none, shape (n_items,).
    sizes
        Items of each group, shape (n_groups,).
    positive
        Items of the pairs, shape (B,).
    candidates
        Shape (C,) or (B, C).
    share
        g, from 0 to less than 1; 0 changes nothing.

    Returns
    -------
    Log of the weights, shape (B, C).

    References
    ----------
    Jiang et al., "LEMON: language-based negative sampling", 2022, who draw from clusters of texts.
    """
    own = groups[positive]
    same = groups[candidates] == own.unsqueeze(1)
    lifted = (1 - share) + share * len(groups) / sizes[own.clamp_min(0)].unsqueeze(1)
    weight = torch.where(same, lifted, 1 - share)
    return torch.where(own.unsqueeze(1) < 0, 1.0, weight).float().log()


def group_sizes(groups: Tensor) -> Tensor:
    """Count the items of each group, those without a group left out."""
    return torch.bincount(groups[groups >= 0], minlength=1)
