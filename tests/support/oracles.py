"""Slow and obvious: ranking, metrics and groups with Python loops over sets and dictionaries."""

import math

import numpy as np


def rank(scores, k, exclude=None, allow=None, deny=None):
    """Ids and scores of a dense table by sorting (-score, row), with one set of items for each row (or None)."""
    ids = np.full((len(scores), k), -1)
    best = np.full((len(scores), k), -np.inf, dtype=np.float32)
    for user, row in enumerate(scores):
        items = set(range(len(row)))
        if allow is not None:
            items &= allow[user]
        for left_out in (exclude, deny):
            if left_out is not None:
                items -= left_out[user]
        order = sorted((-float(row[item]), item) for item in items if row[item] > -np.inf)
        for place, (score, item) in enumerate(order[:k]):
            ids[user, place], best[user, place] = item, -score
    return ids, best


def sets(matrix):
    """The columns of each row of a sparse or dense matrix."""
    dense = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return [set(np.flatnonzero(row).tolist()) for row in dense]


def metric(name, ranked, relevant, k):
    """One metric of one list against one set, as its definition is spoken."""
    if not relevant:
        return math.nan
    places = [place for place, item in enumerate(ranked[:k], start=1) if item in relevant]
    if name == "recall":
        return len(places) / len(relevant)
    if name == "precision":
        return len(places) / k
    if name == "capped_precision":
        return len(places) / min(k, len(relevant))
    if name == "hit_rate":
        return 1.0 if places else 0.0
    if name == "ndcg":
        best = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(relevant)) + 1))
        return sum(1 / math.log2(place + 1) for place in places) / best
    if name == "map":
        return sum((number + 1) / place for number, place in enumerate(places)) / min(k, len(relevant))
    if name == "mrr":
        return 1 / places[0] if places else 0.0
    raise AssertionError(name)


def groups(degrees, weights, n_groups):
    """Group of each entry: the weight below its tie and half of the tie's own, as a share of all."""
    total = sum(weights)
    found = []
    for degree in degrees:
        below = sum(w for d, w in zip(degrees, weights, strict=True) if d < degree)
        same = sum(w for d, w in zip(degrees, weights, strict=True) if d == degree)
        found.append(min(n_groups - 1, (2 * below + same) * n_groups // (2 * total)))
    return found
