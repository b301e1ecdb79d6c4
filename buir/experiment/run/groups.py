"""Every metric for groups of users by activity and of items by popularity."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from buir.data import canonical, keep
from buir.ranking import Evaluation, user_metrics

N_GROUPS = 5
"""Quintiles."""


def group_metrics(evaluation: Evaluation, train: Any, test: Any, n_groups: int = N_GROUPS) -> dict[str, list[dict]]:
    """Measure one ranking by user activity and by item popularity.

    Parameters
    ----------
    evaluation
        Of ``buir.ranking.evaluation.evaluate``.
    train, test
        Interactions or matrices, those that were evaluated.
    n_groups
        Number of groups wanted.

    Returns
    -------
    ``{"user": [...], "item": [...]}``: for each group a record of ``group`` (1 is the least active or popular),
    ``low`` and ``high`` (smallest and largest training degree in it), ``n_users`` measured in it, and the mean of
    every metric of the evaluation. Item groups have ``n_items`` besides. Groups in which nobody can be measured are
    left out.

    Notes
    -----
    User groups split the evaluated users into equal parts by training degree; item groups split the training
    INTERACTIONS into equal parts by the popularity of their items, and a user is measured in a group on those
    held-out items that belong to it, with the list left whole. Things of equal degree are never separated:
    all of them go where the middle of their tie falls, so that groups do not depend on the order of rows, and
    become unequal, or fewer, where many are tied.
    """
    degrees = evaluation.train_degree
    return {
        "user": _by_user(evaluation, _quantile_groups(degrees, np.ones_like(degrees), n_groups), n_groups),
        "item": _by_item(evaluation, _matrix(train), _matrix(test), n_groups),
    }


def _by_user(evaluation: Evaluation, groups: np.ndarray, n_groups: int) -> list[dict]:
    records = []
    for group in range(n_groups):
        inside = groups == group
        if not inside.any():
            continue
        degrees = evaluation.train_degree[inside]
        record = _record(group, degrees, int(inside.sum()))
        records.append(record | {name: float(values[inside].mean()) for name, values in evaluation.per_user.items()})
    return records


def _by_item(evaluation: Evaluation, train: csr_array, test: csr_array, n_groups: int) -> list[dict]:
    popularity = np.bincount(train.indices, minlength=train.shape[1])
    groups = _quantile_groups(popularity, popularity, n_groups)
    relevant = test[evaluation.users]
    records = []
    for group in range(n_groups):
        inside = groups == group
        some = keep(relevant, inside[relevant.indices])
        n_users = int(np.count_nonzero(np.diff(some.indptr)))
        if n_users == 0:
            continue
        record = _record(group, popularity[inside], n_users) | {"n_items": int(inside.sum())}
        records.append(record | {name: float(np.nanmean(values)) for name, values in _again(evaluation, some).items()})
    return records


def _again(evaluation: Evaluation, relevant: csr_array) -> dict[str, np.ndarray]:
    """Measure the kept lists again, against other relevant items, with the metrics of the evaluation in their order."""
    parts = [key.rpartition("_at_") for key in evaluation.per_user]
    names, ks = dict.fromkeys(part[0] for part in parts), dict.fromkeys(int(part[2]) for part in parts)
    found = user_metrics(evaluation.ranked, relevant, tuple(names), tuple(ks))
    return {key: found[key] for key in evaluation.per_user}


def _record(group: int, degrees: np.ndarray, n_users: int) -> dict[str, Any]:
    return {"group": group + 1, "low": int(degrees.min()), "high": int(degrees.max()), "n_users": n_users}


def _quantile_groups(degrees: np.ndarray, weights: np.ndarray, n_groups: int) -> np.ndarray:
    """Group 0..n_groups-1 of each entry: where the middle of its tie lies in the weights, ordered by degree."""
    levels, member = np.unique(degrees, return_inverse=True)
    mass = np.zeros(len(levels), dtype=np.int64)
    np.add.at(mass, member, weights)
    total = mass.sum()
    if total == 0:
        return np.zeros(len(degrees), dtype=np.int64)
    # Twice the middle, in integers: a middle on the edge of two groups must not fall to either side by rounding.
    groups = (2 * np.cumsum(mass) - mass) * n_groups // (2 * total)
    return np.minimum(groups, n_groups - 1)[member]


def _matrix(interactions: Any) -> csr_array:
    return canonical(getattr(interactions, "matrix", interactions))
