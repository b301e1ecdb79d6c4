"""Every metric for groups of users by activity and of items by popularity."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from buir.data import canonical, keep
from buir.ranking import Evaluation, quantile_groups, user_metrics

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
    train, test = (canonical(getattr(part, "matrix", part)) for part in (train, test))
    degrees, popularity = evaluation.train_degree, np.bincount(train.indices, minlength=train.shape[1])
    user_groups = quantile_groups(degrees, n_groups=n_groups)
    item_groups = quantile_groups(popularity, popularity, n_groups)
    relevant = test[evaluation.users]
    users, items = [], []
    for group in range(n_groups):
        inside = user_groups == group
        if n_users := int(inside.sum()):
            means = {name: float(values[inside].mean()) for name, values in evaluation.per_user.items()}
            users.append(_record(group, degrees[inside], n_users) | means)
        inside = item_groups == group
        some = keep(relevant, inside[relevant.indices])
        if n_users := int(np.count_nonzero(np.diff(some.indptr))):
            means = {name: float(np.nanmean(values)) for name, values in _again(evaluation, some).items()}
            items.append(_record(group, popularity[inside], n_users) | {"n_items": int(inside.sum())} | means)
    return {"user": users, "item": items}


def _again(evaluation: Evaluation, relevant: csr_array) -> dict[str, np.ndarray]:
    """Measure the kept lists again, against other relevant items, with the metrics of the evaluation in their order."""
    parts = [key.rpartition("_at_") for key in evaluation.per_user]
    names, ks = dict.fromkeys(part[0] for part in parts), dict.fromkeys(int(part[2]) for part in parts)
    found = user_metrics(evaluation.ranked, relevant, tuple(names), tuple(ks))
    return {key: found[key] for key in evaluation.per_user}


def _record(group: int, degrees: np.ndarray, n_users: int) -> dict[str, Any]:
    return {"group": group + 1, "low": int(degrees.min()), "high": int(degrees.max()), "n_users": n_users}
