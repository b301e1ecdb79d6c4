"""The back of a report: what was spent, searched, set and refused, and which data, machines and versions were used."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from buir.errors import counted
from buir.experiment.config import named_by_variable, shared_searches
from buir.experiment.records import Record, frame, metric_label, provenance
from buir.experiment.report import choices, fits
from buir.experiment.report.blocks import Block, Section, Table, table
from buir.experiment.report.words import settings_text, span_text, value_text

_WHERE = ["data set", "level", "model"]


def sections(plan: Mapping[str, Any], records: Sequence[Record]) -> list[Section]:
    """Make the sections that say how the results came about."""
    runs = frame(records)
    runs["share"] = runs["train_pct"].map("{:g} %".format)
    config = plan["config"] or {}
    shared, done = shared_searches(config), [record for record in records if record.ok]
    tuned = [record for record in done if record.tuning]
    metric = tuned[0].tuning["metric"] if tuned else plan["headline"][0]
    chosen = any(record.tuning or record.chosen or record.history for record in done)
    return [
        _cost(runs, shared),
        _tuning(records, tuned, shared, config.get("notes", ())),
        *([choices.section(done, shared, metric), *choices.terms_section(done), fits.section(done)] if chosen else []),
        _settings(runs),
        _gaps(plan, runs),
        _provenance(plan, records),
    ]


def _cost(runs: pd.DataFrame, shared: Mapping[str, str]) -> Section:
    """Give seconds and memory of every model, next to what they bought."""
    rows = []
    for place, group in runs[runs["status"] == "ok"].groupby(["dataset", "share", "model"], sort=False):
        model = str(place[2])
        # a search is shared by the model seeds of a split, and maybe by models: its seconds are counted once
        search = f"{group.drop_duplicates('split_seed', keep='last')['tune_s'].sum():.1f}"
        search = f"in {shared[model]}" if model in shared else search
        forms = {"fit_s": ",.1f", "rank_s": ",.1f", "peak_mb": ",.0f"}
        spans = (span_text(group[name].tolist(), form, equal=True) for name, form in forms.items())
        rows.append([*place, *spans, search, "" if model in shared else str(group["n_trials"].max())])
    head = ["training, processor s", "ranking, s on the clock", "peak memory, MB", "search, processor s", "trials"]
    text = (
        "Mean over runs (smallest to largest). Training and search are seconds of the processor, all threads together; "
        "ranking is seconds on the wall clock. A search that models share is counted once, in the one that made it. "
        "Times are of one machine; compare them with each other only."
    )
    return Section("Cost", [text, table([*_WHERE, *head], rows)])


def _tuning(
    records: Sequence[Record], tuned: Sequence[Record], shared: Mapping[str, str], notes: Sequence[str]
) -> Section:
    """Tell budget, limits, search spaces and best trials."""
    if not tuned:
        return Section("Tuning", ["No settings were searched: every model ran with the settings listed below."])
    metric, free = metric_label(tuned[0].tuning["metric"]), _fitted_in_one_go(tuned)
    own = [record for record in tuned if record.model not in shared]
    limit = "There was no limit on the time of a trial."
    searched = [record for record in tuned if record.tuning["space"]] or tuned
    if limits := sorted({record.tuning["max_seconds"] for record in searched} - {None}):
        seconds = " or ".join(f"{seconds:g}" for seconds in limits)
        limit = (
            f"A trial of a model that trains in epochs ends at its first validation after {seconds} processor "
            "seconds of training, and keeps its best validated weights."
        )
        if free:
            limit += f" Models that are fitted in one go ({', '.join(free)}) **cannot be ended**: "
            limit += "their trials took what they took."
    return Section(
        "Tuning",
        [
            f"A search is made anew for each data set, each level and each split. Trials maximise {metric} on "
            f"{_deciding(tuned)}; the first trial is the model's defaults; hopeless trials are pruned and count.",
            _budgets(own, shared),
            limit,
            _limits(records),
            *(["Where candidates come from:", [*notes]] if notes else []),
            _longest_trials(own, free),
            "Settings were searched on one split and used on another: pairs that decided there may be test pairs here."
            if _shared_over_splits(tuned)
            else f"Each search saw the {_seen(tuned)} of its own split only: no test pair has decided anything.",
            Section("Search spaces", [_spaces(own)]),
            Section("Best trials", [_best_trials(own, metric)]),
        ],
    )


def _deciding(tuned: Sequence[Record]) -> str:
    """Name the pairs that decide."""
    return "pairs held out of the training part" if _decided_inside(tuned) else "the validation part"


def _seen(tuned: Sequence[Record]) -> str:
    return "training part" if _decided_inside(tuned) else "training and validation part"


def _decided_inside(tuned: Sequence[Record]) -> bool:
    return {record.decided_on for record in tuned} == {"inner"}


def _budgets(own: Sequence[Record], shared: Mapping[str, str]) -> list[str]:
    """Say who had how many trials, drawn how, and who took the settings of whose search."""
    asked: dict[str, dict[str, dict[str, str]]] = {}
    for record in own:
        n, sampler = record.tuning["trials"], record.tuning.get("sampler", "tpe")
        words = counted(n, "trial") + (", drawn at random" if sampler == "random" else "")
        levels = asked.setdefault(record.model, {}).setdefault(record.dataset, {})
        levels[f"{record.dataset} at {record.train_pct} %"] = words if record.tuning["space"] else ""
    groups: dict[str, list[str]] = {}
    for model, by_dataset in asked.items():
        places: dict[str, list[str]] = {}
        for dataset, levels in by_dataset.items():
            same = len(set(levels.values())) == 1
            for place, words in ({dataset: next(iter(levels.values()))} if same else levels).items():
                places.setdefault(words, []).append(place)
        text = "; ".join(
            (words or "nothing to search") + f" on {', '.join(sets)}" if len(places) > 1 else words
            for words, sets in places.items()
        )
        groups.setdefault(text, []).append(model)
    lines = [f"{text}: {', '.join(names)}." for text, names in groups.items() if text]
    if len(lines) == 1:
        lines = [f"Every model with settings to search had the same budget, {lines[0]}"]
    lines += [f"Nothing to search, one fit on validation data: {', '.join(groups[''])}."] if "" in groups else []
    takers = ", ".join(f"{model} (of {owner})" for model, owner in shared.items())
    return [*lines, *([f"No search of their own, but the settings of another one's: {takers}."] if takers else [])]


def _limits(records: Sequence[Record]) -> str:
    """Say how long the reported runs were allowed to train, and how many of each model were ended."""
    limits = sorted({record.fit_seconds for record in records if record.fit_seconds})
    if not limits:
        return "The clock limits trials only, not the runs that are reported."
    free = _fitted_in_one_go(records)
    timed = [record for record in records if record.ok and record.model not in free]
    runs, hit = Counter(r.model for r in timed), Counter(r.model for r in timed if r.capped)
    ended = ", ".join(f"{model} {hit[model]} of {number}" for model, number in runs.items())
    return (
        f"The runs that are reported have {' or '.join(f'{limit:g}' for limit in limits)} processor seconds to train, "
        "the same for every model that trains in epochs; they end at the first validation after that, and the best "
        f"validated weights until then are kept. Runs that were ended so: {ended or 'none'}. Models that are fitted in "
        "one go are never ended."
        + (" Training again on everything, as decided, takes what it takes." if _decided_inside(timed) else "")
    )


def _longest_trials(tuned: Sequence[Record], free: Sequence[str]) -> Table:
    """Show the longest trial of each model: what the clock did not end may have had more time than what it did."""
    rows = []
    for model, mine in frame(tuned).groupby("model", sort=False):
        seconds = [max((trial["seconds"] for trial in r.tuning["results"]), default=0.0) for r in mine["record"]]
        dataset, share, _ = _where(mine["record"].iloc[seconds.index(max(seconds))])
        rows.append([model, "no" if model in free else "yes", f"{max(seconds):.1f}", f"{dataset} {share}"])
    head = ["model", "can be ended by the clock", "longest trial, processor s", "on"]
    return table(head, rows, "Longest trial of each model", words=True)


def _spaces(tuned: Sequence[Record]) -> Table:
    spaces = {record.model: record.tuning["space"] or {"(nothing)": {}} for record in tuned}
    rows = [[model, f"`{name}`", _bounds(found)] for model, space in spaces.items() for name, found in space.items()]
    return table(["model", "setting", "searched"], rows, words=True)


def _bounds(setting: Mapping[str, Any]) -> str:
    if "choices" in setting or not setting:
        return ", ".join(value_text(choice) for choice in setting.get("choices", ()))
    step = f" in steps of {value_text(setting['step'])}" if setting.get("step") else ""
    step = " (logarithmic)" if setting.get("log") else step
    return f"{value_text(setting['low'])} to {value_text(setting['high'])}{step}"


def _best_trials(tuned: Sequence[Record], metric: str) -> Table:
    rows = []
    # the model seeds of a split share its search
    for record in {(*_where(record), record.split_seed): record for record in tuned}.values():
        tuning = record.tuning
        states = Counter(trial["state"] for trial in tuning["results"])
        spent = f"{states.total()} ({states['pruned']} pruned, {states['failed']} failed)"
        capped = sum(bool(trial["capped"]) for trial in tuning["results"])
        best = [f"{record.tune_s:.1f}", f"{tuning['best_value']:.4f}", f"`{settings_text(tuning['best_params'])}`"]
        rows.append([*_where(record), str(record.split_seed), spent, str(capped), *best])
    head = ["split seed", "trials", "stopped by the clock", "processor s", f"best validation {metric}", "best settings"]
    return table([*_WHERE, *head], rows, words=True)


def _settings(runs: pd.DataFrame) -> Section:
    """List all settings with which the measured models ran."""
    texts = [f"`{settings_text(record.params)}`" for record in runs["record"]]
    shown = runs.assign(settings=texts).groupby(["dataset", "share", "model", "settings"], sort=False)["seed"]
    rows = [[*place[:3], ", ".join(sorted(set(map(str, seeds)))), place[3]] for place, seeds in shown]
    made = table([*_WHERE, "seeds", "settings"], rows, words=True)
    return Section("Settings", [Section("All settings of all models", [made])])


def _gaps(plan: Mapping[str, Any], runs: pd.DataFrame) -> Section:
    """Say what is missing."""
    blocks: list[Block] = []
    if len(runs) < (expected := len(plan["keys"])):
        text = (
            f"**{expected - len(runs)} of {expected} runs are not finished**: intervals and verdicts will change when "
        )
        blocks.append(text + "they are.")
    refused = runs.loc[runs["status"] == "refused", ["dataset", "share", "model", "reason"]].drop_duplicates()
    if len(refused):
        blocks.append(table([*_WHERE, "refused because"], refused.to_numpy(), words=True))
    return Section("What is missing", blocks or ["Nothing: every run was finished and no model refused the data."])


def _provenance(plan: Mapping[str, Any], records: Sequence[Record]) -> Section:
    """List splits with their digests, machines, versions, commits, commands and the configuration."""
    parts = ("users", "items", "train", "valid", "test")
    splits = {
        (r.dataset, r.train_pct, r.split_seed, r.split_digest): [f"{r.data[n]:,}" if n in r.data else "" for n in parts]
        for r in records
    }
    reads = plan.get("test_reads") or Counter(record.split_digest for record in records if record.ok)
    rows = [
        [name, f"{pct} %", str(seed), f"`{digest}`", *n, str(reads.get(digest, 0))]
        for (name, pct, seed, digest), n in splits.items()
    ]
    head = ["split seed", "digest of the split", "users", "items", "training pairs", "validation", "test"]
    head += ["runs that read the test part"]
    caption = (
        "Splits, sizes in pairs. No search reads a test part, every finished run reads it once, and runs of other "
        "configurations count if their records lie in the same folder; what lies in other folders is not known here."
    )
    models: dict[str, list[str]] = {}
    for record in records:
        models.setdefault(record.git_commit or "unknown", []).append(record.model)
    commits = [
        [f"`{commit}`", str(number), ", ".join(f"{m} {n}" for m, n in Counter(models[commit]).items())]
        for commit, number in provenance.commits(records).items()
    ]
    keys = [[f"`{record.key}`", *_where(record), str(record.split_seed), str(record.seed)] for record in records]
    blocks: list[Block] = [
        table([*_WHERE[:2], *head], rows, caption),
        _machines(plan, records),
        _versions(records),
        table(
            ["commit", "runs", "of which model"],
            commits,
            "Commits of the package's source that computed the runs",
            words=True,
        ),
        Section("Keys of all runs", [table(["key", *_WHERE, "split seed", "seed"], keys, words=True)]),
    ]
    if plan["config"] is not None:
        config = {**plan["config"], "data": named_by_variable(plan["config"])}
        rows = [[name, f"`{json.dumps(value)}`"] for name, value in config.items()]
        blocks.append(Section("Configuration", [table(["key", "value"], rows, words=True)]))
    return Section("Data, versions, configuration", blocks)


def _machines(plan: Mapping[str, Any], records: Sequence[Record]) -> Table:
    """Describe the machines of the runs; not every record knows its own."""
    names = ("processor", "cores", "threads", "system")
    known = Counter(tuple(str(record.machine.get(name, "unknown")) for name in names) for record in records)
    here = provenance.machine()
    rows = [["runs", str(number), *about] for about, number in known.items()]
    rows.append(["this page", "", str(here["processor"]), str(here["cores"]), "", here["system"]])
    command, jobs = plan.get("command") or "command not recorded", plan.get("jobs", "not recorded")
    caption = f"Machines. Latest start of the runs: {command}; cells at the same time (--jobs): {jobs}."
    return table(["what", "number", "processor", "cores", "threads of a run", "system"], rows, caption, words=True)


def _versions(records: Sequence[Record]) -> Table:
    """List the versions that records hold, and for packages that they do not know those that are installed now."""
    known = pd.DataFrame([record.versions for record in records])
    rows = [[name, ", ".join(known[name].dropna().unique())] for name in known]
    late = {name: version for name, version in provenance.versions().items() if name not in known}
    rows += [[name, f"{version} (when this page was made; not recorded by the runs)"] for name, version in late.items()]
    return table(["what", "version"], rows, "Versions", words=True)


def _where(record: Record) -> tuple[str, str, str]:
    """Name data set, level and model of a record."""
    return record.dataset, f"{record.train_pct} %", record.model


def _fitted_in_one_go(records: Sequence[Record]) -> list[str]:
    """Name the models that have no epochs: nothing asks them during their training."""
    return list(dict.fromkeys(record.model for record in records if "epochs" not in record.params))


def _shared_over_splits(tuned: Sequence[Record]) -> bool:
    """Tell whether one search served several splits of the same data and level."""
    # times are never equal by chance: equal trials are the same trials
    places = [json.dumps([*_where(record), record.tuning["results"]], sort_keys=True) for record in tuned]
    digests = {(place, record.split_digest) for place, record in zip(places, tuned, strict=True)}
    return len(digests) > len(set(places))
