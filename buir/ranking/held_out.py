"""Interactions in the rows that a ranking has, and the held-out pairs that it can be measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from buir.data import Interactions, as_csr, canonical, doctor, is_frame, keep, outside, place, reading_weights
from buir.errors import InputError, PairsDroppedWarning, TestSeenWarning, counted, report


@dataclass(frozen=True)
class Labels:
    """What rows and columns are called; None where nobody says."""

    users: np.ndarray | None = None
    items: np.ndarray | None = None

    @classmethod
    def of(cls, model: Any, train: Interactions | csr_array, *, needed: bool) -> Labels:
        """Take those of a model, or of its training data; with ``needed`` a matrix has its row and column numbers."""
        ids = getattr(model, "user_ids_", None), getattr(model, "item_ids_", None)
        if ids[0] is not None and ids[1] is not None:
            return cls(*ids)
        if isinstance(train, Interactions):
            return cls(train.user_ids, train.item_ids)
        return cls(*map(np.arange, train.shape)) if needed else cls()


def read(given: Any, name: str) -> Interactions | csr_array:
    """Read interactions: a frame becomes ``Interactions``, and a matrix of any format a canonical one.

    Raises
    ------
    TypeError
        If it is something else.
    InputError
        If it is a frame without a row.
    """
    if isinstance(given, Interactions):
        return given
    if issparse(given):
        return canonical(given)
    if not is_frame(given):
        return as_csr(given, name).matrix  # which says what is wrong with all else
    if not len(given):
        msg = f"{name} is a frame without a row; expected interactions"
        raise InputError(msg, argument=name)
    with reading_weights("values"):  # a metric has none
        return Interactions.from_frame(given, source=name)


def placed(given: Interactions | csr_array, labels: Labels, name: str) -> tuple[csr_array, dict[str, int]]:
    """Put pairs where their ids are, and count those that are nowhere; a matrix is there already.

    Raises
    ------
    InputError
        If no pair has a place.
    """
    if labels.users is None or labels.items is None:
        return (given.matrix if isinstance(given, Interactions) else given), {}
    if not isinstance(given, Interactions):
        report(doctor.shape_findings(given.shape, (len(labels.users), len(labels.items)), name))
        return given, {}
    found = place(given, labels.users, labels.items)
    if given.n_pairs and not found.matrix.nnz:
        theirs, ours = (
            ", ".join(repr(ids[:1].tolist()[0]) for ids in both if len(ids))
            for both in ((given.user_ids, given.item_ids), (labels.users, labels.items))
        )
        msg = (
            f"{_source(given)}{name} holds {counted(given.n_pairs, 'pair')}, all {_text(found.dropped)}: its ids are "
            f"such as {theirs}, those of the model {ours}; expected ids of the data that the model was trained on"
        )
        raise InputError(msg, argument=name)
    return found.matrix, found.dropped


def held_out(
    test: Interactions | csr_array,
    labels: Labels,
    seen: csr_array,
    excluded: csr_array,
    own: csr_array | None = None,
) -> tuple[csr_array, dict[str, int]]:
    """Return the test pairs that can be measured, and count the others by why.

    Parameters
    ----------
    test
        Held-out pairs.
    labels
        Of rows and columns.
    seen, excluded
        Training pairs; these and those of validation. Neither can be listed.
    own
        Those that the model itself remembers, if it does.

    Raises
    ------
    InputError
        If none can, or most of them are the model's own while those of ``train`` are not: they are swapped.

    Warns
    -----
    buir.errors.PairsDroppedWarning
        If some cannot.
    buir.errors.TestSeenWarning
        If some are the model's own.
    """
    held, dropped = placed(test, labels, "test")
    report(doctor.shape_findings(held.shape, seen.shape, "test"))
    own = own if own is not None and own.shape == held.shape else None
    if own is not None:
        _check_order(test, held, seen, own)
    for what, masked in (("that are in training", seen), ("that are in valid", excluded)):
        new = outside(held, masked)
        if not new.all():
            dropped[what] = int(np.sum(~new))
            held = keep(held, new)
    said = f"{_source(test)}test holds {counted(held.nnz + sum(dropped.values()), 'pair')}"
    if not held.nnz:
        msg = f"{said}{f', all {_text(dropped)}' if dropped else ''}; expected held-out pairs: take both from one split"
        raise InputError(msg, argument="test")
    if dropped:
        msg = f"{said}, {held.nnz:,} measured; dropped: {_text(dropped)}"
        report([PairsDroppedWarning(msg, argument="test")])
    learned = 0 if own is None else held.nnz - int(outside(held, own).sum())
    if learned:
        msg = f"{said}, {learned:,} of which the model was trained on and train does not hold; they are measured as if "
        report([TestSeenWarning(f"{msg}new: pass all training pairs as train to leave them out", argument="test")])
    return held, dropped


def _check_order(test: Interactions | csr_array, held: csr_array, seen: csr_array, own: csr_array) -> None:
    """Raise an InputError if ``train`` and ``test`` look swapped."""
    of_test, of_train = (matrix.nnz - int(outside(matrix, own).sum()) for matrix in (held, seen))
    if 2 * of_test > held.nnz and 2 * of_train < seen.nnz:
        msg = (
            f"{_source(test)}test holds {counted(held.nnz, 'pair')}, {of_test:,} of which the model was trained on, "
            f"and train {counted(seen.nnz, 'pair')}, {of_train:,} of which it was; expected "
            "evaluate(model, train, test): swap them"
        )
        raise InputError(msg, argument="test")


def warn_of_dropped(name: str, matrix: csr_array, dropped: Mapping[str, int]) -> None:
    """Say what of ``train`` or ``valid`` has no place in the model, and how much has one."""
    if dropped:
        msg = (
            f"{name} holds {counted(matrix.nnz + sum(dropped.values()), 'pair')}, {_text(dropped)}, which are left out"
        )
        report([PairsDroppedWarning(msg, argument=name)])


def _source(given: Interactions | csr_array) -> str:
    """Name the file that pairs were read from, if it was one."""
    source = given.report.source if isinstance(given, Interactions) else ""
    return f"{source}: " if Path(source).name and Path(source).is_file() else ""


def _text(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in dropped.items())
