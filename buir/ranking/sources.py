"""Where lists come from: a model's scores, the lists of another library's model, or a frame of lists."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_array, csr_matrix

from buir.data import as_labels, binary, frame_ids, outside, take
from buir.errors import InputError, ShortListsWarning, counted, report
from buir.ranking.top_k import FactorScorer, Scorer

if TYPE_CHECKING:
    from buir.data import Interactions

_NEVER = -3e38
"""`implicit` gives what it must not list about -3.4e38; no real score comes near."""


class ListScorer:
    """Scores of a model that has no factors, read off its own lists.

    Parameters
    ----------
    model
        Anything with `implicit`'s ``recommend``.
    seen
        Training rows, which such models score from.
    length
        Of the lists that are asked for; None is all items. What is not in a list has no score.
    """

    def __init__(self, model: Any, seen: csr_array, length: int | None = None) -> None:
        self.model, self.seen = model, seen
        self.n_users, self.n_items = seen.shape
        self.length = self.n_items if length is None else min(length, self.n_items)

    def score_block(self, users: np.ndarray) -> torch.Tensor:
        """Score all items for ``users``, -inf where the model gives no score."""
        rows: Any = self.seen[users]
        ids, scores = self.model.recommend(users, csr_matrix(rows), N=self.length, filter_already_liked_items=False)
        ids, scores = np.asarray(ids), np.asarray(scores, dtype=np.float64)
        real = (ids >= 0) & (ids < self.n_items) & (scores > _NEVER)
        block = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        block[np.nonzero(real)[0], ids[real]] = scores[real]
        return torch.from_numpy(block)


def as_scorer(model: Any, seen: csr_array, length: int | None = None) -> Scorer:
    """Take the score function of a model: its ``scorer()``, its two factor tables, or its lists.

    Parameters
    ----------
    model
        Fitted; ours, of `implicit`, or anything that has one of the three; or a scorer itself.
    seen, length
        As for ``ListScorer``.

    Raises
    ------
    TypeError
        If it has none of them.
    ValueError
        If it is not fitted.
    """
    if isinstance(model, type):
        msg = f"model is the class {model.__name__}; expected a fitted model: {model.__name__}().fit(train)"
        raise TypeError(msg)
    if callable(getattr(model, "scorer", None)):
        return model.scorer()
    if isinstance(model, Scorer):
        return model
    tables: list[Any] = [getattr(model, name, None) for name in ("user_factors", "item_factors")]
    # implicit keeps the factors of a GPU model in a matrix class of its own.
    tables = [table.to_numpy() if hasattr(table, "to_numpy") else table for table in tables]
    if tables[0] is not None and tables[1] is not None:
        return FactorScorer(tables[0], tables[1])
    name, asks = type(model).__name__, getattr(model, "recommend", None)
    if callable(asks):
        fitted = not hasattr(model, "user_factors") and getattr(model, "similarity", model) is not None
        if not fitted:
            msg = f"this {name} is not fitted; call fit(interactions.matrix) first"
            raise ValueError(msg)
        try:
            inspect.signature(asks).bind(0, seen, N=1, filter_already_liked_items=False)
        except TypeError:
            msg = (
                f"{name}.recommend takes {inspect.signature(asks)}; expected implicit's recommend(userid, user_items, "
                "N=..., filter_already_liked_items=...): evaluate takes its lists in place of the model, as a frame "
                "with columns user, item and rank"
            )
            raise TypeError(msg) from None
        return ListScorer(model, seen, length)
    msg = (
        f"model is of type {name}; expected scorer(), user_factors and item_factors, or recommend(userid, "
        "user_items, ...); or, to be measured, a frame of lists with columns user, item and rank"
    )
    raise TypeError(msg)


@dataclass(frozen=True, eq=False)
class GivenLists:
    """Lists that somebody made, in one space of ids with the data that they are measured on."""

    user_ids: np.ndarray
    item_ids: np.ndarray
    """Labels of rows and columns: those of training, then those that only the lists or the test pairs have."""
    users: np.ndarray
    items: np.ndarray
    """Row and column of each pair that is listed."""
    places: np.ndarray
    """Its place in the list, from 0."""

    @classmethod
    def read(cls, frame: Any, train: Interactions, test: Interactions, *, fixed: bool) -> GivenLists:
        """Read a frame with columns for user and item and one for ``rank``, ascending, or else ``score``, descending.

        Parameters
        ----------
        frame
            A pandas, polars or pyarrow table, a row for each place of a list.
        train, test
            What else the ids are of.
        fixed
            Whether there can be no other ids than those of ``train``, since it was a matrix.

        Raises
        ------
        InputError
            If a column is missing, a list repeats an item, two of its items have one rank, or an id cannot be.
        """
        import pandas as pd

        table = pd.DataFrame({noun: frame_ids(frame, noun, "model") for noun in ("user", "item")})
        table["order"], ranked = _order(frame)
        spaces = []
        for noun, known, others in (
            ("user", train.user_ids, test.user_ids),
            ("item", train.item_ids, test.item_ids),
        ):
            own, further = (
                pd.Index(as_labels(ids, known) if ids.dtype.kind != known.dtype.kind else ids, tupleize_cols=False)
                for ids in (table[noun].to_numpy(), others)
            )
            space = pd.Index(known).append([own, further]).unique()
            if fixed and len(space) > len(known):
                new = space[len(known) :].tolist()[0]
                msg = (
                    f"model, a frame of lists, or test has {noun} {new!r}; train is a matrix, so that "
                    f"ids are its {noun} numbers, 0 to {len(known) - 1}: pass train as Interactions or as a frame"
                )
                raise InputError(msg, argument="model")
            spaces.append(space.to_numpy())
            table[noun] = space.get_indexer(own)
        table = table.sort_values(["user", "order"], ascending=[True, ranked], kind="stable")
        for same, what, way in (
            (["user", "item"], "lists an item twice for user", "each item once in a list: drop the repeats"),
            (["user", "order"] if ranked else [], "has a rank twice for user", "each rank once: number the rows anew"),
        ):
            again = table.index[table.duplicated(same)] if same else []
            if len(again):
                whom = spaces[0][table["user"].loc[again[:1]]].tolist()[0]
                msg = f"model, a frame of lists, {what} {whom!r}, in row {again[0]} (from 0); expected {way}"
                raise InputError(msg, rows=list(again), argument="model")
        places = table.groupby("user").cumcount().to_numpy()
        return cls(spaces[0], spaces[1], table["user"].to_numpy(), table["item"].to_numpy(), places)

    def ranked(self, asked: np.ndarray, k: int, excluded: csr_array) -> np.ndarray:
        """Return the lists of these user rows, shape (len(asked), k or all items), -1 where a list ran out.

        Parameters
        ----------
        asked
            Rows of users.
        k
            Places that are wanted.
        excluded
            What should not be listed.

        Raises
        ------
        InputError
            If none of them has a list.

        Warns
        -----
        buir.errors.ShortListsWarning
            If some have no list, all lists are shorter than ``k``, or some of their places hold what is excluded.
        """
        n_items = len(self.item_ids)
        lengths = np.bincount(self.users, minlength=len(self.user_ids))
        silent = int(np.sum(lengths[asked] == 0))
        said = f"model, a frame of lists, has none for {silent:,} of {counted(len(asked), 'test user')}"
        if silent == len(asked):
            looks = [repr(self.user_ids[rows[:1]].tolist()[0]) for rows in (asked, self.users) if len(rows)]
            msg = f"{said}; expected lists for these users, whose ids are such as {', its own such as '.join(looks)}"
            raise InputError(msg, argument="model")
        findings = []
        if silent:
            findings.append(f"{said}: theirs are measured as empty; drop these users from test to leave them out")
        here = lengths[asked][lengths[asked] > 0]
        if here.max() < min(k, n_items):
            findings.append(
                f"no list of the test users is longer than {here.max()}, and ks asks for {k}: what is called so is "
                "measured on shorter lists"
            )
        shown = self.places < k
        users, items, places = self.users[shown], self.items[shown], self.places[shown]
        listed = binary(users, items, (len(self.user_ids), n_items))
        seen = int(np.sum(~outside(take(listed, asked), take(excluded, asked))))
        if seen:
            findings.append(
                f"the lists hold {counted(seen, 'pair')} of train or valid, which take places and are never a hit; "
                "expected lists without what a user has"
            )
        report([ShortListsWarning(msg, argument="model") for msg in findings])
        table = np.full((len(self.user_ids), min(k, n_items)), -1, dtype=np.int32)
        table[users, places] = items
        return table[asked]


def _order(frame: Any) -> tuple[np.ndarray, bool]:
    """Return the numbers that order lists, and whether the smallest comes first."""
    import narwhals as nw

    table = nw.from_native(frame, eager_only=True)
    for wanted in ("rank", "score"):
        for name in table.columns:
            if str(name).lower() != wanted:
                continue
            numbers = table[name].to_numpy().astype(np.float64)
            if not np.isfinite(numbers).all():
                row = int(np.argmin(np.isfinite(numbers)))
                msg = f"model, a frame of lists, has {wanted} {numbers[row]} in row {row} (from 0); expected a number"
                raise InputError(msg, rows=[row], argument="model")
            return numbers, wanted == "rank"
    msg = (
        f"model is a frame of lists with columns {list(table.columns)}; expected user, item, and rank or score, by "
        "which lists are ordered: add a column of places, from 1"
    )
    raise InputError(msg, argument="model")
