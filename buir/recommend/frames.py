"""Labelled recommendations: user ids in, a data frame with user ids and item ids out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from buir.data import binary, degrees, take
from buir.errors import Argument, InputError
from buir.ranking import FactorScorer, Scorer, as_count, top_k
from buir.recommend.ids import ItemLists, read_asked, read_histories
from buir.recommend.lookup import Lookup, lookups
from buir.recommend.steering import Steering

UNKNOWN = ("error", "skip", "popular")
_SAVE = "save it with its training matrix"


class _Group(NamedTuple):
    """Asked users whom one scorer ranks: places in the answer, rows in the scorer, items already seen."""

    places: np.ndarray
    scorer: Callable[[], Scorer]
    rows: np.ndarray
    seen: csr_array | None


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What labelled lists need from a model: ids, training rows and score functions."""

    name: str
    """What messages call the model."""
    users: Lookup
    items: Lookup
    seen: csr_array | None
    """Training rows, None if they are not stored."""
    scorer: Callable[[], Scorer]
    fold: Callable[[csr_array], Scorer]
    """Score function of the users with these histories."""
    weight_unit: float | None = None
    """Of the model's weights; None if it has none."""

    @classmethod
    def of(cls, model: Any) -> Catalogue:
        """Take what a fitted model has."""
        return cls(
            type(model).__name__, *lookups(model), model.seen_, model.scorer, model._strangers, model.weight_unit_
        )

    def frame(
        self,
        users: Any,
        k: int,
        *,
        exclude_seen: bool,
        allow: Any,
        deny: Any,
        unknown: str,
        histories: Any,
        trained_only: bool,
        steering: Steering | None = None,
    ) -> pd.DataFrame:
        """Make the frame; the arguments are those of ``Recommender.recommend_frame``, with steering read already."""
        k = min(as_count(k, "k"), len(self.items.index))
        if unknown not in UNKNOWN:
            msg = f"unknown is {unknown!r}; expected one of {', '.join(map(repr, UNKNOWN))}"
            raise InputError(msg, argument="unknown")
        strict = unknown == "error"
        named, told, told_rows = read_histories(histories, self.items, strict=strict, unit=self.weight_unit)
        asked = read_asked(users, self.users.index if histories is None else named, "users", "user")
        rows, told_at = self.users.rows(asked, "users", strict=False), told.get_indexer(asked)
        stranger = (rows < 0) & (told_at < 0)
        silent = stranger & (named.get_indexer(asked) >= 0)
        if strict and silent.any():
            raise self.users.without_history(asked[silent])
        if strict and stranger.any():
            raise self.users.unknown(asked[stranger], "users")
        known = np.flatnonzero((rows >= 0) & (told_at < 0))
        seen = None if self.seen is None else take(self.seen, rows[known])
        groups = [_Group(known, self.scorer, rows[known], seen)]
        if (told_at >= 0).any():
            places = np.flatnonzero(told_at >= 0)
            groups.append(self._folded(places, rows[places], take(told_rows, told_at[places])))
        if unknown == "popular" and stranger.any():
            groups.append(self._popular(np.flatnonzero(stranger)))
        if steering is not None:
            if unknown == "popular" and stranger.any():
                raise self.users.without_vector(asked[stranger])
            groups = [_steered(group, steering, asked) for group in groups]
        allowed = ItemLists(allow, "allow", asked, self.items, self.users, named, strict=strict)
        denied = ItemLists(deny, "deny", asked, self.items, self.users, named, strict=strict)
        trained = self._training_counts(Argument("trained_only")) > 0 if trained_only else None
        ids = np.full((len(asked), k), -1, dtype=np.int32)
        scores = np.full((len(asked), k), -np.inf, dtype=np.float32)
        for group in groups:
            # Users without an allow list of their own may be given anything, so they are ranked apart.
            for named in (True, False):
                part = allowed.named[group.places] == named
                if not part.any():
                    continue
                places = group.places[part]
                ids[places], scores[places] = top_k(
                    group.scorer(),
                    group.rows[part],
                    k,
                    exclude=self._excluded(group, part) if exclude_seen else None,
                    allow=_trained(allowed.rows(places) if named else None, trained),
                    deny=denied.rows(places),
                )
        scores[stranger] = np.nan
        found = ids >= 0
        columns = {
            "user": np.repeat(self.users.ids[rows] if (rows >= 0).all() else asked.to_numpy(), found.sum(axis=1)),
            "item": self.items.ids[ids[found]],
            "score": scores[found],
            "rank": np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), ids.shape)[found],
        }
        return pd.DataFrame(columns)

    def _folded(self, places: np.ndarray, rows: np.ndarray, histories: csr_array) -> _Group:
        seen = histories
        if self.seen is not None:
            # A known user's history may leave out what training saw; neither may be listed again.
            known = np.flatnonzero(rows >= 0)
            stored = binary(known, rows[known], (len(places), len(self.users.index))) @ self.seen
            seen = csr_array(histories + stored)
        folded = self.fold(histories)
        return _Group(places, lambda: folded, np.arange(len(places)), seen)

    def _popular(self, places: np.ndarray) -> _Group:
        counts = self._training_counts(Argument("unknown", "popular")).astype(np.float32)
        scorer = FactorScorer(np.ones((len(places), 1), dtype=np.float32), counts[:, None])
        nothing = binary(np.empty(0, int), np.empty(0, int), (len(places), len(self.items.index)))
        return _Group(places, lambda: scorer, np.arange(len(places)), nothing)

    def _training_counts(self, why: Argument) -> np.ndarray:
        if self.seen is None:
            raise InputError(why, f" needs the training rows, without which this {self.name} was saved; {_SAVE}")
        return degrees(self.seen)[1]

    def _excluded(self, group: _Group, part: np.ndarray) -> csr_array:
        if group.seen is None:
            missing = f"the training rows, without which this {self.name} was saved"
            msg = f"leaving out what users have needs {missing}; {_SAVE}, or pass "
            raise InputError(msg, Argument("exclude_seen", value=False), " or ", Argument("histories"))
        return group.seen if part.all() else take(group.seen, np.flatnonzero(part))


def _steered(group: _Group, steering: Steering, asked: pd.Index) -> _Group:
    """Turn the users of a group; of one without anybody there is nothing to turn."""
    if not len(group.places):
        return group
    turned = steering.over(group.scorer(), group.rows, asked[group.places].to_numpy(), group.seen)
    return group._replace(scorer=lambda: turned)


def steering_rows(items: Lookup, less: Any, more: Any, unknown: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the ids of what lists should have less, and more, of: one of them, or a list."""
    found = []
    for ids, what in ((less, "less_like"), (more, "more_like")):
        labels = read_asked(ids, items.index[:0], what, "item")
        rows = items.rows(labels, what, strict=unknown == "error")
        found.append(rows[rows >= 0])
    return found[0], found[1]


def _trained(allow: np.ndarray | csr_array | None, trained: np.ndarray | None) -> np.ndarray | csr_array | None:
    """Restrict an allow list to the items that ``trained`` marks."""
    if trained is None:
        return allow
    if allow is None:
        return np.flatnonzero(trained)
    if isinstance(allow, np.ndarray):
        return allow[trained[allow]]
    users, items = allow.tocoo().coords
    return binary(users[trained[items]], items[trained[items]], allow.shape)
