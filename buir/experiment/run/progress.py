"""What runs, how far it is and how long is left: a bar on a terminal, lines in a file."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buir.experiment.records import Cell, Record
    from buir.experiment.run.costs import Forecast


class Progress:
    """Observer of a benchmark.

    Parameters
    ----------
    cells
        Those that will run, or whose settings will be searched.
    forecast
        Learns from every finished one.
    jobs
        Cells that run at the same time.
    outcome
        From a finished record to a few words.
    on_record
        Called with each finished record, before the bar moves on.
    searches
        Whether it is the searches that are followed.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        forecast: Forecast,
        *,
        jobs: int,
        outcome: Callable[[Record], str],
        on_record: Callable[[Record], None],
        searches: bool = False,
    ) -> None:
        self._waiting = {cell.key: cell for cell in cells}
        self._title = (lambda cell: cell.search_title) if searches else (lambda cell: cell.title)
        self._seconds = forecast.search_seconds if searches else forecast.seconds
        self._outcome = outcome
        self._running: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._forecast = forecast
        self._jobs = jobs
        self._on_record = on_record
        self._total = len(cells)
        form = "{desc} |{bar}| {n_fmt}/{total_fmt} {elapsed}{postfix}"
        self._bar = tqdm(total=self._total, disable=None, bar_format=form, dynamic_ncols=True, leave=False)

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
        self._forecast.learn(record)
        self._on_record(record)
        self._done(cell, self._outcome(record) if record.status == "ok" else f"n/a: {record.reason}")

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
        return max(0.0, work - spent) / max(1, min(self._jobs, len(self._waiting)))

    def _done(self, cell: Cell, outcome: str, *, always: bool = False) -> None:
        for known in (self._waiting, self._running, self._since):
            known.pop(cell.key, None)
        number = self._total - len(self._waiting)
        self._bar.update(1)
        if self._bar.disable or always:
            left = f" ({readable(self.left())} left)" if self._waiting else ""
            tqdm.write(f"[{number}/{self._total}] {self._title(cell)}: {outcome}{left}", file=sys.stderr)
        self._show()

    def _show(self) -> None:
        self._bar.set_description_str(" | ".join(self._running.values()) or "done", refresh=False)
        self._bar.set_postfix_str(f"about {readable(self.left())} left")


def fit_outcome(metric: str) -> Callable[[Record], str]:
    """Say of a finished cell what it reached and how long it took."""
    return lambda record: (
        f"{metric} {record.metrics[metric]:.4f}, fitted in {record.fit_s:.1f} processor s, ranked in {record.rank_s:.1f} s"
    )


def search_outcome(record: Record) -> str:
    """Say of a finished search what its best trial reached on the validation part."""
    tuning = record.tuning
    return (
        f"best {tuning['metric']} {tuning['best_value']:.4f}, {record.n_trials} trials, {record.tune_s:.1f} processor s"
    )


def readable(seconds: float) -> str:
    """Write a duration with one or two units: ``8 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
