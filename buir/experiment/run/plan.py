"""Data x level x model x seed -> records in the journal; what is finished is never run again."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from buir.errors import ExperimentError, InputError
from buir.experiment.config import BenchmarkConfig, ModelConfig, TuningConfig, per_cent
from buir.experiment.records import Cell, Journal, Record, headline, tidy, versions
from buir.experiment.run import workers
from buir.experiment.run.progress import Progress
from buir.experiment.run.run_cell import FIT, Bench
from buir.experiment.run.sources import Sources
from buir.experiment.search import as_json, find_space


@dataclass
class Outcome:
    """What a benchmark came to."""

    records: list[Record]
    """Of all finished cells, in the order of the plan."""
    failures: list[workers.Failure] = field(default_factory=list)
    """The tracebacks are in ``failures/`` under the output folder."""
    tracked: bool = True
    """Whether MLflow has them all."""

    def frame(self) -> pd.DataFrame:
        """Make a row of each run, as `buir.experiment.Results.frame` does."""
        return tidy(self.records)


def plan(config: BenchmarkConfig, sources: Sources) -> list[Cell]:
    """List every cell; the seed varies slowest, so that a first result of all models comes early.

    Raises
    ------
    ConfigError
        If a model that is to be tuned has no usable search space.
    ExperimentError
        If data cannot be read or split.
    """
    inner = config.decided_on == "inner"
    by_name = {model.label: model for model in config.models}
    weights = {data.label: data.weight for data in config.data}

    def cell(model: ModelConfig, data: str, level: float, split_seed: int, seed: int, digest: str) -> Cell:
        made = Cell(
            dataset=data,
            protocol=config.protocol.kind,
            level=level,
            split_seed=split_seed,
            model=model.label,
            kind=model.kind,
            preset=model.preset,
            params={"inner_validation": "auto", **model.params} if inner and model.kind == "buir" else model.params,
            seed=seed,
            ks=config.metrics.ks,
            split_digest=digest,
            weight=weights[data],
            decided_on=config.decided_on,
        )
        if model.settings_of is not None:
            searched = cell(by_name[model.settings_of], data, level, split_seed, seed, digest)
            return replace(made, tuning=searched.tuning, searched_as=searched)
        budget = config.budget(data, model)
        return made if budget is None else _with_search(made, budget)

    if inner:
        _check_inside(config, sources)
    return [
        cell(model, data.label, level, split_seed, seed, split.digest)
        for data in config.data
        for split_seed in config.protocol.split_seeds
        for seed in config.seeds
        for level, split in sources.splits(data.label, split_seed).items()
        for model in config.models
    ]


def _check_inside(config: BenchmarkConfig, sources: Sources) -> None:
    """Make sure that every training part can lend pairs to decide by."""
    for data in config.data:
        for split_seed in config.protocol.split_seeds:
            for level, split in sources.splits(data.label, split_seed).items():
                try:
                    split.inside()
                except InputError as error:
                    msg = f"{data.label} at {per_cent(level)} %: {error}"
                    raise ExperimentError(msg) from error


def _with_search(cell: Cell, budget: TuningConfig) -> Cell:
    space = as_json(find_space(cell.kind, cell.fixed(), cell.model))
    return replace(cell, tuning=budget.model_dump() | {"space": space, "split_seed": cell.split_seed})


def run(
    config: BenchmarkConfig,
    out: str | Path,
    observer: Progress,
    *,
    jobs: int = 1,
    sources: Sources | None = None,
    cells: Sequence[Cell] | None = None,
    command: str | None = None,
    checkpoint_minutes: float | None = None,
) -> Outcome:
    """Run the cells that the journal under ``out`` lacks, and return all records.

    Parameters
    ----------
    config, out
        What to compare, and the folder of the journal.
    observer
        Is told what happens.
    jobs
        Processes that run cells at the same time; the processor's cores are shared out among them.
    sources, cells
        Data already read and the plan, if there are any.
    command
        The command line that asks for this, to be kept with the plan.
    checkpoint_minutes
        See :func:`buir.experiment.comparison.compare`.

    Raises
    ------
    ExperimentError
        If the system killed a process; finished cells are kept.

    Notes
    -----
    A cell that breaks down is reported and does not end the benchmark; it has no record, so the next run tries it
    again. Ctrl-C, or worse, leaves finished cells as they are.
    """
    sources, journal = sources or Sources(config), Journal(out, checkpoint_minutes)
    cells = plan(config, sources) if cells is None else cells
    journal.write_plan(describe(config, cells) | {"jobs": jobs} | ({"command": command} if command else {}))
    tasks = group(unfinished(cells, journal), together=config.tuning is not None)
    failures = workers.run_tasks(FIT, tasks, Bench(config, journal, sources), observer, jobs)
    return Outcome(list(journal.records(cell.key for cell in cells)), failures)


def unfinished(cells: Sequence[Cell], journal: Journal) -> list[Cell]:
    """Return the cells without a record."""
    return [cell for cell in cells if journal.read(cell.key) is None]


def group(cells: Sequence[Cell], *, together: bool) -> list[list[Cell]]:
    """Cut cells into tasks for one process each: single cells, or all that share one search for hyper-parameters."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.search_key if together else cell.key, []).append(cell)
    return list(groups.values())


def _planned(config: BenchmarkConfig, cells: Sequence[Cell]) -> dict[str, int | dict[str, int]]:
    """Count the runs of each model at every place, by data set where these differ."""
    runs = len(config.protocol.split_seeds) * len(config.seeds)
    counts = Counter((cell.dataset, cell.level, cell.model) for cell in cells)
    of_data = {data: max(n for (name, *_), n in counts.items() if name == data) for data, *_ in counts}
    planned: int | dict[str, int] = runs if set(of_data.values()) <= {runs} else of_data
    return {model.label: planned for model in config.models}


def describe(config: BenchmarkConfig, cells: Sequence[Cell]) -> dict[str, Any]:
    """Write down what a benchmark is: enough to find its cells again and to explain them."""
    return {
        "name": config.name,
        "datasets": [data.label for data in config.data],
        "models": [model.label for model in config.models],
        "planned": _planned(config, cells),
        "headline": headline(config.metrics.ks),
        "config": config.model_dump(mode="json", exclude_none=True),
        "keys": [cell.key for cell in cells],
        "searches": list(dict.fromkeys(cell.search_key for cell in cells if cell.tuning)),
        "versions": versions(),
    }
