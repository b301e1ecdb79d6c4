"""How long a benchmark will take and how much memory it needs: measured where possible, else by rule of thumb."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buir.experiment.records import Cell, Record

_RANK_PER_SCORE = 3.0e-9  # seconds for one user and item, masking and sorting included
_EASE_LIMIT = 20_000
_IN_EPOCHS = ("buir", "lightgcn")
_BASE_MB = 900.0  # Python with torch and the other libraries


@dataclass(frozen=True)
class Size:
    """What decides the cost of a cell."""

    users: int
    items: int
    pairs: int


class Forecast:
    """Seconds of cells.

    A cell takes as long as finished ones of the same data set, level and model; else it is the rule of thumb,
    scaled by how finished cells of that model, or of any, compare with it.
    """

    def __init__(self, sizes: Mapping[tuple[str, float], Size], records: Iterable[Record] = ()) -> None:
        self._sizes = dict(sizes)
        self._measured: dict[tuple[str, str, float], list[float]] = {}
        self._ratios: dict[str, list[float]] = {}
        for record in records:
            self.learn(record)

    def learn(self, record: Record) -> None:
        """Take note of a finished cell, or of a search, whose trials are fits as well."""
        if record.status != "ok":
            return
        fitted = record.work == "cell"
        seconds = record.fit_s + record.rank_s if fitted else record.tune_s / max(1, record.n_trials)
        place = (record.dataset, record.model, record.level)
        self._measured.setdefault(place, []).append(seconds)
        size = self._sizes.get((record.dataset, record.level))
        if size is not None and fitted and not record.capped:
            # A fit that the clock ended does not tell how long others take, nor do trials with all kinds of settings.
            thumb = rule_of_thumb(record.kind, record.params, size)
            self._ratios.setdefault(record.model, []).append(seconds / thumb)

    def seconds(self, cell: Cell) -> float:
        """Estimate one cell, without its share of a search."""
        return _limited(self._free(cell), cell, cell.fit_seconds)

    def search_seconds(self, cell: Cell) -> float:
        """Estimate the search of a cell: as many fits as it has trials."""
        return _trial_seconds(cell, self._free(cell)) * _trials(cell)

    def _free(self, cell: Cell) -> float:
        """Estimate a fit that no clock ends."""
        measured = self._measured.get((cell.dataset, cell.model, cell.level))
        if measured:
            return sum(measured) / len(measured)
        thumb = rule_of_thumb(cell.kind, cell.resolved(), self._sizes[cell.dataset, cell.level])
        ratios = self._ratios.get(cell.model) or [r for found in self._ratios.values() for r in found]
        return thumb * (median(ratios) if ratios else 1.0)

    def total(self, cells: Sequence[Cell], jobs: int) -> float:
        """Estimate all cells with their searches, one for each data set, level, model and split."""
        searches = {c.search: self.search_seconds(c) for c in cells}
        return (sum(self.seconds(cell) for cell in cells) + sum(searches.values())) / max(1, min(jobs, len(cells)))

    def memory_mb(self, cells: Sequence[Cell], jobs: int) -> float:
        """Estimate the peak of all processes together: the most demanding cells at the same time."""
        needs = sorted((memory_mb(c.kind, c.resolved(), self._sizes[c.dataset, c.level]) for c in cells), reverse=True)
        return sum(needs[:jobs])


def rule_of_thumb(kind: str, params: Mapping[str, Any], size: Size) -> float:
    """Seconds to fit and rank on one current core, right within a factor of a few."""
    dim = int(params.get("embedding_dim") or params.get("factors") or 64)
    nodes = size.users + size.items
    iterations = int(params.get("iterations") or 1)
    fit = 0.0
    if kind in _IN_EPOCHS:
        fit = _trained_in_epochs(params, size, dim, nodes)
    elif kind == "als":
        fit = iterations * dim * (6e-9 * size.pairs + 3e-9 * nodes * dim)
    elif kind in ("bpr", "lmf"):
        fit = iterations * dim * size.pairs * {"bpr": 1.2e-8, "lmf": 3e-8}[kind]
    elif kind == "ease":
        # Beyond the limit the model refuses at once.
        fit = 2e-11 * size.items**3 if size.items <= _EASE_LIMIT else 0.0
    elif kind == "item-knn":
        fit = 2e-8 * size.pairs * (size.pairs / max(1, size.users))
    return 0.3 + fit + _RANK_PER_SCORE * size.users * size.items


def _trained_in_epochs(params: Mapping[str, Any], size: Size, dim: int, nodes: int) -> float:
    """Multiply the steps by what a step touches: the batch, the tables, the graph."""
    epochs = int(params.get("epochs") or 100)
    if params.get("patience"):
        # Training stops early, as a rule before three times what it waits for an improvement.
        epochs = min(epochs, 3 * int(params["patience"]) * int(params.get("validate_every") or 1))
    batch = params.get("batch_size")
    batch = batch if isinstance(batch, int) else min(8192, max(128, size.pairs // 48))
    encoder, layers = params.get("encoder", "graph"), int(params.get("n_layers") or 2)
    if encoder == "walk":
        step = 7e-9 * batch * int(params.get("walks") or 8) * layers * dim
    else:
        edges = 2 * size.pairs * layers if encoder == "graph" else 0
        step = dim * (1.5e-8 * nodes + 2e-8 * batch + 3.5e-10 * edges)
    return epochs * max(1.0, size.pairs / batch) * (1e-3 + step)


def memory_mb(kind: str, params: Mapping[str, Any], size: Size) -> float:
    """Peak memory of a process that fits the model, in MB."""
    dim = int(params.get("embedding_dim") or params.get("factors") or 64)
    tables = 4.0 * dim * (size.users + size.items) * {"buir": 8, "lightgcn": 8}.get(kind, 2)
    dense = 8.0 * 3 * size.items**2 if kind == "ease" and size.items <= _EASE_LIMIT else 0.0
    return _BASE_MB + (tables + dense + 100.0 * size.pairs) / 2**20


def _limited(seconds: float, cell: Cell, limit: float | None) -> float:
    return min(seconds, limit) if limit is not None and cell.kind in _IN_EPOCHS else seconds


def _trial_seconds(cell: Cell, free: float) -> float:
    return _limited(free, cell, cell.tuning.get("max_seconds") if cell.tuning else None)


def _trials(cell: Cell) -> int:
    if cell.tuning is None:
        return 0
    return int(cell.tuning["trials"]) if cell.tuning.get("space") else 1
