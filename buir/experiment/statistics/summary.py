"""Intervals, paired tests and verdicts for one data set at one level.

How a number's uncertainty is found, in one place:

* A model's value is the mean over split seeds of the mean over test users of the mean over model seeds.
* **Users** are resampled (bootstrap), the same users for all models, and a user keeps all his values in all splits.
* **Runs**: with two or more split seeds, each split is a run (its own model seeds are inside it); with one split seed,
  each model seed is a run. A mean over few runs follows Student's t; that error is added to the resampled users' error.
  Splits are paired between models, model seeds are not.
* The **test** of a pair flips the signs of users' differences (all splits of a user together), corrected over models
  by Holm.
* A **verdict** other than "ties" needs both: the corrected p-value at most alpha and an interval, over users and runs,
  that excludes zero. A tie says that no difference was shown, not that there is none.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from itertools import combinations, product
from typing import Literal
from zlib import crc32

import numpy as np

from buir.experiment.statistics.panel import Panel
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
    p: float
    p_holm: float
    verdict: Verdict


@dataclass(eq=False, kw_only=True)
class Summary:
    """Everything that is said about one panel."""

    panel: Panel = field(kw_only=False)
    confidence: float = 0.95
    """Coverage of the intervals; tests use alpha = 1 - confidence."""
    n_resamples: int = 2000
    """Bootstrap resamples of the users."""
    n_flips: int = 9999
    """Random sign patterns of a test: the smallest possible p-value is 1 / (n_flips + 1)."""
    seed: int = 0
    """Everything drawn follows from it."""
    _p_values: dict[str, dict[tuple[str, str], float]] = field(default_factory=dict, init=False)

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
        return {place: self.interval(*place) for place in product(self.panel.models, self.panel.metrics)}

    def difference(self, model: str, other: str, metric: str) -> Interval:
        """Paired difference ``model - other`` with its interval, over the splits that both have."""
        return self._estimate(metric, model, other)

    def p_value(self, model: str, other: str, metric: str) -> float:
        """Paired permutation test over users, without correction."""
        if metric not in self._p_values:
            self._p_values[metric] = self._all_p_values(metric)
        first, second = sorted((model, other))
        if (first, second) not in self._p_values[metric]:
            self._splits(model, other)
        return self._p_values[metric][first, second]

    def against(self, reference: str, metric: str) -> list[Comparison]:
        """Compare the reference with every other model; Holm's family is these comparisons."""
        return self._compare([(reference, other) for other in self.panel.models if other != reference], metric)

    def all_pairs(self, metric: str) -> list[Comparison]:
        """Compare all pairs of models; Holm's family is all of them, so the best pair may be picked afterwards."""
        return self._compare(list(combinations(self.panel.models, 2)), metric)

    def leaders(self, metric: str) -> Leaders:
        """Name the model with the highest mean, and those that it does not beat after correction over all pairs."""
        models = self.panel.models
        best = max(models, key=lambda model: self.interval(model, metric).value)
        pairs = self.all_pairs(metric)
        beaten = {c.other for c in pairs if c.model == best and c.verdict == "wins"}
        beaten |= {c.model for c in pairs if c.other == best and c.verdict == "loses"}
        return Leaders(best, tuple(model for model in models if model != best and model not in beaten))

    def _compare(self, pairs: list[tuple[str, str]], metric: str) -> list[Comparison]:
        pairs = [pair for pair in pairs if self.panel.splits(*pair)]
        p_values = np.array([self.p_value(a, b, metric) for a, b in pairs])
        alpha = 1.0 - self.confidence
        found: list[Comparison] = []
        for (a, b), p, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
            difference = self.difference(a, b, metric)
            verdict: Verdict = "ties"
            if adjusted <= alpha and difference.low > 0:
                verdict = "wins"
            elif adjusted <= alpha and difference.high < 0:
                verdict = "loses"
            found.append(Comparison(a, b, metric, difference, float(p), float(adjusted), verdict))
        return found

    def _estimate(self, metric: str, *models: str) -> Interval:
        """Mean of one model, or of the first minus the second, with its interval."""
        panel, column = self.panel, self.panel.column(metric)
        splits = self._splits(*models)
        value = np.mean([reduce(np.subtract, [self._means[m, s][column] for m in models]) for s in splits])
        draws = np.mean([reduce(np.subtract, [self._draws[m, s][:, column] for m in models]) for s in splits], axis=0)
        if len(splits) > 1:
            # in one fixed order, so that b - a is the mirror image of a - b
            ordered = sorted(models)
            sign = 1.0 if ordered[0] == models[0] else -1.0
            users = [[panel.user_values(m, s)[:, column] for m in ordered] for s in splits]
            draws = draws + sign * self._run_draws(np.stack([reduce(np.subtract, u) for u in users]), *ordered, metric)
        else:
            seeds = [panel.values[m, splits[0]][:, :, column] for m in models]
            errors = [self._run_draws(runs, m, metric) for m, runs in zip(models, seeds, strict=True)]
            draws = reduce(np.subtract, [draws + errors[0], *errors[1:]])
        tail = (1.0 - self.confidence) / 2
        low, high = value + np.quantile(draws, [tail, 1.0 - tail])
        n_users = int(np.logical_or.reduce([~np.isnan(panel.train_degree[split]) for split in splits]).sum())
        n_seeds = min(len(panel.values[place]) for place in product(models, splits))
        return Interval(float(value), float(low), float(high), n_users, len(splits), n_seeds)

    def _splits(self, *models: str) -> list[int]:
        splits = self.panel.splits(*models)
        if not splits:
            msg = (
                f"no finished split in common for {' and '.join(models)} on {self.panel.dataset} at level "
                f"{self.panel.level:g}; finished models: {list(self.panel.models)}"
            )
            raise ValueError(msg)
        return splits

    @cached_property
    def _means(self) -> dict[tuple[str, int], np.ndarray]:
        """Observed means, shape (n_metrics,)."""
        return {place: np.nanmean(self.panel.user_values(*place), axis=0) for place in self.panel.values}

    @cached_property
    def _draws(self) -> dict[tuple[str, int], np.ndarray]:
        """Deviations of means over resampled users, the same for all, from the observed: (n_resamples, n_metrics)."""
        places = list(self.panel.values)
        columns = np.concatenate([self.panel.user_values(*place) for place in places], axis=1)
        draws = bootstrap_means(columns, self.n_resamples, self._rng("users"))
        parts = np.split(draws, len(places), axis=1)
        return {place: part - self._means[place] for place, part in zip(places, parts, strict=True)}

    def _run_draws(self, runs: np.ndarray, *names: str) -> np.ndarray:
        error, freedom = run_error(runs)
        if error == 0.0:
            return np.zeros(self.n_resamples)
        return error * student_draws(freedom, self.n_resamples, self._rng(*names))

    def _all_p_values(self, metric: str) -> dict[tuple[str, str], float]:
        panel, column = self.panel, self.panel.column(metric)
        pairs = [tuple(sorted(pair)) for pair in combinations(panel.models, 2) if panel.splits(*pair)]
        contributions = np.zeros((len(panel.users), len(pairs)))
        for position, (a, b) in enumerate(pairs):
            splits = panel.splits(a, b)
            for split in splits:
                differences = (panel.user_values(a, split) - panel.user_values(b, split))[:, column]
                present = ~np.isnan(differences)
                contributions[:, position] += np.where(present, differences, 0.0) / (present.sum() * len(splits))
        p_values = sign_flip_p(contributions, self.n_flips, self._rng("signs", metric))
        return {(a, b): float(p) for (a, b), p in zip(pairs, p_values, strict=True)}

    def _rng(self, *names: str) -> np.random.Generator:
        """Return a generator that depends on the seed and on what is drawn, not on the order of the questions."""
        return np.random.default_rng([self.seed, crc32("\0".join(names).encode())])
