"""Per-user ranking metrics, each with its definition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import csr_array

from buir.data import canonical

METRICS = ("recall", "ndcg", "precision", "capped_precision", "hit_rate", "map", "mrr")
"""Names of the per-user metrics."""
_WORDS = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "hit_rate": "Hit rate", "capped_precision": "Capped precision"}


def recall_at_k(ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    r"""Fraction of each user's relevant items found in the first ``k`` places.

    .. math:: \mathrm{Recall@}k(u) = |L_u \cap R_u| / |R_u|

    Parameters
    ----------
    ranked
        Item rows in decreasing order of score, shape (n_users, k), -1 where the list ran out; ``k`` is its width.
    relevant
        Held-out interactions, shape (n_users, n_items), one row for each list.

    Returns
    -------
    float64 in [0, 1]; NaN for a user without relevant items, so that ``nanmean`` averages over the users that can be
    evaluated. All metrics of this module return the same.

    Raises
    ------
    ValueError
        If ``ranked`` and ``relevant`` differ in number of users.

    Examples
    --------
    >>> relevant = csr_array([[1, 1, 0, 0]])
    >>> recall_at_k(np.array([[3, 1]]), relevant)
    array([0.5])
    """
    return _one("recall", ranked, relevant)


def ndcg_at_k(ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    r"""Discounted hits over those of the best possible list, with binary gains.

    .. math::

        \mathrm{NDCG@}k(u) = \frac{\sum_{j=1}^{k} [l_j \in R_u] / \log_2(j + 1)}
                                  {\sum_{j=1}^{\min(k, |R_u|)} 1 / \log_2(j + 1)}

    Examples
    --------
    >>> ndcg_at_k(np.array([[3, 1]]), csr_array([[0, 1, 0, 0]])).round(4)
    array([0.6309])
    """
    return _one("ndcg", ranked, relevant)


def precision_at_k(ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    r"""Hits over ``k``, the textbook precision, also where a list is shorter or a user has fewer relevant items.

    .. math:: \mathrm{Precision@}k(u) = |L_u \cap R_u| / k
    """
    return _one("precision", ranked, relevant)


def capped_precision_at_k(ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    r"""Hits over the most hits possible; the BUIR authors report this one as "P@k".

    .. math:: \mathrm{CappedPrecision@}k(u) = |L_u \cap R_u| / \min(k, |R_u|)
    """
    return _one("capped_precision", ranked, relevant)


def hit_rate_at_k(ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    r"""1 if there is a relevant item in the first ``k`` places, else 0.

    .. math:: \mathrm{HitRate@}k(u) = [L_u \cap R_u \neq \emptyset]
    """
    return _one("hit_rate", ranked, relevant)


def map_at_k(ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    r"""Average precision: the precision at the place of each hit, summed, over the most hits possible.

    .. math::

        \mathrm{MAP@}k(u) = \frac{1}{\min(k, |R_u|)} \sum_{j=1}^{k} [l_j \in R_u] \frac{|L_{u,1..j} \cap R_u|}{j}
    """
    return _one("map", ranked, relevant)


def mrr_at_k(ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    r"""One over the place of the first hit, 0 without a hit in the first ``k`` places.

    .. math:: \mathrm{MRR@}k(u) = \max_{j \le k} [l_j \in R_u] / j
    """
    return _one("mrr", ranked, relevant)


def coverage(ranked: np.ndarray, n_items: int) -> float:
    r"""Share of the catalogue that appears in at least one list.

    .. math:: \mathrm{Coverage@}k = |\textstyle\bigcup_u L_u| / n_{\mathrm{items}}

    Parameters
    ----------
    ranked
        Item rows, -1 where a list ran out; the padding covers nothing.
    n_items
        Size of the catalogue; of an empty one the share is 0.
    """
    if n_items == 0:
        return 0.0
    seen = np.zeros(n_items, dtype=bool)
    seen[ranked[ranked >= 0]] = True
    return float(seen.mean())


def user_metrics(
    ranked: np.ndarray, relevant: csr_array, names: Iterable[str] = METRICS, ks: Sequence[int] = (10, 20, 50)
) -> dict[str, np.ndarray]:
    """Compute several metrics at several cut-offs from one ranking.

    Parameters
    ----------
    ranked
        Item rows in decreasing order of score, -1 where the list ran out; as wide as max(ks), or as the catalogue if
        that is less.
    relevant
        Held-out interactions, shape (n_users, n_items).
    names
        Some of ``METRICS``.
    ks
        Cut-offs.

    Returns
    -------
    Per-user values by name, such as "recall_at_20": float64, NaN for a user without relevant items.

    Raises
    ------
    ValueError
        For an unknown name, a cut-off beyond the width of ``ranked`` where items are left to rank, or lists of another
        number of users.

    Notes
    -----
    The lists are compared with the relevant items once, in O(n_users k log n_pairs) time and O(n_users k) memory.
    """
    names = checked_metrics(names, ks)
    if min(max(ks), relevant.shape[1]) > ranked.shape[1]:
        msg = f"cannot cut lists of {ranked.shape[1]} places at {max(ks)}: rank at least max(ks) items for each user"
        raise ValueError(msg)
    relevant = canonical(relevant)
    hits = hit_matrix(ranked, relevant)
    sizes = np.diff(relevant.indptr).astype(np.float64)
    return {f"{name}_at_{k}": list_values(name, hits[:, :k], sizes, k) for k in ks for name in names}


def metric_label(metric: str) -> str:
    """Write ``ndcg_at_20`` as ``NDCG@20``; what is no metric at a length stays as it is."""
    name, _, k = metric.rpartition("_at_")
    return f"{_WORDS.get(name, name.capitalize())}@{k}" if name else metric


def quantile_groups(degrees: np.ndarray, weights: np.ndarray | None = None, n_groups: int = 5) -> np.ndarray:
    """Part users, or items, into groups of equal weight by their number of interactions.

    Parameters
    ----------
    degrees
        Interactions of each.
    weights
        What the groups shall have equal parts of, integers; None counts heads.
    n_groups
        Groups wanted.

    Returns
    -------
    Group 0 to n_groups - 1 of each entry: where the middle of its tie lies in the weights, ordered by degree. Things of
    equal degree are never separated, so that groups become unequal, or some empty, where many are tied.
    """
    levels, member = np.unique(degrees, return_inverse=True)
    mass = np.bincount(member, weights, minlength=len(levels)).astype(np.int64)
    total = mass.sum()
    if total == 0:
        return np.zeros(len(degrees), dtype=np.int64)
    # Twice the middle, in integers: a middle on the edge of two groups must not fall to either side by rounding.
    groups = (2 * np.cumsum(mass) - mass) * n_groups // (2 * total)
    return np.minimum(groups, n_groups - 1)[member]


def checked_metrics(names: Iterable[str], ks: Sequence[int]) -> tuple[str, ...]:
    """Return the names as a tuple if all are of ``METRICS`` and all cut-offs are positive integers."""
    names = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        msg = f"unknown metric {unknown[0]!r}, expected some of {', '.join(METRICS)}"
        raise ValueError(msg)
    whole = all(isinstance(k, int | np.integer) and not isinstance(k, bool) and k >= 1 for k in ks)
    if len(ks) == 0 or isinstance(ks, str) or not whole:
        msg = f"ks is {ks!r}, expected at least one length of a list, each 1 or more"
        raise ValueError(msg)
    return names


def hit_matrix(ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    """Tell which places of the lists hold an item of the canonical ``relevant``; the padding -1 is never a hit."""
    if ranked.ndim != 2 or ranked.shape[0] != relevant.shape[0]:
        msg = f"ranked has shape {ranked.shape}, expected one list for each of the {relevant.shape[0]} rows of relevant"
        raise ValueError(msg)
    n_users, n_items = relevant.shape
    if relevant.nnz == 0 or ranked.size == 0:
        return np.zeros(ranked.shape, dtype=bool)
    owners = np.repeat(np.arange(n_users, dtype=np.int64), np.diff(relevant.indptr))
    keys = owners * n_items + relevant.indices
    wanted = np.arange(n_users, dtype=np.int64)[:, None] * n_items + ranked
    places = np.searchsorted(keys, wanted)
    return (keys[np.minimum(places, len(keys) - 1)] == wanted) & (ranked >= 0)


def _one(name: str, ranked: np.ndarray, relevant: csr_array) -> np.ndarray:
    k = ranked.shape[1]
    return user_metrics(ranked, relevant, (name,), (k,))[f"{name}_at_{k}"]


def list_values(name: str, hits: np.ndarray, sizes: np.ndarray, k: int) -> np.ndarray:
    """Return a metric by the hits of each list, shape (n_users, at most k), and the relevant items of its user."""
    # Sums along a row, not matrix products: those of BLAS depend in their last bits on the rows around.
    place = np.arange(1, hits.shape[1] + 1)
    some = np.where(sizes > 0, sizes, np.nan)
    possible = np.minimum(some, k)
    if name == "recall":
        return hits.sum(axis=1) / some
    if name == "precision":
        return hits.sum(axis=1) / np.where(sizes > 0, k, np.nan)
    if name == "capped_precision":
        return hits.sum(axis=1) / possible
    if name == "hit_rate":
        return np.where(sizes > 0, hits.any(axis=1), np.nan)
    if name == "ndcg":
        discount = 1 / np.log2(place + 1)
        most, which = np.unique(possible, return_inverse=True)
        best = ((place <= most[:, None]) * discount).sum(axis=1)
        return (hits * discount).sum(axis=1) / np.where(most > 0, best, np.nan)[which]
    if name == "map":
        return (hits * hits.cumsum(axis=1) / place).sum(axis=1) / possible
    return (hits / place).max(axis=1) + 0 * some
