"""A comparison from its configuration to tables, figures and MLflow."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buir.experiment.records import Journal, NothingToShowError, mixture, replace_atomically
from buir.experiment.report import (
    Report,
    markdown_report,
    sparsity_figure,
    text_report,
    verdict_figure,
    winners,
    write_report,
)
from buir.experiment.run import Forecast, Progress, Size, Sources, fit_outcome, readable
from buir.experiment.run import plan as benchmark
from buir.experiment.statistics import findings
from buir.experiment.tracking import store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buir.experiment.config import BenchmarkConfig
    from buir.experiment.records import Cell, Record
    from buir.experiment.statistics import Findings

    Say = Callable[[str], None]
    """Takes lines for the reader."""


def compare(
    config: BenchmarkConfig,
    out: str | Path,
    *,
    say: Say,
    jobs: int = 1,
    tracking_uri: str | None = None,
    command: str | None = None,
) -> benchmark.Outcome:
    """Run what is missing of a benchmark; write tables, figures and MLflow runs; return the records.

    Parameters
    ----------
    config
        What to compare.
    out
        Folder for everything that comes out.
    say
        Takes the lines that a reader should see: tables and warnings.
    jobs
        Processes that run cells.
    tracking_uri
        MLflow's store; see :func:`buir.experiment.tracking.store.choose_uri` for the default.
    command
        The command line that asks for this, to be kept with the plan.
    """
    journal = Journal(out)
    with journal.exclusive():
        sources = Sources(config)
        cells = benchmark.plan(config, sources)
        missing = benchmark.unfinished(cells, journal)
        if len(missing) < len(cells):
            say(f"{len(cells) - len(missing)} of {len(cells)} cells are finished already and are not run again.")
        if config.log_models:
            _tell_missing_models(cells, journal, say)
        tracker = make_tracker(journal, out, tracking_uri, say)
        forecast = Forecast(sizes(config, sources), journal.records())
        metric = benchmark.headline(config.metrics.ks)[0]
        progress = Progress(missing, forecast, jobs=jobs, outcome=fit_outcome(metric), on_record=tracker.log)
        try:
            outcome = benchmark.run(config, out, progress, jobs=jobs, sources=sources, cells=cells, command=command)
        finally:
            progress.close()
        publish(journal, tracker, say)
    return outcome


def publish(journal: Journal, tracker: Any, say: Say) -> dict[str, str]:
    """Print tables, write figures, and bring MLflow up to date with the latest plan; return its experiments."""
    plan = _plan(journal)
    artifacts: dict[str, dict[str, Any]] = {}
    every = list(journal.records(plan["keys"]))
    for dataset, records in by_dataset(every).items():
        found = _findings(journal, records, plan["headline"])
        say("")
        say(text_report(records, found, plan["headline"]))
        artifacts[dataset] = _artifacts(journal, dataset, records, found, plan["headline"])
    say("")
    if mixed := mixture(every):
        say(f"warning: {mixed}")
    return tracker.finish(artifacts)


def sync(out: str | Path, *, say: Say, tracking_uri: str | None = None) -> dict[str, str]:
    """Write into MLflow whatever the journal has and MLflow lacks; return the experiments, empty after a failure."""
    journal = Journal(out)
    tuned = journal.read_plan("tune") is not None
    if not tuned:
        _plan(journal)
    with journal.exclusive():
        tracker = make_tracker(journal, out, tracking_uri, say)
        done = tracker.finish_searches() if tuned else {}
        if journal.read_plan() is not None:
            done |= publish(journal, tracker, say)
        return {} if tracker.down else done


def make_report(out: str | Path, folder: str | Path, *, say: Say) -> Report:
    """Write the report of the latest benchmark under ``out`` into ``folder``."""
    journal = Journal(out)
    plan = _plan(journal)
    # Plans of older versions do not know how they were started: the configuration beside the page is all that matters.
    made = plan.get("command") or shlex.join(["buir", "benchmark", f"{plan['name']}.yaml", "--out", str(out)])
    records = list(journal.records(plan["keys"]))
    if not any(record.status == "ok" for record in records):
        msg = f"{out}: none of the {len(plan['keys'])} runs of {plan['name']!r} is finished; run it again: {made}"
        raise NothingToShowError(msg)
    return write_report(
        records,
        journal.read_users,
        folder,
        name=plan["name"],
        config=plan["config"],
        expected=len(plan["keys"]),
        command=shlex.join(["buir", "report", "--out", str(out), "--to", str(folder)]),
        rerun=made,
        plan=plan,
        headlines=plan["headline"],
        progress=say,
    )


def forecast_text(config: BenchmarkConfig, out: str | Path, jobs: int) -> str:
    """Say how many cells a benchmark has, and about how much time and memory they need."""
    sources = Sources(config)
    cells = benchmark.plan(config, sources)
    journal = Journal(out)
    missing = benchmark.unfinished(cells, journal)
    forecast = Forecast(sizes(config, sources), journal.records())
    counts = (
        f"{len(config.data)} data x {len(config.protocol.levels)} levels x {len(config.models)} models x "
        f"{len(config.protocol.split_seeds)} split seeds x {len(config.seeds)} seeds"
    )
    lines = [f"{len(cells)} cells ({counts}); {len(cells) - len(missing)} finished, {len(missing)} to run"]
    for model in config.models:
        mine = [cell for cell in missing if cell.model == model.label]
        if mine:
            lines.append(f"  {model.label}: {len(mine)} cells, about {readable(forecast.total(mine, 1))}")
    if missing:
        lines.append(
            f"about {readable(forecast.total(missing, jobs))} with --jobs {jobs}, about "
            f"{forecast.memory_mb(missing, jobs) / 1024:.1f} GB of memory; right within a factor of three, and "
            "better once some cells are finished"
        )
    return "\n".join(lines)


def sizes(config: BenchmarkConfig, sources: Sources) -> dict[tuple[str, float], Size]:
    """Sizes of the training data by data set and level."""
    first = config.protocol.split_seeds[0]
    return {
        (data.label, level): Size(split.train.n_users, split.train.n_items, split.train.n_pairs)
        for data in config.data
        for level, split in sources.splits(data.label, first).items()
    }


def by_dataset(records: Any) -> dict[str, list[Record]]:
    """Sort records by data set, in their order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.dataset, []).append(record)
    return found


def _tell_missing_models(cells: Sequence[Cell], journal: Journal, say: Say) -> None:
    """Say which finished cells can log no model, because it was not wanted when they ran."""
    done = [cell.key for cell in cells if cell.kind == "buir"]
    lost = [r.key for r in journal.records(done) if r.status == "ok" and not journal.model_file(r.key).is_file()]
    if lost:
        say(
            f"{len(lost)} finished cells of BUIR ran without log_models and have no model to log; "
            "to fit them again, choose another folder with --out."
        )


def _plan(journal: Journal) -> dict[str, Any]:
    plan = journal.read_plan()
    file = journal.plan_file()
    if plan is None and file.is_file():
        msg = f"{file} is damaged (not JSON); run the benchmark again: finished cells are kept"
        raise NothingToShowError(msg)
    if plan is None:
        msg = f"{journal.folder} holds no benchmark; name the folder of one with --out"
        raise NothingToShowError(msg)
    return plan


def _findings(journal: Journal, records: Sequence[Record], headline: Sequence[str]) -> list[Findings]:
    """Analyse the headline metrics of one data set; nothing if nothing is finished."""
    done = [record for record in records if record.status == "ok"]
    shown = [replace(r, metrics={name: r.metrics[name] for name in headline}) for r in done]
    return findings.find(shown, journal.read_users, headlines=headline)


def _artifacts(
    journal: Journal, dataset: str, records: Sequence[Record], found: Sequence[Findings], headline: Sequence[str]
) -> dict[str, Any]:
    """Write the tables and the figures of a data set under the folder, and return them for MLflow."""
    answers = "\n".join(f"* {line}" for line in winners(found))
    table = "\n\n".join([*([answers] if answers else []), markdown_report(records, found, headline)])
    artifacts: dict[str, Any] = {"table.md": table}
    journal.folder.joinpath("tables").mkdir(exist_ok=True)
    replace_atomically(journal.folder / "tables" / f"{dataset}.md", table.encode())
    if found:
        artifacts["sparsity.png"] = sparsity_figure(found, list(reversed(headline)))
        references = findings.reference_models(records)
        if len({record.model for record in records if record.status == "ok"}) > 1:
            artifacts["verdicts.png"] = verdict_figure(found, references, headline[0])
    for name, figure in artifacts.items():
        if name.endswith(".png"):
            journal.folder.joinpath("figures").mkdir(exist_ok=True)
            figure.savefig(journal.folder / "figures" / f"{dataset}-{name}", dpi=150)
    return artifacts


def make_tracker(journal: Journal, out: str | Path, tracking_uri: str | None, say: Say) -> Any:
    """Choose MLflow's store and make what writes to it."""
    uri = store.choose_uri(out, tracking_uri)
    if store.is_new(uri):
        say("Creating the MLflow store (once, a few seconds).")
    from buir.experiment.tracking import Tracker  # MLflow takes two seconds to import: the line above comes first

    return Tracker(journal, uri, say)
