"""evaluate(model, train, test): per-user values and means from one full ranking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from buir.data import canonical, doctor, take
from buir.errors import InputError, report
from buir.ranking.metrics import METRICS, checked_metrics, coverage, user_metrics
from buir.ranking.top_k import FactorScorer, Scorer, top_k

if TYPE_CHECKING:
    import pandas as pd

    from buir.data import Interactions


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one ranking of the test users is worth."""

    users: np.ndarray
    """Rows of the users evaluated, ascending: those with test items."""
    per_user: dict[str, np.ndarray]
    """Values by name ("recall_at_20"), float64, aligned with ``users``."""
    means: dict[str, float]
    """Mean over ``users`` of each, and "coverage_at_20", ... of the lists together. NaN without users."""
    ranked: np.ndarray
    """The lists, item rows, -1 where a list ran out; as wide as max(ks), or as the catalogue if that is less."""
    train_degree: np.ndarray
    """Training interactions of each user."""

    @property
    def n_users(self) -> int:
        """Number of users evaluated."""
        return len(self.users)

    def to_frame(self) -> pd.DataFrame:
        """Make a table with one row for each user: ``user``, ``train_degree``, then a column for each metric."""
        import pandas as pd

        return pd.DataFrame({"user": self.users, "train_degree": self.train_degree, **self.per_user})


def evaluate(
    model: Any,
    train: Interactions | csr_array,
    test: Interactions | csr_array,
    *,
    valid: Interactions | csr_array | None = None,
    ks: Sequence[int] = (10, 20, 50),
    metrics: Iterable[str] | None = None,
    memory_mb: int = 256,
) -> Evaluation:
    """Rank all items for every user with test items, once, and measure the lists.

    Parameters
    ----------
    model
        Anything with ``scorer()``, or with ``user_factors`` and ``item_factors``; or a scorer.
    train
        Training interactions: never listed.
    test
        Held-out interactions: the relevant items.
    valid
        Interactions that selected the model: never listed either.
    ks
        Cut-offs.
    metrics
        Some of ``buir.ranking.metrics.METRICS``; None for all.
    memory_mb
        Bound for the ranking's working memory in MiB.

    Returns
    -------
    Values of each user and their means, by names such as "recall_at_20", and the lists.

    Raises
    ------
    ValueError
        If shapes differ, users or items are labelled in another order than the model's, a metric is unknown, or a score
        is NaN.
    TypeError
        If the model cannot score, or data frames are given.

    Notes
    -----
    All items are candidates, also those without training interactions. An item that is both in ``train`` and in
    ``test`` cannot be listed and counts as missed.
    """
    names = checked_metrics(METRICS if metrics is None else metrics, ks)
    scorer = as_scorer(model)
    shape = (scorer.n_users, scorer.n_items)
    for name, given in (("train", train), ("test", test), ("valid", valid)):
        _check_labels(model, given, name)
    seen, held = as_matrix(train, shape, "train"), as_matrix(test, shape, "test")
    asked = np.flatnonzero(np.diff(held.indptr))
    degree = np.diff(seen.indptr)[asked].astype(np.int64)
    if valid is not None:
        seen = csr_array(seen + as_matrix(valid, shape, "valid"))
    longest = min(max(ks), max(1, shape[1]))
    ranked, _ = top_k(scorer, asked, longest, exclude=take(seen, asked), memory_mb=memory_mb)
    per_user = user_metrics(ranked, take(held, asked), names, ks)
    means = {name: float(values.mean()) if len(values) else float("nan") for name, values in per_user.items()}
    means |= {f"coverage_at_{k}": coverage(ranked[:, :k], shape[1]) for k in ks}
    return Evaluation(asked, per_user, means, ranked, degree)


def _check_labels(model: Any, given: Any, name: str) -> None:
    """Make sure that row 3 of the model is row 3 of the data: equal shapes do not tell."""
    for what, mine in (("user_ids", "user_ids_"), ("item_ids", "item_ids_")):
        theirs, ours = getattr(given, what, None), getattr(model, mine, None)
        if theirs is None or ours is None or len(theirs) != len(ours) or np.array_equal(theirs, ours):
            continue
        msg = (
            f"{name} has its {what.replace('_', ' ')} in another order than the model ({theirs[:1].tolist()[0]!r} "
            f"first, {ours[:1].tolist()[0]!r} first), expected the same: pass "
            f"{name}.aligned(model.user_ids_, model.item_ids_), or fit on the Interactions themselves"
        )
        raise InputError(msg, argument=name)


def as_scorer(model: Any) -> Scorer:
    """Take the score function of a model: its ``scorer()``, or its two factor tables."""
    if callable(getattr(model, "scorer", None)):
        return model.scorer()
    if isinstance(model, Scorer):
        return model
    tables = [getattr(model, name, None) for name in ("user_factors", "item_factors")]
    if any(table is None for table in tables):
        msg = f"cannot score with {type(model).__name__}: expected a scorer() method, or user_factors and item_factors"
        raise TypeError(msg)
    return FactorScorer(model.user_factors, model.item_factors)


def as_matrix(interactions: Interactions | csr_array, shape: tuple[int, int], name: str) -> csr_array:
    """Take a canonical matrix of users by items, or say why what was given is none."""
    given: Any = getattr(interactions, "matrix", interactions)
    if hasattr(given, "columns"):
        msg = (
            f"{name} is a data frame, expected a matrix or Interactions; "
            "pass Interactions.from_frame(frame).aligned(model.user_ids_, model.item_ids_)"
        )
        raise TypeError(msg)
    matrix = canonical(given)
    report(doctor.shape_findings(matrix.shape, shape, name))
    return matrix
