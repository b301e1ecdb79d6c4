"""Labelled recommendations by any fitted `implicit` model, cleaned of its padding."""

from typing import Any

import numpy as np
import pandas as pd

from buir.data import as_csr
from buir.errors import ShapeError
from buir.ranking import as_scorer
from buir.recommend.frames import Catalogue
from buir.recommend.lookup import Lookup


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
    scorer = as_scorer(model, seen)
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
