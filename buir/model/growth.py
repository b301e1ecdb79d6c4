"""Making room for users and items that arrive after a fit."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import Labelled, binary, degrees, weighted
from buir.errors import InputError, ShapeError
from buir.learning import TrainingState, Weights
from buir.model.folding import Folding

__all__ = ["Growth", "grow", "grow_state", "start_new_rows"]


class Growth(NamedTuple):
    """Old and new interactions in one id space, old ids first in their old order, and where old rows went.

    An old node whose first pairs these are is a new one: nothing was known of it.
    """

    labelled: Labelled
    old_rows: Tensor
    """int64, shape (old n_users + old n_items,): the place of each old node among the new ones."""
    kept: Tensor
    """bool, the same shape: old nodes that keep what was learned of them, all but those that are new after all."""

    def put(self, table: Tensor, into: Tensor) -> Tensor:
        """Write what was learned of the old nodes into a table for all; return that."""
        into[self.old_rows[self.kept]] = table[self.kept]
        return into

    def widen(self, table: Tensor) -> Tensor:
        """Return a table for all nodes, with zeros in the rows of new ones."""
        return self.put(table, table.new_zeros(sum(self.labelled.matrix.shape), table.shape[1]))


def grow(
    seen: csr_array, user_ids: np.ndarray, item_ids: np.ndarray, arrived: Labelled, unit: float | None = None
) -> Growth:
    """Merge the training matrix with what arrived.

    Parameters
    ----------
    seen, user_ids, item_ids
        The training matrix and its labels.
    arrived
        New pairs; without labels its rows and columns are numbers that continue the old ones.
    unit
        Of the weights in the training matrix, where it has any: those of new pairs then add to them.

    Raises
    ------
    ShapeError
        If a matrix has the model's shape turned over.
    InputError
        If the labels' types do not fit, or a matrix without labels arrives where the model's are no row numbers.
    """
    shape, before = arrived.matrix.shape, seen.shape
    if arrived.user_ids is None and shape == before[::-1] and shape != before:
        msg = (
            f"new_interactions has shape {shape} and the model {before}: it looks transposed; "
            "expected users x items: pass .T"
        )
        raise ShapeError(msg, argument="new_interactions")
    users = _labels(arrived.user_ids, arrived.matrix.shape[0], user_ids, "user")
    items = _labels(arrived.item_ids, arrived.matrix.shape[1], item_ids, "item")
    all_users, user_place = _merged(user_ids, users)
    all_items, item_place = _merged(item_ids, items)
    shape = (len(all_users), len(all_items))
    new, old = arrived.matrix.tocoo(), seen.tocoo()
    rows = np.concatenate([old.coords[0], user_place[new.coords[0]]])
    columns = np.concatenate([old.coords[1], item_place[new.coords[1]]])
    places = np.concatenate([np.arange(len(user_ids)), len(all_users) + np.arange(len(item_ids))])
    unit = arrived.weight_unit if unit is None else unit
    matrix = (
        binary(rows, columns, shape)
        if unit is None
        else weighted(rows, columns, np.concatenate([old.data, new.data]), shape)
    )
    had, has = (np.concatenate([degree > 0 for degree in degrees(part)]) for part in (seen, matrix))
    kept = torch.from_numpy(had | ~has[places])
    return Growth(Labelled(matrix, all_users, all_items, unit), torch.from_numpy(places), kept)


def start_new_rows(growth: Growth, weights: Weights, fresh: Weights, foldings: tuple[Folding, Folding]) -> Weights:
    """Give every old node its old row, and every new one the row that its known neighbours suggest.

    Parameters
    ----------
    growth
        From ``grow``.
    weights
        What was learned.
    fresh
        Initial weights for all nodes, used for new nodes without a known neighbour.
    foldings
        How users and items are folded in.
    """
    table, matrix = fresh.table.clone(), growth.labelled.matrix
    n_users = matrix.shape[0]
    is_new = torch.ones(len(table), dtype=torch.bool)
    is_new[growth.old_rows[growth.kept]] = False
    for folding, rows, first in ((foldings[0], matrix, 0), (foldings[1], csr_array(matrix.T), n_users)):
        asked = is_new[first : first + rows.shape[0]].nonzero().squeeze(1)
        given = csr_array(rows[asked.numpy()][:, : len(folding.sums)])
        known = torch.from_numpy(np.flatnonzero(np.diff(given.indptr)))
        table[first + asked[known]] = (folding.scaled_sum(given) @ folding.own)[known]
    growth.put(weights.table, into=table)
    return Weights(table, weights.predictor_weight.clone(), weights.predictor_bias.clone())


def grow_state(state: TrainingState, growth: Growth, weights: Weights) -> TrainingState:
    """Return a training state for more nodes: new ones have no moments yet, and their target is their start."""
    tensors = dict(state.tensors)
    for name in ("mean/table", "square/table"):
        tensors[name] = growth.widen(tensors[name])
    tensors["target"] = growth.put(state.tensors["target"], into=weights.table.clone())
    return TrainingState(state.epoch, tensors)


def _labels(ids: np.ndarray | None, size: int, old: np.ndarray, noun: str) -> np.ndarray:
    if ids is None and not np.array_equal(old, np.arange(len(old))):
        # Row 3 of a matrix is not the user that a frame called 3.
        msg = (
            f"new_interactions has {noun} rows without ids, the model has {noun} ids of its own, such as "
            f"{old[:1].tolist()[0]!r}; expected ids: "
            "pass what fit was given, a frame for a frame and a matrix for a matrix"
        )
        raise InputError(msg, argument="new_interactions")
    labels = np.arange(size) if ids is None else ids
    if (labels.dtype.kind in "iu") != (old.dtype.kind in "iu"):
        msg = (
            f"new_interactions has {noun} ids such as {labels[:1].tolist()[0]!r}, the model's are such as "
            f"{old[:1].tolist()[0]!r}; expected the same type: "
            "pass what fit was given, a frame for a frame and a matrix for a matrix"
        )
        raise InputError(msg, argument="new_interactions")
    return labels


def _merged(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all labels, the old ones first, and the place of each of ``new`` among them."""
    index = pd.Index(old)
    unknown = new[index.get_indexer(pd.Index(new)) < 0]
    merged = np.concatenate([old, unknown])
    return merged, pd.Index(merged).get_indexer(pd.Index(new))
