"""What a report says: one dictionary with the sections of its page and the tables of its CSV files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import groupby, product
from typing import Any

import pandas as pd

from buir.errors import counted
from buir.experiment.config import models, shared_searches
from buir.experiment.records import Record, frame, metric_label, mixture
from buir.experiment.report import appendix, panels
from buir.experiment.report.advice import advice
from buir.experiment.report.blocks import Block, Cell, Image, Section, Table, table
from buir.experiment.report.figures import sparsity_figure
from buir.experiment.report.words import POPULARITY, interval_text, popular_models, range_text, seconds_text, span_text
from buir.experiment.statistics import N_FLIPS, PLACE, Findings, Interval, Judgement, Leaders

Done = Mapping[Any, pd.DataFrame]
"""Finished runs by data set, protocol and level."""

_PROTOCOLS = {
    "nested": "**Nested levels on a fixed test set**: the same held-out pairs at every level; only the training part "
    "shrinks, each smaller one inside the larger ones. Numbers at different levels can be compared with each other.",
    "author": "**The author's split**: at level beta each user keeps a share beta for training, the rest is halved "
    "into validation and test. The test set shrinks as beta grows and contains other users, so numbers at different "
    "levels must NOT be compared with each other; within a level they can be.",
    "leave-one-out": "**Leave one out**: one pair of each user is the test, another one validation, the rest training.",
    "time": "**By time**: the latest pairs are the test, those before them validation, the earliest training.",
    "given": "**A given split**: training and test came as two files; validation was cut from the training part.",
}
_ITEM_SIZES = {"n_items": "items", "n_users": "users measured"}
_MARKS = "Bold: highest mean; ≈: not shown to be worse."


def make_content(
    plan: Mapping[str, Any],
    records: Sequence[Record],
    found: Sequence[Findings],
    judgements: Sequence[Judgement],
    made_by: Sequence[str],
) -> dict[str, Any]:
    """Collect the ``title`` and the ``sections`` of the page, and the tables of the ``csv`` files by their names' ends.

    See `buir.experiment.report.write.write_report` for the plan; ``records`` are ordered, at least one is finished;
    ``made_by`` are sentences that name the commands.
    """
    runs = frame(records)
    done = dict(iter(runs[runs["status"] == "ok"].groupby(PLACE, sort=False)))
    headlines = found[0].headlines
    groups = [_groups(part, done[part.place]) for part in found]
    k, labels = headlines[0].rpartition("_at_")[2], " and ".join(map(metric_label, headlines))
    folded = {
        "Sparse and active users": [
            f"{labels} for fifths of the test users by number of training items (fewer groups where many have the same "
            f"number), with intervals. {_MARKS}",
            *_in_folds(found, [_group_tables(here, "users", {"n_users": "users"}) for here in groups]),
        ],
        "Rare and popular items": [
            f"{labels} on held-out items of each fifth of the training pairs by item popularity (bounds: users of the "
            "item). A number is the mean over runs; the smallest and the largest run follow where they differ. **The "
            "range is not an interval**: it shows what seeds (and splits) change, not what other users would, and a "
            "model without chance has none.",
            *_in_folds(found, [_group_tables(here, "items", _ITEM_SIZES) for here in groups]),
        ],
        "All metrics": [
            f"Every metric at {k}, with intervals; other lengths of list are in the CSV file beside this page. "
            "Coverage (share of the catalogue that is ever shown) belongs to a run, not to a user: smallest to "
            "largest run.",
            *_in_folds(found, [[_all_metrics(part, done[part.place], k)] for part in found]),
        ],
    }
    sections = [
        _summary(plan, runs, judgements, made_by),
        _recommendation(runs, found, done),
        _protocol(runs, found),
        *_results(runs, found, done, shared_searches(plan["config"] or {})),
        *panels.sections(found, judgements, N_FLIPS),
        *(Section(title, blocks) for title, blocks in folded.items() if len(blocks) > 1),
        *appendix.sections(plan, records),
    ]
    shown_groups = pd.concat(groups).dropna(subset="mean").drop(columns="cell")
    csv = {"": _means(found), "-differences": _differences(judgements), "-groups": shown_groups}
    return {"title": f"{plan['name']}: which model, on how much data?", "sections": sections, "csv": csv}


def _summary(
    plan: Mapping[str, Any], runs: pd.DataFrame, judgements: Sequence[Judgement], made_by: Sequence[str]
) -> Section:
    """Say in a few lines what this is, who leads, and which commands made it."""
    done, expected = int((runs["status"] == "ok").sum()), len(plan["keys"])
    n_models, n_data = counted(runs["model"].nunique(), "model"), counted(runs["dataset"].nunique(), "data set")
    counts = [
        f"{counted(done, 'finished run')} of {n_models} on {n_data}",
        *([f"{len(runs) - done} refused"] if done < len(runs) else []),
        *([f"**{expected - len(runs)} still missing**"] if expected > len(runs) else []),
    ]
    warning, about = mixture(runs["record"]), (plan["config"] or {}).get("description", "")
    first = [judgement for judgement in judgements if judgement.metric == judgements[0].metric]
    blocks: list[Block] = [about, f"{', '.join(counts)}. A place is a data set at a level."]
    heads = [judgement for judgement in first if judgement.panel.headline]
    # of several references the table says it shorter
    blocks += [_lead(heads[0])] if len(heads) == 1 or not any(judgement.comparisons for judgement in heads) else []
    blocks += [panels.standing(first)] if any(judgement.comparisons for judgement in first) else []
    blocks += [f"**{warning}**" if warning else "", *made_by]
    return Section("Summary", [block for block in blocks if block])


def _lead(judgement: Judgement) -> str:
    """Say in how many places the reference of the headline panel leads."""
    where = f"panel {judgement.panel.name}, by {metric_label(judgement.metric)}"
    if not judgement.comparisons:
        reasons = "; ".join(dict.fromkeys(judgement.open.values()))
        return f"{judgement.reference} is not judged anywhere ({where}): {reasons}."
    places, unjudged = counted(len(judgement.comparisons), "place"), len(judgement.open)
    text = f"**{judgement.reference} leads in {len(judgement.highest)} of {places}**: its mean is the highest ({where})"
    return text + (f"; {counted(unjudged, 'place')} not judged." if unjudged else ".")


def _recommendation(runs: pd.DataFrame, found: Sequence[Findings], done: Done) -> Section:
    """Answer the reader's question, with data sizes to find the row that is like his own data."""
    first = runs.dropna(subset="n_train").drop_duplicates(PLACE).set_index(PLACE)
    sizes = first[["n_users", "n_items", "n_train"]].astype(int).T.to_dict("list")
    rows, sentences = [], []
    for part in found:
        where = f"{part.dataset}, {part.train_pct} %"
        size = ["", "", "", ""]
        if part.place in sizes:
            users, items, train = sizes[part.place]
            size = [f"{users:,}", f"{items:,}", f"{train:,}", f"{train / max(1, users):.1f}"]
        led, seconds = part.leaders[part.headlines[0]], _seconds(done[part.place])
        if part.missing:
            rows.append([where, *size, "no verdict", f"missing: {', '.join(part.missing.values())}", ""])
            sentences.append(f"{where}: {advice(part, seconds)}")
            continue
        fastest = min(led.names, key=lambda name: seconds[name])
        fast = f"{fastest} ({seconds_text(seconds[fastest])})"
        rows.append([where, *size, led.best, ", ".join(led.ties) or "none", fast])
        sentences.append(f"{where}: {advice(part, seconds)}")
    highest = f"highest mean {metric_label(found[0].headlines[0])}"
    head = ["data", "users", "items", "training pairs", "pairs per user", highest, "not shown to be worse"]
    return Section(
        "What should I use on my data?",
        [
            "Find the row whose size and density are nearest to your data. Beside the model with the highest mean "
            "stand those that are not shown to be worse.",
            table([*head, "fastest of these (processor time)"], rows),
            sentences,
            "These are findings on these data sets. On your own data, run the same comparison: `buir benchmark` with "
            "your file.",
        ],
    )


def _protocol(runs: pd.DataFrame, found: Sequence[Findings]) -> Section:
    """Say plainly how data were split and how the statistics are made."""
    covers = {part.intervals[model, part.headlines[0]].covers for part in found for model in part.models}
    sources = "; ".join(sorted(", ".join(names) for names in covers))
    alpha, percent = f"{1 - found[0].confidence:.2g}", f"{100 * found[0].confidence:g} %"
    splits = runs["split_seed"].nunique()
    scope = (
        f"Intervals and tests account for other users of these {splits} splits, for other splits of the same data and "
        "for other model seeds; they say nothing about other data."
        if splits > 1
        else "Intervals and tests account for other users of the same split and, where a model ran with several seeds, "
        "for other seeds of the models. Only one split seed was run: they say **nothing about other splits** of the "
        "same data, nor about other data."
    )
    sentences = [
        *(_PROTOCOLS.get(name, f"**{name}**") for name in runs["protocol"].unique()),
        "Every model ranks **all items** except the user's training and validation items; values are means over all "
        "users with test items. A finished run reads the test part of its split once, after everything is decided; how "
        "many have read each stands beside the sizes of the splits, at the end.",
        f"Brackets are {percent} intervals; here they cover: {sources}. Users are resampled (the same ones for all "
        "models); with several split seeds each split is one run, with one split seed each model seed is; the error of "
        "the mean of these few runs follows Student's t and is added. What was run once only cannot be covered.",
        *_inside(runs),
        *_weights(runs),
        scope,
        "Intervals of two means may overlap although the difference is certain, because the same users were measured: "
        "differences and verdicts decide, not the overlap.",
        "**wins / loses**: a paired permutation test over users (mean difference; all splits of a user flip together), "
        f"corrected by Holm over all rivals and places of a panel, has p at most {alpha}, and the interval of the "
        "difference, over users and runs, excludes zero. **ties**: anything else; no difference was shown, which "
        "does not prove that there is none.",
        "The highest mean of a place and those **not shown to be worse** (≈ in the tables) come from the same tests "
        "over all pairs of models of that place, corrected over all pairs.",
    ]
    return Section("How to read the numbers", [sentences])


def _inside(runs: pd.DataFrame) -> Iterator[str]:
    """Say so where the validation part has decided nothing."""
    if set(runs["decided_on"]) == {"inner"}:
        yield (
            "**Every model decided inside its training part**: settings, epochs and terms by one pair of each user "
            "with at least three (two, where most have fewer), held out there; with what was decided it was trained "
            "again on all of that part. The validation part decided nothing."
        )


def _weights(runs: pd.DataFrame) -> Iterator[str]:
    """Say of each data set with weights of pairs what they are, and which models ignore them."""
    for (dataset, weight), rows in runs.dropna(subset="weight").groupby(["dataset", "weight"], sort=False):
        kinds = rows.drop_duplicates("model")
        ignoring = [r.model for r in kinds["record"] if not models.takes_weights(r.kind)]
        text = f"Training pairs of {dataset} are weighed ({weight}); test and validation pairs are not."
        yield text + (f" **Models that cannot take weights ignore them**: {', '.join(ignoring)}." if ignoring else "")


def _results(runs: pd.DataFrame, found: Sequence[Findings], done: Done, shared: Mapping[str, str]) -> Iterator[Section]:
    """Show each data set in a section: curves, a table of each headline metric, and the price beside the quality."""
    asked = dict(iter(runs.groupby([*PLACE, "model"], sort=False)))
    popular = {place: popular_models(list(here["record"])) for place, here in done.items()}

    def mean(part: Findings, model: str, metric: str) -> str | Cell:
        if model in part.models:
            cell = _led(part.intervals[model, metric], model, part, part.leaders[metric])
            return Cell(f"{cell}: this is popularity", cell.tone) if model in popular[part.place] else cell
        return "refused" if (*part.place, model) in asked else "not run"

    def price(part: Findings, model: str) -> str:
        if model not in part.models:
            return ""
        fit = seconds_text(_seconds(done[part.place])[model])
        if model in shared:
            return f"{fit} + search of {shared[model]}"
        search = asked[*part.place, model].drop_duplicates("split_seed", keep="last")["tune_s"].mean()
        return fit + (f" + {seconds_text(search)}" if search else "")

    for (dataset, protocol), parts in _by_dataset(found):
        models = runs[(runs["dataset"] == dataset) & (runs["protocol"] == protocol)]["model"].unique()
        head = ["model", *(f"{part.train_pct} % kept" for part in parts)]
        headlines = parts[0].headlines
        names = " and ".join(map(metric_label, headlines))
        caption = f"{names} on {dataset} against the share of training data"
        blocks: list[Block] = [Image(f"levels-{dataset}-{protocol}", sparsity_figure(parts), caption)]
        for metric in headlines:
            users = range_text([part.intervals[part.models[0], metric].n_users for part in parts], "user")
            rows = [[model, *(mean(part, model, metric) for part in parts)] for model in models]
            blocks.append(table(head, rows, f"{metric_label(metric)}, mean over {users} [interval]. {_MARKS}"))
        caption = (
            "What it costs, in seconds of the processor (all threads together): mean of training a run, + mean of a "
            "search for settings"
        )
        if any(popular[part.place] for part in parts):
            blocks.append(f"**This is popularity**: {POPULARITY}")
        blocks.append(table(head, [[model, *(price(part, model) for part in parts)] for model in models], caption))
        yield Section(f"Results on {dataset}", blocks)


def _groups(part: Findings, here: pd.DataFrame) -> pd.DataFrame:
    """Lay out headline metrics by user activity, with intervals, and by item popularity, with the range over runs.

    ``low_degree`` and ``high_degree`` are training items of a user, or training users of an item. ``standing`` is
    "best" or "not shown to be worse" among the models of a group of users. ``cell`` is what the page shows.
    """
    rows: list[list[Any]] = []
    for g in part.groups:
        for (model, metric), i in g.intervals.items():
            led = g.leaders[metric]
            standing = "best" if model == led.best else "not shown to be worse" if model in led.ties else ""
            standing = "" if part.missing else standing
            group = [*_place(part), "users", g.number, g.low, g.high, g.n_users, None, model, metric]
            rows.append([*group, i.value, i.low, i.high, None, None, standing, _led(i, model, part, led)])
    for g in here["record"].iloc[0].groups["item"]:
        group = [*_place(part), "items", *map(g.get, ("group", "low", "high", "n_users", "n_items"))]
        for model, metric in product(part.models, part.headlines):
            runs = [other for r in here["record"] if r.model == model for other in r.groups["item"]]
            v = [other[metric] for other in runs if other["group"] == g["group"] and other.get(metric) is not None]
            mean = sum(v) / len(v) if v else None
            ends = (min(v, default=None), max(v, default=None))
            rows.append([*group, model, metric, mean, None, None, *ends, "", span_text(v, ".4f")])
    counts = ["group", "low_degree", "high_degree", "n_users", "n_items"]
    numbers = ["mean", "low", "high", "smallest_run", "largest_run"]
    shown = pd.DataFrame(rows, columns=[*PLACE, "of", *counts, "model", "metric", *numbers, "standing", "cell"])
    return shown.astype(dict.fromkeys(counts, "Int64") | dict.fromkeys(numbers, float))


def _group_tables(groups: pd.DataFrame, of: str, sizes: Mapping[str, str]) -> list[Table]:
    """Spread the groups of users or of items: a table for each metric, below its head their sizes."""
    groups = groups[groups["of"] == of]
    each = groups.drop_duplicates("group")
    word = {"users": "item", "items": "user"}[of]
    head = ["model", *(range_text(ends, word) for ends in zip(each["low_degree"], each["high_degree"], strict=True))]
    counts = [[name, *("" if pd.isna(n) else f"{n:,}" for n in each[column])] for column, name in sizes.items()]
    tables = []
    for metric, cells in groups.groupby("metric", sort=False):
        rows = [[model, *mine["cell"]] for model, mine in cells.groupby("model", sort=False)]
        tables.append(table(head, [*counts, *rows], metric_label(str(metric))))
    return tables


def _all_metrics(part: Findings, here: pd.DataFrame, k: str) -> Table:
    """Lay out every metric at the headline's length of list, with intervals, and the coverage run by run."""
    metrics = [name for model, name in part.intervals if model == part.models[0] and name.endswith(f"_at_{k}")]
    rows = []
    for model, mine in here.groupby("model", sort=False):
        coverage = [r.metrics[f"coverage_at_{k}"] for r in mine["record"] if f"coverage_at_{k}" in r.metrics]
        shown = (interval_text(part.intervals[str(model), metric]) for metric in metrics)
        rows.append([model, *shown, span_text(coverage, ".4f")])
    return table(["model", *map(metric_label, metrics), f"coverage@{k}"], rows)


def _in_folds(found: Sequence[Findings], tables: Sequence[Sequence[Table]]) -> list[Section]:
    """Fold the tables of each place that has any."""
    each = zip(found, tables, strict=True)
    return [Section(f"{part.dataset}, {part.train_pct} %", shown) for part, shown in each if shown]


def _led(interval: Interval, model: str, part: Findings, leaders: Leaders) -> Cell:
    if part.missing:
        return Cell(interval_text(interval), "")
    mark = " ≈" if model in leaders.ties else ""
    return Cell(interval_text(interval) + mark, "best" if model == leaders.best else "")


def _seconds(here: pd.DataFrame) -> dict[str, float]:
    """Mean training time of every model in one place, in seconds of the processor."""
    return {str(model): float(mean) for model, mean in here.groupby("model")["fit_s"].mean().items()}


def _by_dataset(found: Sequence[Findings]) -> list[tuple[tuple[str, ...], list[Findings]]]:
    """Group findings by data set and protocol, levels in order."""
    return [(place, list(parts)) for place, parts in groupby(found, lambda part: (part.dataset, part.protocol))]


def _means(found: Sequence[Findings]) -> pd.DataFrame:
    """Lay out every metric of every model, with its interval."""
    rows = [[*_place(part), *who, *astuple(i)[:6]] for part in found for who, i in part.intervals.items()]
    head = [*PLACE, "model", "metric", "mean", "low", "high", "n_users", "n_splits", "n_seeds"]
    return pd.DataFrame(rows, columns=head)


def _differences(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """Lay out every reference of every panel against each rival: difference, interval, p-values and verdict."""
    rows = []
    for judgement in judgements:
        for (dataset, protocol, level), said in judgement.comparisons.items():
            for c in said:
                names = [judgement.panel.name, dataset, protocol, f"{level:g}", c.model, c.other, c.metric]
                interval = [c.difference.value, c.difference.low, c.difference.high]
                rows.append([*names, *interval, c.ratio, c.p, c.p_holm, c.verdict, c.detectable])
    head = ["panel", *PLACE, "model", "other", "metric", "difference", "low", "high", "ratio"]
    return pd.DataFrame(rows, columns=[*head, "p", "p_holm", "verdict", "detectable"])


def _place(part: Findings) -> tuple[str, str, str]:
    return part.dataset, part.protocol, f"{part.level:g}"
