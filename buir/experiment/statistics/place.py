"""The values of every model for every user at one sparsity level, aligned so that they can be compared in pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

PLACE = ["dataset", "protocol", "level"]
"""Columns of a frame of records; models are compared where these are the same."""
ReadUsers = Callable[[str], pd.DataFrame]
"""From a cell's key to its per-user frame: ``user``, ``train_degree`` and a column for each metric."""


@dataclass(frozen=True, eq=False)
class PlaceValues:
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
        values = self.values[model, split]
        return values[0] if len(values) == 1 else values.mean(axis=0)

    def column(self, metric: str) -> int:
        """Position of a metric."""
        if metric not in self.metrics:
            msg = f"metric {metric!r} is not among the compared ones {list(self.metrics)}; read the values with it"
            raise ValueError(msg)
        return self.metrics.index(metric)

    def restricted(self, low: float, high: float, metrics: Sequence[str]) -> "PlaceValues | None":
        """Return the values of the users with ``low <= training degree <= high``; None if a split has none of them.

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


def place_values(runs: pd.DataFrame, read_users: ReadUsers, metrics: Sequence[str]) -> PlaceValues:
    """Align the values of one data set, protocol and level.

    Parameters
    ----------
    runs
        Frame of its finished cells, see `buir.experiment.records.frame`.
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
    cells = list(runs["record"])
    where = f"{cells[0].dataset} at level {cells[0].level:g}"
    _refuse_conflicts(runs, where)
    frames = {cell.key: _frame(read_users(cell.key), metrics, f"{cell.model} on {where}") for cell in cells}
    first = {cell.split_seed: frames[cell.key] for cell in reversed(cells)}
    for cell in cells:
        mine, other = frames[cell.key], first[cell.split_seed]
        if not mine.index.equals(other.index):
            msg = (
                f"{cell.model} (seed {cell.seed}) on {where}, split seed {cell.split_seed}, was measured on "
                f"{len(mine)} users, the first model on {len(other)} or other ones; pairs need the same users: "
                "run these cells again"
            )
            raise ValueError(msg)
    users = np.unique(np.concatenate([frame.index for frame in first.values()]))
    values = {}
    for _, same in runs.groupby(["model", "split_seed"], sort=False)["record"]:
        seeds = sorted(same, key=lambda cell: cell.seed)
        blocks = [frames[cell.key].reindex(users)[list(metrics)].to_numpy(np.float64) for cell in seeds]
        values[seeds[0].model, seeds[0].split_seed] = np.array(blocks, order="C")
    degrees = {split: frame["train_degree"].reindex(users).to_numpy(np.float64) for split, frame in first.items()}
    place = (cells[0].dataset, cells[0].protocol, cells[0].level)
    return PlaceValues(*place, tuple(metrics), tuple(runs["model"].unique()), users, degrees, values)


def _frame(frame: pd.DataFrame, metrics: Sequence[str], where: str) -> pd.DataFrame:
    """Index a per-user frame by user and keep what is needed."""
    missing = [name for name in ("user", "train_degree", *metrics) if name not in frame.columns]
    if missing:
        msg = f"the per-user values of {where} lack {missing}, found {list(frame.columns)}; "
        msg += "choose a metric that was computed"
        raise ValueError(msg)
    kept = frame[["user", "train_degree", *metrics]].set_index("user").sort_index()
    if kept.index.has_duplicates or kept[list(metrics)].isna().to_numpy().any():
        msg = f"the per-user values of {where} hold a user twice or a missing value; "
        msg += "expected one complete row for each test user"
        raise ValueError(msg)
    return kept


def _refuse_conflicts(runs: pd.DataFrame, where: str) -> None:
    claim = ["model", "split_seed", "seed"]
    for _, same in runs[runs.duplicated(claim, keep=False)].groupby(claim, sort=False)["record"]:
        one, two = same.iloc[:2]
        msg = (
            f"two cells for {one.model} on {where}, split seed {one.split_seed}, seed {one.seed} (keys {one.key} and "
            f"{two.key}): they differ in settings or version; keep one, or rename one model"
        )
        raise ValueError(msg)
    for _, same in runs.drop_duplicates(["split_seed", "split_digest"]).groupby("split_seed", sort=False)["record"]:
        for cell in same.iloc[1:2]:
            msg = (
                f"{cell.model} on {where} used split {cell.split_digest}, other models {same.iloc[0].split_digest}, "
                f"under the same split seed {cell.split_seed}: the data changed between the runs; run these cells again"
            )
            raise ValueError(msg)
