"""What every fit came to: what each "auto" stands for, what ended it, and what terms and training were worth."""

from collections.abc import Sequence
from typing import Any

from buir.experiment.records import Fit, Record, frame, metric_label
from buir.experiment.report.blocks import Block, Section, Table, table
from buir.experiment.report.words import POPULARITY, settings_text


def section(records: Sequence[Record]) -> Section:
    """Tell it run by run, a table for each data set.

    Parameters
    ----------
    records
        Of finished runs, ordered.
    """
    collapsed = {record.model: found for record in records if (found := Fit.of(record).collapse)}
    popular = [f"{r.model} on {r.dataset} {r.train_pct} %" for r in records if r.is_popularity]
    blocks: list[Block] = [
        "Validation values are those of the measured fits. **Without and with terms**: of the users with held-out "
        "pairs, 6,000 at most, at strengths 0 and at the chosen ones. **Start and trained**: before the first step and "
        "at the best epoch, on at most 1,500 users (from a random start more), as training watched them. **Kept** says "
        "which of the two best states is left, by how it was watched, and what decided between them: the value of each "
        "with the terms it wants of those that are added to a score, on the users that training watched.",
        f"**This is popularity**: {POPULARITY}",
        f"So it is of {', '.join(dict.fromkeys(popular))}." if popular else "So it is of no run.",
    ]
    blocks += [f"**{model}**: {found}." for model, found in collapsed.items()]
    here = frame(records)
    for dataset, rows in here.groupby("dataset", sort=False):
        blocks.append(Section(str(dataset), [_table(list(rows["record"]))]))
    return Section("What every fit came to", blocks)


def _table(records: Sequence[Record]) -> Table:
    rows = []
    for record in records:
        fit, number = Fit.of(record), _number
        metric = "" if fit.value is None and fit.trained is None else metric_label(fit.metric)
        both = "" if fit.compared is None else " ({:.4f}; the other {:.4f})".format(*fit.compared)
        kept = "" if fit.kept is None else f"{fit.kept}{both}"
        share = "" if record.popularity_overlap is None else f"{record.popularity_overlap:.0%}"
        rows.append(
            [
                f"{record.train_pct} %",
                record.model,
                f"{record.split_seed}, {record.seed}",
                "" if fit.epochs_run is None else f"{fit.best_epoch} of {fit.epochs_run}",
                fit.stopped,
                metric,
                number(fit.bare),
                number(fit.value),
                settings_text(fit.terms),
                number(fit.start),
                number(fit.trained),
                "" if fit.gain is None else f"{fit.gain:+.4f}",
                kept,
                f"{share}: this is popularity" if record.is_popularity else share,
                settings_text(fit.decided),
                *([_number(record.device_peak_mb, ",.0f")] if _on_a_device(records) else []),
            ]
        )
    head = ["level", "model", "split and model seed", "best epoch", "ended by", "validation", "without terms"]
    head += ["with terms", "strengths", "start", "trained", "training added", "kept", "popular places"]
    head += ["decided by the fit", *(["peak memory of the device, MB"] if _on_a_device(records) else [])]
    return table(head, rows, words=True)


def _on_a_device(records: Sequence[Record]) -> bool:
    return any(record.device_peak_mb is not None for record in records)


def _number(value: Any, form: str = ".4f") -> str:
    return "" if value is None else f"{value:{form}}"
