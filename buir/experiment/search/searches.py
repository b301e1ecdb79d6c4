"""One search for the settings of a model on a split, and the record that it leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from baselines import Refused
from buir.experiment.records import Record
from buir.experiment.search.spaces import find_space
from buir.experiment.search.tuning import Budget, Tuned, tune

if TYPE_CHECKING:
    from collections.abc import Callable

    from buir.data import Split
    from buir.experiment.config import TuningConfig
    from buir.experiment.records import Cell, Journal


def search(
    cell: Cell, split: Split, allowed: TuningConfig, journal: Journal, on_trial: Callable[[str], object]
) -> Tuned:
    """Search the settings of a cell's model with its own split's validation part, or read what was found before.

    Parameters
    ----------
    cell, split
        What is to be fitted with the settings, on what. All cells of one ``search_key`` share the search.
    allowed
        The budget.
    journal
        Where the trials are kept, and the record of the whole search once it is finished.
    on_trial
        Told how far it is, such as "trial 3/20".

    Raises
    ------
    Refused
        If the model declines the data; the record says so.
    TuningError
        If every trial failed.
    """
    budget = Budget(**allowed.model_dump(exclude={"fit_seconds"}))
    record = Record.of(cell, split, key=cell.search_key, work="search")
    try:
        tuned = tune(
            lambda found: replace(cell, params={**cell.params, **found}, seed=budget.seed).build(),
            split,
            find_space(cell.kind, cell.fixed(), cell.model),
            budget,
            journal.folder / "tuning",
            on_trial=lambda done, wanted, best: on_trial(f"trial {done}/{wanted}"),
        )
    except Refused as refusal:
        reason = " ".join(str(refusal).split())
        journal.write_search(replace(record, status="refused", reason=reason))
        raise
    if journal.read_search(cell.search_key) is None:
        journal.write_search(replace(record, **tuned.record()))
    return tuned
