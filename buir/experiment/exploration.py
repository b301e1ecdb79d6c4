"""The searches of a configuration, from its file to a table, the best settings in YAML, and MLflow."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from buir.experiment.comparison import make_tracker, sizes
from buir.experiment.config import ConfigError, suggestion
from buir.experiment.records import Journal, replace_atomically
from buir.experiment.report import aligned, searches_table
from buir.experiment.run import Forecast, Progress, Sources, search_outcome
from buir.experiment.run import plan as benchmark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from buir.experiment.config import BenchmarkConfig
    from buir.experiment.records import Record

_HEAD = """\
# Best settings on validation data, found by: buir tune ({trials}; benchmark {name}).
# Each list can stand below "models:" of a benchmark, which then fits these settings without searching.
"""


def explore(
    config: BenchmarkConfig,
    out: str | Path,
    *,
    say: Callable[[str], None],
    jobs: int = 1,
    tracking_uri: str | None = None,
    data: str | None = None,
    model: str | None = None,
    level: float | None = None,
) -> benchmark.Outcome:
    """Run the searches of a configuration that ``out`` lacks; write a table, ``best.yaml`` and MLflow runs.

    Parameters
    ----------
    config
        What to search, with which budget. A benchmark of the same configuration in the same folder finds what was
        found here.
    out
        Folder for everything that comes out.
    say
        Takes the lines that a reader should see.
    jobs
        Searches that run at the same time.
    tracking_uri
        MLflow's store; see :func:`buir.experiment.tracking.store.choose_uri` for the default.
    data, model, level
        Only the searches of this data set, model or level.

    Returns
    -------
    The records of the searches asked for, and what broke down.

    Raises
    ------
    ConfigError
        If nothing is to be searched, or ``data``, ``model`` or ``level`` is not in the configuration.
    """
    if config.tuning is None:
        msg = f"{config.name}: the configuration has no 'tuning:', so there is nothing to search; add it, such as --set tuning.trials=20"
        raise ConfigError([msg])
    _check_choice(config, data, model)
    sources = Sources(config)
    every = list({cell.search: cell for cell in reversed(benchmark.plan(config, sources))}.values())[::-1]
    cells = [c for c in every if data in (None, c.dataset) and model in (None, c.model) and level in (None, c.level)]
    if not cells:
        levels = ", ".join(f"{known:g}" for known in dict.fromkeys(cell.level for cell in every))
        msg = f"--level: got {level:g}, expected a level of the configuration: {levels}"
        raise ConfigError([msg])
    journal = Journal(out)
    with journal.exclusive():
        journal.write_plan(benchmark.describe(config, every), "tune")
        missing = [cell for cell in cells if journal.read_search(cell.search_key) is None]
        if len(missing) < len(cells):
            say(f"{len(cells) - len(missing)} of {len(cells)} searches are finished already and are not run again.")
        tracker = make_tracker(journal, out, tracking_uri, say)
        progress = Progress(
            missing,
            Forecast(sizes(config, sources), journal.records()),
            jobs=jobs,
            outcome=search_outcome,
            on_record=tracker.log_search,
            searches=True,
        )
        try:
            tasks = [[cell] for cell in missing]
            failures = benchmark.execute(tasks, config, journal, sources, progress, jobs, only_search=True)
        finally:
            progress.close()
        found = [record for cell in cells if (record := journal.read_search(cell.search_key)) is not None]
        for line in _tables(found):
            say(line)
        file = journal.folder / "best.yaml"
        text = best_settings(config, (journal.read_search(cell.search_key) for cell in every))
        replace_atomically(file, text.encode())
        say(f"\nBest settings, to be pasted into a configuration: {file}")
        tracker.finish_searches()
    return benchmark.Outcome(found, failures)


def best_settings(config: BenchmarkConfig, records: Iterable[Record | None]) -> str:
    """Write the best settings as YAML: for each data set, level and split a list of entries for ``models:``."""
    entries = {model.label: model for model in config.models}
    places: dict[str, list[dict[str, Any]]] = {}
    budgets: dict[str, None] = {}
    for record in records:
        if record is None or record.status != "ok":
            continue
        budgets[f"{record.tuning['trials']} trials on {record.dataset}"] = None
        model = entries[record.model]
        entry: dict[str, Any] = {"kind": model.kind}
        entry |= {name: getattr(model, name) for name in ("name", "preset") if getattr(model, name) is not None}
        params = {**model.params, **record.tuning["best_params"]}
        place = f"{record.dataset}, train {record.train_pct} %, split seed {record.split_seed}"
        places.setdefault(place, []).append(entry | ({"params": params} if params else {}))
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(places, stream)
    return _HEAD.format(trials=", ".join(budgets) or "nothing finished", name=config.name) + stream.getvalue()


def _check_choice(config: BenchmarkConfig, data: str | None, model: str | None) -> None:
    for option, chosen, known in (
        ("--data", data, [entry.label for entry in config.data]),
        ("--model", model, [entry.label for entry in config.models]),
    ):
        if chosen is not None and chosen not in known:
            msg = f"{option}: {chosen!r} is not in the configuration{suggestion(chosen, known)}"
            raise ConfigError([msg])


def _tables(records: Sequence[Record]) -> list[str]:
    """Write one table for each data set and level."""
    places: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        places.setdefault((record.dataset, record.train_pct), []).append(record)
    lines = []
    for (dataset, pct), found in places.items():
        lines += ["", f"{dataset}, train {pct} %", aligned(searches_table(found), words=True)]
    return lines
