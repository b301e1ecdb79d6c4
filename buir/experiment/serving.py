"""BUIR behind MLflow: a pyfunc model that takes raw user ids or histories and returns lists.

What is logged is the model's own safetensors file and six lines of code; there is no pickle in it.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel
from pydantic import BaseModel, ConfigDict
from scipy.sparse import csr_array

from buir.model import BUIR
from buir.ranking import FactorScorer
from buir.recommend import Catalogue, Lookup, Steering, steering_rows

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
    """What she has liked. If the model knows one of these items, her list is computed from them alone."""
    allow: list[ItemId] | None = None
    """The only items that may be listed; None: all."""
    deny: list[ItemId] = []
    """Items that may not be listed."""
    less_like: list[ItemId] = []
    """Items that stand for what the list should have less of; unknown ones are an error."""
    more_like: list[ItemId] = []
    """Likewise, more of."""
    strength: float = 0.5
    """How far each of these turns the list, from 0."""


class Ranked(BaseModel, Generic[ItemId]):
    """One list, best first."""

    items: list[ItemId]
    """Ids; neither training nor the query's history is among them."""
    scores: list[float]
    """One for each item; none where the list is not personal."""
    source: str
    """Where it is from: "user", "history", "popular" or "none"."""


class Lists(PythonModel):
    """Base of the logged model: reads the file and answers queries."""

    def load_context(self, context: Any) -> None:
        """Load BUIR from the artifact ``model``."""
        self.model = BUIR.load(context.artifacts["model"])
        counts = np.bincount(_seen(self.model).indices, minlength=self.model.n_items)
        self.popular = pd.Index(self.model.item_ids_[np.argsort(-counts, kind="stable")])

    def answer(self, queries: Sequence[Query], params: dict[str, Any] | None) -> list[Ranked]:
        """Make one list for each query, in their order.

        Parameters
        ----------
        queries
            Users, unknown ones too. Unknown items are passed over.
        params
            ``k``, the length of a list, and ``unknown``: what a user without a row and without a known item gets,
            "popular" (the items with most training users, without scores) or "empty".
        """
        chosen = {"k": 10, "unknown": "popular"} | (params or {})
        if chosen["k"] < 1 or chosen["unknown"] not in ("popular", "empty"):
            msg = f"params are {chosen}; expected k of at least 1, and unknown 'popular' or 'empty'"
            raise ValueError(msg)
        answers: dict[int, Ranked] = {}
        alike: dict[tuple, list[int]] = {}
        for number, query in enumerate(queries):
            turn = (tuple(query.less_like), tuple(query.more_like), query.strength)
            alike.setdefault(turn, []).append(number)
        for (less, more, strength), numbers in alike.items():
            found = steering_rows(Catalogue.of(self.model).items, list(less), list(more), "error")
            steering = Steering.of(self.model, *found, strength, self.model.item_ids_)
            lists = self._lists([queries[n] for n in numbers], int(chosen["k"]), chosen["unknown"], steering)
            answers |= dict(zip(numbers, lists, strict=True))
        return [answers[number] for number in range(len(queries))]

    def _lists(self, queries: Sequence[Query], k: int, unknown: str, steering: Steering | None) -> list[Ranked]:
        """Answer queries that are turned alike."""
        catalogue = Catalogue.of(self.model)
        rows = catalogue.users.rows(pd.Index([query.user for query in queries], dtype=object), "user", strict=False)
        known = np.flatnonzero(rows >= 0)
        # Two queries may ask for the same user: so users are called by the numbers of their queries.
        seen = _seen(self.model)[rows[known]]
        tables = FactorScorer(self.model.user_factors[rows[known]], self.model.item_factors)
        numbered = replace(
            catalogue,
            users=Lookup(known, "user"),
            seen=seen,
            scorer=lambda: self.model.terms_.scorer(None, tables, seen),
        )
        told = {
            number: query.items
            for number, query in enumerate(queries)
            if any(item in catalogue.items.index for item in query.items)
        }
        if steering is not None:
            size = np.diff(_seen(self.model).indptr)
            for number, query in enumerate(queries):
                if number not in told and (rows[number] < 0 or size[rows[number]] == 0):
                    msg = (
                        f"the query of user {query.user!r} has less_like or more_like, but no pair of hers is known; "
                        "expected a user of the training data, or items that the model knows: leave them out"
                    )
                    raise ValueError(msg)
        frame = numbered.frame(
            range(len(queries)),
            k,
            exclude_seen=True,
            allow={number: query.allow for number, query in enumerate(queries) if query.allow is not None},
            deny={number: query.deny for number, query in enumerate(queries)},
            unknown="skip",
            histories=told or None,
            trained_only=False,
            steering=steering,
        )
        items, scores = (frame.groupby("user")[column].agg(list).to_dict() for column in ("item", "score"))
        strangers = k if unknown == "popular" else 0
        return [
            Ranked(items=items.get(n, []), scores=scores.get(n, []), source="history" if n in told else "user")
            if n in told or rows[n] >= 0
            else self._impersonal(query, strangers)
            for n, query in enumerate(queries)
        ]

    def _impersonal(self, query: Query, k: int) -> Ranked:
        if not k:
            return Ranked(items=[], scores=[], source="none")
        order = self.popular[~self.popular.isin(query.deny)]
        if query.allow is not None:
            order = order[order.isin(query.allow)]
        return Ranked(items=order[:k].tolist(), scores=[], source="popular")


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
        msg = (
            f"model is a {type(model).__name__}; expected a BUIR, which has a file of its own: "
            "log others with their own flavour"
        )
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
        msg = (
            "the model has no training rows, without which seen items would be listed; "
            "expected a model saved with training_matrix=True"
        )
        raise ValueError(msg)
    return model.seen_
