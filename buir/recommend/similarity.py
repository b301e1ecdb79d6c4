"""Lists of the most similar rows of a table of vectors, by cosine."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from buir.ranking import FactorScorer, top_k
from buir.recommend.arguments import as_rows, shaped


def most_similar(
    vectors: np.ndarray,
    asked: np.ndarray,
    k: int,
    queries: np.ndarray | None = None,
    *,
    deny: Any,
    allow: Any,
    names: tuple[str, str],
    one: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """List the rows of ``vectors`` most similar to some of them, the row itself first with 1.

    Parameters
    ----------
    vectors
        Shape (n, d). A row of zeros has similarity 0 to all others.
    asked
        Rows whose neighbours are listed.
    k
        Length of a list.
    queries
        Vectors, one for each of ``asked``, to compare in place of the table's own; then no row is put first.
    deny, allow
        Row numbers to leave out, and the only ones allowed, or None.
    names
        What the arguments ``deny`` and ``allow`` are called, for the messages.
    one
        Whether to return 1-D lists.
    """
    noun, n = names[1][:-1], len(vectors)
    denied = None if deny is None else as_rows(deny, n, names[0], noun)
    allowed = None if allow is None else as_rows(allow, n, names[1], noun)
    unit = _unit(vectors)
    if queries is not None:
        ids, scores = top_k(FactorScorer(_unit(queries), unit), np.arange(len(asked)), k, allow=allowed, deny=denied)
        return shaped(ids, np.clip(scores, -1, 1, where=ids >= 0, out=scores), one=one)
    itself = csr_array((np.ones(len(asked)), asked, np.arange(len(asked) + 1)), shape=(len(asked), n))
    ids, scores = top_k(
        FactorScorer(unit[asked], unit), np.arange(len(asked)), k, exclude=itself, allow=allowed, deny=denied
    )
    np.clip(scores, -1, 1, where=ids >= 0, out=scores)
    # A twin with the same vector ties with the thing itself, and rounding can even put it ahead: the first place is given, not won.
    first = np.ones(len(asked), dtype=bool)
    if allowed is not None:
        first &= np.isin(asked, allowed)
    if denied is not None:
        first &= ~np.isin(asked, denied)
    ids[first] = np.column_stack([asked[first], ids[first, :-1]])
    scores[first] = np.column_stack([np.ones(first.sum()), scores[first, :-1]])
    return shaped(ids, scores, one=one)


def vectors_of(model: Any, name: str, verb: str) -> np.ndarray:
    """Return the table ``name`` of a fitted model; an error that speaks of ``verb`` if models of its kind have none."""
    vectors = getattr(model, name, None)
    if vectors is None:
        msg = f"{type(model).__name__} has no {name}, which {verb} compares; use a model with factors"
        raise ValueError(msg)
    # The coordinate of popularity says nothing about likeness: it is the same for every user.
    return vectors[:, :-1] if getattr(model, "popularity_", 0) else vectors


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(np.float32)
