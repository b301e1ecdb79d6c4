"""BUIR behind MLflow: a pyfunc model that takes raw user ids or histories, as frames or queries, and returns lists.

What is logged is the model's own safetensors file and Python code: thirty lines of its own, and the part of this
package that makes lists, so that an environment needs nothing of the name ``buir``. There is no pickle in it.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from pydantic import BaseModel
from scipy.sparse import csr_array

from buir.data import take
from buir.errors import near, one_line
from buir.model import BUIR
from buir.ranking import FactorScorer
from buir.recommend import STRONGEST, Catalogue, Lookup, Steering, steering_rows

UserId = TypeVar("UserId", int, str)
ItemId = TypeVar("ItemId", int, str)

_REQUIREMENTS = ("mlflow", "numpy", "pandas", "safetensors", "scipy", "torch", "tqdm")
"""What the code below and its imports need; MLflow brings pydantic and its server."""
_HOME = Path(__file__).parents[1]
_PARTS = ("data", "graph", "learning", "model", "ranking", "recommend")
_FILES = ("__init__.py", "errors.py", "experiment/__init__.py", "experiment/serving.py")
"""Of this package, what is copied into a logged model."""
_CODE = '''"""Lists of items for users, by their own ids or by histories: see buir.experiment.serving."""

import sys
from importlib.util import find_spec

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Served(PythonModel):
    """Takes a data frame, or a list of queries (though MLflow should read of frames alone)."""

    def load_context(self, context):
        found = find_spec("buir")
        # The package as it was when the model was logged, where none is installed; a mere folder is none.
        if found is None or found.origin is None:
            sys.path.append(context.artifacts["code"])
        from buir.experiment.serving import Lists

        self.lists = Lists.load(context.artifacts["model"])

    def predict(self, context, model_input: pd.DataFrame, params=None):
        return self.lists.answer(model_input, params)


set_model(Served())
'''
_LISTS = ("items", "allow", "deny", "less_like", "more_like")
_STRENGTH = 0.5
_COLUMNS = ("user", *_LISTS, "strength")
_EXACT = 2**53
"""From here on a float no longer tells every integer apart."""


class QueryError(MlflowException, ValueError):
    """A question that cannot be answered; a server says so with status 400 and without a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE)


class Query(TypedDict, Generic[UserId, ItemId], total=False):
    """One asked user; what is left out, None or NaN, is as it says here."""

    user: UserId | None
    """Her id; none for somebody known by ``items`` alone."""
    items: list[ItemId] | None
    """What she has liked, nothing by default. If the model knows one, her list is computed from these alone."""
    allow: list[ItemId] | None
    """The only items that may be listed; all by default."""
    deny: list[ItemId] | None
    """Items that may not be listed; none by default."""
    less_like: list[ItemId] | None
    """Items that stand for what the list should have less of, none by default; unknown ones are an error."""
    more_like: list[ItemId] | None
    """Likewise, more of."""
    strength: float | None
    """How far each of these turns the list, from 0; 0.5 by default."""


class Ranked(BaseModel, Generic[ItemId]):
    """One list, best first."""

    items: list[ItemId]
    """Ids; neither training nor the query's history is among them."""
    scores: list[float]
    """One for each item; none where the list is not personal."""
    source: str
    """Where it is from: "user", "history", "popular" or "none"."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """Queries by their numbers, with ids as the model has them."""

    users: np.ndarray
    """One label for each query, None where it has none."""
    lists: Mapping[str, dict[int, list[Any]]]
    """By the name in ``_LISTS``: the items of the queries that have such a list."""
    strengths: np.ndarray
    rows: np.ndarray
    """Of the users, -1 where unknown."""

    def __len__(self) -> int:
        return len(self.users)

    def alike(self) -> list[np.ndarray]:
        """Return the numbers of the queries that are turned alike, group by group."""
        less, more = self.lists["less_like"], self.lists["more_like"]
        turned = sorted(number for number in less.keys() | more.keys() if less.get(number) or more.get(number))
        groups: dict[tuple, list[int]] = {}
        for number in turned:
            turn = (tuple(less.get(number, [])), tuple(more.get(number, [])), float(self.strengths[number]))
            groups.setdefault(turn, []).append(number)
        alone = np.ones(len(self), dtype=bool)
        alone[turned] = False
        return [part for part in (np.flatnonzero(alone), *map(np.array, groups.values())) if len(part)]


class Lists:
    """A fitted BUIR that answers frames and queries.

    Parameters
    ----------
    model
        Fitted, with its training rows.
    """

    def __init__(self, model: BUIR) -> None:
        self.model = model
        counts = np.bincount(_seen(model).indices, minlength=model.n_items)
        self.popular = model.item_ids_[np.argsort(-counts, kind="stable")]

    @classmethod
    def load(cls, file: str | Path) -> "Lists":
        """Read the model from its file."""
        return cls(BUIR.load(file).freeze())

    def answer(self, asked: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame | list[Ranked]:
        """Make one list for each row of a frame, or each query, in their order.

        Parameters
        ----------
        asked
            A data frame with a column ``user``, ``items`` or both, and columns named like the other fields of
            :class:`Query`, if wanted; other columns are passed over, and an empty cell is the field's default. Or a
            list of queries, or of dicts like them. Unknown users and unknown items are no error, but for items of
            ``less_like`` and ``more_like``, and for users with these where they would get what is popular.
        params
            ``k``, the length of a list, and ``unknown``: what a user without a row and without a known item gets,
            "popular" (the items with most training users, without scores) or "empty".

        Returns
        -------
        For a frame, one with the columns ``user``, ``item``, ``score``, ``rank`` from 1, ``source`` (see
        :class:`Ranked`) and ``query``, the number of the asked row from 0; ``user`` is None where none was named, and
        ``score`` where the list is not personal. For a list, a :class:`Ranked` for each query.

        Raises
        ------
        QueryError
            If what is asked for is neither, an id is of another type than the model's, or a number is a float too large
            to be an exact id.
        """
        try:
            chosen = {"k": 10, "unknown": "popular"} | dict(params or {})
            if chosen["k"] < 1 or chosen["unknown"] not in ("popular", "empty"):
                msg = f"params are {chosen}; expected k of at least 1, and unknown 'popular' or 'empty'"
                raise ValueError(msg)
            framed = isinstance(asked, pd.DataFrame | Mapping)
            columns, n = _of_frame(pd.DataFrame(asked)) if framed else _of_queries(asked)
            read = self._read(columns, n)
            table, sources = self._table(read, int(chosen["k"]), chosen["unknown"])
        except ValueError as error:
            raise QueryError(str(error)) from error
        return _as_frame(table, sources, read.users) if framed else _as_lists(table, sources)

    def _read(self, columns: Mapping[str, pd.Series], n: int) -> _Asked:
        """Read the columns of ``n`` queries; they are named as in ``_COLUMNS``, and any may be missing."""
        catalogue = Catalogue.of(self.model)
        users = np.full(n, None, dtype=object)
        if "user" in columns:
            users = _labels(columns["user"], self.model.user_ids_, "user")
        lists = {name: self._column(columns[name], name) if name in columns else {} for name in _LISTS}
        strengths = np.full(n, _STRENGTH)
        if "strength" in columns:
            given = columns["strength"]
            numbers = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
            values = given.to_numpy(dtype=object)
            empty = given.isna().to_numpy()
            wrong = ~empty & ~((numbers >= 0) & (numbers <= STRONGEST))
            wrong |= np.array([isinstance(value, bool | np.bool_) for value in values], dtype=bool)
            if wrong.any():
                number = int(np.flatnonzero(wrong)[0])
                msg = f"strength of query {number} (from 0) is {values[number]!r}; expected a number from 0 to "
                raise ValueError(msg + f"{STRONGEST:,.0f}, such as 0.5")
            strengths = np.where(np.isnan(numbers), strengths, numbers)
        index = pd.Index(users) if users.dtype.kind == "i" else pd.Index(users, dtype=object)
        return _Asked(users, lists, strengths, catalogue.users.rows(index, "user", strict=False))

    def _column(self, column: pd.Series, name: str) -> dict[int, list[Any]]:
        """Read a column of lists of items; an empty cell is no list."""
        cells = column.to_numpy(dtype=object)
        numbers = [n for n, cell in enumerate(cells) if not _is_missing(cell)]
        for number in numbers:
            if not isinstance(cells[number], list | tuple | np.ndarray | set | frozenset):
                msg = f"{name} of query {number} (from 0) is {cells[number]!r}; expected a list of item ids"
                raise ValueError(msg)
        lists = [list(cells[number]) for number in numbers]
        flat = pd.Series(list(chain.from_iterable(lists)), dtype=object)
        labels = _labels(flat, self.model.item_ids_, name)
        if any(label is None for label in labels):
            msg = f"{name} holds a missing value within a list; expected item ids: leave it out"
            raise ValueError(msg)
        ends = np.cumsum([len(items) for items in lists], dtype=np.int64)
        parts = np.split(labels, ends[:-1]) if lists else []
        return {number: part.tolist() for number, part in zip(numbers, parts, strict=True)}

    def _table(self, asked: _Asked, k: int, unknown: str) -> tuple[pd.DataFrame, np.ndarray]:
        """Make all lists: columns query, item, score and rank, ordered by query and rank; and where each is from."""
        told = self._told(asked.lists["items"])
        sources = np.where(asked.rows >= 0, "user", "popular" if unknown == "popular" else "none").astype(object)
        sources[list(told)] = "history"
        parts = [self._ranked(asked, numbers, told, k, unknown) for numbers in asked.alike()]
        if (sources == "popular").any():
            parts.append(self._popular(asked, np.flatnonzero(sources == "popular"), k))
        if not parts:
            parts = [pd.DataFrame({"query": [], "item": [], "score": [], "rank": []}).astype({"query": np.int64})]
        table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
        return (table.sort_values("query", kind="stable") if len(parts) > 1 else table), sources

    def _told(self, histories: Mapping[int, list[Any]]) -> dict[int, list[Any]]:
        """Keep the histories that hold an item which the model knows."""
        sizes = [len(items) for items in histories.values()]
        flat = pd.Index(list(chain.from_iterable(histories.values())), dtype=object)
        rows = Catalogue.of(self.model).items.index.get_indexer(flat)
        owners = np.repeat(np.arange(len(sizes)), sizes)
        hits = np.bincount(owners, weights=rows >= 0, minlength=len(sizes))
        return {number: items for (number, items), hit in zip(histories.items(), hits, strict=True) if hit}

    def _ranked(
        self, asked: _Asked, numbers: np.ndarray, told: Mapping[int, list[Any]], k: int, unknown: str
    ) -> pd.DataFrame:
        """Answer the queries with these numbers, which are turned alike, as far as the model knows who asks."""
        catalogue = Catalogue.of(self.model)
        rows = asked.rows[numbers]
        known = np.flatnonzero(rows >= 0)
        first = int(numbers[0])
        turn = {name: asked.lists[name].get(first, []) for name in ("less_like", "more_like")}
        less, more = steering_rows(catalogue.items, turn["less_like"], turn["more_like"], "skip")
        for (name, labels), rows_of in zip(turn.items(), (less, more), strict=True):
            if len(rows_of) < len(labels):
                stranger = next(label for label in labels if label not in catalogue.items.index)
                msg = f"{name} of query {first} (from 0) holds {stranger!r}, an item unknown to the model; expected "
                raise ValueError(msg + f"items of the training data, such as {self.model.item_ids_[:1].tolist()[0]!r}")
        steering = Steering.of(self.model, less, more, float(asked.strengths[first]), self.model.item_ids_)
        # Two queries may ask for the same user: so users are called by the numbers of their queries.
        seen = take(_seen(self.model), rows[known])
        if steering is not None:
            self._check_turned(asked, numbers, told, unknown)
        tables = FactorScorer(self.model.user_factors[rows[known]], self.model.item_factors)
        numbered = replace(
            catalogue,
            users=Lookup(numbers[known], "user"),
            seen=seen,
            scorer=lambda: self.model.terms_.scorer(None, tables, seen),
        )
        here = set(numbers.tolist())
        lists = {name: {n: items for n, items in asked.lists[name].items() if n in here} for name in ("allow", "deny")}
        histories = {n: items for n, items in told.items() if n in here}
        frame = numbered.frame(
            numbers,
            k,
            exclude_seen=True,
            allow=lists["allow"],
            deny=lists["deny"],
            unknown="skip",
            histories=histories or None,
            trained_only=False,
            steering=steering,
        )
        return frame.rename(columns={"user": "query"})

    def _check_turned(self, asked: _Asked, numbers: np.ndarray, told: Mapping[int, list[Any]], unknown: str) -> None:
        """Make sure that there is a list to turn: what is popular is nobody's, and an empty list needs no turning."""
        size = np.diff(_seen(self.model).indptr)
        for number in numbers.tolist():
            row = asked.rows[number]
            if number in told or (row < 0 and unknown == "empty") or (row >= 0 and size[row] > 0):
                continue
            (user,) = asked.users[number : number + 1].tolist()
            whom = "names no user" if user is None else f"is of user {user!r}"
            msg = (
                f"query {number} (from 0) has less_like or more_like and {whom}, of whom no pair is known; expected a "
                "user of the training data, or items that the model knows: leave less_like and more_like out"
            )
            raise ValueError(msg if row >= 0 else msg + ", or pass the params unknown='empty'")

    def _popular(self, asked: _Asked, numbers: np.ndarray, k: int) -> pd.DataFrame:
        """List what most training users have, for the queries with these numbers."""
        lists = []
        for number in numbers.tolist():
            allow, deny = asked.lists["allow"].get(number), asked.lists["deny"].get(number)
            order = self.popular[:k]
            if allow is not None or deny:
                free = ~np.isin(self.popular, deny or [])
                free &= True if allow is None else np.isin(self.popular, allow)
                order = self.popular[free][:k]
            lists.append(order)
        sizes = [len(order) for order in lists]
        ranks = [np.arange(1, size + 1, dtype=np.int32) for size in sizes]
        items = np.concatenate(lists)
        return pd.DataFrame(
            {
                "query": np.repeat(numbers, sizes),
                "item": items,
                "score": np.full(len(items), np.nan, dtype=np.float32),
                "rank": np.concatenate(ranks),
            }
        )


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
    MLflow's ``ModelInfo``. The loaded model's ``predict`` takes what :meth:`Lists.answer` takes, a frame or a list of
    queries, with ``params={"k": 10, "unknown": "popular"}``, and returns what that returns.

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
        file, served, code = (Path(folder) / name for name in ("model.safetensors", "served.py", "buir.zip"))
        model.save(file)
        served.write_text(_CODE, encoding="utf-8")
        _write_package(code)
        yield {
            "python_model": str(served),
            "artifacts": {"model": str(file), "code": str(code)},
            "signature": _signature(model),
            "input_example": ([{"user": user[0]}, {"items": item}], {"k": 10, "unknown": "popular"}),
            # A local part such as +cpu names a build that no common index has.
            "pip_requirements": [f"{name}=={version(name).partition('+')[0]}" for name in _REQUIREMENTS],
        }


def _write_package(to: Path) -> None:
    """Write the part of this package that makes lists as an archive that Python imports from: its source alone.

    One file, the same at every writing: a store may take a request for each.
    """
    files = [_HOME / name for name in _FILES] + [file for part in _PARTS for file in (_HOME / part).rglob("*.py")]
    with ZipFile(to, "w") as archive:
        for file in sorted(files):
            entry = ZipInfo(f"buir/{file.relative_to(_HOME).as_posix()}")
            archive.writestr(entry, file.read_bytes(), ZIP_DEFLATED)


def _signature(model: BUIR) -> ModelSignature:
    """Say what comes out of a frame.

    It says nothing of what goes in: by a schema MLflow would turn queries into frames, and refuse integers that came as
    floats.
    """
    user, item = (DataType.long if _kind(ids) is int else DataType.string for ids in (model.user_ids_, model.item_ids_))
    types = {"user": user, "item": item, "score": DataType.float, "rank": DataType.integer}
    types |= {"source": DataType.string, "query": DataType.long}
    may_be_none = ("user", "score")
    outputs = Schema([ColSpec(kind, name, required=name not in may_be_none) for name, kind in types.items()])
    params = [ParamSpec("k", DataType.long, 10), ParamSpec("unknown", DataType.string, "popular")]
    return ModelSignature(outputs=outputs, params=ParamSchema(params))


def _of_frame(frame: pd.DataFrame) -> tuple[dict[str, pd.Series], int]:
    columns = [name for name in _COLUMNS if name in frame.columns]
    if "user" not in columns and "items" not in columns:
        names = [str(name) for name in frame.columns]
        msg = f"the frame has the columns {', '.join(names[:8]) or 'none'}; expected user, items or both"
        raise ValueError(msg)
    if twice := [name for name in columns if isinstance(frame[name], pd.DataFrame)]:
        msg = f"the frame has the column {twice[0]} twice; expected one of each name"
        raise ValueError(msg)
    return {name: frame[name] for name in columns}, len(frame)


def _of_queries(asked: Any) -> tuple[dict[str, pd.Series], int]:
    asked = asked.tolist() if isinstance(asked, np.ndarray) else asked
    if not isinstance(asked, list | tuple) or not all(isinstance(query, dict) for query in asked):
        one = (
            next((query for query in asked if not isinstance(query, dict)), None) if isinstance(asked, list) else asked
        )
        msg = f"got {one_line(repr(one))[:60]} of type {type(one).__name__}; expected a data frame with a column user "
        msg += 'or items, or a list of queries such as {"user": 7} or {"items": [3, 5]}'
        raise ValueError(msg)
    names = set().union(*asked)
    if stray := sorted(map(str, names.difference(_COLUMNS))):
        msg = f"a query has {stray[0]!r}; expected {', '.join(_COLUMNS)}{near(stray[0], _COLUMNS)}"
        raise ValueError(msg)
    # MLflow's server makes arrays of all that it reads.
    columns = {
        name: [v.tolist() if isinstance(v := query.get(name), np.ndarray) else v for query in asked] for name in names
    }
    return {name: pd.Series(values, dtype=object) for name, values in columns.items()}, len(asked)


def _kind(ids: np.ndarray) -> type[int] | type[str]:
    return int if ids.dtype.kind in "iu" else str


def _whole(value: Any) -> Any:
    """Take a number such as 7.0 as 7, which it was before pandas found missing values beside it."""
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= _EXACT:
            msg = f"{value:.0f} came as a float, which at that size may stand for several ids; {_REMEDY}"
            raise ValueError(msg)
        return int(value)
    return value


_REMEDY = "expected an integer or a text: read the column as Int64 or str"


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _labels(column: pd.Series, ids: np.ndarray, what: str) -> np.ndarray:
    """Read a column of ids as labels of the type of a model's; None where one is missing.

    Returns
    -------
    Objects, or int64 where nothing is missing and the labels are integers.
    """
    kind, values = _kind(ids), column.to_numpy()
    if values.dtype.kind in "iu" and kind is int and (values.dtype.kind == "i" or values.max(initial=0) < 2**63):
        return values.astype(np.int64)
    values = column.to_numpy(dtype=object)
    found = pd.api.types.infer_dtype(values, skipna=False)
    if kind is str and found == "string":
        return values
    if kind is int and found == "integer" and min(values) >= -(2**63) and max(values) < 2**63:
        return values.astype(np.int64)
    labels = np.empty(len(values), dtype=object)
    labels[:] = [_label(value, kind, what, ids) for value in values]
    return labels


def _label(value: Any, kind: type, what: str, ids: np.ndarray) -> int | str | None:
    if _is_missing(value):
        return None
    plain = value.item() if isinstance(value, np.generic) else value
    plain = _whole(plain)
    if kind is str:
        return str(plain)
    if isinstance(plain, str):
        text = plain.strip()
        plain = int(text) if text.removeprefix("-").isdecimal() else plain
    if not isinstance(plain, int) or isinstance(plain, bool):
        msg = f"{what} holds {plain!r}; the model's ids are integers such as {ids[:1].tolist()[0]}, expected those"
        raise ValueError(msg)
    return plain


def _as_frame(table: pd.DataFrame, sources: np.ndarray, users: np.ndarray) -> pd.DataFrame:
    queries = table["query"].to_numpy()
    source = sources[queries]
    score = table["score"]
    if (source == "popular").any():
        score = score.astype(object).where(source != "popular", None)
    asked = users[queries]
    return pd.DataFrame(
        {
            # pandas would make NaN of None, which JSON has not
            "user": pd.Series(asked, dtype=object) if pd.isna(asked).any() else asked,
            "item": table["item"].to_numpy(),
            "score": score.to_numpy(),
            "rank": table["rank"].to_numpy(),
            "source": source,
            "query": queries,
        }
    )


def _as_lists(table: pd.DataFrame, sources: np.ndarray) -> list[Ranked]:
    ends = np.cumsum(np.bincount(table["query"], minlength=len(sources)))
    items, scores = table["item"].tolist(), table["score"].tolist()
    starts = [0, *ends[:-1].tolist()]
    return [
        Ranked(items=items[a:b], scores=[] if source == "popular" else scores[a:b], source=source)
        for a, b, source in zip(starts, ends.tolist(), sources.tolist(), strict=False)
    ]


def _seen(model: BUIR) -> csr_array:
    if model.seen_ is None:
        msg = (
            "the model has no training rows, without which seen items would be listed; "
            "expected a model saved with training_matrix=True"
        )
        raise ValueError(msg)
    return model.seen_
