"""The back of a report: what was set and refused, and which data, machines and versions were used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from buir.experiment.config import named_by_variable
from buir.experiment.records import Record, provenance
from buir.experiment.report.pages import Block, Fold, Section, Table
from buir.experiment.report.spending import where
from buir.experiment.report.tables import settings_text


def settings_section(records: Sequence[Record]) -> Section:
    """List all settings with which the measured models ran."""
    shown: dict[tuple[Any, ...], set[str]] = {}
    for record in records:
        text = f"`{settings_text(record.params)}`"
        shown.setdefault((*where(record), text), set()).add(str(record.seed))
    rows = [[*place[:3], ", ".join(sorted(seeds)), place[3]] for place, seeds in shown.items()]
    return Section(
        "Settings",
        [
            Fold(
                "All settings of all models",
                [Table(["data set", "level", "model", "seeds", "settings"], rows, text=True)],
            )
        ],
    )


def gaps_section(records: Sequence[Record], expected: int | None) -> Section:
    """Say what is missing."""
    refused = [record for record in records if record.status == "refused"]
    blocks: list[Block] = []
    if expected is not None and expected > len(records):
        blocks.append(
            f"**{expected - len(records)} of {expected} runs are not finished**: intervals and verdicts will change when they are."
        )
    if refused:
        reasons: dict[tuple[str, ...], None] = {(*where(record), str(record.reason)): None for record in refused}
        blocks.append(
            Table(["data set", "level", "model", "refused because"], [list(line) for line in reasons], text=True)
        )
    return Section("What is missing", blocks or ["Nothing: every run was finished and no model refused the data."])


def provenance_section(
    records: Sequence[Record], config: dict[str, Any] | None, plan: Mapping[str, Any] | None = None
) -> Section:
    """List splits with their digests, machines, versions, commits, commands and the configuration.

    Parameters
    ----------
    records
        Of all runs.
    config
        Of the benchmark.
    plan
        What is known of how the runs were started: its ``command`` and ``jobs``, if they are known.
    """
    splits: dict[tuple[str, ...], None] = {}
    for record in records:
        data = record.data or {}
        sizes = [f"{data[name]:,}" if name in data else "" for name in ("users", "items", "train", "valid", "test")]
        splits[(*where(record)[:2], str(record.split_seed), f"`{record.split_digest}`", *sizes)] = None
    head = [
        "data set",
        "level",
        "split seed",
        "digest of the split",
        "users",
        "items",
        "training pairs",
        "validation",
        "test",
    ]
    blocks: list[Block] = [Table(head, [list(row) for row in splits], caption="Splits")]
    blocks += [_machines(records, plan or {}), _versions(records)]
    counts = [[f"`{commit}`", str(number)] for commit, number in provenance.commits(records).items()]
    blocks.append(Table(["commit", "runs"], counts, caption="Commits of the package's source that computed the runs"))
    keys = Table(
        ["key", "data set", "level", "model", "split seed", "seed"], [_key_row(record) for record in records], text=True
    )
    blocks.append(Fold("Keys of all runs", [keys]))
    if config is not None:
        shown = {**config, "data": named_by_variable(config)}
        rows = [[name, f"`{json.dumps(value)}`"] for name, value in shown.items()]
        blocks.append(Fold("Configuration", [Table(["key", "value"], rows, text=True)]))
    return Section("Data, versions, configuration", blocks)


def _machines(records: Sequence[Record], plan: Mapping[str, Any]) -> Table:
    """Describe the machines of the runs; older records do not know theirs."""
    known: dict[tuple[str, ...], int] = {}
    for record in records:
        about = record.machine
        cells = [str(about[name]) for name in ("processor", "cores", "threads", "system")] if about else ["unknown"] * 4
        known[tuple(cells)] = known.get(tuple(cells), 0) + 1
    rows = [["runs", str(number), *cells] for cells, number in known.items()]
    here = provenance.machine()
    rows.append(["this page", "", str(here["processor"]), str(here["cores"]), "", here["system"]])
    caption = f"Machines. Latest start of the runs: {plan.get('command') or 'command not recorded'}; cells at the same time (--jobs): {plan.get('jobs', 'not recorded')}."
    return Table(["what", "number", "processor", "cores", "threads of a run", "system"], rows, caption, text=True)


def _versions(records: Sequence[Record]) -> Table:
    """List the versions that records hold, and for packages that they do not know those that are installed now."""
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in (record.versions or {}).items():
            versions.setdefault(name, {})[str(version)] = None
    rows = [[name, ", ".join(found)] for name, found in versions.items()]
    late = {name: version for name, version in provenance.versions().items() if name not in versions}
    rows += [[name, f"{version} (when this page was made; not recorded by the runs)"] for name, version in late.items()]
    return Table(["what", "version"], rows, caption="Versions", text=True)


def _key_row(record: Record) -> list[str]:
    return [f"`{record.key}`", *where(record), str(record.split_seed), str(record.seed)]
