"""A fit's journal in one file, so that what one process began another ends, to the byte."""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from buir.data import Labelled
from buir.errors import Argument, CheckpointWarning, InputError, StorageError, counted, one_line, report
from buir.learning import BootstrapLearner, Outcome, Pairs, Progress, Schedule, Weights, train
from buir.model.contents import Contents, number, training_state
from buir.model.storage import CHECKPOINT, pack_ids, read_file, write_file

__all__ = ["Checkpoint", "spent_seconds"]

_LOG = logging.getLogger("buir.model")
_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError, RecursionError)
"""What comes of a file that is not what it says."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Noted:
    """All that is kept; never changed but replaced, at one moment, so that Ctrl-C finds it whole."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the names of the phases that led there, such as "inner/terms": what JSON holds of each result."""
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Of trainings after which another has begun, by name."""
    training: dict[str, Any] | None = None
    """Of the latest one: "name", "epoch", "seconds", "history"."""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """Of results, by name and field, and of the latest training: "training.weights.table", "state.target"."""

    @property
    def facts(self) -> dict[str, Any]:
        """What JSON holds."""
        return {"results": self.results, "histories": self.histories, "training": self.training}

    def without_training(self) -> "_Noted":
        kept = {name: array for name, array in self.arrays.items() if not name.startswith(("training.", "state."))}
        return replace(self, training=None, arrays=kept)

    def without(self, phase: str) -> "_Noted":
        """Leave out what phases within this one have noted."""
        inside = f"{phase}/"
        whole = self.without_training() if self.training and self.training["name"].startswith(inside) else self
        results, histories, arrays = (
            {name: value for name, value in kept.items() if not name.startswith(inside)}
            for kept in (whole.results, whole.histories, whole.arrays)
        )
        return replace(whole, results=results, histories=histories, arrays=arrays)


class Checkpoint:
    """What a fit has come to: the results of its finished phases, and the training that is going on.

    All of it is held in memory, a copy of the training's state among it, and written, whole or not at all, where so
    many minutes have passed since the last time, and when the fit ends, whatever ends it. What the file lacks is done
    again and comes out the same, since all draws follow from the seed and the epoch. Without a path nothing is held.

    Parameters
    ----------
    path
        The file; None keeps nothing.
    settings
        The hyper-parameters of the fit.
    minutes
        Least time between two writings; 0 writes after every phase and epoch.
    resume
        Go on from the file where there is one. Otherwise there must be none.

    Raises
    ------
    InputError
        If the file is of another version of the package or other settings, or is in the way.
    StorageError
        If it is no whole checkpoint.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        minutes: float = 10.0,
        resume: bool = False,
    ) -> None:
        _check_arguments(path, minutes, resume)
        self.path, self.minutes = None if path is None else Path(path), minutes
        self._noted, self._phases = _Noted(), [""]
        self._accepted, self._written = False, 0.0
        self._spent, self._opened = 0.0, time.process_time()
        if self.path is None:
            return
        self.facts: dict[str, Any] = {"version": version("buir"), "settings": dict(settings or {})}
        """What the fit is: another one does not go on from here."""
        if not self.path.exists():
            if resume:
                _LOG.info("%s is not there: the fit begins anew", self.path)
        elif resume:
            self._read(self.path)
        else:
            msg = f"{self.path} is there already; expected a free name: delete it to begin anew, or go on from it with "
            raise InputError(msg, Argument("resume", True), argument="checkpoint")

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Write what has come since the last time."""
        if self._accepted:
            self._try_to_write()
            if isinstance(error, KeyboardInterrupt):
                error.add_note(f"{self.path} keeps the best weights so far: resume=True goes on from there")

    def learns_from(self, labelled: Labelled, valid: Any) -> None:
        """Tell which pairs the fit learns from and which are held out, and write for the first time.

        Raises
        ------
        InputError
            If the file was made from other ones.
        StorageError
            If it cannot be written: that is found before the work.
        """
        if self.path is None:
            return
        told = {"pairs": _sizes(labelled.matrix), "valid": None if valid is None else _sizes(valid)}
        told["digest"] = _digest(labelled, valid)
        before = self.facts.setdefault("data", told)
        if before != told:
            came, held = _in_words(told), _in_words(before)
            held = "other pairs, as many" if came == held else held
            msg = f"{self.path} was made from {held}, and this fit has {came}; expected the same data: give those, or "
            raise InputError(msg, "another ", Argument("checkpoint"))
        self._write()
        self._accepted = True

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Name the phases of this block as those within another."""
        self._phases.append(f"{self._phases[-1]}{name}/")
        try:
            yield
        finally:
            self._phases.pop()

    def once(self, name: str, make: Callable[[], Result], kind: type[Result], **shapes: tuple[int, ...]) -> Result:
        """Return the result of a phase, made now or by an earlier process.

        Parameters
        ----------
        name
            Of the phase; a phase within it has this name before its own.
        make
            Works the result out. What phases within it have noted is forgotten once it is there.
        kind
            The dataclass that the result is; its fields are tensors or what JSON can hold.
        shapes
            Of its tensors, by field.
        """
        if self.path is None:
            return make()
        name = self._phases[-1] + name
        if name in self._noted.results:
            return self._checked(lambda: self._result(name, kind, shapes))
        self._phases.append(f"{name}/")
        try:
            result = make()
        finally:
            self._phases.pop()
        arrays = {f"{name}.{part}": _array(getattr(result, part)) for part in shapes}
        told = {part: value for part, value in vars(result).items() if part not in shapes}
        noted = self._noted.without(name)
        self._note(replace(noted, results=noted.results | {name: told}, arrays=noted.arrays | arrays))
        return result

    def train(
        self,
        name: str,
        learner: BootstrapLearner,
        pairs: Pairs,
        schedule: Schedule,
        *,
        callback: Callable[[dict[str, Any]], bool | None] | None,
        show_progress: bool,
    ) -> Outcome:
        """Train as ``learning.train`` does, from where an earlier process was if there was one.

        Of a training after which another has begun only the records are kept: the learner stays as it is, and there is
        no best state.
        """
        if self.path is None:
            return train(learner, pairs, schedule, callback=callback, show_progress=show_progress)
        name, latest, progress = self._phases[-1] + name, self._noted.training, None
        if name in self._noted.histories:
            return Outcome(self._checked(lambda: _records(self._noted.histories[name], schedule)), {})
        if latest is not None and latest["name"] == name:
            progress = self._checked(lambda: self._resumed(latest, learner, schedule))
            _LOG.info("%s: %s goes on after epoch %d", self.path, name, progress.epoch)
        elif latest is not None:
            rest = self._noted.without_training()
            self._noted = replace(rest, histories=rest.histories | {latest["name"]: latest["history"]})

        def keep(progress: Progress) -> None:
            told = {"name": name, "epoch": progress.epoch, "seconds": progress.seconds, "history": progress.history}
            weights = {"weights": learner.snapshot()}
            weights |= {f"best.{metric}": snapshot for metric, snapshot in progress.best.items()}
            parts = {f"training.{which}.{part}": t for which, held in weights.items() for part, t in vars(held).items()}
            parts |= {f"state.{part}": tensor for part, tensor in learner.state(progress.epoch).tensors.items()}
            arrays = {part: _array(tensor) for part, tensor in parts.items()}
            rest = self._noted.without_training()
            self._note(replace(rest, training=told, arrays=rest.arrays | arrays))

        return train(
            learner, pairs, schedule, callback=callback, show_progress=show_progress, progress=progress, keep=keep
        )

    def _resumed(self, told: dict[str, Any], learner: BootstrapLearner, schedule: Schedule) -> Progress:
        """Put a learner into the state of the latest training, and say how far that was."""
        held, mine = Contents(self._noted.arrays), learner.bootstrap.weights

        def weights(which: str) -> Weights:
            shapes = {part: tuple(tensor.shape) for part, tensor in vars(mine).items()}
            parts = {part: held.take(f"training.{which}.{part}", *shape) for part, shape in shapes.items()}
            return Weights(**{part: torch.from_numpy(array) for part, array in parts.items()}).to(mine.table.device)

        epoch, seconds = number(told, "epoch", int, schedule.first_epoch + 1), number(told, "seconds", float, 0)
        history = _records(told["history"], schedule)
        n_nodes, width = mine.table.shape
        reached = [metric for metric, flag in schedule.flags.items() if any(record[flag] for record in history)]
        best = {metric: weights(f"best.{metric}") for metric in reached}
        state = training_state(held, epoch, width, n_nodes, predictor=learner.bootstrap.predictor, waiting=True)
        learner.restore(weights("weights"))
        learner.resume(state)
        return Progress(epoch, history, best, seconds)

    def _result(self, name: str, kind: type[Result], shapes: Mapping[str, tuple[int, ...]]) -> Result:
        """Build a result from what the file holds of it, each field checked by its type."""
        told, hints, held = self._noted.results[name], get_type_hints(kind), Contents(self._noted.arrays)
        for part, value in told.items():
            if not _fits(value, hints[part]):
                msg = f"{part} of {name} is {value!r}"[:150]
                raise TypeError(msg)
        return kind(**told, **{part: torch.from_numpy(held.take(f"{name}.{part}", *shapes[part])) for part in shapes})

    def _checked(self, read: Callable[[], Result]) -> Result:
        """Read something, all that can be wrong with it said in one sentence."""
        try:
            return read()
        except _WRONG as error:
            what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else one_line(error)[:300]
            wanted = f"expected what {CHECKPOINT.writer} writes: {CHECKPOINT.again}"
            msg = f"{self.path} is no whole checkpoint ({what}); {wanted}"
            raise StorageError(msg) from error

    def _read(self, path: Path) -> None:
        _, arrays, facts = read_file(path, CHECKPOINT)
        ours, written = self.facts["version"], facts.get("version")
        if written != ours:
            msg = (
                f"{path} was written by buir {str(written)[:60]}, and this is buir {ours}; expected the same version: "
            )
            raise InputError(msg, "go on with that one, or give another ", Argument("checkpoint"))
        held, settings = facts.get("settings"), self.facts["settings"]
        if held != settings:
            held = held if isinstance(held, dict) else {}
            names = [name for name in {**settings, **held} if settings.get(name) != held.get(name)][:5]
            made, asked = (", ".join(f"{name}={of.get(name)!r}"[:80] for name in names) for of in (held, settings))
            msg = f"{path} was made with {made}, and this fit has {asked}; expected the same settings: take those, or "
            raise InputError(msg, "give another ", Argument("checkpoint"))

        def taken() -> _Noted:
            results, histories, training = facts["results"], facts["histories"], facts["training"]
            named = [results, *results.values(), histories, {"name": ""} if training is None else training]
            if not all(isinstance(part, dict) for part in named) or not isinstance(named[-1]["name"], str):
                msg = "its results have no names"
                raise TypeError(msg)
            return _Noted(results, histories, training, arrays)

        self._noted = self._checked(taken)
        self._spent = self._checked(lambda: number(facts, "processor_seconds", float, 0))
        self.facts["data"] = facts.get("data")

    def _note(self, noted: _Noted) -> None:
        """Keep it, and write where it is time."""
        self._noted = noted
        if time.monotonic() - self._written >= 60 * self.minutes:
            self._try_to_write()

    def _write(self) -> None:
        assert self.path is not None
        self._written = time.monotonic()
        spent = {"processor_seconds": self._spent + time.process_time() - self._opened}
        write_file(self.path, self._noted.arrays, self.facts | spent | self._noted.facts, CHECKPOINT)

    def _try_to_write(self) -> None:
        """Write, or warn: a full disk does not end hours of training, and the earlier file is still whole."""
        try:
            self._write()
        except StorageError as error:
            report([CheckpointWarning(f"{error}; training goes on, and the checkpoint is as it was before")])


def spent_seconds(path: Path) -> float:
    """Return the processor seconds that what a checkpoint holds has taken, all processes together.

    Raises
    ------
    StorageError
        If it is no whole checkpoint.
    """
    _, _, facts = read_file(path, CHECKPOINT)
    return float(facts.get("processor_seconds", 0.0))


def _check_arguments(path: Any, minutes: Any, resume: Any) -> None:
    if not isinstance(path, str | os.PathLike | None):
        msg = f"checkpoint is {path!r:.60}; expected the path of a file, or None"
        raise InputError(msg, argument="checkpoint")
    sound = isinstance(minutes, float | int) and not isinstance(minutes, bool) and 0 <= minutes < float("inf")
    if not sound:
        msg = f" is {minutes!r}; expected a number from 0, the least minutes between two writings of the checkpoint"
        raise InputError(Argument("checkpoint_minutes"), msg)
    if path is None and resume:
        msg = " goes on from a file, and none is given; expected "
        raise InputError(Argument("resume"), msg, Argument("checkpoint"), " with its path")


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether what JSON gave is of an annotated type."""
    if hint is Any:
        return True
    if isinstance(hint, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(_fits(each, get_args(hint)[1]) for each in value.values())
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(each, get_args(hint)[0]) for each in value)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _records(history: Any, schedule: Schedule) -> list[dict[str, Any]]:
    """Return the records of a training, which hold what the loop asks of them."""
    for record in history:
        number(record, "epoch", int, 0)
        number(record, "seconds", float, 0)
        told = {"best": bool, "loss": float}
        told |= dict.fromkeys(schedule.flags.values(), bool) | dict.fromkeys(schedule.flags, float)
        for name, kind in told.items():
            if not _fits(record[name], kind):
                msg = f"{name} of a record is {record[name]!r}"[:100]
                raise TypeError(msg)
    return history


def _sizes(matrix: Any) -> list[int]:
    return [int(matrix.nnz), *map(int, matrix.shape)]


def _in_words(data: Any) -> str:
    """Say how much data that is."""
    try:
        n_pairs, n_users, n_items = data["pairs"]
        sizes = f"{counted(n_pairs, 'pair')} of {counted(n_users, 'user')} and {counted(n_items, 'item')}"
        return f"{sizes}, {'none' if data['valid'] is None else format(data['valid'][0], ',')} held out"
    except _WRONG:
        return "nothing that can be read"


def _digest(labelled: Labelled, valid: Any) -> str:
    """Tell data apart: pairs, their weights, ids and held-out pairs."""
    digest = hashlib.blake2b(digest_size=16)
    arrays: dict[str, np.ndarray] = {}
    for name, matrix in (("train", labelled.matrix), ("valid", valid)):
        if matrix is not None:
            arrays |= {f"{name}.{part}": getattr(matrix, part) for part in ("indptr", "indices", "data")}
    for name in ("user_ids", "item_ids"):
        if (ids := getattr(labelled, name)) is not None:
            arrays |= pack_ids(name, ids)
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
