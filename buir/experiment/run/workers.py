"""Where work on cells is done: in this process, or in several that share the processor's cores."""

import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from buir.data import replace_atomically
from buir.errors import ExperimentError, one_line, shortage, warnings_in_one_line
from buir.experiment.config import BenchmarkConfig, models
from buir.experiment.records import Cell, Journal, available_cores
from buir.experiment.run.progress import Progress
from buir.experiment.run.run_cell import Bench, Work
from buir.experiment.run.sources import Sources

Failure = tuple[Cell, str]
"""What broke down, and why."""


def run_tasks(
    work: Work, tasks: Sequence[Sequence[Cell]], bench: Bench, observer: Progress, jobs: int
) -> list[Failure]:
    """Do the work on the cells of all tasks, here or in ``jobs`` processes; return what broke down.

    Raises
    ------
    ExperimentError
        If the system killed a process.
    """
    if jobs == 1:
        return [failure for task in tasks for failure in run_task(work, task, bench, observer)]
    return _run_in_processes(work, tasks, bench, observer, min(jobs, len(tasks))) if tasks else []


def run_task(work: Work, task: Sequence[Cell], bench: Bench, observer: Progress) -> list[Failure]:
    """Do the work on the cells of a task one after the other; a broken one does not stop the next."""
    failures = []
    for cell in task:
        observer.on_start(cell)
        file = bench.journal.folder / "failures" / f"{work.key(cell)}.txt"
        try:
            # Libraries limit their threads only once they are loaded.
            models.estimator_class(cell.kind)
            with threadpool_limits(bench.threads), warnings_in_one_line(partial(_warn, cell, bench)):
                work.do(cell, bench, partial(observer.on_step, cell))
            record = work.read(bench.journal, work.key(cell))
            assert record is not None  # it was written just now
        except Exception as error:  # noqa: BLE001 - one broken cell of hundreds must not end the others
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_atomically(file, f"{cell.title}\n\n{traceback.format_exc()}".encode())
            what = shortage(error) or type(error).__name__
            failures.append((cell, f"{what}: {one_line(error)} (see {file})"))
            observer.on_failure(*failures[-1])
        else:
            # What has succeeded since must not look broken.
            file.unlink(missing_ok=True)
            observer.on_record(cell, record)
    return failures


def _warn(cell: Cell, bench: Bench, text: str) -> None:
    """Say what a model thinks of its data once for all trials and seeds."""
    line = f"warning: {cell.dataset} {cell.train_pct} % {cell.model}: {text}"
    if line not in bench.warned:
        bench.warned.add(line)
        sys.stderr.write(f"{line}\n")


def _run_in_processes(
    work: Work, tasks: Sequence[Sequence[Cell]], bench: Bench, observer: Progress, jobs: int
) -> list[Failure]:
    """Run the tasks in fresh processes; each reads the data itself and gets its share of the cores."""
    context = multiprocessing.get_context("spawn")
    calls: Any = context.Queue()
    ours = set(multiprocessing.active_children())
    threads = max(1, available_cores() // jobs)
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (bench.config, bench.journal, threads, calls))
    try:
        futures = [pool.submit(_run_in_worker, work, task) for task in tasks]
        waiting = sum(len(task) for task in tasks)
        while waiting:
            try:
                method, arguments = calls.get(timeout=0.5)
            except queue.Empty:
                for future in futures:
                    if future.done():
                        future.result()
                continue
            getattr(observer, method)(*arguments)
            waiting -= method in ("on_record", "on_failure")
        pool.shutdown()
        return [failure for future in futures for failure in future.result()]
    except BrokenProcessPool as error:
        msg = (
            "a process that ran cells was killed, most likely because memory ran out; finished cells are kept: "
            "run the same command again with a smaller --jobs"
        )
        raise ExperimentError(msg) from error
    finally:
        for child in set(multiprocessing.active_children()) - ours:
            child.terminate()
        pool.shutdown(wait=False, cancel_futures=True)


class _Sender:
    """The observer in a worker process: what is called here is called in the parent."""

    def __init__(self, calls: Any) -> None:
        self._calls = calls

    def __getattr__(self, method: str) -> Callable[..., None]:
        return lambda *arguments: self._calls.put((method, arguments))


_here: tuple[Bench, Any] | None = None
"""In a worker process: its bench and its observer, set once by `_start_worker`."""


def _start_worker(config: BenchmarkConfig, journal: Journal, threads: int, calls: Any) -> None:
    global _here  # noqa: PLW0603 - a pool hands its initialiser no other place
    # Ctrl-C reaches the whole process group; the parent alone decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()
    torch.set_num_threads(threads)
    _here = Bench(config, journal, Sources(config, quiet=True), threads), _Sender(calls)


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


def _run_in_worker(work: Work, task: Sequence[Cell]) -> list[Failure]:
    assert _here is not None  # _start_worker ran before
    return run_task(work, task, *_here)
