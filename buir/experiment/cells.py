"""One cell of a benchmark: one model, fitted and measured once."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines import Refused
from buir.diagnostics import effective_rank
from buir.evaluation import Evaluation, evaluate
from buir.experiment import models
from buir.experiment.clock import Clock
from buir.experiment.groups import group_metrics
from buir.experiment.journal import Record, cell_key
from buir.experiment.monitor import Monitor
from buir.experiment.provenance import git_commit, machine, version, versions
from buir.similarity import vectors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from buir.splits import Split

N_EXAMPLES = 20
_LIST_LENGTH = 10
_HISTORY_LENGTH = 20


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


def run_cell(
    cell: Cell,
    split: Split,
    *,
    found: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], Any] | None = None,
) -> tuple[Record, pd.DataFrame, Any]:
    """Fit, rank and measure.

    Parameters
    ----------
    cell, split
        What to fit, on what.
    found
        Parameters that a search found, on top of the cell's. The key stays that of the cell: it is recognised by what
        was asked for, so that a finished cell needs no search.
    callback
        Called with every record of ``fit``.

    Returns
    -------
    The record, the per-user values, and the fitted model.

    Raises
    ------
    Refused
        If the model declines the data; :func:`refused_record` says so in a record.
    """
    record = _head(cell, split)
    chosen = replace(cell, params={**cell.params, **(found or {})})
    with Monitor() as monitor:
        clock = Clock(cell.fit_seconds)

        def watch(entry: dict[str, Any]) -> bool:
            if callback is not None:
                callback(entry)
            return clock.is_up(entry)

        model = chosen.build().fit(split.train, split.valid, show_progress=False, callback=watch)
        fit_s = clock.seconds
        start = time.perf_counter()
        evaluation = evaluate(model, split.train, split.test, valid=split.valid, ks=cell.ks)
        rank_s = time.perf_counter() - start
    measured = record | {
        "params": chosen.resolved(),
        "metrics": _headline_first(evaluation.means),
        "groups": group_metrics(evaluation, split.train, split.test),
        "history": list(getattr(model, "history", None) or []),
        "fit_s": fit_s,
        "capped": clock.ended(model),
        "rank_s": rank_s,
        "peak_mb": monitor.peak_mb,
        "system": monitor.samples,
        "n_test_users": evaluation.n_users,
        "effective_rank": _effective_rank(model),
        "examples": _examples(evaluation, split),
    }
    return measured, evaluation.to_frame(), model


def refused_record(cell: Cell, split: Split, refusal: Refused) -> Record:
    """Record that a model declines the data, and why."""
    return _head(cell, split) | {"status": "refused", "reason": " ".join(str(refusal).split())}


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


def _head(cell: Cell, split: Split) -> Record:
    return described(cell, split) | {
        "key": cell.key,
        "seed": cell.seed,
        "metrics": {},
        "groups": {"user": [], "item": []},
        "history": [],
        "fit_s": 0.0,
        "fit_seconds": cell.fit_seconds,
        "capped": False,
        "rank_s": 0.0,
        "tune_s": 0.0,
        "n_trials": 0,
        "peak_mb": 0.0,
        "system": [],
        "n_test_users": 0,
        "effective_rank": None,
        "examples": [],
    }


def _headline_first(means: Mapping[str, float]) -> dict[str, float]:
    """Put NDCG, then recall first: pages that show one metric take the first."""
    rank = {"ndcg": 0, "recall": 1}
    names = sorted(means, key=lambda name: (rank.get(name.partition("_at_")[0], 2), not name.endswith("_at_20")))
    return {name: means[name] for name in names}


def _effective_rank(model: Any) -> float | None:
    if getattr(model, "item_factors", None) is None:
        return None
    return float(effective_rank(vectors_of(model, "item_factors", "the effective rank")))


def _examples(evaluation: Evaluation, split: Split) -> list[dict[str, str]]:
    """Show some users' lists in raw ids: evenly spaced by activity, so that light and heavy users are among them."""
    by_activity = np.argsort(evaluation.train_degree, kind="stable")
    places = by_activity[np.unique(np.linspace(0, len(by_activity) - 1, N_EXAMPLES).round().astype(int))]
    ids = split.train.item_ids
    train, test = split.train.matrix, split.test.matrix

    def text(items: np.ndarray, held: frozenset[int] = frozenset(), most: int = _HISTORY_LENGTH) -> str:
        words = [f"[{ids[i]}]" if int(i) in held else str(ids[i]) for i in items[:most]]
        return " ".join(words) + (f" … ({len(items)})" if len(items) > most else "")

    rows = []
    for place in places:
        user = int(evaluation.users[place])
        held = test.indices[test.indptr[user] : test.indptr[user + 1]]
        seen = train.indices[train.indptr[user] : train.indptr[user + 1]]
        listed = evaluation.ranked[place]
        hits = frozenset(held.tolist())
        rows.append(
            {
                "user": str(split.train.user_ids[user]),
                "recommended": text(listed[listed >= 0][:_LIST_LENGTH], hits),
                "history": text(seen),
                "held_out": text(held),
            }
        )
    return rows
