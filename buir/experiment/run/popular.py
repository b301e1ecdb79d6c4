"""How far the lists of a model are what is popular."""

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.data import Split, canonical, take
from buir.ranking import Evaluation, FactorScorer, top_k

MOST_USERS = 2000
"""Looked at, evenly spaced among those who were measured."""
DECIDED = 0.5
"""Where equal degrees leave more than this share of the popularity list open, nothing is said."""


def popularity_overlap(evaluation: Evaluation, split: Split, k: int) -> float | None:
    """Share of the places of the top-k lists whose items are on the user's popularity list, the mean over users.

    A user's popularity list has the k items with the most training users that she may be shown. An item as popular as
    the last of it counts as on it while places are left: which of them is listed is a matter of ties.

    Parameters
    ----------
    evaluation
        Of a model; which of its items were held out is not looked at.
    split
        That was measured.
    k
        Length of the lists, at most that of the evaluation's.

    Returns
    -------
    In [0, 1]; 1 for the popularity list itself. None where the places with items that are more popular than the last
    one are fewer than half: popularity then says too little for a list to be its.
    """
    places = np.unique(np.linspace(0, len(evaluation.users) - 1, min(MOST_USERS, len(evaluation.users))).astype(int))
    users, listed = evaluation.users[places], evaluation.ranked[places, :k]
    train = split.train.matrix
    excluded = canonical(csr_array(train + split.valid.matrix))
    degree = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32)
    popular = FactorScorer(torch.ones(train.shape[0], 1), torch.from_numpy(degree).unsqueeze(1))
    best, _ = top_k(popular, users, listed.shape[1], exclude=take(excluded, users))
    known, shown = (np.where(lists >= 0, degree[lists], np.nan) for lists in (best, listed))
    sizes = np.maximum((best >= 0).sum(axis=1), 1)
    last = np.nanmin(np.where(best >= 0, known, np.inf), axis=1, keepdims=True)
    decided = (known > last).sum(axis=1)
    if (decided / sizes).mean() < DECIDED:
        return None
    tied = np.minimum((shown == last).sum(axis=1), sizes - decided)
    return float((((shown > last).sum(axis=1) + tied) / sizes).mean())
