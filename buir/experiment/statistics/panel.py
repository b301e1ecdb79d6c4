"""The values of every model for every user at one sparsity level, aligned so that they can be compared in pairs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from buir.experiment.records import Record

ReadUsers = Callable[[str], pd.DataFrame]
"""From a cell's key to its per-user frame: ``user``, ``train_degree`` and a column for each metric."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One data set at one level: values per user, for every model, split seed and model seed."""

    dataset: str
    protocol: str
    level: float
    metrics: tuple[str, ...]
    models: tuple[str, ...]
    """Models with at least one finished cell, in the order of the records."""
    users: np.ndarray
    """Rows of all users that occur in any split, sorted."""
    train_degree: dict[int, np.ndarray]
    """Per split seed: training items of every user of ``users``, NaN outside the split."""
    values: dict[tuple[str, int], np.ndarray]
    """Per model and split seed: shape (n_seeds, n_users, n_metrics), NaN outside the split."""

    def splits(self, *models: str) -> list[int]:
        """Split seeds for which all the given models have values."""
        seeds = sorted({split for _, split in self.values})
        return [split for split in seeds if all((model, split) in self.values for model in models)]

    def user_values(self, model: str, split: int) -> np.ndarray:
        """Each user's values averaged over model seeds, shape (n_users, n_metrics)."""
        return self.values[model, split].mean(axis=0)

    def column(self, metric: str) -> int:
        """Position of a metric."""
        if metric not in self.metrics:
            msg = f"metric {metric!r} is not among the compared ones {list(self.metrics)}; build the panel with it"
            raise ValueError(msg)
        return self.metrics.index(metric)

    def restricted(self, low: float, high: float, metrics: Sequence[str]) -> "Panel | None":
        """Return the panel of the users with ``low <= training degree <= high``; None if a split has none of them.

        A user belongs to a group split by split, because the training part differs between splits.
        """
        inside = {split: (degree >= low) & (degree <= high) for split, degree in self.train_degree.items()}
        if not all(mask.any() for mask in inside.values()):
            return None
        kept = np.logical_or.reduce(list(inside.values()))
        columns = [self.column(metric) for metric in metrics]
        return replace(
            self,
            metrics=tuple(metrics),
            users=self.users[kept],
            train_degree={s: np.where(inside[s], degree, np.nan)[kept] for s, degree in self.train_degree.items()},
            values={
                (model, s): np.where(inside[s][:, None], values[:, :, columns], np.nan)[:, kept]
                for (model, s), values in self.values.items()
            },
        )


def make_panels(records: Iterable[Record], read_users: ReadUsers, metrics: Sequence[str]) -> list[Panel]:
    """Build one panel for each data set, protocol and level, in the order of the records.

    Parameters
    ----------
    records
        Cell records; those that were refused are left out.
    read_users
        Gives the per-user frame of a cell.
    metrics
        Columns to keep, for example ``["ndcg_at_20"]``.

    Raises
    ------
    ValueError
        If two cells claim the same place, if models were measured on different splits or users, or if a metric
        is missing: such values must not be compared in pairs.
    """
    return list(iter_panels(records, read_users, metrics))


def iter_panels(records: Iterable[Record], read_users: ReadUsers, metrics: Sequence[str]) -> Iterator[Panel]:
    """Build the panels of `make_panels` one after the other, so that only one lies in memory."""
    groups: dict[tuple[str, str, float], list[Record]] = {}
    for record in records:
        if record.status == "ok":
            groups.setdefault((record.dataset, record.protocol, record.level), []).append(record)
    for place, group in groups.items():
        yield _panel(place, group, read_users, tuple(metrics))


def _panel(
    place: tuple[str, str, float], records: list[Record], read_users: ReadUsers, metrics: tuple[str, ...]
) -> Panel:
    where = f"{place[0]} at level {place[2]:g}"
    _refuse_conflicts(records, where)
    frames = {
        (r.model, r.split_seed, r.seed): _frame(read_users(r.key), metrics, f"{r.model} on {where}") for r in records
    }
    by_split: dict[int, pd.Index] = {}
    degrees: dict[int, pd.Series] = {}
    for (model, split, seed), frame in frames.items():
        expected = by_split.setdefault(split, frame.index)
        degrees.setdefault(split, frame["train_degree"])
        if not frame.index.equals(expected):
            msg = (
                f"{model} (seed {seed}) on {where}, split seed {split}, was measured on {len(frame)} users, the first model "
                f"on {len(expected)} or other ones; pairs need the same users: run these cells again"
            )
            raise ValueError(msg)
    users = np.unique(np.concatenate([index.to_numpy() for index in by_split.values()]))
    rows = {split: np.searchsorted(users, index.to_numpy()) for split, index in by_split.items()}
    values: dict[tuple[str, int], np.ndarray] = {}
    for model, split in dict.fromkeys((model, split) for model, split, _ in frames):
        seeds = sorted(seed for m, s, seed in frames if (m, s) == (model, split))
        block = np.full((len(seeds), len(users), len(metrics)), np.nan)
        for place_of_seed, seed in enumerate(seeds):
            block[place_of_seed, rows[split]] = frames[model, split, seed][list(metrics)].to_numpy(np.float64)
        values[model, split] = block
    train_degree = {split: np.full(len(users), np.nan) for split in by_split}
    for split, degree in degrees.items():
        train_degree[split][rows[split]] = degree.to_numpy(np.float64)
    models = tuple(dict.fromkeys(record.model for record in records))
    return Panel(*place, metrics, models, users, train_degree, values)


def _frame(frame: pd.DataFrame, metrics: tuple[str, ...], where: str) -> pd.DataFrame:
    """Index a per-user frame by user and keep what is needed."""
    missing = [name for name in ("user", "train_degree", *metrics) if name not in frame.columns]
    if missing:
        msg = f"the per-user values of {where} lack {missing}, found {list(frame.columns)}; choose a metric that was computed"
        raise ValueError(msg)
    kept = frame[["user", "train_degree", *metrics]].set_index("user").sort_index()
    if kept.index.has_duplicates or kept[list(metrics)].isna().to_numpy().any():
        msg = f"the per-user values of {where} hold a user twice or a missing value; expected one complete row for each test user"
        raise ValueError(msg)
    return kept


def _refuse_conflicts(records: list[Record], where: str) -> None:
    seen: dict[tuple[str, int, int], str] = {}
    digests: dict[int, str] = {}
    for record in records:
        split, digest = record.split_seed, record.split_digest
        place = (record.model, split, record.seed)
        if place in seen:
            msg = (
                f"two cells for {place[0]} on {where}, split seed {split}, seed {record.seed} "
                f"(keys {seen[place]} and {record.key}): they differ in settings or version; keep one, or rename one model"
            )
            raise ValueError(msg)
        seen[place] = record.key
        if digests.setdefault(split, digest) != digest:
            msg = (
                f"{place[0]} on {where} used split {digest}, other models {digests[split]}, under the same split seed {split}: "
                f"the data changed between the runs; run these cells again"
            )
            raise ValueError(msg)
