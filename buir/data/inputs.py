"""What may be passed to a model, turned into what the models compute with: a CSR array and row numbers.

The array is binary, but for training pairs with weights: there it holds the weights, in units of their mean, and
nothing else does.
"""

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, issparse

from buir.data import doctor
from buir.data.ingest import distinct_pairs
from buir.data.interactions import Interactions
from buir.data.labels import read_columns
from buir.data.weights import PairWeights, checked, counts, in_units
from buir.errors import (
    Argument,
    DuplicatePairsWarning,
    ExplicitZerosWarning,
    Finding,
    InputError,
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
        ``Interactions``; or a pandas or polars frame with columns ``user`` and ``item``. It is not modified.
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
    if _is_frame(user_items):
        users, items, *_ = read_columns(user_items, "user", "item", None, None)
        frame = Interactions.from_pairs(
            users, items, source=what
        )  # ratings have a warning of their own where they matter
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


def as_interactions(data: Any, what: str) -> Interactions:
    """Return ``Interactions`` as they are, and a data frame or a SciPy matrix as such; a TypeError of anything else."""
    if isinstance(data, Interactions):
        return data
    if issparse(data):
        return Interactions.from_matrix(data)
    if _is_frame(data):
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
    if _is_frame(user_items):
        return Interactions.from_frame(user_items, source=what), True
    as_csr(user_items, what, warn=False)  # its repeated pairs are no fault here: they add up
    stored = doctor.stored_findings(*doctor.stored_entries(user_items), user_items.shape, what)
    report([finding for finding in stored if isinstance(finding, ExplicitZerosWarning)])
    return Interactions.from_matrix(user_items), False


def _is_frame(data: Any) -> bool:
    # Not asking a lazy frame for its columns, which would compute them.
    return type(data).__name__ != "LazyFrame" and hasattr(data, "columns") and hasattr(data, "shape")


def _values_findings(data: Any, what: str) -> list[Finding]:
    """Warn about values of a matrix or a column of ratings, which do not say what is positive; and of repeated rows."""
    if issparse(data):
        rows, _, values = doctor.stored_entries(data)
        return doctor.values_finding(values, rows, what)
    if not _is_frame(data):
        return []
    users, items, ratings, _, weights = read_columns(data, "user", "item", None, None)
    findings: list[Finding] = []
    again = np.flatnonzero(pd.DataFrame({"user": users, "item": items}).duplicated())
    if again.size:
        msg = (
            f"{what} holds {counted(again.size, 'pair')} that an earlier row has, in {show_rows(again)}; each is read "
            "as one pair: drop them first to say that this is meant, as in frame.drop_duplicates(['user', 'item'])"
        )
        findings.append(DuplicatePairsWarning(msg, rows=again, argument=what))
    if ratings is not None:
        values = pd.to_numeric(pd.Series(ratings), errors="coerce").to_numpy(np.float64)
        findings += doctor.ratings_findings(values, f"{what}: the column 'rating'", argument=what)
    if weights is not None:
        given = pd.to_numeric(pd.Series(weights), errors="coerce").to_numpy(np.float64)
        other = np.flatnonzero(given != 1)
        if other.size:
            msg = (
                f"{what} has a column 'weight' with {counted(other.size, 'value')} other than 1, which is not read; "
                "pass weights='values', or drop the column"
            )
            findings.append(ValuesIgnoredWarning(msg, rows=other, argument=what))
    return findings


def _valid_labelled(valid: Any, train: Labelled) -> Labelled:
    """Read held-out pairs; a frame has ids and no rows, so its pairs are put where ``train`` has these ids."""
    if not _is_frame(valid):
        return as_csr(valid, "valid")
    held_out = read_columns(valid, "user", "item", None, None)
    frame = Interactions.from_pairs(held_out[0], held_out[1], source="valid")
    users, items = (
        np.arange(size) if ids is None else ids
        for size, ids in zip(train.matrix.shape, (train.user_ids, train.item_ids), strict=True)
    )
    for noun, own, ids in (("user", frame.user_ids, users), ("item", frame.item_ids, items)):
        unknown = own[pd.Index(ids).get_indexer(pd.Index(own)) < 0]
        if unknown.size:
            msg = (
                f"valid holds {unknown.size:,} of {own.size:,} {noun} ids that user_items does not have, such as "
                f"{unknown[:1].tolist()[0]!r}; those of user_items look like {ids[:1].tolist()[0]!r}: expected "
                "held-out pairs of users and items that training sees: drop the others"
            )
            raise ShapeError(msg, argument="valid")
    return Labelled(frame.aligned(users, items).matrix, users, items)


def _valid_matrix(valid: Any, train: Labelled) -> csr_array:
    held_out = _valid_labelled(valid, train)
    report(_values_findings(valid, "valid"))
    report(doctor.shape_findings(held_out.matrix.shape, train.matrix.shape, "valid"))
    for name, ours, theirs in zip(("user", "item"), train[1:3], held_out[1:3], strict=True):
        if ours is not None and theirs is not None and not np.array_equal(ours, theirs):
            msg = f"valid and user_items give their {name} rows different ids: take both from one split"
            raise ShapeError(msg, argument="valid")
    if held_out.matrix.nnz == 0:
        msg = "valid holds no interaction; expected at least one: pass valid=None to train without validation"
        raise InputError(msg, argument="valid")
    both = csr_array(held_out.matrix.multiply(train.matrix))
    if both.nnz:
        rows = np.flatnonzero(np.diff(both.indptr))
        msg = (
            f"valid holds {counted(held_out.matrix.nnz, 'pair')}, {both.nnz:,} of them also in user_items, where they "
            "are masked and can never be found; expected held-out pairs: take both from one split"
        )
        kind = InputError if both.nnz == held_out.matrix.nnz else ValidSeenWarning
        report([kind(msg, rows=rows, argument="valid")])
    return held_out.matrix
