"""Records of the journal as runs of MLflow; whatever the store does, nothing here ends a benchmark."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient

from buir.errors import counted
from buir.experiment.records import Journal, Kind, Record, experiment_name
from buir.experiment.tracking import store
from buir.experiment.tracking.writer import Writer
from buir.plots import model_colours

_RETRY_SECONDS = 60.0  # a server that is restarted is missed for a minute, one that is gone costs a probe in each


@dataclass(eq=False)
class Tracker:
    """Writes cells into MLflow as they finish, and catches up with what is missing once the store answers again."""

    journal: Journal
    """Where the records are: the truth, of which MLflow is a copy."""
    uri: str
    """Of the store."""
    warn: Callable[[str], None]
    """Called once for each outage, with one line, and with another one when it is over; and where runs are renamed."""
    clock: Callable[[], float] = time.monotonic
    """Gives seconds; the store is asked again a minute after a failure at the earliest, and always at the end."""
    down: bool = field(default=False, init=False)
    _retry_at: float = field(default=0.0, init=False)
    _writers: dict[str, Writer] = field(default_factory=dict, init=False)

    def log(self, record: Record) -> None:
        """Write one cell, or one search for settings, and what an outage kept out.

        Does nothing within a minute after a failure.
        """
        kind = "benchmark" if record.work == "cell" else "tune"
        self._guarded(kind, lambda plan: self._writer(plan, record.dataset).write(record))

    def finish(self, kind: Kind, artifacts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Write what is missing of the latest plan of a kind; of a benchmark also the sweeps and the summary runs.

        Parameters
        ----------
        artifacts
            Data set -> file name -> text or Matplotlib figure, or a function that makes one if it is needed, kept in
            the data set's summary run; "table.md" is also in the text above the runs, which begins with "answer.md".

        Returns
        -------
        Data set -> id of its experiment, empty if the store could not be used.
        """
        done: dict[str, str] = {}

        def write(plan: dict[str, Any]) -> None:
            cells = list(self._records("benchmark", plan)) if kind == "benchmark" else []
            searches = list(self._records("tune", plan))
            for dataset in dict.fromkeys(r.dataset for r in (cells if kind == "benchmark" else searches)):
                writer = self._writer(plan, dataset)
                if mine := [record for record in cells if record.dataset == dataset]:
                    writer.write_all("cell", mine)
                    writer.summarise(plan, mine, artifacts.get(dataset, {}))
                writer.write_all("search", [record for record in searches if record.dataset == dataset])
                done[dataset] = writer.experiment_id

        self._guarded(kind, write, at_once=True)
        return {} if self.down else done

    def _writer(self, plan: Mapping[str, Any], dataset: str) -> Writer:
        name = experiment_name(plan["name"], dataset)
        if name not in self._writers:
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            colours = model_colours(plan["models"])
            self._writers[name] = Writer(client, self.journal, name, colours, local=store.is_local(self.uri))
            if renamed := self._writers[name].renamed:
                self.warn(
                    f"{counted(renamed, 'run')} of {name} had names of an earlier version (such as train/loss) and are "
                    "written anew from the results; the old ones are among MLflow's deleted runs."
                )
        return self._writers[name]

    def _records(self, kind: Kind, plan: Mapping[str, Any]) -> Iterator[Record]:
        """Iterate over the finished cells of a plan, or its finished searches."""
        if kind == "benchmark":
            return self.journal.records(plan["keys"])
        return filter(None, map(self.journal.read_search, plan["searches"]))

    def _guarded(self, kind: Kind, write: Callable[[dict[str, Any]], None], *, at_once: bool = False) -> None:
        """Run ``write`` unless the store is down; a failure of any kind makes it down, and is told once."""
        plan = self.journal.read_plan(kind)
        if plan is None or (self.down and not at_once and self.clock() < self._retry_at):
            return
        try:
            if not store.answers(self.uri):
                msg = f"no answer from {self.uri}"
                raise ConnectionError(msg)
            if self.down and not at_once:
                for record in self._records(kind, plan):
                    self._writer(plan, record.dataset).write(record)
            write(plan)
        except Exception as error:  # noqa: BLE001 - tracking must never end a benchmark, whatever a store does
            self._retry_at = self.clock() + _RETRY_SECONDS
            # What was half written is found, and dropped, by writers that look anew.
            self._writers.clear()
            if not self.down:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                folder = str(self.journal.folder)
                own = self.uri == store.store_uri(folder)
                remedy = ["buir", "sync", "--out", folder, *([] if own else ["--tracking-uri", self.uri])]
                self.warn(
                    f"MLflow cannot be used ({reason}). Nothing is lost: results are in {folder}; "
                    f"write them to MLflow later with: {shlex.join(remedy)}"
                )
            self.down = True
        else:
            if self.down:
                self.warn("MLflow can be used again, and has what it missed.")
            self.down = False
