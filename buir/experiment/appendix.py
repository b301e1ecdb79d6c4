"""The back of a report: what was searched, set, spent and refused, and which data and versions were used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from buir.experiment.figures import metric_label
from buir.experiment.pages import Block, Cell, Fold, Section, Table
from buir.experiment.panel import Record
from buir.experiment.tables import settings_text, value_text


def tuning_section(records: Sequence[Record]) -> Section:
    """Budget, search spaces and best trials."""
    tuned = [record for record in records if record.get("tuning")]
    section = Section("Tuning")
    if not tuned:
        section.blocks.append("No settings were searched: every model ran with the settings listed below.")
        return section
    first = tuned[0]["tuning"]
    cap = f"at most {first['max_seconds']:g} s of training each" if first["max_seconds"] else "no limit on their time"
    section.blocks += [
        f"Every model with settings to search had {_budgets(tuned)} of seeded search, {cap}, for each data set, each level and each split; "
        f"models without settings took one. Trials maximise {metric_label(first['metric'])} on the validation part; "
        "the first trial is the model's defaults; hopeless trials are pruned and count.",
        _limits(records),
    ]
    section.blocks.append(
        "Settings were searched on one split and used on another: pairs that decided there may be test pairs here."
        if _shared_over_splits(tuned)
        else "Each search saw the training and validation part of its own split only: no test pair has decided anything."
    )
    spaces = {record["model"]: record["tuning"]["space"] for record in tuned}
    rows = [
        [model, f"`{name}`", _bounds(setting)]
        for model, space in spaces.items()
        for name, setting in (space or {"(nothing)": {}}).items()
    ]
    section.blocks.append(Fold("Search spaces", [Table(["model", "setting", "searched"], rows, text=True)]))
    searches = {_place(record): record for record in tuned}
    lines = []
    for record in searches.values():
        tuning = record["tuning"]
        states = [trial["state"] for trial in tuning["results"]]
        spent = f"{len(states)} ({states.count('pruned')} pruned, {states.count('failed')} failed)"
        capped = sum(bool(trial["capped"]) for trial in tuning["results"])
        lines.append(
            [
                *_where(record),
                str(record["split_seed"]),
                spent,
                str(capped),
                f"{record['tune_s']:.1f}",
                f"{tuning['best_value']:.4f}",
                f"`{settings_text(tuning['best_params'])}`",
            ]
        )
    head = [
        "data set",
        "level",
        "model",
        "split seed",
        "trials",
        "stopped by the clock",
        "seconds",
        f"best validation {metric_label(first['metric'])}",
        "best settings",
    ]
    section.blocks.append(Fold("Best trials", [Table(head, lines, text=True)]))
    return section


def settings_section(records: Sequence[Record]) -> Section:
    """List all settings with which the measured models ran."""
    shown: dict[tuple[Any, ...], set[str]] = {}
    for record in records:
        text = f"`{settings_text(record['params'])}`"
        shown.setdefault((*_where(record), text), set()).add(str(record["seed"]))
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


def cost_section(records: Sequence[Record]) -> Section:
    """Give seconds and memory of every model, next to what they bought."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if record["status"] == "ok":
            groups.setdefault(_where(record), []).append(record)
    rows = []
    for where, group in groups.items():
        spans = [
            _range([r.get(key) for r in group], digits) for key, digits in (("fit_s", 1), ("rank_s", 1), ("peak_mb", 0))
        ]
        # a search is shared by the model seeds of a split: its seconds are counted once
        searches = {r["split_seed"]: r["tune_s"] for r in group}
        rows.append([*where, *spans, f"{sum(searches.values()):.1f}", str(max(r["n_trials"] for r in group))])
    head = ["data set", "level", "model", "training, s", "ranking, s", "peak memory, MB", "search, s", "trials"]
    return Section(
        "Cost",
        [
            "Mean over runs (smallest to largest). Training and search are seconds of the processor, all threads together. Times are of one machine; compare them with each other only.",
            Table(head, rows),
        ],
    )


def gaps_section(records: Sequence[Record], expected: int | None) -> Section:
    """Say what is missing."""
    refused = [record for record in records if record["status"] == "refused"]
    blocks: list[Block] = []
    if expected is not None and expected > len(records):
        blocks.append(
            f"**{expected - len(records)} of {expected} runs are not finished**: intervals and verdicts will change when they are."
        )
    if refused:
        reasons: dict[tuple[str, ...], None] = {(*_where(record), str(record["reason"])): None for record in refused}
        blocks.append(
            Table(["data set", "level", "model", "refused because"], [list(line) for line in reasons], text=True)
        )
    return Section("What is missing", blocks or ["Nothing: every run was finished and no model refused the data."])


def provenance_section(records: Sequence[Record], config: dict[str, Any] | None) -> Section:
    """List splits with their digests, versions, commits and the configuration."""
    splits: dict[tuple[str, ...], None] = {}
    for record in records:
        data = record.get("data") or {}
        sizes = [f"{data[name]:,}" if name in data else "" for name in ("users", "items", "train", "valid", "test")]
        splits[(*_where(record)[:2], str(record["split_seed"]), f"`{record['split_digest']}`", *sizes)] = None
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
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in (record.get("versions") or {}).items():
            versions.setdefault(name, {})[str(version)] = None
        versions.setdefault("commit", {})[str(record.get("git_commit") or "unknown")] = None
    rows: list[list[str | Cell]] = [[name, ", ".join(found)] for name, found in versions.items()]
    blocks.append(Table(["what", "version"], rows, caption="Versions", text=True))
    keys = Table(
        ["key", "data set", "level", "model", "split seed", "seed"], [_key_row(record) for record in records], text=True
    )
    blocks.append(Fold("Keys of all runs", [keys]))
    if config is not None:
        blocks.append(
            Fold(
                "Configuration",
                [Table(["key", "value"], [[k, f"`{json.dumps(v)}`"] for k, v in config.items()], text=True)],
            )
        )
    return Section("Data, versions, configuration", blocks)


def _shared_over_splits(tuned: Sequence[Record]) -> bool:
    """Tell whether one search served several splits of the same data and level."""
    digests: dict[str, set[str]] = {}
    for record in tuned:
        results = record["tuning"]["results"]
        # times are never equal by chance: equal trials are the same trials
        place = json.dumps([*_where(record), results], sort_keys=True)
        digests.setdefault(place, set()).add(record["split_digest"])
    return any(len(found) > 1 for found in digests.values())


def _key_row(record: Record) -> list[str]:
    return [f"`{record['key']}`", *_where(record), str(record["split_seed"]), str(record["seed"])]


def _where(record: Record) -> tuple[str, str, str]:
    return record["dataset"], f"{100 * record['level']:.0f} %", record["model"]


def _place(record: Record) -> tuple[Any, ...]:
    """Identify one search: the model seeds of a split share it."""
    return (*_where(record), record["split_seed"])


def _budgets(tuned: Sequence[Record]) -> str:
    """Write the trials that each data set was given."""
    trials = {record["dataset"]: record["tuning"]["trials"] for record in tuned}
    if len(set(trials.values())) == 1:
        return f"{next(iter(trials.values()))} trials"
    return ", ".join(f"{number} trials on {dataset}" for dataset, number in trials.items())


def _limits(records: Sequence[Record]) -> str:
    """Say how long the reported runs were allowed to train, and how many of each model were ended."""
    limits = sorted({record["fit_seconds"] for record in records if record.get("fit_seconds")})
    if not limits:
        return "The clock limits trials only, not the runs that are reported."
    counts: dict[str, list[bool]] = {}
    for record in records:
        if record["status"] == "ok":
            counts.setdefault(record["model"], []).append(bool(record.get("capped")))
    ended = ", ".join(f"{model} {sum(hit)} of {len(hit)}" for model, hit in counts.items())
    return (
        f"The runs that are reported train for at most {' or '.join(f'{limit:g}' for limit in limits)} s, the same for every model that "
        f"trains in epochs; the best validated weights until then are kept. Runs that were ended by it: {ended}."
    )


def _bounds(setting: dict[str, Any]) -> str:
    if "choices" in setting:
        return ", ".join(value_text(choice) for choice in setting["choices"])
    if not setting:
        return ""
    extra = (
        " (logarithmic)"
        if setting.get("log")
        else f" in steps of {value_text(setting['step'])}"
        if setting.get("step")
        else ""
    )
    return f"{value_text(setting['low'])} to {value_text(setting['high'])}{extra}"


def _range(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    mean = f"{sum(known) / len(known):,.{digits}f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):,.{digits}f} to {max(known):,.{digits}f})"
