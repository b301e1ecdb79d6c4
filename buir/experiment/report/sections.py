"""The front of a report: who leads, what to use, and how to read the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from buir.experiment.records import Record, metric_label, mixture
from buir.experiment.report.advice import advice, counted, mean_seconds, seconds_text, standing
from buir.experiment.report.pages import Block, Bullets, Section, Table
from buir.experiment.statistics import Findings

_PROTOCOLS = {
    "nested": (
        "**Nested levels on a fixed test set**: the same held-out pairs at every level; only the training part shrinks, each smaller one inside the larger ones. "
        "Numbers at different levels can be compared with each other."
    ),
    "author": (
        "**The author's split**: at level beta each user keeps a share beta for training, the rest is halved into validation and test. The test set shrinks as beta grows "
        "and contains other users, so numbers at different levels must NOT be compared with each other; within a level they can be."
    ),
    "leave-one-out": "**Leave one out**: one pair of each user is the test, another one validation, the rest training.",
    "time": "**By time**: the latest pairs are the test, those before them validation, the earliest training.",
    "given": "**A given split**: training and test came as two files; validation was cut from the training part.",
}


def summary(
    records: Sequence[Record],
    found: Sequence[Findings],
    expected: int | None,
    *,
    report: str | None = None,
    rerun: str | None = None,
) -> Section:
    """Say in a few lines what this is, who leads, and which commands made it."""
    done = sum(record.status == "ok" for record in records)
    refused = len(records) - done
    n_models, n_data = (len({getattr(record, what) for record in records}) for what in ("model", "dataset"))
    counts = [f"{counted(done, 'finished run')} of {counted(n_models, 'model')} on {counted(n_data, 'data set')}"]
    if refused:
        counts.append(f"{refused} refused")
    if expected is not None and expected > len(records):
        counts.append(f"**{expected - len(records)} still missing**")
    first, *lines = standing(found, kinds_of(records))
    blocks: list[Block] = [f"{', '.join(counts)}. {first}"]
    if lines:
        blocks.append(Bullets(lines))
    mixed = mixture(records)
    if mixed:
        blocks.append(f"**{mixed}**")
    if rerun:
        blocks.append(
            f"Runs: `{rerun}` (with another folder after --out, everything runs again). Their whole configuration lies beside this page."
        )
    if report:
        blocks.append(f"Made by `{report}`.")
    return Section("Summary", blocks)


def recommendation(records: Sequence[Record], found: Sequence[Findings]) -> Section:
    """Answer the reader's question, with data sizes to find the row that is like his own data."""
    kinds = kinds_of(records)
    rows: list[list[str]] = []
    sentences = []
    for part in found:
        metric = part.headlines[0]
        leaders, seconds = part.leaders[metric], mean_seconds(records, part)
        fastest = min(leaders.names, key=lambda name: seconds[name])
        rows.append(
            [
                f"{part.dataset}, {part.train_pct} %",
                *_sizes(records, part),
                leaders.best,
                ", ".join(leaders.ties) or "none",
                f"{fastest} ({seconds_text(seconds[fastest])})",
            ]
        )
        sentences.append(f"{part.dataset}, {part.train_pct} %: {advice(part, kinds, seconds)}")
    metric = metric_label(found[0].headlines[0])
    head = [
        "data",
        "users",
        "items",
        "training pairs",
        "pairs per user",
        f"highest mean {metric}",
        "not shown to be worse",
        "fastest of these (processor time)",
    ]
    return Section(
        "What should I use on my data?",
        [
            "Find the row whose size and density are nearest to your data. A model leads if its mean is highest; it wins if all others are shown to be worse.",
            Table(head, rows),
            Bullets(sentences),
            "These are findings on these data sets. On your own data, run the same comparison: `buir benchmark` with your file.",
        ],
    )


def protocol(records: Sequence[Record], found: Sequence[Findings], confidence: float) -> Section:
    """Say plainly how data were split and how the statistics are made."""
    used = dict.fromkeys(record.protocol for record in records)
    covers = {part.intervals[model, part.headlines[0]].covers for part in found for model in part.models}
    sources = "; ".join(sorted(", ".join(names) for names in covers))
    alpha = f"{1 - confidence:.2g}"
    texts = [_PROTOCOLS.get(name, f"**{name}**") for name in used]
    percent = f"{100 * confidence:g} %"
    splits = {record.split_seed for record in records}
    scope = (
        f"Intervals and tests account for other users of these {len(splits)} splits, for other splits of the same data and for other model seeds; they say nothing about other data."
        if len(splits) > 1
        else "Intervals and tests account for other users of the same split and, where a model ran with several seeds, for other seeds of the models. "
        "Only one split seed was run: they say **nothing about other splits** of the same data, nor about other data."
    )
    return Section(
        "How to read the numbers",
        [
            Bullets(
                [
                    *texts,
                    "Every model ranks **all items** except the user's training and validation items; values are means over all users with test items. The test part was used for nothing else.",
                    f"Brackets are {percent} intervals; here they cover: {sources}. Users are resampled (the same ones for all models); with several split seeds each split is one run, with one split seed each "
                    "model seed is; the error of the mean of these few runs follows Student's t and is added. What was run once only cannot be covered.",
                    scope,
                    "Intervals of two means may overlap although the difference is certain, because the same users were measured: differences and verdicts decide, not the overlap.",
                    f"**wins / loses**: a paired permutation test over users (mean difference), corrected by Holm over the models that a reference is compared with, has p at most {alpha}, and the interval of the difference, "
                    "over users and runs, excludes zero. **ties**: anything else; no difference was shown, which does not prove that there is none.",
                    "The leader of a row and those **not shown to be worse** (≈ in the tables) come from the same tests over all pairs of models, corrected over all pairs.",
                ]
            )
        ],
    )


def kinds_of(records: Sequence[Record]) -> dict[str, str]:
    """Kind of every model by its name."""
    return {record.model: record.kind for record in records}


def _sizes(records: Sequence[Record], part: Findings) -> list[str]:
    """Users, items, training pairs, and training pairs per user of the first run there."""
    for record in records:
        if (record.dataset, record.protocol, record.level) == (
            part.dataset,
            part.protocol,
            part.level,
        ) and record.data:
            data = record.data
            return [
                f"{data['users']:,}",
                f"{data['items']:,}",
                f"{data['train']:,}",
                f"{data['train'] / max(1, data['users']):.1f}",
            ]
    return ["", "", "", ""]
