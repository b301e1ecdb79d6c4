"""What held-out pairs decided: how many candidates each model looked at, and what its choice was worth where."""

from collections.abc import Mapping, Sequence
from typing import Any

from buir.errors import counted
from buir.experiment.records import Fit, Record, frame, metric_label
from buir.experiment.report.blocks import Section, table
from buir.experiment.report.words import span_text
from buir.experiment.statistics import geometric_mean
from buir.recommend import TERMS


def section(records: Sequence[Record], shared: Mapping[str, str], metric: str) -> Section:
    """Count candidates and compare gains on validation with gains on test data.

    Parameters
    ----------
    records
        Of finished runs.
    shared
        Models that take their settings from another one's search, and whose.
    metric
        What validation decides by.
    """
    by_run = {_run(record): record for record in records}
    models = {str(name): list(mine["record"]) for name, mine in frame(records).groupby("model", sort=False)}

    def looked_at(record: Record) -> int:
        own, owner = _in_a_fit(record, metric), by_run.get((*_run(record)[:-1], shared.get(record.model, "")))
        if owner is not None:
            return record.n_trials * _in_a_fit(owner, metric) + own
        return max(1, record.n_trials) * own

    looked = {name: [looked_at(record) for record in mine] for name, mine in models.items()}
    base = min(looked, key=lambda name: max(looked[name]))
    rows = []
    for name, mine in models.items():
        trials = f"those of {shared[name]}" if name in shared else span_text([r.n_trials for r in mine], ".0f")
        in_a_fit = span_text([_in_a_fit(record, metric) for record in mine], ",.0f")
        rows.append([name, trials, in_a_fit, span_text(looked[name], ",.0f")])
        firsts = [ratio for record in mine if name not in shared and (ratio := _over_first(record, metric))]
        pairs = [(record, by_run[other]) for record in mine if (other := (*_run(record)[:-1], base)) in by_run]
        both = [gains for record, other in pairs if (gains := _gains(record, other, metric))]
        valid, test = (geometric_mean(gains[part] for gains in both) for part in (0, 1))
        shown = [f"{valid:.3f}", f"{test:.3f}", f"{100 * (test / valid - 1):+.1f} %"] if both and valid else [""] * 3
        rows[-1] += [f"{geometric_mean(firsts):.3f}" if firsts else "", *shown]
    head = ["model", "trials", "candidates in a fit", "candidates in all, about"]
    head += [
        "chosen over first, validation",
        f"over {base}, validation",
        f"over {base}, test",
        "test against validation",
    ]
    caption = (
        f"Candidates: mean over runs (fewest to most). Gains in {metric_label(metric)}: geometric means over runs."
    )
    return Section(
        "What was chosen on validation data",
        [
            "A fit compares candidates on validation pairs: validated epochs, starts, and combinations of strengths "
            "of a score's terms. A search repeats that in every trial. Records keep the count of the measured fit; "
            "its trials are taken to have looked at as many each, so the totals are approximate.",
            "**Chosen over first** is the best validation value of a search over that of its first trial, which is "
            "the model's defaults; where nothing is searched but training has a validated start, it is the final "
            "value over that of the start. What the first trial or the start would have come to on test data is **not "
            "known**: the test part is read by finished runs only.",
            f"Known on both parts is how far a model is above {base}, which has the fewest candidates. A model whose "
            "choices fit the validation pairs by chance gains more there than on test data, and the last column is "
            "below zero; it also holds what differs between the parts, which have other pairs and other sizes. Empty "
            "where a record lacks the validation value with the terms, or watched another metric.",
            table(head, rows, caption),
        ],
    )


def terms_section(records: Sequence[Record]) -> list[Section]:
    """Say what each term of a score is worth on validation data, a row for each model; nothing where none has any."""
    fits = {
        str(name): [fit for record in mine["record"] if (fit := Fit.of(record)).value and fit.bare]
        for name, mine in frame(records).groupby("model", sort=False)
    }
    fits = {name: mine for name, mine in fits.items() if any(fit.terms for fit in mine)}
    named = [term for term in TERMS if any(term in fit.terms for mine in fits.values() for fit in mine)]
    if not named:
        return []
    rows = []
    for name, mine in fits.items():
        together = geometric_mean([fit.value / fit.bare for fit in mine if fit.value and fit.bare])
        rows.append([name, str(len(mine)), f"{together:.3f}", *(_worth(term, mine) for term in named)])
    text = (
        "Each value is of validation pairs, on which the strengths were chosen, so that it flatters the terms. **All** "
        "is the metric with the terms over that without any, as a geometric mean over fits. Of each term: in how many "
        "fits it has a strength, and how much lower the metric is, on average over these, if it alone is left out. "
        "Terms stand in for each other, so that these do not add up to what all are worth; a record that does not hold "
        "them has none."
    )
    return [Section("What the terms of a score are worth", [text, table(["model", "fits", "all", *named], rows)])]


def _worth(term: str, fits: Sequence[Fit]) -> str:
    """Write ``31 fits, -2.1 %``."""
    mine = [fit for fit in fits if term in fit.terms]
    losses = [-fit.gains[term] / fit.value for fit in mine if term in fit.gains and fit.value]
    return counted(len(mine), "fit") + (f", {100 * sum(losses) / len(losses) + 0.0:+.1f} %" if losses else "")


def _run(record: Record) -> tuple[Any, ...]:
    """Name a run so that the same one of another model is found."""
    return record.dataset, record.protocol, record.level, record.split_seed, record.seed, record.model


def _in_a_fit(record: Record, metric: str) -> int:
    """Count what the measured fit compared on validation pairs."""
    if "n_candidates" in record.chosen:
        return int(record.chosen["n_candidates"])
    looks = sum(metric in entry for entry in record.history)
    combinations = int(_terms(record).get("n_candidates", 0))
    # a model that is fitted in one go is validated once, with the combination that was chosen
    found = combinations + (looks if looks > 1 or not combinations else 0)
    return max(found, 1) if record.n_trials else found


def _terms(record: Record) -> Mapping[str, Any]:
    return record.history[-1].get("terms", {}) if record.history else {}


def _validated(record: Record, metric: str) -> float | None:
    """Return the validation value of the measured fit as it was kept; None where the record lacks it."""
    if record.params.get("valid_metric", metric) != metric:
        return None  # it watched another one
    value = Fit.of(record).value
    seen = [value] if value is not None else [record.chosen.get("start"), record.chosen.get("trained")]
    return max((value for value in seen if value is not None), default=None)


def _over_first(record: Record, metric: str) -> float | None:
    """Divide what a search found by its first trial, or what a fit ended with by its start."""
    trials = record.tuning.get("results", [])
    if len(trials) > 1:
        first = trials[0]["value"]
        return record.tuning["best_value"] / first if first else None
    start, value = record.chosen.get("start"), _validated(record, metric)
    return value / start if start and value is not None else None


def _gains(record: Record, base: Record, metric: str) -> tuple[float, float] | None:
    """Divide a model's validation and test values by those of the base in the same run; None where one is unknown."""
    valid, valid_of_base = _validated(record, metric), _validated(base, metric)
    test, test_of_base = record.metrics.get(metric), base.metrics.get(metric)
    if valid is None or test is None or not valid_of_base or not test_of_base:
        return None
    return valid / valid_of_base, test / test_of_base
