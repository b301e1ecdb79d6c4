"""What a comparison spent: the searches for settings, the limits on them, seconds and memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from buir.experiment.records import Record, metric_label
from buir.experiment.report.pages import Fold, Section, Table
from buir.experiment.report.tables import settings_text, value_text


def tuning_section(records: Sequence[Record]) -> Section:
    """Budget, search spaces and best trials."""
    tuned = [record for record in records if record.tuning]
    section = Section("Tuning")
    if not tuned:
        section.blocks.append("No settings were searched: every model ran with the settings listed below.")
        return section
    first = tuned[0].tuning
    section.blocks += [
        f"Every model with settings to search had {_budgets(tuned)} of seeded search, for each data set, each level and each split; "
        f"models without settings took one. Trials maximise {metric_label(first['metric'])} on the validation part; "
        "the first trial is the model's defaults; hopeless trials are pruned and count.",
        _trial_limit(first["max_seconds"], tuned),
        _limits(records),
        _longest_trials(tuned),
    ]
    section.blocks.append(
        "Settings were searched on one split and used on another: pairs that decided there may be test pairs here."
        if _shared_over_splits(tuned)
        else "Each search saw the training and validation part of its own split only: no test pair has decided anything."
    )
    spaces = {record.model: record.tuning["space"] for record in tuned}
    rows = [
        [model, f"`{name}`", _bounds(setting)]
        for model, space in spaces.items()
        for name, setting in (space or {"(nothing)": {}}).items()
    ]
    section.blocks.append(Fold("Search spaces", [Table(["model", "setting", "searched"], rows, text=True)]))
    searches = {_place(record): record for record in tuned}
    lines = []
    for record in searches.values():
        tuning = record.tuning
        states = [trial["state"] for trial in tuning["results"]]
        spent = f"{len(states)} ({states.count('pruned')} pruned, {states.count('failed')} failed)"
        capped = sum(bool(trial["capped"]) for trial in tuning["results"])
        lines.append(
            [
                *where(record),
                str(record.split_seed),
                spent,
                str(capped),
                f"{record.tune_s:.1f}",
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
        "processor s",
        f"best validation {metric_label(first['metric'])}",
        "best settings",
    ]
    section.blocks.append(Fold("Best trials", [Table(head, lines, text=True)]))
    return section


def cost_section(records: Sequence[Record]) -> Section:
    """Give seconds and memory of every model, next to what they bought."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if record.status == "ok":
            groups.setdefault(where(record), []).append(record)
    rows = []
    for place, group in groups.items():
        spans = [
            _range([getattr(r, key) for r in group], digits)
            for key, digits in (("fit_s", 1), ("rank_s", 1), ("peak_mb", 0))
        ]
        # a search is shared by the model seeds of a split: its seconds are counted once
        searches = {r.split_seed: r.tune_s for r in group}
        rows.append([*place, *spans, f"{sum(searches.values()):.1f}", str(max(r.n_trials for r in group))])
    head = [
        *("data set", "level", "model", "training, processor s", "ranking, s on the clock", "peak memory, MB"),
        *("search, processor s", "trials"),
    ]
    return Section(
        "Cost",
        [
            "Mean over runs (smallest to largest). Training and search are seconds of the processor, all threads together; ranking is seconds on the wall clock. "
            "Times are of one machine; compare them with each other only.",
            Table(head, rows),
        ],
    )


def where(record: Record) -> tuple[str, str, str]:
    """Name data set, level and model of a record."""
    return record.dataset, f"{100 * record.level:.0f} %", record.model


def _trial_limit(seconds: float | None, tuned: Sequence[Record]) -> str:
    """Say which trials the clock could end, and which not."""
    if not seconds:
        return "There was no limit on the time of a trial."
    free = _fitted_in_one_go(tuned)
    text = f"A trial of a model that trains in epochs ends at its first validation after {seconds:g} processor seconds of training, and keeps its best validated weights."
    if not free:
        return text
    return f"{text} Models that are fitted in one go ({', '.join(free)}) **cannot be ended**: their trials took what they took."


def _longest_trials(tuned: Sequence[Record]) -> Table:
    """Show the longest trial of each model: what the clock did not end may have had more time than what it did."""
    free = _fitted_in_one_go(tuned)
    longest: dict[str, tuple[float, Record]] = {}
    for record in tuned:
        seconds = max((trial["seconds"] for trial in record.tuning["results"]), default=0.0)
        if record.model not in longest or seconds > longest[record.model][0]:
            longest[record.model] = (seconds, record)
    rows = [
        [model, "no" if model in free else "yes", f"{seconds:.1f}", " ".join(where(record)[:2])]
        for model, (seconds, record) in longest.items()
    ]
    head = ["model", "can be ended by the clock", "longest trial, processor s", "on"]
    return Table(head, rows, "Longest trial of each model", text=True)


def _fitted_in_one_go(records: Sequence[Record]) -> list[str]:
    """Name the models that have no epochs: nothing asks them during their training."""
    return list(dict.fromkeys(record.model for record in records if "epochs" not in record.params))


def _limits(records: Sequence[Record]) -> str:
    """Say how long the reported runs were allowed to train, and how many of each model were ended."""
    limits = sorted({record.fit_seconds for record in records if record.fit_seconds})
    if not limits:
        return "The clock limits trials only, not the runs that are reported."
    free = _fitted_in_one_go(records)
    counts: dict[str, list[bool]] = {}
    for record in records:
        if record.status == "ok" and record.model not in free:
            counts.setdefault(record.model, []).append(bool(record.capped))
    ended = ", ".join(f"{model} {sum(hit)} of {len(hit)}" for model, hit in counts.items())
    return (
        f"The runs that are reported have {' or '.join(f'{limit:g}' for limit in limits)} processor seconds to train, the same for every model that "
        f"trains in epochs; they end at the first validation after that, and the best validated weights until then are kept. "
        f"Runs that were ended so: {ended or 'none'}. Models that are fitted in one go are never ended."
    )


def _shared_over_splits(tuned: Sequence[Record]) -> bool:
    """Tell whether one search served several splits of the same data and level."""
    digests: dict[str, set[str]] = {}
    for record in tuned:
        results = record.tuning["results"]
        # times are never equal by chance: equal trials are the same trials
        place = json.dumps([*where(record), results], sort_keys=True)
        digests.setdefault(place, set()).add(record.split_digest)
    return any(len(found) > 1 for found in digests.values())


def _place(record: Record) -> tuple[Any, ...]:
    """Identify one search: the model seeds of a split share it."""
    return (*where(record), record.split_seed)


def _budgets(tuned: Sequence[Record]) -> str:
    """Write the trials that each data set was given."""
    trials = {record.dataset: record.tuning["trials"] for record in tuned}
    if len(set(trials.values())) == 1:
        return f"{next(iter(trials.values()))} trials"
    return ", ".join(f"{number} trials on {dataset}" for dataset, number in trials.items())


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
