"""The results of a benchmark as frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from buir.errors import ExperimentError
from buir.experiment.records.journal import Journal, find_results, latest_results
from buir.experiment.records.record import Record, tidy

__all__ = ["Results"]


@dataclass(frozen=True)
class Results:
    """What the latest benchmark of a folder came to, finished or not.

    Examples
    --------
    ::

        results = buir.experiment.Results.open("results/quickstart")
        results.frame().groupby(["train_pct", "model"])["ndcg_at_20"].mean().unstack()
        buir.plots.sparsity_curves(results)
    """

    folder: Path
    """Where they lie."""
    plan: dict[str, Any]
    """What was to be run, with the configuration and the keys of the runs."""

    @classmethod
    def open(cls, name: str | Path | None = None) -> Results:
        """Open the results of a benchmark.

        Parameters
        ----------
        name
            Their folder; or the name of a benchmark under ``results``, such as "quickstart"; None: the latest there.

        Raises
        ------
        buir.errors.ConfigError
            If there are none of that name.
        buir.errors.ExperimentError
            If the folder holds no benchmark.
        """
        folder = latest_results() if name is None else find_results(str(name))
        plan = Journal(folder).read_plan()
        if plan is None:
            msg = f"{folder} holds no benchmark that can be read; expected the folder that buir benchmark wrote to"
            raise ExperimentError(msg)
        return cls(folder, plan)

    def frame(self) -> pd.DataFrame:
        """Make a row of each finished run, in the order of the plan.

        Returns
        -------
        Columns ``dataset``, ``protocol``, ``train_pct`` (per cent of the training data), ``model``, ``split_seed``,
        ``seed``, ``status``, one for each metric (the mean over the test users), then sizes, seconds and memory in MB.
        A run whose model refused the data has status "refused", a reason and no metrics.
        """
        return tidy(self._records())

    def users(self) -> pd.DataFrame:
        """Make a row of each test user of each finished run.

        Returns
        -------
        Columns ``dataset``, ``protocol``, ``train_pct``, ``model``, ``split_seed``, ``seed``, ``user``,
        ``train_degree`` (training pairs) and one for each metric; empty where nothing is finished.

        Raises
        ------
        buir.errors.ExperimentError
            If values are not those that were written.
        """
        names = ("dataset", "protocol", "train_pct", "model", "split_seed", "seed")
        parts, journal = [], Journal(self.folder)
        for record in self._records():
            if record.ok:
                told = pd.DataFrame({name: [getattr(record, name)] for name in names})
                parts.append(told.merge(journal.read_users(record.key), how="cross"))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*names, "user", "train_degree"])

    def _records(self) -> list[Record]:
        return list(Journal(self.folder).records(self.plan["keys"]))
