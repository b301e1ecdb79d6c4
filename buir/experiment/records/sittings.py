"""Fits of a benchmark that a later process goes on with."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from buir.errors import StorageError
from buir.model import BUIR, spent_seconds

__all__ = ["Sitting", "Sittings"]


@dataclass(frozen=True)
class Sitting:
    """One process's part of a fit."""

    options: dict[str, Any] = field(default_factory=dict)
    """What ``fit`` is given besides; nothing for a model that keeps no checkpoint."""
    spent: float = 0.0
    """Processor seconds of earlier processes."""


class Sittings:
    """Keeps checkpoints of fits of BUIR under a folder, where that is asked for.

    Writing them takes time, which counts as the fit's: without ``minutes`` nothing is kept, and only finished cells and
    trials are.

    Parameters
    ----------
    folder
        Where the checkpoints lie while their fits are not finished.
    minutes
        Least time between two writings; None keeps none.
    """

    def __init__(self, folder: Path, minutes: float | None = None) -> None:
        self.folder, self.minutes = folder, minutes

    @contextmanager
    def of(self, model: Any, name: str) -> Iterator[Sitting]:
        """Begin or go on with the fit of that name; its checkpoint is removed where it comes to an end, also a bad one.

        A checkpoint that cannot be read is removed before, and the fit begins anew.
        """
        if self.minutes is None or not isinstance(model, BUIR):
            yield Sitting()
            return
        told = json.dumps([name, model.get_params(), version("buir")], sort_keys=True)
        file = self.folder / f"{hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            spent = spent_seconds(file) if file.exists() else 0.0
        except StorageError:
            file.unlink()
            spent = 0.0
        try:
            yield Sitting({"checkpoint": file, "checkpoint_minutes": self.minutes, "resume": True}, spent)
        except Exception:
            file.unlink(missing_ok=True)
            raise
        file.unlink(missing_ok=True)
