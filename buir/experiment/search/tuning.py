"""The same search budget for every model: seeded Optuna trials on validation data, resumable at any moment."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import Trial, TrialState

from baselines import Refused
from buir.experiment.records import Clock, cell_key
from buir.experiment.search import studies
from buir.ranking import evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from buir.data import Split
    from buir.experiment.search.spaces import SearchSpace

Build = Callable[[Mapping[str, Any]], Any]
"""From searched settings to an unfitted estimator, which holds the fixed ones already."""

_STARTUP = 5  # trials drawn at random, and trials that finish before any can be pruned
_WARM_UP = 10  # epochs before a trial is judged: a small learning rate starts slowly
_PRUNE_BELOW = 75.0  # per cent of the trials that are better at the same epoch


class TuningError(RuntimeError):
    """No trial of a search gave a value."""


@dataclass(frozen=True)
class Budget:
    """What every model may spend; equal budgets make a fair comparison."""

    trials: int
    """Finished trials for a model that has settings to search."""
    metric: str = "ndcg_at_20"
    """What is maximised on the validation part."""
    max_seconds: float | None = None
    """Seconds of training in a trial; a model that trains in epochs stops there and keeps its best weights."""
    seed: int = 0
    """Decides the settings tried and seeds every model that is tried."""


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    params: dict[str, Any]
    """The searched settings of the best trial."""
    value: float
    trials: list[dict[str, Any]]
    """Per finished trial: ``number``, ``params``, ``value`` (None if it failed), ``state``, ``seconds``, ``capped``, ``error``."""
    space: dict[str, Any]
    budget: Budget

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
                **vars(self.budget),
                "space": self.space,
                "best_params": self.params,
                "best_value": self.value,
                "results": self.trials,
            },
        }


def tune(
    build: Build,
    split: Split,
    space: SearchSpace,
    budget: Budget,
    folder: Path,
    *,
    on_trial: Callable[[int, int, float | None], Any] | None = None,
) -> Tuned:
    """Search a model's settings on the validation part of a split.

    The test part is never touched. Trial 0 is the model's default settings, so that a search cannot end below them on
    validation data. Finished trials lie in a SQLite file that is called after everything that decides them; the same call
    goes on where an earlier one was stopped, and comes to the same trials as one that was not.

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
    folder
        Where the SQLite file goes.
    on_trial
        Called after each finished trial with the number of finished ones, of all, and the best value so far.

    Raises
    ------
    Refused
        If the model declines these data.
    TuningError
        If every trial failed.

    Notes
    -----
    A trial counts once it is finished: completed, pruned (in or after its tenth epoch, worse than three quarters of the earlier ones at that epoch) or
    failed on account of its settings (a loss that is not a number, too little memory). One that was killed does not count.
    The search knows nothing of what was running when it was killed, and each trial draws from its own seed.
    """
    example = build({})
    defaults = {name: value for name, value in example.get_params().items() if name != "seed"}
    model = type(example).__name__
    file = folder / f"{search_key(model, defaults, split.digest, space, budget)}.db"
    wanted = budget.trials if len(space) else 1
    pruner = optuna.pruners.PercentilePruner(_PRUNE_BELOW, n_startup_trials=_STARTUP, n_warmup_steps=_WARM_UP)
    with studies.opened(file, pruner) as study:
        studies.give_up_running(study)
        while len(finished := studies.finished(study)) < wanted:
            _run_trial(study, len(finished), build, defaults, split, space, budget)
            if on_trial is not None:
                on_trial(len(finished) + 1, wanted, studies.best_value(study))
        trials = [studies.described(number, trial) for number, trial in enumerate(studies.finished(study)[:wanted])]
    complete = [trial for trial in trials if trial["value"] is not None and trial["state"] == "complete"]
    if not complete:
        reasons = "; ".join(dict.fromkeys(str(trial["error"]) for trial in trials))
        msg = f"none of {len(trials)} trials of {model} gave a value: {reasons}; change the search space or the data"
        raise TuningError(msg)
    best = max(complete, key=lambda trial: trial["value"])
    return Tuned(best["params"], best["value"], trials, space.describe(), budget)


def search_key(model: str, defaults: Mapping[str, Any], split_digest: str, space: SearchSpace, budget: Budget) -> str:
    """Digest what decides the trials; their number does not, so a larger budget continues a smaller one."""
    parts = {name: value for name, value in vars(budget).items() if name != "trials"}
    return cell_key(
        parts | {"model": model, "defaults": dict(defaults), "split": split_digest, "space": space.describe()}
    )


def _run_trial(
    study: optuna.Study,
    number: int,
    build: Build,
    defaults: Mapping[str, Any],
    split: Split,
    space: SearchSpace,
    budget: Budget,
) -> None:
    """Ask, fit, measure, tell."""
    # A generator for each trial: the state of one that ran on would be lost when the process is killed.
    seed = int(np.random.SeedSequence([budget.seed, number]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
    if number == 0:
        inside = {name: defaults[name] for name, setting in space.root.items() if setting.contains(defaults[name])}
        study.enqueue_trial(inside)
        trial = study.ask()
        # A default that the space cannot express ("auto") is tried all the same, only the sampler does not learn from it.
        params = {
            name: setting.suggest(trial, name) if name in inside else defaults[name]
            for name, setting in space.root.items()
        }
    else:
        trial = study.ask()
        params = space.suggest(trial)
    trial.set_user_attr("params", json.dumps(params))
    clock = Clock(budget.max_seconds)
    model, value, state, error = None, None, TrialState.COMPLETE, None
    try:
        model = build(params)
        value = _measure(model, split, budget, _watch(trial, budget, clock))
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except Refused:
        study.tell(trial, state=TrialState.FAIL)
        raise
    except (ValueError, RuntimeError, ArithmeticError, MemoryError) as failure:
        state, error = TrialState.FAIL, f"{type(failure).__name__}: {' '.join(str(failure).split())}"
    if value is not None and not math.isfinite(value):
        state, error = TrialState.FAIL, f"{budget.metric} is {value}: nobody could be measured on the validation part"
    trial.set_user_attr("seconds", clock.seconds)
    trial.set_user_attr("capped", clock.ended(model))
    if error is not None:
        trial.set_user_attr("error", error)
    study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)


def _measure(model: Any, split: Split, budget: Budget, watch: Callable[[dict[str, Any]], bool]) -> float:
    model.fit(split.train, split.valid, show_progress=False, callback=watch)
    name, _, k = budget.metric.rpartition("_at_")
    return evaluate(model, split.train, split.valid, ks=(int(k),), metrics=(name,)).means[budget.metric]


def _watch(trial: Trial, budget: Budget, clock: Clock) -> Callable[[dict[str, Any]], bool]:
    """Make the callback of a fit: it reports to Optuna, prunes, and ends the training when the time is up."""

    def watch(record: dict[str, Any]) -> bool:
        value, epoch = record.get(budget.metric), record.get("epoch")
        if value is not None and epoch is not None and math.isfinite(value):
            trial.report(float(value), int(epoch))
            if trial.should_prune():
                raise optuna.TrialPruned
        return clock.is_up(record)

    return watch
