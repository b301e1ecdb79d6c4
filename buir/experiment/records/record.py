"""A cell, which is what to fit, and what a record starts with."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from buir.experiment.config import models
from buir.experiment.records.journal import cell_key
from buir.experiment.records.provenance import git_commit, machine, version, versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buir.data import Split

Record = dict[str, Any]
_WORDS = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "hit_rate": "Hit rate", "capped_precision": "Capped precision"}


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

    @cached_property
    def key(self) -> str:
        """Sixteen digits that recognise the cell in the journal and in MLflow.

        Every parameter counts, defaults included, so that a changed default is a new cell.
        """
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("params", "preset")}
        return cell_key(parts | {"params": self.resolved(), "version": version("buir")})

    @property
    def train_pct(self) -> int:
        """Level in per cent, as shown on axes and in names of runs."""
        return round(100 * self.level)

    @cached_property
    def search_key(self) -> str:
        """Sixteen digits that recognise the cell's search for settings; the model seeds of one split share it."""
        tuning = {name: value for name, value in (self.tuning or {}).items() if name != "fit_seconds"}
        names = ("dataset", "protocol", "level", "split_seed", "split_digest", "model", "kind")
        parts = {name: getattr(self, name) for name in names} | {"tuning": tuning}
        return cell_key(parts | {"params": self.resolved(), "version": version("buir")})

    @property
    def search(self) -> tuple[str, float, str, int]:
        """What shares a search for settings: the model seeds of one split, whose test pairs the search cannot have seen."""
        return self.dataset, self.level, self.model, self.split_seed

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

    def resolved(self) -> dict[str, Any]:
        """All hyper-parameters with their values; the seed is apart."""
        return dict(self._resolved)

    @cached_property
    def _resolved(self) -> dict[str, Any]:
        found = self.build().get_params()
        return {name: value for name, value in found.items() if name != "seed"}

    def fixed(self) -> dict[str, Any]:
        """Parameters that the benchmark decides, so that no search may change them; a preset's encoder is one."""
        decided = self.resolved() if self.preset else {}
        return {**{name: decided[name] for name in ("encoder",) if name in decided}, **self.params}

    def build(self) -> Any:
        """Make the unfitted estimator."""
        return models.build(self.kind, self.params, preset=self.preset, seed=self.seed)


def described(cell: Cell, split: Split) -> Record:
    """Start a record with what a cell and its search have in common: the model, the data, and what computes."""
    return {
        "dataset": cell.dataset,
        "protocol": cell.protocol,
        "level": cell.level,
        "train_pct": cell.train_pct,
        "model": cell.model,
        "kind": cell.kind,
        "params": cell.resolved(),
        "split_seed": cell.split_seed,
        "split_digest": split.digest,
        "status": "ok",
        "reason": None,
        "data": {
            "users": split.train.n_users,
            "items": split.train.n_items,
            "train": split.train.n_pairs,
            "valid": split.valid.n_pairs,
            "test": split.test.n_pairs,
            "train_digest": split.train.digest,
            "valid_digest": split.valid.digest,
            "test_digest": split.test.digest,
        },
        "started": time.time(),
        "versions": versions(),
        "git_commit": git_commit(),
        "machine": machine(),
    }


def headline(ks: Sequence[int]) -> tuple[str, str]:
    """Metrics that tables, figures and views show: at 20 if that is measured, else at the first length."""
    k = 20 if 20 in ks else ks[0]
    return f"ndcg_at_{k}", f"recall_at_{k}"


def metric_label(metric: str) -> str:
    """Write ``ndcg_at_20`` as ``NDCG@20``."""
    name, _, k = metric.rpartition("_at_")
    return f"{_WORDS.get(name, name.capitalize())}@{k}" if name else metric
