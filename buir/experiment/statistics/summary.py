"""Intervals, paired tests and verdicts for one data set at one level.

How a number's uncertainty is found, in one place:

* A model's value is the mean over split seeds of the mean over test users of the mean over model seeds.
* **Users** are resampled (bootstrap), the same users for all models, and a user keeps all his values in all splits.
* **Runs**: with two or more split seeds, each split is a run (its own model seeds are inside it); with one split seed, each
  model seed is a run. A mean over few runs follows Student's t; that error is added to the resampled users' error.
  Splits are paired between models, model seeds are not.
* The **test** of a pair flips the signs of users' differences (all splits of a user together), Holm's correction over models.
* A **verdict** other than "ties" needs both: the corrected p-value at most alpha and an interval, over users and runs,
  that excludes zero. A tie says that no difference was shown, not that there is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
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
class Comparison:
    """One model against another: ``difference`` is model minus other."""

    model: str
    other: str
    metric: str
    difference: Interval
    p: float
    p_holm: float
    verdict: Verdict


class Summary:
    """Everything that is said about one panel.

    Parameters
    ----------
    panel
        Aligned values of all models.
    confidence
        Coverage of the intervals; tests use alpha = 1 - confidence.
    n_resamples
        Bootstrap resamples of the users.
    n_flips
        Random sign patterns of a test: the smallest possible p-value is 1 / (n_flips + 1).
    seed
        Everything drawn follows from it.
    """

    def __init__(
        self, panel: Panel, *, confidence: float = 0.95, n_resamples: int = 2000, n_flips: int = 9999, seed: int = 0
    ) -> None:
        if not 0 < confidence < 1:
            msg = f"confidence is {confidence}, expected a share between 0 and 1, for example 0.95"
            raise ValueError(msg)
        self.panel = panel
        self.confidence = confidence
        self.n_resamples = n_resamples
        self.n_flips = n_flips
        self.seed = seed
        self._p_values: dict[str, dict[tuple[str, str], float]] = {}

    def interval(self, model: str, metric: str) -> Interval:
        """Mean of one model with its interval."""
        panel, column = self.panel, self.panel.column(metric)
        splits = self._splits(model)
        draws = np.mean([self._draws[model, split][:, column] for split in splits], axis=0)
        if len(splits) > 1:
            runs = np.stack([panel.user_values(model, split)[:, column] for split in splits])
            draws = draws + self._run_draws(runs, model, metric)
        else:
            draws = draws + self._seed_draws(model, metric)
        value = float(np.mean([self._means[model, split][column] for split in splits]))
        return self._interval(value, draws, splits, [model])

    def difference(self, model: str, other: str, metric: str) -> Interval:
        """Paired difference ``model - other`` with its interval, over the splits that both have."""
        panel, column = self.panel, self.panel.column(metric)
        splits = self._splits(model, other)
        draws = np.mean([(self._draws[model, s] - self._draws[other, s])[:, column] for s in splits], axis=0)
        if len(splits) > 1:
            # in one fixed order, so that b - a is the mirror image of a - b
            first, second = sorted((model, other))
            runs = np.stack([(panel.user_values(first, s) - panel.user_values(second, s))[:, column] for s in splits])
            sign = 1.0 if first == model else -1.0
            draws = draws + sign * self._run_draws(runs, first, second, metric)
        else:
            draws = draws + self._seed_draws(model, metric) - self._seed_draws(other, metric)
        value = float(np.mean([(self._means[model, s] - self._means[other, s])[column] for s in splits]))
        return self._interval(value, draws, splits, [model, other])

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

    def leaders(self, metric: str) -> tuple[str, list[str]]:
        """Name the model with the highest mean, and the others that it does not beat after correction over all pairs."""
        models = self.panel.models
        best = max(models, key=lambda model: self.interval(model, metric).value)
        beaten: set[str] = set()
        for pair in self.all_pairs(metric):
            if best in (pair.model, pair.other) and pair.verdict == ("wins" if pair.model == best else "loses"):
                beaten.add(pair.other if pair.model == best else pair.model)
        return best, [model for model in models if model != best and model not in beaten]

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
        """Deviations of resampled means from the observed ones, shape (n_resamples, n_metrics), the same users for all."""
        places = list(self.panel.values)
        columns = np.concatenate([self.panel.user_values(*place) for place in places], axis=1)
        draws = bootstrap_means(columns, self.n_resamples, self._rng("users"))
        parts = np.split(draws, len(places), axis=1)
        return {place: part - self._means[place] for place, part in zip(places, parts, strict=True)}

    def _seed_draws(self, model: str, metric: str) -> np.ndarray:
        split = self._splits(model)[0]
        return self._run_draws(self.panel.values[model, split][:, :, self.panel.column(metric)], model, metric)

    def _run_draws(self, runs: np.ndarray, *names: str) -> np.ndarray:
        error, freedom = run_error(runs)
        if error == 0.0:
            return np.zeros(self.n_resamples)
        return error * student_draws(freedom, self.n_resamples, self._rng(*names))

    def _interval(self, value: float, draws: np.ndarray, splits: list[int], models: Iterable[str]) -> Interval:
        tail = (1.0 - self.confidence) / 2
        low, high = np.quantile(draws, [tail, 1.0 - tail])
        present = [~np.isnan(self.panel.train_degree[split]) for split in splits]
        n_users = int(np.logical_or.reduce(present).sum())
        n_seeds = min(len(self.panel.values[model, split]) for model in models for split in splits)
        return Interval(value, value + float(low), value + float(high), n_users, len(splits), n_seeds)

    def _all_p_values(self, metric: str) -> dict[tuple[str, str], float]:
        panel, column = self.panel, self.panel.column(metric)
        pairs = [tuple(sorted(pair)) for pair in combinations(panel.models, 2) if panel.splits(*pair)]
        if not pairs:
            return {}
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
