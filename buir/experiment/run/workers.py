"""Where cells and searches run: in this process, or in several that share the processor's cores."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from threadpoolctl import threadpool_limits

from baselines import Refused
from buir.errors import shortage
from buir.experiment.config import models
from buir.experiment.records import Cell, Journal, WorkerDiedError, available_cores, replace_atomically
from buir.experiment.run.run_cell import refused_record, run_cell
from buir.experiment.run.sources import Sources
from buir.experiment.search import search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from buir.experiment.config import BenchmarkConfig
    from buir.experiment.search import Tuned

    Tell = Callable[[str, Cell, Any], None]
    """Takes ("start" | "step" | "record" | "failure", cell, text)."""

_STEP_EVERY = 0.5  # seconds between two reports of one cell


class Bench:
    """Runs tasks in one process and writes what comes out into the journal."""

    def __init__(
        self,
        config: BenchmarkConfig,
        journal: Journal,
        sources: Sources,
        threads: int | None = None,
        *,
        only_search: bool = False,
    ) -> None:
        self._config = config
        self._journal = journal
        self._sources = sources
        self._threads = threads
        self._warned: set[str] = set()
        self._only_searches = only_search

    def run(self, task: Sequence[Cell], tell: Tell) -> None:
        """Run the cells of a task one after the other, or only their searches; a broken one does not stop the next."""
        work = self._only_search if self._only_searches else self._fit
        for cell in task:
            tell("start", cell, "")
            failure = self._failure_file(cell)
            try:
                # Libraries limit their threads only once they are loaded.
                models.estimator_class(cell.kind)
                with threadpool_limits(self._threads), self._warnings_in_one_line(cell):
                    work(cell, tell)
            except Exception as error:  # noqa: BLE001 - one broken cell of hundreds must not end the others
                failure.parent.mkdir(parents=True, exist_ok=True)
                replace_atomically(failure, f"{cell.title}\n\n{traceback.format_exc()}".encode())
                what = shortage(error) or type(error).__name__
                tell("failure", cell, f"{what}: {' '.join(str(error).split())} (see {failure})")
            else:
                # What has succeeded since must not look broken.
                failure.unlink(missing_ok=True)
                tell("record", cell, cell.key)

    def _failure_file(self, cell: Cell) -> Path:
        """Where the traceback goes; a search and the fits that use it fail, and succeed, each for themselves."""
        key = cell.search_key if self._only_searches else cell.key
        return self._journal.folder / "failures" / f"{key}.txt"

    @contextmanager
    def _warnings_in_one_line(self, cell: Cell) -> Iterator[None]:
        """Say what a model thinks of its data once for all trials and seeds."""

        def show(message: Warning | str, category: type[Warning], *_: object) -> None:
            line = f"warning: {cell.dataset} {cell.train_pct} % {cell.model}: {' '.join(str(message).split())}"
            if issubclass(category, UserWarning) and line not in self._warned:
                self._warned.add(line)
                sys.stderr.write(f"{line}\n")

        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = show
            yield

    def _fit(self, cell: Cell, tell: Tell) -> None:
        split = self._sources.split(cell.dataset, cell.split_seed, cell.level)
        last = time.monotonic()

        def step(record: dict[str, Any]) -> None:
            nonlocal last
            if time.monotonic() - last > _STEP_EVERY:
                last = time.monotonic()
                tell("step", cell, f"epoch {record.get('epoch', '?')}")

        try:
            tuned = self._search(cell, tell)
            record, users, model = run_cell(cell, split, found=tuned.params if tuned else None, callback=step)
        except Refused as refusal:
            self._journal.write(refused_record(cell, split, refusal))
        else:
            kept = model if self._config.log_models and cell.kind == "buir" else None
            self._journal.write(replace(record, **tuned.record()) if tuned else record, users, kept)

    def _search(self, cell: Cell, tell: Tell) -> Tuned | None:
        """Search settings, if the configuration wants that; a second call reads what the first has found."""
        allowed = self._config.budget(cell.dataset)
        if allowed is None:
            return None
        split = self._sources.split(cell.dataset, cell.split_seed, cell.level)
        return search(cell, split, allowed, self._journal, lambda text: tell("step", cell, text))

    def _only_search(self, cell: Cell, tell: Tell) -> None:
        # A refusal is a result, and the search has recorded it.
        with suppress(Refused):
            self._search(cell, tell)


def run_here(
    tasks: Sequence[Sequence[Cell]],
    config: BenchmarkConfig,
    journal: Journal,
    sources: Sources,
    tell: Tell,
    *,
    only_search: bool = False,
) -> None:
    """Run all tasks in this process, with all its threads."""
    bench = Bench(config, journal, sources, only_search=only_search)
    for task in tasks:
        bench.run(task, tell)


def run_in_processes(
    tasks: Sequence[Sequence[Cell]],
    config: BenchmarkConfig,
    journal: Journal,
    jobs: int,
    tell: Tell,
    *,
    only_search: bool = False,
) -> None:
    """Run the tasks in ``jobs`` fresh processes; each reads the data itself and gets its share of the cores."""
    if not tasks:
        return
    jobs = min(jobs, len(tasks))
    context = multiprocessing.get_context("spawn")
    events: Any = context.Queue()
    ours = set(multiprocessing.active_children())
    threads = max(1, available_cores() // jobs)
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (config, journal.folder, threads, events, only_search))
    try:
        futures = [pool.submit(_work, task) for task in tasks]
        waiting = sum(len(task) for task in tasks)
        while waiting:
            try:
                what, cell, payload = events.get(timeout=0.5)
            except queue.Empty:
                for future in futures:
                    if future.done():
                        future.result()
                continue
            tell(what, cell, payload)
            waiting -= what in ("record", "failure")
        pool.shutdown()
    except BrokenProcessPool as error:
        msg = (
            "a process that ran cells was killed, most likely because memory ran out; finished cells are kept: "
            "run the same command again with a smaller --jobs"
        )
        raise WorkerDiedError(msg) from error
    finally:
        for child in set(multiprocessing.active_children()) - ours:
            child.terminate()
        pool.shutdown(wait=False, cancel_futures=True)


_bench: tuple[Bench, Any] | None = None
"""In a worker process: its bench and the queue of events, set once by `_start_worker`."""


def _start_worker(config: BenchmarkConfig, folder: Any, threads: int, events: Any, only_search: bool) -> None:  # noqa: FBT001
    global _bench  # noqa: PLW0603 - a pool hands its initialiser no other place
    # Ctrl-C reaches the whole process group; the parent alone decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()
    torch.set_num_threads(threads)
    _bench = Bench(config, Journal(folder), Sources(config), threads, only_search=only_search), events


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended.

    A parent that is killed cannot end its workers, and the next benchmark would run the same cells beside them.
    Nothing is lost: the journal is written all or nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # Ending in an orderly way would wait for the fit, and for a queue that nobody reads.
        os._exit(1)


def _work(task: Sequence[Cell]) -> None:
    assert _bench is not None  # _start_worker ran before
    bench, events = _bench
    bench.run(task, lambda what, cell, payload: events.put((what, cell, payload)))
