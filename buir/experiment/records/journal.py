"""The local journal of finished cells and searches: one JSON file and one Parquet file each, written all or nothing."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from filelock import FileLock, Timeout

from buir.data import remove_leftovers, replace_atomically
from buir.errors import ConfigError, ExperimentError
from buir.experiment.config import suggestion
from buir.experiment.records.record import Record, plain
from buir.experiment.records.sittings import Sittings
from buir.model import BUIR

Kind = Literal["benchmark", "tune"]
"""Of a plan."""
_PLAN = {"benchmark": {"name", "keys"}, "tune": {"searches"}}
"""What every plan of a kind tells at least."""
RESULTS = Path("results")
"""Where the command line writes unless it is told otherwise."""


class Journal:
    """Records of cells under ``folder/cells``, of searches for settings under ``folder/searches``.

    ``folder/tuning`` has the trials of searches, finished or not.

    Notes
    -----
    The JSON file is what makes a cell finished, and it is renamed into place after the other files: a process that is
    killed at any moment leaves either a whole cell or none. Several processes may write at once. With
    ``checkpoint_minutes`` fits that are not finished are kept as well, see ``Sittings``.
    """

    def __init__(self, folder: str | Path, checkpoint_minutes: float | None = None) -> None:
        self.folder = Path(folder)
        self.sittings = Sittings(self.folder / "checkpoints", checkpoint_minutes)
        self.cells = self.folder / "cells"
        self.searches = self.folder / "searches"
        self.tuning = self.folder / "tuning"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other benchmarks out of the folder; the lock ends with the process, however that ends.

        Raises
        ------
        ExperimentError
            If another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self.folder / ".lock", timeout=0).acquire()
        except Timeout as error:
            msg = f"another benchmark is writing to {self.folder}; wait for it, or choose another folder with --out"
            raise ExperimentError(msg) from error
        with lock:
            yield

    def write(self, record: Record, users: pd.DataFrame | None = None, model: BUIR | None = None) -> None:
        """Store a finished search, or cell with its per-user values (none of a refused one) and its model, if kept."""
        key, folder = record.key, self.cells if record.work == "cell" else self.searches
        folder.mkdir(parents=True, exist_ok=True)
        if users is not None:
            content = users.to_parquet(index=False, compression="zstd")
            replace_atomically(self.users_file(key), content)
            record = replace(record, users_digest=digest(content))
        if model is not None:
            model.save(self.model_file(key))
        replace_atomically(folder / f"{key}.json", record.to_json().encode())

    def read(self, key: str) -> Record | None:
        """Return the record of a finished cell, or None; a cell whose per-user values are lost is not finished."""
        record = _read(self.cells, key)
        whole = record is None or record.status != "ok" or _is_parquet(self.users_file(key))
        return record if whole else None

    def read_search(self, key: str) -> Record | None:
        """Return the record of a finished search, or None."""
        return _read(self.searches, key)

    def read_users(self, key: str) -> pd.DataFrame:
        """Return the per-user values of a cell: columns user, train_degree and one for each metric.

        Raises
        ------
        ExperimentError
            If they are not those that were written.
        """
        content, record = self.users_file(key).read_bytes(), self.read(key)
        if record is not None and record.users_digest not in (None, digest(content)):
            msg = f"{self.users_file(key)} is not what was written; run the benchmark again, which sets it aside"
            raise ExperimentError(msg)
        return pd.read_parquet(io.BytesIO(content))

    def heal(self, say: Callable[[str], object]) -> None:
        """Set aside, in ``damaged/``, what is not as it was written, and remove what killed processes were writing.

        Nobody else may be writing. What is set aside is not finished: it is run again.

        Parameters
        ----------
        say
            Told of each.
        """
        for folder in (self.folder, self.cells, self.searches, self.tuning):
            if folder.is_dir():
                remove_leftovers(folder)
        if self.plan_file().is_file() and self.read_plan() is None:
            self._set_aside([self.plan_file()], "is no plan of a benchmark", say)
        for folder in (self.cells, self.searches):
            for file in sorted(folder.glob("*.json")):
                record = _read(folder, file.stem)
                if record is None:
                    self._set_aside([file], "is no record as it was written", say)
                elif record.work == "cell" and record.ok and not self._has_users(record):
                    users = [self.users_file(record.key)]
                    self._set_aside([file, *users], "has not the per-user values that were written with it", say)

    def _has_users(self, record: Record) -> bool:
        file = self.users_file(record.key)
        if record.users_digest is None or not file.is_file():
            return _is_parquet(file)
        return digest(file.read_bytes()) == record.users_digest

    def _set_aside(self, files: list[Path], why: str, say: Callable[[str], object]) -> None:
        aside = set_aside(files, self.folder)
        say(f"warning: {files[0]} {why}: it is kept in {aside}, and what it was is run again.")

    def users_file(self, key: str) -> Path:
        """Return where the per-user values of a cell lie."""
        return self.cells / f"{key}.parquet"

    def model_file(self, key: str) -> Path:
        """Return where the fitted model of a cell lies, if it was kept."""
        return self.cells / f"{key}.safetensors"

    def records(self, keys: Iterable[str] | None = None) -> Iterator[Record]:
        """Iterate over finished cells: those of ``keys`` in that order, or all."""
        chosen = sorted(p.stem for p in self.cells.glob("*.json")) if keys is None else keys
        return filter(None, map(self.read, chosen))

    def write_plan(self, plan: Mapping[str, Any], kind: Kind = "benchmark") -> None:
        """Remember the latest benchmark, or tuning: its configuration and the keys of its cells or searches."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_atomically(self.plan_file(kind), json.dumps(plain(plan), indent=1, allow_nan=False).encode())

    def read_plan(self, kind: Kind = "benchmark") -> dict[str, Any] | None:
        """Return the latest plan of a kind, or None if none ran here, or what is there is none."""
        try:
            plan = json.loads(self.plan_file(kind).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return plan if isinstance(plan, dict) and plan.keys() >= _PLAN[kind] else None

    def experiments(self) -> list[str]:
        """Name the experiments of MLflow that the plans of this folder write."""
        plans = [plan for plan in (self.read_plan(), self.read_plan("tune")) if plan]
        return list(dict.fromkeys(experiment_name(p["name"], d) for p in plans for d in p.get("datasets", ())))

    def plan_file(self, kind: Kind = "benchmark") -> Path:
        """Return where the latest plan of a kind lies."""
        return self.folder / f"{kind}.json"


def set_aside(files: Iterable[Path], folder: Path) -> Path:
    """Move files that are not as they were written to ``folder/damaged``, as far as they are there; return where."""
    aside = folder / "damaged"
    aside.mkdir(exist_ok=True)
    for file in files:
        if file.exists():
            file.replace(aside / file.name)
    return aside


def digest(content: bytes) -> str:
    """Return 32 hexadecimal digits by which a content is known again: they find accidents, not intent."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def experiment_name(benchmark: str, dataset: str) -> str:
    """Name what MLflow shows of a benchmark on a data set."""
    return f"buir-{benchmark}-{dataset}"


def latest_results(root: Path = RESULTS) -> Path:
    """Find the folder of the benchmark that was written last.

    Raises
    ------
    ConfigError
        If there is none.
    """
    found = _folders(root)
    if not found:
        msg = f"no results in ./{root}; run buir benchmark first, or name their folder with --out"
        raise ConfigError([msg])
    return found[-1]


def find_results(name: str, root: Path = RESULTS) -> Path:
    """Find the folder of a benchmark.

    Parameters
    ----------
    name
        A folder; the name of a benchmark under ``root``, such as "quickstart"; or the name that MLflow shows for it
        on a data set, such as "buir-quickstart-synthetic".
    root
        Where the benchmarks are.

    Raises
    ------
    ConfigError
        If nothing is called so.
    """
    folders = _folders(root)
    known: dict[str, Path] = {}
    for folder in folders:
        if plan := Journal(folder).read_plan():
            known |= {experiment_name(plan["name"], dataset): folder for dataset in plan["datasets"]}
            known[plan["name"]] = folder
    # A folder's own name comes before what the benchmark of another one is called.
    known |= {folder.name: folder for folder in folders}
    if name in known:
        return known[name]
    if Path(name).is_dir():
        return Path(name)
    names = suggestion(name, known) if known else ": there are no results at all; run buir benchmark first"
    msg = f"{name}: neither a folder nor a benchmark in ./{root}{names}"
    raise ConfigError([msg])


def _folders(root: Path) -> list[Path]:
    """List the folders that hold a benchmark, the latest last."""
    plans = sorted(root.glob("*/benchmark.json"), key=lambda file: file.stat().st_mtime)
    return [plan.parent for plan in plans]


def _read(folder: Path, key: str) -> Record | None:
    try:
        record = Record.from_json((folder / f"{key}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        # An unreadable file is no result: the work is done again and the file replaced.
        return None
    return record if record.key == key else None


def _is_parquet(file: Path) -> bool:
    """Look at both ends of a file, where Parquet writes its name: cut off or overwritten files lack it."""
    try:
        with file.open("rb") as stream:
            head = stream.read(4)
            stream.seek(-4, os.SEEK_END)
            return head == stream.read(4) == b"PAR1"
    except OSError:
        return False
