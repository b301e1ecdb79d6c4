"""What may be passed to a model, turned into what the models compute with: a binary CSR array and row numbers."""

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, issparse

from buir.data import doctor
from buir.data.ingest import distinct_pairs
from buir.data.interactions import Interactions
from buir.data.labels import as_labels, column_of, is_frame, read_columns
from buir.data.sparse import binary, keep, outside
from buir.errors import (
    DuplicatePairsWarning,
    Finding,
    InputError,
    PairsDroppedWarning,
    ShapeError,
    ValidSeenWarning,
    ValuesIgnoredWarning,
    counted,
    report,
    show_rows,
)


class Labelled(NamedTuple):
    """A canonical binary matrix and the raw labels of its rows and columns, None where it came without labels."""

    matrix: csr_array
    user_ids: np.ndarray | None
    item_ids: np.ndarray | None


def as_csr(user_items: Any, what: str = "user_items", *, warn: bool = True) -> Labelled:
    """Read anything that holds user-item pairs.

    Parameters
    ----------
    user_items
        A SciPy sparse matrix or array of any format, with bool, int or float values and int32 or int64 indices; or
        ``Interactions``; or a pandas, polars or pyarrow table with columns ``user`` and ``item``, or called otherwise
        as in files: ``user_id``, ``movieId``. It is not modified.
    what
        The argument's name, for the messages.
    warn
        Whether to warn; errors are raised in any case.

    Returns
    -------
    ``(matrix, user_ids, item_ids)``: float32 ``csr_array`` of ones, int32 sorted indices; ids are None for a matrix.

    Raises
    ------
    TypeError
        If it is something else.
    buir.errors.InputError
        If it holds NaN, infinite or negative values or entries outside its shape.

    Warns
    -----
    buir.errors.InputWarning
        If it stores explicit zeros (read as absent) or pairs more than once (read as one).
    """
    if isinstance(user_items, Labelled):
        return user_items
    if isinstance(user_items, Interactions):
        return Labelled(user_items.matrix, user_items.user_ids, user_items.item_ids)
    if issparse(user_items):
        return Labelled(distinct_pairs(user_items, what, warn=warn)[0], None, None)
    if is_frame(user_items):
        frame = Interactions.from_frame(user_items, source=what)
        return Labelled(frame.matrix, frame.user_ids, frame.item_ids)
    kind = type(user_items).__name__
    remedies = {
        "ndarray": f"wrap it: scipy.sparse.csr_array({what})",
        "LazyFrame": "call .collect() first",
        "HeteroData": "convert it: Interactions.from_hetero_data(data)",
    }
    remedy = remedies.get(kind, "build one, for example with Interactions.from_pairs(users, items)")
    expected = "a SciPy sparse matrix (users x items), Interactions or a data frame"
    msg = f"{what} is of type {kind}; expected {expected}: {remedy}"
    raise TypeError(msg)


def fit_inputs(
    user_items: Any, valid: Any = None, *, batch_size: int | None = None, valid_metric: str | None = None
) -> tuple[Labelled, csr_array | None]:
    """Read and examine the arguments of ``fit``.

    Parameters
    ----------
    user_items
        As ``as_csr`` takes it.
    valid
        Held-out pairs of the same users and items, or None. The rows of a frame go by their ids: those of
        ``user_items``, or its row and column numbers if it has none.
    batch_size
        Pairs in one training step, if the model has batches.
    valid_metric
        Name of the metric that validation watches, such as "ndcg_at_20".

    Returns
    -------
    The training matrix with its labels, and the validation matrix.

    Raises
    ------
    TypeError
        If ``valid`` is a bool: code written for another library may mean ``show_progress``.
    buir.errors.InputError
        If the doctor finds an error.

    Warns
    -----
    buir.errors.InputWarning
        One for each of the doctor's other findings.
    """
    if isinstance(valid, bool | np.bool_):
        remedy = f"to switch the progress bar write show_progress={valid}"
        msg = f"valid is {valid}; expected held-out interactions or None: {remedy}"
        raise TypeError(msg)
    train = as_csr(user_items)
    findings = _values_findings(user_items, "user_items")
    at = re.search(r"_at_(\d+)$", valid_metric or "")
    findings += doctor.pattern_findings(
        train.matrix,
        "user_items",
        batch_size=batch_size,
        list_length=int(at[1]) if at and valid is not None else None,
        sparse_ok=train.user_ids is not None,
    )
    report(findings)
    return train, None if valid is None else _valid_matrix(valid, train)


def warn_of_ratings(frame: Any, what: str) -> None:
    """Warn if a frame of pairs has ratings other than one; its rows may repeat a pair."""
    report([finding for finding in _values_findings(frame, what) if not isinstance(finding, DuplicatePairsWarning)])


def partial_fit_inputs(new_interactions: Any) -> Labelled:
    """Read and examine the argument of ``partial_fit``, as ``as_csr`` takes it.

    Warns
    -----
    buir.errors.InputWarning
        If values or ratings other than one are read as positives, or repeated rows as one pair.
    """
    arrived = as_csr(new_interactions, "new_interactions")
    report(_values_findings(new_interactions, "new_interactions"))
    return arrived


def _values_findings(data: Any, what: str) -> list[Finding]:
    """Warn about values of a matrix or a column of ratings, which do not say what is positive; and of repeated rows."""
    if issparse(data):
        rows, _, values = doctor.stored_entries(data)
        return doctor.values_finding(values, rows, what)
    if not is_frame(data):
        return []
    users, items, ratings, _ = read_columns(data, None, None, None, None)
    findings: list[Finding] = []
    again = np.flatnonzero(pd.DataFrame({"user": users, "item": items}).duplicated())
    if again.size:
        msg = (
            f"{what} holds {counted(again.size, 'pair')} that an earlier row has, in {show_rows(again)}; each is read "
            "as one pair: drop them first to say that this is meant, as in frame.drop_duplicates(['user', 'item'])"
        )
        findings.append(DuplicatePairsWarning(msg, rows=again, argument=what))
    column = column_of(data, "rating")
    values = np.ones(0) if ratings is None else pd.to_numeric(pd.Series(ratings), errors="coerce").to_numpy(np.float64)
    other = np.flatnonzero(values != 1)
    if other.size:
        msg = (
            f"{what} has a column {column!r} with {counted(other.size, 'value')} other than 1, "
            f"{np.sum(values <= 0):,} of them zero or negative, the first in {show_rows(other[:1])}; every row is read "
            "as one positive: keep those above a threshold with Interactions.from_frame(frame, min_rating=...), or "
            "drop the column"
        )
        findings.append(ValuesIgnoredWarning(msg, rows=other, argument=what))
    return findings


class Placed(NamedTuple):
    """Pairs in the rows and columns of some ids, and how many had other ids."""

    matrix: csr_array
    of_unknown_users: int
    of_unknown_items: int
    """Those of known users."""

    @property
    def dropped(self) -> dict[str, int]:
        """The numbers that are not 0, by what they count."""
        counts = {"of unknown users": self.of_unknown_users, "of unknown items": self.of_unknown_items}
        return {what: count for what, count in counts.items() if count}


def place(data: Interactions, user_ids: np.ndarray, item_ids: np.ndarray) -> Placed:
    """Put pairs into the rows and columns of these ids; an integer and its spelling are one id."""
    if np.array_equal(data.user_ids, user_ids) and np.array_equal(data.item_ids, item_ids):
        return Placed(data.matrix, 0, 0)
    rows = []
    for own, ids, pairs in ((data.user_ids, user_ids, data.users), (data.item_ids, item_ids, data.items)):
        alike = own if own.dtype.kind == ids.dtype.kind else np.array(as_labels(own, ids), dtype=object)
        rows.append(pd.Index(ids).get_indexer(pd.Index(alike))[pairs])
    users, items = rows
    known = (users >= 0) & (items >= 0)
    pairs = binary(users[known], items[known], (len(user_ids), len(item_ids)))
    return Placed(pairs, int((users < 0).sum()), int(((users >= 0) & (items < 0)).sum()))


def _valid_placed(valid: Any, train: Labelled) -> csr_array:
    """Read held-out pairs; those with ids, and a frame has no rows, are put where ``train`` has these ids."""
    data = Interactions.from_frame(valid, source="valid") if is_frame(valid) else valid
    labelled = isinstance(data, Interactions) and (is_frame(valid) or train.user_ids is not None)
    if not labelled:
        return as_csr(valid, "valid").matrix
    users, items = (
        np.arange(size) if ids is None else ids
        for size, ids in zip(train.matrix.shape, (train.user_ids, train.item_ids), strict=True)
    )
    found = place(data, users, items)
    if found.dropped:
        counts = ", ".join(f"{count:,} {what}" for what, count in found.dropped.items())
        looks = [repr(ids[:1].tolist()[0]) for ids in (data.user_ids, data.item_ids, users, items)]
        msg = (
            f"valid holds {counted(data.n_pairs, 'pair')}, {counts}, which user_items does not have; ids of valid are "
            f"such as {looks[0]} and {looks[1]}, those of user_items {looks[2]} and {looks[3]}: "
        )
        if not found.matrix.nnz:
            msg += "expected held-out pairs of users and items that training sees"
            raise ShapeError(msg, argument="valid")
        report([PairsDroppedWarning(f"{msg}these pairs are left out", argument="valid")])
    return found.matrix


def _valid_matrix(valid: Any, train: Labelled) -> csr_array:
    held_out = _valid_placed(valid, train)
    report(_values_findings(valid, "valid"))
    report(doctor.shape_findings(held_out.shape, train.matrix.shape, "valid"))
    if held_out.nnz == 0:
        msg = "valid holds no interaction; expected at least one: pass valid=None to train without validation"
        raise InputError(msg, argument="valid")
    new = outside(held_out, train.matrix)
    if new.all():
        return held_out
    rows = np.unique(np.repeat(np.arange(held_out.shape[0]), np.diff(held_out.indptr))[~new])
    counts = f"valid holds {counted(held_out.nnz, 'pair')}, {np.sum(~new):,} of them also in user_items, where they"
    if not new.any():
        msg = f"{counts} can never be found; expected held-out pairs: take both from one split"
        raise InputError(msg, rows=rows, argument="valid")
    msg = f"{counts} could never be found and are left out; expected held-out pairs alone: take both from one split"
    report([ValidSeenWarning(msg, rows=rows, argument="valid")])
    return keep(held_out, new)
