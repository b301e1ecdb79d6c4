"""Lists of the most similar rows of a table of vectors, by cosine."""

from typing import Any

import numpy as np

from buir.data import binary
from buir.ranking import FactorScorer, Scorer, as_count, as_rows, top_k
from buir.recommend.arguments import shaped


def most_similar(
    scorer: Scorer,
    rows: np.ndarray,
    N: int,
    *,
    itself: bool = True,
    deny: Any,
    allow: Any,
    names: tuple[str, str],
    one: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """List what is most similar to some rows of a scorer of cosines, with ``itself`` the row itself first with 1.

    Parameters
    ----------
    scorer
        Cosines of its rows with all things of their kind.
    rows
        Whose lists are made.
    N
        Length of a list.
    itself
        Whether the rows are things of that kind, each of which is put first in its own list.
    deny, allow
        Row numbers to leave out, and the only ones allowed, or None. They count for the thing itself, too.
    names
        What the arguments ``deny`` and ``allow`` are called, for the messages.
    one
        Whether to return 1-D lists.
    """
    noun, n, k = names[1][:-1], scorer.n_items, as_count(N, "N")
    denied = None if deny is None else as_rows(deny, n, names[0], noun)
    allowed = None if allow is None else as_rows(allow, n, names[1], noun)
    own = binary(np.arange(len(rows)), rows, (len(rows), n)) if itself else None
    k = min(k, n) if one else k
    ids, scores = top_k(scorer, rows, k, exclude=own, allow=allowed, deny=denied)
    np.clip(scores, -1, 1, where=ids >= 0, out=scores)
    if itself:
        # A twin with the same vector ties with the thing itself, and rounding can even put it ahead: the first place
        # is given, not won.
        first = np.ones(len(rows), dtype=bool)
        if allowed is not None:
            first &= np.isin(rows, allowed)
        if denied is not None:
            first &= ~np.isin(rows, denied)
        ids[first] = np.column_stack([rows[first], ids[first, :-1]])
        scores[first] = np.column_stack([np.ones(first.sum()), scores[first, :-1]])
    return shaped(ids, scores, one=one)


def cosines(vectors: np.ndarray, queries: np.ndarray | None = None) -> FactorScorer:
    """Score the rows of ``vectors``, shape (n, d), by their cosine with ``queries`` or themselves; zeros have 0."""
    unit = _unit(vectors)
    return FactorScorer(unit if queries is None else _unit(queries), unit)


def vectors_of(model: Any, name: str, verb: str) -> np.ndarray:
    """Return the table ``name`` of a fitted model; an error that speaks of ``verb`` if models of its kind have none."""
    vectors = getattr(model, name, None)
    if vectors is None:
        msg = f"{type(model).__name__} has no {name}, which {verb} compares; use a model with factors"
        raise ValueError(msg)
    return model._likeness(vectors)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(np.float32)
