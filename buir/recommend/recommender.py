"""The recommend side shared by every model: lists of items, similar items and users, labelled frames."""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array

from buir.data import Labelled, has_weights, pattern, take
from buir.errors import (
    InputError,
    NotFittedError,
    NoValidationWarning,
    OutOfRangeError,
    RowsNotIdsWarning,
    counted,
    report,
)
from buir.graph import spectral_factors
from buir.ranking import FactorScorer, Scorer, as_count, as_rows, top_k
from buir.recommend.arguments import as_audiences, as_histories, as_item_lists, is_one, shaped
from buir.recommend.frames import Catalogue, steering_rows
from buir.recommend.lookup import lookups
from buir.recommend.parameters import answering, instead_of
from buir.recommend.ranges import check_parameters
from buir.recommend.score_terms import SHAPES, ScoreTerms, make_terms, width_of_block, with_block
from buir.recommend.similarity import cosines, most_similar, similar_frame, vectors_of
from buir.recommend.steering import Steering

_FITTED = ("seen_", "user_ids_", "item_ids_", "user_factors", "item_factors", "n_users", "n_items", "history")
_FITTED += ("terms_", "chosen_")
_SCORED = ("user_factors", "item_factors", "terms_", "seen_")
"""What a scorer is made of: one is kept as long as a model has these very objects, which any fit or load replaces."""
_ROWS, _AUDIENCES = "user_items with one row for each asked user", "item_users with one row for each asked item"
_SAME = 1e-5
"""Up to which two weights, in units of their mean, are one number."""


class Recommender:
    """Base of BUIR and of every baseline.

    ``fit`` of a subclass begins with ``fit_inputs`` and ends with ``self._remember``; the subclass either sets the
    NumPy arrays ``user_factors`` and ``item_factors`` or overrides ``_own_scorer``. One with a field ``terms`` then
    calls ``_add_terms``. Argument names and the shapes of what is returned are those of `implicit`.
    """

    takes_weights: ClassVar[bool] = False
    """Whether ``fit`` takes weights of pairs."""
    _block_dim: int | None = None
    """Singular vectors of the block of even weights where strengths of terms are given; None is as many as usual."""
    weight_unit_: float | None = None
    """What 1 in ``seen_`` stands for: the mean weight of the pairs of ``fit``; None where pairs have no weights."""

    if TYPE_CHECKING:
        seen_: csr_array | None
        user_ids_: np.ndarray
        item_ids_: np.ndarray
        user_factors: np.ndarray
        item_factors: np.ndarray
        terms: dict | Literal["auto"]
        terms_: ScoreTerms
    else:

        def __getattr__(self, name: str) -> Any:
            """Explain why a fitted attribute is missing; reached only when it is."""
            # Fields that only fit fills are known from the dataclass; other names are typing mistakes, fitted or not.
            expected = name in _FITTED or name in getattr(type(self), "__dataclass_fields__", ())
            if expected and "user_ids_" not in self.__dict__:
                msg = f"this {type(self).__name__} is not fitted: call fit(user_items) first, or load a fitted model"
                raise NotFittedError(msg)
            msg = f"{type(self).__name__} has no attribute {name!r}{instead_of(type(self), name)}"
            raise AttributeError(msg)

    def __post_init__(self) -> None:
        """Check the fields of a model that is a dataclass, when it is made."""
        self._plain_settings()
        check_parameters(type(self), self.get_params())

    def _plain_settings(self) -> None:
        """Take NumPy's numbers as Python's and a torch device by its name."""
        for name, value in self.get_params().items():
            if isinstance(value, np.generic | torch.device):
                setattr(self, name, value.item() if isinstance(value, np.generic) else str(value))

    @classmethod
    def _conflict(cls, parameters: Mapping[str, Any]) -> tuple[str, str, str] | None:
        """Name a parameter, another that it does not go with, and what is expected of the first; a hook."""

    @classmethod
    def _instead_of(cls, name: str, value: Any) -> str | None:
        """Say what the model has in place of a hyper-parameter, as ``parameters.answer`` does; a hook.

        Of the names that libraries have for one thing, ``name`` is ours.
        """

    def _check_weights(self, weights: Any) -> None:
        """Refuse weights that the model would ignore."""
        if weights is not None and not self.takes_weights:
            msg = (
                f"{type(self).__name__} cannot take weights of pairs; expected weights=None: leave them out, or take a "
                "model that can, such as BUIR, ALS or ItemKNN"
            )
            raise InputError(msg, argument="weights")

    def _remember(self, labelled: Labelled) -> None:
        """Store the training rows and the ids that ``fit_inputs`` or ``as_csr`` read, the last act of ``fit``."""
        self.seen_, user_ids, item_ids, self.weight_unit_ = labelled
        self.user_ids_ = np.arange(self.seen_.shape[0]) if user_ids is None else user_ids
        self.item_ids_ = np.arange(self.seen_.shape[1]) if item_ids is None else item_ids

    @property
    def n_users(self) -> int:
        """Number of users of the fitted model."""
        return len(self.user_ids_)

    @property
    def n_items(self) -> int:
        """Number of items of the fitted model."""
        return len(self.item_ids_)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Return the constructor's arguments by name; no model has another within, so ``deep`` changes nothing."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **parameters: Any) -> Self:
        """Set hyper-parameters by name, all or none; what was learned stays until the next ``fit``.

        Raises
        ------
        buir.errors.UnknownParameterError
            If the model has no such name; of values, what the constructor raises.
        """
        made = type(self)(**(self.get_params() | parameters))
        for name in parameters:
            setattr(self, name, getattr(made, name))
        return self

    def scorer(self) -> Scorer:
        """Score function over the model's users, for ``top_k`` and ``evaluate``: what the model says, and its terms.

        It reads the model's own arrays, and is kept until one of them is replaced.
        """
        kept, parts = vars(self).get("_scorer"), [vars(self).get(name) for name in _SCORED]
        if kept is not None and all(one is other for one, other in zip(kept[0], parts, strict=True)):
            return kept[1]
        own, terms = self._own_scorer(), self._terms_with_strength()
        base, tables = (None, own) if isinstance(own, FactorScorer) else (own, None if terms is None else terms.tables)
        scorer = own if terms is None else terms.scorer(base, tables, self.seen_)
        # tables of other numbers were copied, and such a scorer would not see what somebody writes into them
        if all(isinstance(p, np.ndarray) and (p.dtype == np.float32 or not p.flags.writeable) for p in parts[:2]):
            self._scorer = (parts, scorer)
        return scorer

    def freeze(self) -> Self:
        """Let nobody write to the factors any more, so that a list for one user need not read all of them.

        For a model that answers one user at a time out of a large catalogue. The first such list takes longer: it
        finds the directions in which the scores lie, rounds the items' vectors, and adds up what the item filter says
        to the longest histories, which takes as much memory as the filter. Lists stay exact, up to scores that differ
        by their rounding. `fit`, `partial_fit`, and other arrays assigned to the model end it; it does nothing to a
        model without factors. Serve from one thread for each process (`OMP_NUM_THREADS=1`): threads of other libraries
        that wait for work on the same cores take several times as long as such a list.

        Returns
        -------
        The model itself.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        _ = self.user_ids_
        for name in ("user_factors", "item_factors"):
            table = vars(self).get(name)
            if isinstance(table, np.ndarray):
                table.flags.writeable = False
        terms = vars(self).get("terms_")
        if isinstance(terms, ScoreTerms) and terms.weights is not None:
            terms.weights.data.flags.writeable = False
        vars(self).pop("_scorer", None)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of pickles and copies what is made again at the first look."""
        return {name: value for name, value in vars(self).items() if name not in ("_scorer", "_lookups")}

    def _own_scorer(self) -> Scorer:
        """Score the model's users; a hook for models without factors. The factors hold the terms' coordinates, too."""
        return FactorScorer(self.user_factors, self.item_factors)

    def _add_terms(self, valid: csr_array | None, metric: str = "ndcg_at_20") -> None:
        """Add to the scores what the field ``terms`` says; a fit calls it after ``_remember``.

        Parameters
        ----------
        valid
            Held-out pairs of the shape of the training rows; they choose the strengths where ``terms`` is "auto", by
            the scores of the model itself. Without any there are no terms, and a warning.
        metric
            What the choice maximises.
        """
        matrix, given, self.terms_ = self.seen_, self.terms, ScoreTerms({})
        assert matrix is not None
        if given == "auto" and (valid is None or valid.nnz == 0):
            msg = f"terms is 'auto' and {type(self).__name__} got no held-out pairs to choose by: no terms; pass valid"
            report([NoValidationWarning(msg, argument="terms")])
            return
        if given != "auto" and not any(given.values()):
            return
        own, choice = self._own_scorer(), None
        factors = isinstance(own, FactorScorer)
        if given == "auto":
            assert valid is not None
            terms, choice = ScoreTerms.choose(own, matrix, valid, metric)
        else:
            shaping = [name for name in SHAPES if given.get(name) and not factors]
            if shaping:
                name = type(self).__name__
                msg = f"terms is {given!r}; expected none of dial and norm, which change factors: {name} has none"
                raise InputError(msg, argument="terms")
            terms = make_terms(matrix, given, factors=factors)
            if self._block_dim is not None and width_of_block(terms) not in (None, self._block_dim):
                terms = with_block(terms, spectral_factors(matrix, self._block_dim))
        self.terms_, score = ScoreTerms.of(own, matrix, terms, choice)
        if factors and terms:
            assert score.tables is not None
            self.user_factors, self.item_factors = (
                table.numpy() for table in (score.tables.user_factors, score.tables.item_factors)
            )

    def _terms_with_strength(self) -> ScoreTerms | None:
        terms = vars(self).get("terms_")
        return terms if terms is not None and terms.strengths else None

    def _strangers(self, user_items: csr_array) -> Scorer:
        """Score the users of these rows, of whom nothing else is known, with the model's terms."""
        own, terms = self._recalculated_users(user_items), self._terms_with_strength()
        if terms is None:
            return own
        return terms.strangers(own, user_items, self.item_factors if isinstance(own, FactorScorer) else None)

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        """Score the users of these rows by the model alone, without its terms; a hook for models that can."""
        raise self._cannot_recalculate(noun="user", rows=user_items)

    def _recalculated_items(self, item_users: csr_array) -> np.ndarray:
        """Vectors, comparable with the item factors, of the items of these rows; a hook for models that can."""
        raise self._cannot_recalculate(noun="item", rows=item_users)

    def _cannot_recalculate(self, noun: str, rows: csr_array) -> ValueError:
        return ValueError(
            f"{type(self).__name__} cannot recalculate {noun}s, here from {counted(rows.shape[0], 'row')}; expected "
            f"{noun}s of the training data: fit again with the new rows, or take one that folds them in, such as BUIR"
        )

    def _likeness(self, factors: np.ndarray) -> np.ndarray:
        """Keep the model's own columns of a table of factors.

        The coordinates of the terms say nothing about likeness: that of popularity is the same for every user.
        """
        terms = self._terms_with_strength()
        return factors if terms is None else factors[:, : factors.shape[1] - terms.n_further]

    def _item_cosines(self, queries: np.ndarray | None = None) -> Scorer:
        """Similarity of ``queries``, or of the items, to all items; a hook for models without item factors."""
        return cosines(vectors_of(self, "item_factors", "similar_items"), queries)

    def _seen_rows(self, users: np.ndarray, why: str, instead: str = "") -> csr_array:
        return take(self._seen(why, instead), users)

    def _seen(self, why: str, instead: str = "") -> csr_array:
        if self.seen_ is None:
            msg = (
                f"this {type(self).__name__} was saved without its training rows, which {why} needs; "
                f"{f'pass {instead}, or ' if instead else ''}save the model with its training matrix"
            )
            raise ValueError(msg)
        return self.seen_

    def _histories(self, user_items: Any, n_rows: int) -> csr_array:
        return as_histories(user_items, n_rows, (self.n_users, self.n_items), self.weight_unit_)

    def _seen_columns(self, items: np.ndarray) -> csr_array:
        everybody = self._seen_rows(np.arange(self.n_users), "recalculate_item", _AUDIENCES)
        return take(everybody.T.tocsr(), items)

    def _asked(self, values: Any, noun: str, verb: str, *, stranger: bool = False) -> np.ndarray:
        """Read the asked rows, and tell who may mean ids: a model whose ids are integers has two numbers for each.

        Parameters
        ----------
        values
            Row numbers; with ``stranger`` of nobody in the model.
        noun
            "user" or "item".
        verb
            Name of the method.

        Warns
        -----
        buir.errors.RowsNotIdsWarning
            If an asked row has another integer as its id; once for each model.
        """
        ids = self.user_ids_ if noun == "user" else self.item_ids_
        by_id = f"{verb}_frame goes by ids"
        try:
            rows = as_rows(
                values, None if stranger else len(ids), f"{noun}id", noun, recalculate=verb != "similar_users"
            )
        except OutOfRangeError as error:
            if error.rows.size and np.isin(error.rows, ids).all():
                msg = f"{noun}id holds {error.rows[0]}, an id, where {verb} expects rows, 0 to {len(ids) - 1}; {by_id}"
                raise OutOfRangeError(msg, rows=error.rows, argument=f"{noun}id") from None
            raise
        if stranger or ids.dtype.kind not in "iu" or vars(self).get("_told_rows"):
            return rows
        # A number that is no id cannot have been meant as one, nor the rows of everybody.
        everybody = len(rows) == len(ids) and np.array_equal(rows, np.arange(len(ids)))
        other = rows[:0] if everybody else rows[ids[rows] != rows]
        if other.size:
            other = other[lookups(self)[0 if noun == "user" else 1].knows(other)]
        if other.size:
            self._told_rows = True
            row = other[0]
            msg = (
                f"{verb} goes by rows, as implicit's does: {noun}id {row} is row {row}, the {noun} whose id is "
                f"{ids[row]}, and lists hold rows; {by_id}, and model.{noun}_ids_[rows] gives the ids of rows"
            )
            report([RowsNotIdsWarning(msg, rows=other, argument=f"{noun}id")])
        return rows

    @answering
    def recommend(
        self,
        userid: Any,
        user_items: Any = None,
        N: int = 10,
        filter_already_liked_items: bool = True,  # noqa: FBT001, FBT002 - implicit's signature
        filter_items: Any = None,
        recalculate_user: bool = False,  # noqa: FBT001, FBT002
        items: Any = None,
        *,
        less_like: Any = None,
        more_like: Any = None,
        strength: float = 0.5,
    ) -> tuple[np.ndarray, np.ndarray]:
        """List the best items for one user or for many.

        Parameters
        ----------
        userid
            A user row, or an array of them. With ``recalculate_user`` and ``user_items`` it only says how many.
        user_items
            History of the asked users, one row each: any SciPy format. None: the training rows. Not looked at where
            neither filtering nor recalculation needs it. Of a model fitted with weights, values other than 1 are
            weights, in the unit of those that ``fit`` was given or had made; where all are 1, each is an average pair.
        N
            Length of a list, at most all items: more than there are is as many as there are.
        filter_already_liked_items
            Leave out the items of ``user_items``.
        filter_items
            Item rows to leave out, for all users; or a sparse matrix with one row of them for each asked user.
        recalculate_user
            Score from ``user_items`` alone, as for a user training never saw.
        items
            The only item rows allowed, likewise; it may be combined with ``filter_items``.
        less_like, more_like
            Item rows, for all users, that stand for what lists should have less, or more, of: users' vectors are turned
            away from these items, or towards them, at right angles to what sets each user apart (see
            :func:`buir.recommend.steer`). Terms of the score stay. Somebody whose whole taste is such an item keeps it;
            ``filter_items`` leaves single items out.
        strength
            By how much: the tangent of the largest angle that one item turns a user by; 0 changes nothing.

        Returns
        -------
        Item rows (int32) and scores (float32), best first, equal scores by the lower row: 2-D for an array of users,
        where a short list ends in -1 and -inf; 1-D for a single user, where a short list is shorter. No seen, denied or
        repeated item.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        IndexError
            If a user or item row is negative or too large.
        ValueError
            If ``user_items`` has another shape, is needed but not stored, or the model cannot recalculate; if
            ``strength`` is below 0 or NaN, or the model, an item or a user has no vector that could be turned.
        """
        stranger = recalculate_user and user_items is not None
        users = self._asked(userid, "user", "recommend", stranger=stranger)
        k, shape = min(as_count(N, "N"), self.n_items), (self.n_users, self.n_items)
        less, more = (
            [] if value is None else as_rows(value, self.n_items, what, "item")
            for value, what in ((less_like, "less_like"), (more_like, "more_like"))
        )
        steering = Steering.of(self, less, more, strength)
        history, liked = None, None
        if filter_already_liked_items and len(users) == 1 and user_items is None and not recalculate_user:
            seen = self._seen("filter_already_liked_items", _ROWS)
            liked = seen.indices[slice(*seen.indptr[users[0] : users[0] + 2])]  # no matrix for one user alone
        elif filter_already_liked_items or recalculate_user:
            why = "recalculate_user" if recalculate_user else "filter_already_liked_items"
            stored = user_items is None
            history = self._seen_rows(users, why, _ROWS) if stored else self._histories(user_items, len(users))
        if recalculate_user and history is not None:
            scorer, rows = self._strangers(history), np.arange(len(users))
        else:
            scorer, rows = self.scorer(), users
        if steering is not None:
            told = history if recalculate_user else None if self.seen_ is None else take(self.seen_, users)
            scorer = steering.over(scorer, rows, users, told)
        if history is not None and filter_already_liked_items:
            liked = history.indices if len(rows) == 1 else history
        ids, scores = top_k(
            scorer,
            rows,
            k,
            exclude=liked,
            allow=as_item_lists(items, len(users), shape, "items"),
            deny=as_item_lists(filter_items, len(users), shape, "filter_items"),
        )
        return shaped(ids, scores, one=is_one(userid))

    @answering
    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,  # noqa: FBT001, FBT002 - implicit's signature
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """List the items most similar to one item or to many, by cosine, the item itself first with 1.

        Parameters
        ----------
        itemid
            An item row, or an array of them.
        N
            Length of a list.
        recalculate_item
            Compare by what ``item_users`` says alone, as for an item training never saw. It is put first where
            ``itemid`` has these very users in training, and so is that item.
        item_users
            With ``recalculate_item``: one row of users for each asked item. None: the training columns.
        filter_items, items
            Item rows to leave out, and the only ones allowed. They count for the item itself, too.

        Returns
        -------
        As ``recommend``; a vector of zeros has similarity 0 to everything but itself.
        """
        stranger = recalculate_item and item_users is not None
        asked = self._asked(itemid, "item", "similar_items", stranger=stranger)
        queries, itself = None, asked
        if recalculate_item:
            shape, unit = (self.n_users, self.n_items), self.weight_unit_
            given = item_users is not None
            rows = as_audiences(item_users, len(asked), shape, unit) if given else self._seen_columns(asked)
            queries = self._recalculated_items(rows)
            itself = asked if item_users is None else np.where(self._is_known_by(asked, rows), asked, -1)
        return most_similar(
            self._item_cosines(queries),
            asked if queries is None else np.arange(len(asked)),
            N,
            itself=itself,
            deny=filter_items,
            allow=items,
            names=("filter_items", "items"),
            one=is_one(itemid),
        )

    def _is_known_by(self, items: np.ndarray, item_users: csr_array) -> np.ndarray:
        """Tell which items are of the training data and have there the users of these rows."""
        known = items < self.n_items
        if self.seen_ is None or not known.any():
            return np.zeros(len(items), dtype=bool)
        trained = self._seen_columns(np.where(known, items, 0))
        # where all are 1 pairs have no weights
        apart = csr_array(abs(item_users - (trained if has_weights(item_users) else pattern(trained))))
        same = np.ones(len(items), dtype=bool)
        same[np.repeat(np.arange(len(items)), np.diff(apart.indptr))[apart.data > _SAME]] = False
        return known & same

    @answering
    def similar_users(
        self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """List the users most similar to one user or to many; arguments and results are as in ``similar_items``."""
        asked = self._asked(userid, "user", "similar_users")
        return most_similar(
            cosines(vectors_of(self, "user_factors", "similar_users")),
            asked,
            N,
            itself=asked,
            deny=filter_users,
            allow=users,
            names=("filter_users", "users"),
            one=is_one(userid),
        )

    @answering
    def similar_items_frame(
        self, items: Any = None, k: int = 10, *, allow: Any = None, deny: Any = None, unknown: str = "error"
    ) -> pd.DataFrame:
        """List the items most similar to items given by their own ids, by cosine, as a frame.

        Parameters
        ----------
        items
            Item ids, or one id, or a frame with a column of them. None: all items of the model.
        k
            Length of a list.
        allow, deny
            Item ids that alone may, or may not, be listed; a list, or a frame with a column of them.
        unknown
            What to do with ids the model does not know: "error", or "skip", which passes them over.

        Returns
        -------
        Columns ``item``, ``similar_item`` (ids in their own type, never the item itself), ``score`` (float32), ``rank``
        (from 1), items in the order asked.
        """
        scorer = self._item_cosines()
        return similar_frame(lookups(self)[1], scorer, items, k, allow=allow, deny=deny, unknown=unknown)

    @answering
    def similar_users_frame(
        self, users: Any = None, k: int = 10, *, allow: Any = None, deny: Any = None, unknown: str = "error"
    ) -> pd.DataFrame:
        """List the users most similar to users given by their own ids, as ``similar_items_frame`` does for items.

        Returns
        -------
        Columns ``user``, ``similar_user``, ``score``, ``rank``.
        """
        scorer = cosines(vectors_of(self, "user_factors", "similar_users"))
        return similar_frame(lookups(self)[0], scorer, users, k, allow=allow, deny=deny, unknown=unknown)

    @answering
    def recommend_frame(
        self,
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Any = None,
        deny: Any = None,
        unknown: str = "error",
        histories: Any = None,
        trained_only: bool = False,
        less_like: Any = None,
        more_like: Any = None,
        strength: float = 0.5,
    ) -> pd.DataFrame:
        """List the best items for users given by their own ids, as a frame.

        Parameters
        ----------
        users
            User ids, or one id, or a frame with a column of them. None: those of ``histories`` if given, else all users
            of the model.
        k
            Length of a list.
        exclude_seen
            Leave out the items of a user's training row and history.
        allow, deny
            Item ids that alone may, or may not, be listed. For everybody: a list, or a frame with a column of items. By
            user: a dict from user id to such a list, a frame with users and items, or ``Interactions``; users not named
            there are free, and who is no user of the model's counts as unknown.
        unknown
            What to do with ids the model does not know: "error"; "skip" leaves unknown users out; "popular" gives them
            the items with most training users and the score NaN. With both of the latter, unknown items and keys in the
            arguments are passed over.
        histories
            What users have liked, training or not: a dict from user id to item ids, a frame with users and items (and
            weights, of a model with weights), or ``Interactions``. Their lists are computed from these histories alone,
            as with ``recalculate_user``; a user without a known item here is treated as if not named: from training if
            known to it, else as ``unknown`` says.
        trained_only
            Leave out items without a training user.
        less_like, more_like, strength
            As in ``recommend``, by ids: one, or a list of them.

        Returns
        -------
        Columns ``user`` and ``item`` (ids in their own type), ``score`` (float32), ``rank`` (from 1), users in the
        order asked.
        """
        options = {"exclude_seen": exclude_seen, "allow": allow, "deny": deny, "unknown": unknown}
        catalogue = Catalogue.of(self)
        less, more = steering_rows(catalogue.items, less_like, more_like, unknown)
        steering = Steering.of(self, less, more, strength, self.item_ids_)
        options |= {"histories": histories, "trained_only": trained_only}
        return catalogue.frame(users, k, **options, steering=steering)
