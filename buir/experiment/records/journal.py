"""The local journal of finished cells and searches: one JSON file and one Parquet file each, written all or nothing."""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from buir.experiment.records.errors import JournalBusyError

try:
    import fcntl
except ImportError:  # not on Windows: two benchmarks in one folder then only waste time
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from buir.experiment.records.record import Record
    from buir.model import BUIR

Kind = Literal["benchmark", "tune"]
"""Of a plan."""


def cell_key(parts: Mapping[str, Any]) -> str:
    """Digest what defines a cell into 16 hexadecimal digits; the order of the parts does not matter."""
    text = json.dumps(_plain(parts), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Journal:
    """Records of cells under ``folder/cells``, of searches for settings under ``folder/searches``.

    Notes
    -----
    The JSON file is what makes a cell finished, and it is renamed into place after the other files: a process that is
    killed at any moment leaves either a whole cell or none. Several processes may write at once.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.cells = self.folder / "cells"
        self.searches = self.folder / "searches"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other benchmarks out of the folder; the lock ends with the process, however that ends.

        Raises
        ------
        JournalBusyError
            If another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as stream:
            if fcntl is not None:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    msg = f"another benchmark is writing to {self.folder}; wait for it, or choose another folder with --out"
                    raise JournalBusyError(msg) from error
            yield

    def write(self, record: Mapping[str, Any], users: pd.DataFrame | None = None, model: BUIR | None = None) -> None:
        """Store a finished cell, its per-user values (absent for a refused cell) and, if it is given, its fitted model."""
        key = record["key"]
        self.cells.mkdir(parents=True, exist_ok=True)
        if users is not None:
            replace_atomically(self.users_file(key), users.to_parquet(index=False, compression="zstd"))
        if model is not None:
            model.save(self.model_file(key))
        text = json.dumps(_plain(record), allow_nan=False)
        replace_atomically(self.cells / f"{key}.json", text.encode())

    def read(self, key: str) -> Record | None:
        """Return the record of a finished cell, or None; a cell whose per-user values are lost is not finished."""
        record = _read(self.cells, key)
        whole = record is None or record.get("status") != "ok" or _is_parquet(self.users_file(key))
        return record if whole else None

    def write_search(self, record: Mapping[str, Any]) -> None:
        """Store a finished search for settings."""
        self.searches.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_plain(record), allow_nan=False)
        replace_atomically(self.searches / f"{record['key']}.json", text.encode())

    def read_search(self, key: str) -> Record | None:
        """Return the record of a finished search, or None."""
        return _read(self.searches, key)

    def read_users(self, key: str) -> pd.DataFrame:
        """Return the per-user values of a cell: columns user, train_degree and one for each metric."""
        return pd.read_parquet(self.users_file(key))

    def users_file(self, key: str) -> Path:
        """Return where the per-user values of a cell lie."""
        return self.cells / f"{key}.parquet"

    def model_file(self, key: str) -> Path:
        """Return where the fitted model of a cell lies, if it was kept."""
        return self.cells / f"{key}.safetensors"

    def records(self, keys: Iterable[str] | None = None) -> Iterator[Record]:
        """Iterate over finished cells: those of ``keys`` in that order, or all."""
        chosen = sorted(p.stem for p in self.cells.glob("*.json")) if keys is None else keys
        for key in chosen:
            record = self.read(key)
            if record is not None:
                yield record

    def write_plan(self, plan: Mapping[str, Any], kind: Kind = "benchmark") -> None:
        """Remember what the latest benchmark, or tuning, was: its configuration and the keys of its cells or searches."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_atomically(self.plan_file(kind), json.dumps(_plain(plan), indent=1, allow_nan=False).encode())

    def read_plan(self, kind: Kind = "benchmark") -> dict[str, Any] | None:
        """Return the latest plan of a kind, or None if none ran here."""
        try:
            return json.loads(self.plan_file(kind).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def plan_file(self, kind: Kind = "benchmark") -> Path:
        """Return where the latest plan of a kind lies."""
        return self.folder / f"{kind}.json"


def _read(folder: Path, key: str) -> Record | None:
    try:
        record = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        # An unreadable file is no result: the work is done again and the file replaced.
        return None
    return record if isinstance(record, dict) and record.get("key") == key else None


def _is_parquet(file: Path) -> bool:
    """Look at both ends of a file, where Parquet writes its name: cut off or overwritten files lack it."""
    try:
        with file.open("rb") as stream:
            head = stream.read(4)
            stream.seek(-4, os.SEEK_END)
            return head == stream.read(4) == b"PAR1"
    except OSError:
        return False


def replace_atomically(file: Path, content: bytes) -> None:
    """Write beside ``file``, then rename: readers see the old content or the new, never a part."""
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Turn NumPy values, tuples and paths into JSON's types; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
