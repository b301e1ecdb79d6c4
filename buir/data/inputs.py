"""What may be passed to a model, turned into what the models compute with: a CSR array and row numbers.

The array is binary, but for training pairs with weights: there it holds the weights, in units of their mean, and
nothing else does.
"""

import os
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, issparse

from buir.data import doctor
from buir.data.ingest import distinct_pairs
from buir.data.interactions import Interactions
from buir.data.labels import Columns, as_labels, as_numbers, is_frame, read_columns
from buir.data.sparse import binary, keep, outside
from buir.data.weights import PairWeights, checked, counts, in_units, reading_weights
from buir.errors import (
    Argument,
    DuplicatePairsWarning,
    ExplicitZerosWarning,
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
    """A canonical matrix and the raw labels of its rows and columns, None where it came without labels."""

    matrix: csr_array
    user_ids: np.ndarray | None
    item_ids: np.ndarray | None
    weight_unit: float | None = None
    """What 1 in the matrix stands for: the mean weight of the training pairs. None where pairs have no weights, and the
    matrix is binary."""


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
    A float32 ``csr_array`` of ones, int32 sorted indices, and its ids, which are None for a matrix.

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
        frame = _pairs(user_items, what)
        return Labelled(frame.matrix, frame.user_ids, frame.item_ids)
    kind = type(user_items).__name__
    remedies = {
        "ndarray": f"wrap it: scipy.sparse.csr_array({what})",
        "LazyFrame": "call .collect() first",
        "HeteroData": "convert it: Interactions.from_hetero_data(data)",
    }
    if isinstance(user_items, str | os.PathLike):
        remedies[kind] = "read the file: buir.data.read(path)"
    elif kind == "ndarray" and user_items.ndim == 1:
        remedies = {}
    remedy = remedies.get(kind, "build one, for example with Interactions.from_pairs(users, items)")
    expected = "a SciPy sparse matrix (users x items), Interactions or a data frame"
    msg = f"{what} is of type {kind}; expected {expected}: {remedy}"
    raise TypeError(msg)


def as_interactions(data: Any, what: str) -> Interactions:
    """Return ``Interactions`` as they are, and a data frame or a SciPy matrix as such; a TypeError of anything else."""
    if isinstance(data, Interactions):
        return data
    if issparse(data):
        return Interactions.from_matrix(data)
    if is_frame(data):
        return Interactions.from_frame(data, source=what)
    as_csr(data, what)
    msg = f"{what} is of type {type(data).__name__}; expected Interactions, a data frame or a SciPy sparse matrix"
    raise TypeError(msg)


def fit_inputs(
    user_items: Any,
    valid: Any = None,
    *,
    weights: PairWeights = None,
    batch_size: int | None = None,
    valid_metric: str | None = None,
    embedding_dim: int = 0,
) -> tuple[Labelled, csr_array | None]:
    """Read and examine the arguments of ``fit``.

    Parameters
    ----------
    user_items
        As ``as_csr`` takes it.
    valid
        Held-out pairs of the same users and items, or None. The rows of a frame go by their ids: those of
        ``user_items``, or its row and column numbers if it has none.
    weights
        Of the training pairs; held-out pairs have none.
    batch_size
        Pairs in one training step, if the model has batches.
    valid_metric
        Name of the metric that validation watches, such as "ndcg_at_20".
    embedding_dim
        Width of the vectors that are trained, 0 if none are.

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
    if weights is None:
        train = as_csr(user_items)
        findings = _values_findings(user_items, "user_items")
    else:
        train, findings = weigh(user_items, weights, "user_items"), []
    doctor.check_room(train.matrix.shape, "user_items", width=embedding_dim)
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
    """Warn if a frame of pairs has ratings other than one, where its weights and repeated rows are no fault."""
    with reading_weights("values"):
        report(_ratings_findings(read_columns(frame, tell=False), what))


def partial_fit_inputs(new_interactions: Any, weights: PairWeights = None, unit: float | None = None) -> Labelled:
    """Read and examine the arguments of ``partial_fit``, as ``fit_inputs`` does; ``unit`` is that of the model.

    Warns
    -----
    buir.errors.InputWarning
        If values or ratings other than one are read as positives, or repeated rows as one pair.
    """
    if weights is not None:
        # of a model without weights every pair weighs 1
        return weigh(new_interactions, weights, "new_interactions", unit=1.0 if unit is None else unit)
    arrived = as_csr(new_interactions, "new_interactions")
    report(_values_findings(new_interactions, "new_interactions"))
    return arrived


def weigh(user_items: Any, weights: PairWeights, what: str, *, unit: float | None = None) -> Labelled:
    """Read pairs and put their weights into the matrix.

    Parameters
    ----------
    user_items, what
        As for ``as_csr``.
    weights
        "values" or a function of ``Interactions``.
    unit
        What counts as 1; None: the mean of the weights.

    Returns
    -------
    The pairs with a weight above 0.

    Raises
    ------
    buir.errors.InputError
        If there are no weights to read, or one is NaN, infinite or negative, or all are 0.

    Warns
    -----
    buir.errors.ExplicitZerosWarning
        If some are 0: such a pair is none.
    """
    if not callable(weights) and weights != "values":
        expected = "expected None, 'values' or a function of the interactions, such as buir.data.log_counts"
        msg = f" is {weights!r}; {expected}"
        raise InputError(Argument("weights"), msg)
    data, has_ids = _read(user_items, what)
    values = np.asarray(weights(data), dtype=np.float64) if callable(weights) else counts(data, what)
    if values.shape != (data.n_pairs,):
        msg = f" made an array of shape {values.shape}; expected {(data.n_pairs,)}, one number for each pair"
        raise ShapeError(Argument("weights"), msg)
    if not (checked(values, data, what) > 0).any():
        msg = f"the weights of {what} are all 0; expected some above 0: pass weights=None to weigh all pairs alike"
        raise InputError(msg, argument="weights")
    unit = float(values[values > 0].mean()) if unit is None else unit
    matrix = in_units(data, values, unit, what)
    return Labelled(matrix, *((data.user_ids, data.item_ids) if has_ids else (None, None)), unit)


def weigh_rows(rows: Any, what: str, unit: float) -> csr_array:
    """Read the history of each row for a model with weights of this unit.

    Values are weights, but where all are 1: such pairs have none, and each counts as an average one.
    """
    data, _ = _read(rows, what)
    if data.weights is None or (data.weights == 1).all():
        return data.matrix
    return in_units(data, counts(data, what), unit, what)


def _read(user_items: Any, what: str) -> tuple[Interactions, bool]:
    """Read what ``as_csr`` reads with all that came with the pairs; also tell whether it has ids of its own."""
    if isinstance(user_items, Interactions):
        return user_items, True
    if is_frame(user_items):
        with reading_weights("values"):
            return Interactions.from_frame(user_items, source=what), True
    as_csr(user_items, what, warn=False)  # its repeated pairs are no fault here: they add up
    stored = doctor.stored_findings(*doctor.stored_entries(user_items), user_items.shape, what)
    report([finding for finding in stored if isinstance(finding, ExplicitZerosWarning)])
    return Interactions.from_matrix(user_items), False


def _pairs(frame: Any, what: str) -> Interactions:
    """Read the ids of a frame alone; of ratings warns who reads them as positives."""
    columns = read_columns(frame)
    return Interactions.from_pairs(columns.users, columns.items, source=what)


def _values_findings(data: Any, what: str) -> list[Finding]:
    """Warn about values of a matrix or a column of ratings, which do not say what is positive; and of repeated rows."""
    if issparse(data):
        rows, _, values = doctor.stored_entries(data)
        return doctor.values_finding(values, rows, what)
    if not is_frame(data):
        return []
    columns = read_columns(data, tell=False)
    findings: list[Finding] = []
    names = [columns.names["user"], columns.names["item"]]
    again = np.flatnonzero(pd.DataFrame({"user": columns.users, "item": columns.items}).duplicated())
    if again.size:
        msg = (
            f"{what} holds {counted(again.size, 'pair')} that an earlier row has, in {show_rows(again)}; each is read "
            f"as one pair: drop them first to say that this is meant, as in frame.drop_duplicates({names})"
        )
        findings.append(DuplicatePairsWarning(msg, rows=again, argument=what))
    return findings + _ratings_findings(columns, what)


def _ratings_findings(columns: Columns, what: str) -> list[Finding]:
    """Warn about ratings, and about weights that nobody reads."""
    findings: list[Finding] = []
    both = columns.ratings_are_weights
    if columns.ratings is not None:
        name = f"{what}: the column {columns.names['rating']!r}"
        findings += doctor.ratings_findings(as_numbers(columns.ratings), name, argument=what, weights=both)
    if columns.weights is not None and not both:
        other = np.flatnonzero(as_numbers(columns.weights) != 1)
        if other.size:
            msg = (
                f"{what} has a column {columns.names['weight']!r} with {counted(other.size, 'value')} other than 1, "
                f"which is not read; {doctor.UNREAD} pass weights='values', or drop the column"
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
    data = _pairs(valid, "valid") if is_frame(valid) else valid
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
    with reading_weights("values" if is_frame(valid) else None):  # held-out pairs have none
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
