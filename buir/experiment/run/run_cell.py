"""What is done with one cell: a model is fitted and measured once, or only its settings are searched."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from buir.data import Split
from buir.errors import Refused, one_line
from buir.experiment.config import BenchmarkConfig
from buir.experiment.records import Cell, Clock, Journal, Record, Sittings, headline
from buir.experiment.run.groups import group_metrics
from buir.experiment.run.monitor import Monitor
from buir.experiment.run.popular import popularity_overlap
from buir.experiment.run.sources import Sources
from buir.experiment.search import Tuned, search
from buir.learning import effective_rank, training_device
from buir.ranking import Evaluation, evaluate
from buir.recommend import vectors_of

N_EXAMPLES = 20
_LIST_LENGTH = 10
_HISTORY_LENGTH = 20
_STEP_EVERY = 0.5  # seconds between two reports of one fit

Step = Callable[[str], None]
"""Told how far the work is."""


@dataclass
class Bench:
    """What work in one process needs: where data come from, where records go."""

    config: BenchmarkConfig
    journal: Journal
    sources: Sources
    threads: int | None = None
    """Most that a library may use; None for all."""
    warned: set[str] = field(default_factory=set)
    """Lines that need not be said again."""

    def split(self, cell: Cell) -> Split:
        """Return the data of a cell."""
        return self.sources.splits(cell.dataset, cell.split_seed)[cell.level]


class Work(NamedTuple):
    """What is done with a cell, and where its record is."""

    do: Callable[[Cell, Bench, Step], None]
    """Leaves a record in the journal."""
    key: Callable[[Cell], str]
    """Of the record; a search and the fits that use it fail, and succeed, each for themselves."""
    read: Callable[[Journal, str], Record | None]


def fit_cell(cell: Cell, bench: Bench, step: Step) -> None:
    """Fit, rank and measure with the settings that a search finds, if the configuration wants one; keep what came out.

    The key stays that of the cell: it is recognised by what was asked for, so that a finished cell needs no search.
    """
    split, last = bench.split(cell), time.monotonic()

    def callback(entry: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > _STEP_EVERY:
            last = time.monotonic()
            step(f"epoch {entry.get('epoch', '?')}")

    try:
        tuned = _searched(cell, bench, step)
        found = tuned.params if tuned else {}
        record, users, model = measure(cell, split, found, callback, bench.journal.sittings)
    except Refused as refusal:
        bench.journal.write(replace(_head(cell, split), status="refused", reason=one_line(refusal)))
    else:
        kept = model if bench.config.log_models and cell.kind == "buir" else None
        bench.journal.write(replace(record, **tuned.record()) if tuned else record, users, kept)


def search_cell(cell: Cell, bench: Bench, step: Step) -> None:
    """Only search the settings of a cell; a refusal is a result, and the search has recorded it."""
    with suppress(Refused):
        _searched(cell, bench, step)


FIT = Work(fit_cell, attrgetter("key"), Journal.read)
SEARCH = Work(search_cell, attrgetter("search_key"), Journal.read_search)


def _searched(cell: Cell, bench: Bench, step: Step) -> Tuned | None:
    """Search settings, if the configuration wants that; a second call reads what the first has found."""
    return None if cell.tuning is None else search(cell, bench.split(cell), bench.journal, step)


def measure(
    cell: Cell, split: Split, found: Mapping[str, Any], callback: Callable[[dict[str, Any]], Any], sittings: Sittings
) -> tuple[Record, pd.DataFrame, Any]:
    """Fit a cell with the parameters ``found`` on top of its own; return record, per-user values and fitted model."""
    record = _head(cell, split)
    chosen = replace(cell, params={**cell.params, **found})
    model = chosen.build()
    with Monitor() as monitor, sittings.of(model, cell.key) as sitting:
        clock = Clock(cell.fit_seconds, sitting.spent)

        def watch(entry: dict[str, Any]) -> bool:
            callback(entry)
            # what is trained again with what was decided looks at no held-out pairs, and takes as long as it takes
            decides = cell.decided_on == "valid" or any("_at_" in name for name in entry)
            return decides and clock.is_up(entry)

        told = {"show_progress": False, "callback": watch, **cell.weights, **sitting.options}
        model, decider = _fitted(model, cell, split, told)
        fit_s = clock.seconds
        start = time.perf_counter()
        evaluation = evaluate(model, split.train, split.test, valid=split.valid, ks=cell.ks)
        rank_s = time.perf_counter() - start
    has_factors = getattr(model, "item_factors", None) is not None
    rank = float(effective_rank(vectors_of(model, "item_factors", "the rank"))) if has_factors else None
    chosen_inside = getattr(model, "chosen_", None)
    device = {"device": str(training_device(model.device))} if hasattr(model, "device") else {}
    measured = replace(
        record,
        params=chosen.resolved,
        metrics=_headline_first(evaluation.means),
        groups=group_metrics(evaluation, split.train, split.test),
        history=list(getattr(model, "history", None) or []),
        chosen=device | ({} if chosen_inside is None else dict(vars(chosen_inside))),
        fit_s=fit_s,
        capped=clock.ended(decider) or (cell.decided_on == "inner" and _ended(chosen_inside)),
        rank_s=rank_s,
        peak_mb=monitor.peak_mb,
        device_peak_mb=monitor.device_peak_mb,
        system=monitor.samples,
        n_test_users=evaluation.n_users,
        effective_rank=rank,
        popularity_overlap=popularity_overlap(evaluation, split, int(headline(cell.ks)[0].rpartition("_at_")[2])),
        examples=_examples(evaluation, split),
    )
    return measured, evaluation.to_frame().assign(user=evaluation.users), model  # rows: ids may be text


def _fitted(model: Any, cell: Cell, split: Split, told: Mapping[str, Any]) -> tuple[Any, Any]:
    """Fit a model, with its choices made on the pairs that decide; also return the one that decided."""
    if cell.decided_on == "valid":
        fitted = model.fit(split.train, split.valid, **told)
        return fitted, fitted
    if cell.kind == "buir":  # which holds out the same pairs by itself
        fitted = model.fit(split.train, **told)
        return fitted, fitted
    parts = split.inside(cell.seed)
    decider = model.fit(parts.train, parts.valid, **told)
    return decider.again(split.train, **cell.weights), decider


def _ended(chosen: Any) -> bool:
    """Tell whether the clock ended what decided, also where an earlier process asked it."""
    return getattr(chosen, "stopped", None) == "callback"


def _head(cell: Cell, split: Split) -> Record:
    return Record.of(cell, split, key=cell.key, seed=cell.seed, fit_seconds=cell.fit_seconds)


def _headline_first(means: Mapping[str, float]) -> dict[str, float]:
    """Put NDCG, then recall first: pages that show one metric take the first."""
    rank = {"ndcg": 0, "recall": 1}
    names = sorted(means, key=lambda name: (rank.get(name.partition("_at_")[0], 2), not name.endswith("_at_20")))
    return {name: means[name] for name in names}


def _examples(evaluation: Evaluation, split: Split) -> list[dict[str, str]]:
    """Show some users' lists in raw ids: evenly spaced by activity, so that light and heavy users are among them."""
    by_activity = np.argsort(evaluation.train_degree, kind="stable")
    places = by_activity[np.unique(np.linspace(0, len(by_activity) - 1, N_EXAMPLES).round().astype(int))]
    ids, train, test = split.train.item_ids, split.train.matrix, split.test.matrix

    def text(items: np.ndarray, held: frozenset[int] = frozenset(), most: int = _HISTORY_LENGTH) -> str:
        words = [f"[{ids[i]}]" if int(i) in held else str(ids[i]) for i in items[:most]]
        return " ".join(words) + (f" … ({len(items)})" if len(items) > most else "")

    def example(user: int, listed: np.ndarray) -> dict[str, str]:
        held = test.indices[test.indptr[user] : test.indptr[user + 1]]
        return {
            "user": str(split.train.user_ids[user]),
            "recommended": text(listed[listed >= 0][:_LIST_LENGTH], frozenset(held.tolist())),
            "history": text(train.indices[train.indptr[user] : train.indptr[user + 1]]),
            "held_out": text(held),
        }

    return [example(int(evaluation.users[place]), evaluation.ranked[place]) for place in places]
