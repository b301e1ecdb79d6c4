"""Lists of the most similar rows of a table of vectors, by cosine."""

from typing import Any

import numpy as np
import pandas as pd

from buir.data import binary
from buir.errors import InputError
from buir.ranking import FactorScorer, Scorer, as_count, as_rows, top_k
from buir.recommend.arguments import shaped
from buir.recommend.ids import as_index, as_list, read_asked
from buir.recommend.lookup import Lookup


def most_similar(
    scorer: Scorer,
    rows: np.ndarray,
    N: int,
    *,
    itself: np.ndarray,
    deny: Any,
    allow: Any,
    names: tuple[str, str],
    one: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """List what is most similar to some rows of a scorer of cosines, the thing that is asked for first with 1.

    Parameters
    ----------
    scorer
        Cosines of its rows with all things of their kind.
    rows
        Whose lists are made.
    N
        Length of a list.
    itself
        Which thing each of the rows is, -1 for one that is none of those that are listed.
    deny, allow
        Row numbers to leave out, and the only ones allowed, or None. They count for the thing itself, too.
    names
        What the arguments ``deny`` and ``allow`` are called, for the messages.
    one
        Whether to return 1-D lists.
    """
    noun, n = names[1][:-1], scorer.n_items
    k = min(as_count(N, "N"), n)
    denied = None if deny is None else as_rows(deny, n, names[0], noun)
    allowed = None if allow is None else as_rows(allow, n, names[1], noun)
    mine = np.flatnonzero(itself >= 0)
    own = binary(mine, itself[mine], (len(rows), n))
    ids, scores = top_k(scorer, rows, k, exclude=own, allow=allowed, deny=denied)
    np.clip(scores, -1, 1, where=ids >= 0, out=scores)
    # A twin with the same vector ties with the thing itself, and rounding can even put it ahead: the first place is
    # given, not won.
    first = itself >= 0
    if allowed is not None:
        first &= np.isin(itself, allowed)
    if denied is not None:
        first &= ~np.isin(itself, denied)
    ids[first] = np.column_stack([itself[first], ids[first, :-1]])
    scores[first] = np.column_stack([np.ones(first.sum()), scores[first, :-1]])
    return shaped(ids, scores, one=one)


def similar_frame(
    lookup: Lookup, scorer: Scorer, ids: Any, k: int, *, allow: Any, deny: Any, unknown: str
) -> pd.DataFrame:
    """Make the frame of ``Recommender.similar_items_frame``, or of users, from a scorer of cosines."""
    noun, what = lookup.noun, f"{lookup.noun}s"
    if unknown not in ("error", "skip"):
        msg = f"unknown is {unknown!r}; expected one of 'error', 'skip'"
        raise InputError(msg, argument="unknown")
    strict = unknown == "error"
    asked = read_asked(ids, lookup.index, what, noun)
    rows = lookup.rows(asked, what, strict=False)
    if strict and (rows < 0).any():
        raise lookup.unknown(asked[rows < 0], what, listed=True)
    rows = rows[rows >= 0]
    allowed, denied = (
        None if one is None else lookup.rows(as_index(as_list(one, name, noun)), name, strict=strict)
        for one, name in ((allow, "allow"), (deny, "deny"))
    )
    found, scores = most_similar(
        scorer,
        rows,
        min(as_count(k, "k"), len(lookup.ids)) + 1,
        itself=rows,
        deny=None if denied is None else denied[denied >= 0],
        allow=None if allowed is None else allowed[allowed >= 0],
        names=("deny", f"{noun}s"),
        one=False,
    )
    listed = (found >= 0) & (found != rows[:, None])
    rank = np.cumsum(listed, axis=1, dtype=np.int32)
    listed &= rank <= k
    return pd.DataFrame(
        {
            noun: np.repeat(lookup.ids[rows], listed.sum(axis=1)),
            f"similar_{noun}": lookup.ids[found[listed]],
            "score": scores[listed],
            "rank": rank[listed],
        }
    )


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
