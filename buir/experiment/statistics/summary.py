"""Intervals, paired tests and verdicts for one data set at one level.

How a number's uncertainty is found, in one place:

* A model's value is the mean over split seeds of the mean over test users of the mean over model seeds.
* **Users** are resampled (bootstrap), the same users for all models, and a user keeps all his values in all splits.
* **Runs**: with two or more split seeds, each split is a run (its own model seeds are inside it); with one split seed,
  each model seed is a run. A mean over few runs follows Student's t; that error is added to the resampled users' error.
  Splits are paired between models, model seeds are not.
* The **test** of a pair flips the signs of users' differences (all splits of a user together), corrected by Holm over
  its family: all pairs of a place for its leaders, all places for a panel.
* A **verdict** other than "ties" needs both: the corrected p-value at most alpha and an interval, over users and runs,
  that excludes zero. A tie says that no difference was shown, not that there is none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from itertools import combinations, product
from typing import Literal
from zlib import crc32

import numpy as np

from buir.experiment.statistics.place import PlaceValues
from buir.experiment.statistics.resampling import bootstrap_means, holm, run_error, sign_flip_p, student_draws

Verdict = Literal["wins", "ties", "loses"]


@dataclass(frozen=True)
class Interval:
    """A mean or a mean difference, and where it would plausibly lie with other users and other runs."""

    value: float
    low: float
    high: float
    n_users: int
    n_splits: int
    n_seeds: int
    """Fewest model seeds of a split."""
    users_error: float = 0.0
    """Standard error over users."""
    runs_error: float = 0.0
    """Standard error that the choice of runs adds; 0 where there was one."""

    @property
    def covers(self) -> tuple[str, ...]:
        """Sources of chance that the interval accounts for; what was run only once cannot be among them."""
        if self.n_splits > 1:
            return ("users", "split seeds", "model seeds")
        return ("users", "model seeds") if self.n_seeds > 1 else ("users",)


@dataclass(frozen=True)
class Leaders:
    """The model with the highest mean, and those that it was not shown to beat."""

    best: str
    ties: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the best first."""
        return (self.best, *self.ties)


@dataclass(frozen=True)
class Comparison:
    """One model against another: ``difference`` is model minus other."""

    model: str
    other: str
    metric: str
    difference: Interval
    ratio: float
    """The model's mean over the other's, in the splits that both have; NaN where the other's is 0."""
    p: float
    """Without correction."""
    p_holm: float = 1.0
    """Within its family."""
    verdict: Verdict = "ties"
    detectable: float = 0.0
    """The smallest true difference that would have been found with a chance of 80 %."""


def verdict_on(difference: Interval, p: float, alpha: float) -> Verdict:
    """Say whether a difference is shown: by a corrected p-value and by an interval that excludes zero."""
    if p <= alpha and difference.low > 0:
        return "wins"
    return "loses" if p <= alpha and difference.high < 0 else "ties"


@dataclass(eq=False, kw_only=True)
class Summary:
    """Everything that is said about one place."""

    values: PlaceValues = field(kw_only=False)
    confidence: float = 0.95
    """Coverage of the intervals; tests use alpha = 1 - confidence."""
    n_resamples: int = 2000
    """Bootstrap resamples of the users."""
    n_flips: int = 9999
    """Random sign patterns of the test of all pairs: the smallest possible p-value is 1 / (n_flips + 1)."""
    seed: int = 0
    """Everything drawn follows from it."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            msg = f"confidence is {self.confidence}, expected a share between 0 and 1, for example 0.95"
            raise ValueError(msg)

    def interval(self, model: str, metric: str) -> Interval:
        """Mean of one model with its interval. Metrics lie in [0, 1], which a mean plus an error does not know."""
        found = self._estimate(metric, model)
        return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))

    def intervals(self) -> dict[tuple[str, str], Interval]:
        """Means of all models in all metrics with their intervals."""
        return {place: self.interval(*place) for place in product(self.values.models, self.values.metrics)}

    def difference(self, model: str, other: str, metric: str) -> Interval:
        """Paired difference ``model - other`` with its interval, over the splits that both have."""
        return self._estimate(metric, model, other)

    def compare(
        self, pairs: Iterable[tuple[str, str]], metrics: Sequence[str], *, n_flips: int | None = None
    ) -> list[Comparison]:
        """Compare pairs of models that have a split in common, without correction; all see the same sign flips."""
        pairs = [pair for pair in pairs if self.values.splits(*pair)]
        return [
            Comparison(a, b, metric, self.difference(a, b, metric), self._ratio(a, b, metric), float(p))
            for metric, row in zip(metrics, self.p_values(pairs, metrics, n_flips), strict=True)
            for (a, b), p in zip(pairs, row, strict=True)
        ]

    def p_values(
        self, pairs: Sequence[tuple[str, str]], metrics: Sequence[str], n_flips: int | None = None
    ) -> np.ndarray:
        """Paired permutation tests over users, without correction: shape (n_metrics, n_pairs)."""
        columns = [self.values.column(metric) for metric in metrics]
        parts = np.zeros((len(metrics), len(pairs), len(self.values.users)))
        for position, pair in enumerate(pairs):
            # in one fixed order, so that both directions are the same numbers
            a, b = sorted(pair)
            splits = self._splits(a, b)
            for split in splits:
                differences = (self._users[a, split] - self._users[b, split])[:, columns]
                present = ~np.isnan(differences[:, 0])
                parts[:, position] += np.where(present, differences.T, 0.0) / (present.sum() * len(splits))
        contributions = parts.reshape(-1, len(self.values.users)).T
        found = sign_flip_p(contributions, n_flips or self.n_flips, self._rng("signs", *metrics))
        return found.reshape(len(metrics), len(pairs))

    def leaders(self, metric: str) -> Leaders:
        """Name the model with the highest mean, and those that it does not beat after correction over all pairs."""
        models, alpha = self.values.models, 1.0 - self.confidence
        best = max(models, key=lambda model: self.interval(model, metric).value)
        # the best one was picked from the data, so that all pairs are its family
        pairs = [pair for pair in combinations(models, 2) if self.values.splits(*pair)]
        adjusted = holm(self.p_values(pairs, [metric])[0])
        rivals = {(b if a == best else a): p for (a, b), p in zip(pairs, adjusted, strict=True) if best in (a, b)}
        differences = {other: self.difference(best, other, metric) for other in rivals}
        beaten = {other for other, p in rivals.items() if verdict_on(differences[other], p, alpha) == "wins"}
        return Leaders(best, tuple(model for model in models if model != best and model not in beaten))

    def _ratio(self, model: str, other: str, metric: str) -> float:
        splits, column = self._splits(model, other), self.values.column(metric)
        mine, its = (np.mean([self._means[name, s][column] for s in splits]) for name in (model, other))
        return float(mine / its) if its > 0 else float("nan")

    def _estimate(self, metric: str, *models: str) -> Interval:
        """Mean of one model, or of the first minus the second, with its interval."""
        here, column = self.values, self.values.column(metric)
        splits = self._splits(*models)
        value = np.mean([reduce(np.subtract, [self._means[m, s][column] for m in models]) for s in splits])
        draws = np.mean([reduce(np.subtract, [self._draws[m, s][:, column] for m in models]) for s in splits], axis=0)
        users_error = float(draws.std())
        if len(splits) > 1:
            # in one fixed order, so that b - a is the mirror image of a - b
            ordered = sorted(models)
            sign = 1.0 if ordered[0] == models[0] else -1.0
            users = [[self._users[m, s][:, column] for m in ordered] for s in splits]
            error, runs = self._run_draws(np.stack([reduce(np.subtract, u) for u in users]), *ordered, metric)
            draws, errors = draws + sign * runs, [error]
        else:
            seeds = [here.values[m, splits[0]][:, :, column] for m in models]
            errors, runs = zip(
                *(self._run_draws(part, m, metric) for m, part in zip(models, seeds, strict=True)), strict=True
            )
            draws = reduce(np.subtract, [draws + runs[0], *runs[1:]])
        tail = (1.0 - self.confidence) / 2
        low, high = value + np.quantile(draws, [tail, 1.0 - tail])
        n_users = int(np.logical_or.reduce([~np.isnan(here.train_degree[split]) for split in splits]).sum())
        n_seeds = min(len(here.values[place]) for place in product(models, splits))
        counts = (n_users, len(splits), n_seeds)
        return Interval(float(value), float(low), float(high), *counts, users_error, float(np.linalg.norm(errors)))

    def _splits(self, *models: str) -> list[int]:
        splits = self.values.splits(*models)
        if not splits:
            msg = (
                f"no finished split in common for {' and '.join(models)} on {self.values.dataset} at level "
                f"{self.values.level:g}; finished models: {list(self.values.models)}"
            )
            raise ValueError(msg)
        return splits

    @cached_property
    def _users(self) -> dict[tuple[str, int], np.ndarray]:
        """Each user's values averaged over model seeds, shape (n_users, n_metrics)."""
        return {place: self.values.user_values(*place) for place in self.values.values}

    @cached_property
    def _means(self) -> dict[tuple[str, int], np.ndarray]:
        """Observed means, shape (n_metrics,)."""
        return {place: np.nanmean(values, axis=0) for place, values in self._users.items()}

    @cached_property
    def _draws(self) -> dict[tuple[str, int], np.ndarray]:
        """Deviations of means over resampled users, the same for all, from the observed: (n_resamples, n_metrics)."""
        places = list(self.values.values)
        columns = np.concatenate([self._users[place] for place in places], axis=1)
        draws = bootstrap_means(columns, self.n_resamples, self._rng("users"))
        parts = np.split(draws, len(places), axis=1)
        return {place: part - self._means[place] for place, part in zip(places, parts, strict=True)}

    def _run_draws(self, runs: np.ndarray, *names: str) -> tuple[float, np.ndarray]:
        """Find the standard error over runs, and draw what it does to a mean."""
        error, freedom = run_error(runs)
        if error == 0.0:
            return 0.0, np.zeros(self.n_resamples)
        return error, error * student_draws(freedom, self.n_resamples, self._rng(*names))

    def _rng(self, *names: str) -> np.random.Generator:
        """Return a generator that depends on the seed and on what is drawn, not on the order of the questions."""
        return np.random.default_rng([self.seed, crc32("\0".join(names).encode())])
