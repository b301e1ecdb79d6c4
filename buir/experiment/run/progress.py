"""How long a benchmark takes, how much memory it needs, and how far it is: a bar on a terminal, lines in a file.

Seconds and memory are measured where possible, else by rule of thumb.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from operator import attrgetter
from statistics import fmean, median
from typing import Any

from tqdm.auto import tqdm

from buir.experiment.records import Cell, Record

_RANK_PER_SCORE = 3.0e-9  # seconds for one user and item, masking and sorting included
_CHOICE_PER_SCORE = 6e-8  # the same where the strengths of terms are chosen on validation pairs
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
        self._measured.setdefault((record.dataset, record.model, record.level), []).append(seconds)
        size = self._sizes.get((record.dataset, record.level))
        if size is not None and fitted and not record.capped:
            # A fit that the clock ended does not tell how long others take, nor do trials with all kinds of settings.
            thumb = rule_of_thumb(record.kind, record.params, size)
            self._ratios.setdefault(record.model, []).append(seconds / thumb)

    def seconds(self, cell: Cell) -> float:
        """Estimate one cell, without its share of a search."""
        return self._within(cell.fit_seconds, cell)

    def search_seconds(self, cell: Cell) -> float:
        """Estimate the search of a cell: as many fits as it has trials."""
        if cell.tuning is None:
            return 0.0
        trials = int(cell.tuning["trials"]) if cell.tuning.get("space") else 1
        return trials * self._within(cell.tuning.get("max_seconds"), cell)

    def _within(self, limit: float | None, cell: Cell) -> float:
        """Estimate a fit that a clock ends, if the model trains in epochs."""
        if measured := self._measured.get((cell.dataset, cell.model, cell.level)):
            free = fmean(measured)
        else:
            ratios = self._ratios.get(cell.model) or [r for found in self._ratios.values() for r in found] or [1.0]
            free = rule_of_thumb(cell.kind, cell.resolved, self._sizes[cell.dataset, cell.level]) * median(ratios)
        return min(free, limit) if limit is not None and cell.kind in _IN_EPOCHS else free

    def total(self, cells: Sequence[Cell], jobs: int) -> float:
        """Estimate all cells with their searches, one for each data set, level, model and split."""
        searches = {cell.search_key: self.search_seconds(cell) for cell in cells}
        return (sum(self.seconds(cell) for cell in cells) + sum(searches.values())) / max(1, min(jobs, len(cells)))

    def memory_mb(self, cells: Sequence[Cell], jobs: int) -> float:
        """Estimate the peak of all processes together: the most demanding cells at the same time."""
        needs = sorted((memory_mb(c.kind, c.resolved, self._sizes[c.dataset, c.level]) for c in cells), reverse=True)
        return sum(needs[:jobs])


def rule_of_thumb(kind: str, params: Mapping[str, Any], size: Size) -> float:
    """Seconds to fit and rank on one current core, right within a factor of a few."""
    dim, nodes = _dim(params), size.users + size.items
    iterations, fit = int(params.get("iterations") or 1), 0.0
    if kind in _IN_EPOCHS:
        fit = _trained_in_epochs(params, size)
    elif kind == "als":
        fit = iterations * dim * (6e-9 * size.pairs + 3e-9 * nodes * dim)
    elif kind in ("bpr", "lmf"):
        fit = iterations * dim * size.pairs * {"bpr": 1.2e-8, "lmf": 3e-8}[kind]
    elif kind == "ease":
        # Beyond the limit the model refuses at once.
        fit = 2e-11 * size.items**3 if size.items <= _EASE_LIMIT else 0.0
    elif kind == "low-rank-filter":
        carried = dim + 16
        fit = carried * (1.1e-8 * size.pairs + 3.5e-10 * nodes * carried)
    elif kind in ("item-knn", "item-filter"):
        fit = 2e-8 * size.pairs * (size.pairs / max(1, size.users))
    chosen = _CHOICE_PER_SCORE if params.get("terms") == "auto" else 0.0
    return 0.3 + fit + (_RANK_PER_SCORE + chosen) * size.users * size.items


def _trained_in_epochs(params: Mapping[str, Any], size: Size) -> float:
    """Multiply the steps by what a step touches: the batch, the tables, the graph."""
    asked = params.get("epochs")
    epochs = asked if isinstance(asked, int) else 100
    if params.get("patience"):
        # Training stops early, as a rule before three times what it waits for an improvement.
        epochs = min(epochs, 3 * int(params["patience"]) * int(params.get("validate_every") or 1))
    batch = params.get("batch_size")
    batch = batch if isinstance(batch, int) else min(8192, max(128, size.pairs // 48))
    dim, encoder, layers = _dim(params), params.get("encoder", "graph"), int(params.get("n_layers") or 2)
    if encoder == "walk":
        step = 7e-9 * batch * int(params.get("walks") or 8) * layers * dim
    else:
        edges = 2 * size.pairs * layers if encoder == "graph" else 0
        step = dim * (1.5e-8 * (size.users + size.items) + 2e-8 * batch + 3.5e-10 * edges)
    return epochs * max(1.0, size.pairs / batch) * (1e-3 + step)


def memory_mb(kind: str, params: Mapping[str, Any], size: Size) -> float:
    """Peak memory of a process that fits the model, in MB."""
    tables = 4.0 * _dim(params) * (size.users + size.items) * (8 if kind in _IN_EPOCHS else 2)
    dense = 8.0 * 3 * size.items**2 if kind == "ease" and size.items <= _EASE_LIMIT else 0.0
    return _BASE_MB + (tables + dense + 100.0 * size.pairs) / 2**20


def _dim(params: Mapping[str, Any]) -> int:
    asked = params.get("embedding_dim") or params.get("factors") or params.get("rank") or 64
    return 64 if asked == "auto" else int(asked)


@dataclass(eq=False)
class Progress:
    """Observer of a benchmark: no method raises; ``on_record`` may take long (it may talk to a server)."""

    cells: Sequence[Cell]
    """Those that will run, or whose settings will be searched."""
    forecast: Forecast
    """Learns from every finished one."""
    _: KW_ONLY
    jobs: int
    """Cells that run at the same time."""
    log: Callable[[Record], None]
    """Called with each finished record, before the bar moves on."""
    searches: bool = False
    """Whether it is the searches that are followed."""

    def __post_init__(self) -> None:
        self._waiting = {cell.key: cell for cell in self.cells}
        self._running: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._title = attrgetter("search_title" if self.searches else "title")
        self._seconds = self.forecast.search_seconds if self.searches else self.forecast.seconds
        form = "{desc} |{bar}| {n_fmt}/{total_fmt} {elapsed}{postfix}"
        self._bar = tqdm(total=len(self.cells), disable=None, bar_format=form, dynamic_ncols=True, leave=False)

    def on_start(self, cell: Cell) -> None:
        """Show what begins."""
        self._running[cell.key] = self._title(cell)
        self._since[cell.key] = time.monotonic()
        self._show()

    def on_step(self, cell: Cell, text: str) -> None:
        """Show how far it is."""
        self._running[cell.key] = f"{self._title(cell)}, {text}"
        self._show()

    def on_record(self, cell: Cell, record: Record) -> None:
        """Count a finished cell, and say what came out where no bar can be drawn."""
        self.forecast.learn(record)
        self.log(record)
        self._done(cell, outcome(record))

    def on_failure(self, cell: Cell, message: str) -> None:
        """Count a broken cell and say why."""
        self._done(cell, f"FAILED: {message}", always=True)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def left(self) -> float:
        """Estimate the seconds left."""
        now = time.monotonic()
        work = sum(self._seconds(cell) for cell in self._waiting.values())
        spent = sum(min(now - since, self._seconds(self._waiting[key])) for key, since in self._since.items())
        return max(0.0, work - spent) / max(1, min(self.jobs, len(self._waiting)))

    def _done(self, cell: Cell, text: str, *, always: bool = False) -> None:
        for known in (self._waiting, self._running, self._since):
            known.pop(cell.key, None)
        self._bar.update(1)
        if self._bar.disable or always:
            left = f" ({readable(self.left())} left)" if self._waiting else ""
            place = f"[{len(self.cells) - len(self._waiting)}/{len(self.cells)}]"
            tqdm.write(f"{place} {self._title(cell)}: {text}{left}", file=sys.stderr)
        self._show()

    def _show(self) -> None:
        self._bar.set_description_str(" | ".join(self._running.values()) or "done", refresh=False)
        self._bar.set_postfix_str(f"about {readable(self.left())} left")


def outcome(record: Record) -> str:
    """Say what a finished cell reached, or the best trial of a search on the validation part, and how long it took."""
    if not record.ok:
        return f"n/a: {record.reason}"
    if record.work == "search":
        best = f"best {record.tuning['metric']} {record.tuning['best_value']:.4f}"
        return f"{best}, {record.n_trials} trials, {record.tune_s:.1f} processor s"
    metric, value = next(iter(record.metrics.items()))
    return f"{metric} {value:.4f}, fitted in {record.fit_s:.1f} processor s, ranked in {record.rank_s:.1f} s"


def readable(seconds: float) -> str:
    """Write a duration with one or two units: ``8 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
