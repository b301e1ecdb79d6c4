"""A cell is what to fit; a record is what is kept of it."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, Self

import pandas as pd
from pydantic_core import to_jsonable_python

from buir.data import PairWeights, Split, weighting
from buir.experiment.config import models, per_cent
from buir.experiment.records.provenance import git_commit, machine, version, versions
from buir.ranking import metric_label

__all__ = ["FORMAT", "Cell", "Record", "cell_key", "frame", "headline", "metric_label", "plain", "tidy"]

FORMAT = 2
"""Of a record's file; those of format 1, from before the digests, are read as well."""
POPULAR = 0.9
"""A model whose lists overlap so far with what is popular is said to be popularity: at most two of twenty places are
its own, on average."""


@dataclass(frozen=True)
class Cell:
    """What to fit: a model on a split with a seed. Everything that can change the result is in it."""

    dataset: str
    protocol: str
    level: float
    split_seed: int
    model: str
    kind: str
    preset: str | None
    params: Mapping[str, Any]
    seed: int
    ks: tuple[int, ...]
    split_digest: str = ""
    tuning: Mapping[str, Any] | None = None
    searched_as: "Cell | None" = None
    """The cell whose search gives this one its settings; None for a search of its own."""
    weight: str | None = None
    """How much training pairs count, by a name of ``buir.data.weighting``; None: all alike."""
    decided_on: Literal["valid", "inner"] = "valid"
    """Which pairs decide; see ``BenchmarkConfig``."""

    @cached_property
    def key(self) -> str:
        """Sixteen digits that recognise the cell in the journal and in MLflow.

        Every parameter counts, defaults included, so that a changed default is a new cell.
        """
        apart = {"params", "preset", "searched_as", *self._left_out_of_keys}
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}
        parts |= {} if self.searched_as is None else {"search": self.search_key}
        return cell_key(parts | {"params": self.resolved, "version": version("buir")})

    @property
    def _left_out_of_keys(self) -> set[str]:
        """Younger fields that are as they were before there was a choice, so that old results keep their keys."""
        return {name for name, usual in (("weight", None), ("decided_on", "valid")) if getattr(self, name) == usual}

    @property
    def train_pct(self) -> float:
        """Level in per cent, as shown on axes and in names of runs."""
        return per_cent(self.level)

    @cached_property
    def search_key(self) -> str:
        """Sixteen digits that recognise the cell's search for settings; the model seeds of one split share it."""
        if self.searched_as is not None:
            return self.searched_as.search_key
        tuning = {name: value for name, value in (self.tuning or {}).items() if name != "fit_seconds"}
        names = ("dataset", "protocol", "level", "split_seed", "split_digest", "model", "kind")
        names += tuple(name for name in ("weight", "decided_on") if name not in self._left_out_of_keys)
        parts = {name: getattr(self, name) for name in names} | {"tuning": tuning}
        return cell_key(parts | {"params": self.resolved, "version": version("buir")})

    @property
    def title(self) -> str:
        """Short text for a progress bar."""
        return f"{self.dataset} {self.train_pct} % {self.model} seed {self.seed}"

    @property
    def fit_seconds(self) -> float | None:
        """Most seconds of its training, if there is a limit."""
        return self.tuning.get("fit_seconds") if self.tuning else None

    @property
    def search_title(self) -> str:
        """Short text for the search of its settings."""
        split = f" split seed {self.split_seed}" if self.split_seed else ""
        return f"{self.dataset} {self.train_pct} % {self.model}{split}"

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """All hyper-parameters with their values; the seed is apart."""
        return {name: value for name, value in self.build().get_params().items() if name != "seed"}

    def fixed(self) -> dict[str, Any]:
        """Parameters that the benchmark decides, so that no search may change them; a preset's encoder is one."""
        encoder = self.resolved.get("encoder") if self.preset else None
        return ({} if encoder is None else {"encoder": encoder}) | dict(self.params)

    @property
    def weights(self) -> dict[str, PairWeights]:
        """The argument ``weights`` of its fit; nothing where pairs have none, or the model cannot take any."""
        takes = self.weight is not None and models.takes_weights(self.kind)
        return {"weights": weighting(self.weight)} if takes and self.weight else {}

    def build(self) -> Any:
        """Make the unfitted estimator."""
        return models.build(self.kind, self.params, preset=self.preset, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is kept of a finished cell, or of a finished search for settings, which measures nothing on test data.

    Seconds of fits and searches are those of the processor, all threads together; ``rank_s`` is on the clock.
    """

    key: str
    """Sixteen hexadecimal digits: of the cell, or of the search."""
    work: Literal["cell", "search"] = "cell"
    dataset: str
    protocol: str
    level: float
    model: str
    kind: str
    params: Mapping[str, Any]
    """All hyper-parameters with their values, those that a search found among them."""
    split_seed: int = 0
    split_digest: str = ""
    weight: str | None = None
    """How much training pairs count, for a model that takes weights."""
    decided_on: Literal["valid", "inner"] = "valid"
    """Which pairs decided settings, epochs and terms: the validation part, or pairs held out of the training part."""
    seed: int = 0
    """The model's; 0 for a search."""
    status: Literal["ok", "refused"] = "ok"
    reason: str | None = None
    """Why a model declined the data."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """users, items; train, valid and test pairs; their digests."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Means over the test users, such as ndcg_at_20; the headline first."""
    groups: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=lambda: {"user": [], "item": []})
    """The metrics of users by their activity, and of items by their popularity."""
    history: Sequence[Mapping[str, Any]] = ()
    """The records of the fit: epoch, seconds, loss, validation metrics. Where the training part decided, those of the
    fit that decided; of BUIR those of the training on everything, which knows no validation metrics."""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """What the fit came to, as its model says: of BUIR the fields of ``buir.model.fitting.Chosen``; empty where a model
    does not say."""
    fit_seconds: float | None = None
    """The limit of the fit, if there was one."""
    capped: bool = False
    """Whether the limit ended it."""
    fit_s: float = 0.0
    rank_s: float = 0.0
    tune_s: float = 0.0
    n_trials: int = 0
    tuning: Mapping[str, Any] = field(default_factory=dict)
    """The budget of a search, its space, its trials and what was best; empty where nothing was searched."""
    peak_mb: float = 0.0
    device_peak_mb: float | None = None
    """Of a CUDA device; None where none was used."""
    system: Sequence[Mapping[str, float]] = ()
    """Samples of the system's use while it ran."""
    n_test_users: int = 0
    users_digest: str | None = None
    """Of the file with the per-user values; None of a record of format 1."""
    effective_rank: float | None = None
    popularity_overlap: float | None = None
    """Share of the places of its lists, of the length of the headline, whose items are on the users' lists of what is
    popular; None where popularity says too little, and of a record of an earlier version."""
    examples: Sequence[Mapping[str, str]] = ()
    """Some users' lists in raw ids."""
    started: float = 0.0
    """Seconds since 1970."""
    versions: Mapping[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def train_pct(self) -> float:
        """Level in per cent, as shown on axes and in names of runs."""
        return per_cent(self.level)

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.status == "ok"

    @property
    def is_popularity(self) -> bool:
        """Whether a model that is not popularity by its kind lists what is popular all the same."""
        return self.kind != "popularity" and (self.popularity_overlap or 0.0) >= POPULAR

    @classmethod
    def of(cls, cell: Cell, split: Split, *, key: str, **facts: Any) -> Self:
        """Start a record with what a cell and its search have in common: the model, the data, and what computes."""
        parts = {"train": split.train, "valid": split.valid, "test": split.test}
        given = {
            "params": cell.resolved,
            "split_digest": split.digest,
            "data": {"users": split.train.n_users, "items": split.train.n_items}
            | {name: part.n_pairs for name, part in parts.items()}
            | {f"{name}_digest": part.digest for name, part in parts.items()},
            "started": time.time(),
            "versions": versions(),
            "git_commit": git_commit(),
            "machine": machine(),
        }
        same = ("dataset", "protocol", "level", "model", "kind", "split_seed", "weight", "decided_on")
        return cls(key=key, **{name: getattr(cell, name) for name in same} | given | facts)

    def to_json(self) -> str:
        """Write the record as JSON; NaN and infinity become null."""
        facts = {"format": FORMAT} | plain({f.name: getattr(self, f.name) for f in fields(self)})
        return json.dumps({"digest": _digest_of(facts)} | facts, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote.

        Raises
        ------
        ValueError
            If the text is no record, one of another format, or not what was written.
        """
        facts = json.loads(text)
        if not isinstance(facts, dict) or facts.get("format") not in (1, FORMAT):
            msg = f"expected a record of format {FORMAT}; run the benchmark again in a new folder"
            raise ValueError(msg)
        digest = facts.pop("digest", None)
        if facts["format"] == FORMAT and digest != _digest_of(facts):
            msg = "expected what was written: the record has another digest"
            raise ValueError(msg)
        del facts["format"]
        try:
            return cls(**facts)
        except TypeError as error:
            msg = f"expected the fields of a record of format {FORMAT}: {error}"
            raise ValueError(msg) from error


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """Make a row of each record: single values, pairs and users, a column for each metric, and the record itself."""
    nested = (
        "params",
        "data",
        "metrics",
        "groups",
        "history",
        "chosen",
        "system",
        "examples",
        "versions",
        "machine",
        "tuning",
    )
    single = [f.name for f in fields(Record) if f.name not in nested]
    rows = [
        {name: getattr(record, name) for name in (*single, "train_pct")}
        | {f"n_{name}": record.data.get(name) for name in ("users", "items", "train", "valid", "test")}
        | dict(record.metrics)
        | {"record": record}
        for record in records
    ]
    return pd.DataFrame(rows, columns=None if rows else [*single, "train_pct", "record"])


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """Make a row of each run for whoever analyses them: what was run, how it ended, its metrics, sizes and costs.

    Returns
    -------
    Columns ``dataset``, ``protocol``, ``train_pct`` (per cent), ``model``, ``split_seed``, ``seed``, ``status``, one
    for each metric (NaN for a run that refused the data), then users, items, pairs, seconds, memory in MB and what
    recognises a run. Settings are in the report and in MLflow.
    """
    found = frame(records).drop(columns="record")
    first = ["dataset", "protocol", "train_pct", "model", "split_seed", "seed", "status"]
    metrics = [name for name in found if "_at_" in str(name)]
    return found[[*first, *metrics, *(name for name in found if name not in (*first, *metrics))]]


def _digest_of(facts: Mapping[str, Any]) -> str:
    """Digest what a record says, as JSON writes it."""
    return hashlib.blake2b(json.dumps(facts, allow_nan=False).encode(), digest_size=16).hexdigest()


def cell_key(parts: Mapping[str, Any]) -> str:
    """Digest what defines a cell into 16 hexadecimal digits; the order of the parts does not matter."""
    text = json.dumps(plain(parts), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Turn NumPy values, tuples and paths into JSON's types; NaN and infinity become null."""
    return to_jsonable_python(value, inf_nan_mode="null", fallback=lambda array: array.tolist())


def headline(ks: Sequence[int]) -> tuple[str, str]:
    """Metrics that tables, figures and views show: at 20 if that is measured, else at the first length."""
    k = 20 if 20 in ks else ks[0]
    return f"ndcg_at_{k}", f"recall_at_{k}"
