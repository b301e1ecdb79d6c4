"""One cell of a benchmark: one model, fitted and measured once."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines import Refused
from buir.experiment.records import Clock, Record
from buir.experiment.run.groups import group_metrics
from buir.experiment.run.monitor import Monitor
from buir.learning import effective_rank
from buir.ranking import Evaluation, evaluate
from buir.recommend import vectors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from buir.data import Split
    from buir.experiment.records import Cell

N_EXAMPLES = 20
_LIST_LENGTH = 10
_HISTORY_LENGTH = 20


def run_cell(
    cell: Cell,
    split: Split,
    *,
    found: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], Any] | None = None,
) -> tuple[Record, pd.DataFrame, Any]:
    """Fit, rank and measure.

    Parameters
    ----------
    cell, split
        What to fit, on what.
    found
        Parameters that a search found, on top of the cell's. The key stays that of the cell: it is recognised by what
        was asked for, so that a finished cell needs no search.
    callback
        Called with every record of ``fit``.

    Returns
    -------
    The record, the per-user values, and the fitted model.

    Raises
    ------
    Refused
        If the model declines the data; :func:`refused_record` says so in a record.
    """
    record = _head(cell, split)
    chosen = replace(cell, params={**cell.params, **(found or {})})
    with Monitor() as monitor:
        clock = Clock(cell.fit_seconds)

        def watch(entry: dict[str, Any]) -> bool:
            if callback is not None:
                callback(entry)
            return clock.is_up(entry)

        model = chosen.build().fit(split.train, split.valid, show_progress=False, callback=watch)
        fit_s = clock.seconds
        start = time.perf_counter()
        evaluation = evaluate(model, split.train, split.test, valid=split.valid, ks=cell.ks)
        rank_s = time.perf_counter() - start
    measured = replace(
        record,
        params=chosen.resolved(),
        metrics=_headline_first(evaluation.means),
        groups=group_metrics(evaluation, split.train, split.test),
        history=list(getattr(model, "history", None) or []),
        fit_s=fit_s,
        capped=clock.ended(model),
        rank_s=rank_s,
        peak_mb=monitor.peak_mb,
        system=monitor.samples,
        n_test_users=evaluation.n_users,
        effective_rank=_effective_rank(model),
        examples=_examples(evaluation, split),
    )
    return measured, evaluation.to_frame(), model


def refused_record(cell: Cell, split: Split, refusal: Refused) -> Record:
    """Record that a model declines the data, and why."""
    return replace(_head(cell, split), status="refused", reason=" ".join(str(refusal).split()))


def _head(cell: Cell, split: Split) -> Record:
    return Record.of(cell, split, key=cell.key, seed=cell.seed, fit_seconds=cell.fit_seconds)


def _headline_first(means: Mapping[str, float]) -> dict[str, float]:
    """Put NDCG, then recall first: pages that show one metric take the first."""
    rank = {"ndcg": 0, "recall": 1}
    names = sorted(means, key=lambda name: (rank.get(name.partition("_at_")[0], 2), not name.endswith("_at_20")))
    return {name: means[name] for name in names}


def _effective_rank(model: Any) -> float | None:
    if getattr(model, "item_factors", None) is None:
        return None
    return float(effective_rank(vectors_of(model, "item_factors", "the effective rank")))


def _examples(evaluation: Evaluation, split: Split) -> list[dict[str, str]]:
    """Show some users' lists in raw ids: evenly spaced by activity, so that light and heavy users are among them."""
    by_activity = np.argsort(evaluation.train_degree, kind="stable")
    places = by_activity[np.unique(np.linspace(0, len(by_activity) - 1, N_EXAMPLES).round().astype(int))]
    ids = split.train.item_ids
    train, test = split.train.matrix, split.test.matrix

    def text(items: np.ndarray, held: frozenset[int] = frozenset(), most: int = _HISTORY_LENGTH) -> str:
        words = [f"[{ids[i]}]" if int(i) in held else str(ids[i]) for i in items[:most]]
        return " ".join(words) + (f" … ({len(items)})" if len(items) > most else "")

    rows = []
    for place in places:
        user = int(evaluation.users[place])
        held = test.indices[test.indptr[user] : test.indptr[user + 1]]
        seen = train.indices[train.indptr[user] : train.indptr[user + 1]]
        listed = evaluation.ranked[place]
        hits = frozenset(held.tolist())
        rows.append(
            {
                "user": str(split.train.user_ids[user]),
                "recommended": text(listed[listed >= 0][:_LIST_LENGTH], hits),
                "history": text(seen),
                "held_out": text(held),
            }
        )
    return rows
