"""What the speed is measured on: real graphs from the folder in BUIR_DATA, and generated ones of a given size."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from buir.data import keep
from buir.data.files.readers import read, read_split
from buir.data.interactions import Interactions
from buir.data.splits import Split, nested_split

SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "ml-100k": ("ml-100k/u.data", {"min_rating": 1}),
    "citeulike": ("citeulike-t/users.dat", {"min_user": 5}),
    "filmtrust": ("filmtrust/ratings.txt", {"min_user": 5, "min_rating": 0}),
    "lastfm": ("lastfm-hetrec/user_artists.dat", {"min_rating": 1}),
    "ciao": ("ciao/ratings.txt.gz", {"min_user": 5, "min_item": 5}),
    "amazon-beauty": ("amazon-beauty/Beauty.inter.gz", {}),
}
"""The data of the sweep: where a file lies in the folder, and how it is read. Every rating is a positive."""


def load(data: str) -> Interactions:
    """Read one of ``SETS``."""
    path, filters = SETS[data]
    return read(data_dir() / path, **filters)


def nested(data: str, level: float, seed: int = 0) -> Split:
    """Split one of ``SETS`` by the nested protocol."""
    return nested_split(load(data), level, seed=seed)


def halves(split: Split) -> tuple[csr_array, csr_array]:
    """Cut held-out pairs in two by their users, so that what one half decides is measured on the other."""
    valid = split.valid.matrix
    rows = np.repeat(np.arange(valid.shape[0]), np.diff(valid.indptr))
    first = np.random.default_rng(0).random(valid.shape[0])[rows] < 0.5
    return keep(valid, first), keep(valid, ~first)


def data_dir() -> Path:
    """Return the folder of data sets; without BUIR_DATA, stop with a line that says what to do."""
    if "BUIR_DATA" not in os.environ:
        sys.exit("set BUIR_DATA to the folder that holds the data sets (gowalla/, amazon-beauty/, ...)")
    return Path(os.environ["BUIR_DATA"])


def gowalla() -> tuple[Interactions, Interactions]:
    """Training and test part of Gowalla, as distributed with LightGCN."""
    return read_split(data_dir() / "gowalla" / "train.txt.gz", data_dir() / "gowalla" / "test.txt.gz")


def beauty(level: float = 1.0, seed: int = 0) -> Split:
    """Amazon-Beauty under the nested protocol."""
    return nested("amazon-beauty", level, seed)


def generated(n_pairs: int, seed: int = 0) -> csr_array:
    """Draw distinct pairs of n_pairs / 10 users and n_pairs / 50 items, with long tails on both sides.

    A user's activity is log-normal, an item's popularity falls with the power 0.8 of its rank. There is nothing to learn in these pairs: they
    measure cost only.
    """
    rng = np.random.default_rng(seed)
    n_users, n_items = max(n_pairs // 10, 1), max(n_pairs // 50, 1)
    if 2 * n_pairs > n_users * n_items:
        msg = f"n_pairs is {n_pairs}, expected 1,000 or more: so few users and items do not have as many pairs"
        raise ValueError(msg)
    activity = rng.lognormal(sigma=1.0, size=n_users)
    popularity = (np.arange(n_items) + 10.0) ** -0.8
    names = rng.permutation(n_items)
    # one pair for everybody, the rest by activity
    first = np.arange(n_users) * n_items + names[draw(popularity, n_users, rng)]
    more = np.empty(0, dtype=np.int64)
    while len(more) < n_pairs - n_users:
        size = int(1.2 * (n_pairs - n_users - len(more))) + 100
        drawn = draw(activity, size, rng) * n_items + names[draw(popularity, size, rng)]
        more = np.setdiff1d(np.concatenate([more, drawn]), first)
    keys = np.sort(np.concatenate([first, rng.choice(more, n_pairs - n_users, replace=False, shuffle=False)]))
    matrix = csr_array(
        (np.ones(n_pairs, dtype=np.float32), (keys // n_items, keys % n_items)), shape=(n_users, n_items)
    )
    matrix.sort_indices()
    return matrix


def draw(weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw places in proportion to weights, int64."""
    bounds = np.cumsum(weights) / weights.sum()
    return np.searchsorted(bounds, rng.random(size), side="right").clip(max=len(weights) - 1)
