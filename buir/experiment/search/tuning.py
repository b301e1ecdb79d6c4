"""The same search budget for every model: seeded Optuna trials on held-out pairs, resumable at any moment."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from buir.data import PairWeights, Split
from buir.errors import DamagedWarning, Refused, TuningError, one_line, report
from buir.experiment.config import TuningConfig
from buir.experiment.records import Cell, Clock, Journal, Record, Sittings, digest, set_aside
from buir.experiment.search.spaces import Space, as_json, contains, find_space
from buir.ranking import evaluate

Build = Callable[[Mapping[str, Any]], Any]
"""From searched settings to an unfitted estimator, which holds the fixed ones already."""

_STARTUP = 5  # trials drawn at random, and trials that finish before any can be pruned
_WARM_UP = 10  # epochs before a trial is judged: a small learning rate starts slowly
_SEAL = "digest_before"
_PRUNE_BELOW = 75.0  # per cent of the trials that are better at the same epoch


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    params: dict[str, Any]
    """The searched settings of the best trial."""
    value: float
    trials: list[dict[str, Any]]
    """As `_described` gives a trial; the value of one that failed is None."""
    space: dict[str, Any]
    budget: TuningConfig

    @property
    def seconds(self) -> float:
        """Time of all finished trials, whenever they ran."""
        return sum(trial["seconds"] for trial in self.trials)

    def record(self) -> dict[str, Any]:
        """Make the fields of a cell record: ``tune_s``, ``n_trials`` and everything about the search in ``tuning``."""
        return {
            "tune_s": self.seconds,
            "n_trials": len(self.trials),
            "tuning": {
                **self.budget.model_dump(exclude={"fit_seconds"}),
                "space": self.space,
                "best_params": self.params,
                "best_value": self.value,
                "results": self.trials,
            },
        }


def search(cell: Cell, split: Split, journal: Journal, on_trial: Callable[[str], object]) -> Tuned:
    """Search the settings of a cell's model with the held-out pairs that decide, or read what was found before.

    All cells of one ``search_key`` share the search; ``on_trial`` is told how far it is, such as "trial 3/20".

    Raises
    ------
    Refused
        If the model declines the data; the record says so.
    TuningError
        If every trial failed.
    """
    cell = cell.searched_as or cell
    asked = {name: value for name, value in (cell.tuning or {}).items() if name in TuningConfig.model_fields}
    budget = TuningConfig.model_validate(asked)
    record = Record.of(cell, split, key=cell.search_key, work="search")
    # The number of trials is not in the name: a larger budget continues a smaller one.
    endless = replace(cell, tuning={name: value for name, value in (cell.tuning or {}).items() if name != "trials"})
    try:
        tuned = tune(
            lambda found: replace(cell, params={**cell.params, **found}, seed=budget.seed).build(),
            split.inside(budget.seed) if cell.decided_on == "inner" else split,
            find_space(cell.kind, cell.fixed(), cell.model),
            budget,
            journal.tuning / f"{endless.search_key}.journal",
            on_trial=lambda done, wanted: on_trial(f"trial {done}/{wanted}"),
            sittings=journal.sittings,
            **cell.weights,
        )
    except Refused as refusal:
        journal.write(replace(record, status="refused", reason=one_line(refusal)))
        raise
    if journal.read_search(cell.search_key) is None:
        journal.write(replace(record, **tuned.record()))
    return tuned


def tune(
    build: Build,
    split: Split,
    space: Space,
    budget: TuningConfig,
    file: Path,
    *,
    on_trial: Callable[[int, int], Any] | None = None,
    weights: PairWeights = None,
    sittings: Sittings | None = None,
) -> Tuned:
    """Search a model's settings by the validation part of a split, or what stands in its place.

    The test part is never touched. Trial 0 is the model's default settings, so that a search cannot end below them on
    validation data. The same call goes on where an earlier one was stopped, and comes to the same trials as one that
    was not.

    Parameters
    ----------
    build
        Makes the estimator; its defaults are those of trial 0, and its ``seed`` should be ``budget.seed``.
    split
        ``train`` is learnt, ``valid`` decides.
    space
        What to search. Nothing to search: one trial.
    budget
        How much.
    file
        Keeps the trials, in Optuna's journal format; to be called after everything that decides them. One that is not
        as it was written is set aside in ``damaged``, beside its folder, and the search starts anew.
    on_trial
        Called after each finished trial with the number of finished ones and of all.
    weights
        Of the training pairs, for a model that takes them.
    sittings
        Keep the state of the trial that is running; None keeps finished trials alone.

    Raises
    ------
    Refused
        If the model declines these data.
    TuningError
        If every trial failed.

    Warns
    -----
    buir.errors.DamagedWarning
        If the file was set aside.

    Notes
    -----
    A trial counts once it is finished: completed, pruned (in or after its tenth epoch, worse than three quarters of
    the earlier ones at that epoch) or failed on account of its settings (a loss that is not a number, too little
    memory). One that was killed does not count. The search knows nothing of what was running when it was killed, and
    each trial draws from its own seed.
    """
    example = build({})
    defaults = {name: value for name, value in example.get_params().items() if name != "seed"}
    wanted = budget.trials if space else 1
    with _quiet():
        study = _opened(file)
        _give_up_running(study)
        while (done := len(_finished(study))) < wanted:
            _run_trial(study, done, build, defaults, split, space, budget, weights, sittings or Sittings(file.parent))
            _seal(study, file)
            if on_trial is not None:
                on_trial(done + 1, wanted)
        trials = [_described(number, trial) for number, trial in enumerate(_finished(study)[:wanted])]
    complete = [trial for trial in trials if trial["value"] is not None and trial["state"] == "complete"]
    if not complete:
        reasons = "; ".join(dict.fromkeys(str(trial["error"]) for trial in trials))
        msg = (
            f"none of {len(trials)} trials of {type(example).__name__} gave a value: {reasons}; "
            "change the search space or the data"
        )
        raise TuningError(msg)
    best = max(complete, key=lambda trial: trial["value"])
    return Tuned(best["params"], best["value"], trials, as_json(space), budget)


@contextmanager
def _quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _opened(file: Path) -> optuna.Study:
    """Open the study of a file, or make it; what is not as it was written is set aside."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        _check_seal(file)
        return _study(file)
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError) as error:
        aside = set_aside([file], file.parent.parent)
        why = f"holds no search as it was written ({type(error).__name__}: {one_line(error)[:200]})"
        report([DamagedWarning(f"{file} {why}: it is kept in {aside}, and the search starts anew")])
        return _study(file)


def _seal(study: optuna.Study, file: Path) -> None:
    """Add a line with the digest of all lines before it."""
    study.set_user_attr(_SEAL, digest(file.read_bytes()))


def _check_seal(file: Path) -> None:
    """Raise a ValueError if a line is no JSON, or what stands before the last seal is not what it sealed."""
    content = file.read_bytes() if file.exists() else b""
    for line in content[: content.rfind(b"\n") + 1].splitlines():  # the rest is of a process that was killed
        json.loads(line)  # Optuna would take the last one for half written, and write behind it
    start = content.rfind(b"\n", 0, max(0, content.rfind(f'"{_SEAL}"'.encode()))) + 1
    if start and json.loads(content[start:].partition(b"\n")[0])["user_attr"][_SEAL] != digest(content[:start]):
        msg = "its digest is another"
        raise ValueError(msg)


def _study(file: Path) -> optuna.Study:
    whole, _, rest = file.read_bytes().rpartition(b"\n") if file.exists() else (b"", b"", b"")
    if rest:
        # A process that was killed while it wrote left half a line, and the next one would be glued to it.
        with file.open("rb+") as stream:
            stream.truncate(len(whole) + bool(whole))
    path, name = str(file.absolute()), file.stem
    pruner = optuna.pruners.PercentilePruner(_PRUNE_BELOW, n_startup_trials=_STARTUP, n_warmup_steps=_WARM_UP)
    # The other lock is a symbolic link, which Windows does not give to everybody.
    storage = optuna.storages.JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))
    if name not in optuna.get_all_study_names(storage):
        return optuna.create_study(study_name=name, storage=storage, pruner=pruner, direction="maximize")
    study = optuna.load_study(study_name=name, storage=storage, pruner=pruner)
    for number, trial in enumerate(_finished(study)):
        _described(number, trial)  # whether each tells what is asked of it
    return study


def _give_up_running(study: optuna.Study) -> None:
    """Close the trials that were running, or waiting to run, when an earlier process ended."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        if trial.state == TrialState.WAITING:
            study.ask()
        study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count: completed, pruned, or failed for a reason of their own; not the killed ones."""
    counted = (TrialState.COMPLETE, TrialState.PRUNED)
    return [t for t in study.get_trials(deepcopy=False) if t.state in counted or "error" in t.user_attrs]


def _described(number: int, trial: FrozenTrial) -> dict[str, Any]:
    """Give a finished trial as plain data; a pruned one has the best value it reached."""
    value = trial.value
    if trial.state == TrialState.PRUNED:
        value = max(trial.intermediate_values.values(), default=None)
    return {
        "number": number,
        "params": json.loads(trial.user_attrs["params"]),
        "value": value,
        "state": trial.state.name.lower().replace("fail", "failed"),
        "seconds": trial.user_attrs["seconds"],
        "capped": trial.user_attrs["capped"],
        "error": trial.user_attrs.get("error"),
    }


def _run_trial(
    study: optuna.Study,
    number: int,
    build: Build,
    defaults: Mapping[str, Any],
    split: Split,
    space: Space,
    budget: TuningConfig,
    weights: PairWeights,
    sittings: Sittings,
) -> None:
    """Ask, fit, measure, tell."""
    # A generator for each trial: the state of one that ran on would be lost when the process is killed.
    seed = int(np.random.SeedSequence([budget.seed, number]).generate_state(1)[0])
    study.sampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if budget.sampler == "random"
        else optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
    )
    inside = space
    if number == 0:
        # A default that the space cannot express ("auto") is tried as well, only the sampler does not learn from it.
        inside = {name: setting for name, setting in space.items() if contains(setting, defaults[name])}
        study.enqueue_trial({name: defaults[name] for name in inside})
    trial = study.ask(inside)
    params = {name: trial.params.get(name, defaults[name]) for name in space}
    trial.set_user_attr("params", json.dumps(params))
    clock = Clock(budget.max_seconds)
    model, value, state, error = None, None, TrialState.COMPLETE, None
    try:
        model = build(params)
        heavy: dict[str, Any] = {} if weights is None else {"weights": weights}
        with sittings.of(model, f"{study.study_name}, trial {number}") as sitting:
            clock.spent = sitting.spent
            heavy |= sitting.options
            watch = _watch(trial, budget, clock)
            model.fit(split.train, split.valid, show_progress=False, callback=watch, **heavy)
            name, _, k = budget.metric.rpartition("_at_")
            value = evaluate(model, split.train, split.valid, ks=(int(k),), metrics=(name,)).means[budget.metric]
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except Refused:
        study.tell(trial, state=TrialState.FAIL)
        raise
    except (ValueError, RuntimeError, ArithmeticError, MemoryError) as failure:
        state, error = TrialState.FAIL, f"{type(failure).__name__}: {one_line(failure)}"
    trial.set_user_attr("seconds", clock.seconds)
    trial.set_user_attr("capped", clock.ended(model))
    if error is not None:
        trial.set_user_attr("error", error)
    study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)


def _watch(trial: Trial, budget: TuningConfig, clock: Clock) -> Callable[[dict[str, Any]], bool]:
    """Make the callback of a fit: it reports to Optuna, prunes, and ends the training when the time is up."""

    def watch(record: dict[str, Any]) -> bool:
        value, epoch = record.get(budget.metric), record.get("epoch")
        # what is tried beside or after it repeats epochs, and says nothing of how the trial ends
        tried = bool({"width", "branch", "watched", "began"} & set(record))
        if value is not None and epoch is not None and math.isfinite(value) and not tried:
            trial.report(float(value), int(epoch))
            if trial.should_prune():
                raise optuna.TrialPruned
        return clock.is_up(record)

    return watch
