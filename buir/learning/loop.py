"""One loop for every model that learns from batches of pairs."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from tqdm import TqdmWarning

from buir.data import of_some_users
from buir.errors import counted
from buir.graph import permutation, stream
from buir.learning.diagnostics import ScoreSample
from buir.ranking import Scorer, evaluate

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)  # a notebook without ipywidgets has no bar, which is no fault
    from tqdm.auto import tqdm

__all__ = ["Objective", "Outcome", "Pairs", "Progress", "Schedule", "Validation", "train", "training_device"]


class Objective(Protocol):
    """What the loop trains."""

    remedy: str
    """What to do about a training whose numbers leave the range of floats."""

    def step(self, users: Tensor, items: Tensor, key: int) -> Tensor:
        """Learn from a batch of pairs; return the mean loss, a scalar on the device, detached.

        One that is given pairs with weights takes those of the batch as well.
        """
        ...

    def validate(self) -> dict[str, Any]:
        """Return diagnostics of the present state and, where there is validation data, the metrics watched."""
        ...

    def snapshot(self) -> Any:
        """Copy what must come back if this state stays the best."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Take a snapshot's state."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How long to train, and when to stop."""

    epochs: int
    batch_size: int
    seed: int
    validate_every: int = 1
    """Epochs between two validations."""
    metric: str | None = None
    """Key of ``validate()`` to maximise; None trains all epochs and keeps the last state."""
    second: str | None = None
    """Another key to maximise, with a best state and a patience of its own: training goes on while one of the two has
    patience."""
    patience: int = 10
    """Non-improving validations after which training stops."""
    cumulative: bool = False
    """Count non-improving validations in total (the author's rule) instead of in a row."""
    first_epoch: int = 0
    """Epochs done before, by an earlier fit that is now continued: they decide the draws."""
    epochs_told: int = 0
    """Epochs that records count besides those done, where an earlier fit is not continued but has records."""
    start: bool = False
    """Validate the state before the first epoch as well: it is a candidate like every later one."""

    @property
    def flags(self) -> dict[str, str]:
        """Say which key of a record tells that a metric is best so far, by metric."""
        named = {} if self.metric is None else {self.metric: "best"}
        return named if self.second is None else named | {self.second: f"best_{self.second}"}


@dataclass(frozen=True, eq=False)
class Pairs:
    """The observed pairs on the training device."""

    users: Tensor
    """int64, shape (n_pairs,)."""
    items: Tensor
    """int64, shape (n_pairs,)."""
    weights: tuple[Tensor] | tuple[()] = ()
    """One tensor float32, shape (n_pairs,), with mean 1; nothing where pairs have no weights."""

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a training stands at the end of an epoch, besides the state of its objective."""

    epoch: int
    """Epochs done, as ``Schedule.first_epoch`` counts them: with the seed they decide all further draws."""
    history: list[dict[str, Any]]
    """The records so far, from which patience follows."""
    best: dict[str, Any]
    """The best snapshots by metric, as far as metrics are watched and a validation has come."""
    seconds: float
    """Since the start, all sittings together."""


class Outcome(NamedTuple):
    """What a training came to."""

    history: list[dict[str, Any]]
    """One record for each validation."""
    best: dict[str, Any]
    """The best snapshot by watched metric."""


class Validation:
    """Held-out pairs and the metric watched on them.

    Parameters
    ----------
    train, valid
        Matrices of one shape, whose pairs alone count; lists leave out ``train`` and are measured on ``valid``.
    metric
        Such as "ndcg_at_20".
    most_users
        Look at so many of the users with held-out pairs at most, evenly spaced; None looks at all.
    """

    def __init__(self, train: csr_array, valid: csr_array, metric: str, most_users: int | None = None) -> None:
        name, _, k = metric.rpartition("_at_")
        self.train, self.valid, self.metric, self.name, self.k = train, valid, metric, name, int(k)
        self.sample = ScoreSample(train, valid)
        if most_users is not None:
            self.valid = of_some_users(valid, most_users)

    def __call__(self, scorer: Scorer) -> dict[str, float]:
        """Rank and measure; also the share of the catalogue that the lists show."""
        means = evaluate(scorer, self.train, self.valid, ks=(self.k,), metrics=[self.name]).means
        return {self.metric: means[self.metric], f"coverage_at_{self.k}": means[f"coverage_at_{self.k}"]}

    def look(self, scorer: Scorer) -> dict[str, Any]:
        """Return quantiles of some scores, of the model itself without terms, as the history's ``scores``."""
        return {"scores": self.sample.quantiles(scorer)}


def train(
    objective: Objective,
    pairs: Pairs,
    schedule: Schedule,
    *,
    callback: Callable[[dict[str, Any]], bool | None] | None = None,
    show_progress: bool = True,
    progress: Progress | None = None,
    keep: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Run the epochs.

    Parameters
    ----------
    objective
        Model with its optimiser; ends in the state that was best by ``schedule.metric``.
    pairs
        What to learn from; each epoch goes through all of them once, in an order that depends on the seed and the epoch
        only.
    schedule
        Epochs, batches and stopping rule.
    callback
        Called with every record; returning True ends the training.
    show_progress
        Show a bar on a terminal or, with ipywidgets, in a notebook.
    progress
        Go on from there, with an objective that is in the state of that moment. The callback hears of its records
        first, so that it decides as if it had been there.
    keep
        Called with the progress at the end of every epoch.

    Returns
    -------
    Records with ``epoch``, ``loss`` (mean over the epoch), ``seconds`` (since the start), what ``validate`` returned,
    ``best`` (so far), and with a second metric ``best_`` and its name; and the best states.

    Raises
    ------
    FloatingPointError
        If the loss stops being a number, or the objective finds its state unsound.
    """
    history: list[dict[str, Any]] = [] if progress is None else list(progress.history)
    kept = {} if progress is None else dict(progress.best)
    first, last = schedule.first_epoch, schedule.first_epoch + schedule.epochs
    done = first if progress is None else progress.epoch
    started = time.perf_counter() - (0.0 if progress is None else progress.seconds)

    def ends(record: dict[str, Any]) -> bool:
        answer = None if callback is None else callback(record)
        return isinstance(answer, bool | np.bool_) and bool(answer)

    answers = [ends(record) for record in history]  # all are told, even after one that ends it
    if schedule.start and progress is None:
        record = {"epoch": schedule.epochs_told + first, "loss": math.nan, "seconds": 0.0}
        record |= objective.validate() | {"best": True} | dict.fromkeys(schedule.flags.values(), True)
        history.append(record)
        kept = dict.fromkeys(schedule.flags, objective.snapshot())
        if ends(record):
            return Outcome(history, kept)
    best, patient = _standing(history, schedule)
    stop = any(answers) or not patient
    bar = tqdm(
        range(done + 1, done + 1 if stop else last + 1),
        initial=done - first,
        total=schedule.epochs,
        disable=None if show_progress else True,
        unit="epoch",
        leave=False,
    )
    for epoch in bar:
        loss = run_epoch(objective, pairs, schedule.batch_size, stream(schedule.seed, epoch))
        validated = epoch % schedule.validate_every == 0 or epoch == last
        if validated:
            record = {"epoch": schedule.epochs_told + epoch, "loss": math.nan, "seconds": 0.0}
            try:
                record |= {
                    "loss": checked(loss, objective.remedy),
                    "seconds": time.perf_counter() - started,
                    **objective.validate(),
                }
            except FloatingPointError as error:
                steps = counted(-(-len(pairs) // schedule.batch_size), "step")
                msg = f"{error} (after epoch {record['epoch']}, {steps} each)"
                raise FloatingPointError(msg) from None
            better = [metric for metric in schedule.flags if record[metric] > best[metric]]
            record |= {"best": False} | {flag: metric in better for metric, flag in schedule.flags.items()}
            if better:
                kept = kept | dict.fromkeys(better, objective.snapshot())
            history.append(record)
            best, patient = _standing(history, schedule)
            bar.set_postfix({"loss": record["loss"]} | best)
        if keep is not None:
            keep(Progress(epoch, list(history), kept, time.perf_counter() - started))
        if validated and (ends(history[-1]) or not patient):
            break
    bar.close()
    if schedule.metric is not None and schedule.metric in kept:
        objective.restore(kept[schedule.metric])
    return Outcome(history, kept)


def _standing(history: list[dict[str, Any]], schedule: Schedule) -> tuple[dict[str, float], bool]:
    """Return the best value so far by metric, and whether one has patience: fewer misses than patience counts."""
    values, misses = {}, []
    for metric, flag in schedule.flags.items():
        best = [place for place, record in enumerate(history) if record[flag]]
        values[metric] = history[best[-1]][metric] if best else -math.inf
        since = best[-1] + 1 if best else 0
        misses.append(len(history) - (len(best) if schedule.cumulative else since))
    return values, not misses or min(misses) < schedule.patience


def run_epoch(objective: Objective, pairs: Pairs, batch_size: int, key: int) -> Tensor:
    """Go through all pairs once in a random order; return the mean loss, on the device."""
    step_with: Callable[..., Tensor] = objective.step
    order = permutation(len(pairs), key, pairs.users.device)
    total = torch.zeros((), device=pairs.users.device)
    for step, start in enumerate(range(0, len(pairs), batch_size)):
        batch = order[start : start + batch_size]
        weight = (part[batch] for part in pairs.weights)
        total += step_with(pairs.users[batch], pairs.items[batch], stream(key, step), *weight) * len(batch)
    return total / len(pairs)


def checked(loss: Tensor, remedy: str) -> float:
    """Bring the loss to the host and make sure that it is a number."""
    value = loss.item()
    if not np.isfinite(value):
        msg = f"the training loss became {value}: {remedy}"
        raise FloatingPointError(msg)
    return value


def training_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is CUDA if there is one.

    Raises
    ------
    ValueError
        If torch knows no such device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        msg = f"device is {name!r}; expected 'auto' or a device of torch, such as 'cpu' or 'cuda'"
        raise ValueError(msg) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        msg = f"device is {name!r}, but torch finds no CUDA here; expected 'auto' or 'cpu'"
        raise ValueError(msg)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        msg = (
            f"device is {name!r}, but torch finds CUDA devices 0 to {last} here; "
            f"expected 'auto' or one such as 'cuda:{last}'"
        )
        raise ValueError(msg)
    others = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device.type not in ("cpu", "cuda") and (others is None or device.type != others.type):
        msg = f"device is {name!r}, which torch does not find here; expected 'auto' or 'cpu'"
        raise ValueError(msg)
    return device
