"""The report of a benchmark: one HTML file, one Markdown page with its figures, CSV files with every number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buir.experiment.config import recipe
from buir.experiment.records import Record, mixture, replace_atomically
from buir.experiment.report import appendix, csvfiles, outcomes, sections, spending
from buir.experiment.report.pages import Page
from buir.experiment.statistics import HEADLINES, Findings, ReadUsers, findings


@dataclass(frozen=True)
class Report:
    """Where a report lies, and what it found."""

    html: Path
    markdown: Path
    table: Path
    """Every mean with its interval."""
    differences: Path
    groups: Path
    config: Path | None
    """What runs the benchmark again."""
    findings: list[Findings]
    warning: str | None
    """What a reader has to know before anything else."""

    @property
    def files(self) -> list[Path]:
        """All files, the page first."""
        files = [self.html, self.markdown, self.table, self.differences, self.groups]
        return [*files, self.config] if self.config else files


def write_report(
    records: Sequence[Record],
    read_users: ReadUsers,
    folder: str | Path,
    *,
    name: str,
    config: dict[str, Any] | None = None,
    expected: int | None = None,
    command: str | None = None,
    rerun: str | None = None,
    plan: Mapping[str, Any] | None = None,
    references: Sequence[str] | None = None,
    headlines: Sequence[str] = HEADLINES,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> Report:
    """Write ``<name>.html``, ``<name>.md`` with ``<name>-figures/``, the numbers as CSV, and the configuration.

    The numbers are in ``<name>.csv`` (means), ``<name>-differences.csv`` and ``<name>-groups.csv``; the configuration, if it
    is given, in ``<name>.yaml``.

    Parameters
    ----------
    records
        Cell records of one benchmark, refused ones included.
    read_users
        From a cell's key to its per-user frame.
    folder
        Where the files go.
    name
        Of the benchmark; also the stem of the files.
    config
        The benchmark's configuration, to be printed.
    expected
        Number of cells planned; if more than there are records, the report says that it is not complete.
    command
        The command that makes this report, to be printed.
    rerun
        The command that makes the runs, to be printed.
    plan
        How the runs were started, see `buir.experiment.report.appendix.provenance_section`.
    references
        Models whose wins and losses are shown; by default all variants of BUIR.
    headlines
        Metrics that are tested; the first one decides the advice.
    confidence
        Of intervals, and 1 - alpha of the tests.
    seed
        Of all resampling: the same records give the same report.
    progress
        Told which part begins.

    Raises
    ------
    ValueError
        If no cell is finished, or values cannot be compared (see `buir.experiment.statistics.panel.make_panels`).
    """
    if not any(record.status == "ok" for record in records):
        msg = f"no finished run among {len(records)} records of {name}: run the benchmark first, then report"
        raise ValueError(msg)
    records = sorted(records, key=_order(records))
    references = findings.reference_models(records) if references is None else tuple(references)
    unknown = [model for model in references if model not in {record.model for record in records}]
    if unknown:
        msg = f"reference {unknown[0]!r} is not in the benchmark; its models are {', '.join(dict.fromkeys(r.model for r in records))}"
        raise ValueError(msg)
    found = findings.find(
        records,
        read_users,
        references=references,
        headlines=headlines,
        confidence=confidence,
        seed=seed,
        progress=progress,
    )
    page = Page(
        f"{name}: which model, on how much data?",
        [
            sections.summary(records, found, expected, report=command, rerun=rerun),
            sections.recommendation(records, found),
            sections.protocol(records, found, confidence),
            *outcomes.results(records, found),
            *outcomes.verdicts(found, references),
            *outcomes.user_groups(found),
            *outcomes.item_groups(records, found),
            *outcomes.other_metrics(records, found),
            spending.cost_section(records),
            spending.tuning_section(records),
            appendix.settings_section(records),
            appendix.gaps_section(records, expected),
            appendix.provenance_section(records, config, plan),
        ],
    )
    if progress is not None:
        progress("writing")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text, figures = page.markdown(f"{name}-figures")
    places = Report(
        folder / f"{name}.html",
        folder / f"{name}.md",
        folder / f"{name}.csv",
        folder / f"{name}-differences.csv",
        folder / f"{name}-groups.csv",
        folder / f"{name}.yaml" if config is not None else None,
        found,
        mixture(records),
    )
    for file, content in figures.items():
        (folder / f"{name}-figures").mkdir(exist_ok=True)
        replace_atomically(folder / f"{name}-figures" / file, content)
    replace_atomically(places.table, csvfiles.means(found).encode())
    replace_atomically(places.differences, csvfiles.differences(found).encode())
    replace_atomically(places.groups, csvfiles.groups(records, found).encode())
    if config is not None and places.config is not None:
        replace_atomically(places.config, recipe(config).encode())
    replace_atomically(places.html, page.html().encode())
    replace_atomically(places.markdown, text.encode())
    return places


def _order(records: Sequence[Record]) -> Callable[[Record], tuple[Any, ...]]:
    """Order data sets and models as they came, levels and seeds ascending, no matter in which order runs were finished."""
    datasets = {name: place for place, name in enumerate(dict.fromkeys(record.dataset for record in records))}
    models = {name: place for place, name in enumerate(dict.fromkeys(record.model for record in records))}

    def key(record: Record) -> tuple[Any, ...]:
        first = (datasets[record.dataset], record.protocol, record.level)
        return (*first, models[record.model], record.split_seed, record.seed)

    return key
