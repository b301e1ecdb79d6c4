"""Pairs written as often as they weigh: what a weight of 2 must equal, counted row by row."""

import math

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from tests.support.dense import random_matrix

COUNTS = random_matrix(density=0.35, seed=6)
COUNTS.data = np.random.default_rng(1).integers(1, 5, COUNTS.nnz).astype(np.float32)
"""How often each pair is written; user 3 and item 5 have nobody."""


def rows_of(counts: csr_array) -> list[tuple[int, int]]:
    """Every pair, as often as it is written."""
    pairs = zip(*counts.nonzero(), counts.data.astype(int), strict=True)
    return [(int(user), int(item)) for user, item, times in pairs for _ in range(times)]


def adjacency(counts: csr_array) -> Tensor:
    """D^-1/2 Adj D^-1/2 of the graph with an edge for each row, float64 (n_nodes, n_nodes)."""
    n_users, n_items = counts.shape
    degree = np.zeros(n_users + n_items)
    for user, item in rows_of(counts):
        degree[user] += 1
        degree[n_users + item] += 1
    whole = np.zeros((len(degree), len(degree)))
    for user, item in rows_of(counts):
        entry = 1 / math.sqrt(degree[user] * degree[n_users + item])
        whole[user, n_users + item] += entry
        whole[n_users + item, user] += entry
    return torch.from_numpy(whole)
