"""From a configuration to tables, figures and MLflow: all models compared, or only their settings searched."""

from __future__ import annotations

import html
import io
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buir.data import replace_atomically
from buir.errors import ConfigError, ExperimentError, one_line
from buir.experiment import report
from buir.experiment.config import BenchmarkConfig, shared_searches, suggestion, to_yaml
from buir.experiment.records import Cell, Journal, Record, frame, mixture
from buir.experiment.run import SEARCH, Bench, Forecast, Progress, Sources, readable, run_tasks
from buir.experiment.run import plan as benchmark
from buir.experiment.statistics import Findings, Judgement, findings, judge
from buir.experiment.tracking import store

if TYPE_CHECKING:
    from buir.experiment.tracking import Tracker

Say = Callable[[str], None]
"""Takes lines for the reader: tables and warnings."""

_HEAD = """\
# Best settings on validation data, found by: buir tune ({trials}; benchmark {name}).
# Each list can stand below "models:" of a benchmark, which then fits these settings without searching.
"""


def compare(
    config: BenchmarkConfig,
    out: str | Path,
    *,
    say: Say,
    jobs: int = 1,
    tracking_uri: str | None = None,
    command: str | None = None,
    checkpoint_minutes: float | None = None,
) -> benchmark.Outcome:
    """Run what is missing of a benchmark; write tables, figures and MLflow runs; return the records.

    Parameters
    ----------
    config, out
        What to compare, and the folder for everything that comes out.
    say
        Takes the lines that a reader should see.
    jobs
        Processes that work at the same time.
    tracking_uri
        MLflow's store; see :func:`buir.experiment.tracking.store.choose_uri` for the default.
    command
        The command line that asks for this, to be kept with the plan.
    checkpoint_minutes
        Keep fits of BUIR that are not finished as well, their state written so often at most, so that a later call goes
        on with them; the writing counts as time of the fit. None keeps finished cells and trials alone.
    """
    journal, sources = Journal(out, checkpoint_minutes), Sources(config)
    with journal.exclusive():
        journal.heal(say)
        cells = benchmark.plan(config, sources)
        missing = benchmark.unfinished(cells, journal)
        if done := len(cells) - len(missing):
            say(f"{done} of {len(cells)} cells are finished already and are not run again.")
        if config.log_models:
            _tell_missing_models(cells, journal, say)
        tracker = _make_tracker(journal, tracking_uri, say)
        forecast = Forecast(sources.sizes(), journal.records())
        with closing(Progress(missing, forecast, jobs=jobs, log=tracker.log)) as progress:
            told = {"jobs": jobs, "sources": sources, "cells": cells, "command": command}
            outcome = benchmark.run(config, out, progress, **told, checkpoint_minutes=checkpoint_minutes)
        _publish(journal, tracker, say)
    return replace(outcome, tracked=not tracker.down)


def explore(
    config: BenchmarkConfig,
    out: str | Path,
    *,
    say: Say,
    jobs: int = 1,
    tracking_uri: str | None = None,
    data: str | None = None,
    model: str | None = None,
    level: float | None = None,
    checkpoint_minutes: float | None = None,
) -> benchmark.Outcome:
    """Run the searches that ``out`` lacks; write tables, ``best.yaml`` and MLflow runs; return the records asked for.

    A benchmark of the same configuration in the same folder finds what was found here.

    Parameters
    ----------
    config, out, say, jobs, tracking_uri, checkpoint_minutes
        As those of `compare`.
    data, model, level
        Only the searches of this data set, model or level.

    Raises
    ------
    ConfigError
        If nothing is to be searched, or ``data``, ``model`` or ``level`` is not in the configuration.
    """
    journal, sources = Journal(out, checkpoint_minutes), Sources(config)
    every = _searches(config, sources, data, model, level)
    cells = [c for c in every if data in (None, c.dataset) and model in (None, c.model) and level in (None, c.level)]
    with journal.exclusive():
        journal.heal(say)
        journal.write_plan(benchmark.describe(config, every), "tune")
        missing = [cell for cell in cells if journal.read_search(cell.search_key) is None]
        if done := len(cells) - len(missing):
            say(f"{done} of {len(cells)} searches are finished already and are not run again.")
        tracker = _make_tracker(journal, tracking_uri, say)
        forecast = Forecast(sources.sizes(), journal.records())
        tasks, bench = [[cell] for cell in missing], Bench(config, journal, sources)
        with closing(Progress(missing, forecast, jobs=jobs, log=tracker.log, searches=True)) as progress:
            failures = run_tasks(SEARCH, tasks, bench, progress, jobs)
        found = _found(journal, cells)
        for (dataset, pct), rows in frame(found).groupby(["dataset", "train_pct"], sort=False):
            table = report.aligned(report.searches_table(list(rows["record"])), words=True)
            say(f"\n{dataset}, train {pct:g} %\n{table}")
        file = journal.folder / "best.yaml"
        replace_atomically(file, best_settings(config, _found(journal, every)).encode())
        say(f"\nBest settings, to be pasted into a configuration: {file}")
        tracker.finish("tune", {})
    return benchmark.Outcome(found, failures, not tracker.down)


def sync(out: str | Path, *, say: Say, tracking_uri: str | None = None) -> dict[str, str]:
    """Write into MLflow whatever the journal has and MLflow lacks; return the experiments, empty after a failure."""
    journal = Journal(out)
    tuned = journal.read_plan("tune") is not None
    if not tuned:
        _plan(journal)
    with journal.exclusive():
        if store.choose_uri(journal.folder, tracking_uri) == store.store_uri(journal.folder):
            store.renew(store.database(journal.folder), journal.experiments(), say)
        tracker = _make_tracker(journal, tracking_uri, say)
        done = tracker.finish("tune", {}) if tuned else {}
        if journal.read_plan() is not None:
            done |= _publish(journal, tracker, say)
        return {} if tracker.down else done


def make_report(out: str | Path, folder: str | Path, *, say: Say) -> report.Report:
    """Write the report of the latest benchmark under ``out`` into ``folder``."""
    journal = Journal(out)
    plan = _plan(journal)
    # One that was started from Python knows no command: the configuration beside the page is what matters.
    made = plan.get("command") or shlex.join(["buir", "benchmark", f"{plan['name']}.yaml", "--out", str(out)])
    records = list(journal.records(plan["keys"]))
    if not any(record.ok for record in records):
        msg = f"{out}: none of the {len(plan['keys'])} runs of {plan['name']!r} is finished; run it again: {made}"
        raise ExperimentError(msg)
    # whoever lies in this folder has read the test part, also a run of an earlier configuration
    reads = Counter(record.split_digest for record in journal.records() if record.ok)
    return report.write_report(
        plan | {"test_reads": reads},
        records,
        journal.read_users,
        folder,
        command=shlex.join(["buir", "report", "--out", str(out), "--to", str(folder)]),
        rerun=made,
        progress=say,
    )


@dataclass(frozen=True)
class Outlook:
    """What is left of a benchmark; ``str()`` gives the text."""

    counts: dict[str, int]
    """Data sets, levels, models, split seeds and seeds."""
    n_cells: int
    n_missing: int
    models: dict[str, tuple[int, float]]
    """Cells to run of each model, and their processor seconds."""
    jobs: int
    seconds: float
    """On the clock, with so many jobs."""
    memory_mb: float

    def __str__(self) -> str:
        counts = " x ".join(f"{n} {what.replace('_', ' ')}" for what, n in self.counts.items())
        lines = [f"{self.n_cells} cells ({counts}); {self.n_cells - self.n_missing} finished, {self.n_missing} to run"]
        lines += [f"  {model}: {n} cells, about {readable(seconds)}" for model, (n, seconds) in self.models.items()]
        if self.n_missing:
            time, memory = readable(self.seconds), f"{self.memory_mb / 1024:.1f} GB of memory"
            lines.append(
                f"about {time} with --jobs {self.jobs}, about {memory}; right within a factor of three, and better "
                "once some cells are finished"
            )
        return "\n".join(lines)


def foresee(config: BenchmarkConfig, out: str | Path, jobs: int) -> Outlook:
    """Find how many cells a benchmark has, and about how much time and memory the missing ones need."""
    sources, journal = Sources(config), Journal(out)
    cells = benchmark.plan(config, sources)
    missing = benchmark.unfinished(cells, journal)
    forecast = Forecast(sources.sizes(), journal.records())
    names = ("data", "levels", "models", "split_seeds", "seeds")
    parts = (config.data, config.levels, config.models, config.protocol.split_seeds, config.seeds)
    by_model = {model.label: [cell for cell in missing if cell.model == model.label] for model in config.models}
    return Outlook(
        dict(zip(names, map(len, parts), strict=True)),
        len(cells),
        len(missing),
        {model: (len(mine), forecast.total(mine, 1)) for model, mine in by_model.items() if mine},
        jobs,
        forecast.total(missing, jobs) if missing else 0.0,
        forecast.memory_mb(missing, jobs) if missing else 0.0,
    )


def best_settings(config: BenchmarkConfig, records: Iterable[Record]) -> str:
    """Write the best settings as YAML: for each data set, level and split a list of entries for ``models:``."""
    entries = {model.label: model for model in config.models}
    places: dict[str, list[dict[str, Any]]] = {}
    done = [record for record in records if record.ok]
    for record in done:
        model = entries[record.model]
        entry = {name: getattr(model, name) for name in ("kind", "name", "preset") if getattr(model, name) is not None}
        params = {**model.params, **record.tuning["best_params"]}
        place = f"{record.dataset}, train {record.train_pct} %, split seed {record.split_seed}"
        places.setdefault(place, []).append(entry | ({"params": params} if params else {}))
    budgets = ", ".join(dict.fromkeys(f"{record.tuning['trials']} trials on {record.dataset}" for record in done))
    return _HEAD.format(trials=budgets or "nothing finished", name=config.name) + to_yaml(places)


def _searches(
    config: BenchmarkConfig, sources: Sources, data: str | None, model: str | None, level: float | None
) -> list[Cell]:
    """List the first cell of each search; refuse a choice among them that leaves none."""
    if config.tuning is None:
        msg = (
            f"{config.name}: the configuration has no 'tuning:', so there is nothing to search; "
            "add it, such as --set tuning.trials=20"
        )
        raise ConfigError([msg])
    for option, chosen, entries in (("--data", data, config.data), ("--model", model, config.models)):
        known = [entry.label for entry in entries]
        if chosen is not None and chosen not in known:
            msg = f"{option}: {chosen!r} is not in the configuration{suggestion(chosen, known)}"
            raise ConfigError([msg])
    groups = benchmark.group(benchmark.plan(config, sources), together=True)
    levels = dict.fromkeys(cells[0].level for cells in groups)
    if level is not None and level not in levels:
        known = ", ".join(f"{known:g}" for known in levels)
        msg = f"--level: got {level:g}, expected a level of the configuration: {known}"
        raise ConfigError([msg])
    return [cells[0] for cells in groups]


def _found(journal: Journal, cells: Sequence[Cell]) -> list[Record]:
    return [record for cell in cells if (record := journal.read_search(cell.search_key)) is not None]


def _tell_missing_models(cells: Sequence[Cell], journal: Journal, say: Say) -> None:
    """Say which finished cells can log no model, because it was not wanted when they ran."""
    done = journal.records(cell.key for cell in cells if cell.kind == "buir")
    if lost := sum(record.ok and not journal.model_file(record.key).is_file() for record in done):
        say(
            f"{lost} finished cells of BUIR ran without log_models and have no model to log; "
            "to fit them again, choose another folder with --out."
        )


def _plan(journal: Journal) -> dict[str, Any]:
    plan = journal.read_plan()
    if plan is None:
        msg = f"{journal.folder} holds no benchmark; name the folder of one with --out"
        if (file := journal.plan_file()).is_file():
            msg = f"{file} is damaged; run the benchmark again: finished cells are kept"
        raise ExperimentError(msg)
    return plan


def _make_tracker(journal: Journal, tracking_uri: str | None, say: Say) -> Tracker:
    """Choose MLflow's store and make what writes to it."""
    uri = store.choose_uri(journal.folder, tracking_uri)
    own = store.database(journal.folder) if uri == store.store_uri(journal.folder) else None
    # one that others may have made is only made where it is not there
    if own is not None:
        store.check_home(own, journal.experiments())
    if file := own or store.missing_file(uri):
        store.prepare(file, say)
    from buir.experiment.tracking import Tracker  # MLflow takes two seconds to import: the lines above come first

    return Tracker(journal, uri, say)


def _publish(journal: Journal, tracker: Tracker, say: Say) -> dict[str, str]:
    """Print tables, write figures, and bring MLflow up to date with the latest plan; return its experiments."""
    plan = _plan(journal)
    every = list(journal.records(plan["keys"]))
    headline, panels = plan["headline"], report.panels_of(plan["config"], every)
    shown = [replace(r, metrics={n: r.metrics[n] for n in headline}) if r.ok else r for r in every]
    found = findings.find(shown, journal.read_users, headlines=headline, planned=plan.get("planned"), panels=panels)
    judged = [judgement for judgement in judge(found, panels) if judgement.metric == headline[0]]
    artifacts: dict[str, dict[str, Any]] = {}

    @cache
    def page() -> str:
        return _page(journal.folder)

    for dataset, rows in frame(every).groupby("dataset", sort=False):
        here = [part for part in found if part.dataset == dataset]
        artifacts[str(dataset)] = _artifacts(journal, list(rows["record"]), here, judged, plan, say)
        artifacts[str(dataset)]["report.html"] = page
    say("")
    if mixed := mixture(every):
        say(f"warning: {mixed}")
    return tracker.finish("benchmark", artifacts)


def _page(folder: Path) -> str:
    """Make the report as one HTML page, or a page that says why there is none."""
    with tempfile.TemporaryDirectory() as place:
        try:
            made = make_report(folder, place, say=lambda _: None)
        except (ExperimentError, ValueError) as error:
            return f"<p>There is no report: {html.escape(one_line(error))}</p>"
        return made.files[0].read_text(encoding="utf-8")


def _artifacts(
    journal: Journal,
    records: Sequence[Record],
    found: Sequence[Findings],
    judged: Sequence[Judgement],
    plan: Mapping[str, Any],
    say: Say,
) -> dict[str, Any]:
    """Print the tables of a data set, write them and its figures under the folder, and return them for MLflow."""
    dataset, headline, shared = records[0].dataset, plan["headline"], shared_searches(plan["config"] or {})
    say(f"\n{report.text_report(records, found, headline, shared)}")
    answers = report.winners(found, records)
    table = report.markdown_report(records, found, headline, shared)
    journal.folder.joinpath("tables").mkdir(exist_ok=True)
    written = "\n".join([*(f"* {line}" for line in answers), "", table] if answers else [table])
    replace_atomically(journal.folder / "tables" / f"{dataset}.md", written.encode())
    figures = {"sparsity.png": report.sparsity_figure(found, list(reversed(headline)))} if found else {}
    here = [judgement for judgement in judged if any(part.place in judgement.comparisons for part in found)]
    if here:
        figures["verdicts.png"] = report.verdict_figure(here, found)
    for name, figure in figures.items():
        journal.folder.joinpath("figures").mkdir(exist_ok=True)
        figure.savefig(drawn := io.BytesIO(), format="png", dpi=150)
        replace_atomically(journal.folder / "figures" / f"{dataset}-{name}", drawn.getvalue())
    return {"answer.md": "\n".join(answers), "table.md": table} | figures
