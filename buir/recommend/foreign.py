"""Labelled recommendations by any fitted `implicit` model, cleaned of its padding."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array, csr_matrix

from buir.data import as_csr
from buir.errors import ShapeError
from buir.ranking import FactorScorer, Scorer
from buir.recommend.frames import Catalogue
from buir.recommend.lookup import Lookup

_NEVER = -3e38
"""`implicit` gives what it must not list about -3.4e38; no real score comes near."""


class ListScorer:
    """Scores of a model that has no factors, read off its own full-length lists.

    Parameters
    ----------
    model
        Anything with `implicit`'s ``recommend``.
    seen
        Training rows, which such models score from.
    """

    def __init__(self, model: Any, seen: csr_array) -> None:
        self.model, self.seen = model, seen
        self.n_users, self.n_items = seen.shape

    def score_block(self, users: np.ndarray) -> torch.Tensor:
        """Score all items for ``users``, -inf where the model gives no score."""
        rows: Any = self.seen[users]
        ids, scores = self.model.recommend(users, csr_matrix(rows), N=self.n_items, filter_already_liked_items=False)
        ids, scores = np.asarray(ids), np.asarray(scores, dtype=np.float64)
        real = (ids >= 0) & (ids < self.n_items) & (scores > _NEVER)
        block = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        block[np.nonzero(real)[0], ids[real]] = scores[real]
        return torch.from_numpy(block)


def recommend_frame(
    model: Any,
    interactions: Any,
    users: Any = None,
    k: int = 10,
    *,
    exclude_seen: bool = True,
    allow: Any = None,
    deny: Any = None,
    unknown: str = "error",
    trained_only: bool = False,
) -> pd.DataFrame:
    """List the best items by a fitted model of ours or of `implicit`, with the ids of ``interactions``.

    Parameters
    ----------
    model
        Fitted on ``interactions.matrix``: anything with ``scorer()``, with ``user_factors`` and ``item_factors``, or
        with `implicit`'s ``recommend``.
    interactions
        What it was fitted on: ``Interactions``, a data frame, or a matrix, whose row and column numbers are its ids.
    users, k, exclude_seen, allow, deny, unknown, trained_only
        As for ``Recommender.recommend_frame``.

    Returns
    -------
    Columns ``user``, ``item``, ``score``, ``rank``. A model without factors lists only the items it gives a score to.

    Raises
    ------
    ValueError
        If the model is not fitted, or was fitted on a matrix of another shape.
    """
    seen, user_ids, item_ids = as_csr(interactions, "interactions")[:3]
    name = type(model).__name__
    scorer = _scorer(model, seen)
    shape = (scorer.n_users, scorer.n_items)
    if shape != seen.shape:
        transposed = "users x items: the model was fitted on the transposed matrix, fit it on interactions.matrix"
        expected = transposed if shape == seen.shape[::-1] else "the interactions that the model was fitted on"
        scored = f"this {name} scores {shape[0]} users and {shape[1]} items, but interactions has shape {seen.shape}"
        msg = f"{scored}; expected {expected}"
        raise ShapeError(msg, argument="interactions")
    users_by_id = Lookup(np.arange(shape[0]) if user_ids is None else user_ids, "user")
    items_by_id = Lookup(np.arange(shape[1]) if item_ids is None else item_ids, "item")
    catalogue = Catalogue(name, users_by_id, items_by_id, seen, lambda: scorer, lambda _: scorer)
    options = {"exclude_seen": exclude_seen, "allow": allow, "deny": deny, "unknown": unknown}
    return catalogue.frame(users, k, **options, histories=None, trained_only=trained_only)


def _scorer(model: Any, seen: csr_array) -> Scorer:
    if callable(getattr(model, "scorer", None)):
        return model.scorer()
    tables: list[Any] = [getattr(model, name, None) for name in ("user_factors", "item_factors")]
    # implicit keeps the factors of a GPU model in a matrix class of its own.
    tables = [table.to_numpy() if hasattr(table, "to_numpy") else table for table in tables]
    if tables[0] is not None and tables[1] is not None:
        return FactorScorer(tables[0], tables[1])
    fitted = not hasattr(model, "user_factors") and getattr(model, "similarity", model) is not None
    if not fitted:
        msg = f"this {type(model).__name__} is not fitted; call fit(interactions.matrix) first"
        raise ValueError(msg)
    if callable(getattr(model, "recommend", None)):
        return ListScorer(model, seen)
    msg = (
        f"model is of type {type(model).__name__}; expected scorer(), user_factors and item_factors, "
        "or recommend(userid, user_items, ...)"
    )
    raise TypeError(msg)
