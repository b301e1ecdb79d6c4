"""BUIR behind MLflow: a pyfunc model that takes raw user ids or histories and returns lists.

What is logged is the model's own safetensors file and six lines of code; there is no pickle in it.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel
from pydantic import BaseModel, ConfigDict

from buir.data import binary
from buir.model import BUIR
from buir.recommend import lookups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scipy.sparse import csr_array

UserId = TypeVar("UserId", int, str)
ItemId = TypeVar("ItemId", int, str)

_CODE = '''"""Lists of items for users, by their own ids or by histories."""

from mlflow.models import set_model

from buir.experiment.serving import Lists, Query, Ranked


class Served(Lists):
    """The ids of the data that the model was trained on are {user} for users and {item} for items."""

    def predict(self, context, model_input: list[Query[{user}, {item}]], params=None) -> list[Ranked[{item}]]:
        return self.answer(model_input, params)


set_model(Served())
'''


class Query(BaseModel, Generic[UserId, ItemId]):
    """One asked user."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    user: UserId | None = None
    """Her id; None for somebody known by ``items`` alone."""
    items: list[ItemId] = []
    """What she has liked. If it holds an item that the model knows, her list is computed from it alone, without training."""
    allow: list[ItemId] | None = None
    """The only items that may be listed; None: all."""
    deny: list[ItemId] = []
    """Items that may not be listed."""


class Ranked(BaseModel, Generic[ItemId]):
    """One list, best first."""

    items: list[ItemId]
    """Ids; neither training nor the query's history is among them."""
    scores: list[float]
    """Inner products, one for each item; none where the list is not personal."""
    source: str
    """Where it is from: "user", "history", "popular" or "none"."""


class Lists(PythonModel):
    """Base of the logged model: reads the file and answers queries."""

    def load_context(self, context: Any) -> None:
        """Load BUIR from the artifact ``model``."""
        self.model = BUIR.load(context.artifacts["model"])
        self.popular = np.argsort(-np.bincount(_seen(self.model).indices, minlength=self.model.n_items), kind="stable")

    def answer(self, queries: Sequence[Query], params: dict[str, Any] | None) -> list[Ranked]:
        """Make one list for each query, in their order.

        Parameters
        ----------
        queries
            Users, unknown ones too. Unknown items are passed over.
        params
            ``k``, the length of a list, and ``unknown``: what a user without a row and without a known item gets, "popular"
            (the items with most training users, without scores) or "empty".
        """
        chosen = {"k": 10, "unknown": "popular"} | (params or {})
        if chosen["k"] < 1 or chosen["unknown"] not in ("popular", "empty"):
            msg = f"params are {chosen}; expected k of at least 1, and unknown 'popular' or 'empty'"
            raise ValueError(msg)
        k = min(int(chosen["k"]), self.model.n_items)
        rows = self._rows([query.user for query in queries], "user")
        liked = [self._known_items(query.items) for query in queries]
        told = np.array([len(items) > 0 for items in liked], dtype=bool)
        free = np.array([query.allow is None for query in queries], dtype=bool)
        answers: list[Ranked | None] = [None] * len(queries)
        for places, history in ((~told & (rows >= 0), False), (told, True)):
            # An allow list of everything would be a full row of the catalogue, so those without one are ranked apart.
            for restricted in (False, True):
                group = np.flatnonzero(places & (free != restricted))
                for place, answer in self._ranked(
                    group, queries, rows, liked if history else None, k, allow=restricted
                ):
                    answers[place] = answer
        k = k if chosen["unknown"] == "popular" else 0
        return [
            self._impersonal(query, k) if answer is None else answer
            for query, answer in zip(queries, answers, strict=True)
        ]

    def _ranked(
        self,
        places: np.ndarray,
        queries: Sequence[Query],
        rows: np.ndarray,
        liked: list[np.ndarray] | None,
        k: int,
        *,
        allow: bool,
    ) -> Iterator[tuple[int, Ranked]]:
        if not len(places):
            return
        lists = {
            "filter_items": self._matrix([self._known_items(queries[place].deny) for place in places]),
            "items": self._matrix([self._known_items(queries[place].allow or []) for place in places])
            if allow
            else None,
        }
        users = rows[places]
        if liked is None:
            ids, scores = self.model.recommend(users, N=k, **lists)
        else:
            # A known user's history may leave out what training saw; neither may be listed again.
            known = np.flatnonzero(users >= 0)
            stored = binary(known, users[known], (len(places), self.model.n_users)) @ _seen(self.model)
            lists["filter_items"] = lists["filter_items"] + stored
            history = self._matrix([liked[place] for place in places])
            ids, scores = self.model.recommend(np.arange(len(places)), history, k, recalculate_user=True, **lists)
        source = "user" if liked is None else "history"
        for place, row, values in zip(places.tolist(), ids, scores, strict=True):
            found = row >= 0
            items = self.model.item_ids_[row[found]].tolist()
            yield place, Ranked(items=items, scores=values[found].tolist(), source=source)

    def _impersonal(self, query: Query, k: int) -> Ranked:
        if not k:
            return Ranked(items=[], scores=[], source="none")
        order = self.popular[~np.isin(self.popular, self._known_items(query.deny))]
        if query.allow is not None:
            order = order[np.isin(order, self._known_items(query.allow))]
        return Ranked(items=self.model.item_ids_[order[:k]].tolist(), scores=[], source="popular")

    def _rows(self, labels: Sequence[Any], side: Literal["user", "item"]) -> np.ndarray:
        lookup = lookups(self.model)[side == "item"]
        return lookup.rows(pd.Index(list(labels), dtype=object), side, strict=False)

    def _known_items(self, labels: Sequence[Any]) -> np.ndarray:
        rows = self._rows(labels, "item")
        return rows[rows >= 0]

    def _matrix(self, lists: list[np.ndarray]) -> csr_array:
        users = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
        return binary(users, np.concatenate(lists), (len(lists), self.model.n_items))


def log_model(model: BUIR, name: str = "model", **options: Any) -> Any:
    """Log a fitted BUIR to MLflow, into the active run or, without one, on its own.

    Parameters
    ----------
    model
        Fitted, with its training rows.
    name
        Name of the logged model.
    options
        Passed on to ``mlflow.pyfunc.log_model``, such as ``registered_model_name`` or other ``pip_requirements``.

    Returns
    -------
    MLflow's ``ModelInfo``. The loaded model's ``predict`` takes a list of :class:`Query`, or dicts like it, and
    ``params={"k": 10, "unknown": "popular"}``, and returns a list of :class:`Ranked`.

    Raises
    ------
    TypeError
        If it is not a BUIR.
    ValueError
        If it is not fitted, or has lost its training rows.
    """
    with _files(model) as files:
        return mlflow.pyfunc.log_model(name=name, **(files | options))


def save_model(model: BUIR, path: str | Path, **options: Any) -> None:
    """Write the same as a folder in MLflow's format, for ``mlflow models serve -m <folder>``; see ``log_model``."""
    with _files(model) as files:
        mlflow.pyfunc.save_model(path, **(files | options))


@contextmanager
def _files(model: BUIR) -> Iterator[dict[str, Any]]:
    """Write the file and the code that MLflow copies, and say what else it has to know."""
    if not isinstance(model, BUIR):
        msg = f"model is a {type(model).__name__}; expected a BUIR, which has a file of its own: log others with their own flavour"
        raise TypeError(msg)
    _seen(model)
    user, item = (ids[:1].tolist() for ids in (model.user_ids_, model.item_ids_))
    with tempfile.TemporaryDirectory() as folder:
        file, code = Path(folder) / "model.safetensors", Path(folder) / "served.py"
        model.save(file)
        code.write_text(_CODE.format(user=type(user[0]).__name__, item=type(item[0]).__name__), encoding="utf-8")
        yield {
            "python_model": str(code),
            "artifacts": {"model": str(file)},
            "input_example": ([{"user": user[0]}, {"items": item}], {"k": 10, "unknown": "popular"}),
            "pip_requirements": [f"buir=={version('buir')}"],
        }


def _seen(model: BUIR) -> csr_array:
    if model.seen_ is None:
        msg = "the model has no training rows, without which seen items would be listed; expected a model saved with training_matrix=True"
        raise ValueError(msg)
    return model.seen_
